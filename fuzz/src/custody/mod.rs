//! A session in a service's custody, of which several devices ask whatever the bytes say.

mod laws;

use std::collections::{BTreeMap, VecDeque};

use segue_proto::data::{actor_id, session_id};
use segue_proto::handoff::ack_message;
use segue_proto::wire::frame::Framer;
use segue_proto::wire::{
    Ack, Cancel, Cas, Decline, DelegateMsg, DeviceId, Error, Exts, Final, Freeze, Genesis, Hash, Have, Head, Held,
    Kind, List, Message, Nonce, Offer, OfferMsg, Proven, Record, Renew, SessionId, Signed, Text, Want, WantMsg,
    sign_message,
};
use segue_proto::{Code, Generation, Hosted, Instant, Rules, Ticket};
use segue_service::{Directory, Memory, Quota, Service, Terms};

use crate::input::Input;
use crate::seeds::{device, key};
use laws::Laws;

/// A byte of choices: whether device 1 brings its session, and delegates it; whether device 3 is a member; whether
/// owners have leases. Then steps: who says what, in fields that the bytes choose; time, signatures, restarts.
///
/// Whatever comes, a service signs one record under a parent, grants what an owner froze and to whom it froze it, takes
/// over from no owner whose lease runs, tells nothing that it doesn't keep, and can go on from what it keeps.
pub fn custody(data: &[u8]) {
    custody_by(Rules::ALL, data);
}

/// The same, of a service that keeps these clauses alone.
pub fn custody_by(rules: Rules, data: &[u8]) {
    let mut input = Input::new(data);
    let choices = input.byte();
    let mut rig = Rig::new(rules, choices);
    if choices & 1 == 0 {
        rig.bring(1, rig.known[0].id());
    }
    if choices & 3 == 0 {
        let delegate = rig.record(&rig.known[0].clone(), Kind::Delegate, 1, device(1), service());
        rig.show(1, delegate.expect("a good record"), false);
    }
    for _ in 0..MAX_STEPS {
        if input.is_empty() {
            break;
        }
        rig.step(&mut input);
    }
    // Nothing waits for ever: an hour later all is ended, or in a record.
    rig.sign_all();
    rig.pass(3_600_000_000);
    rig.sign_all();
}

struct Rig {
    rules: Rules,
    service: Service<Memory>,
    now: Instant,
    session: SessionId,
    tenure: u8,
    lease: u64,
    /// Every record that somebody made, the genesis first.
    known: Vec<Proven<Record>>,
    signs: VecDeque<(SessionId, Hash, Vec<u8>)>,
    linked: BTreeMap<DeviceId, Generation>,
    /// What was asked last, to be withdrawn.
    subjects: Vec<Hash>,
    req: u32,
    tickets: u64,
    laws: Laws,
}

/// What is done.
impl Rig {
    fn new(rules: Rules, choices: u8) -> Rig {
        let (nonce, me) = (Nonce::new([8; 16]), device(1));
        let session = session_id(&me, &nonce);
        let others = if choices & 4 == 0 { vec![device(2), device(3)] } else { vec![device(2)] };
        let mut members = others.clone();
        members.sort_unstable();
        let genesis = Genesis { nonce, members: List::new(members).unwrap_or_default() };
        let genesis = Record::genesis(session, me, actor_id(&me, &nonce), genesis);
        let known = vec![proven(&genesis, 1).expect("a good genesis")];
        let lease = if choices & 8 == 0 { 10_000_000 } else { 0 };
        let service = Service::new(Memory::default(), Quota::default());
        let (signs, linked, subjects) = (VecDeque::new(), BTreeMap::new(), Vec::new());
        let laws = Laws::new(session, others.into_iter().chain([me]).collect());
        let now = Instant::from_micros(1_000_000);
        let mut rig = Rig {
            rules,
            service,
            now,
            session,
            tenure: 1,
            lease,
            known,
            signs,
            linked,
            subjects,
            req: 0,
            tickets: 0,
            laws,
        };
        rig.restart(false);
        for at in 1..=3 {
            let generation = if choices & 16 << at == 0 { Generation::V7 } else { Generation::V2 };
            rig.linked.insert(device(at), generation);
        }
        rig
    }

