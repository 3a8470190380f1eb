//! The control stream, and which streams are permitted when.

use segue_proto::limits::{CHUNK, IDLE, MAX_LINKS, MAX_PREAUTH};
use segue_proto::wire::{Exts, Get, Goaway, Hash, Message};
use segue_proto::{Code, Event, Role};

use super::Sign::Event as Told;
use super::scene::{head, owning_by};
use super::{BOTH, Case, DIALLED, DIALS, linked, refused, works};
use crate::cases::Part;
use crate::lab::{Done, ensure};
use crate::loopback::{Dialling, Limits, Link, Loopback};
use crate::peer::Peer;
use crate::verdict::Fault;

pub(super) const CASES: &[Case] = &[
    works("transport/stream/hello-without-waiting", &["TRANSPORT-STREAM-1", "LINK-HELLO-1"], DIALS, |lo| {
        let peer = lo.trusted()?;
        let mut link = lo.connect(&peer)?;
        link.proves()?;
        link.says(&peer);
        link.alive()
    }),
    works("transport/stream/hello-when-it-has-come", &["TRANSPORT-STREAM-1", "LINK-HELLO-1"], DIALLED, |lo| {
        let peer = lo.trusted()?;
        let mut link = lo.connect(&peer)?;
        let hello = Message::from(peer.hello()).to_frame();
        let (first, rest) = hello.split_at(2);
        link.send_raw(first);
        link.proves()?;
        link.send_raw(rest);
        link.send(link.auth(&peer, &peer.hello()));
        link.alive()
    })
    .outside(),
    works("transport/stream/one-control-stream", &["TRANSPORT-STREAM-1"], BOTH, |lo| {
        let (_, link) = lo.linked()?;
        let permitted = limits(&link)?.bidirectional;
        let due = if link.role == Role::Responder { 1 } else { 0 };
        ensure(permitted == due, "1 bidirectional stream of the initiator, none of the responder", permitted)?;
        ensure(!link.permits(true), "no second bidirectional stream", "one that is permitted")
    })
    .outside(),
    works("transport/stream/none-before-auth", &["TRANSPORT-STREAM-4"], BOTH, |lo| {
        let peer = lo.trusted()?;
        let mut link = lo.connect(&peer)?;
        let permitted = limits(&link)?.unidirectional;
        ensure(permitted == 0, "no unidirectional stream before AUTH", permitted)?;
        link.send(peer.hello());
        link.proves()?;
        ensure(!link.permits(false), "no unidirectional stream before AUTH", "one that is permitted")
    })
    .outside(),
    works("transport/stream/eight-after-auth", &["TRANSPORT-STREAM-4"], BOTH, |lo| {
        let (_, mut link) = lo.linked()?;
        let streams: Done<Vec<_>> = (0..8).map(|_| link.bulk(&[])).collect();
        drop(streams?);
        link.alive()
    })
    .outside(),
    works("transport/stream/room-comes-back", &["TRANSPORT-STREAM-4", "TRANSPORT-STREAM-3"], BOTH, |lo| {
        let (_, mut link) = lo.linked()?;
        for _ in 0..MANY {
            let mut stream = link.bulk(&unasked())?;
            stream.stopped_with(Code::WIRE_STATE)?;
            stream.reset(Code::WIRE_STATE);
        }
        link.alive()
    })
    .outside(),
    works(
        "transport/stream/waits-for-room",
        &["TRANSPORT-STREAM-4", "TRANSPORT-STREAM-3", "TRANSFER-SERVE-3"],
        DIALLED,
        |lo| {
            let mut own = owning_by(lo, &Dialling { streams: 1, ..Dialling::default() })?;
            let (blob, len) = (own.data.manifest, u64::from(own.data.manifest_len));
            for req in 61..65 {
                own.link.send(Get { req, session: own.session, blob, len, ext: Exts::empty() });
            }
            let mut answered = Vec::new();
            for _ in 61..65 {
                answered.push(own.link.stream("a bulk stream for each request, one after the other")?.0.req);
            }
            answered.sort_unstable();
            ensure(answered == [61, 62, 63, 64], "an answer to each of four requests", format!("{answered:?}"))
        },
    )
    .needs(&["create", "write-file"])
    .part(Part::Source),
    refused(
        "transport/stream/control-ends",
        &["TRANSPORT-STREAM-2"],
        BOTH,
        Told(Code::LINK_LOST),
        linked,
        |lo, code| {
            let (peer, mut link) = lo.linked()?;
            link.finish();
            closed(lo, peer.id, code)
        },
    ),
    refused(
        "transport/stream/control-is-reset",
        &["TRANSPORT-STREAM-2"],
        BOTH,
        Told(Code::LINK_LOST),
        linked,
        |lo, code| {
            let (peer, mut link) = lo.linked()?;
            link.reset(Code::LINK_SHUTDOWN);
            closed(lo, peer.id, code)
        },
    ),
    refused(
        "transport/stream/told-to-stop-reads-on",
        &["TRANSPORT-STREAM-2", "LINK-GOAWAY-1"],
        BOTH,
        Told(Code::VER_BELOW_FLOOR),
        linked,
        |lo, code| {
            let (peer, mut link) = ready(lo)?;
            link.stop_control(Code::LINK_SHUTDOWN);
            // It is told by a bulk stream that its link still lives.
            link.bulk(&unasked())?.stopped_with(Code::WIRE_STATE)?;
            link.send(Goaway { code: code.into(), ext: Exts::empty() });
            closed(lo, peer.id, code)
        },
    ),
    works("transport/idle/not-shorter", &["TRANSPORT-IDLE-1"], BOTH, |lo| {
        let (_, link) = lo.linked()?;
        let idle = limits(&link)?.idle_ms;
        ensure(idle == 0 || idle >= IDLE / 1_000, "an idle timeout of at least IDLE, or none", format!("{idle} ms"))
    })
    .outside(),
    works("transport/limit/credit-before-auth", &["TRANSPORT-LIMIT-1"], DIALLED, |lo| {
        let (_, link) = lo.linked()?;
        let credit = limits(&link)?.data;
        ensure(credit <= 2 * MAX_PREAUTH as u64, "at most 2 × MAX_PREAUTH bytes of credit before AUTH", credit)
    })
    .outside(),
    works("transport/limit/links", &["TRANSPORT-LIMIT-1"], DIALLED, |lo| {
        let peer = lo.trusted()?;
        let (standing, _) = lo.crowd(MAX_LINKS + 1)?;
        let open = standing.iter().filter(|it| it.close_reason().is_none()).count();
        ensure(open <= MAX_LINKS, "at most MAX_LINKS connections at once", open)?;
        standing.iter().for_each(|it| it.close(0u32.into(), b""));
        // Room needn't come back at once.
        for _ in 0..TRIES {
            if let Ok(mut link) = lo.try_dial(&Dialling::default())? {
                return link.greet(&peer);
            }
        }
        Err(Fault::fail("a link once those connections are over", "refusals"))
    }),
];

