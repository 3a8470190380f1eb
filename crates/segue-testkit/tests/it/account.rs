//! Accounts under random edits, apart and together: rosters agree where devices meet, and nobody who knows of a
//! revocation hands anything to the revoked device.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use segue_proto::data::{PartKind, named_part};
use segue_proto::limits::MAX_ENTRIES;
use segue_proto::wire::{
    DeviceId, EntryKind, Exts, Hash, Hlc, Kind, List, Message, RosterEntry, RosterMsg, SessionId, Signed, Text,
};
use segue_proto::{Continuity, Event, Instant, LinkId, Lsn, Policy, Role};
use segue_testkit::device::{Command, Contents, Device, Input, Outputs, Reply, Setup, Start};
use segue_testkit::{LocalDevice, Rng};

const DEVICES: usize = 5;
const STEPS: usize = 80;
const SEEDS: u64 = 150;
/// More inputs than any exchange takes before all devices are at rest.
const MAX_INPUTS: usize = 20_000;

/// What a journal holds.
type Journal = BTreeMap<Vec<u8>, Vec<u8>>;

/// Devices and the connections between them; all that is written is durable at once.
pub(super) struct Mesh {
    pub(super) devices: Vec<LocalDevice>,
    ids: Vec<DeviceId>,
    pub(super) now: Instant,
    links: BTreeMap<LinkId, (usize, usize)>,
    made: u64,
    setups: Vec<Setup>,
    /// What the journal of each device holds.
    journals: Vec<Journal>,
    /// A device whose journal is kept as each batch left it, and those.
    pub(super) watched: Option<usize>,
    pub(super) moments: Vec<(Lsn, Journal)>,
    /// The control bytes that came to each device.
    pub(super) came: Vec<usize>,
    queue: VecDeque<(usize, Input)>,
    events: Vec<Vec<Event>>,
    sessions: Vec<SessionId>,
    written: usize,
    /// By device that knows of a revocation, and device revoked: the grants that the one had made to the other by then.
    frozen: BTreeMap<(usize, usize), BTreeSet<Hash>>,
}

impl Mesh {
    pub(super) fn new(seed: u64) -> Mesh {
        let now = Instant::from_micros(1_000_000);
        let mut rng = Rng::new(seed, "keys");
        let (mut devices, mut ids, mut setups) = (Vec::new(), Vec::new(), Vec::new());
        for at in 0..DEVICES {
            let mut setup = Setup::new(rng.array());
            setup.pulls = Policy::Allow;
            setup.follow = true;
            ids.push(setup.device());
            setups.push(setup.clone());
            devices.push(LocalDevice::new(setup, seed * 100 + at as u64, now).unwrap().0);
        }
        let (events, journals, came) = (vec![Vec::new(); DEVICES], vec![BTreeMap::new(); DEVICES], vec![0; DEVICES]);
        let (links, queue, frozen) = (BTreeMap::new(), VecDeque::new(), BTreeMap::new());
        let (sessions, watched, moments) = (Vec::new(), None, Vec::new());
        Mesh {
            devices,
            ids,
            now,
            links,
            made: 0,
            setups,
            journals,
            watched,
            moments,
            came,
            queue,
            events,
            sessions,
            written: 0,
            frozen,
        }
    }

    pub(super) fn command(&mut self, who: usize, command: Command) -> Option<Reply> {
        let (reply, out) = self.devices[who].command(self.now, command);
        self.absorb(who, out);
        self.run();
        reply.ok()
    }

