//! How far content has moved, by session: what the application is told.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use crate::wire::{BoxId, SessionId};

/// How much of each session's content is in a mailbox, and how much is to be there, in bytes.
#[derive(Debug, Default)]
pub(super) struct Tally(BTreeMap<SessionId, Count>);

#[derive(Debug, Default)]
struct Count {
    /// What is there.
    put: u64,
    /// What isn't there in full, by its box, and all of it.
    open: BTreeMap<BoxId, u64>,
    left: u64,
    /// What was told last.
    told: Option<(u64, u64)>,
}

impl Count {
    fn total(&self) -> u64 {
        self.put.saturating_add(self.left)
    }
}

impl Tally {
    /// A content counts.
    pub(super) fn count(&mut self, session: SessionId, to: BoxId, len: u64, is_put: bool) {
        let count = self.0.entry(session).or_default();
        if is_put {
            count.put = count.put.saturating_add(len);
        } else if count.open.insert(to, len).is_none() {
            count.left = count.left.saturating_add(len);
        }
    }

    /// Takes the place of what was counted before. The sessions of which less is to be there than was told.
    pub(super) fn renew(&mut self, counted: Tally) -> Vec<SessionId> {
        let before = core::mem::replace(self, counted);
        let mut fell = Vec::new();
        for (session, Count { told, .. }) in before.0 {
            let Some(count) = self.0.get_mut(&session) else { continue };
            count.told = told;
            if told.is_some_and(|(_, total)| count.total() < total) {
                fell.push(session);
            }
        }
        fell
    }

    /// All of a content is there.
    pub(super) fn put(&mut self, session: &SessionId, to: &BoxId) {
        let Some(count) = self.0.get_mut(session) else { return };
        if let Some(len) = count.open.remove(to) {
            count.left = count.left.saturating_sub(len);
            count.put = count.put.saturating_add(len);
        }
    }

    /// A content isn't put after all.
    pub(super) fn drop(&mut self, session: &SessionId, to: &BoxId) {
        let Some(count) = self.0.get_mut(session) else { return };
        if let Some(len) = count.open.remove(to) {
            count.left = count.left.saturating_sub(len);
        }
    }

    /// What is there of a session's content and what is to be, if that isn't what was told last. `under_way` is the box of the
    /// content that is being put, and how much of it is there.
    pub(super) fn news(&mut self, session: &SessionId, under_way: Option<(BoxId, u64)>) -> Option<(u64, u64)> {
        let count = self.0.get_mut(session)?;
        // A chunk list isn't content, and what was removed meanwhile is no longer to be there.
        let of = under_way.and_then(|(to, at)| count.open.get(&to).map(|len| at.min(*len)));
        let now = (count.put.saturating_add(of.unwrap_or_default()), count.total());
        if now.0 == 0 && count.told.is_none() {
            return None;
        }
        (now.1 > 0 && count.told.replace(now) != Some(now)).then_some(now)
    }
}
