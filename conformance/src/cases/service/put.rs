//! What a subject puts into a mailbox.

use segue_proto::data::PartKind;
use segue_proto::wire::{DeviceId, Error, Exts, Have, Message, PutOk};
use segue_proto::{Code, Event};
use segue_testkit::device::Command;

use super::E;
use super::scene::{CANARY, Mailbox, Shared, USES, owning, read_box_from, reported, shared, write};
use crate::cases::{Case, refused, works};
use crate::lab::{Done, Lab, ensure};
use crate::verdict::Fault;

pub(super) const CASES: &[Case] = &[
    works("service/put/everything", &["SERVICE-SEAL-1", "SERVICE-INVITE-1"], E, |lab| shared(lab).map(|_| ()))
        .needs(USES),
    works("service/put/log-and-register", &["SERVICE-SEAL-1", "SYNC-STRAND-1"], E, |lab| {
        let mut shared = shared(lab)?;
        let part = segue_proto::data::named_part(&shared.session, PartKind::Log, "diary");
        for at in 0..3u8 {
            let (session, kind) = (shared.session, PartKind::Log.number());
            lab.must(Command::Write { session, part, kind, body: vec![at; 9], resolves: false })?;
        }
        shared.mailbox.serve(lab)?;
        puts_all(lab, &shared)
    })
    .needs(USES),
    works("service/seal/nothing-in-clear", &["SERVICE-SEAL-1"], E, |lab| {
        let shared = shared(lab)?;
        let clear = [CANARY, b"notes", shared.session.as_bytes().as_slice(), shared.key.as_bytes()];
        let found = |envelope: &Vec<u8>| clear.iter().any(|word| envelope.windows(word.len()).any(|it| it == *word));
        let all = shared.mailbox.boxes.values().flatten();
        ensure(!all.clone().any(found), "envelopes that tell nothing", "a word of the session in clear")?;
        ensure(all.count() > 1, "a letter and an invitation", "less")
    })
    .needs(USES),
    works("service/seal/a-nonce-once", &["SERVICE-SEAL-1"], E, |lab| {
        let mut shared = shared(lab)?;
        for at in 0..6u8 {
            lab.must(write(shared.session, &[at; 20]))?;
            shared.mailbox.serve(lab)?;
        }
        let mut nonces: Vec<_> = shared.mailbox.held(&shared.at()).iter().map(|it| it.get(17..41)).collect();
        let count = nonces.len();
        nonces.sort_unstable();
        nonces.dedup();
        ensure(nonces.len() == count && count > 6, "a nonce each", format!("{} of {count}", nonces.len()))
    })
    .needs(USES),
    works("service/put/leaves-when-durable", &["SERVICE-PUT-1"], E, |lab| {
        let mut shared = shared(lab)?;
        lab.syncs = false;
        lab.must(write(shared.session, b"two"))?;
        lab.none(shared.mailbox.link, "PUT before what it tells is durable", is_put)?;
        lab.sync();
        lab.syncs = true;
        shared.mailbox.serve(lab)?;
        puts_all(lab, &shared)
    })
    .needs(USES),
    works("service/put/not-again", &["SERVICE-PUT-2"], E, |lab| {
        let mut shared = shared(lab)?;
        let before = shared.mailbox.held(&shared.at()).len();
        shared.mailbox.reboot(lab)?;
        shared.mailbox.serve(lab)?;
        let after = shared.mailbox.held(&shared.at()).len();
        ensure(after == before, "nothing that is there already", format!("{} letters more", after - before))?;
        lab.must(write(shared.session, b"two"))?;
        shared.mailbox.serve(lab)?;
        puts_all(lab, &shared)
    })
    .needs(USES),
    works("service/put/not-what-was-found-there", &["SERVICE-PUT-2"], E, |lab| {
        let mut shared = shared(lab)?;
        shared.goes_on(lab, b"theirs")?;
        let before = shared.mailbox.held(&shared.at()).len();
        shared.mailbox.reboot(lab)?;
        shared.mailbox.serve(lab)?;
        let after = shared.mailbox.held(&shared.at()).len();
        ensure(after == before, "nothing that it found there", format!("{} letters more", after - before))
    })
    .needs(USES),
    works("service/put/reads-its-own-before-the-answer", &["SERVICE-PUT-2", "SERVICE-HOST-6"], E, |lab| {
        let mut shared = shared(lab)?;
        shared.mailbox.hasty = true;
        for at in 0..3u8 {
            lab.must(write(shared.session, &[at; 20]))?;
            shared.mailbox.serve(lab)?;
        }
        lab.no_event("word that an envelope is lost or can't be read", |event| {
            matches!(event, Event::Violation { .. })
        })?;
        puts_all(lab, &shared)?;
        let before = shared.mailbox.held(&shared.at()).len();
        shared.mailbox.reboot(lab)?;
        shared.mailbox.serve(lab)?;
        let after = shared.mailbox.held(&shared.at()).len();
        ensure(after == before, "nothing that is there already", format!("{} letters more", after - before))
    })
    .needs(USES),
    works("service/put/after-a-lost-answer", &["SERVICE-PUT-1"], E, |lab| {
        let mut shared = shared(lab)?;
        lab.must(write(shared.session, b"two"))?;
        // The envelope came, and the subject never heard of it.
        lab.take(shared.mailbox.link, "PUT", |message| is_put(message).then_some(()))?;
        shared.mailbox.reboot(lab)?;
        shared.mailbox.serve(lab)?;
        puts_all(lab, &shared)
    })
    .needs(USES),
    refused("service/put/refused-for-want-of-room", &["SERVICE-PUT-3"], E, puts_more, |lab| {
        let mut shared = shared(lab)?;
        lab.must(write(shared.session, b"two"))?;
        let req = lab.take(shared.mailbox.link, "PUT", |message| match message {
            Message::Put(put) => Some(put.req),
            _ => None,
        })?;
        let (session, code, ext) = (None.into(), Code::LIMIT_QUOTA.into(), Exts::empty());
        lab.send(shared.mailbox.link, Error { req, session, code, definite: true, retry_after_ms: 5_000, ext });
        lab.none(shared.mailbox.link, "PUT before its time", is_put)?;
        lab.event("the event refused", |event| match event {
            Event::Refused { code: Code::LIMIT_QUOTA, .. } => Some(()),
            _ => None,
        })?;
        lab.pass(5_000_000);
        shared.mailbox.serve(lab)?;
        puts_all(lab, &shared)
    })
    .needs(USES),
    works("service/put/told-when-all-is-exchanged", &["SERVICE-PUT-1"], E, |lab| {
        let (_, _, mut mailbox) = owning(lab)?;
        let exchanged = |event: &Event| matches!(event, Event::Exchanged { .. });
        lab.no_event("word that all is exchanged before it is", exchanged)?;
        mailbox.serve(lab)?;
        lab.event("the event exchanged", |event| exchanged(event).then_some(()))
    })
    .needs(USES),
    works("service/back/everything-anew", &["SERVICE-BACK-1"], E, |lab| {
        let mut shared = shared(lab)?;
        shared.mailbox.boxes.clear();
        shared.mailbox.reboot(lab)?;
        shared.mailbox.serve(lab)?;
        reported(lab, Code::SERVICE_LOST)?;
        ensure(!shared.mailbox.held(&shared.at()).is_empty(), "letters, put anew", "none")?;
        // The numbers of the letters go on.
        let of = shared.at();
        let (first, _) = super::scene::open(&shared.key, &of, &shared.mailbox.held(&of)[0])?;
        ensure(first.count > 1, "a letter's number that was never used", first.count)
    })
    .needs(USES),
    works("service/back/a-letter-that-never-came-back", &["SERVICE-BACK-1", "SERVICE-PUT-2"], E, |lab| {
        let mut shared = shared(lab)?;
        let (link, before) = (shared.mailbox.link, shared.mailbox.held(&shared.at()).len() as u64);
        lab.must(write(shared.session, b"two"))?;
        // It was put, and is lost before the subject could read it there.
        let req = lab.take(link, "PUT", |message| match message {
            Message::Put(put) => Some(put.req),
            _ => None,
        })?;
        lab.send(link, PutOk { req, offset: before + 1, ext: Exts::empty() });
        shared.mailbox.reboot(lab)?;
        shared.mailbox.serve(lab)?;
        reported(lab, Code::SERVICE_LOST)?;
        // All of it again, under a number that wasn't used for the one that was lost.
        holds_all(lab, &shared, before + 2)
    })
    .needs(USES),
    works("service/back/also-what-it-took-from-there", &["SERVICE-BACK-1"], E, |lab| {
        let mut shared = shared(lab)?;
        shared.goes_on(lab, b"theirs")?;
        puts_all_anew(lab, shared, |mailbox, lab| {
            mailbox.unlink(lab);
            mailbox.relink(lab)
        })
    })
    .needs(USES),
    works("service/back/also-what-it-took-before-it-stopped", &["SERVICE-BACK-1"], E, |lab| {
        let mut shared = shared(lab)?;
        shared.goes_on(lab, b"theirs")?;
        puts_all_anew(lab, shared, Mailbox::reboot)
    })
    .needs(USES),
    refused("service/peer/asks", &["SERVICE-PEER-1"], E, puts_more, |lab| {
        let mut shared = shared(lab)?;
        lab.skip(shared.mailbox.link);
        let have = Have {
            req: 900,
            session: shared.session,
            head: segue_proto::wire::Hash::ZERO,
            data: None.into(),
            ext: Exts::empty(),
        };
        lab.send(shared.mailbox.link, have);
        lab.none(shared.mailbox.link, "answer to what a mailbox may not ask", |message| {
            matches!(message, Message::Error(_) | Message::Head(_) | Message::Have(_))
        })?;
        lab.must(write(shared.session, b"two"))?;
        shared.mailbox.serve(lab)?;
        puts_all(lab, &shared)
    })
    .needs(USES),
];

