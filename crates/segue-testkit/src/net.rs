//! A network of links that behave as QUIC connections do.
//!
//! A live link is reliable, and ordered within each stream; streams overtake one another. Loss shows as the delay of a
//! retransmission, or as the link's death, which each end notices in its own time. A partition holds what is sent until
//! it heals. What is sent twice, or out of order, is so across reconnects only.

use std::collections::{BTreeMap, BTreeSet};

use segue_proto::limits::CHUNK;
use segue_proto::{Instant, LinkId};

use crate::rng::{Rng, Span};

/// The most bytes before those of a blob on its stream.
const HEADER: usize = 128;

/// What the network does to its messages. All times are in microseconds, all chances in thousandths.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Weather {
    /// The one-way delay.
    pub delay: Span,
    /// The bytes that a link carries in a second in each direction; 0 if it is as fast as you like. The control stream
    /// goes before the others, and of those what is short (TRANSFER-SERVE-4).
    pub bandwidth: u64,
    /// How often a message is lost and sent again.
    pub loss: u32,
    /// The delay that a retransmission adds.
    pub retransmit: Span,
    /// How often a message kills its link.
    pub death: u32,
    /// When the ends of a dead link notice.
    pub notice: Span,
    /// The pause before a dropped link is dialled again.
    pub redial: Span,
    /// How often a control stream's bytes arrive split in two.
    pub split: u32,
    /// How often a unidirectional stream breaks off.
    pub reset: u32,
    /// How often both devices of a pair dial at once.
    pub crossing: u32,
}

impl Weather {
    /// Every message takes just `delay`, and nothing is lost.
    pub const fn calm(delay: u64) -> Weather {
        Weather {
            delay: Span::just(delay),
            bandwidth: 0,
            loss: 0,
            retransmit: Span::just(0),
            death: 0,
            notice: Span::just(0),
            redial: Span::just(100_000),
            split: 0,
            reset: 0,
            crossing: 0,
        }
    }

    /// Draws how bad it is, up to delays of 5 s and 30 % loss.
    pub fn draw(rng: &mut Rng) -> Weather {
        let fast = rng.within(Span(100, 50_000));
        let slow = if rng.chance(300) { rng.within(Span(fast, 5_000_000)) } else { fast * 4 };
        Weather {
            delay: Span(fast, slow),
            bandwidth: 0,
            loss: rng.below(300) as u32,
            retransmit: Span(fast * 2, fast * 8),
            death: rng.below(40) as u32,
            notice: Span(0, 3_000_000),
            redial: Span(10_000, 2_000_000),
            split: rng.below(500) as u32,
            reset: rng.below(100) as u32,
            crossing: rng.below(200) as u32,
        }
    }
}

/// A stream of a link, in one direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stream {
    /// The control stream.
    Control,
    /// A unidirectional stream, numbered by its sender.
    Bulk(u64),
}

/// One end of a link: the link's place in the network, and which end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct End {
    /// The link.
    pub link: usize,
    /// 0 dialled, 1 was dialled.
    pub side: usize,
}

impl End {
    /// The other end.
    pub const fn other(self) -> End {
        End { link: self.link, side: 1 - self.side }
    }
}

/// The state of one end of a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Liveness {
    /// The device doesn't know it yet.
    Coming,
    /// It carries bytes.
    Up,
    /// The device was told that it is gone, or closed it, or crashed.
    Down,
}

/// The network: links and partitions. It decides when and whether something arrives; the world carries it.
#[derive(Clone, Debug, Default)]
pub struct Net {
    links: Vec<Link>,
    numbers: BTreeMap<usize, u64>,
    ends: BTreeMap<(usize, LinkId), End>,
    blocked: BTreeMap<(usize, usize), Vec<Packet>>,
}

#[derive(Clone, Debug)]
struct Link {
    ends: [Side; 2],
    binding: [u8; 32],
    dead: bool,
    /// When the last bytes of each stream arrive, by receiving side.
    arrivals: BTreeMap<(usize, Stream), Instant>,
    /// Until when the way to each side is taken, by control bytes, by these and short streams, and by all.
    taken: [[Instant; 3]; 2],
    /// The streams that bring more than a chunk, by receiving side.
    long: BTreeSet<(usize, Stream)>,
}

