//! What a subject takes from a mailbox, and what it passes over.

use segue_proto::seal;
use segue_proto::wire::hash::blob_id;
use segue_proto::wire::{BoxId, Envelopes, Exts, Letter, Message, Ping, SessionId, Signed};
use segue_proto::{Code, Rules};

use super::E;
use super::scene::{Shared, USES, envelopes, reported, same_root, sealed, shared};
use crate::cases::{Case, refused, works};
use crate::lab::{Done, Lab, ensure};
use crate::peer::{Peer, tampered};
use crate::verdict::Fault;

pub(super) const CASES: &[Case] = &[
    works("service/take/letter", &["SERVICE-SIGN-1", "SERVICE-READ-1"], E, taken).needs(USES),
    works("service/take/both-ways", &["SERVICE-SIGN-1"], E, |lab| {
        let mut shared = shared(lab)?;
        for at in 0..3u8 {
            shared.goes_on(lab, &[at; 12])?;
            lab.must(super::scene::write(shared.session, &[at; 13]))?;
            shared.mailbox.serve(lab)?;
            let (own, _) = super::scene::read_box(&shared.mailbox, &shared.key, shared.session, lab.id())?;
            own.parts()
                .try_for_each(|part| shared.book.state.merge(Rules::ALL, part).map(|_| ()))
                .map_err(|why| Fault::fail("letters that merge with the member's", format!("{why:?}")))?;
            shared.agrees(lab)?;
        }
        Ok(())
    })
    .needs(USES),
    refused("service/open/tag-changed", &["SERVICE-SEAL-2"], E, taken, |lab| {
        forged(lab, |_, _, mut envelope| {
            if let Some(last) = envelope.last_mut() {
                *last ^= 1;
            }
            envelope
        })
    })
    .needs(USES),
    refused("service/open/sealed-for-another-box", &["SERVICE-SEAL-2"], E, taken, |lab| {
        let mut shared = shared(lab)?;
        shared.writes(b"theirs");
        let frames = shared.frames();
        let letter = shared.letter(&frames);
        let plain = sealed(&shared.peer, &letter, &frames);
        let envelope = seal::seal(Rules::ALL, &shared.key, &BoxId::new([9; 32]), &lab.rng.array(), &plain);
        shared.passes_over(lab, envelope, Code::SERVICE_ENVELOPE)?;
        shared.goes_on(lab, b"theirs, sealed right")
    })
    .needs(USES),
    refused("service/open/cut", &["SERVICE-SEAL-2"], E, taken, |lab| {
        forged(lab, |_, _, mut envelope| {
            envelope.truncate(60);
            envelope
        })
    })
    .needs(USES),
    refused("service/open/empty", &["SERVICE-SEAL-2"], E, taken, |lab| forged(lab, |_, _, _| Vec::new())).needs(USES),
    refused("service/open/under-another-key", &["SERVICE-SEAL-2"], E, taken, |lab| {
        forged(lab, |lab, shared, _| {
            let key = seal::ContentKey::new(lab.rng.array());
            seal::seal(Rules::ALL, &key, &shared.at(), &lab.rng.array(), b"anything")
        })
    })
    .needs(USES),
    refused("service/letter/unsigned", &["WIRE-SIGN-1"], E, taken, |lab| {
        let mut shared = shared(lab)?;
        shared.writes(b"theirs");
        let frames = shared.frames();
        let letter = shared.letter(&frames);
        let letter = tampered(&shared.peer.sign(&letter));
        let envelope = seal_signed(lab, &shared, letter, &frames);
        shared.passes_over(lab, envelope, Code::AUTH_SIGNATURE)?;
        shared.goes_on(lab, b"theirs, signed")
    })
    .needs(USES),
    refused("service/letter/of-another-box", &["SERVICE-SIGN-1"], E, taken, |lab| {
        misdirected(lab, |letter| letter.to = BoxId::new([9; 32]))
    })
    .needs(USES),
    refused("service/letter/of-another-session", &["SERVICE-SIGN-1"], E, taken, |lab| {
        misdirected(lab, |letter| letter.session = SessionId::new([9; 16]))
    })
    .needs(USES),
    refused("service/letter/with-other-frames", &["SERVICE-SIGN-1"], E, taken, |lab| {
        misdirected(lab, |letter| letter.frames = blob_id(b"other frames"))
    })
    .needs(USES),
    refused("service/letter/by-a-stranger", &["SERVICE-READ-1"], E, taken, |lab| {
        let mut shared = shared(lab)?;
        let member = shared.peer.clone();
        shared.writes(b"theirs");
        shared.peer = Peer::new(&mut lab.rng);
        let envelope = shared.next(lab);
        shared.passes_over(lab, envelope, Code::SERVICE_ENVELOPE)?;
        (shared.peer, shared.count) = (member, 0);
        shared.goes_on(lab, b"by a member")
    })
    .needs(USES),
    works("service/letter/again", &["SERVICE-COUNT-1"], E, |lab| {
        let mut shared = shared(lab)?;
        shared.goes_on(lab, b"theirs")?;
        let again = shared.mailbox.held(&shared.at()).last().cloned().unwrap_or_default();
        let root = lab.known(shared.session)?.root;
        shared.brings(lab, again)?;
        same_root(lab, shared.session, root)?;
        shared.goes_on(lab, b"theirs, later")
    })
    .needs(USES),
    works("service/count/one-is-hidden", &["SERVICE-COUNT-1"], E, |lab| {
        let mut shared = shared(lab)?;
        shared.goes_on(lab, b"first")?;
        shared.next(lab);
        shared.goes_on(lab, b"third")?;
        reported(lab, Code::SERVICE_LOST)
    })
    .needs(USES),
    works("service/count/none-is-hidden", &["SERVICE-COUNT-1"], E, |lab| {
        let mut shared = shared(lab)?;
        shared.goes_on(lab, b"first")?;
        shared.goes_on(lab, b"second")?;
        lab.no_event("word of a letter that is missing", |event| {
            matches!(event, segue_proto::Event::Violation { violation, .. } if violation.code == Code::SERVICE_LOST)
        })
    })
    .needs(USES),
    works("service/count/out-of-order", &["SERVICE-COUNT-1"], E, |lab| {
        let mut shared = shared(lab)?;
        shared.writes(b"first");
        let first = shared.next(lab);
        shared.goes_on(lab, b"second")?;
        reported(lab, Code::SERVICE_LOST)?;
        shared.brings(lab, first)?;
        shared.agrees(lab)
    })
    .needs(USES),
    refused("service/frames/of-another-type", &["SERVICE-FRAME-1"], E, taken, |lab| {
        let ping = Message::from(Ping { nonce: 5, answer: false, ext: Exts::empty() });
        framed(lab, |frames| [ping.to_frame(), frames].concat())
    })
    .needs(USES),
    refused("service/frames/of-another-session", &["SERVICE-FRAME-1"], E, taken, |lab| {
        let session = SessionId::new([9; 16]);
        let head = Message::from(crate::peer::head(session, Vec::new(), None));
        framed(lab, |frames| [head.to_frame(), frames].concat())
    })
    .needs(USES),
    refused("service/frames/cut", &["SERVICE-FRAME-1"], E, taken, |lab| {
        let mut shared = shared(lab)?;
        let mut frames = shared.frames();
        frames.truncate(frames.len() - 1);
        let letter = shared.letter(&frames);
        let envelope = shared.seal(lab, &letter, &frames);
        shared.passes_over(lab, envelope, Code::SERVICE_ENVELOPE)?;
        shared.goes_on(lab, b"theirs, whole")
    })
    .needs(USES),
    works("service/frames/unknown-odd-is-skipped", &["SERVICE-FRAME-1", "WIRE-FRAME-3"], E, |lab| {
        let mut shared = shared(lab)?;
        shared.writes(b"theirs");
        let frames = [vec![0xbb, 0x7d, 2, 1, 2], shared.frames()].concat();
        let letter = shared.letter(&frames);
        let envelope = shared.seal(lab, &letter, &frames);
        shared.brings(lab, envelope)?;
        shared.agrees(lab)
    })
    .needs(USES),
    works("service/fetch/goes-on-where-it-stood", &["SERVICE-FETCH-1"], E, |lab| {
        let mut shared = shared(lab)?;
        shared.goes_on(lab, b"theirs")?;
        shared.mailbox.reboot(lab)?;
        shared.mailbox.serve(lab)?;
        let (at, last) = (shared.at(), shared.mailbox.held(&shared.at()).len() as u64);
        let first = shared.mailbox.asked.iter().find(|(of, _)| *of == at).copied();
        ensure(first == Some((at, last)), "what follows the last", format!("{first:?}"))
    })
    .needs(USES),
    works("service/fetch/offset-with-what-came", &["SERVICE-FETCH-1"], E, cut_anywhere).needs(USES),
    refused("service/fetch/not-asked-for", &["SERVICE-FETCH-2"], E, taken, |lab| {
        let mut shared = shared(lab)?;
        let before = lab.known(shared.session)?.root;
        shared.writes(b"theirs");
        let envelope = shared.next(lab);
        let last = shared.mailbox.held(&shared.at()).len() as u64;
        let watch = watch_of(&shared)?;
        lab.send(shared.mailbox.link, envelopes(watch, last + 2, last + 2, Some(envelope)));
        reported(lab, Code::SERVICE_FETCH)?;
        same_root(lab, shared.session, before)
    })
    .needs(USES),
    refused("service/fetch/says-that-there-is-more-and-gives-nothing", &["SERVICE-FETCH-2"], E, taken, |lab| {
        let shared = shared(lab)?;
        let (watch, last) = (watch_of(&shared)?, shared.mailbox.held(&shared.at()).len() as u64);
        lab.send(shared.mailbox.link, envelopes(watch, 0, last + 1, None));
        let req = lab.take(shared.mailbox.link, "FETCH", |message| match message {
            Message::Fetch(fetch) => Some(fetch.req),
            _ => None,
        })?;
        lab.send(shared.mailbox.link, envelopes(req, 0, last + 1, None));
        reported(lab, Code::SERVICE_FETCH)?;
        lab.none(shared.mailbox.link, "FETCH without end", |message| matches!(message, Message::Fetch(_)))
    })
    .needs(USES),
    works("service/fetch/answer-to-nothing", &["SERVICE-FETCH-2"], E, |lab| {
        let mut shared = shared(lab)?;
        let before = lab.known(shared.session)?.root;
        shared.writes(b"theirs");
        let envelope = shared.next(lab);
        let last = shared.mailbox.held(&shared.at()).len() as u64;
        lab.send(shared.mailbox.link, envelopes(77_777, last + 1, last + 1, Some(envelope)));
        lab.alive(shared.mailbox.link)?;
        same_root(lab, shared.session, before)
    })
    .needs(USES),
];

