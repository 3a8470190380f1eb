//! Scenes of the mailbox: a scripted one that the subject uses, a scripted device that puts there, and a peer of a
//! subject that hosts.

use std::collections::BTreeMap;

use segue_proto::data::{Part as DataPart, PartKind, State, named_part};
use segue_proto::seal::{self, ContentKey, Wrapped};
use segue_proto::sync::Inbound;
use segue_proto::wire::codec::{decode, encode};
use segue_proto::wire::frame::Framer;
use segue_proto::wire::hash::blob_id;
use segue_proto::wire::{
    Blob, BoxId, DeviceId, Envelopes, Error, Exts, Fetch, Hash, Invitation, KeyMsg, Letter, List, Mark, Message, Nonce,
    PartId, Parts, Put, PutOk, Sealed, SessionId, Text, Watch,
};
use segue_proto::{Code, Event, LinkId, Role, Rules};
use segue_testkit::device::{Command, Reply};

use crate::cases::scene::create;
use crate::lab::{Done, Lab, ensure};
use crate::peer::{Book, Peer, head};
use crate::verdict::Fault;

/// The commands without which a subject uses no mailbox.
pub(super) const USES: &[&str] = &["use-mailbox", "write"];
/// The command without which it hosts none.
pub(super) const HOSTS: &[&str] = &["host-mailbox"];

/// A scripted mailbox that the subject uses: an honest one, as far as a case leaves it so.
pub(super) struct Mailbox {
    pub(super) peer: Peer,
    pub(super) link: LinkId,
    pub(super) boxes: BTreeMap<BoxId, Vec<Vec<u8>>>,
    /// The WATCHes that nothing has answered.
    pub(super) watches: Vec<Watch>,
    /// What was fetched or watched: box and offset, in order.
    pub(super) asked: Vec<(BoxId, u64)>,
    /// Whether a PUT's own envelope goes to who watches the box before the PUT is answered.
    pub(super) hasty: bool,
}

impl Mailbox {
    /// The subject links a mailbox and uses it.
    pub(super) fn used(lab: &mut Lab) -> Done<Mailbox> {
        let peer = Peer::new(&mut lab.rng);
        Mailbox::link(lab, peer, BTreeMap::new())
    }

    /// The subject links this mailbox and uses it.
    pub(super) fn link(lab: &mut Lab, peer: Peer, boxes: BTreeMap<BoxId, Vec<Vec<u8>>>) -> Done<Mailbox> {
        lab.must(Command::UseMailbox { mailbox: peer.id })?;
        let link = lab.connect_as(&peer, Role::Initiator)?;
        Ok(Mailbox { peer, link, boxes, watches: Vec::new(), asked: Vec::new(), hasty: false })
    }

    /// The subject's power is cut, it starts again and links the mailbox.
    pub(super) fn reboot(&mut self, lab: &mut Lab) -> Done {
        lab.reboot()?;
        self.relink(lab)
    }

    /// The link with the mailbox is lost.
    pub(super) fn unlink(&mut self, lab: &mut Lab) {
        lab.link_down(self.link);
        self.watches.clear();
    }

    /// The subject links the mailbox again, as a device that has just started.
    pub(super) fn relink(&mut self, lab: &mut Lab) -> Done {
        let peer = Peer { boot: Nonce::new(lab.rng.array()), ..self.peer.clone() };
        let hasty = self.hasty;
        *self = Mailbox { hasty, ..Mailbox::link(lab, peer, std::mem::take(&mut self.boxes))? };
        Ok(())
    }

    /// Answers the next request, if there is one.
    pub(super) fn step(&mut self, lab: &mut Lab) -> bool {
        let next = lab.take(self.link, "PUT, FETCH or WATCH", |message| match message {
            Message::Put(_) | Message::Fetch(_) | Message::Watch(_) => Some(message.clone()),
            _ => None,
        });
        match next {
            Ok(Message::Put(put)) => self.put(lab, &put),
            Ok(Message::Fetch(Fetch { req, of, after, .. })) => {
                self.asked.push((of, after));
                self.give(lab, req, &of, after);
            }
            Ok(Message::Watch(watch)) => {
                self.asked.push((watch.of, watch.after));
                self.watches.push(watch);
                self.wake(lab);
            }
            _ => return false,
        }
        true
    }

    /// Answers whatever it is asked, until it is asked no more.
    pub(super) fn serve(&mut self, lab: &mut Lab) -> Done {
        for _ in 0..MAX_REQUESTS {
            if !self.step(lab) {
                return lab.stays(self.link);
            }
        }
        Err(Fault::fail("a device that comes to an end", format!("{MAX_REQUESTS} requests")))
    }

