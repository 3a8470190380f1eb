//! The mailbox: what is found in envelopes, boxes that are kept in two ways, and an operator who meddles.

use std::collections::VecDeque;

use segue_proto::data::{PartKind, named_part};
use segue_proto::seal::{self, ContentKey, Wrapped};
use segue_proto::wire::codec::{Blob, decode};
use segue_proto::wire::frame::Framer;
use segue_proto::wire::{
    Address, BoxId, DeviceId, Envelopes, Introduction, Invitation, Letter, List, Message, Piece, Sealed, SessionId,
    Signed,
};
use segue_proto::{Instant, LinkId, Role, Rules};
use segue_service::{Append, Directory, Journaled, Memory, Quota, Room, Share};
use segue_testkit::device::{Command, Device, Input as Happens, Outputs, Reply, Setup};
use segue_testkit::{LocalDevice, Rng};

use crate::input::Input;
use crate::seeds::{device, key};

/// A byte that chooses one of three, and then: an envelope, and what may be in one; choices of what is put into boxes and
/// fetched; or choices of what two devices write, and of what the operator of their mailbox makes of its answers.
///
/// What opens was sealed just so. A directory in a journal does what the one in memory does. Whatever an operator gives
/// them, devices lose nothing of their own, ask no more without end, and agree if it gave them what was put.
pub fn service(data: &[u8]) {
    let mut input = Input::new(data);
    match input.below(3) {
        0 => envelope(input.rest()),
        1 => boxes(&mut input),
        _ => operator(&mut input),
    }
}

fn envelope(bytes: &[u8]) {
    let at = KEY.session_box(&SESSION);
    if let Ok(plain) = seal::open(Rules::ALL, &KEY, &at, bytes) {
        let nonce = bytes.get(17..41).and_then(|nonce| nonce.try_into().ok()).expect("an envelope has a nonce");
        assert_eq!(seal::seal(Rules::ALL, &KEY, &at, nonce, &plain), bytes, "what opens was sealed just so");
        let _ = decode::<Sealed>(Rules::ALL, &plain);
    }
    if let Ok(plain) = seal::open_piece(Rules::ALL, &KEY, &at, bytes) {
        let _ = decode::<Piece>(Rules::ALL, &plain);
    }
    let wrapped = Wrapped { device: device(1), envelope: bytes.to_vec() };
    if let Some(plain) = seal::unwrap(&key(1), &wrapped) {
        let _ = decode::<Signed<Invitation>>(Rules::ALL, &plain);
        introduction(&plain);
    }
    introduction(bytes);
    if let Ok(sealed) = decode::<Sealed>(Rules::ALL, bytes) {
        assert_eq!(segue_proto::wire::codec::encode(&sealed), bytes);
        let _ = sealed.letter.prove(Rules::ALL, |letter: &Letter| letter.from);
    }
    let _ = decode::<Signed<Invitation>>(Rules::ALL, bytes).map(|it| it.prove(Rules::ALL, |body| body.from));
}

fn introduction(bytes: &[u8]) {
    let Ok(proven) =
        decode::<Signed<Introduction>>(Rules::ALL, bytes).and_then(|it| it.prove(Rules::ALL, |it| it.from))
    else {
        return;
    };
    for at in proven.body().addresses.iter().filter_map(Address::to_socket) {
        assert!(at.port() > 0 && !at.ip().is_unspecified() && !at.ip().is_multicast(), "somebody may be at {at}");
    }
}

fn boxes(input: &mut Input<'_>) {
    let quota = Quota { box_bytes: 3_000, box_envelopes: 6, device_bytes: 5_000, bytes: 9_000, ..Quota::default() };
    let (mut memory, mut journaled, mut entries) = (Memory::default(), Journaled::default(), Vec::new());
    for _ in 0..64 {
        if input.is_empty() {
            break;
        }
        let at = BoxId::new([input.byte() % 4; 32]);
        match input.below(4) {
            0 | 1 => {
                let (by, len) = (DeviceId::new([input.byte() % 3; 32]), usize::from(input.byte()) * 4);
                let share = Share { bytes: quota.device_bytes, envelopes: quota.device_envelopes };
                let batch = [Append { by, share, to: at, envelope: vec![input.byte() % 8; len] }];
                let put = memory.append(Rules::ALL, &batch, &quota).expect("memory doesn't fail");
                assert_eq!(journaled.append(Rules::ALL, &batch, &quota).expect("nor does a journal"), put);
                entries.extend(journaled.take_entries());
            }
            2 => {
                let (after, room) = (input.byte() % 9, Room { bytes: usize::from(input.short()), envelopes: 4 });
                let page = memory.fetch(&at, after.into(), room).expect("memory doesn't fail");
                assert_eq!(journaled.fetch(&at, after.into(), room).expect("nor does a journal"), page);
                assert!(page.envelopes.is_empty() || page.first == u64::from(after) + 1);
                assert!(page.first + page.envelopes.len() as u64 <= page.last + 1);
            }
            _ => {
                entries.sort();
                journaled = Journaled::load(entries.clone()).expect("what it wrote can be read");
            }
        }
    }
}