    fn absorb(&mut self, who: usize, out: Outputs) {
        self.queue.extend(out.batches.iter().map(|batch| (who, Input::Durable { lsn: batch.lsn })));
        for batch in &out.batches {
            for write in batch.writes.iter().cloned() {
                match write.value {
                    Some(value) => drop(self.journals[who].insert(write.key, value)),
                    None => drop(self.journals[who].remove(&write.key)),
                }
            }
            if self.watched == Some(who) {
                self.moments.push((batch.lsn, self.journals[who].clone()));
            }
        }
        for (link, bytes) in out.control {
            self.other(link, who).into_iter().for_each(|other| self.came[other] += bytes.len());
            self.queue.extend(self.other(link, who).map(|other| (other, Input::Bytes { link, bytes })));
        }
        for bulk in out.bulk {
            let (link, stream, bytes, fin) = (bulk.link, bulk.stream, bulk.bytes, bulk.fin);
            self.queue.extend(self.other(link, who).map(|other| (other, Input::Bulk { link, stream, bytes, fin })));
        }
        for (link, _) in out.closes {
            self.queue.push_back((who, Input::LinkDown { link }));
            self.queue.extend(self.other(link, who).map(|other| (other, Input::LinkDown { link })));
        }
        self.events[who].extend(out.events);
    }

    fn other(&self, link: LinkId, who: usize) -> Option<usize> {
        self.links.get(&link).map(|(a, b)| if *a == who { *b } else { *a })
    }

    fn run(&mut self) {
        let mut inputs = 0;
        while let Some((who, input)) = self.queue.pop_front() {
            inputs += 1;
            assert!(inputs < MAX_INPUTS, "the devices never come to rest");
            let out = self.devices[who].input(self.now, input);
            self.absorb(who, out);
        }
        self.check();
    }

    pub(super) fn connect(&mut self, a: usize, b: usize) -> LinkId {
        self.made += 1;
        let (link, binding) = (LinkId(self.made), [self.made as u8; 32]);
        self.links.insert(link, (a, b));
        let expect = Some(self.ids[b]);
        self.queue.push_back((a, Input::LinkUp { link, role: Role::Initiator, binding, expect }));
        self.queue.push_back((b, Input::LinkUp { link, role: Role::Responder, binding, expect: None }));
        self.run();
        link
    }

    pub(super) fn cut(&mut self, link: LinkId) {
        let Some((a, b)) = self.links.remove(&link) else { return };
        self.queue.push_back((a, Input::LinkDown { link }));
        self.queue.push_back((b, Input::LinkDown { link }));
        self.run();
    }

    /// The users of two devices link them.
    pub(super) fn link(&mut self, by: usize, new: usize) {
        let Some(Reply::Invite(invite)) = self.command(new, Command::Invite { name: format!("device {new}") }) else {
            return;
        };
        if self.command(by, Command::AcceptLink { invite }).is_none() {
            return;
        }
        self.connect(by, new);
        let (one, two) = (self.ids[by], self.ids[new]);
        self.command(by, Command::ConfirmLink { device: two, yes: true });
        self.command(new, Command::ConfirmLink { device: one, yes: true });
    }

    /// The links of a device.
    pub(super) fn links_of(&self, who: usize) -> Vec<LinkId> {
        let of = |(a, b): &(usize, usize)| *a == who || *b == who;
        self.links.iter().filter(|(_, ends)| of(ends)).map(|(link, _)| *link).collect()
    }

    /// A device as it opens from a journal, without links.
    pub(super) fn opened(&self, who: usize, last: Lsn, journal: Journal) -> LocalDevice {
        let disk = Contents { entries: journal, last, ..Contents::default() };
        let (setup, continuity) = (self.setups[who].clone(), Continuity::Proven);
        let start = Start { setup, entropy: [77; 32], disk, continuity };
        LocalDevice::audited(start, self.now).expect("the journal opens").0
    }

    /// The bytes in the journal of a device.
    pub(super) fn journal_bytes(&self, who: usize) -> usize {
        self.journals[who].iter().map(|(key, value)| key.len() + value.len()).sum()
    }

    fn is_revoked(&self, by: usize, device: usize) -> bool {
        self.devices[by].endpoint().roster().is_some_and(|roster| roster.is_revoked(&self.ids[device]))
    }

