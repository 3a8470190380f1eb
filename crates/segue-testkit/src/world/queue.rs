//! What is going to happen, in order.

use std::collections::BTreeMap;

use segue_proto::Instant;

use crate::device::Command;
use crate::disk::Mark;
use crate::net::{End, Packet};

/// Something that happens at its time.
#[derive(Clone, Debug)]
pub(super) enum Happening {
    Arrive(Packet),
    LinkUp(End),
    LinkDown(End),
    Dial(usize, usize),
    Synced { node: usize, boot: u32, mark: Mark },
    User { node: usize, boot: u32, command: Command },
    Heal(usize, usize),
    Crash { node: usize, boot: u32 },
    Start(usize),
}

/// A queue by time; what happens at one time happens in the order in which it was put in.
#[derive(Clone, Debug, Default)]
pub(super) struct Queue {
    items: BTreeMap<(Instant, u64), Happening>,
    count: u64,
}

impl Queue {
    pub(super) fn push(&mut self, at: Instant, happening: Happening) {
        self.count += 1;
        self.items.insert((at, self.count), happening);
    }

    pub(super) fn next_at(&self) -> Option<Instant> {
        self.items.first_key_value().map(|((at, _), _)| *at)
    }

    pub(super) fn pop(&mut self) -> Option<(Instant, Happening)> {
        self.items.pop_first().map(|((at, _), happening)| (at, happening))
    }

    pub(super) fn has(&self, wanted: impl Fn(&Happening) -> bool) -> bool {
        self.items.values().any(wanted)
    }
}
