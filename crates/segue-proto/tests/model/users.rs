//! Users in the model: what they wish and what they are told; and links, which keep the order of messages, and break.

use std::collections::{BTreeMap, BTreeSet};

use segue_proto::handoff::{Hold, Session};
use segue_proto::wire::{Announced, DeviceId, Exts, Hash as Id, Have, Message, OfferMsg, Record, WantMode, WantMsg};
use segue_proto::{Code, Rules};

use crate::data::{self, Data};
use crate::steps::{Cause, Step, Told, Turn};
use crate::world::{Known, Packet, World, key, number};
use crate::{TIMEOUT, promises};

/// How much may still happen, and how the devices are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Acts {
    /// How many devices there are.
    pub devices: u8,
    pub initiate: u8,
    pub request: u8,
    pub consent: u8,
    pub withdraw: u8,
    /// How often a user says no, and how often a device refuses for now.
    pub reject: u8,
    pub limit: u8,
    pub stand_by: u8,
    pub write: u8,
    pub timeout: u8,
    pub crash: u8,
    /// How often a link breaks, a device isn't heard of for long, and a fetch fails.
    pub breaks: u8,
    pub silence: u8,
    pub fail: u8,
    /// Whether users are asked before their device hands over what another wants.
    pub asks: bool,
    /// Whether what is fetched takes time.
    pub slow: bool,
    /// How many writes a GRANT has room for, if not for all.
    pub room: Option<u8>,
    /// Whether only device 0 keeps the session.
    pub strangers: bool,
    /// A seeded mistake: whoever is silent counts as heard of.
    pub deaf: bool,
}

/// What a user wished for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum What {
    /// To have the session.
    Pull,
    /// To have it, as this OFFER says.
    Answer(Id),
    /// To have it whenever it is handed over.
    Standing,
    /// To hand it over.
    Push(u8),
}

/// What a user was told of a wish.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Said {
    Nothing,
    /// It may yet come true.
    Pending,
    /// Nothing changed hands.
    Failed(Code),
    /// By this record it is so.
    Done(Id),
}

/// A user's wish.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Wish {
    pub device: u8,
    /// The first wish of a device has number 1.
    pub id: u64,
    pub what: What,
    /// The WANTs, or the OFFERs, that were signed for it.
    pub signed: BTreeSet<Id>,
    pub said: Said,
    /// Whether its user was told that it may yet come true.
    pub pended: bool,
    /// Until its device starts again, or another consent takes the place of this one.
    pub live: bool,
}

impl Wish {
    fn hands_over(&self) -> bool {
        matches!(self.what, What::Push(_))
    }

    /// Whether its user waits for word of it.
    pub(crate) fn waits(&self) -> bool {
        self.live && self.what != What::Standing && matches!(self.said, Said::Nothing | Said::Pending)
    }
}

/// All that was wished and told.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Ledger {
    pub wishes: Vec<Wish>,
    /// The modes of the WANTs, and the OFFERs that they answer.
    pub wants: BTreeMap<Id, (u8, Option<Id>)>,
    /// The requests that are before a user, by device and token; those for the session with the device that asks.
    pub open: BTreeMap<(u8, Id), Option<u8>>,
    /// The requests that a user rejected.
    pub rejected: BTreeSet<Id>,
    /// The owners whose users let a device have the session.
    pub allowed: BTreeSet<(u8, u8)>,
    /// The OFFERs that were accepted, and whose acceptance was refused for now.
    pub put_off: BTreeSet<(u8, Id)>,
}

/// What waits for a disk.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Waits {
    Message(u8, Known<Message>),
    Told(Told),
}

/// What is being fetched of a device, and whether nobody seeks it yet.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Fetch {
    pub from: u8,
    pub data: Known<Announced>,
    pub standing_by: bool,
}

/// Users and links.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Users {
    pub acts: Acts,
    pub ledger: Known<Ledger>,
    /// What is under way, in its order, by sender and receiver.
    pub lanes: BTreeMap<(u8, u8), Vec<Known<Message>>>,
    /// What waits for a device's disk, in its order.
    held: Vec<(u8, Waits)>,
    pub fetches: BTreeMap<u8, Fetch>,
    /// Pairs without a link, the smaller number first.
    pub down: BTreeSet<(u8, u8)>,
    /// How many links there were.
    links: u8,
    /// The devices that nobody heard of lately, and those that stand by: a bit each.
    pub silent: u8,
    pub stands_by: u8,
    /// Whether a wish had anything fetched.
    pub fetched: bool,
}