/// So often a full subject is dialled until there is room.
const TRIES: usize = 10_000;
/// More bulk streams than a device permits at a time.
const MANY: usize = 200;

/// A bulk stream that answers no request, and would go on.
pub(super) fn unasked() -> Vec<u8> {
    [head(1, Hash::new([1; 32]), 0, CHUNK), vec![0; 100]].concat()
}

/// A link of which the subject told its application.
pub(super) fn ready(lo: &mut Loopback) -> Done<(Peer, Link)> {
    let (peer, link) = lo.linked()?;
    lo.event("the event link-ready", |event| {
        matches!(event, Event::LinkReady { peer: at, .. } if *at == peer.id).then_some(())
    })?;
    Ok((peer, link))
}

/// What the subject's transport parameters permit.
fn limits(link: &Link) -> Done<Limits> {
    link.seen.limits().ok_or_else(|| Fault::fail("transport parameters", "none"))
}

/// The subject says that the link with this peer ended with this code.
pub(super) fn closed(lo: &mut Loopback, device: segue_proto::wire::DeviceId, code: Code) -> Done {
    let came = lo.event("the event link-closed", |event| match event {
        Event::LinkClosed { peer: Some(peer), code, .. } if *peer == device => Some(*code),
        _ => None,
    })?;
    ensure(came == code, &format!("the event link-closed with {code:?}"), format!("{came:?}"))
}