    fn is_member(&self, by: usize, device: usize) -> bool {
        self.devices[by].endpoint().roster().is_some_and(|roster| roster.is_member(&self.ids[device]))
    }

    /// The grants that `by` has signed for `to`.
    fn grants(&self, by: usize, to: usize) -> BTreeSet<Hash> {
        let views = self.sessions.iter().filter_map(|session| self.devices[by].endpoint().session(session));
        let records = views.flat_map(|view| view.chain.to_vec());
        let to_it = records.filter(|record| {
            let body = record.body();
            body.kind == Kind::Grant.number() && body.signer == self.ids[by] && body.owner == self.ids[to]
        });
        to_it.map(|record| record.id()).collect()
    }

    /// Invariant 11: who knows of a revocation grants nothing to the revoked device any more, and has no link with it.
    fn check(&mut self) {
        for by in 0..DEVICES {
            for to in (0..DEVICES).filter(|to| *to != by) {
                if !self.is_revoked(by, to) {
                    continue;
                }
                let now = self.grants(by, to);
                let then = self.frozen.entry((by, to)).or_insert_with(|| now.clone());
                assert!(now.is_subset(then), "{by} granted to {to}, which it knows to be revoked");
                let linked = self.links.keys().any(|link| {
                    let peer = self.devices[by].endpoint().link_peer(*link).map(|(peer, _)| peer);
                    peer == Some(self.ids[to])
                });
                assert!(!linked, "{by} is linked with {to}, which it knows to be revoked");
                let words = self.devices[by].endpoint().words_of(&self.ids[to]);
                assert_eq!(words, 0, "{by} keeps what {to} said, which it knows to be revoked");
            }
        }
    }

    fn step(&mut self, rng: &mut Rng) {
        let (a, b) = (rng.below(DEVICES as u64) as usize, rng.below(DEVICES as u64) as usize);
        let device = self.ids[b];
        match rng.below(16) {
            0 | 1 => self.link(a, b),
            2..=4 if a != b => drop(self.connect(a, b)),
            5 => {
                let live: Vec<LinkId> = self.links.keys().copied().collect();
                live.get(rng.below(live.len() as u64 + 1) as usize).into_iter().for_each(|link| self.cut(*link));
            }
            6 => drop(self.command(a, Command::Revoke { device })),
            7 => {
                if let Some(Reply::Session(session)) =
                    self.command(a, Command::Create { name: "notes".into(), members: vec![] })
                {
                    self.sessions.push(session);
                }
            }
            8..=11 => self.write(a, rng),
            12 | 13 => self.compact(a, rng),
            _ => {
                if let Some(session) = rng.pick(&self.sessions).copied() {
                    self.command(a, Command::Initiate { session, to: device, timeout_us: 60_000_000 });
                    let offered: Vec<_> = self.events[b].drain(..).collect();
                    for event in offered {
                        if let Event::HandoffRequest { token, .. } = event {
                            self.command(b, Command::Accept { token });
                        }
                    }
                }
            }
        }
    }

    /// A device adds to a log, or writes one of two registers.
    fn write(&mut self, who: usize, rng: &mut Rng) {
        let Some(session) = rng.pick(&self.sessions).copied() else { return };
        let (kind, name) = match rng.below(4) {
            0 => (PartKind::Register, "title"),
            1 => (PartKind::Register, "subtitle"),
            _ => (PartKind::Log, "diary"),
        };
        let (part, kind) = (named_part(&session, kind, name), kind.number());
        self.written += 1;
        let (body, resolves) = (format!("{who} {}", self.written).into_bytes(), rng.below(2) == 0);
        self.command(who, Command::Write { session, part, kind, body, resolves });
    }

    /// A device makes a snapshot of a log.
    fn compact(&mut self, who: usize, rng: &mut Rng) {
        let Some(session) = rng.pick(&self.sessions).copied() else { return };
        let part = named_part(&session, PartKind::Log, "diary");
        self.command(who, Command::Compact { session, part, content: None });
    }

