//! Accounts with a service: devices that log in, and ask for what they may or may not, while the operator's word changes.

use std::collections::{BTreeMap, BTreeSet};

use segue_proto::limits::{ACCOUNT_ENVELOPES, ENVELOPE_COST};
use segue_proto::wire::codec::Blob;
use segue_proto::wire::{BoxId, DeviceId, Discover, Error, Exts, List, Login, Message, Put, Watch};
use segue_proto::{Code, Generation, Hosted, Instant, Rules, Ticket};
use segue_service::{Allowance, Claim, Memory, Policy, Quota, Service, Tokens};

use crate::input::Input;

/// Steps of four devices and an operator with two accounts: a byte that chooses what is done, one that chooses by whom, and
/// what that takes. A service lets in whom its accounts let in, under the account that they say, to what that permits,
/// also after it has started again; and answers each request once.
pub fn login(data: &[u8]) {
    login_by(Rules::ALL, data);
}

/// The same, of a service that keeps these clauses alone.
pub fn login_by(rules: Rules, data: &[u8]) {
    let mut input = Input::new(data);
    let mut rig = Rig::new(rules, &mut input);
    for _ in 0..64 {
        if input.is_empty() {
            break;
        }
        rig.step(&mut input);
    }
}

/// Tokens of three bytes: an account, the second in which they end, and whether they are signed.
#[derive(Debug)]
struct Plain;

impl Tokens for Plain {
    fn judge(&self, token: &[u8], unix_ms: u64) -> Result<Claim, String> {
        let [account, until, signed] = token else { return Err("of another length".into()) };
        let claim = Claim { account: name(*account), until: START_MS + u64::from(*until) * 1_000 };
        if *signed % 4 != 3 && unix_ms < claim.until { Ok(claim) } else { Err("not signed, or over".into()) }
    }
}

/// What an operator says.
#[derive(Clone, Debug, Default)]
struct Word {
    named: BTreeMap<DeviceId, String>,
    removed: BTreeSet<DeviceId>,
    /// By account: whether it may hand over, the bytes, and the devices.
    terms: BTreeMap<String, (bool, u64, usize)>,
    ends_with_token: bool,
}

impl Word {
    fn drawn(input: &mut Input<'_>) -> Word {
        let mut word = Word { ends_with_token: input.flag(), ..Word::default() };
        for at in 0..ACCOUNTS {
            let terms = (input.byte() % 4 != 3, u64::from(input.byte()) * 40, 1 + input.below(2));
            word.terms.insert(name(at), terms);
        }
        let (named, removed) = (input.byte(), input.byte());
        for at in 0..DEVICES {
            if named >> at & 17 == 17 {
                word.named.insert(device(at), name(at % ACCOUNTS));
            }
            if removed >> at & 17 == 17 {
                word.removed.insert(device(at));
            }
        }
        word
    }

    fn policy(&self) -> Policy {
        let allowance = |(handoff, bytes, devices): &(bool, u64, usize)| Allowance {
            handoff: *handoff,
            bytes: *bytes,
            envelopes: ACCOUNT_ENVELOPES,
            devices: *devices,
        };
        Policy {
            accounts: self.terms.iter().map(|(account, terms)| (account.clone(), allowance(terms))).collect(),
            devices: self.named.clone(),
            removed: self.removed.clone(),
            tokens: Some(Box::new(Plain)),
            ends_with_token: self.ends_with_token,
            ..Policy::default()
        }
    }
}

/// A service, and what it must make of it all.
struct Rig {
    rules: Rules,
    service: Service<Memory>,
    now: Instant,
    word: Word,
    /// Whom tokens brought under which account, and until when; 0 for good.
    bound: BTreeMap<DeviceId, (String, u64)>,
    used: BTreeMap<String, u64>,
    tickets: u64,
    /// The watches that nothing answered yet.
    watching: BTreeMap<Ticket, DeviceId>,
    put: u64,
}

impl Rig {
    fn new(rules: Rules, input: &mut Input<'_>) -> Rig {
        let service = Service::new(Memory::default(), Quota::default());
        let (bound, used, watching) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        let (now, word) = (Instant::ZERO, Word::drawn(input));
        let mut rig = Rig { rules, service, now, word, bound, used, tickets: 0, watching, put: 0 };
        rig.restart();
        rig
    }

