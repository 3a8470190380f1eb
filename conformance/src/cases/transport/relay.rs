//! A subject that passes packets on between two devices, both of which are the suite's.
//!
//! Whether a service passes packets on is its operator's choice: one that stops the stream between two devices that named
//! one another with `SERVICE_NONE` does as it may (SERVICE-RELAY-6), and none of what follows is asked of it.

use segue_proto::limits::{MAX_PACKET, MAX_RELAYS};
use segue_proto::wire::{DeviceId, Discover, Exts, List, Message, Relay};
use segue_proto::{Code, Generation};
use segue_testkit::device::Command;

use super::Sign::Stop;
use super::mailbox::{HOSTS, hosting, linked_again};
use super::{Case, DIALLED, linked, refused, works};
use crate::lab::{Done, ensure};
use crate::loopback::{Bulk, Link, Loopback, Packets};
use crate::verdict::Fault;

pub(super) const CASES: &[Case] = &[
    refused(
        "transport/relay/none-here",
        &["SERVICE-RELAY-6"],
        DIALLED,
        Stop(Code::SERVICE_NONE),
        linked,
        |lo, code| {
            let (peer, mut link) = lo.linked()?;
            link.bulk(&first(peer.id))?.stopped_with(code)
        },
    )
    .since(Generation::V7),
    hosted(works("transport/relay/passed-on", &["SERVICE-RELAY-1"], DIALLED, passed_on)),
    hosted(works("transport/relay/ends-as-it-ended", &["SERVICE-RELAY-4"], DIALLED, |lo| {
        let Some(mut two) = Two::meet(lo)? else { return Ok(()) };
        let (mut out, mut came) = two.begin()?;
        out.more(&packet(1, 9));
        out.finish();
        ensure(came.take(11)? == packet(1, 9), "the packet before the end", "another")?;
        came.finished()?;
        let (mut out, mut came) = two.begin()?;
        out.reset(Code::LINK_SHUTDOWN);
        came.reset_with(Code::LINK_SHUTDOWN)?;
        let (mut out, mut came) = two.begin()?;
        came.stop(Code::AUTH_UNKNOWN_DEVICE);
        out.stopped_with(Code::AUTH_UNKNOWN_DEVICE)
    })),
    hosted(works("transport/relay/not-taken", &["SERVICE-RELAY-5"], DIALLED, |lo| {
        let Some(mut two) = Two::meet(lo)? else { return Ok(()) };
        let (mut flood, _unread) = two.begin()?;
        // Far more than a window holds: a service that waited for the receiver would take no more.
        let some = packet(2, MAX_PACKET).repeat(256);
        (0..FLOOD).try_for_each(|_| flood.all_taken(&mut two.one, &some))?;
        // The sender's link isn't held up, nor what goes to one that takes it.
        two.one.alive()?;
        let (mut out, mut came) = two.begin()?;
        out.more(&packet(3, 100));
        ensure(came.take(102)? == packet(3, 100), "a packet beside them", "another")
    })),
    hosted(refused(
        "transport/relay/one-that-named-nobody",
        &["SERVICE-RELAY-2"],
        DIALLED,
        Stop(Code::SERVICE_AWAY),
        passed_on,
        |lo, code| {
            let Some(mut two) = Two::meet(lo)? else { return Ok(()) };
            names(&mut two.second, &[])?;
            two.is_refused(two.other, code)?;
            // One that was never there.
            let nobody = DeviceId::new(two.one.binding);
            names(&mut two.one, &[nobody])?;
            two.is_refused(nobody, code)
        },
    )),
    hosted(refused(
        "transport/relay/one-too-many",
        &["SERVICE-RELAY-3"],
        DIALLED,
        Stop(Code::LIMIT_REQUESTS),
        passed_on,
        |lo, code| {
            let Some(mut two) = Two::meet(lo)? else { return Ok(()) };
            let streams: Vec<_> = (0..MAX_RELAYS).map(|_| two.begin()).collect::<Done<_>>()?;
            two.is_refused(two.other, code)?;
            drop(streams);
            Ok(())
        },
    )),
    hosted(refused(
        "transport/relay/no-packet",
        &["SERVICE-RELAY-8"],
        DIALLED,
        Stop(Code::WIRE_LENGTH),
        passed_on,
        |lo, code| {
            let Some(mut two) = Two::meet(lo)? else { return Ok(()) };
            for wrong in [packet(4, MAX_PACKET + 1), packet(4, 0)] {
                let (mut out, mut came) = two.begin()?;
                out.more(&wrong);
                // Whatever becomes of it, the other device must not get it.
                came.nothing()?;
                out.stopped_with(code)?;
            }
            Ok(())
        },
    )),
];