    /// Devices that take each other for members hold the same data of the sessions that both keep: what revoked devices
    /// wrote past their cuts is set aside on each, or taken in on each. How much is set aside, and how much was written by
    /// devices that are revoked and stands.
    fn check_data(&self) -> (usize, usize) {
        let (mut aside, mut stands) = (0, 0);
        for at in (0..DEVICES).filter(|at| self.is_member(*at, *at)) {
            let own = self.devices[at].endpoint();
            for session in own.sessions() {
                aside += own.set_aside(&session).len();
                let Some(state) = own.state(&session) else { continue };
                let tips = state.parts().flat_map(|part| part.strands.iter());
                let revoked =
                    |actor| own.roster().zip(state.writer(actor)).is_some_and(|(r, w)| r.is_revoked(&w.device));
                stands += tips.filter(|tip| revoked(&tip.actor)).count();
                for other in (at + 1..DEVICES).filter(|other| self.is_member(at, *other) && self.is_member(*other, at))
                {
                    if !self.is_member(other, other) {
                        continue;
                    }
                    let other_own = self.devices[other].endpoint();
                    let Some(theirs) = other_own.session(&session).filter(|_| other_own.sessions().contains(&session))
                    else {
                        continue;
                    };
                    assert_eq!(state.root(), theirs.root, "{at} and {other} hold different data of {session:?}");
                }
            }
        }
        (aside, stands)
    }

    /// Every two devices that take each other for members meet: then they hold the same entries.
    fn meet(&mut self) {
        let pairs = || (0..DEVICES).flat_map(|a| (a + 1..DEVICES).map(move |b| (a, b)));
        for _ in 0..2 {
            for (a, b) in pairs() {
                self.connect(a, b);
            }
        }
        for (a, b) in pairs().filter(|(a, b)| self.is_member(*a, *b) && self.is_member(*b, *a)) {
            let heads = |at: usize| self.devices[at].endpoint().roster().map(segue_proto::account::Roster::heads);
            // Both may have been put out of it by what the other one brought.
            if self.is_member(a, a) && self.is_member(b, b) {
                assert_eq!(heads(a), heads(b), "{a} and {b}");
            }
        }
    }
}

#[test]
fn rosters_agree_and_revoked_devices_gain_nothing() {
    let (mut linked, mut revoked, mut granted, mut aside, mut stands) = (0, 0, 0, 0, 0);
    for seed in 0..SEEDS {
        let mut mesh = Mesh::new(seed);
        let mut rng = Rng::new(seed, "steps");
        mesh.command(0, Command::CreateAccount { name: "first".into() });
        for at in 1..DEVICES - 1 {
            mesh.link(at - 1, at);
        }
        for _ in 0..STEPS {
            mesh.step(&mut rng);
        }
        mesh.meet();
        let (more_aside, more_stands) = mesh.check_data();
        (aside, stands) = (aside + more_aside, stands + more_stands);
        linked += (0..DEVICES).filter(|at| mesh.is_member(*at, *at)).count();
        revoked += mesh.frozen.len();
        granted += (0..DEVICES)
            .flat_map(|a| (0..DEVICES).map(move |b| (a, b)))
            .filter(|(a, b)| !mesh.grants(*a, *b).is_empty())
            .count();
    }
    // The runs reached what they are about.
    assert!(
        linked > 100 && revoked > 100 && granted > 40 && aside > 40 && stands > 50,
        "{linked} linked, {revoked} revocations known, {granted} grants, {aside} set aside, {stands} strands that stand"
    );
}