impl Users {
    pub(crate) fn new(acts: Acts) -> Users {
        Users {
            acts,
            ledger: Known::default(),
            lanes: BTreeMap::new(),
            held: Vec::new(),
            fetches: BTreeMap::new(),
            down: BTreeSet::new(),
            links: 0,
            silent: 0,
            stands_by: 0,
            fetched: false,
        }
    }

    /// What a device finds around itself.
    pub(crate) fn turn(&self, device: u8) -> Turn {
        let linked = (0..self.acts.devices).filter(|other| *other != device && self.linked(device, *other));
        let linked = linked.fold(0, |bits, other| bits | 1 << other);
        let silent = if self.acts.deaf { 0 } else { self.silent };
        let own = self.ledger.wishes.iter().filter(|wish| wish.device == device);
        let (wishes, signed) =
            own.fold((0, 0), |(wishes, signed), wish| (wishes + 1, signed + wish.signed.len() as u8));
        let Acts { asks, slow, .. } = self.acts;
        Turn { linked, heard: linked & !silent, asks, slow, wishes, links: self.links, signed }
    }

    pub(crate) fn linked(&self, a: u8, b: u8) -> bool {
        a.max(b) < self.acts.devices && !self.down.contains(&(a.min(b), a.max(b)))
    }

    /// A message leaves.
    pub(crate) fn post(&mut self, packet: Packet) {
        if self.linked(packet.from, packet.to) {
            self.lanes.entry((packet.from, packet.to)).or_default().push(packet.message);
        }
    }

    /// Whether nothing is under way between two devices.
    pub(crate) fn rests(&self, a: u8, b: u8) -> bool {
        let lanes = [(a, b), (b, a)].iter().all(|lane| !self.lanes.contains_key(lane));
        lanes && self.held.is_empty() && self.fetches.is_empty() && self.linked(a, b)
    }

    pub(crate) fn is_silent(&self, device: u8) -> bool {
        self.silent >> device & 1 == 1
    }

    /// The newest wish of a device for itself, if its user has heard nothing of it.
    fn sought(&self, device: u8) -> Option<usize> {
        let last = self.ledger.wishes.iter().rposition(|wish| wish.device == device && !wish.hands_over())?;
        let wish = &self.ledger.wishes[last];
        (wish.live && wish.said == Said::Nothing).then_some(last)
    }

    /// Whether the end of a wish is known, and told once it is durable.
    pub(crate) fn will_tell(&self, wish: &Wish) -> bool {
        let of = |it: &Waits| matches!(it, Waits::Told(Told::Ended(id, ..)) if *id == wish.id);
        self.held.iter().any(|(device, it)| *device == wish.device && of(it))
    }

    fn lose_link(&mut self, a: u8, b: u8) {
        self.down.insert((a.min(b), a.max(b)));
        self.lanes.retain(|lane, _| *lane != (a, b) && *lane != (b, a));
        let between = |from: u8, waits: &Waits| matches!(waits, Waits::Message(to, _) if (from, *to) == (a, b) || (from, *to) == (b, a));
        self.held.retain(|(from, waits)| !between(*from, waits));
    }
}

/// What users do.
impl World {
    /// A user wishes for something: whatever the device does from now on, it may do for that.
    pub(crate) fn wish(&mut self, device: u8, what: What) {
        let Some(users) = &mut self.users else { return };
        users.ledger.edit(|ledger| {
            let id = ledger.wishes.iter().filter(|wish| wish.device == device).count() as u64 + 1;
            if !matches!(what, What::Push(_)) {
                let consents = |wish: &&mut Wish| wish.device == device && wish.what == What::Standing;
                ledger.wishes.iter_mut().filter(consents).for_each(|wish| wish.live = false);
            }
            let wish =
                Wish { device, id, what, signed: BTreeSet::new(), said: Said::Nothing, pended: false, live: true };
            ledger.wishes.push(wish);
        });
    }

    /// A user gives up what runs. Who waits for the session is told what came of that.
    pub(crate) fn withdraw(&mut self, rules: Rules, device: u8) {
        let sought = self.users.as_ref().and_then(|users| users.sought(device));
        self.run(rules, device, Cause::Withdraw, |session, ctx| session.cancel(ctx).unwrap_or(()));
        let Some(users) = &mut self.users else { return };
        let Some(at) = sought else { return };
        users.ledger.edit(|ledger| {
            let wish = &mut ledger.wishes[at];
            wish.live &= wish.what != What::Standing;
        });
        let wish = &users.ledger.wishes[at];
        if wish.said == Said::Nothing && wish.what != What::Standing && !users.will_tell(wish) {
            self.note(Err("HO-TIME-3: a user who withdrew is told nothing"));
        }
    }

