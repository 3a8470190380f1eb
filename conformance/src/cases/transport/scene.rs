//! Scenes that many cases begin with, by an honest peer. Where a scene goes wrong, so does the case.

use segue_proto::data::Manifest;
use segue_proto::wire::{
    Announced, Bytes, DeviceId, Exts, Get, Grant, Hash, Have, Head, Held, Message, OfferMsg, Range, SessionId, Signed,
    Want, WantMsg,
};
use segue_proto::{Event, Rules, SessionRole, Token};
use segue_testkit::device::{Command, Reply};

use crate::cases::scene::TIMEOUT;
use crate::lab::Done;
use crate::loopback::{Dialling, Link, Loopback};
use crate::peer::{Book, Draft, Peer, offer, offer_msg};
use crate::verdict::Fault;

/// The subject owns a session with a file, of which a linked peer is a member.
pub(super) struct Owning {
    pub(super) peer: Peer,
    pub(super) link: Link,
    pub(super) session: SessionId,
    /// The chain as the subject told it.
    pub(super) book: Book,
    pub(super) data: Announced,
}

/// The subject owns a session.
pub(super) fn owning(lo: &mut Loopback) -> Done<Owning> {
    owning_by(lo, &Dialling::default())
}

/// The subject owns a session, and is dialled in this way.
pub(super) fn owning_by(lo: &mut Loopback, how: &Dialling) -> Done<Owning> {
    let peer = lo.trusted()?;
    let session = create(lo, peer.id)?;
    let mut link = lo.dial(how)?;
    link.greet(&peer)?;
    let (book, data) = ask(lo, &mut link, session)?;
    Ok(Owning { peer, link, session, book, data })
}

/// The subject creates a session with this member, and a file in it.
pub(super) fn create(lo: &mut Loopback, member: DeviceId) -> Done<SessionId> {
    let reply = lo.must(Command::Create { name: "notes".into(), members: vec![member] })?;
    let Reply::Session(session) = reply else {
        return Err(Fault::fail("the id of the session that was created", format!("{reply:?}")));
    };
    lo.must(Command::WriteFile { session, path: "notes.txt".into(), content: b"one line".to_vec() })?;
    lo.is(session, SessionRole::Primary)?;
    Ok(session)
}

/// Asks for a session by HAVE: the chain, and what is announced.
pub(super) fn ask(lo: &mut Loopback, link: &mut Link, session: SessionId) -> Done<(Book, Announced)> {
    // What the subject said of itself before it was asked is no answer.
    link.alive()?;
    link.skip();
    link.send(Have { req: 900, session, head: Hash::ZERO, data: None.into(), ext: Exts::empty() });
    let chain = take_head(link, session)?.records.into_vec();
    let data = link.take("a HAVE that announces data", |message| match message {
        Message::Have(have) if have.session == session && have.req == 0 => have.data.get().cloned(),
        _ => None,
    })?;
    Ok((Book::of(session, chain, &mut lo.rng), data))
}

/// Takes the subject's next HEAD of a session.
pub(super) fn take_head(link: &mut Link, session: SessionId) -> Done<Head> {
    link.take("HEAD", |message| match message {
        Message::Head(head) if head.session == session => Some(head.clone()),
        _ => None,
    })
}

impl Owning {
    /// Fetches the manifest.
    pub(super) fn fetch(&mut self) -> Done<Manifest> {
        let (blob, len) = (self.data.manifest, u64::from(self.data.manifest_len));
        self.link.send(Get { req: 901, session: self.session, blob, len, ext: Exts::empty() });
        let (header, bytes) = self.link.stream("a bulk stream with the manifest")?;
        if header.req != 901 || segue_proto::wire::hash::blob_id(&bytes) != blob {
            return Err(Fault::fail("the manifest's bytes behind their BYTES", format!("{header:?}")));
        }
        let manifest = Manifest::open(Rules::ALL, &bytes, &self.session);
        manifest.map_err(|why| Fault::fail("a well-formed manifest", format!("one that breaks {why:?}")))
    }

    /// A WANT of the peer that the subject can grant.
    pub(super) fn want(&self, lo: &mut Loopback) -> Want {
        let held = Held { root: self.data.root, manifest: self.data.manifest };
        self.peer.want(&mut lo.rng, self.session, self.book.head(), Some(held))
    }

    /// Sends a WANT.
    pub(super) fn send_want(&mut self, req: u32, want: &Want) -> Signed<Want> {
        let signed = self.peer.sign(want);
        self.link.send(WantMsg { req, want: signed.clone(), ext: Exts::empty() });
        signed
    }