    /// Takes an envelope.
    pub(super) fn put(&mut self, lab: &mut Lab, put: &Put) {
        let held = self.boxes.entry(put.to).or_default();
        let known = held.iter().position(|envelope| *envelope == *put.envelope);
        let at = known.unwrap_or_else(|| {
            held.push(put.envelope.to_vec());
            held.len() - 1
        });
        if self.hasty {
            self.wake(lab);
        }
        lab.send(self.link, PutOk { req: put.req, offset: at as u64 + 1, ext: Exts::empty() });
        self.wake(lab);
    }

    /// Another device puts an envelope.
    pub(super) fn add(&mut self, lab: &mut Lab, to: BoxId, envelope: Vec<u8>) {
        self.boxes.entry(to).or_default().push(envelope);
        self.wake(lab);
    }

    fn wake(&mut self, lab: &mut Lab) {
        let last = |of: &BoxId| self.boxes.get(of).map_or(0, |held| held.len() as u64);
        let (due, still): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.watches).into_iter().partition(|watch| last(&watch.of) != watch.after);
        self.watches = still;
        for watch in due {
            if self.hasty {
                self.give(lab, watch.req, &watch.of, watch.after);
            } else {
                // That something is there: FETCH brings it.
                lab.send(self.link, envelopes(watch.req, 0, last(&watch.of), None));
            }
        }
    }

    fn give(&self, lab: &mut Lab, req: u32, of: &BoxId, after: u64) {
        let held = self.boxes.get(of).map_or(&[][..], Vec::as_slice);
        // One at a time, so that the subject has to go on from where it stands.
        let one = held.get(usize::try_from(after).unwrap_or(usize::MAX)).cloned();
        lab.send(self.link, envelopes(req, if one.is_some() { after + 1 } else { 0 }, held.len() as u64, one));
    }

    /// What stands in a box.
    pub(super) fn held(&self, of: &BoxId) -> &[Vec<u8>] {
        self.boxes.get(of).map_or(&[][..], Vec::as_slice)
    }

    /// The invitations to a session that wait for a device, opened with its key.
    pub(super) fn invitations(&self, device: &Peer) -> Vec<Invitation> {
        let open = |envelope: &Vec<u8>| {
            let plain = seal::unwrap(&device.key, &Wrapped { device: device.id, envelope: envelope.clone() })?;
            let signed = decode::<segue_proto::wire::Signed<Invitation>>(Rules::ALL, &plain).ok()?;
            Some(signed.prove(Rules::ALL, |invitation| invitation.from).ok()?.body().clone())
        };
        self.held(&seal::inbox(&device.id)).iter().filter_map(open).collect()
    }
}

/// ENVELOPES.
pub(super) fn envelopes(req: u32, first: u64, last: u64, held: impl IntoIterator<Item = Vec<u8>>) -> Envelopes {
    let held = held.into_iter().filter_map(Blob::new).collect();
    Envelopes { req, first, last, envelopes: List::new(held).unwrap_or_default(), ext: Exts::empty() }
}

/// A subject that owns a session and uses a mailbox, and a member that puts there, too, and is never linked.
pub(super) struct Shared {
    pub(super) mailbox: Mailbox,
    pub(super) peer: Peer,
    pub(super) session: SessionId,
    pub(super) key: ContentKey,
    /// What the member holds, and puts.
    pub(super) book: Book,
    pub(super) count: u64,
}

/// The subject wrote a register, put everything, and the member took it all.
pub(super) fn shared(lab: &mut Lab) -> Done<Shared> {
    let (session, peer, mut mailbox) = owning(lab)?;
    mailbox.serve(lab)?;
    let key = invited(&mailbox, &peer, lab, session)?;
    let (state, chain) = read_box(&mailbox, &key, session, lab.id())?;
    let mut book = Book::of(session, chain, &mut lab.rng);
    book.state = state;
    let known = lab.known(session)?.root;
    ensure(book.state.root() == known, "all of the session in the box", format!("the root {:?}", book.state.root()))?;
    Ok(Shared { mailbox, peer, session, key, book, count: 0 })
}

/// The subject owns a session with a register, vouches for a member, and has just linked a mailbox.
pub(super) fn owning(lab: &mut Lab) -> Done<(SessionId, Peer, Mailbox)> {
    let peer = Peer::new(&mut lab.rng);
    lab.setup.trusted.push(peer.id);
    lab.boot()?;
    let session = create(lab, &peer)?;
    lab.must(write(session, CANARY))?;
    let mailbox = Mailbox::used(lab)?;
    Ok((session, peer, mailbox))
}