#[derive(Clone, Copy, Debug)]
struct Side {
    node: usize,
    id: LinkId,
    state: Liveness,
    /// When the device hears of the link.
    up: Instant,
}

/// Bytes on their way to an end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Packet {
    /// The receiving end.
    pub to: End,
    /// The stream.
    pub stream: Stream,
    /// The bytes.
    pub bytes: Vec<u8>,
    /// Whether they are the stream's last.
    pub last: Last,
}

/// How a packet ends its stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Last {
    /// It doesn't.
    More,
    /// In good order.
    Fin,
    /// Broken off.
    Reset,
    /// The whole link was closed by its sender.
    Close,
}

/// What becomes of a packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It arrives then.
    At(Instant, Packet),
    /// A partition holds it.
    Held,
    /// It is lost with its link, which dies just now.
    Kills,
    /// It is lost with its link, which was dead already.
    Lost,
}

impl Link {
    /// When the last byte of a packet is on its way.
    fn carry(&mut self, now: Instant, packet: &Packet, bandwidth: u64) -> Instant {
        if bandwidth == 0 {
            return now;
        }
        let takes = packet.bytes.len() as u64 * 1_000_000 / bandwidth;
        let [control, short, all] = &mut self.taken[packet.to.side];
        *all = now.max(*all).after(takes);
        let long = self.long.contains(&(packet.to.side, packet.stream));
        match packet.stream {
            Stream::Control => {
                *short = now.max(*short).after(takes);
                *control = now.max(*control).after(takes);
                *control
            }
            _ if long => *all,
            _ => {
                *short = now.max(*short).after(takes);
                *short
            }
        }
    }
}

impl Net {
    /// So many bytes are about to be sent on a stream: what is longer than a chunk lets what isn't go before it.
    pub fn announce(&mut self, to: End, stream: Stream, bytes: usize) {
        if let Some(link) = self.links.get_mut(to.link).filter(|_| bytes > CHUNK + HEADER) {
            link.long.insert((to.side, stream));
        }
    }

    /// Opens a link between two devices; both ends are still coming.
    pub fn open(&mut self, from: usize, to: usize, binding: [u8; 32]) -> [End; 2] {
        let link = self.links.len();
        let ends =
            [from, to].map(|node| Side { node, id: self.number(node), state: Liveness::Coming, up: Instant::ZERO });
        for (side, end) in ends.iter().enumerate() {
            self.ends.insert((end.node, end.id), End { link, side });
        }
        let (arrivals, taken, long) = (BTreeMap::new(), Default::default(), BTreeSet::new());
        self.links.push(Link { ends, binding, dead: false, arrivals, taken, long });
        [End { link, side: 0 }, End { link, side: 1 }]
    }

    /// The device at an end, and its number for the link.
    pub fn owner(&self, end: End) -> (usize, LinkId) {
        let side = &self.links[end.link].ends[end.side];
        (side.node, side.id)
    }

    /// The channel binding.
    pub fn binding(&self, end: End) -> [u8; 32] {
        self.links[end.link].binding
    }

    /// The end that a device calls by this number.
    pub fn end(&self, node: usize, id: LinkId) -> Option<End> {
        self.ends.get(&(node, id)).copied()
    }

    /// The state of an end.
    pub fn state(&self, end: End) -> Liveness {
        self.links[end.link].ends[end.side].state
    }

    /// Sets the state of an end.
    pub fn set_state(&mut self, end: End, state: Liveness) {
        self.links[end.link].ends[end.side].state = state;
    }

    /// Nothing arrives at an end before this.
    pub fn expect(&mut self, end: End, at: Instant) {
        self.links[end.link].ends[end.side].up = at;
    }

    /// Kills a link: nothing that is sent from now on arrives.
    pub fn kill(&mut self, link: usize) {
        self.links[link].dead = true;
    }

    /// The ends of a device that aren't down.
    pub fn live_ends(&self, node: usize) -> Vec<End> {
        let mine = self.ends.range((node, LinkId(0))..=(node, LinkId(u64::MAX)));
        mine.map(|(_, end)| *end).filter(|end| self.state(*end) != Liveness::Down).collect()
    }

