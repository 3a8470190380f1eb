//! Messages that are sent again: by a device that forgot, or by one that hopes (S5).

use std::collections::BTreeMap;

use segue_proto::wire::Message;

use super::World;
use crate::device::Device;
use crate::net::{End, Last, Liveness, Stream};
use crate::trace::describe;

/// What each device sent to each other about sessions.
#[derive(Clone, Debug, Default)]
pub(super) struct Replays(BTreeMap<(usize, usize), Vec<Message>>);

impl Replays {
    pub(super) fn record(&mut self, from: usize, to: usize, message: &Message) {
        let of_session = matches!(
            message,
            Message::Want(_)
                | Message::Grant(_)
                | Message::Head(_)
                | Message::Offer(_)
                | Message::Decline(_)
                | Message::Cancel(_)
                | Message::Have(_)
                | Message::Error(_)
        );
        let known = self.0.entry((from, to)).or_default();
        if of_session && known.len() < MAX_RECORDED {
            known.push(message.clone());
        }
    }
}

impl<D: Device> World<D> {
    /// Everything that one device said to another about sessions, in order.
    pub fn said(&self, from: usize, to: usize) -> Vec<Message> {
        self.replays.0.get(&(from, to)).cloned().unwrap_or_default()
    }

    /// Sends a message once more on the newest link of its sender with its receiver; whether there is one.
    pub fn say_again(&mut self, from: usize, to: usize, message: &Message) -> bool {
        let end = self.link_of(from, to).and_then(|link| self.net.end(from, link));
        let Some(end) = end.filter(|end| self.net.state(*end) == Liveness::Up) else { return false };
        self.repeat(end, message);
        true
    }

    /// By chance, a device sends something again behind what it sends.
    pub(super) fn send_again(&mut self, end: End) {
        if !self.dice.faults.chance(self.options.faults.replay) {
            return;
        }
        let (node, link) = self.net.owner(end);
        let peer = self.net.owner(end.other()).0;
        let known = self.replays.0.get(&(node, peer)).map_or(&[][..], Vec::as_slice);
        // What a link begins with is no message about a session, so nothing goes before it.
        if self.nodes[node].has_proved(link)
            && let Some(message) = self.dice.faults.pick(known).cloned()
        {
            self.repeat(end, &message);
        }
    }

    fn repeat(&mut self, end: End, message: &Message) {
        let line = format!("{} again: {}", self.way(end), describe(message));
        self.trace.note(self.now, line);
        self.send(end, Stream::Control, message.to_frame(), Last::More);
    }
}

/// How many messages of one device to another are kept. A guess; runs say less than this.
const MAX_RECORDED: usize = 256;
