//! An honest endpoint, driven by a stream of steps: links, frames of a hostile member, commands, time, syncs that
//! come late, signatures that come late, crashes and restored stores.

pub(crate) mod foe;
pub(crate) mod rig;

use segue_proto::data::PartKind;
use segue_proto::wire::{DeviceId, Hash, PartId, SessionId};
use segue_proto::{Code, Continuity, LinkId, Role};

use crate::input::Input;
use crate::seeds::device;
use foe::Foe;
use rig::{Quirks, Rig};

/// A run: a byte of quirks, then steps. The honest endpoint must not panic; its queues stay within their bounds; what
/// it sends decodes, is signed validly, and was durable before it left; it grants a parent once; its head never falls
/// below what was durable; a store that it wrote opens again.
pub fn endpoint(data: &[u8]) {
    let mut input = Input::new(data);
    let quirks = Quirks::of(input.byte());
    let mut rig = Rig::new(quirks);
    let mut foe = Foe::new(rig.session());
    rig.trust_foe();
    while !input.is_empty() {
        step(&mut rig, &mut foe, &mut input);
        rig.settle(&mut foe);
    }
    rig.sign_all(&mut foe);
    rig.sync(usize::MAX);
    rig.settle(&mut foe);
    rig.reopen(Continuity::Proven, &mut foe);
}

/// The kinds of steps, by the low bits of a byte.
pub(crate) mod steps {
    pub(crate) const TIME: u8 = 0;
    pub(crate) const LINK: u8 = 1;
    pub(crate) const DOWN: u8 = 2;
    pub(crate) const RAW: u8 = 3;
    pub(crate) const FOE: u8 = 4;
    pub(crate) const COMMAND: u8 = 5;
    pub(crate) const SYNC: u8 = 6;
    pub(crate) const SIGN: u8 = 7;
    pub(crate) const CRASH: u8 = 8;
    pub(crate) const BULK: u8 = 9;
    pub(crate) const COUNT: usize = 11;
}

fn step(rig: &mut Rig, foe: &mut Foe, input: &mut Input<'_>) {
    match input.below(steps::COUNT) as u8 {
        steps::TIME => {
            let micros = 1u64 << (input.byte() % 38);
            rig.pass(micros);
        }
        steps::LINK => {
            let bits = input.byte();
            let role = if bits & 1 == 0 { Role::Responder } else { Role::Initiator };
            rig.link(role, bits & 2 != 0, foe, usize::from(bits >> 2));
        }
        steps::DOWN => {
            let link = rig.some_link(input);
            rig.down(link);
        }
        steps::RAW => {
            let len = usize::from(input.byte());
            let (link, bytes) = (rig.some_link(input), input.take(len));
            rig.bytes(link, bytes);
        }
        steps::FOE => {
            let link = rig.some_link(input);
            let cut = usize::from(input.byte());
            if let Some(message) = foe.message(input) {
                let frame = message.to_frame();
                let (first, rest) = frame.split_at(cut.min(frame.len()));
                rig.bytes(link, first);
                rig.bytes(link, rest);
            }
        }
        steps::COMMAND => command(rig, foe, input),
        steps::SYNC => rig.sync(usize::from(input.byte())),
        steps::SIGN => rig.sign(usize::from(input.byte()), foe),
        steps::CRASH => match input.below(6) {
            0 => rig.reopen(Continuity::Unproven, foe),
            1 => rig.fail(foe),
            _ => rig.reopen(Continuity::Proven, foe),
        },
        steps::BULK => rig.bulk(foe, input),
        _ => odd(rig, input),
    }
}

fn command(rig: &mut Rig, foe: &Foe, input: &mut Input<'_>) {
    let now = rig.now();
    let kind = input.below(14);
    let (session, hash) = (foe.some_session(input), foe.some_hash(input));
    let to = if input.byte() % 4 == 3 { device(3) } else { foe.id() };
    let timeout = u64::from(input.short()) * 1_000;
    let core = rig.core();
    let _ = match kind {
        0 => core.create_session(now, "second", &[foe.id()]).map(|_| ()),
        1 => core.initiate_handoff(now, session, to, timeout).map(|_| ()),
        2 => core.cancel_handoff(now, session),
        3 => core.request_handoff(now, session, to, timeout).map(|_| ()),
        4 => core.consent(now, session, to, timeout),
        5 => core.accept_handoff(now, hash).map(|_| ()),
        6 => core.reject_handoff(now, hash, Some("not\u{202e} now")),
        7 => core.takeover(now, session),
        8 if input.byte() > 200 => core.close(now, session),
        9 => {
            core.trust(device(3));
            Ok(())
        }
        10 => {
            core.distrust(to);
            Ok(())
        }
        11 if input.byte() > 200 => {
            core.shutdown(now);
            Ok(())
        }
        12 => {
            let token = rig.token(input);
            rig.core().accept_handoff(now, token).map(|_| ())
        }
        _ => write(rig, session, input),
    };
}

fn write(rig: &mut Rig, session: SessionId, input: &mut Input<'_>) -> Result<(), segue_proto::UsageError> {
    let now = rig.now();
    let part = PartId::new([input.byte() % 3; 16]);
    let len = usize::from(input.byte());
    let body = input.take(len).to_vec();
    rig.core().write(now, 1, session, part, PartKind::Exclusive.number(), body).map(|_| ())
}

/// Calls that an adapter makes by mistake: numbers that nobody gave it.
fn odd(rig: &mut Rig, input: &mut Input<'_>) {
    let now = rig.now();
    let link = LinkId(u64::from(input.byte()));
    let core = rig.core();
    match input.below(6) {
        0 => core.handle_signed(now, segue_proto::SignId(u64::MAX), segue_proto::wire::Sig::ZERO),
        1 => core.handle_searched(now, SessionId::ZERO, Hash::ZERO),
        2 => core.handle_bulk_end(now, link, input.byte().into(), segue_proto::BulkEnd::Finished),
        3 => core.handle_served(now, link, input.byte().into(), segue_proto::Served::Unavailable),
        4 => core.handle_link_up(now, link, Role::Initiator, [0; 32], Some(DeviceId::ZERO)),
        _ => core.close_link(now, link, Code::LINK_SHUTDOWN),
    }
}
