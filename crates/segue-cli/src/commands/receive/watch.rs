//! With `--together`: what the user changes in a directory goes into its session while this runs.

use std::collections::BTreeMap;
use std::time::Duration;

use segue_quic::SessionId;
use tokio::time::Instant;

use super::Receiver;
use super::sessions::{Look, look};
use crate::directory::scan;
use crate::failure::Failure;
use crate::terminal::note;

/// The next look at the directories, and what the last one found.
#[derive(Debug)]
pub(super) struct Watch {
    next: Instant,
    /// Directories that looked different than when they were read, and how often in a row.
    moving: BTreeMap<SessionId, (Look, u32)>,
    /// What was wrong with a directory, and the user was told.
    told: BTreeMap<SessionId, String>,
}

/// How often the directories are looked at. From: two looks alike are waited for, and somebody who saves a file and
/// turns to another device takes longer.
const EVERY: Duration = Duration::from_secs(1);

/// The share of a processor that looks may take, one in so many: names and times of 10,000 files take some hundredths of
/// a second. To read what changed isn't counted.
const SHARE: u32 = 50;

/// So many looks in a row a directory may change before it is read all the same.
const PATIENCE: u32 = 5;

impl Watch {
    pub(super) fn new() -> Watch {
        Watch { next: Instant::now() + EVERY, moving: BTreeMap::new(), told: BTreeMap::new() }
    }

    /// When to look next.
    pub(super) fn next(&self) -> Instant {
        self.next
    }

    /// Whether it is time to read a directory that looks different: whoever writes a file may be in the middle of it.
    fn has_settled(&mut self, session: SessionId, now: &Look) -> bool {
        let (before, times) = self.moving.remove(&session).unwrap_or_default();
        if *now == before || times >= PATIENCE {
            return true;
        }
        self.moving.insert(session, (now.clone(), times + 1));
        false
    }
}

impl Receiver {
    /// Reads the directories that look different than when they were read last, or that weren't read since something was
    /// wrong.
    pub(super) async fn watch(&mut self) {
        let (mut looked, mut changed) = (Duration::ZERO, Vec::new());
        let places: Vec<_> = self.device.index.places().map(|(id, place)| (id, place.clone())).collect();
        for (session, place) in places {
            // Nothing changes under a handoff.
            let view = self.device.node.session(session).await.ok().flatten();
            if self.under_way.contains(&session) || !view.is_some_and(|view| self.takes_part(&view, &place)) {
                continue;
            }
            let began = Instant::now();
            let now = scan(&place.directory, &self.device.state).map(|tree| look(&tree));
            looked += began.elapsed();
            match now {
                Ok(now) if self.looks.get(&session) == Some(&now) => drop(self.watch.moving.remove(&session)),
                Ok(now) if self.watch.has_settled(session, &now) => changed.push((session, now)),
                Ok(_) => {}
                Err(failure) => self.stays(session, &failure),
            }
        }
        for (session, now) in changed {
            match self.bring_up_to_date(session).await {
                Ok(()) => drop(self.watch.told.remove(&session)),
                Err(failure) => {
                    self.stays(session, &failure);
                    // Before either side changes, it would come to the same.
                    self.looks.insert(session, now);
                }
            }
        }
        self.watch.next = Instant::now() + EVERY.max(looked * SHARE);
    }

    /// Says what is wrong with a directory, once.
    fn stays(&mut self, session: SessionId, failure: &Failure) {
        let text = failure.to_string();
        if self.watch.told.get(&session) != Some(&text) {
            note(format_args!("session {session} stays as it was: {text}"));
            self.watch.told.insert(session, text);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_is_read_once_it_looks_the_same_twice_or_has_changed_for_long() {
        let (mut watch, session) = (Watch::new(), SessionId::new([7; 16]));
        let look = |len: u32| vec![("file".to_owned(), u64::from(len), None, false)];
        assert!(!watch.has_settled(session, &look(1)) && watch.has_settled(session, &look(1)));
        for len in 0..PATIENCE {
            assert!(!watch.has_settled(session, &look(len)), "{len}");
        }
        assert!(watch.has_settled(session, &look(PATIENCE)));
        assert!(!watch.has_settled(session, &look(PATIENCE)));
    }
}