/// Two users, number 1 and 2, and their mailbox, number 0.
struct Mesh {
    devices: Vec<LocalDevice>,
    ids: Vec<DeviceId>,
    now: Instant,
    links: [Option<LinkId>; 3],
    made: u64,
    queue: VecDeque<(usize, Happens)>,
    /// What the operator does to its next answers.
    plans: VecDeque<u8>,
    meddled: bool,
}

fn operator(input: &mut Input<'_>) {
    let mut mesh = Mesh::new();
    let Some(Reply::Session(session)) = mesh.create() else { return };
    let mut written = [0; 3];
    for at in 0..24u8 {
        if input.is_empty() {
            break;
        }
        let who = 1 + input.below(2);
        match input.below(8) {
            0..3 if mesh.write(who, session, at) => written[who] += 1,
            3 => mesh.write_file(who, session, at, usize::from(input.short()) * 4),
            4 => mesh.unlink(who),
            5 => {
                let count = input.below(6);
                mesh.plans = (0..count).map(|_| input.byte()).collect();
            }
            _ => mesh.link(who),
        }
        mesh.run();
    }
    mesh.plans.clear();
    for who in [1, 2, 1, 2] {
        mesh.unlink(who);
        mesh.link(who);
        mesh.run();
    }
    for (who, count) in written.into_iter().enumerate().skip(1) {
        assert!(mesh.entries(who, session) >= count, "device {who} lost what it wrote");
    }
    let roots = [1, 2].map(|who| mesh.devices[who].endpoint().session(&session).map(|view| view.root));
    assert!(mesh.meddled || roots[0] == roots[1], "an honest mailbox, and {roots:?}");
}

impl Mesh {
    fn new() -> Mesh {
        let now = Instant::from_micros(1_000_000);
        let mut setups: Vec<Setup> = (0..3u8).map(|at| Setup::new([at + 1; 32])).collect();
        let ids: Vec<DeviceId> = setups.iter().map(Setup::device).collect();
        setups[0].accept_unknown = true;
        for (who, other) in [(1, 2), (2, 1)] {
            setups[who].follow = true;
            setups[who].trusted.push(ids[other]);
        }
        let devices = setups.into_iter().zip(0u64..).map(|(setup, at)| LocalDevice::new(setup, at, now));
        let (devices, said): (Vec<_>, Vec<_>) = devices.map(|it| it.expect("a new device")).unzip();
        let (queue, plans) = (VecDeque::new(), VecDeque::new());
        let mut mesh = Mesh { devices, ids, now, links: [None; 3], made: 0, queue, plans, meddled: false };
        said.into_iter().enumerate().for_each(|(who, out)| mesh.absorb(who, out));
        mesh.command(0, Command::HOST);
        let mailbox = mesh.ids[0];
        for who in [1, 2] {
            mesh.command(who, Command::UseMailbox { mailbox });
        }
        mesh
    }

    fn create(&mut self) -> Option<Reply> {
        let members = vec![self.ids[2]];
        let reply = self.command(1, Command::Create { name: "notes".into(), members });
        self.run();
        reply
    }

    fn write(&mut self, who: usize, session: SessionId, at: u8) -> bool {
        let (part, kind) = (named_part(&session, PartKind::Log, "diary"), PartKind::Log.number());
        self.command(who, Command::Write { session, part, kind, body: vec![at, who as u8], resolves: false }).is_some()
    }

    fn write_file(&mut self, who: usize, session: SessionId, at: u8, len: usize) {
        let content = Rng::new(u64::from(at), "content").bits().to_be_bytes();
        let content = content.into_iter().cycle().take(len.max(1)).collect();
        self.command(who, Command::WriteFile { session, path: format!("file {at}"), content });
    }

