//! Scenes of sync: a peer that feeds the subject, and one that is fed.

use segue_proto::data::{Manifest, Part as DataPart, PartKind, State, named_part};
use segue_proto::limits::MARK_DELAY;
use segue_proto::sync::Inbound;
use segue_proto::wire::codec::{decode, encode};
use segue_proto::wire::{
    ActorId, Blob, BriefDep, BriefOp, Exts, Hash, Hlc, List, Mark, Message, Nonce, Ops, PartId, Parts, SessionId,
    Since, Strand, Text,
};
use segue_proto::{Code, LinkId, Rules};
use segue_testkit::device::Command;

use crate::cases::scene::{self, Owning, TIMEOUT, linked, owning, session_of};
use crate::lab::{Done, Lab, ensure};
use crate::peer::{Book, Peer};
use crate::verdict::Fault;

/// The name of the peer's log of changes.
pub(in crate::cases) const LOG: Nonce = Nonce::new([0x77; 16]);

/// A peer that takes part in a session with the subject, with what it holds.
pub(in crate::cases) struct Fed {
    pub(in crate::cases) peer: Peer,
    pub(in crate::cases) link: LinkId,
    pub(in crate::cases) book: Book,
    pub(in crate::cases) own: Option<Owning>,
}

/// The subject owns a session; a linked member holds all of it.
pub(in crate::cases) fn fed(lab: &mut Lab) -> Done<Fed> {
    let own = owning(lab)?;
    let mut book = own.book.clone();
    book.hold(&own.manifest);
    Ok(Fed { peer: own.peer.clone(), link: own.link, book, own: Some(own) })
}

/// The subject follows a session of a linked peer; it has asked, and got nothing yet.
pub(in crate::cases) fn followed(lab: &mut Lab) -> Done<Fed> {
    let (peer, link) = linked(lab)?;
    let mut book = session_of(lab, &peer);
    lab.must(Command::Follow { session: book.id, from: peer.id })?;
    let data = book.announce();
    scene::introduce(lab, link, &book, &data)?;
    take_since(lab, link, book.id)?;
    Ok(Fed { peer, link, book, own: None })
}

/// The subject follows a session of a linked peer and holds all of it.
pub(in crate::cases) fn following(lab: &mut Lab) -> Done<Fed> {
    let fed = followed(lab)?;
    let all: Vec<PartId> = fed.book.state.parts().map(|part| part.part).collect();
    fed.send_parts(lab, &all);
    fed.mark(lab, 3);
    scene::serve_all(lab, fed.link, &fed.book)?;
    fed.holds(lab, 3)?;
    fed.agrees(lab)?;
    Ok(fed)
}

impl Fed {
    pub(in crate::cases) fn session(&self) -> SessionId {
        self.book.id
    }

    /// The peer that the subject said WANT to, which goes on writing.
    pub(in crate::cases) fn beside(scene: &scene::Wanting) -> Fed {
        Fed { peer: scene.peer.clone(), link: scene.link, book: scene.book.clone(), own: None }
    }

    /// The id of a register that both sides may make.
    pub(in crate::cases) fn title(&self) -> PartId {
        named_part(&self.book.id, PartKind::Register, "title")
    }

    /// The id of a log that both sides may make.
    pub(in crate::cases) fn diary(&self) -> PartId {
        named_part(&self.book.id, PartKind::Log, "diary")
    }

    /// The peer writes the register.
    pub(in crate::cases) fn write_title(&mut self, body: &[u8]) {
        let title = self.title();
        self.book.put(title, PartKind::Register, body.to_vec());
    }

    /// The peer writes so many entries of the log.
    pub(in crate::cases) fn write_diary(&mut self, count: u8) {
        let diary = self.diary();
        (0..count).for_each(|at| drop(self.book.put(diary, PartKind::Log, vec![b'a' + at; 5])));
    }

    /// What the subject's application says to write the register.
    pub(in crate::cases) fn subject_writes(&self, body: &[u8], resolves: bool) -> Command {
        let (session, part, kind) = (self.book.id, self.title(), PartKind::Register.number());
        Command::Write { session, part, kind, body: body.to_vec(), resolves }
    }

    /// The peer sends parts as it has them.
    pub(in crate::cases) fn send_parts(&self, lab: &mut Lab, parts: &[PartId]) {
        let copies: Vec<DataPart> = parts.iter().filter_map(|part| self.book.state.part(part).cloned()).collect();
        self.send_copies(lab, &copies);
    }

    /// The peer sends these copies of parts, whatever they are.
    pub(in crate::cases) fn send_copies(&self, lab: &mut Lab, copies: &[DataPart]) {
        let copies = copies.iter().filter_map(|part| Blob::new(encode(part))).collect();
        let parts = List::new(copies).unwrap_or_default();
        lab.send(self.link, Parts { session: self.book.id, parts, ext: Exts::empty() });
    }

