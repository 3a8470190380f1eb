//! The service: requests in, answers out.

use std::collections::BTreeMap;

use segue_proto::limits::{ENVELOPE_COST, MAX_ENVELOPES, MAX_FRAME, MAX_WATCHES, WATCH_BYTES};
use segue_proto::wire::{
    Blob, BoxId, DeviceId, Discover, Envelopes, Error, Exts, Fetch, Found, Hash, Introduce, IntroduceOk, Introduced,
    List, LoggedIn, Login, Message, Put, PutOk, Relay, SessionId, Text, Wake, WakeOk, Watch,
};
use segue_proto::{Clause, Code, Hosted, Instant, Outcome, Rules, Ticket};

use crate::accounts::{Gate, Policy, Standing};
use crate::custodian::{Custodian, Said, Terms};
use crate::directory::{Append, Directory, Failed, Page, Room};
use crate::presence::Attendance;
use crate::quota::{Pace, Quota};
use crate::refusals::Refusals;

/// A mailbox. It reads no clock and has no links: an endpoint that hosts it brings the requests and takes the answers.
#[derive(Debug)]
pub struct Service<D> {
    directory: D,
    quota: Quota,
    rules: Rules,
    pace: Pace,
    watches: BTreeMap<BoxId, Vec<Waiting>>,
    watching: BTreeMap<DeviceId, usize>,
    custodian: Option<Custodian>,
    attendance: Attendance,
    /// Whether its operator has a way of waking devices.
    wakes: bool,
    gate: Gate,
    refusals: Refusals,
    counts: Counts,
}

/// What a service has to say.
#[derive(Debug, Default)]
pub struct Given {
    /// Answers, each with the request that it is for.
    pub answers: Vec<(Ticket, Message)>,
    /// Messages of sessions in custody, and introductions, each for a device.
    pub tells: Vec<(DeviceId, Message)>,
    /// Records of such sessions that are to be signed with the service's key: session, record, bytes.
    pub signs: Vec<(SessionId, Hash, Vec<u8>)>,
    /// Requests that have had all the answer that they get.
    pub closes: Vec<Ticket>,
    /// Which devices came with a token, for the operator's log: the account that it is for, or why it isn't valid. Of the
    /// latter a few a minute; each says how many were left out before it.
    pub logins: Vec<(DeviceId, Result<String, String>)>,
    /// Devices for which the operator's way of waking them is to be used now ([`Service::wake_devices`]).
    pub wakes: Vec<Waking>,
}

/// A device that is to be woken, as far as the operator can do that: by a push gateway, say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Waking {
    /// The device.
    pub device: DeviceId,
    /// Who hands something over to it.
    pub by: DeviceId,
}

/// What a service did so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Envelopes that were put.
    pub put: u64,
    /// Envelopes that were refused for want of room, or because they came too fast.
    pub refused: u64,
    /// Envelopes that were given out.
    pub given: u64,
    /// Requests that were refused because the device is under no account.
    pub locked_out: u64,
}

/// A WATCH that nothing has answered.
#[derive(Clone, Copy, Debug)]
struct Waiting {
    ticket: Ticket,
    device: DeviceId,
    req: u32,
    after: u64,
}

/// Answers, each with the request that it is for.
type Answers = Vec<(Ticket, Message)>;

impl<D: Directory> Service<D> {
    /// A service on a directory.
    pub fn new(directory: D, quota: Quota) -> Self {
        Service {
            directory,
            quota,
            rules: Rules::ALL,
            pace: Pace::default(),
            watches: BTreeMap::new(),
            watching: BTreeMap::new(),
            custodian: None,
            attendance: Attendance::default(),
            wakes: false,
            gate: Gate::default(),
            refusals: Refusals::default(),
            counts: Counts::default(),
        }
    }

    /// Keeps other clauses than all, for tests.
    #[must_use]
    pub fn with_rules(self, rules: Rules) -> Self {
        Service { rules, ..self }
    }