    /// The peer pulls, and is granted to; it hasn't acknowledged.
    pub(super) fn granted(&mut self, lo: &mut Loopback) -> Done<(Want, Grant)> {
        self.fetch()?;
        let want = self.want(lo);
        self.send_want(41, &want);
        let grant = self.link.take("GRANT", |message| match message {
            Message::Grant(grant) => Some(grant.clone()),
            _ => None,
        })?;
        Ok((want, grant))
    }

    /// The peer acknowledges a GRANT, and the subject gives the session up.
    pub(super) fn acknowledge(&mut self, lo: &mut Loopback, grant: &Grant) -> Done {
        let ack = self.peer.ack(grant.record.id());
        self.link.send(crate::peer::head(self.session, vec![grant.record.clone()], Some(ack)));
        self.link.alive()?;
        lo.is(self.session, SessionRole::Secondary)
    }
}

/// The subject wants a session of a peer: its WANT has come, and a GRANT is ready.
pub(super) struct Wanting {
    pub(super) peer: Peer,
    pub(super) link: Link,
    pub(super) book: Book,
    pub(super) draft: Draft,
}

/// A peer's session with a file and an exclusive value, of which the subject is a member.
pub(super) fn session_of(lo: &mut Loopback, peer: &Peer) -> Book {
    let members = [lo.id()];
    let mut book = Book::create(peer, &members, &mut lo.rng);
    book.write_file("notes.txt", b"one line");
    book.write_exclusive(b"cursor 1");
    book
}

/// The subject pulls a session of a peer and says WANT.
pub(super) fn wanting(lo: &mut Loopback) -> Done<Wanting> {
    let (peer, mut link) = lo.linked()?;
    let mut book = session_of(lo, &peer);
    let data = book.announce();
    lo.must(Command::Request { session: book.id, from: peer.id, timeout_us: TIMEOUT })?;
    let (req, want) = serve_until_want(&mut link, &book)?;
    closes_in(lo, peer, link, book, &data, req, &want)
}

fn closes_in(
    lo: &Loopback,
    peer: Peer,
    link: Link,
    book: Book,
    data: &Announced,
    req: u32,
    signed: &Signed<Want>,
) -> Done<Wanting> {
    let proven = signed.clone().prove(Rules::ALL, |want| want.target);
    let want = proven.map_err(|why| Fault::fail("a WANT that verifies", format!("one that breaks {why:?}")))?;
    let want = want.body().clone();
    let held = want.have.get().is_some_and(|held| held.manifest == data.manifest && held.root == data.root);
    if want.target != lo.id() || want.session != book.id || want.parent != book.head() || !held {
        return Err(Fault::fail("a WANT of the subject, under the head, with what it fetched", format!("{want:?}")));
    }
    let draft = Draft::new(&peer, &book, req, signed, want.target, data);
    Ok(Wanting { peer, link, book, draft })
}

impl Wanting {
    /// The subject asks once more; its WANT comes.
    pub(super) fn again(mut self, lo: &mut Loopback, data: &Announced) -> Done<Wanting> {
        let (req, want) = serve_until_want(&mut self.link, &self.book)?;
        closes_in(lo, self.peer, self.link, self.book, data, req, &want)
    }

    /// The subject takes the GRANT: it is primary, and acknowledges.
    pub(super) fn succeeds(&mut self, lo: &mut Loopback) -> Done {
        self.link.send(self.draft.seal());
        let (session, record) = (self.book.id, self.draft.signed_record().id());
        let ack = self.link.take("a HEAD with the acknowledgement", |message| match message {
            Message::Head(head) if head.session == session => {
                head.ack.get().filter(|ack| ack.record == record).cloned()
            }
            _ => None,
        })?;
        let message = [b"segue/1 sig head".as_slice(), record.as_bytes()].concat();
        if !segue_proto::wire::verify_message(&lo.id(), &message, &ack.sig) {
            return Err(Fault::fail("an acknowledgement that verifies by the owner", "one that doesn't"));
        }
        lo.event("the event activated", |event| {
            matches!(event, Event::Activated { record: it, .. } if *it == record).then_some(())
        })?;
        lo.is(session, SessionRole::Primary)
    }
}

/// What the subject asks of a peer whose session it wants.
pub(super) enum Asks {
    /// For the session.
    Session,
    /// For a blob.
    Blob(Asked),
    /// To become the owner.
    Owner(u32, Box<Signed<Want>>),
}

