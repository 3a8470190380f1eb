//! The links of a device: by their ids, by when each has something to do, and those that have something to say. So
//! thousands that are idle cost nothing when one of them speaks.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;

use super::Link;
use crate::clock::Instant;
use crate::event::LinkId;

/// Links. What changes one goes through [`Links::with`], which keeps the other two lists right.
#[derive(Clone, Debug, Default)]
pub(crate) struct Links {
    all: BTreeMap<LinkId, Link>,
    due: BTreeSet<(Instant, LinkId)>,
    /// Those with bytes that wait to leave.
    talking: BTreeSet<LinkId>,
}

impl Links {
    pub(crate) fn insert(&mut self, id: LinkId, link: Link) {
        self.remove(&id);
        self.due.extend(link.next_timeout().map(|at| (at, id)));
        self.talking.extend((link.queued() > 0).then_some(id));
        self.all.insert(id, link);
    }

    pub(crate) fn remove(&mut self, id: &LinkId) {
        let Some(link) = self.all.remove(id) else { return };
        if let Some(at) = link.next_timeout() {
            self.due.remove(&(at, *id));
        }
        self.talking.remove(id);
    }

    /// Changes a link; none if there is no such link.
    pub(crate) fn with<R>(&mut self, id: &LinkId, change: impl FnOnce(&mut Link) -> R) -> Option<R> {
        let link = self.all.get_mut(id)?;
        let (due, talks) = (link.next_timeout(), link.queued() > 0);
        let done = change(link);
        let next = link.next_timeout();
        if next != due {
            due.map(|at| self.due.remove(&(at, *id)));
            self.due.extend(next.map(|at| (at, *id)));
        }
        match link.queued() > 0 {
            true if !talks => drop(self.talking.insert(*id)),
            false if talks => drop(self.talking.remove(id)),
            _ => {}
        }
        Some(done)
    }

    pub(crate) fn get(&self, id: &LinkId) -> Option<&Link> {
        self.all.get(id)
    }

    pub(crate) fn len(&self) -> usize {
        self.all.len()
    }

    /// Ascending.
    pub(crate) fn ids(&self) -> Vec<LinkId> {
        self.all.keys().copied().collect()
    }

    /// When the first of them has something to do.
    pub(crate) fn next_timeout(&self) -> Option<Instant> {
        self.due.first().map(|(at, _)| *at)
    }

    /// Those whose time has come, ascending by id.
    pub(crate) fn due(&self, now: Instant) -> Vec<LinkId> {
        let mut due: Vec<_> = self.due.iter().take_while(|(at, _)| *at <= now).map(|(_, id)| *id).collect();
        due.sort_unstable();
        due
    }

    /// Those with bytes that wait to leave, ascending.
    pub(crate) fn talking(&self) -> impl Iterator<Item = LinkId> {
        self.talking.iter().copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Rules;
    use crate::event::{Config, Role};
    use crate::limits::HELLO_TIMEOUT;
    use crate::wire::{DeviceId, Nonce};

    fn link(at: u64) -> Link {
        let config = Config::new(DeviceId::new([1; 32]));
        Link::new(Role::Responder, [0; 32], None, &config, Nonce::new([3; 16]), Instant::from_micros(at))
    }

    #[test]
    fn a_link_is_found_by_its_time_and_by_what_it_has_to_say() {
        let mut links = Links::default();
        // The later one has the lower id.
        links.insert(LinkId(1), link(50));
        links.insert(LinkId(2), link(20));
        assert_eq!(links.next_timeout(), Some(Instant::from_micros(20 + HELLO_TIMEOUT)));
        assert_eq!(links.due(Instant::from_micros(20 + HELLO_TIMEOUT)), [LinkId(2)]);
        assert_eq!(links.due(Instant::from_micros(50 + HELLO_TIMEOUT)), [LinkId(1), LinkId(2)]);
        // Each has its HELLO to say; one that closes has nothing to wait for.
        assert!(links.talking().eq([LinkId(1), LinkId(2)]));
        links.with(&LinkId(2), |link| link.transmit(crate::Lsn::default(), &mut Vec::new()));
        assert!(links.talking().eq([LinkId(1)]));
        links.with(&LinkId(2), |link| link.goaway(crate::Lsn::default(), crate::Code::LINK_SHUTDOWN));
        assert!(links.talking().eq([LinkId(1), LinkId(2)]));
        assert_eq!(links.next_timeout(), Some(Instant::from_micros(50 + HELLO_TIMEOUT)));
        // Its own deadline ends it, and takes it out of every list with it.
        let late = Instant::from_micros(50 + HELLO_TIMEOUT);
        assert!(links.with(&LinkId(1), |link| link.on_timeout(Rules::ALL, late, 0)).unwrap().is_err());
        links.remove(&LinkId(1));
        links.remove(&LinkId(2));
        assert_eq!((links.len(), links.next_timeout(), links.talking().count()), (0, None, 0));
        assert_eq!(links.with(&LinkId(1), |_| ()), None);
    }
}