    /// Keeps sessions in custody from now on, with those that its directory holds.
    ///
    /// # Errors
    /// The directory failed, or holds what a service doesn't keep.
    pub fn keep_custody(&mut self, now: Instant, terms: Terms) -> Result<(), Failed> {
        self.custodian = Some(Custodian::open(terms, self.rules, now, &self.directory)?);
        Ok(())
    }

    /// Says that at `now` the wall clock shows so many milliseconds since 1970: by it the service remembers, across its
    /// own restarts, when devices were there. Without it that begins with the zeroth instant.
    pub fn set_clock(&mut self, now: Instant, unix_ms: u64) {
        self.attendance.set_clock(now, unix_ms);
    }

    /// Demands accounts from now on, by this policy, or by another one than before. Without it every device is let in.
    /// Call [`Service::set_clock`] first: logins end by it.
    ///
    /// # Errors
    /// The directory failed.
    pub fn set_policy(&mut self, policy: Policy) -> Result<(), Failed> {
        self.gate.set_policy(policy, &mut self.directory)
    }

    /// Has devices woken from now on: [`Given::wakes`] says which. Without it every WAKE is refused.
    pub fn wake_devices(&mut self) {
        self.wakes = true;
    }

    /// When to call [`Service::handle`] at the latest, though nothing came.
    pub fn next_timeout(&self) -> Option<Instant> {
        self.custodian.as_ref().and_then(Custodian::next_timeout)
    }

    /// Its directory.
    pub fn directory(&self) -> &D {
        &self.directory
    }

    /// Its directory, to be looked after.
    pub fn directory_mut(&mut self) -> &mut D {
        &mut self.directory
    }

    /// Gives its directory back.
    pub fn into_directory(self) -> D {
        self.directory
    }

    /// What it did so far.
    pub fn counts(&self) -> Counts {
        self.counts
    }

    /// Answers what came meanwhile. The envelopes among it are put in one batch, so that many cost one sync.
    ///
    /// # Errors
    /// The directory failed: nothing of this is answered, and the service must end.
    pub fn handle(&mut self, now: Instant, came: Vec<Hosted>) -> Result<Given, Failed> {
        let (mut puts, mut asks, mut answers) = (Vec::new(), Vec::new(), Vec::new());
        let (mut said, mut given) = (Vec::new(), Given::default());
        for hosted in came {
            match hosted {
                Hosted::Request { ticket, from, message } => {
                    let standing = self.standing(now, from)?;
                    if let Err(code) = standing.takes(self.rules, &message) {
                        self.turn_away(ticket, from, &message, code, &mut answers);
                        continue;
                    }
                    match message {
                        Message::Put(put) => puts.extend(self.admit(now, ticket, &standing, put, &mut answers)),
                        Message::Fetch(fetch) => asks.push((ticket, fetch)),
                        Message::Watch(watch) => self.watch(ticket, from, &watch, &mut answers)?,
                        Message::Discover(asked) => answers.push((ticket, self.discover(now, from, &asked)?)),
                        Message::Introduce(asked) => {
                            answers.push((ticket, self.introduce(now, from, asked, &mut given.tells)));
                        }
                        Message::Wake(asked) => {
                            answers.push((ticket, self.have_woken(now, from, &asked, &mut given.wakes)?));
                        }
                        Message::Login(login) => {
                            answers.push((ticket, self.login(now, from, &login, &mut given.logins)?));
                        }
                        Message::Relay(relay) => answers.push((ticket, self.relay(from, &relay))),
                        _ => {}
                    }
                }
                Hosted::Custody { ticket, from, generation, message } => {
                    let standing = self.standing(now, from)?;
                    self.counts.locked_out += u64::from(standing.takes(self.rules, &message) == Err(Code::SVC_LOGIN));
                    said.push(Said::Message { from, standing, generation, message: Box::new(message) });
                    given.closes.push(ticket);
                }
                Hosted::Signed { session, record, sig } => said.push(Said::Signed { session, record, sig }),
                Hosted::Linked { device, generation } => self.attendance.linked(device, generation, &self.directory)?,
                // What it put is put all the same: its PUT_OK is lost, and it puts again what is there already.
                Hosted::Gone(device) => {
                    self.forget(&device);
                    self.gate.gone(&device);
                    self.attendance.gone(now, &device, &mut self.directory)?;
                    said.push(Said::Gone(device));
                }
            }
        }
        self.put(puts, &mut answers)?;
        for (ticket, Fetch { req, of, after, .. }) in asks {
            let after = if self.rules.keeps(Clause::SERVICE_HOST_5) { after } else { 0 };
            let page = self.directory.fetch(&of, after, FETCH_ROOM)?;
            answers.push((ticket, self.envelopes(req, page)));
        }
        given.answers = answers;
        if let Some(custodian) = &mut self.custodian {
            if custodian.next_timeout().is_some_and(|at| at <= now) {
                said.push(Said::Time);
            }
            let outcome = custodian.handle(now, &mut self.directory, &self.quota, said)?;
            given.tells.extend(outcome.tells);
            given.signs = outcome.signs;
        }
        Ok(given)
    }