    /// Whether the first device has a link with the second that it takes for alive.
    pub fn is_linked(&self, node: usize, peer: usize) -> bool {
        self.live_ends(node).iter().any(|end| self.owner(end.other()).0 == peer)
    }

    /// Separates two devices.
    pub fn block(&mut self, a: usize, b: usize) {
        self.blocked.entry(pair(a, b)).or_default();
    }

    /// Joins two devices again: what was held, in the order in which it was sent.
    pub fn unblock(&mut self, a: usize, b: usize) -> Vec<Packet> {
        self.blocked.remove(&pair(a, b)).unwrap_or_default()
    }

    /// The pairs that are separated.
    pub fn partitions(&self) -> Vec<(usize, usize)> {
        self.blocked.keys().copied().collect()
    }

    /// Whether two devices are separated.
    pub fn is_blocked(&self, a: usize, b: usize) -> bool {
        self.blocked.contains_key(&pair(a, b))
    }

    /// Sends a packet.
    pub fn send(&mut self, now: Instant, packet: Packet, weather: &Weather, rng: &mut Rng) -> Fate {
        let (a, b) = (self.owner(packet.to).0, self.owner(packet.to.other()).0);
        let link = &mut self.links[packet.to.link];
        if link.dead {
            return Fate::Lost;
        }
        if let Some(held) = self.blocked.get_mut(&pair(a, b)) {
            held.push(packet);
            return Fate::Held;
        }
        if rng.chance(weather.death) {
            return Fate::Kills;
        }
        let sent = link.carry(now, &packet, weather.bandwidth);
        let mut delay = rng.within(weather.delay);
        while rng.chance(weather.loss) {
            delay += rng.within(weather.retransmit);
        }
        // A close overtakes nothing that was sent before it; any other packet only what went by another stream.
        let floor = match packet.last {
            Last::Close => {
                link.arrivals.iter().filter(|((side, _), _)| *side == packet.to.side).map(|(_, at)| *at).max()
            }
            _ => link.arrivals.get(&(packet.to.side, packet.stream)).copied(),
        };
        let at = sent.after(delay).max(floor.unwrap_or(now)).max(link.ends[packet.to.side].up);
        link.arrivals.insert((packet.to.side, packet.stream), at);
        Fate::At(at, packet)
    }

    fn number(&mut self, node: usize) -> LinkId {
        let next = self.numbers.entry(node).or_default();
        *next += 1;
        LinkId(*next)
    }
}

fn pair(a: usize, b: usize) -> (usize, usize) {
    (a.min(b), a.max(b))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packet(to: End, stream: Stream, byte: u8) -> Packet {
        Packet { to, stream, bytes: vec![byte], last: Last::More }
    }

    #[test]
    fn a_stream_keeps_its_order_and_streams_overtake_each_other() {
        let mut rng = Rng::new(3, "net");
        let weather = Weather { delay: Span(1, 1000), loss: 300, retransmit: Span(10, 5000), ..Weather::calm(0) };
        let mut net = Net::default();
        let to = net.open(0, 1, [0; 32])[1];
        let mut arrive = |stream| match net.send(Instant::ZERO, packet(to, stream, 0), &weather, &mut rng) {
            Fate::At(at, _) => at,
            fate => panic!("{fate:?}"),
        };
        let control: Vec<Instant> = (0..100).map(|_| arrive(Stream::Control)).collect();
        assert!(control.is_sorted());
        assert!((0..100).any(|stream| arrive(Stream::Bulk(stream)) < control[99]));
    }

    #[test]
    fn a_partition_holds_and_a_dead_link_loses() {
        let mut rng = Rng::new(3, "net");
        let mut net = Net::default();
        let to = net.open(0, 1, [0; 32])[1];
        let calm = Weather::calm(5);
        net.block(1, 0);
        assert_eq!(net.send(Instant::ZERO, packet(to, Stream::Control, 1), &calm, &mut rng), Fate::Held);
        assert_eq!(net.unblock(0, 1), vec![packet(to, Stream::Control, 1)]);
        net.kill(to.link);
        assert_eq!(net.send(Instant::ZERO, packet(to, Stream::Control, 1), &calm, &mut rng), Fate::Lost);
    }
}