    fn step(&mut self, input: &mut Input<'_>) {
        let (action, who) = (input.below(10), device(input.byte() % DEVICES));
        match action {
            0..3 => {
                let len = if input.byte() % 8 == 7 { input.below(5) } else { 3 };
                self.log_in(
                    who,
                    (0..len).map(|at| if at == 0 { input.byte() % ACCOUNTS } else { input.byte() }).collect(),
                );
            }
            3 => self.log_in(who, Vec::new()),
            4 => self.put(who, usize::from(input.byte()) * 4),
            5 => self.watch(who),
            6 => self.discover(who),
            7 => self.now = self.now.after(u64::from(input.byte()) * 1_000_000),
            8 if input.flag() => self.restart(),
            8 => {
                let given = self.service.handle(self.now, vec![Hosted::Gone(who)]).expect("memory doesn't fail");
                assert!(given.answers.is_empty(), "who is gone is answered");
                self.watching.retain(|_, device| *device != who);
            }
            _ => {
                self.word = Word::drawn(input);
                self.say();
            }
        }
    }

    /// The service starts again, with what it keeps.
    fn restart(&mut self) {
        let memory = std::mem::take(self.service.directory_mut());
        self.service = Service::new(memory, Quota::default()).with_rules(self.rules);
        self.service.set_clock(self.now, self.wall());
        self.watching.clear();
        self.say();
    }

    fn say(&mut self) {
        self.service.set_policy(self.word.policy()).expect("memory doesn't fail");
        self.bound.retain(|device, _| !self.word.removed.contains(device));
    }

    fn wall(&self) -> u64 {
        START_MS + self.now.micros() / 1_000
    }

    /// Under which account a device has to be, and until when.
    fn account(&self, device: &DeviceId) -> Option<(String, u64)> {
        if self.word.removed.contains(device) {
            return None;
        }
        let named = self.word.named.get(device).map(|account| (account.clone(), 0));
        named.or_else(|| self.bound.get(device).cloned()).filter(|it| self.lasts(it))
    }

    fn lasts(&self, (_, until): &(String, u64)) -> bool {
        *until == 0 || self.wall() < *until
    }

    fn terms(&self, account: &str) -> (bool, u64, usize) {
        self.word.terms.get(account).copied().unwrap_or_default()
    }

    /// What has to come of a token.
    fn bring(&mut self, device: DeviceId, token: &[u8]) -> Result<(), Code> {
        let claim = Plain.judge(token, self.wall()).map_err(|_| Code::SVC_TOKEN)?;
        let before = self.account(&device);
        if self.word.removed.contains(&device) || before.as_ref().is_some_and(|it| it.0 != claim.account) {
            return Err(Code::SVC_TOKEN);
        }
        if self.word.named.contains_key(&device) {
            return Ok(());
        }
        let others = self.bound.iter().filter(|(of, it)| **of != device && it.0 == claim.account && self.lasts(it));
        if before.is_none() && others.count() >= self.terms(&claim.account).2 {
            return Err(Code::LIMIT_QUOTA);
        }
        let until = if self.word.ends_with_token { claim.until } else { 0 };
        self.bound.insert(device, (claim.account, until));
        Ok(())
    }

    fn log_in(&mut self, who: DeviceId, token: Vec<u8>) {
        let brought = if token.is_empty() { Ok(()) } else { self.bring(who, &token) };
        let message = Login { req: 7, token: Blob::new(token).unwrap_or_default(), ext: Exts::empty() };
        let answer = self.ask(who, message.into());
        let expected = brought.and_then(|()| self.account(&who).ok_or(Code::SVC_LOGIN));
        match (expected, answer) {
            (Ok((account, until)), Some(Message::LoggedIn(it))) => {
                assert_eq!(&*it.account, account.as_str());
                let left = if until == 0 { 0 } else { until.saturating_sub(self.wall()).max(1) };
                assert_eq!(it.ttl_ms, left);
                let used = self.used.get(&account).copied().unwrap_or_default();
                assert_eq!(it.free, self.terms(&account).1.saturating_sub(used));
                assert!(!it.handoff, "a service that keeps no custody");
            }
            (Err(code), answer) => assert_eq!(refused(answer.as_ref()), Some(code)),
            (Ok(_), answer) => panic!("{answer:?} to a device that is let in"),
        }
    }

