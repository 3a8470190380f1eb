//! Scenes that many cases begin with, by honest peers. Where a scene goes wrong, so does the case.

use segue_proto::data::Manifest;
use segue_proto::wire::{
    Announced, Bytes, Exts, Get, Grant, Have, Head, Held, Message, OfferMsg, Range, SessionId, Signed, Want, WantMsg,
};
use segue_proto::{Event, LinkId, Rules, SessionRole, Token};
use segue_testkit::device::{Command, Reply};

use crate::lab::{Done, Lab};
use crate::peer::{Book, Draft, Peer, offer, offer_msg};
use crate::verdict::Fault;

/// Longer than any scene takes, in microseconds.
pub(crate) const TIMEOUT: u64 = 60_000_000;

/// The subject runs and trusts a peer; nothing is linked yet.
pub(crate) fn alone(lab: &mut Lab) -> Done<Peer> {
    let peer = Peer::new(&mut lab.rng);
    lab.setup.trusted.push(peer.id);
    lab.boot()?;
    Ok(peer)
}

/// The subject and a trusted peer are linked.
pub(crate) fn linked(lab: &mut Lab) -> Done<(Peer, LinkId)> {
    let peer = alone(lab)?;
    let link = lab.connect(&peer)?;
    Ok((peer, link))
}

/// The subject owns a session with a file and an exclusive value, of which a linked peer is a member.
pub(crate) struct Owning {
    pub(crate) peer: Peer,
    pub(crate) link: LinkId,
    pub(crate) session: SessionId,
    /// The chain as the subject told it.
    pub(crate) book: Book,
    pub(crate) data: Announced,
    pub(crate) manifest: Manifest,
}

/// The subject creates a session with this member.
pub(crate) fn create(lab: &mut Lab, peer: &Peer) -> Done<SessionId> {
    let reply = lab.must(Command::Create { name: "notes".into(), members: vec![peer.id] })?;
    let Reply::Session(session) = reply else {
        return Err(Fault::fail("the id of the session being created", format!("{reply:?}")));
    };
    lab.event("the event created", |event| {
        matches!(event, Event::Created { session: it } if *it == session).then_some(())
    })?;
    lab.is(session, SessionRole::Primary)?;
    Ok(session)
}

/// The subject creates a session and writes; the peer links and learns all that there is to know.
pub(crate) fn owning(lab: &mut Lab) -> Done<Owning> {
    let peer = alone(lab)?;
    let session = create(lab, &peer)?;
    lab.must(Command::WriteFile { session, path: "notes.txt".into(), content: b"one line".to_vec() })?;
    lab.must(Command::WriteExclusive { session, bytes: b"cursor 1".to_vec() })?;
    let link = lab.connect(&peer)?;
    let (book, data, manifest) = learn(lab, link, session)?;
    Ok(Owning { peer, link, session, book, data, manifest })
}

/// A peer asks for a session and fetches its manifest.
pub(crate) fn learn(lab: &mut Lab, link: LinkId, session: SessionId) -> Done<(Book, Announced, Manifest)> {
    let (book, data) = ask(lab, link, session)?;
    let data = data.ok_or_else(|| Fault::fail("a HAVE that announces data", "one without"))?;
    let bytes = fetch(lab, link, session, &data)?;
    let manifest = Manifest::open(Rules::ALL, &bytes, &session)
        .map_err(|why| Fault::fail("a well-formed manifest", format!("one that breaks {why:?}")))?;
    if manifest.root() != data.root {
        return Err(Fault::fail("a manifest with the root announced", "another root"));
    }
    Ok((book, data, manifest))
}

/// Asks by HAVE; the chain and what is announced.
pub(crate) fn ask(lab: &mut Lab, link: LinkId, session: SessionId) -> Done<(Book, Option<Announced>)> {
    let req = 900;
    // What the subject said of itself before it was asked is no answer.
    lab.settle();
    lab.skip(link);
    lab.send(link, Have { req, session, head: segue_proto::wire::Hash::ZERO, data: None.into(), ext: Exts::empty() });
    let chain = take_head(lab, link, session)?.records.into_vec();
    let have = lab.take(link, "a HAVE that answers", |message| match message {
        Message::Have(have) if have.session == session && have.req == 0 => Some(have.clone()),
        _ => None,
    })?;
    let book = Book::of(session, chain, &mut lab.rng);
    if have.head != book.head() {
        return Err(Fault::fail("a HAVE of the head that HEAD led to", format!("{:?}", have.head)));
    }
    Ok((book, have.data.get().cloned()))
}