    fn step(&mut self, input: &mut Input<'_>) {
        let (action, who) = (input.below(16), 1 + input.below(3) as u8);
        match action {
            0 => {
                let record = self.pick(input).id();
                self.bring(who, record);
            }
            1 => {
                let Some(record) = self.made(input, who) else { return };
                self.say(who, |req| cas(req, record.signed()));
            }
            2 => {
                let record = if input.flag() { self.made(input, who) } else { Some(self.pick(input)) };
                let Some(record) = record else { return };
                let ack = input.flag();
                self.show(who, record, ack);
            }
            3 => self.freeze(input, who),
            4 | 5 => self.want(input, who),
            6 => {
                let (session, head, ttl) = (self.session, self.pick(input).id(), u32::from(input.byte()) * 100);
                self.say(who, |req| Renew { req, session, head, ttl, ext: Exts::empty() }.into());
            }
            7 => {
                let (session, parent) = (self.session, self.pick(input).id());
                let grantor = if input.flag() { service() } else { device(who) };
                self.say(who, |req| DelegateMsg { req, session, parent, grantor, ext: Exts::empty() }.into());
            }
            8 => self.offer(input, who),
            9 => self.withdraw(input, who),
            10 => {
                let (session, head) = (self.session, self.pick(input).id());
                self.say(who, |req| Have { req, session, head, data: None.into(), ext: Exts::empty() }.into());
            }
            11 => self.pass(u64::from(input.byte()) * 100_000),
            12 | 13 => self.sign(input.byte() == 255),
            14 if input.below(4) == 0 => self.restart(input.flag()),
            14 => self.go(who),
            _ => self.raw(input, who),
        }
    }

    /// The service starts again with what it kept; with another tenure if its store was put back.
    fn restart(&mut self, put_back: bool) {
        self.tenure += u8::from(put_back);
        let memory = std::mem::take(self.service.directory_mut());
        self.service = Service::new(memory, Quota::default()).with_rules(self.rules);
        let terms = Terms { me: service(), tenure: self.tenure(), lease: self.lease };
        self.service.keep_custody(self.now, terms).expect("what it kept can be read");
        self.signs.clear();
        self.linked.clear();
        self.laws.restarted(self.now);
    }

    fn tenure(&self) -> Hash {
        Hash::new([self.tenure; 32])
    }

    fn go(&mut self, who: u8) {
        self.linked.remove(&device(who));
        self.handle(vec![Hosted::Gone(device(who))]);
    }

    fn pass(&mut self, micros: u64) {
        self.now = self.now.after(micros);
        self.handle(Vec::new());
    }

    fn sign(&mut self, wrong: bool) {
        let Some((session, record, message)) = self.signs.pop_front() else { return };
        let record = if wrong { Hash::new([9; 32]) } else { record };
        self.handle(vec![Hosted::Signed { session, record, sig: sign_message(&message, &key(0)) }]);
    }

    fn sign_all(&mut self) {
        while !self.signs.is_empty() {
            self.sign(false);
        }
    }

    /// A device says something of the session.
    fn say(&mut self, who: u8, message: impl FnOnce(u32) -> Message) {
        self.req += 1;
        let message = message(self.req);
        self.hear(who, message);
    }

    fn hear(&mut self, who: u8, message: Message) {
        let from = device(who);
        let generation = *self.linked.entry(from).or_insert(Generation::V7);
        // What a link of its generation doesn't carry never gets here.
        if message.row().since > generation {
            return;
        }
        self.tickets += 1;
        self.laws.said(from, &message);
        self.handle(vec![Hosted::Custody { ticket: Ticket(self.tickets), from, generation, message }]);
    }