    fn standing(&mut self, now: Instant, device: DeviceId) -> Result<Standing, Failed> {
        self.gate.standing(self.rules, self.attendance.wall(now), device, &self.quota, &self.directory)
    }

    /// A request that begins something which the device may not do. Nothing waits any longer for one that has to log in.
    fn turn_away(&mut self, ticket: Ticket, from: DeviceId, message: &Message, code: Code, answers: &mut Answers) {
        let req = match message {
            Message::Put(it) => it.req,
            Message::Fetch(it) => it.req,
            Message::Watch(it) => it.req,
            Message::Discover(it) => it.req,
            Message::Introduce(it) => it.req,
            Message::Wake(it) => it.req,
            _ => 0,
        };
        answers.push((ticket, error(req, code, 0)));
        if code == Code::SVC_LOGIN {
            self.counts.locked_out += 1;
            if self.watching.contains_key(&from) {
                let waiting = self.watches.values().flatten().filter(|watch| watch.device == from);
                answers.extend(waiting.map(|watch| (watch.ticket, error(watch.req, code, 0))));
                self.forget(&from);
            }
        }
    }

    /// A device asks under which account it is let in, and may bring a token for that.
    fn login(
        &mut self,
        now: Instant,
        from: DeviceId,
        login: &Login,
        logins: &mut Vec<(DeviceId, Result<String, String>)>,
    ) -> Result<Message, Failed> {
        let wall = self.attendance.wall(now);
        if let Err((code, why)) = self.gate.bring(self.rules, wall, from, &login.token, &mut self.directory)? {
            logins.extend(self.refusals.tell(now, &why).map(|why| (from, Err(why))));
            return Ok(error(login.req, code, 0));
        }
        let standing = self.standing(now, from)?;
        if let Err(code) = standing.may {
            return Ok(error(login.req, code, 0));
        }
        let (account, until) = standing.account.map_or((String::new(), 0), |it| (it.account, it.until));
        if !login.token.is_empty() && !account.is_empty() {
            logins.push((from, Ok(account.clone())));
        }
        Ok(LoggedIn {
            req: login.req,
            account: Text::new(account).unwrap_or_default(),
            handoff: standing.may_hand_over.is_ok() && self.custodian.is_some(),
            ttl_ms: if until == 0 { 0 } else { until.saturating_sub(wall).max(1) },
            free: standing.share.bytes.saturating_sub(self.directory.used(&standing.payer)?),
            ext: Exts::empty(),
        }
        .into())
    }

    /// A PUT that doesn't come too fast, as what is to be appended.
    fn admit(
        &mut self,
        now: Instant,
        ticket: Ticket,
        by: &Standing,
        put: Put,
        answers: &mut Answers,
    ) -> Option<((Ticket, u32), Append)> {
        let (Put { req, to, envelope, .. }, by, share) = (put, by.payer, by.share);
        if let Err(wait) = self.pace.take(now, &self.quota, by, envelope.len() as u64 + ENVELOPE_COST) {
            self.counts.refused += 1;
            answers.push((ticket, error(req, Code::LIMIT_QUOTA, wait)));
            return None;
        }
        Some(((ticket, req), Append { by, share, to, envelope: envelope.into_vec() }))
    }