/// A case for which the subject hosts a mailbox. One that runs already lets one device of the suite in, and this takes two.
const fn hosted(case: Case) -> Case {
    case.needs(HOSTS).since(Generation::V7)
}

/// How often 256 full packets are sent: 24 MB.
const FLOOD: usize = 64;

/// The first frame of a stream of packets.
fn first(device: DeviceId) -> Vec<u8> {
    Message::from(Relay { device, ext: Exts::empty() }).to_frame()
}

fn packet(fill: u8, len: usize) -> Vec<u8> {
    let mut bytes = (len as u16).to_be_bytes().to_vec();
    bytes.resize(2 + len, fill);
    bytes
}

/// Two devices that named one another.
struct Two {
    one: Link,
    second: Link,
    own: DeviceId,
    other: DeviceId,
}

/// Names these devices, and waits until the subject has taken that in.
fn names(link: &mut Link, devices: &[DeviceId]) -> Done {
    let devices = List::new(devices.to_vec()).unwrap_or_default();
    link.send(Discover { req: 31, devices, ext: Exts::empty() });
    link.take("FOUND", |message| matches!(message, Message::Found(it) if it.req == 31).then_some(()))
}

impl Two {
    /// None if the subject passes nothing on.
    fn meet(lo: &mut Loopback) -> Done<Option<Two>> {
        let second = lo.another();
        let first_peer = hosting(lo, Command::HOST)?;
        let (own, other) = (first_peer.id, second.id);
        let (mut one, mut second) = (linked_again(lo, &first_peer)?, linked_again(lo, &second)?);
        names(&mut one, &[other])?;
        names(&mut second, &[own])?;
        let mut out = one.bulk(&first(other))?;
        match out.goes_on(&second)? {
            Ok(_) => {}
            Err(Code::SERVICE_NONE) => return Ok(None),
            Err(code) => {
                return Err(Fault::fail("packets passed on, or SERVICE_NONE", format!("stopped with {code:?}")));
            }
        }
        out.finish();
        Ok(Some(Two { one, second, own, other }))
    }

    /// A stream of packets, and the one on which they come.
    fn begin(&mut self) -> Done<(Bulk, Packets)> {
        let out = self.one.bulk(&first(self.other))?;
        let (relay, came) = self.second.packets("a stream of packets")?;
        ensure(relay.device == self.own, "RELAY that names the sender", relay.device)?;
        Ok((out, came))
    }

    /// A stream for this device is stopped with this code, and none is opened for it.
    fn is_refused(&mut self, device: DeviceId, code: Code) -> Done {
        match self.one.bulk(&first(device))?.goes_on(&self.second)? {
            Err(came) if came == code => Ok(()),
            Err(came) => Err(Fault::fail(format!("stopped with {code:?}"), format!("stopped with {came:?}"))),
            Ok(_) => Err(Fault::fail(format!("stopped with {code:?}"), "passed on")),
        }
    }
}

fn passed_on(lo: &mut Loopback) -> Done {
    let Some(mut two) = Two::meet(lo)? else { return Ok(()) };
    let (mut out, mut came) = two.begin()?;
    let sent = [packet(1, 1), packet(2, MAX_PACKET), packet(3, 700)].concat();
    // In pieces that are no packets.
    sent.chunks(1_001).for_each(|piece| out.more(piece));
    ensure(came.take(sent.len())? == sent, "the packets as they were sent", "others")
}