    fn handle(&mut self, came: Vec<Hosted>) {
        let given = self.service.handle(self.now, came).expect("memory doesn't fail");
        let kept = self.service.directory().kept(&self.session).expect("memory doesn't fail");
        self.laws.keeps(self.now, kept.as_ref(), &service());
        let tenure = self.tenure();
        given.signs.iter().for_each(|(_, record, _)| self.laws.signs(self.now, *record, &tenure, &service()));
        self.signs.extend(given.signs);
        for (to, message) in &given.tells {
            // What is for a device without a link is dropped by the host.
            let speaks = self.linked.get(to).is_none_or(|generation| message.row().since <= *generation);
            assert!(speaks, "{to:?} is told what it can't understand");
            self.laws.told(self.now, to, message);
        }
    }
}

/// What is said.
impl Rig {
    /// A record: mostly the head that the service keeps.
    fn pick(&self, input: &mut Input<'_>) -> Proven<Record> {
        let head = self.laws.head().and_then(|head| self.laws.record(&head)).cloned();
        let picked = if input.below(4) == 0 { input.pick(&self.known).cloned() } else { head };
        picked.unwrap_or_else(|| self.known[0].clone())
    }

    /// A record behind another, of fields that the bytes choose, signed by whoever says it.
    fn made(&mut self, input: &mut Input<'_>, who: u8) -> Option<Proven<Record>> {
        let parent = self.pick(input);
        let kinds = [Kind::Delegate, Kind::Grant, Kind::Takeover, Kind::Close];
        let kind = *input.pick(&kinds).unwrap_or(&Kind::Delegate);
        let owner = if kind == Kind::Grant { device(1 + input.below(3) as u8) } else { device(who) };
        let grantor = if input.flag() { service() } else { owner };
        self.record(&parent, kind, who, owner, grantor)
    }

    fn record(
        &mut self,
        parent: &Proven<Record>,
        kind: Kind,
        who: u8,
        owner: DeviceId,
        grantor: DeviceId,
    ) -> Option<Proven<Record>> {
        let (session, of) = (self.session, parent.body());
        let opens = u64::from(kind == Kind::Takeover);
        let closes = kind == Kind::Close;
        let record = Record {
            kind: kind.number(),
            session,
            parent: parent.id(),
            term: of.term + opens,
            n: of.n + 1,
            signer: device(who),
            owner: if closes { DeviceId::ZERO } else { owner },
            grantor: if closes { DeviceId::ZERO } else { grantor },
            want: match kind {
                Kind::Delegate => of.want,
                Kind::Close => Hash::ZERO,
                _ => Hash::new([who; 32]),
            },
            roster: if kind == Kind::Delegate && grantor == service() { self.tenure() } else { Hash::ZERO },
            genesis: None.into(),
        };
        let record = proven(&record, who)?;
        if self.known.len() < 64 {
            self.known.push(record.clone());
        }
        Some(record)
    }

    /// The records that lead to one, that one last.
    fn line(&self, to: &Proven<Record>) -> Vec<Signed<Record>> {
        let mut line = vec![to.signed().clone()];
        let mut parent = to.body().parent;
        while let Some(record) = self.laws.record(&parent).or(self.known.iter().find(|it| it.id() == parent)) {
            line.push(record.signed().clone());
            parent = record.body().parent;
        }
        line.reverse();
        line
    }

    fn show(&mut self, who: u8, record: Proven<Record>, ack: bool) {
        let (id, records) = (record.id(), List::new(self.line(&record)).unwrap_or_default());
        let ack = ack.then(|| Ack { record: id, sig: sign_message(&ack_message(&id), &key(who)) });
        let session = self.session;
        self.hear(who, Head { session, records, more: false, ack: ack.into(), ext: Exts::empty() }.into());
    }

    fn bring(&mut self, who: u8, record: Hash) {
        let found = self.known.iter().find(|it| it.id() == record).or(self.laws.record(&record)).cloned();
        let Some(record) = found else { return };
        self.show(who, record.clone(), false);
        self.say(who, |req| cas(req, record.signed()));
    }