/// Fetches a manifest by GET.
pub(crate) fn fetch(lab: &mut Lab, link: LinkId, session: SessionId, data: &Announced) -> Done<Vec<u8>> {
    let len = u64::from(data.manifest_len);
    lab.send(link, Get { req: 901, session, blob: data.manifest, len, ext: Exts::empty() });
    let (header, bytes) = lab.stream(link, "a bulk stream with the manifest")?;
    let fits = header.req == 901 && header.blob == data.manifest && header.offset == 0 && header.len == len;
    if !fits || segue_proto::wire::hash::blob_id(&bytes) != data.manifest {
        return Err(Fault::fail(
            "the manifest's bytes behind their BYTES",
            format!("{header:?}, {} bytes", bytes.len()),
        ));
    }
    Ok(bytes)
}

/// Takes the subject's next HEAD of a session.
pub(crate) fn take_head(lab: &mut Lab, link: LinkId, session: SessionId) -> Done<Head> {
    lab.take(link, "HEAD", |message| match message {
        Message::Head(head) if head.session == session => Some(head.clone()),
        _ => None,
    })
}

/// Takes the subject's next GRANT.
pub(crate) fn take_grant(lab: &mut Lab, link: LinkId) -> Done<Grant> {
    lab.take(link, "GRANT", |message| match message {
        Message::Grant(grant) => Some(grant.clone()),
        _ => None,
    })
}

impl Owning {
    /// A WANT of the peer that the subject can grant.
    pub(crate) fn want(&self, lab: &mut Lab) -> Want {
        let held = Held { root: self.data.root, manifest: self.data.manifest };
        self.peer.want(&mut lab.rng, self.session, self.book.head(), Some(held))
    }

    /// Sends a WANT.
    pub(crate) fn send_want(&self, lab: &mut Lab, req: u32, want: &Want) -> Signed<Want> {
        let signed = self.peer.sign(want);
        lab.send(self.link, WantMsg { req, want: signed.clone(), ext: Exts::empty() });
        signed
    }

    /// Lets time pass while the peer gives signs of life.
    pub(crate) fn wait(&self, lab: &mut Lab, micros: u64) -> Done {
        let step = segue_proto::limits::KEEPALIVE;
        for _ in 0..micros.div_ceil(step) {
            lab.pass(step);
            lab.alive(self.link)?;
        }
        Ok(())
    }

    /// The peer pulls, and is granted to; it hasn't acknowledged.
    pub(crate) fn granted(&self, lab: &mut Lab) -> Done<Grant> {
        let want = self.want(lab);
        self.send_want(lab, 41, &want);
        take_grant(lab, self.link)
    }

    /// The peer acknowledges a GRANT.
    pub(crate) fn acknowledge(&self, lab: &mut Lab, grant: &Grant) {
        let ack = self.peer.ack(grant.record.id());
        lab.send(self.link, crate::peer::head(self.session, vec![grant.record.clone()], Some(ack)));
    }
}

/// The subject wants a session of a peer: its WANT has come, and a GRANT is ready.
pub(crate) struct Wanting {
    pub(crate) peer: Peer,
    pub(crate) link: LinkId,
    pub(crate) book: Book,
    pub(crate) data: Announced,
    pub(crate) want: Want,
    pub(crate) draft: Draft,
}

/// A peer's session with a file and an exclusive value, of which the subject is a member.
pub(crate) fn session_of(lab: &mut Lab, peer: &Peer) -> Book {
    let members = [lab.id()];
    let mut book = Book::create(peer, &members, &mut lab.rng);
    book.write_file("notes.txt", b"one line");
    book.write_exclusive(b"cursor 1");
    book
}

/// The subject pulls a session of a peer and says WANT.
pub(crate) fn wanting(lab: &mut Lab) -> Done<Wanting> {
    let (peer, link) = linked(lab)?;
    let book = session_of(lab, &peer);
    pull(lab, peer, link, book)
}

/// The subject pulls this session.
pub(crate) fn pull(lab: &mut Lab, peer: Peer, link: LinkId, mut book: Book) -> Done<Wanting> {
    let data = book.announce();
    lab.must(Command::Request { session: book.id, from: peer.id, timeout_us: TIMEOUT })?;
    let (req, want) = serve_until_want(lab, link, &book)?;
    close_in(lab, peer, link, book, data, req, want)
}