    fn entries(&self, who: usize, session: SessionId) -> usize {
        let state = self.devices[who].endpoint().state(&session);
        let stream = state.and_then(|state| state.stream(&named_part(&session, PartKind::Log, "diary")));
        stream.map_or(0, |stream| stream.arrived(0).count())
    }

    fn command(&mut self, who: usize, command: Command) -> Option<Reply> {
        let (reply, out) = self.devices[who].command(self.now, command);
        self.absorb(who, out);
        reply.ok()
    }

    fn link(&mut self, who: usize) {
        if self.links[who].is_some() {
            return;
        }
        self.made += 1;
        let (link, binding, expect) = (LinkId(self.made), [self.made as u8; 32], Some(self.ids[0]));
        self.links[who] = Some(link);
        self.queue.push_back((who, Happens::LinkUp { link, role: Role::Initiator, binding, expect }));
        self.queue.push_back((0, Happens::LinkUp { link, role: Role::Responder, binding, expect: None }));
    }

    fn unlink(&mut self, who: usize) {
        if let Some(link) = self.links[who].take() {
            self.queue.push_back((who, Happens::LinkDown { link }));
            self.queue.push_back((0, Happens::LinkDown { link }));
        }
    }

    fn run(&mut self) {
        for _ in 0..MAX_STEPS {
            let Some((who, happens)) = self.queue.pop_front() else { return };
            let out = self.devices[who].input(self.now, happens);
            self.absorb(who, out);
        }
        panic!("they go on without end");
    }

    fn absorb(&mut self, who: usize, out: Outputs) {
        self.queue.extend(out.batches.iter().map(|batch| (who, Happens::Durable { lsn: batch.lsn })));
        for (link, bytes) in out.control {
            let Some(user) = self.links.iter().position(|known| *known == Some(link)) else { continue };
            match who {
                0 => {
                    let bytes = self.meddle(&bytes);
                    self.queue.push_back((user, Happens::Bytes { link, bytes }));
                }
                _ => self.queue.push_back((0, Happens::Bytes { link, bytes })),
            }
        }
        for (link, _) in out.closes {
            if let Some(user) = self.links.iter().position(|known| *known == Some(link)) {
                self.queue.push_back((who, Happens::LinkDown { link }));
                self.unlink(user);
            }
        }
    }

    /// The operator's way with its answers.
    fn meddle(&mut self, bytes: &[u8]) -> Vec<u8> {
        let mut framer = Framer::default();
        framer.push(bytes);
        let mut out = Vec::new();
        while let Ok(Some(frame)) = framer.next(Rules::ALL) {
            let Ok(Some(message)) = Message::decode(Rules::ALL, frame.number, &frame.payload) else { continue };
            let message = match message {
                Message::Envelopes(envelopes) => match self.plans.pop_front() {
                    Some(plan) => {
                        self.meddled = true;
                        meddled(envelopes, plan).into()
                    }
                    None => envelopes.into(),
                },
                other => other,
            };
            message.encode(&mut out);
        }
        out
    }
}

fn meddled(envelopes: Envelopes, plan: u8) -> Envelopes {
    let Envelopes { req, mut first, mut last, envelopes, ext } = envelopes;
    let mut held: Vec<Vec<u8>> = envelopes.into_vec().into_iter().map(Blob::into_vec).collect();
    let at = usize::from(plan / 8);
    match plan % 8 {
        0 => held.iter_mut().for_each(|it| it.get_mut(at).into_iter().for_each(|byte| *byte ^= 1)),
        1 => held.reverse(),
        2 => held.truncate(at % 2),
        3 => held.extend(held.clone()),
        4 => first = first.wrapping_add(at as u64),
        5 => last = last.saturating_sub(at as u64),
        6 => last = last.wrapping_add(at as u64),
        _ => held.iter_mut().for_each(|it| it.truncate(at * 4)),
    }
    let envelopes = List::new(held.into_iter().filter_map(Blob::new).collect()).unwrap_or_default();
    Envelopes { req, first, last, envelopes, ext }
}

pub(crate) const KEY: ContentKey = ContentKey::new([0x61; 32]);
pub(crate) const SESSION: SessionId = SessionId::new([0x62; 16]);
/// More than any run of these takes between two choices.
const MAX_STEPS: usize = 20_000;