/// What the subject's application says to write the register.
pub(super) fn write(session: SessionId, body: &[u8]) -> Command {
    let (part, kind) = (title(&session), PartKind::Register.number());
    Command::Write { session, part, kind, body: body.to_vec(), resolves: true }
}

/// The id of the register.
pub(super) fn title(session: &SessionId) -> PartId {
    named_part(session, PartKind::Register, "title")
}

/// The content key that the subject invited a member to.
pub(super) fn invited(mailbox: &Mailbox, peer: &Peer, lab: &Lab, session: SessionId) -> Done<ContentKey> {
    let mut found = mailbox.invitations(peer).into_iter();
    let found = found.find(|it| it.session == session && it.to == peer.id && it.from == lab.id());
    let found = found.ok_or_else(|| Fault::fail("an invitation of the member in its inbox", "none"))?;
    Ok(found.key)
}

/// All that the letters of a device in a box hold: the data, and the chain.
pub(super) fn read_box(mailbox: &Mailbox, key: &ContentKey, session: SessionId, by: DeviceId) -> Done<Read> {
    read_box_from(mailbox, key, session, by, 1)
}

/// What letters hold: the data, and the chain.
type Read = (State, Vec<segue_proto::wire::Signed<segue_proto::wire::Record>>);

/// The same, of letters from the one of this number on.
pub(super) fn read_box_from(
    mailbox: &Mailbox,
    key: &ContentKey,
    session: SessionId,
    by: DeviceId,
    first: u64,
) -> Done<Read> {
    let of = key.session_box(&session);
    let (mut state, mut chain, mut count) = (State::new(session, ""), Vec::new(), first.saturating_sub(1));
    for envelope in mailbox.held(&of) {
        let (letter, frames) = open(key, &of, envelope)?;
        if letter.from != by || letter.count < first {
            continue;
        }
        count += 1;
        let right = letter.session == session && letter.to == of && letter.frames == blob_id(&frames);
        ensure(right && letter.count == count, "a letter of this session and box, the next", format!("{letter:?}"))?;
        take_in(&mut state, &mut chain, &frames)?;
    }
    Ok((state, chain))
}

/// Opens an envelope and verifies its letter.
pub(super) fn open(key: &ContentKey, of: &BoxId, envelope: &[u8]) -> Done<(Letter, Vec<u8>)> {
    let broken = |why| Fault::fail("an envelope with a letter that verifies", format!("one that breaks {why:?}"));
    let plain = seal::open(Rules::ALL, key, of, envelope).map_err(broken)?;
    let Sealed { letter, frames } = decode::<Sealed>(Rules::ALL, &plain).map_err(broken)?;
    let letter = letter.prove(Rules::ALL, |letter| letter.from).map_err(broken)?;
    Ok((letter.body().clone(), frames.into_vec()))
}

fn take_in(
    state: &mut State,
    chain: &mut Vec<segue_proto::wire::Signed<segue_proto::wire::Record>>,
    frames: &[u8],
) -> Done {
    let broken = |why| Fault::fail("frames that can be taken in", format!("one that breaks {why:?}"));
    let (mut framer, mut names) = (Framer::default(), Inbound::default());
    framer.push(frames);
    while let Some(frame) = framer.next(Rules::ALL).map_err(broken)? {
        let Some(message) = Message::decode(Rules::ALL, frame.number, &frame.payload).map_err(broken)? else {
            continue;
        };
        match message {
            Message::Head(it) => chain.extend(it.records.into_vec()),
            Message::Strand(strand) => names.on_strand(Rules::ALL, &strand).map_err(broken)?,
            Message::Ops(ops) => {
                for op in names.on_ops(Rules::ALL, ops).map_err(broken)? {
                    let taken = state.deliver(Rules::ALL, op.part, op.kind, (op.actor, op.seq), op.seed, op.op);
                    taken.map_err(broken)?;
                }
            }
            Message::Parts(parts) => {
                for bytes in parts.parts.iter() {
                    let part: DataPart = decode(Rules::ALL, bytes).map_err(broken)?;
                    state.merge(Rules::ALL, &part).map_err(broken)?;
                }
            }
            Message::Mark(_) => {}
            other => return Err(Fault::fail("HEAD, STRAND, OPS, PARTS and MARK in a letter", format!("{other:?}"))),
        }
    }
    Ok(())
}

impl Shared {
    /// The session's box.
    pub(super) fn at(&self) -> BoxId {
        self.key.session_box(&self.session)
    }