#[test]
fn who_refuses_a_takeover_and_who_keeps_it_come_to_rest() {
    for seed in 0..8 {
        let mut mesh = Mesh::new(seed);
        mesh.command(0, Command::CreateAccount { name: "first".into() });
        (1..4).for_each(|at| mesh.link(0, at));
        let made = mesh.command(3, Command::Create { name: "notes".into(), members: vec![] });
        let Some(Reply::Session(session)) = made else { panic!("a session, not {made:?}") };
        for at in 0..3 {
            mesh.connect(at, 3);
        }
        let all: Vec<_> = mesh.links.keys().copied().collect();
        all.into_iter().for_each(|link| mesh.cut(link));
        // Two take over apart; a third does it again, behind one of them, and is revoked by the other, who doesn't know.
        mesh.command(0, Command::Takeover { session });
        mesh.command(1, Command::Takeover { session });
        mesh.connect(1, 2);
        mesh.command(2, Command::Takeover { session });
        mesh.links_of(2).into_iter().for_each(|link| mesh.cut(link));
        let device = mesh.ids[2];
        mesh.command(0, Command::Revoke { device });
        // One admitted what the other may not admit any more: they tell each other once.
        mesh.connect(0, 1);
        assert!(mesh.is_revoked(1, 2), "seed {seed}");
        let head = |at: usize| mesh.devices[at].endpoint().session(&session).expect("it is known").head;
        assert_ne!(head(0), head(1), "seed {seed}");
    }
}

#[test]
fn a_session_that_is_begun_while_devices_are_linked_comes_to_all_of_them() {
    let mut mesh = Mesh::new(3);
    mesh.command(0, Command::CreateAccount { name: "first".into() });
    // The third is linked with the second alone.
    mesh.link(0, 1);
    mesh.link(1, 2);
    let made = mesh.command(0, Command::Create { name: "notes".into(), members: vec![] });
    let Some(Reply::Session(session)) = made else { panic!("a session, not {made:?}") };
    for at in 1..3 {
        assert!(mesh.devices[at].endpoint().sessions().contains(&session), "device {at} isn't told");
    }
    let told =
        |event: &Event| matches!(event, Event::Told { session: it, name, .. } if *it == session && name == "notes");
    assert!(mesh.events[1].iter().any(told), "the name isn't told");
    let part = named_part(&session, PartKind::Log, "diary");
    let (kind, body) = (PartKind::Log.number(), b"by the third".to_vec());
    mesh.command(2, Command::Write { session, part, kind, body, resolves: false }).expect("a write");
    let root = |at: usize| mesh.devices[at].endpoint().session(&session).expect("it is known").root;
    assert_eq!([root(0), root(1)], [root(2); 2]);
}

#[test]
fn a_new_device_takes_an_account_of_many_pages() {
    let mut mesh = Mesh::new(6);
    mesh.command(0, Command::CreateAccount { name: "first".into() });
    mesh.link(0, 1);
    // The second tells the first of devices that it linked apart.
    let (key, signer) = (mesh.setups[1].key(), mesh.ids[1]);
    let roster = mesh.devices[0].endpoint().roster().expect("an account");
    let (account, mut head) = (roster.account(), roster.heads()[0]);
    let mut entries = Vec::new();
    for number in 0..2 * MAX_ENTRIES {
        let device = DeviceId::new(*blake3::hash(&number.to_be_bytes()).as_bytes());
        let entry = RosterEntry {
            kind: EntryKind::Link.number(),
            account,
            parents: List::new(vec![head]).unwrap(),
            signer,
            device,
            name: Text::new("phone").unwrap(),
            made: Hlc::new([0; 8]),
            genesis: None.into(),
            cut: None.into(),
        };
        entries.push(Signed::sign(&entry, &key));
        head = entries[number].id();
    }
    for page in entries.chunks(MAX_ENTRIES) {
        let (heads, entries) = (List::new(vec![head]).unwrap(), List::new(page.to_vec()).unwrap());
        let page = Message::from(RosterMsg { account, heads, entries, more: false, ext: Exts::empty() });
        mesh.queue.push_back((0, Input::Bytes { link: mesh.links_of(1)[0], bytes: page.to_frame() }));
        mesh.run();
    }
    mesh.link(0, 2);
    let roster = |at: usize| mesh.devices[at].endpoint().roster().expect("an account");
    assert!(roster(0).has(&head), "the first takes them in");
    assert_eq!(roster(2).heads(), roster(0).heads());
}