/// Answers the HAVE of a subject that asks for a session.
pub(crate) fn introduce(lab: &mut Lab, link: LinkId, book: &Book, data: &Announced) -> Done {
    lab.take(link, "a HAVE that asks", |message| match message {
        Message::Have(have) if have.session == book.id && have.req != 0 => Some(()),
        _ => None,
    })?;
    lab.send(link, book.whole());
    lab.send(link, book.have(Some(data.clone())));
    Ok(())
}

fn close_in(
    lab: &mut Lab,
    peer: Peer,
    link: LinkId,
    book: Book,
    data: Announced,
    req: u32,
    signed: Signed<Want>,
) -> Done<Wanting> {
    let want = signed
        .clone()
        .prove(Rules::ALL, |want| want.target)
        .map_err(|why| Fault::fail("a WANT that verifies", format!("one that breaks {why:?}")))?;
    let want = want.body().clone();
    let held = want.have.get().is_some_and(|held| held.manifest == data.manifest && held.root == data.root);
    if want.target != lab.id() || want.session != book.id || want.parent != book.head() || !held {
        return Err(Fault::fail(
            "a WANT of the subject, under the head, with the manifest that it fetched",
            format!("{want:?}"),
        ));
    }
    let draft = Draft::new(&peer, &book, req, &signed, want.target, &data);
    Ok(Wanting { peer, link, book, data, want, draft })
}

impl Wanting {
    /// Sends the GRANT.
    pub(crate) fn grant(&self, lab: &mut Lab) {
        lab.send(self.link, self.draft.seal());
    }

    /// The subject takes the GRANT: it is primary, and acknowledges.
    pub(crate) fn succeeds(&self, lab: &mut Lab) -> Done {
        self.grant(lab);
        self.activated(lab)
    }

    /// The subject is primary by the GRANT, and acknowledges it.
    pub(crate) fn activated(&self, lab: &mut Lab) -> Done {
        let (session, record) = (self.book.id, self.draft.signed_record().id());
        lab.is(session, SessionRole::Primary)?;
        lab.event("the event activated", |event| {
            matches!(event, Event::Activated { record: it, .. } if *it == record).then_some(())
        })?;
        acknowledged(lab, self.link, session, record)
    }

    /// The subject refuses the GRANT with this code, and isn't primary.
    pub(crate) fn refused(&self, lab: &mut Lab, code: segue_proto::Code) -> Done {
        self.grant(lab);
        lab.refuses(self.link, self.draft.req, code)?;
        lab.is(self.book.id, SessionRole::Secondary)?;
        lab.no_event("event activated", |event| matches!(event, Event::Activated { .. }))
    }
}

/// Takes a HEAD of the subject with its acknowledgement of this record.
pub(crate) fn acknowledged(lab: &mut Lab, link: LinkId, session: SessionId, record: segue_proto::wire::Hash) -> Done {
    let ack = lab.take(link, "a HEAD with the acknowledgement", |message| match message {
        Message::Head(head) if head.session == session => head.ack.get().filter(|ack| ack.record == record).cloned(),
        _ => None,
    })?;
    let message = [b"segue/1 sig head".as_slice(), record.as_bytes()].concat();
    if segue_proto::wire::verify_message(&lab.id(), &message, &ack.sig) {
        return Ok(());
    }
    Err(Fault::fail("an acknowledgement that verifies by the owner", "one that doesn't"))
}

/// Answers what the subject asks for until its WANT comes.
pub(crate) fn serve_until_want(lab: &mut Lab, link: LinkId, book: &Book) -> Done<(u32, Signed<Want>)> {
    for _ in 0..MAX_ROUNDS {
        if let Ok(found) = take_want(lab, link) {
            return Ok(found);
        }
        if !serve(lab, link, book)? {
            break;
        }
    }
    take_want(lab, link)
}

/// Takes the subject's WANT and its request number.
pub(crate) fn take_want(lab: &mut Lab, link: LinkId) -> Done<(u32, Signed<Want>)> {
    lab.take(link, "WANT", |message| match message {
        Message::Want(want) => Some((want.req, want.want.clone())),
        _ => None,
    })
}

/// What the subject asked for: request number, blob, and ranges.
pub(crate) struct Asked {
    pub(crate) req: u32,
    pub(crate) blob: segue_proto::wire::Hash,
    pub(crate) ranges: Vec<Range>,
    pub(crate) by_get: bool,
}