    /// The member writes the register.
    pub(super) fn writes(&mut self, body: &[u8]) {
        self.book.put(title(&self.session), PartKind::Register, body.to_vec());
    }

    /// The frames that tell of the register as the member has it.
    pub(super) fn frames(&self) -> Vec<u8> {
        let part = self.book.state.part(&title(&self.session)).cloned();
        self.frames_of(part.into_iter().collect())
    }

    /// The frames that tell of everything that the member has.
    pub(super) fn all_frames(&self) -> Vec<u8> {
        self.frames_of(self.book.state.parts().cloned().collect())
    }

    fn frames_of(&self, parts: Vec<DataPart>) -> Vec<u8> {
        let copies = parts.iter().filter_map(|part| Blob::new(encode(part))).collect();
        let parts = Parts { session: self.session, parts: List::new(copies).unwrap_or_default(), ext: Exts::empty() };
        let name = Text::new("notes").unwrap_or_default();
        let mark =
            Mark { session: self.session, name, log: Nonce::new([0x66; 16]), at: self.count + 1, ext: Exts::empty() };
        [Message::from(head(self.session, self.book.chain.clone(), None)), parts.into(), mark.into()]
            .iter()
            .flat_map(Message::to_frame)
            .collect()
    }

    /// The body of the member's next letter with these frames.
    pub(super) fn letter(&mut self, frames: &[u8]) -> Letter {
        self.count += 1;
        let (from, session, to) = (self.peer.id, self.session, self.at());
        Letter { from, session, to, count: self.count, frames: blob_id(frames) }
    }

    /// A letter in its envelope, signed by the member.
    pub(super) fn seal(&self, lab: &mut Lab, letter: &Letter, frames: &[u8]) -> Vec<u8> {
        let plain = sealed(&self.peer, letter, frames);
        seal::seal(Rules::ALL, &self.key, &self.at(), &lab.rng.array(), &plain)
    }

    /// The member's next letter: the register as it has it now.
    pub(super) fn next(&mut self, lab: &mut Lab) -> Vec<u8> {
        let frames = self.frames();
        let letter = self.letter(&frames);
        self.seal(lab, &letter, &frames)
    }

    /// This envelope is put, and the subject fetches it.
    pub(super) fn brings(&mut self, lab: &mut Lab, envelope: Vec<u8>) -> Done {
        let at = self.at();
        self.mailbox.add(lab, at, envelope);
        self.mailbox.serve(lab)
    }

    /// The subject holds what the member does.
    pub(super) fn agrees(&self, lab: &mut Lab) -> Done {
        let (root, expected) = (lab.known(self.session)?.root, self.book.state.root());
        ensure(root == expected, "the root of what the member put", format!("{root:?}"))
    }

    /// The member writes and puts a letter, which the subject takes in: what must be possible beside every refusal.
    pub(super) fn goes_on(&mut self, lab: &mut Lab, body: &[u8]) -> Done {
        self.writes(body);
        let envelope = self.next(lab);
        self.brings(lab, envelope)?;
        self.agrees(lab)
    }

    /// The subject passes over this envelope: its data stays, it says why, and what follows counts.
    pub(super) fn passes_over(&mut self, lab: &mut Lab, envelope: Vec<u8>, code: Code) -> Done {
        let before = lab.known(self.session)?.root;
        self.brings(lab, envelope)?;
        same_root(lab, self.session, before)?;
        reported(lab, code)?;
        let asked = self.mailbox.asked.last().copied();
        let last = self.mailbox.held(&self.at()).len() as u64;
        ensure(asked == Some((self.at(), last)), "a look at what is behind it", format!("{asked:?}"))
    }
}

/// The data is as it was.
pub(super) fn same_root(lab: &mut Lab, session: SessionId, before: Hash) -> Done {
    let root = lab.known(session)?.root;
    ensure(root == before, "data as it was", format!("another root, {root:?}"))
}

/// The subject told its user.
pub(super) fn reported(lab: &mut Lab, code: Code) -> Done {
    lab.event(&format!("the event violation with {code:?}"), |event| match event {
        Event::Violation { violation, .. } if violation.code == code => Some(()),
        _ => None,
    })
}

/// What is sealed of a letter.
pub(super) fn sealed(by: &Peer, letter: &Letter, frames: &[u8]) -> Vec<u8> {
    encode(&Sealed { letter: by.sign(letter), frames: Blob::new(frames.to_vec()).unwrap_or_default() })
}

