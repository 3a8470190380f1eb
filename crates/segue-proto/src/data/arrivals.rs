//! The order in which a device took ops in.

use alloc::collections::VecDeque;

use crate::wire::ActorId;

/// An op: its writer, and its number.
type Named = (ActorId, u64);

/// Places in ascending order, each with an op or none any more. A place is never used twice.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Arrivals {
    places: VecDeque<Option<Named>>,
    /// The first of them.
    first: u64,
    held: usize,
}

impl Arrivals {
    /// The place that the next op will have.
    pub(super) fn next(&self) -> u64 {
        self.first + self.places.len() as u64
    }

    /// How many places have ops.
    pub(super) fn len(&self) -> usize {
        self.held
    }

    /// Puts an op at the next place.
    pub(super) fn push(&mut self, op: Named) {
        self.places.push_back(Some(op));
        self.held += 1;
    }

    /// Takes the op from a place.
    pub(super) fn remove(&mut self, place: u64) {
        let at = place.checked_sub(self.first).and_then(|at| usize::try_from(at).ok());
        let taken = at.and_then(|at| self.places.get_mut(at)).and_then(Option::take);
        self.held -= usize::from(taken.is_some());
        // The last place tells what is next.
        while self.places.len() > 1 && self.places.front().is_some_and(Option::is_none) {
            self.places.pop_front();
            self.first += 1;
        }
    }

    /// Takes all ops out; the next place has none.
    pub(super) fn drain(&mut self) -> impl Iterator<Item = Named> {
        self.first = self.next() + 1;
        self.held = 0;
        core::mem::take(&mut self.places).into_iter().flatten()
    }

    /// The ops, by their places.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Named> {
        self.places.iter().flatten()
    }

    /// The ops from a place on.
    pub(super) fn from(&self, place: u64) -> impl Iterator<Item = &Named> {
        let at = usize::try_from(place.saturating_sub(self.first)).unwrap_or(usize::MAX).min(self.places.len());
        self.places.range(at..).flatten()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;

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
}