/// A member's letter is taken in: what must be possible beside every refusal.
pub(super) fn taken(lab: &mut Lab) -> Done {
    let mut shared = shared(lab)?;
    shared.goes_on(lab, b"theirs")
}

/// An envelope that was right before it was made into this: passed over, and what follows counts.
fn forged(lab: &mut Lab, forge: fn(&mut Lab, &Shared, Vec<u8>) -> Vec<u8>) -> Done {
    let mut shared = shared(lab)?;
    shared.writes(b"theirs");
    let envelope = shared.next(lab);
    let envelope = forge(lab, &shared, envelope);
    shared.passes_over(lab, envelope, Code::SERVICE_ENVELOPE)?;
    shared.goes_on(lab, b"theirs, untouched")
}

/// A letter that says something else than where it is, sealed and signed right.
fn misdirected(lab: &mut Lab, change: fn(&mut Letter)) -> Done {
    let mut shared = shared(lab)?;
    shared.writes(b"theirs");
    let frames = shared.frames();
    let mut letter = shared.letter(&frames);
    change(&mut letter);
    let envelope = shared.seal(lab, &letter, &frames);
    shared.passes_over(lab, envelope, Code::SERVICE_ENVELOPE)?;
    shared.goes_on(lab, b"theirs, to this box")
}

