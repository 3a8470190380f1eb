//! A subject that hosts a mailbox, with honest and hostile clients.

use segue_proto::limits::{MAX_ENVELOPE, MAX_WATCHES};
use segue_proto::wire::{Blob, BoxId, Envelopes, Exts, Fetch, Message, Put, Watch};
use segue_proto::{Code, Role};
use segue_testkit::device::Command;

use super::Sign::{Close as Closed, Message as Says};
use super::frame::frame;
use super::{Case, DIALLED, linked, refused, works};
use crate::lab::{Done, ensure};
use crate::loopback::{Link, Loopback};
use crate::peer::Peer;

pub(super) const HOSTS: &[&str] = &["host-mailbox"];

pub(super) const CASES: &[Case] = &[
    refused(
        "transport/mailbox/none-here",
        &["SERVICE-NONE-1"],
        DIALLED,
        Says(Code::SERVICE_NONE),
        linked,
        |lo, code| {
            let (_, mut link) = lo.linked()?;
            link.send(put(1, BoxId::new([7; 32]), b"one"));
            link.send(Fetch { req: 2, of: BoxId::new([7; 32]), after: 0, ext: Exts::empty() });
            link.send(Watch { req: 3, of: BoxId::new([7; 32]), after: 0, ext: Exts::empty() });
            (1..=3).try_for_each(|req| link.refuses(req, code))
        },
    ),
    hosted(works("transport/mailbox/numbered", &["SERVICE-HOST-1", "SERVICE-HOST-2"], DIALLED, numbered)),
    hosted(works("transport/mailbox/put-twice", &["SERVICE-HOST-1"], DIALLED, |lo| {
        let mut client = client(lo)?;
        client.puts(b"one")?;
        client.puts(b"two")?;
        let again = client.puts(b"one")?;
        ensure(again == 1, "the offset that it has", again)?;
        let all = client.fetches(0)?;
        ensure(all.last == 2, "two envelopes", all.last)
    })),
    hosted(works("transport/mailbox/fetched-from-an-offset", &["SERVICE-HOST-5"], DIALLED, |lo| {
        let mut client = client(lo)?;
        for envelope in [b"one".as_slice(), b"two", b"three"] {
            client.puts(envelope)?;
        }
        let rest = client.fetches(1)?;
        let held: Vec<&[u8]> = rest.envelopes.iter().map(|envelope| &envelope[..]).collect();
        let right = rest.first == 2 && rest.last == 3 && held == [b"two".as_slice(), b"three"];
        ensure(right, "the second and the third", format!("{} envelopes from {}", held.len(), rest.first))
    })),
    hosted(works("transport/mailbox/fetched-page-by-page", &["SERVICE-HOST-5"], DIALLED, |lo| {
        let mut client = client(lo)?;
        for at in 0..5u8 {
            client.puts(&[at; 30_000])?;
        }
        let (mut after, mut held) = (0, Vec::new());
        while after < 5 {
            let page = client.fetches(after)?;
            ensure(page.first == after + 1 && !page.envelopes.is_empty(), "what follows", page.first)?;
            after += page.envelopes.len() as u64;
            held.extend(page.envelopes.iter().filter_map(|envelope| envelope.first().copied()));
        }
        ensure(held == [0, 1, 2, 3, 4], "all of them, once and in order", format!("{held:?}"))
    })),
    hosted(works("transport/mailbox/nothing-follows", &["SERVICE-HOST-5"], DIALLED, |lo| {
        let mut client = client(lo)?;
        let none = client.fetches(0)?;
        ensure((none.first, none.last) == (0, 0), "an empty box", none.last)?;
        client.puts(b"one")?;
        for after in [1, 2, u64::MAX] {
            let none = client.fetches(after)?;
            ensure((none.first, none.last) == (0, 1), "nothing, and the last offset", none.last)?;
        }
        Ok(())
    })),
    hosted(works("transport/mailbox/watched", &["SERVICE-HOST-6"], DIALLED, watched)),
    hosted(works("transport/mailbox/watched-too-late", &["SERVICE-HOST-6"], DIALLED, |lo| {
        let mut client = client(lo)?;
        client.puts(b"one")?;
        // Behind the box's end, too: the watcher has seen more than there is, so it is told at once.
        for after in [0, 7] {
            let req = client.watch(after);
            let told = client.envelopes(req)?;
            ensure(told.last == 1, "word of what is there", told.last)?;
        }
        Ok(())
    })),
    hosted(works("transport/mailbox/by-another-link", &["SERVICE-HOST-5"], DIALLED, |lo| {
        let mut first = client(lo)?;
        first.puts(b"one")?;
        let mut second = Client { link: linked_again(lo, &first.peer)?, ..first };
        let all = second.fetches(0)?;
        ensure(all.envelopes.first().is_some_and(|it| **it == *b"one"), "what the first link put", all.last)
    })),
    hosted(refused(
        "transport/mailbox/too-long",
        &["WIRE-CAP-1"],
        DIALLED,
        Closed(Code::WIRE_LIMIT),
        longest,
        |lo, code| {
            let mut client = client(lo)?;
            let len = MAX_ENVELOPE + 1;
            let body = [vec![1], client.of.as_bytes().to_vec(), varint(len), vec![7; len], vec![0]].concat();
            client.link.send_raw(&frame(0x60, &body));
            client.link.ends_with(code)
        },
    )),
    hosted(refused(
        "transport/mailbox/short-box",
        &["WIRE-CANON-2"],
        DIALLED,
        Closed(Code::WIRE_LENGTH),
        numbered,
        |lo, code| {
            let mut client = client(lo)?;
            client.link.send_raw(&frame(0x64, &[1; 20]));
            client.link.ends_with(code)
        },
    )),
    hosted(refused(
        "transport/mailbox/put-before-auth",
        &["LINK-AUTH-1"],
        DIALLED,
        Closed(Code::WIRE_STATE),
        numbered,
        |lo, code| {
            let peer = hosting(lo, Command::HOST)?;
            let mut link = lo.connect(&peer)?;
            link.send(peer.hello());
            link.send(put(1, BoxId::new([7; 32]), b"one"));
            link.ends_with(code)
        },
    )),
    hosted(refused(
        "transport/mailbox/too-many-watches",
        &["SERVICE-HOST-4"],
        DIALLED,
        Says(Code::LIMIT_REQUESTS),
        watched,
        |lo, code| {
            let mut client = client(lo)?;
            let mut frames = Vec::new();
            for req in 1..=MAX_WATCHES as u32 + 1 {
                let watch = Watch { req, of: client.of, after: 0, ext: Exts::empty() };
                frames.extend(Message::from(watch).to_frame());
            }
            client.link.send_raw(&frames);
            client.link.refuses(MAX_WATCHES as u32 + 1, code)
        },
    )),
    refused(
        "transport/mailbox/full-box",
        &["SERVICE-HOST-3"],
        DIALLED,
        Says(Code::LIMIT_QUOTA),
        numbered,
        |lo, code| {
            let host =
                Command::HostMailbox { box_envelopes: Some(2), box_bytes: None, device_bytes: None, bytes: None };
            let mut client = client_of(lo, host)?;
            client.puts(b"one")?;
            client.puts(b"two")?;
            client.link.send(put(90, client.of, b"three"));
            client.link.refuses(90, code)?;
            let all = client.fetches(0)?;
            ensure(all.last == 2 && all.envelopes.len() == 2, "what was there before, all of it", all.last)
        },
    )
    .needs(HOSTS),
];

