//! What the world carries between its devices.

use segue_proto::{Code, LinkId, Role};

use super::World;
use super::nodes::name;
use super::queue::Happening;
use crate::device::{BulkOut, Device, Input};
use crate::net::{End, Fate, Last, Liveness, Packet, Stream};

impl<D: Device> World<D> {
    /// The number by which a device calls its newest live link with another.
    pub fn link_of(&self, node: usize, peer: usize) -> Option<LinkId> {
        let mut ends = self.net.live_ends(node).into_iter().rev();
        ends.find(|end| self.net.owner(end.other()).0 == peer).map(|end| self.net.owner(end).1)
    }

    /// Kills all links between two devices; each side notices in its own time.
    pub fn cut(&mut self, a: usize, b: usize) {
        for end in self.net.live_ends(a) {
            if self.net.owner(end.other()).0 == b {
                self.kill(end);
            }
        }
    }

    /// Joins two devices again, and sends on what was held.
    pub fn heal(&mut self, a: usize, b: usize) {
        if !self.net.is_blocked(a, b) {
            return;
        }
        let line = format!("{} and {} are joined again", name(a), name(b));
        self.trace.note(self.now, line);
        for packet in self.net.unblock(a, b) {
            self.post(packet);
        }
    }

    pub(super) fn send_control(&mut self, from: End, bytes: &[u8]) {
        let (head, tail) = if bytes.len() > 1 && self.dice.net.chance(self.options.weather.split) {
            bytes.split_at(1 + self.dice.net.below(bytes.len() as u64 - 1) as usize)
        } else {
            (bytes, &[][..])
        };
        for bytes in [head, tail].into_iter().filter(|bytes| !bytes.is_empty()) {
            self.send(from, Stream::Control, bytes.to_vec(), Last::More);
        }
    }

    pub(super) fn send_bulk(&mut self, from: End, bulk: &BulkOut) {
        let mut bytes = bulk.bytes.clone();
        let node = self.net.owner(from).0;
        self.traffic[node].bulk += bytes.len() as u64;
        let line = format!("{} bulk {}, {} bytes", self.way(from), bulk.stream, bytes.len());
        self.trace.note(self.now, line);
        if self.dice.faults.chance(self.options.faults.rot) {
            let at = self.dice.faults.below(bytes.len() as u64) as usize;
            bytes[at] ^= 1 << self.dice.faults.below(8);
        }
        let stream = Stream::Bulk(bulk.stream);
        self.net.announce(from.other(), stream, bytes.len());
        let mut rest = &bytes[..];
        while rest.len() > PACKET {
            let (head, tail) = rest.split_at(PACKET);
            self.send(from, stream, head.to_vec(), Last::More);
            rest = tail;
        }
        if self.dice.net.chance(self.options.weather.reset) {
            let cut = self.dice.net.below(rest.len() as u64 + 1) as usize;
            self.send(from, stream, rest[..cut].to_vec(), Last::Reset);
        } else {
            self.send(from, stream, rest.to_vec(), if bulk.fin { Last::Fin } else { Last::More });
        }
    }

    /// A device closes a link, after what it sent.
    pub(super) fn close(&mut self, end: End, code: Code) {
        let line = format!("{} closed, {code:?}", self.way(end));
        self.trace.note(self.now, line);
        self.send(end, Stream::Control, Vec::new(), Last::Close);
        self.net.kill(end.link);
        self.queue.push(self.now, Happening::LinkDown(end));
    }

    pub(super) fn arrive(&mut self, packet: Packet) {
        let Packet { to, stream, bytes, last } = packet;
        match self.net.state(to) {
            // The way back to a device that no longer knows the link ends it there too.
            Liveness::Down if self.net.state(to.other()) == Liveness::Up => return self.lose(to),
            Liveness::Up => {}
            Liveness::Down | Liveness::Coming => return,
        }
        let (node, link) = self.net.owner(to);
        match (stream, last) {
            (_, Last::Close) => self.link_down(to),
            (Stream::Control, _) => self.feed(node, Input::Bytes { link, bytes }),
            (Stream::Bulk(stream), last) => {
                self.feed(node, Input::Bulk { link, stream, bytes, fin: last == Last::Fin });
                if last == Last::Reset && self.net.state(to) == Liveness::Up {
                    self.feed(node, Input::BulkReset { link, stream });
                }
            }
        }
    }

