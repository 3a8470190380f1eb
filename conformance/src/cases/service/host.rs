//! A subject that hosts a mailbox.

use segue_proto::limits::{MAILBOX_WINDOW, MAX_ENVELOPE, MAX_WATCHES};
use segue_proto::wire::BoxId;
use segue_proto::{Code, Event, Generation, Role};
use segue_testkit::device::Command;

use super::E;
use super::scene::{Asker, BOX, HOSTS, hosting};
use crate::cases::{Case, refused, works};
use crate::lab::{Done, Lab, ensure};
use crate::peer::Peer;

pub(super) const CASES: &[Case] = &[
    works("service/host/none-here", &["SERVICE-NONE-1"], E, |lab| {
        let (peer, link) = crate::cases::scene::linked(lab)?;
        let mut asker = Asker::at(peer, link);
        asker.refused(lab, BOX, b"one", Code::SERVICE_NONE)
    }),
    works("service/put/numbered", &["SERVICE-HOST-1"], E, numbered).needs(HOSTS),
    works("service/put/twice", &["SERVICE-HOST-1"], E, |lab| {
        let mut asker = hosting(lab, Command::HOST)?;
        asker.puts(lab, BOX, b"one")?;
        asker.puts(lab, BOX, b"two")?;
        let again = asker.puts(lab, BOX, b"one")?;
        ensure(again == 1, "the offset that it has", again)?;
        let all = asker.fetches(lab, BOX, 0)?;
        ensure(all.last == 2, "two envelopes", all.last)?;
        let elsewhere = asker.puts(lab, BoxId::new([0x0c; 32]), b"one")?;
        ensure(elsewhere == 1, "a box of its own", elsewhere)
    })
    .needs(HOSTS),
    works("service/put/twice-over-a-restart", &["SERVICE-HOST-1"], E, |lab| {
        let mut asker = hosting(lab, Command::HOST)?;
        asker.puts(lab, BOX, b"one")?;
        asker.reboot(lab, Command::HOST)?;
        let again = asker.puts(lab, BOX, b"one")?;
        ensure(again == 1, "the offset that it has", again)?;
        let next = asker.puts(lab, BOX, b"two")?;
        ensure(next == 2, "the next offset", next)
    })
    .needs(HOSTS),
    works("service/put/ok-when-durable", &["SERVICE-HOST-2"], E, |lab| {
        let mut asker = hosting(lab, Command::HOST)?;
        lab.syncs = false;
        let req = asker.put(lab, BOX, b"one");
        asker.silent(lab, req)?;
        lab.sync();
        asker.put_ok(lab, req)?;
        lab.syncs = true;
        asker.reboot(lab, Command::HOST)?;
        let all = asker.fetches(lab, BOX, 0)?;
        ensure(all.envelopes.len() == 1, "what was said to be put, after a loss of power", all.envelopes.len())
    })
    .needs(HOSTS),
    works("service/put/twice-before-it-is-durable", &["SERVICE-HOST-2", "SERVICE-HOST-1"], E, |lab| {
        let mut asker = hosting(lab, Command::HOST)?;
        lab.syncs = false;
        let (first, again) = (asker.put(lab, BOX, b"one"), asker.put(lab, BOX, b"one"));
        asker.silent(lab, first)?;
        asker.silent(lab, again)?;
        lab.sync();
        let offsets = (asker.put_ok(lab, first)?, asker.put_ok(lab, again)?);
        ensure(offsets == (1, 1), "one offset", format!("{offsets:?}"))
    })
    .needs(HOSTS),
    works("service/put/nothing-after-a-failed-sync", &["SERVICE-HOST-2", "HO-STORE-3"], E, |lab| {
        let mut asker = hosting(lab, Command::HOST)?;
        lab.syncs = false;
        let req = asker.put(lab, BOX, b"one");
        lab.fail_store();
        asker.silent(lab, req)?;
        lab.event("the event halted", |event| matches!(event, Event::Halted).then_some(()))
    })
    .needs(HOSTS),
    refused("service/quota/full-box", &["SERVICE-HOST-3"], E, numbered, |lab| {
        let mut asker = hosting(lab, bounded(Some(2), None, None, None))?;
        asker.puts(lab, BOX, b"one")?;
        asker.puts(lab, BOX, b"two")?;
        asker.refused(lab, BOX, b"three", Code::LIMIT_QUOTA)?;
        let all = asker.fetches(lab, BOX, 0)?;
        ensure(all.last == 2 && all.envelopes.len() == 2, "what was there before, all of it", all.last)?;
        let known = asker.puts(lab, BOX, b"one")?;
        ensure(known == 1, "the offset of what is there", known)?;
        asker.puts(lab, BoxId::new([0x0c; 32]), b"three").map(|_| ())
    })
    .needs(HOSTS),
    refused("service/quota/bytes-of-a-box", &["SERVICE-HOST-3"], E, numbered, |lab| {
        let mut asker = hosting(lab, bounded(None, Some(4_000), None, None))?;
        asker.puts(lab, BOX, &[1; 3_000])?;
        asker.refused(lab, BOX, &[2; 3_000], Code::LIMIT_QUOTA)?;
        asker.puts(lab, BOX, &[2; 200]).map(|_| ())
    })
    .needs(HOSTS),
    refused("service/quota/bytes-of-a-device", &["SERVICE-HOST-3"], E, numbered, |lab| {
        let mut asker = hosting(lab, bounded(None, None, Some(4_000), None))?;
        asker.puts(lab, BOX, &[1; 3_000])?;
        asker.refused(lab, BoxId::new([0x0c; 32]), &[2; 3_000], Code::LIMIT_QUOTA)?;
        let mut other = another(lab)?;
        other.puts(lab, BOX, &[2; 3_000]).map(|_| ())
    })
    .needs(HOSTS),
    refused("service/quota/number-of-boxes", &["SERVICE-HOST-3"], E, numbered, |lab| {
        // Each envelope counts ENVELOPE_COST besides its bytes, so that empty ones don't make boxes without end.
        let mut asker = hosting(lab, bounded(None, None, None, Some(2_100)))?;
        for at in 0..8 {
            asker.puts(lab, BoxId::new([at; 32]), b"")?;
        }
        asker.refused(lab, BoxId::new([8; 32]), b"", Code::LIMIT_QUOTA)
    })
    .needs(HOSTS),
    refused("service/put/too-long", &["WIRE-CAP-1"], E, longest, |lab| {
        let mut asker = hosting(lab, Command::HOST)?;
        let req = asker.req();
        let len = MAX_ENVELOPE + 1;
        let body: Vec<u8> =
            [varint(req as usize), BOX.as_bytes().to_vec(), varint(len), vec![7; len], vec![0]].concat();
        lab.send_raw(asker.link, &[varint(96), varint(body.len()), body].concat());
        lab.ends_with(asker.link, Code::WIRE_LIMIT)
    })
    .needs(HOSTS),
    refused("service/put/too-many-at-once", &["SERVICE-HOST-4"], E, numbered, |lab| {
        let mut asker = hosting(lab, Command::HOST)?;
        lab.syncs = false;
        let reqs: Vec<u32> =
            (0..2 * MAILBOX_WINDOW).map(|at| asker.put(lab, BOX, format!("envelope {at}").as_bytes())).collect();
        let more = asker.put(lab, BOX, b"one more");
        // What is said on a link keeps its order, so that the refusal comes behind the answers that wait.
        lab.sync();
        for req in reqs {
            asker.put_ok(lab, req)?;
        }
        lab.refuses(asker.link, more, Code::LIMIT_REQUESTS)?;
        lab.syncs = true;
        asker.puts(lab, BOX, b"one more").map(|_| ())
    })
    .needs(HOSTS),
    refused("service/watch/too-many-at-once", &["SERVICE-HOST-4"], E, watched, |lab| {
        let mut asker = hosting(lab, Command::HOST)?;
        for _ in 0..MAX_WATCHES {
            asker.watch(lab, BOX, 0);
        }
        let more = asker.watch(lab, BOX, 0);
        lab.refuses(asker.link, more, Code::LIMIT_REQUESTS)
    })
    .since(Generation::V7)
    .needs(HOSTS),
    works("service/fetch/from-an-offset", &["SERVICE-HOST-5"], E, |lab| {
        let mut asker = hosting(lab, Command::HOST)?;
        for envelope in [b"one".as_slice(), b"two", b"three"] {
            asker.puts(lab, BOX, envelope)?;
        }
        let rest = asker.fetches(lab, BOX, 1)?;
        let held: Vec<&[u8]> = rest.envelopes.iter().map(|envelope| &envelope[..]).collect();
        let right = rest.first == 2 && rest.last == 3 && held == [b"two".as_slice(), b"three"];
        ensure(right, "the second and the third", format!("{rest:?}"))
    })
    .needs(HOSTS),
    works("service/fetch/nothing-follows", &["SERVICE-HOST-5"], E, |lab| {
        let mut asker = hosting(lab, Command::HOST)?;
        let none = asker.fetches(lab, BOX, 0)?;
        ensure((none.first, none.last) == (0, 0) && none.envelopes.is_empty(), "an empty box", format!("{none:?}"))?;
        asker.puts(lab, BOX, b"one")?;
        for after in [1, 2, u64::MAX] {
            let none = asker.fetches(lab, BOX, after)?;
            let right = (none.first, none.last) == (0, 1) && none.envelopes.is_empty();
            ensure(right, "nothing, and the last offset", format!("{none:?}"))?;
        }
        Ok(())
    })
    .needs(HOSTS),
    works("service/fetch/page-by-page", &["SERVICE-HOST-5"], E, |lab| {
        let mut asker = hosting(lab, Command::HOST)?;
        for at in 0..5u8 {
            asker.puts(lab, BOX, &[at; 30_000])?;
        }
        let (mut after, mut held) = (0, Vec::new());
        while after < 5 {
            let page = asker.fetches(lab, BOX, after)?;
            ensure(page.first == after + 1 && !page.envelopes.is_empty(), "what follows", format!("{}", page.first))?;
            after += page.envelopes.len() as u64;
            held.extend(page.envelopes.iter().filter_map(|envelope| envelope.first().copied()));
        }
        ensure(held == [0, 1, 2, 3, 4], "all of them, once and in order", format!("{held:?}"))
    })
    .needs(HOSTS),
    works("service/fetch/by-another-device", &["SERVICE-HOST-5"], E, |lab| {
        let mut asker = hosting(lab, Command::HOST)?;
        asker.puts(lab, BOX, b"one")?;
        let mut other = another(lab)?;
        let all = other.fetches(lab, BOX, 0)?;
        ensure(all.envelopes.first().is_some_and(|it| **it == *b"one"), "what the first put", format!("{all:?}"))
    })
    .needs(HOSTS),
    works("service/fetch/kept-over-a-restart", &["SERVICE-HOST-2", "SERVICE-HOST-5"], E, |lab| {
        let mut asker = hosting(lab, Command::HOST)?;
        asker.puts(lab, BOX, b"one")?;
        asker.puts(lab, BOX, b"two")?;
        asker.reboot(lab, Command::HOST)?;
        let all = asker.fetches(lab, BOX, 0)?;
        let held: Vec<&[u8]> = all.envelopes.iter().map(|envelope| &envelope[..]).collect();
        ensure(held == [b"one".as_slice(), b"two"], "both, in order", format!("{all:?}"))
    })
    .needs(HOSTS),
    works("service/watch/answered-when-something-comes", &["SERVICE-HOST-6"], E, watched).needs(HOSTS),
    works("service/watch/answered-at-once", &["SERVICE-HOST-6"], E, |lab| {
        let mut asker = hosting(lab, Command::HOST)?;
        asker.puts(lab, BOX, b"one")?;
        let req = asker.watch(lab, BOX, 0);
        let told = asker.envelopes(lab, req)?;
        ensure(told.last == 1, "word of what is there", told.last)
    })
    .needs(HOSTS),
    works("service/watch/long-envelopes-are-only-told-of", &["SERVICE-HOST-6"], E, |lab| {
        let mut asker = hosting(lab, Command::HOST)?;
        let req = asker.watch(lab, BOX, 0);
        asker.puts(lab, BOX, &[1; 30_000])?;
        let told = asker.envelopes(lab, req)?;
        let right = told.last == 1 && told.envelopes.is_empty();
        ensure(right, "word of it, and not the envelope", format!("{} envelopes", told.envelopes.len()))?;
        let all = asker.fetches(lab, BOX, 0)?;
        ensure(all.envelopes.len() == 1, "the envelope by FETCH", all.envelopes.len())
    })
    .needs(HOSTS),
    works("service/watch/of-a-box-that-lost-envelopes", &["SERVICE-HOST-6"], E, |lab| {
        let mut asker = hosting(lab, Command::HOST)?;
        asker.puts(lab, BOX, b"one")?;
        // The watcher has seen more than there is, so it is told at once.
        let req = asker.watch(lab, BOX, 7);
        let told = asker.envelopes(lab, req)?;
        ensure(told.last == 1 && told.envelopes.is_empty(), "the last offset", format!("{told:?}"))
    })
    .needs(HOSTS),
    refused("service/host/stranger", &["LINK-AUTH-3"], E, numbered, |lab| {
        hosting(lab, Command::HOST)?;
        let stranger = Peer::new(&mut lab.rng);
        let link = lab.link_up(Role::Responder, None);
        let hello = stranger.hello();
        let (binding, _) = lab.channel(link);
        let auth = stranger.auth(Role::Initiator, &hello, &binding);
        lab.send(link, hello);
        lab.send(link, auth);
        lab.ends_with(link, Code::AUTH_FAILED)
    })
    .needs(HOSTS),
];