/// A letter with frames that may not all be there; good ones follow those.
fn framed(lab: &mut Lab, frames: impl Fn(Vec<u8>) -> Vec<u8>) -> Done {
    let mut shared = shared(lab)?;
    shared.writes(b"theirs");
    let frames = frames(shared.frames());
    let letter = shared.letter(&frames);
    let envelope = shared.seal(lab, &letter, &frames);
    shared.passes_over(lab, envelope, Code::SERVICE_ENVELOPE)?;
    shared.goes_on(lab, b"theirs, and nothing else")
}

fn seal_signed(lab: &mut Lab, shared: &Shared, letter: Signed<Letter>, frames: &[u8]) -> Vec<u8> {
    let frames = segue_proto::wire::Blob::new(frames.to_vec()).unwrap_or_default();
    let plain = segue_proto::wire::codec::encode(&segue_proto::wire::Sealed { letter, frames });
    seal::seal(Rules::ALL, &shared.key, &shared.at(), &lab.rng.array(), &plain)
}

/// The request of the WATCH that waits at the session's box.
fn watch_of(shared: &Shared) -> Done<u32> {
    let watch = shared.mailbox.watches.iter().find(|watch| watch.of == shared.at());
    watch.map(|watch| watch.req).ok_or_else(|| Fault::fail("a WATCH of the session's box", "none"))
}

/// The subject's power is cut after each of the writes by which it takes a letter in: either the letter is there
/// then, or it is fetched again.
fn cut_anywhere(lab: &mut Lab) -> Done {
    let mut shared = shared(lab)?;
    shared.writes(b"theirs");
    let envelope = shared.next(lab);
    let (at, watch) = (shared.at(), watch_of(&shared)?);
    let last = shared.mailbox.held(&at).len() as u64 + 1;
    shared.mailbox.boxes.entry(at).or_default().push(envelope.clone());
    lab.syncs = false;
    let answer: Envelopes = envelopes(watch, last, last, Some(envelope));
    lab.send(shared.mailbox.link, answer);
    lab.settle();
    let written = lab.disk.clone();
    ensure(written.written() > 0, "something to write down", "nothing")?;
    for kept in 0..=written.written() {
        lab.disk = written.clone();
        lab.disk.end_sync(lab.disk.begin_sync_of(kept));
        lab.syncs = true;
        shared.mailbox.reboot(lab)?;
        shared.mailbox.serve(lab)?;
        shared.agrees(lab)?;
    }
    Ok(())
}