    fn put(&mut self, who: DeviceId, len: usize) {
        self.put += 1;
        // No two are the same.
        let envelope: Vec<u8> = self.put.to_be_bytes().into_iter().chain(vec![0; len]).collect();
        let cost = envelope.len() as u64 + ENVELOPE_COST;
        let envelope = Blob::new(envelope).unwrap_or_default();
        let account = self.account(&who);
        let answer = self.ask(who, Put { req: 7, to: BOX, envelope, ext: Exts::empty() }.into());
        let Some((account, _)) = account else { return assert_eq!(refused(answer.as_ref()), Some(Code::SVC_LOGIN)) };
        let bytes = self.terms(&account).1;
        let used = self.used.entry(account).or_default();
        if *used + cost > bytes {
            return assert_eq!(refused(answer.as_ref()), Some(Code::LIMIT_QUOTA));
        }
        *used += cost;
        assert!(matches!(answer, Some(Message::PutOk(_))), "{answer:?}");
    }

    fn watch(&mut self, who: DeviceId) {
        let may = self.account(&who).is_some();
        let answer = self.ask(who, Watch { req: 7, of: EMPTY, after: 0, ext: Exts::empty() }.into());
        match answer {
            None if may => drop(self.watching.insert(Ticket(self.tickets), who)),
            Some(Message::Error(it)) if may => assert_eq!(Code::from(it.code), Code::LIMIT_REQUESTS),
            answer => assert_eq!(refused(answer.as_ref()), Some(Code::SVC_LOGIN)),
        }
    }

    fn discover(&mut self, who: DeviceId) {
        let devices = List::new(vec![device(0), device(1)]).unwrap_or_default();
        let account = self.account(&who);
        let answer = self.ask(who, Discover { req: 7, devices, ext: Exts::empty() }.into());
        match account {
            None => assert_eq!(refused(answer.as_ref()), Some(Code::SVC_LOGIN)),
            Some((account, _)) if !self.terms(&account).0 => {
                assert_eq!(refused(answer.as_ref()), Some(Code::SVC_FEATURE));
            }
            Some(_) => assert!(matches!(answer, Some(Message::Found(_))), "{answer:?}"),
        }
    }

    /// A device asks; what it is answered. Beside that only watches that waited may be answered.
    fn ask(&mut self, from: DeviceId, message: Message) -> Option<Message> {
        self.tickets += 1;
        let ticket = Ticket(self.tickets);
        let linked = Hosted::Linked { device: from, generation: Generation::V7 };
        let request = Hosted::Request { ticket, from, message };
        let given = self.service.handle(self.now, vec![linked, request]).expect("memory doesn't fail");
        let mut own = None;
        for (to, answer) in given.answers {
            if to == ticket {
                assert!(own.replace(answer).is_none(), "a request is answered twice");
            } else {
                assert!(self.watching.remove(&to).is_some(), "nobody waits for {answer:?}");
                assert_eq!(refused(Some(&answer)), Some(Code::SVC_LOGIN));
            }
        }
        own
    }
}

fn refused(answer: Option<&Message>) -> Option<Code> {
    match answer {
        Some(Message::Error(Error { code, .. })) => Some(Code::from(*code)),
        _ => None,
    }
}

fn name(account: u8) -> String {
    format!("account {account}")
}

fn device(number: u8) -> DeviceId {
    DeviceId::new([number + 1; 32])
}

const DEVICES: u8 = 4;
const ACCOUNTS: u8 = 2;
const BOX: BoxId = BoxId::new([1; 32]);
/// Nothing is ever put there.
const EMPTY: BoxId = BoxId::new([2; 32]);
/// When the service began, in milliseconds since 1970.
const START_MS: u64 = 1_000_000;