/// An invitation in its envelope, by `by`, for `to`; it is wrapped for `reader`.
pub(super) fn invitation(lab: &mut Lab, by: &Peer, body: &Invitation, reader: DeviceId) -> Vec<u8> {
    let plain = encode(&by.sign(body));
    seal::wrap(&reader, lab.rng.array(), &plain).unwrap_or_default()
}

/// A KEY.
pub(super) fn key_msg(session: SessionId, epoch: u32, key: ContentKey) -> KeyMsg {
    KeyMsg { session, epoch, key, without: List::empty(), ext: Exts::empty() }
}

/// A device that asks a subject that hosts a mailbox.
pub(super) struct Asker {
    pub(super) peer: Peer,
    pub(super) link: LinkId,
    req: u32,
}

/// The subject hosts a mailbox with these bounds, and a device is linked.
pub(super) fn hosting(lab: &mut Lab, host: Command) -> Done<Asker> {
    let peer = Peer::new(&mut lab.rng);
    lab.setup.trusted.push(peer.id);
    lab.boot()?;
    ensure(lab.must(host)? == Reply::Done, "a mailbox", "another reply")?;
    let link = lab.connect(&peer)?;
    Ok(Asker::at(peer, link))
}

/// The id of a box that is nobody's.
pub(super) const BOX: BoxId = BoxId::new([0x0b; 32]);

impl Asker {
    /// A device at the other end of a link.
    pub(super) fn at(peer: Peer, link: LinkId) -> Asker {
        Asker { peer, link, req: 40 }
    }

    /// The next request's number.
    pub(super) fn req(&mut self) -> u32 {
        self.req += 1;
        self.req
    }

    /// Asks to put an envelope; the number of the request.
    pub(super) fn put(&mut self, lab: &mut Lab, to: BoxId, envelope: &[u8]) -> u32 {
        let req = self.req();
        let envelope = Blob::new(envelope.to_vec()).unwrap_or_default();
        lab.send(self.link, Put { req, to, envelope, ext: Exts::empty() });
        req
    }

    /// Puts an envelope; its offset.
    pub(super) fn puts(&mut self, lab: &mut Lab, to: BoxId, envelope: &[u8]) -> Done<u64> {
        let req = self.put(lab, to, envelope);
        self.put_ok(lab, req)
    }

    /// Takes the PUT_OK that answers a request; the offset.
    pub(super) fn put_ok(&self, lab: &mut Lab, req: u32) -> Done<u64> {
        lab.take(self.link, &format!("PUT_OK with req {req}"), |message| match message {
            Message::PutOk(it) if it.req == req => Some(it.offset),
            _ => None,
        })
    }

    /// Asks to put an envelope, and is refused.
    pub(super) fn refused(&mut self, lab: &mut Lab, to: BoxId, envelope: &[u8], code: Code) -> Done {
        let req = self.put(lab, to, envelope);
        lab.refuses(self.link, req, code)
    }

    /// Fetches what follows an offset.
    pub(super) fn fetches(&mut self, lab: &mut Lab, of: BoxId, after: u64) -> Done<Envelopes> {
        let req = self.req();
        lab.send(self.link, Fetch { req, of, after, ext: Exts::empty() });
        self.envelopes(lab, req)
    }

    /// Watches a box; the number of the request.
    pub(super) fn watch(&mut self, lab: &mut Lab, of: BoxId, after: u64) -> u32 {
        let req = self.req();
        lab.send(self.link, Watch { req, of, after, ext: Exts::empty() });
        req
    }

    /// Takes the ENVELOPES that answer a request.
    pub(super) fn envelopes(&self, lab: &mut Lab, req: u32) -> Done<Envelopes> {
        lab.take(self.link, &format!("ENVELOPES with req {req}"), |message| match message {
            Message::Envelopes(it) if it.req == req => Some(it.clone()),
            _ => None,
        })
    }

    /// No answer to this request.
    pub(super) fn silent(&self, lab: &mut Lab, req: u32) -> Done {
        lab.none(self.link, "answer", |message| match message {
            Message::PutOk(it) => it.req == req,
            Message::Envelopes(it) => it.req == req,
            Message::Error(Error { req: it, .. }) => *it == req,
            _ => false,
        })
    }

    /// The subject's power is cut, it hosts again, and the device links it again.
    pub(super) fn reboot(&mut self, lab: &mut Lab, host: Command) -> Done {
        lab.reboot()?;
        lab.must(host)?;
        self.link = lab.connect(&self.peer)?;
        Ok(())
    }
}

/// What nobody but the session's devices may read.
pub(super) const CANARY: &[u8] = b"the canary sings in the morning";

/// More requests than any exchange of a case has.
const MAX_REQUESTS: usize = 400;