    fn freeze(&mut self, input: &mut Input<'_>, who: u8) {
        let (parent, held) = (self.pick(input).id(), held(input));
        let to = device(1 + input.below(3) as u8);
        let (exclusive, manifest_len) = (Hash::new([7; 32]), 100);
        let Held { root, manifest } = held;
        let end = Final { session: self.session, parent, root, exclusive, manifest, manifest_len };
        let end = Signed::sign(&end, &key(if input.byte() == 255 { 3 } else { who }));
        self.say(who, |req| Freeze { req, to, end, ext: Exts::empty() }.into());
    }

    fn want(&mut self, input: &mut Input<'_>, who: u8) {
        let (parent, session, target) = (self.pick(input).id(), self.session, device(who));
        let have = Some(held(input)).filter(|_| input.below(4) > 0);
        let (mode, offer) = match input.below(4) {
            0 => (1, self.subjects.last().copied()),
            1 => (2, None),
            _ => (0, None),
        };
        let (nonce, actor) = (Nonce::new([input.byte(); 16]), actor_id(&target, &Nonce::new([who; 16])));
        let (need, pick, ttl) = (List::empty(), List::empty(), u32::from(input.byte()) * 1_000);
        let (offer, have) = (offer.into(), have.into());
        let want = Want { session, parent, target, actor, nonce, mode, offer, have, need, pick, ttl };
        let want = Signed::sign(&want, &key(if input.byte() == 255 { 3 } else { who }));
        self.subjects.push(want.id());
        self.say(who, |req| WantMsg { req, want, ext: Exts::empty() }.into());
    }

    fn offer(&mut self, input: &mut Input<'_>, who: u8) {
        let (parent, Held { root, manifest }) = (self.pick(input).id(), held(input));
        let (source, target) = (device(who), device(1 + input.below(3) as u8));
        let (session, nonce, name) =
            (self.session, Nonce::new([input.byte(); 16]), Text::new("notes").unwrap_or_default());
        let (manifest_len, ttl) = (100, u32::from(input.byte()) * 1_000);
        let offer = Offer { session, parent, source, target, nonce, root, manifest, manifest_len, name, ttl };
        let offer = Signed::sign(&offer, &key(who));
        self.subjects.push(offer.id());
        self.say(who, |req| OfferMsg { req, offer, ext: Exts::empty() }.into());
    }

    fn withdraw(&mut self, input: &mut Input<'_>, who: u8) {
        let (session, ext) = (self.session, Exts::empty());
        let subject = input.pick(&self.subjects).copied().unwrap_or(Hash::ZERO);
        let code = Code::HO_DECLINED.into();
        match input.below(3) {
            0 => self.hear(who, Decline { session, subject, code, ext }.into()),
            1 => self.hear(who, Cancel { session, subject, code, ext }.into()),
            _ => {
                let (req, of) = (u32::from(input.byte()), Some(session).into());
                self.hear(who, Error { req, session: of, code, definite: true, retry_after_ms: 0, ext }.into());
            }
        }
    }

    /// A frame of whatever bytes, as far as it is one of custody.
    fn raw(&mut self, input: &mut Input<'_>, who: u8) {
        let len = usize::from(input.byte());
        let mut framer = Framer::default();
        framer.push(input.take(len));
        let Ok(Some(frame)) = framer.next(Rules::ALL) else { return };
        if let Ok(Some(message)) = Message::decode(Rules::ALL, frame.number, &frame.payload) {
            self.hear(who, message);
        }
    }
}

fn cas(req: u32, record: &Signed<Record>) -> Message {
    Cas { req, record: record.clone(), want: None.into(), tenure: Hash::ZERO, ext: Exts::empty() }.into()
}

/// One of two states of the data.
fn held(input: &mut Input<'_>) -> Held {
    let number = 1 + input.byte() / 200;
    Held { root: Hash::new([number; 32]), manifest: Hash::new([number + 8; 32]) }
}

/// A record with its signature; none if no such record can be.
fn proven(record: &Record, who: u8) -> Option<Proven<Record>> {
    Signed::sign(record, &key(who)).prove(Rules::ALL, |record: &Record| record.signer).ok()
}

fn service() -> DeviceId {
    device(0)
}

/// More than a handoff takes, many times.
const MAX_STEPS: usize = 48;