    /// A user answers a request.
    pub(crate) fn answer(&mut self, rules: Rules, device: u8, token: Id, yes: bool) {
        let Some(users) = &mut self.users else { return };
        let asks = users.ledger.edit(|ledger| {
            if !yes {
                ledger.rejected.insert(token);
            }
            ledger.open.remove(&(device, token)).flatten()
        });
        match asks {
            None if yes => self.wish(device, What::Answer(token)),
            Some(by) if yes => {
                users.ledger.edit(|ledger| ledger.allowed.insert((device, by)));
            }
            _ => {}
        }
        let before = self.devices[usize::from(device)].session.clone();
        if yes {
            self.run(rules, device, Cause::Accept(token), |session, ctx| {
                let _ = session.accept_offer(ctx, token).is_some() || session.accept_pull(ctx, token);
            });
        } else {
            self.run(rules, device, Cause::Reject(token), |session, ctx| {
                let _ = session.reject_offer(ctx, token, Some(NO)) || session.reject_pull(ctx, token, Some(NO));
            });
        }
        if self.devices[usize::from(device)].session == before {
            self.note(Err("a user answers a request that is void, and wasn't told so"));
        }
    }

    /// A user lets the device stand by: it asks the owner what there is (`endpoint/standby.rs`).
    pub(crate) fn stand_by(&mut self, rules: Rules, device: u8) {
        let Some(users) = &mut self.users else { return };
        users.stands_by |= 1 << device;
        self.run(rules, device, Cause::StandBy, |session, ctx| {
            let (req, head, session, owner) = (ctx.fresh.request(), session.head_id(), session.id(), session.owner());
            if let Some(owner) = owner {
                ctx.send(owner, Have { req, session, head, data: None.into(), ext: Exts::empty() });
            }
        });
    }

    /// A user has enough of that.
    pub(crate) fn stand_down(&mut self, device: u8) {
        let Some(users) = &mut self.users else { return };
        users.stands_by &= !(1 << device);
        users.fetches.retain(|by, fetch| *by != device || !fetch.standing_by);
    }
}

/// What devices do.
impl World {
    /// The next message of a link arrives.
    pub(crate) fn take(&mut self, rules: Rules, from: u8, to: u8) {
        let Some(message) = self.next_of(from, to) else { return };
        let packet = Packet { from, to, message };
        self.deliver(rules, &packet);
        let Some(users) = &mut self.users else { return };
        let Message::Have(have) = &*packet.message else { return };
        let session = self.devices[usize::from(to)].session.as_ref();
        let Some(session) = session.filter(|_| users.stands_by >> to & 1 == 1) else { return };
        let likely = !session.is_kept() && !session.seeks() && session.is_likely_next();
        let told = have.head == session.head_id() && session.owner() == Some(key(from));
        if let Some(data) = have.data.get().filter(|_| likely && told)
            && !session.holdings.staged.contains(&data::list(&data.manifest))
        {
            let fetch = Fetch { from, data: Known::new(data.clone()), standing_by: true };
            users.fetches.insert(to, fetch);
        }
    }

    /// The next message of a link arrives, and is too much for now.
    pub(crate) fn refuse(&mut self, rules: Rules, from: u8, to: u8) {
        let Some(message) = self.next_of(from, to) else { return };
        let (req, code) = match &*message {
            Message::Offer(it) => (it.req, Code::LIMIT_OFFERS),
            Message::Want(it) => (it.req, Code::LIMIT_REQUESTS),
            Message::Have(it) => (it.req, Code::LIMIT_REQUESTS),
            _ => return,
        };
        let session = self.devices[usize::from(to)].session.as_ref().map(|session| session.id());
        let error = segue_proto::wire::Error {
            req,
            session: session.into(),
            code: code.into(),
            definite: true,
            retry_after_ms: 0,
            ext: Exts::empty(),
        };
        self.say(rules, to, false, from, &Known::new(error.into()));
    }

    fn next_of(&mut self, from: u8, to: u8) -> Option<Known<Message>> {
        let users = self.users.as_mut()?;
        let lane = users.lanes.get_mut(&(from, to))?;
        let message = lane.remove(0);
        if lane.is_empty() {
            users.lanes.remove(&(from, to));
        }
        users.silent &= !(1 << from);
        Some(message)
    }