#[test]
fn a_device_that_keeps_a_session_lets_no_stranger_in() {
    let mut mesh = Mesh::new(7);
    mesh.command(0, Command::CreateAccount { name: "first".into() });
    mesh.link(0, 1);
    mesh.command(0, Command::Create { name: "notes".into(), members: vec![] }).expect("a session");
    let peer = |mesh: &Mesh, link| mesh.devices[0].endpoint().link_peer(link).map(|(peer, _)| peer);
    let link = mesh.connect(2, 0);
    assert_eq!(peer(&mesh, link), None);
    mesh.link(0, 2);
    let link = mesh.connect(2, 0);
    assert_eq!(peer(&mesh, link), Some(mesh.ids[2]));
}

/// DATA-ASIDE-2: who holds less of a revoked device than its revoker held sets nothing of that aside.
#[test]
fn a_value_from_before_the_cut_stands() {
    let mut mesh = Mesh::new(8);
    mesh.command(0, Command::CreateAccount { name: "first".into() });
    mesh.link(0, 1);
    mesh.link(0, 2);
    let made = mesh.command(0, Command::Create { name: "notes".into(), members: vec![] });
    let Some(Reply::Session(session)) = made else { panic!("a session, not {made:?}") };
    let (part, kind) = (named_part(&session, PartKind::Register, "title"), PartKind::Register.number());
    let root = |mesh: &Mesh, at: usize| mesh.devices[at].endpoint().session(&session).expect("it is known").root;
    let write = |mesh: &mut Mesh, body: &[u8]| {
        let body = body.to_vec();
        mesh.command(2, Command::Write { session, part, kind, body, resolves: true }).expect("a write");
    };
    write(&mut mesh, b"held by all");
    assert_eq!([root(&mesh, 0), root(&mesh, 1)], [root(&mesh, 2); 2]);
    mesh.links_of(1).into_iter().for_each(|link| mesh.cut(link));
    write(&mut mesh, b"held by the revoker");
    let device = mesh.ids[2];
    mesh.command(0, Command::Revoke { device }).expect("a revoke");
    mesh.connect(0, 1);
    assert_eq!(root(&mesh, 1), root(&mesh, 0));
    let aside = |event: &&Event| matches!(event, Event::SetAside { .. });
    assert_eq!(mesh.events[1].iter().find(aside), None);
}

/// ACCOUNT-REVOKE-3: what is being handed to a device isn't once that is revoked.
#[test]
fn an_offer_to_a_device_ends_as_it_is_revoked() {
    let mut mesh = Mesh::new(9);
    mesh.command(0, Command::CreateAccount { name: "first".into() });
    mesh.link(0, 1);
    let made = mesh.command(0, Command::Create { name: "notes".into(), members: vec![] });
    let Some(Reply::Session(session)) = made else { panic!("a session, not {made:?}") };
    let device = mesh.ids[1];
    mesh.command(0, Command::Initiate { session, to: device, timeout_us: 60_000_000 }).expect("an offer");
    let ended = |mesh: &Mesh| {
        let results = mesh.events[0].iter().filter_map(|event| match event {
            Event::HandoffResolved { result, .. } => {
                Some(result.map_err(|code| code == segue_proto::Code::AUTH_REVOKED))
            }
            _ => None,
        });
        results.map(|result| result.err()).collect::<Vec<_>>()
    };
    assert_eq!(ended(&mesh), [], "it waits for the other's user");
    mesh.command(0, Command::Revoke { device }).expect("a revoke");
    assert_eq!(ended(&mesh), [Some(true)]);
}