    pub(super) fn dial(&mut self, from: usize, to: usize) {
        if self.net.is_linked(from, to) || self.nodes[from].device.is_none() {
            return;
        }
        if self.nodes[to].device.is_none() || self.net.is_blocked(from, to) {
            return self.redial(from, to);
        }
        self.open(from, to);
        if self.dice.net.chance(self.options.weather.crossing) {
            self.open(to, from);
        }
    }

    /// Opens a link now, whatever links there are already.
    pub fn open(&mut self, from: usize, to: usize) {
        let ends = self.net.open(from, to, self.dice.names.array());
        for end in ends {
            let at = self.now.after(self.dice.net.within(self.options.weather.delay));
            self.net.expect(end, at);
            self.queue.push(at, Happening::LinkUp(end));
        }
    }

    pub(super) fn redial(&mut self, from: usize, to: usize) {
        let waiting = |happening: &Happening| matches!(happening, Happening::Dial(a, b) if (*a, *b) == (from, to));
        if self.pairs.contains(&(from, to)) && !self.queue.has(waiting) {
            let at = self.now.after(self.dice.net.within(self.options.weather.redial));
            self.queue.push(at, Happening::Dial(from, to));
        }
    }

    pub(super) fn link_up(&mut self, end: End) {
        if self.net.state(end) != Liveness::Coming {
            return;
        }
        let (node, link) = self.net.owner(end);
        let peer = self.net.owner(end.other()).0;
        let (role, expect) = match end.side {
            0 => (Role::Initiator, Some(self.nodes[peer].id)),
            _ => (Role::Responder, None),
        };
        self.net.set_state(end, Liveness::Up);
        let line = format!("{} link {} up as {role:?}", self.way(end), link.0);
        self.trace.note(self.now, line);
        self.feed(node, Input::LinkUp { link, role, binding: self.net.binding(end), expect });
    }

    pub(super) fn link_down(&mut self, end: End) {
        let was = self.net.state(end);
        if was == Liveness::Down {
            return;
        }
        self.net.set_state(end, Liveness::Down);
        self.lose(end);
        let (node, link) = self.net.owner(end);
        let peer = self.net.owner(end.other()).0;
        if was == Liveness::Up {
            let line = format!("{} link {} down", self.way(end), link.0);
            self.trace.note(self.now, line);
            self.feed(node, Input::LinkDown { link });
        }
        self.redial(node, peer);
    }

    pub(super) fn send(&mut self, from: End, stream: Stream, bytes: Vec<u8>, last: Last) {
        let (a, b) = (self.net.owner(from).0, self.net.owner(from.other()).0);
        if self.dice.faults.chance(self.options.faults.partition) && !self.net.is_blocked(a, b) {
            self.partition(a, b);
            let at = self.now.after(self.dice.faults.within(self.options.faults.split));
            self.queue.push(at, Happening::Heal(a, b));
        }
        self.post(Packet { to: from.other(), stream, bytes, last });
    }

    fn post(&mut self, packet: Packet) {
        let to = packet.to;
        match self.net.send(self.now, packet, &self.options.weather, &mut self.dice.net) {
            Fate::At(at, packet) => self.queue.push(at, Happening::Arrive(packet)),
            Fate::Kills => self.kill(to),
            Fate::Held | Fate::Lost => {}
        }
    }

    /// A link dies, and both ends notice in their own time.
    fn kill(&mut self, end: End) {
        self.net.kill(end.link);
        for end in [end, end.other()] {
            let at = self.now.after(self.dice.net.within(self.options.weather.notice));
            self.queue.push(at, Happening::LinkDown(end));
        }
    }

    pub(super) fn way(&self, from: End) -> String {
        format!("{}→{}", name(self.net.owner(from).0), name(self.net.owner(from.other()).0))
    }
}

/// The most bytes of a unidirectional stream that arrive at once: a link may die, and a stream break off, in between.
const PACKET: usize = 16_384;