    /// A fetch is complete.
    pub(crate) fn fetched(&mut self, rules: Rules, device: u8) {
        let Some(fetch) = self.users.as_mut().and_then(|users| users.fetches.remove(&device)) else { return };
        let Announced { manifest, root, .. } = *fetch.data;
        let cause = if fetch.standing_by { Cause::StoodBy(manifest) } else { Cause::Fetched(manifest) };
        self.run(rules, device, cause, |session, ctx| {
            let write = session.holdings.stage(data::list(&manifest));
            ctx.fx.writes.push(write);
            if !fetch.standing_by {
                session.on_data(ctx, manifest, root);
            } else if !rules.keeps(segue_proto::Clause::HO_STANDBY_2) {
                let _ = session.consent(ctx, key(fetch.from), TIMEOUT);
            }
        });
    }

    /// It comes to nothing.
    pub(crate) fn fetch_fails(&mut self, rules: Rules, device: u8) {
        let Some(fetch) = self.users.as_mut().and_then(|users| users.fetches.remove(&device)) else { return };
        if !fetch.standing_by {
            self.run(rules, device, Cause::FetchFails, |session, ctx| session.on_fetch_failed(ctx, Code::DATA_HASH));
        }
    }

    /// A link breaks: what is under way is lost.
    pub(crate) fn part(&mut self, a: u8, b: u8) {
        if let Some(users) = &mut self.users {
            users.lose_link(a, b);
        }
    }

    /// Two devices have a link.
    pub(crate) fn meet(&mut self, rules: Rules, a: u8, b: u8) {
        let Some(users) = &mut self.users else { return };
        users.down.remove(&(a, b));
        users.links += 1;
        users.silent &= !(1 << a | 1 << b);
        self.run(rules, a, Cause::Met(b), |session, ctx| session.on_peer(ctx, key(b)));
        self.run(rules, b, Cause::Met(a), |session, ctx| session.on_peer(ctx, key(a)));
    }

    /// A device loses what isn't synced, and starts again without links.
    pub(crate) fn restart(&mut self, rules: Rules, device: u8) {
        self.crash(rules, device);
        let Some(users) = &mut self.users else { return };
        (0..users.acts.devices).filter(|other| *other != device).for_each(|other| users.lose_link(device, other));
        users.held.retain(|(by, _)| *by != device);
        users.fetches.remove(&device);
        users.stands_by &= !(1 << device);
        users.ledger.edit(|ledger| {
            let own = |wish: &&mut Wish| wish.device == device;
            ledger.wishes.iter_mut().filter(own).for_each(|wish| wish.live = false);
            ledger.open.retain(|(of, _), _| *of != device);
            ledger.allowed.retain(|(of, _)| *of != device);
            ledger.put_off.retain(|(of, _)| *of != device);
        });
    }

    /// A device says something: behind what of its own still waits for its disk, if there is a link.
    pub(crate) fn say(&mut self, rules: Rules, from: u8, waits: bool, to: u8, message: &Known<Message>) {
        self.sign(from, message);
        let Some(users) = &mut self.users else { return };
        if !users.linked(from, to) {
            return;
        }
        let ahead = |(of, it): &(u8, Waits)| *of == from && matches!(it, Waits::Message(other, _) if *other == to);
        if waits || users.held.iter().any(ahead) {
            users.held.push((from, Waits::Message(to, message.clone())));
        } else {
            self.leave(rules, from, to, message.clone());
        }
    }

    /// Notes for which wish a WANT or an OFFER is.
    fn sign(&mut self, from: u8, message: &Message) {
        let Some(users) = &mut self.users else { return };
        match message {
            Message::Want(WantMsg { want, .. }) => {
                let Ok(body) = want.open(Rules::ALL) else { return };
                let Some(at) = users.sought(from) else {
                    return self.note(Err("HO-OFFER-5: a WANT that no user wished for"));
                };
                let offer = body.offer.get().copied();
                let wished = match users.ledger.wishes[at].what {
                    What::Answer(token) => offer.is_none_or(|offer| offer == token),
                    _ => true,
                };
                users.ledger.edit(|ledger| {
                    ledger.wishes[at].signed.insert(want.id());
                    ledger.wants.insert(want.id(), (body.mode, offer));
                });
                if !wished {
                    self.note(Err("HO-OFFER-5: a WANT that answers another OFFER than the user accepted"));
                }
            }
            Message::Offer(OfferMsg { offer, .. }) => {
                let last = users.ledger.wishes.iter().rposition(|wish| wish.device == from && wish.hands_over());
                if let Some(at) = last {
                    users.ledger.edit(|ledger| ledger.wishes[at].signed.insert(offer.id()));
                }
            }
            _ => {}
        }
    }