/// A request for a blob.
pub(super) struct Asked {
    pub(super) req: u32,
    pub(super) blob: Hash,
    pub(super) ranges: Vec<Range>,
}

/// Takes what the subject asks for next.
pub(super) fn take_asks(link: &mut Link, session: SessionId) -> Done<Asks> {
    link.take("HAVE, GET, RANGES or WANT", |message| match message {
        Message::Have(have) if have.session == session && have.req != 0 => Some(Asks::Session),
        Message::Get(get) => {
            let ranges = vec![Range { offset: 0, len: get.len }];
            Some(Asks::Blob(Asked { req: get.req, blob: get.blob, ranges }))
        }
        Message::Ranges(ask) => Some(Asks::Blob(Asked { req: ask.req, blob: ask.blob, ranges: ask.ranges.to_vec() })),
        Message::Want(want) => Some(Asks::Owner(want.req, Box::new(want.want.clone()))),
        _ => None,
    })
}

/// Answers what the subject asks for until its WANT comes.
pub(super) fn serve_until_want(link: &mut Link, book: &Book) -> Done<(u32, Signed<Want>)> {
    loop {
        match take_asks(link, book.id)? {
            Asks::Session => introduce(link, book),
            Asks::Blob(asked) => answer(link, book, &asked)?,
            Asks::Owner(req, want) => return Ok((req, *want)),
        }
    }
}

/// Tells of the session.
pub(super) fn introduce(link: &mut Link, book: &Book) {
    link.send(book.whole());
    link.send(book.have(book.announced.clone()));
}

/// Answers a request for a blob.
pub(super) fn answer(link: &mut Link, book: &Book, asked: &Asked) -> Done {
    for range in &asked.ranges {
        let bytes = slice(book, asked, range)
            .ok_or_else(|| Fault::fail("requests for what was announced", format!("{:?}", asked.blob)))?;
        link.bulk(&bytes)?.finish();
    }
    Ok(())
}

/// The bulk stream that answers a range.
pub(super) fn slice(book: &Book, asked: &Asked, range: &Range) -> Option<Vec<u8>> {
    let content = book.blobs.get(&asked.blob)?;
    let start = usize::try_from(range.offset).ok()?;
    let bytes = content.get(start..start.checked_add(usize::try_from(range.len).ok()?)?)?;
    Some([head(asked.req, asked.blob, range.offset, bytes.len()), bytes.to_vec()].concat())
}

/// The BYTES of a bulk stream.
pub(super) fn head(req: u32, blob: Hash, offset: u64, len: usize) -> Vec<u8> {
    Message::from(Bytes { req, blob, offset, len: len as u64, ext: Exts::empty() }).to_frame()
}

/// The subject was offered a session, and its user is asked.
pub(super) struct Invited {
    pub(super) peer: Peer,
    pub(super) link: Link,
    pub(super) book: Book,
    pub(super) data: Announced,
    pub(super) offer: OfferMsg,
    pub(super) token: Token,
}

/// A peer offers a session; the subject's user is asked.
pub(super) fn invited(lo: &mut Loopback) -> Done<Invited> {
    let (peer, mut link) = lo.linked()?;
    let mut book = session_of(lo, &peer);
    let data = book.announce();
    let body = offer(&peer, &book, lo.id(), &data, &mut lo.rng);
    let offer = offer_msg(&peer, 71, &body);
    link.send(book.whole());
    link.send(offer.clone());
    let token = asked(lo, book.id)?;
    if token != offer.offer.id() {
        return Err(Fault::fail("a token that is the id of the OFFER", format!("{token:?}")));
    }
    Ok(Invited { peer, link, book, data, offer, token })
}

/// Takes the event that puts an OFFER to the user.
pub(super) fn asked(lo: &mut Loopback, session: SessionId) -> Done<Token> {
    lo.event("the event handoff-request", |event| match event {
        Event::HandoffRequest { token, session: it, .. } if *it == session => Some(*token),
        _ => None,
    })
}

impl Invited {
    /// The user accepts; the subject fetches and says WANT.
    pub(super) fn accept(mut self, lo: &mut Loopback) -> Done<Wanting> {
        lo.must(Command::Accept { token: self.token })?;
        let (req, want) = serve_until_want(&mut self.link, &self.book)?;
        closes_in(lo, self.peer, self.link, self.book, &self.data, req, &want)
    }
}