/// The subject writes more, and that is put.
pub(super) fn puts_more(lab: &mut Lab) -> Done {
    let mut shared = shared(lab)?;
    lab.must(write(shared.session, b"two"))?;
    shared.mailbox.serve(lab)?;
    puts_all(lab, &shared)
}

/// An older copy of the mailbox is put back, in which nothing is, and the subject comes again: what it puts then, under
/// numbers that it never used, holds all that it does, though another device wrote some of it, which puts nothing again.
fn puts_all_anew(lab: &mut Lab, mut shared: Shared, again: impl FnOnce(&mut Mailbox, &mut Lab) -> Done) -> Done {
    let used = letters_of(&shared, lab.id())?.len() as u64;
    shared.mailbox.boxes.clear();
    again(&mut shared.mailbox, lab)?;
    shared.mailbox.serve(lab)?;
    reported(lab, Code::SERVICE_LOST)?;
    let first = letters_of(&shared, lab.id())?.first().copied();
    let first = first.ok_or_else(|| Fault::fail("letters, put anew", "none"))?;
    ensure(first > used, "a letter's number that was never used", first)?;
    holds_all(lab, &shared, first)
}

/// The numbers of a device's letters in the session's box, in their order.
fn letters_of(shared: &Shared, by: DeviceId) -> Done<Vec<u64>> {
    let of = shared.at();
    let mut counts = Vec::new();
    for envelope in shared.mailbox.held(&of) {
        let (letter, _) = super::scene::open(&shared.key, &of, envelope)?;
        counts.extend((letter.from == by).then_some(letter.count));
    }
    Ok(counts)
}

/// The subject's letters hold all that it does.
fn puts_all(lab: &mut Lab, shared: &Shared) -> Done {
    holds_all(lab, shared, 1)
}

/// The subject's letters from the one of this number on hold all that it does.
fn holds_all(lab: &mut Lab, shared: &Shared, first: u64) -> Done {
    let (state, _) = read_box_from(&shared.mailbox, &shared.key, shared.session, lab.id(), first)?;
    let (root, known) = (state.root(), lab.known(shared.session)?.root);
    ensure(root == known, "all of the subject's data in its letters", format!("the root {root:?}, not {known:?}"))
}

fn is_put(message: &Message) -> bool {
    matches!(message, Message::Put(_))
}