    fn put(&mut self, puts: Vec<((Ticket, u32), Append)>, answers: &mut Answers) -> Result<(), Failed> {
        if puts.is_empty() {
            return Ok(());
        }
        let (reqs, batch): (Vec<_>, Vec<_>) = puts.into_iter().unzip();
        let outcomes = self.directory.append(self.rules, &batch, &self.quota)?;
        let mut changed = Vec::new();
        for (((ticket, req), append), outcome) in reqs.into_iter().zip(&batch).zip(outcomes) {
            let answer = match outcome {
                Ok(offset) => {
                    self.counts.put += 1;
                    changed.push(append.to);
                    PutOk { req, offset, ext: Exts::empty() }.into()
                }
                Err(_) => {
                    self.counts.refused += 1;
                    error(req, Code::LIMIT_QUOTA, 0)
                }
            };
            answers.push((ticket, answer));
        }
        changed.sort_unstable();
        changed.dedup();
        changed.retain(|_| self.rules.keeps(Clause::SERVICE_HOST_6));
        changed.into_iter().try_for_each(|of| self.wake(&of, answers))
    }

    /// A WATCH: answered now if something is there, else once it comes.
    fn watch(&mut self, ticket: Ticket, device: DeviceId, watch: &Watch, answers: &mut Answers) -> Result<(), Failed> {
        let Watch { req, of, after, .. } = *watch;
        let count = self.watching.entry(device).or_default();
        if *count >= MAX_WATCHES {
            answers.push((ticket, error(req, Code::LIMIT_REQUESTS, 0)));
            return Ok(());
        }
        let page = self.directory.fetch(&of, after, WATCH_ROOM)?;
        if page.last != after {
            answers.push((ticket, self.envelopes(req, page)));
            return Ok(());
        }
        *count += 1;
        self.watches.entry(of).or_default().push(Waiting { ticket, device, req, after });
        Ok(())
    }

    /// Answers the WATCHes of a box for whom something is there.
    fn wake(&mut self, of: &BoxId, answers: &mut Answers) -> Result<(), Failed> {
        let Some(waiting) = self.watches.remove(of) else { return Ok(()) };
        let mut still = Vec::new();
        for watch in waiting {
            let page = self.directory.fetch(of, watch.after, WATCH_ROOM)?;
            // Fewer than the watcher fetched: it is told at once, and puts anew what is lost.
            if page.last == watch.after {
                still.push(watch);
                continue;
            }
            self.unwatch(&watch.device);
            answers.push((watch.ticket, self.envelopes(watch.req, page)));
        }
        if !still.is_empty() {
            self.watches.insert(*of, still);
        }
        Ok(())
    }

    fn unwatch(&mut self, device: &DeviceId) {
        if let Some(count) = self.watching.get_mut(device) {
            *count = count.saturating_sub(1);
        }
    }

    fn forget(&mut self, device: &DeviceId) {
        if self.watching.remove(device).is_some() {
            for waiting in self.watches.values_mut() {
                waiting.retain(|watch| watch.device != *device);
            }
            self.watches.retain(|_, waiting| !waiting.is_empty());
        }
    }

    fn discover(&mut self, now: Instant, by: DeviceId, asked: &Discover) -> Result<Message, Failed> {
        let found = self.attendance.discover(self.rules, now, by, &asked.devices, &mut self.directory)?;
        Ok(Found { req: asked.req, found: List::new(found).unwrap_or_default(), ext: Exts::empty() }.into())
    }