    /// What waited for a device's disk leaves, and is told.
    pub(crate) fn release(&mut self, rules: Rules, device: u8) {
        let Some(users) = &mut self.users else { return };
        let (own, others) = std::mem::take(&mut users.held).into_iter().partition(|(of, _)| *of == device);
        users.held = others;
        let own: Vec<(u8, Waits)> = own;
        for (_, waits) in own {
            match waits {
                Waits::Message(to, message) => self.leave(rules, device, to, message),
                Waits::Told(told) => self.tell(device, told),
            }
        }
    }

    /// What a step of a device told its user and has it fetch, and what it means for wishes.
    pub(crate) fn hear(&mut self, device: u8, cause: Cause<'_>, before: &Session<Data>, steps: &[Step]) {
        self.note(promises::hands_over(self, device, cause, before));
        let waits = !self.devices[usize::from(device)].pending.is_empty();
        for step in steps {
            let Some(users) = &mut self.users else { return };
            if step.stops {
                users.fetches.remove(&device);
            }
            if let Some((from, data)) = &step.fetch {
                let fetch = Fetch { from: *from, data: data.clone(), standing_by: false };
                users.fetches.insert(device, fetch);
                users.fetched = true;
            }
            for (hold, told) in step.told.iter().cloned() {
                match &mut self.users {
                    Some(users) if waits && hold == Hold::Durable => users.held.push((device, Waits::Told(told))),
                    _ => self.tell(device, told),
                }
            }
        }
        self.note(promises::kept(self));
    }

    fn tell(&mut self, device: u8, told: Told) {
        let law = promises::told(self, device, &told);
        self.note(law);
        let Some(users) = &mut self.users else { return };
        users.ledger.edit(|ledger| ledger.note(device, told));
    }
}

/// What a user says to a request that isn't welcome.
pub(crate) const NO: &str = "not now";

impl Ledger {
    /// The wish of a device with this number, unless the device started again since.
    pub(crate) fn of(&self, device: u8, id: u64) -> Option<&Wish> {
        self.wishes.iter().find(|wish| (wish.device, wish.id, wish.live) == (device, id, true))
    }

    fn note(&mut self, device: u8, told: Told) {
        match told {
            Told::Offered(token) => {
                self.open.insert((device, token), None);
            }
            Told::AskedFor(token, by) => {
                self.open.insert((device, token), Some(by));
            }
            Told::Withdrawn(token) => {
                self.open.remove(&(device, token));
                self.put_off.remove(&(device, token));
            }
            Told::Pending(id) => self.say(device, id, Said::Pending),
            Told::Ended(id, Ok(record), _) => self.say(device, id, Said::Done(record)),
            Told::Ended(id, Err(code), _) => self.say(device, id, Said::Failed(code)),
        }
    }

    fn say(&mut self, device: u8, id: u64, said: Said) {
        let own = |wish: &&mut Wish| (wish.device, wish.id, wish.live) == (device, id, true);
        let Some(wish) = self.wishes.iter_mut().find(own) else { return };
        wish.said = said;
        wish.pended |= said == Said::Pending;
        match (said, wish.what) {
            (Said::Failed(code), What::Answer(token)) if code.is_mended_by_time() => {
                self.put_off.insert((device, token));
            }
            // The last of the tries.
            (Said::Failed(code), What::Pull) if code.is_mended_by_time() => {}
            (Said::Failed(_) | Said::Done(_), What::Pull | What::Answer(_)) => {
                self.put_off.retain(|(of, _)| *of != device);
            }
            _ => {}
        }
    }
}

/// The mode of a WANT that a record answers, and the OFFER that this one answers.
pub(crate) fn answered(ledger: &Ledger, record: &Record) -> Option<(WantMode, Option<Id>)> {
    let (mode, offer) = ledger.wants.get(&record.want)?;
    Some((WantMode::from_number(*mode)?, *offer))
}

/// The device that a record makes the owner.
pub(crate) fn owner(record: &Record) -> Option<u8> {
    let owner: &DeviceId = &record.owner;
    number(owner)
}
