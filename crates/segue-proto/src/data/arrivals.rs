//! The order in which a device took ops in.

use alloc::vec::Vec;
use core::hash::{Hash, Hasher};

use crate::wire::ActorId;

/// An op: its writer, and its number.
type Named = (ActorId, u64);

/// Places in ascending order, each with an op or none any more. A place is never used twice.
#[derive(Clone, Debug, Default)]
pub(super) struct Arrivals {
    places: Vec<(u64, Option<Named>)>,
    /// The place that the next op will have.
    next: u64,
    held: usize,
}

impl Arrivals {
    /// The place that the next op will have.
    pub(super) fn next(&self) -> u64 {
        self.next
    }

    /// How many places have ops.
    pub(super) fn len(&self) -> usize {
        self.held
    }

    /// Puts an op at the next place.
    pub(super) fn push(&mut self, op: Named) {
        self.places.push((self.next, Some(op)));
        self.next += 1;
        self.held += 1;
    }

    /// Takes the op from a place.
    pub(super) fn remove(&mut self, place: u64) {
        let at = self.places.binary_search_by_key(&place, |(place, _)| *place).ok();
        let taken = at.and_then(|at| self.places.get_mut(at)).and_then(|(_, op)| op.take());
        self.held -= usize::from(taken.is_some());
        if self.places.len() > 2 * self.held + SPARE {
            self.places.retain(|(_, op)| op.is_some());
            self.places.shrink_to(2 * self.held);
        }
    }

    /// Takes all ops out; the next place has none.
    pub(super) fn drain(&mut self) -> impl Iterator<Item = Named> {
        self.next += 1;
        self.held = 0;
        core::mem::take(&mut self.places).into_iter().filter_map(|(_, op)| op)
    }

    /// The ops, by their places.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Named> {
        self.places.iter().filter_map(|(_, op)| op.as_ref())
    }

    /// The ops from a place on.
    pub(super) fn from(&self, place: u64) -> impl Iterator<Item = &Named> {
        let at = self.places.partition_point(|(known, _)| *known < place);
        self.places.get(at..).unwrap_or_default().iter().filter_map(|(_, op)| op.as_ref())
    }

    fn held(&self) -> impl Iterator<Item = &(u64, Option<Named>)> {
        self.places.iter().filter(|(_, op)| op.is_some())
    }
}

impl PartialEq for Arrivals {
    fn eq(&self, other: &Arrivals) -> bool {
        self.next == other.next && self.held().eq(other.held())
    }
}

impl Eq for Arrivals {}

impl Hash for Arrivals {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.next.hash(state);
        self.held().for_each(|place| place.hash(state));
    }
}

/// So many places without ops are kept in any case.
const SPARE: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_place_is_used_twice() {
        let op = |n: u64| (ActorId::new([n as u8; 32]), n);
        let mut arrivals = Arrivals::default();
        (0..6).for_each(|n| arrivals.push(op(n)));
        [1, 5, 1, 0, 9].into_iter().for_each(|place| arrivals.remove(place));
        assert_eq!((arrivals.next(), arrivals.len()), (6, 3));
        assert_eq!(arrivals.iter().map(|(_, n)| *n).collect::<Vec<_>>(), [2, 3, 4]);
        assert_eq!(arrivals.from(3).map(|(_, n)| *n).collect::<Vec<_>>(), [3, 4]);
        assert_eq!((arrivals.from(0).count(), arrivals.from(99).count()), (3, 0));
        (2..5).for_each(|place| arrivals.remove(place));
        assert_eq!((arrivals.next(), arrivals.len(), arrivals.iter().count()), (6, 0, 0));
        arrivals.push(op(6));
        arrivals.push(op(7));
        assert_eq!(arrivals.drain().map(|(_, n)| n).collect::<Vec<_>>(), [6, 7]);
        assert_eq!((arrivals.next(), arrivals.len()), (9, 0));
    }

    #[test]
    fn places_without_ops_go_whatever_stays_before_and_behind_them() {
        let op = |n: u64| (ActorId::new([1; 32]), n);
        let (mut arrivals, mut never) = (Arrivals::default(), Arrivals::default());
        arrivals.push(op(0));
        (1..10_000).for_each(|n| {
            arrivals.push(op(n));
            arrivals.remove(n);
        });
        assert!(arrivals.places.len() <= SPARE + 2 && arrivals.places.capacity() <= 4 * SPARE, "{arrivals:?}");
        arrivals.push(op(10_000));
        never.push(op(0));
        never.next = 10_000;
        never.push(op(10_000));
        assert_eq!(arrivals, never);
        assert_eq!(arrivals.from(1).map(|(_, n)| *n).collect::<Vec<_>>(), [10_000]);
    }
}