    /// The answer to a device that introduces itself to another; what is passed on to that one is added to `passed`.
    fn introduce(
        &mut self,
        now: Instant,
        from: DeviceId,
        asked: Introduce,
        passed: &mut Vec<(DeviceId, Message)>,
    ) -> Message {
        let Introduce { req, to, sealed, .. } = asked;
        if let Err((code, wait)) = self.attendance.introduce(self.rules, now, from, &to) {
            return error(req, code, wait);
        }
        if self.rules.keeps(Clause::SERVICE_MEET_1) {
            passed.push((to, Introduced { from, sealed, ext: Exts::empty() }.into()));
        }
        IntroduceOk { req, ext: Exts::empty() }.into()
    }

    /// Whether packets of a device are passed on to another: the first frame to that one, or an error.
    fn relay(&self, from: DeviceId, asked: &Relay) -> Message {
        match self.attendance.may_pass(self.rules, Clause::SERVICE_RELAY_2, from, &asked.device) {
            true => {
                let named = if self.rules.keeps(Clause::SERVICE_RELAY_1) { from } else { asked.device };
                Relay { device: named, ext: Exts::empty() }.into()
            }
            false => error(0, Code::SERVICE_AWAY, 0),
        }
    }

    /// The answer to a device that hands something over to another, on which nothing may run.
    fn have_woken(
        &mut self,
        now: Instant,
        by: DeviceId,
        asked: &Wake,
        wakes: &mut Vec<Waking>,
    ) -> Result<Message, Failed> {
        let Wake { req, device, .. } = *asked;
        if !self.wakes && self.rules.keeps(Clause::SERVICE_WAKE_5) {
            return Ok(error(req, Code::SERVICE_NONE, 0));
        }
        match self.attendance.wake(self.rules, now, by, device, &self.directory)? {
            Ok(used) => {
                if used && self.rules.keeps(Clause::SERVICE_WAKE_1) {
                    wakes.push(Waking { device, by });
                }
                Ok(WakeOk { req, ext: Exts::empty() }.into())
            }
            Err((code, wait)) => Ok(error(req, code, wait)),
        }
    }

    fn envelopes(&mut self, req: u32, page: Page) -> Message {
        let Page { first, last, envelopes } = page;
        self.counts.given += envelopes.len() as u64;
        let envelopes = envelopes.into_iter().filter_map(Blob::new).collect();
        Envelopes { req, first, last, envelopes: List::new(envelopes).unwrap_or_default(), ext: Exts::empty() }.into()
    }
}

/// What an ENVELOPES holds: a frame, less its own fields.
const FETCH_ROOM: Room = Room { bytes: MAX_FRAME - 64, envelopes: MAX_ENVELOPES };
/// What answers a WATCH.
const WATCH_ROOM: Room = Room { bytes: WATCH_BYTES, envelopes: MAX_ENVELOPES };

fn error(req: u32, code: Code, retry_after_ms: u32) -> Message {
    let definite = code.outcome() == Outcome::Definite;
    Error { req, session: None.into(), code: code.into(), definite, retry_after_ms, ext: Exts::empty() }.into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Memory;

    #[test]
    fn a_watch_costs_a_look_however_many_wait_for_the_same_box() {
        let mut service = Service::new(Memory::default(), Quota::default());
        let (from, of) = (DeviceId::new([1; 32]), BoxId::new([2; 32]));
        let watch = |at: usize| {
            let message = Watch { req: at as u32, of, after: 0, ext: Exts::empty() }.into();
            Hosted::Request { ticket: Ticket(at as u64), from, message }
        };
        let given = service.handle(Instant::from_micros(0), (1..=MAX_WATCHES).map(watch).collect()).expect("it holds");
        assert!(given.answers.is_empty(), "nothing is there");
        assert_eq!(service.directory().fetches.get(), MAX_WATCHES);
        let put = Put { req: 0, to: of, envelope: Blob::new(vec![3]).expect("short"), ext: Exts::empty() }.into();
        let put = Hosted::Request { ticket: Ticket(0), from, message: put };
        let given = service.handle(Instant::from_micros(0), vec![put]).expect("it holds");
        assert_eq!(given.answers.len(), 1 + MAX_WATCHES, "each is told, once");
        assert!(service.watches.is_empty() && service.watching.get(&from) == Some(&0));
    }
}