/// Takes the subject's next request for a blob.
pub(crate) fn take_request(lab: &mut Lab, link: LinkId) -> Done<Asked> {
    lab.take(link, "GET or RANGES", |message| match message {
        Message::Get(get) => {
            let ranges = vec![Range { offset: 0, len: get.len }];
            Some(Asked { req: get.req, blob: get.blob, ranges, by_get: true })
        }
        Message::Ranges(ask) => {
            Some(Asked { req: ask.req, blob: ask.blob, ranges: ask.ranges.to_vec(), by_get: false })
        }
        _ => None,
    })
}

/// Answers the questions and the requests for blobs that came; whether there were any.
pub(crate) fn serve(lab: &mut Lab, link: LinkId, book: &Book) -> Done<bool> {
    let mut served = answer_have(lab, link, book);
    for _ in 0..MAX_REQUESTS {
        let Ok(asked) = take_request(lab, link) else { break };
        served = true;
        for range in &asked.ranges {
            let stream = slice(book, &asked, range)
                .ok_or_else(|| Fault::fail("requests for what was announced", format!("{:?}", asked.blob)))?;
            lab.send_bulk(link, stream);
        }
    }
    Ok(served)
}

/// Answers whatever the subject asks for, until it asks no more; at most a bounded number of times.
pub(crate) fn serve_all(lab: &mut Lab, link: LinkId, book: &Book) -> Done {
    for _ in 0..MAX_ROUNDS {
        if !serve(lab, link, book)? {
            break;
        }
    }
    Ok(())
}

/// Answers a HAVE that asks, if one came.
pub(crate) fn answer_have(lab: &mut Lab, link: LinkId, book: &Book) -> bool {
    let asks = |message: &Message| matches!(message, Message::Have(it) if it.session == book.id && it.req != 0);
    let asked = lab.take(link, "a HAVE that asks", |message| asks(message).then_some(())).is_ok();
    if asked && book.announced.is_some() {
        lab.send(link, book.whole());
        lab.send(link, book.have(book.announced.clone()));
    }
    asked
}

/// The bulk stream that answers a range.
pub(crate) fn slice(book: &Book, asked: &Asked, range: &Range) -> Option<Vec<u8>> {
    let content = book.blobs.get(&asked.blob)?;
    let start = usize::try_from(range.offset).ok()?;
    let bytes = content.get(start..start.checked_add(usize::try_from(range.len).ok()?)?)?;
    Some(stream(asked.req, asked.blob, range.offset, bytes))
}

/// A bulk stream.
pub(crate) fn stream(req: u32, blob: segue_proto::wire::Hash, offset: u64, bytes: &[u8]) -> Vec<u8> {
    let header = Bytes { req, blob, offset, len: bytes.len() as u64, ext: Exts::empty() };
    let mut out = Message::from(header).to_frame();
    out.extend_from_slice(bytes);
    out
}

/// The subject was offered a session, and its user is asked.
pub(crate) struct Invited {
    pub(crate) peer: Peer,
    pub(crate) link: LinkId,
    pub(crate) book: Book,
    pub(crate) data: Announced,
    pub(crate) offer: OfferMsg,
    pub(crate) token: Token,
}

/// A peer offers a session; the subject's user is asked.
pub(crate) fn invited(lab: &mut Lab) -> Done<Invited> {
    let (peer, link) = linked(lab)?;
    let mut book = session_of(lab, &peer);
    let data = book.announce();
    let body = offer(&peer, &book, lab.id(), &data, &mut lab.rng);
    let offer = offer_msg(&peer, 71, &body);
    lab.send(link, book.whole());
    lab.send(link, offer.clone());
    let token = asked(lab, book.id)?;
    if token != offer.offer.id() {
        return Err(Fault::fail("a token that is the id of the OFFER", format!("{token:?}")));
    }
    Ok(Invited { peer, link, book, data, offer, token })
}

/// Takes the event that puts an OFFER to the user.
pub(crate) fn asked(lab: &mut Lab, session: SessionId) -> Done<Token> {
    lab.event("the event handoff-request", |event| match event {
        Event::HandoffRequest { token, session: it, .. } if *it == session => Some(*token),
        _ => None,
    })
}

impl Invited {
    /// The user accepts; the subject fetches and says WANT.
    pub(crate) fn accept(self, lab: &mut Lab) -> Done<Wanting> {
        lab.must(Command::Accept { token: self.token })?;
        let (req, want) = serve_until_want(lab, self.link, &self.book)?;
        close_in(lab, self.peer, self.link, self.book, self.data, req, want)
    }
}

/// More rounds than any fetch of a case takes.
const MAX_ROUNDS: usize = 64;
/// More requests than any fetch of a case makes between two answers.
const MAX_REQUESTS: usize = 256;