const fn hosted(case: Case) -> Case {
    case.needs(HOSTS).of_a_service()
}

/// A client of the mailbox, with a box of its own.
struct Client {
    peer: Peer,
    link: Link,
    of: BoxId,
    req: u32,
}

fn client(lo: &mut Loopback) -> Done<Client> {
    client_of(lo, Command::HOST)
}

fn client_of(lo: &mut Loopback, host: Command) -> Done<Client> {
    let peer = hosting(lo, host)?;
    let link = linked_again(lo, &peer)?;
    // The binding is drawn anew for each connection, so that this box was never used before, wherever the mailbox is.
    let of = BoxId::new(link.binding);
    Ok(Client { peer, link, of, req: 40 })
}

/// The subject hosts a mailbox, and trusts this peer.
pub(super) fn hosting(lo: &mut Loopback, host: Command) -> Done<Peer> {
    let peer = lo.trusted()?;
    if lo.is_attached() {
        lo.must(host)?;
    }
    Ok(peer)
}

pub(super) fn linked_again(lo: &mut Loopback, peer: &Peer) -> Done<Link> {
    let mut link = lo.connect(peer)?;
    debug_assert_eq!(link.role, Role::Responder);
    link.greet(peer)?;
    Ok(link)
}

impl Client {
    fn req(&mut self) -> u32 {
        self.req += 1;
        self.req
    }

    /// Puts an envelope; its offset.
    fn puts(&mut self, envelope: &[u8]) -> Done<u64> {
        let req = self.req();
        self.link.send(put(req, self.of, envelope));
        self.link.take(&format!("PUT_OK with req {req}"), |message| match message {
            Message::PutOk(it) if it.req == req => Some(it.offset),
            _ => None,
        })
    }

    /// Fetches what follows an offset.
    fn fetches(&mut self, after: u64) -> Done<Envelopes> {
        let (req, of) = (self.req(), self.of);
        self.link.send(Fetch { req, of, after, ext: Exts::empty() });
        self.envelopes(req)
    }

    /// Watches the box; the number of the request.
    fn watch(&mut self, after: u64) -> u32 {
        let (req, of) = (self.req(), self.of);
        self.link.send(Watch { req, of, after, ext: Exts::empty() });
        req
    }

    fn envelopes(&mut self, req: u32) -> Done<Envelopes> {
        self.link.take(&format!("ENVELOPES with req {req}"), |message| match message {
            Message::Envelopes(it) if it.req == req => Some(it.clone()),
            _ => None,
        })
    }
}

fn put(req: u32, to: BoxId, envelope: &[u8]) -> Put {
    Put { req, to, envelope: Blob::new(envelope.to_vec()).unwrap_or_default(), ext: Exts::empty() }
}

fn numbered(lo: &mut Loopback) -> Done {
    let mut client = client(lo)?;
    for expected in 1..=3u64 {
        let offset = client.puts(&[expected as u8; 10])?;
        ensure(offset == expected, "offsets from 1 without gaps", offset)?;
    }
    Ok(())
}

fn longest(lo: &mut Loopback) -> Done {
    let mut client = client(lo)?;
    client.puts(&[7; MAX_ENVELOPE])?;
    let all = client.fetches(0)?;
    ensure(all.envelopes.first().is_some_and(|it| it.len() == MAX_ENVELOPE), "the longest envelope", all.last)
}

fn watched(lo: &mut Loopback) -> Done {
    let mut client = client(lo)?;
    let req = client.watch(0);
    // Nothing is told before there is something.
    client.link.alive()?;
    let early = client.link.has(|message| matches!(message, Message::Envelopes(it) if it.req == req));
    ensure(!early, "no answer before something is put", "one")?;
    client.puts(b"one")?;
    let told = client.envelopes(req)?;
    ensure(told.first == 1 && told.last == 1, "the envelope that came", told.last)
}

fn varint(mut value: usize) -> Vec<u8> {
    let mut out = Vec::new();
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
    out
}