    /// The peer names a strand of the log, of which so many ops came before.
    pub(in crate::cases) fn strand(&self, number: u32, actor: ActorId, after: u64) -> Strand {
        let (session, part, ext) = (self.book.id, self.diary(), Exts::empty());
        let stream = self.book.state.stream(&part);
        let op = |seq: u64| stream.and_then(|stream| stream.op(&actor, seq));
        let record = op(after + 1).map_or(self.book.head(), |op| op.record);
        let hlc = op(after).map_or(Hlc::ZERO, |op| op.hlc);
        let seed = stream.and_then(|stream| stream.seed(&actor)).unwrap_or(Nonce::ZERO);
        let kind = PartKind::Log.number();
        Strand { strand: number, session, part, kind, actor, seed, record, seq: after, hlc, ext }
    }

    /// Ops of the log from the one behind `after` on, under a number; what they read are strands with these numbers.
    pub(in crate::cases) fn ops(&self, number: u32, actor: ActorId, after: u64, read: &[(ActorId, u32)]) -> Ops {
        let empty = Ops { strand: number, ops: List::empty(), ext: Exts::empty() };
        let Some(stream) = self.book.state.stream(&self.diary()) else { return empty };
        let mut last = stream.op(&actor, after).map_or(0, |op| millis(op.hlc));
        let mut ops = Vec::new();
        for op in (after + 1..).map_while(|seq| stream.op(&actor, seq)) {
            let strand = |of: &ActorId| read.iter().find(|(actor, _)| actor == of).map_or(u32::MAX, |(_, at)| *at);
            let deps = op.deps.iter().map(|(of, seq)| BriefDep { strand: strand(of), seq: *seq }).collect();
            let body = Blob::new(op.body.to_vec()).unwrap_or_default();
            ops.push(BriefOp { ms: millis(op.hlc) - last, deps: List::new(deps).unwrap_or_default(), body });
            last = millis(op.hlc);
        }
        Ops { ops: List::new(ops).unwrap_or_default(), ..empty }
    }

    /// The peer sends its own strand of the log, whole.
    pub(in crate::cases) fn send_diary(&self, lab: &mut Lab) {
        lab.send(self.link, self.strand(0, self.book.actor(), 0));
        lab.send(self.link, self.ops(0, self.book.actor(), 0, &[]));
    }

    /// The peer says MARK.
    pub(in crate::cases) fn mark(&self, lab: &mut Lab, at: u64) {
        let name = Text::new("notes").unwrap_or_default();
        lab.send(self.link, Mark { session: self.book.id, name, log: LOG, at, ext: Exts::empty() });
    }

    /// The subject says that it holds the peer's changes up to a position.
    pub(in crate::cases) fn holds(&self, lab: &mut Lab, at: u64) -> Done {
        take_held(lab, self.link, self.book.id, LOG, at)
    }

    /// The subject holds the same ops as the peer.
    pub(in crate::cases) fn agrees(&self, lab: &mut Lab) -> Done {
        let (root, expected) = (lab.known(self.book.id)?.root, self.book.state.root());
        ensure(root == expected, "the root of all that was sent", format!("{root:?}, not {expected:?}"))
    }

    /// The subject refuses what the peer sent, and its data is as it was.
    pub(in crate::cases) fn refuses(&self, lab: &mut Lab, before: Hash, code: Code) -> Done {
        lab.refuses(self.link, 0, code)?;
        let root = lab.known(self.book.id)?.root;
        ensure(root == before, "data as it was", format!("another root, {root:?}"))
    }

    /// The subject's present root.
    pub(in crate::cases) fn root(&self, lab: &mut Lab) -> Done<Hash> {
        lab.known(self.book.id).map(|state| state.root)
    }

    /// The manifest of what the subject holds now; it owns the session.
    pub(in crate::cases) fn manifest(&self, lab: &mut Lab) -> Done<Manifest> {
        scene::learn(lab, self.link, self.book.id).map(|(_, _, manifest)| manifest)
    }

    /// The link is lost, and there is another.
    pub(in crate::cases) fn link_again(&mut self, lab: &mut Lab) -> Done {
        lab.link_down(self.link);
        self.link = lab.connect(&self.peer)?;
        Ok(())
    }

    /// The peer pulls, is granted to, and acknowledges: the subject is secondary, and the peer's book has the record.
    pub(in crate::cases) fn take(&mut self, lab: &mut Lab) -> Done {
        let Some(own) = &self.own else { return Err(Fault::fail("a subject that owns", "one that follows")) };
        let grant = own.granted(lab)?;
        own.acknowledge(lab, &grant);
        lab.is(self.book.id, segue_proto::SessionRole::Secondary)?;
        self.book.chain.push(grant.record);
        Ok(())
    }