fn numbered(lab: &mut Lab) -> Done {
    let mut asker = hosting(lab, Command::HOST)?;
    for expected in 1..=3u64 {
        let offset = asker.puts(lab, BOX, &[expected as u8; 10])?;
        ensure(offset == expected, "offsets from 1 without gaps", offset)?;
    }
    Ok(())
}

fn longest(lab: &mut Lab) -> Done {
    let mut asker = hosting(lab, Command::HOST)?;
    asker.puts(lab, BOX, &[7; MAX_ENVELOPE])?;
    let all = asker.fetches(lab, BOX, 0)?;
    ensure(all.envelopes.first().is_some_and(|it| it.len() == MAX_ENVELOPE), "the longest envelope", all.last)
}

fn watched(lab: &mut Lab) -> Done {
    let mut asker = hosting(lab, Command::HOST)?;
    let (req, elsewhere) = (asker.watch(lab, BOX, 0), asker.watch(lab, BoxId::new([0x0c; 32]), 0));
    asker.silent(lab, req)?;
    let mut other = another(lab)?;
    other.puts(lab, BOX, b"one")?;
    let told = asker.envelopes(lab, req)?;
    ensure(told.first == 1 && told.last == 1, "the envelope that came", format!("{told:?}"))?;
    asker.silent(lab, elsewhere)?;
    other.puts(lab, BOX, b"two")?;
    // A WATCH is answered once.
    asker.silent(lab, req)
}

/// Another device links the mailbox.
pub(super) fn another(lab: &mut Lab) -> Done<Asker> {
    let peer = Peer::new(&mut lab.rng);
    lab.must(Command::Trust { device: peer.id })?;
    let link = lab.connect(&peer)?;
    Ok(Asker::at(peer, link))
}

fn bounded(
    box_envelopes: Option<u64>,
    box_bytes: Option<u64>,
    device_bytes: Option<u64>,
    bytes: Option<u64>,
) -> Command {
    Command::HostMailbox { box_envelopes, box_bytes, device_bytes, bytes }
}

pub(super) fn varint(mut value: usize) -> Vec<u8> {
    let mut out = Vec::new();
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
    out
}