    /// The subject's user asks for the session; its WANT comes, and a GRANT for it is ready.
    pub(in crate::cases) fn pull(self, lab: &mut Lab) -> Done<scene::Wanting> {
        scene::pull(lab, self.peer, self.link, self.book)
    }
}

/// A SINCE of the peer.
pub(in crate::cases) fn since(lab: &mut Lab, link: LinkId, session: SessionId, log: Nonce, at: u64) {
    lab.send(link, Since { session, log, at, own: LOG, ext: Exts::empty() });
}

/// Takes the subject's next SINCE of a session.
pub(in crate::cases) fn take_since(lab: &mut Lab, link: LinkId, session: SessionId) -> Done<Since> {
    lab.take(link, "SINCE", |message| match message {
        Message::Since(since) if since.session == session => Some(since.clone()),
        _ => None,
    })
}

/// Takes a SINCE of the subject by which it holds a position.
pub(in crate::cases) fn take_held(lab: &mut Lab, link: LinkId, session: SessionId, log: Nonce, at: u64) -> Done {
    lab.take(link, &format!("a SINCE that holds {at} of the peer's log"), |message| {
        let held = |since: &Since| since.session == session && since.log == log && since.at == at;
        matches!(message, Message::Since(since) if held(since)).then_some(())
    })
}

/// What the subject fed.
pub(in crate::cases) struct Gathered {
    pub(in crate::cases) mark: Mark,
    /// The parts that came, in order, and how many ops of each log.
    pub(in crate::cases) parts: Vec<PartId>,
    pub(in crate::cases) ops: usize,
    /// The bytes of the frames.
    pub(in crate::cases) bytes: usize,
}

/// Takes what the subject feeds up to its next MARK, into a copy of the session's data.
pub(in crate::cases) fn gather(lab: &mut Lab, link: LinkId, state: &mut State, names: &mut Inbound) -> Done<Gathered> {
    let session = state.session();
    let (mut parts, mut ops, mut bytes) = (Vec::new(), 0, 0);
    for _ in 0..MAX_MESSAGES {
        let message = lab.take(link, "STRAND, OPS or PARTS, and at last MARK", |message| match message {
            Message::Parts(it) => (it.session == session).then(|| message.clone()),
            Message::Mark(it) => (it.session == session).then(|| message.clone()),
            Message::Strand(_) | Message::Ops(_) => Some(message.clone()),
            _ => None,
        })?;
        bytes += message.to_frame().len();
        let taken = match message {
            Message::Mark(mark) => return Ok(Gathered { mark, parts, ops, bytes }),
            Message::Strand(strand) => names.on_strand(Rules::ALL, &strand),
            Message::Ops(it) => names.on_ops(Rules::ALL, it).and_then(|whole| {
                ops += whole.len();
                whole.into_iter().try_for_each(|op| {
                    state.deliver(Rules::ALL, op.part, op.kind, (op.actor, op.seq), op.seed, op.op).map(|_| ())
                })
            }),
            Message::Parts(it) => it.parts.iter().try_for_each(|bytes| {
                let part: DataPart = decode(Rules::ALL, bytes)?;
                parts.push(part.part);
                state.merge(Rules::ALL, &part).map(|_| ())
            }),
            _ => Ok(()),
        };
        taken.map_err(|why| Fault::fail("changes that can be taken in", format!("one that breaks {why:?}")))?;
    }
    Err(Fault::fail("a MARK", "none in many messages"))
}

/// A peer that holds nothing asks for everything, and gets it.
pub(in crate::cases) fn gather_all(lab: &mut Lab, link: LinkId, session: SessionId) -> Done<(State, Gathered)> {
    since(lab, link, session, Nonce::ZERO, 0);
    let mut state = State::new(session, "");
    let gathered = gather(lab, link, &mut state, &mut Inbound::default())?;
    let (root, known) = (state.root(), lab.known(session)?.root);
    ensure(root == known, "all of the subject's data", format!("the root {root:?}, not {known:?}"))?;
    Ok((state, gathered))
}

/// Waits as long as a MARK may take.
pub(in crate::cases) fn wait(lab: &mut Lab) {
    lab.pass(MARK_DELAY);
}

/// Whether a message is one of this chapter, with changes or about them.
pub(in crate::cases) fn is_sync(message: &Message) -> bool {
    matches!(message, Message::Since(_) | Message::Strand(_) | Message::Ops(_) | Message::Parts(_) | Message::Mark(_))
}

/// Whether a message brings changes.
pub(in crate::cases) fn is_change(message: &Message) -> bool {
    matches!(message, Message::Strand(_) | Message::Ops(_) | Message::Parts(_))
}

fn millis(time: Hlc) -> u64 {
    u64::from_be_bytes(*time.as_bytes()) >> 16
}

/// The longest that a request of these cases may take.
pub(in crate::cases) const PATIENCE: u64 = TIMEOUT;

/// More messages than any feed of a case has.
const MAX_MESSAGES: usize = 1_000;
