//! What a session does when something happens: the code under test, run once for each session and cause.
//!
//! A step follows from the session, the rules and the cause alone, and few sessions occur in many worlds. So what a step
//! came to is remembered, and every world that meets it again applies it to its own disk and network.

use std::cell::RefCell;
use std::collections::{HashMap, VecDeque};
use std::rc::Rc;

use segue_proto::data::Pick;
use segue_proto::handoff::{
    Ctx, Declined, Effects, Fresh, Hold, Inline, Outgoing, Peer, ProvenAck, ProvenCas, ProvenGrant, Session, SignFor,
};
use segue_proto::limits::HEARD;
use segue_proto::wire::Hash as Id;
use segue_proto::wire::{Announced, Cancel, Cas, Error, Freeze, Head, Message, OfferMsg, Proven, Record, Sig, WantMsg};
use segue_proto::{Clause, Code, Event, Generation, Instant, Policy, Rules, Write};

use crate::TIMEOUT;
use crate::data::{self, Data};
use crate::service::SERVICE;
use crate::world::{DEVICES, Known, Packet, key, number};

/// Why a session acts.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Cause<'a> {
    /// A message arrived.
    Arrived(&'a Packet),
    /// Its user hands it to a device.
    Initiate(u8),
    /// Its user asks a device for it.
    Request(u8),
    /// Its user takes it over.
    Takeover,
    /// Its user has a service sign the next record, or no longer.
    Delegate,
    Reclaim,
    /// Its user writes, for the nth time.
    Write(u8),
    /// It waited long enough.
    Timeout,
    /// It learned that a device is revoked.
    Revoked(u8),
    /// Its user consents to being handed the session by a device.
    Consent(u8),
    /// Its user says yes to a request, or no.
    Accept(Id),
    Reject(Id),
    /// Its user gives up what runs.
    Withdraw,
    /// It has a link with a device.
    Met(u8),
    /// What it fetched is here, or can't be had.
    Fetched(Id),
    FetchFails,
    /// Its user lets it stand by, and all that its owner announced is here.
    StandBy,
    StoodBy(Id),
}

/// What a device finds around itself when it acts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Setting {
    /// All goes by way of a service.
    pub(crate) via: bool,
    /// Where users act; else everybody is linked and heard of, whoever is asked says yes, and what is fetched is here at
    /// once.
    pub(crate) turn: Option<Turn>,
}

/// What differs from moment to moment where users act.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Turn {
    /// The devices that are linked with this one, and those that it heard of lately: a bit each.
    pub(crate) linked: u8,
    pub(crate) heard: u8,
    /// Whether its user is asked before it hands over what another device wants.
    pub(crate) asks: bool,
    /// Whether what it fetches takes time.
    pub(crate) slow: bool,
    /// How many wishes its user had, how many links there were, and how many WANTs and OFFERs it signed: what is fresh
    /// follows from that.
    pub(crate) wishes: u8,
    pub(crate) links: u8,
    pub(crate) signed: u8,
}

/// What a user is told.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Told {
    /// A device offers the session.
    Offered(Id),
    /// A device asks for it.
    AskedFor(Id, u8),
    /// A request is void.
    Withdrawn(Id),
    /// The own wish may yet come true.
    Pending(u64),
    /// The end of the own wish, and what the other side's user said.
    Ended(u64, Result<Id, Code>, Option<String>),
}

/// When things happen where users act: long after anybody was heard of that isn't heard of lately.
pub(crate) const NOW: Instant = Instant::from_micros(2 * HEARD);

/// What a cause came to.
pub(crate) struct Ran {
    /// The step itself, and what followed at once.
    pub(crate) steps: Vec<Step>,
    /// The session then.
    pub(crate) session: Known<Session<Data>>,
}

/// What one call asked for.
pub(crate) struct Step {
    /// The handoffs that it took for resolved, and the session at that moment.
    pub(crate) resolved: Option<(Session<Data>, Vec<Id>)>,
    pub(crate) writes: Vec<Write>,
    pub(crate) sends: Vec<(u8, Hold, Known<Message>)>,
    /// Where users act: what they are told, what is to be fetched of whom, and whether what was isn't wanted any more.
    pub(crate) told: Vec<(Hold, Told)>,
    pub(crate) fetch: Option<(u8, Known<Announced>)>,
    pub(crate) stops: bool,
}

/// What follows from a step at once.
enum Todo {
    Sign(SignFor),
    Fetch(Announced),
    /// A mailbox brings what the owner left.
    Owe,
    Accept(Id),
}

/// All that decides what a step comes to.
#[derive(PartialEq, Eq, Hash)]
struct Asked {
    rules: Rules,
    device: u8,
    setting: Setting,
    session: u64,
    cause: u64,
}

/// Runs a step of a session and all that follows from it, or remembers what it came to.
pub(crate) fn ran(
    rules: Rules,
    device: u8,
    setting: Setting,
    cause: Cause<'_>,
    session: &Known<Session<Data>>,
    step: impl FnOnce(&mut Session<Data>, &mut Ctx<'_>),
) -> Rc<Ran> {
    thread_local! {
        static RAN: RefCell<HashMap<Asked, Rc<Ran>>> = RefCell::default();
    }
    let asked = Asked { rules, device, setting, session: session.id, cause: crate::world::hash(&cause) };
    if let Some(ran) = RAN.with_borrow(|ran| ran.get(&asked).cloned()) {
        return ran;
    }
    let start = if setting.turn.is_some() { NOW } else { Instant::ZERO };
    let now = if cause == Cause::Timeout { start.after(TIMEOUT) } else { start };
    let mut session = Session::clone(session);
    let (first, mut todo) = one(rules, device, (setting, 0), now, &mut session, step);
    let mut steps = vec![first];
    while let Some(next) = todo.pop_front() {
        let (step, more) = one(rules, device, (setting, steps.len()), now, &mut session, |session, ctx| match next {
            Todo::Sign(purpose) => session.on_signed(ctx, purpose, Sig::ZERO),
            Todo::Fetch(data) => {
                let write = session.holdings.stage(data::list(&data.manifest));
                ctx.fx.writes.push(write);
                session.on_data(ctx, data.manifest, data.root);
            }
            Todo::Owe => {
                let owed = session.owed().filter(|_| rules.keeps(Clause::SERVICE_HELD_1));
                let write = owed.map(|manifest| session.holdings.stage(data::list(&manifest)));
                ctx.fx.writes.extend(write);
                session.want_owed(ctx);
            }
            Todo::Accept(token) => session.accept_offer(ctx, token).map_or((), |_| ()),
        });
        steps.push(step);
        todo.extend(more);
    }
    // What is answered once a link is answered always where links have no beginning.
    if setting.turn.is_none() {
        session.forget_shown();
    }
    let ran = Rc::new(Ran { steps, session: Known::new(session) });
    RAN.with_borrow_mut(|all| all.insert(asked, ran.clone()));
    ran
}

fn one(
    rules: Rules,
    device: u8,
    (setting, at): (Setting, usize),
    now: Instant,
    session: &mut Session<Data>,
    step: impl FnOnce(&mut Session<Data>, &mut Ctx<'_>),
) -> (Step, VecDeque<Todo>) {
    let Setting { via, turn } = setting;
    // Devices whose session is delegated don't meet: all goes by way of the service.
    let generation = if via { Generation::V7 } else { Generation::V2 };
    let has = |bits: fn(&Turn) -> u8, other: u8| turn.as_ref().is_none_or(|turn| bits(turn) >> other & 1 == 1);
    let heard = |other| if turn.is_some() && has(|turn| turn.heard, other) { now } else { Instant::ZERO };
    let others = if via { SERVICE..SERVICE + 1 } else { 0..DEVICES as u8 };
    let others = others.filter(|other| *other != device && has(|turn| turn.linked, *other));
    let peers = others.map(|other| (key(other), Peer { generation, heard: heard(other), trusted: false }));
    let mut fx = Effects::default();
    step(
        session,
        &mut Ctx {
            now,
            me: key(device),
            rules,
            pulls: if turn.is_some_and(|turn| turn.asks) { Policy::Ask } else { Policy::Allow },
            peers: &peers.collect(),
            fresh: &mut fresh(turn, at),
            fx: &mut fx,
        },
    );
    let mut todo: VecDeque<_> = fx.signs.into_iter().map(|(purpose, _)| Todo::Sign(purpose)).collect();
    let mut fetch = fx.fetch;
    if turn.is_none_or(|turn| !turn.slow) {
        todo.extend(fetch.take().map(|(_, data, _)| Todo::Fetch(data)));
    }
    todo.extend(fx.owed.then_some(Todo::Owe));
    let (mut resolved, mut told) = (Vec::new(), Vec::new());
    for (hold, event) in fx.events {
        if turn.is_some() {
            told.extend(tells(&event).map(|it| (hold, it)));
        }
        match event {
            Event::HandoffRequest { token, .. } if turn.is_none() => todo.push_back(Todo::Accept(token)),
            Event::HandoffResolved { result: Ok(record), .. } => resolved.push(record),
            _ => {}
        }
    }
    let resolved = (!resolved.is_empty()).then(|| (session.clone(), resolved));
    let to = |to| number(&to).or_else(|| (via && to == key(SERVICE)).then_some(SERVICE));
    let sends = fx.sends.into_iter();
    let sends = sends.filter_map(|Outgoing { to: peer, hold, message }| Some((to(peer)?, hold, Known::new(message))));
    let fetch = fetch.and_then(|(from, data, _)| Some((number(&from)?, Known::new(data))));
    let stops = fx.stop_fetch;
    (Step { resolved, writes: fx.writes, sends: sends.collect(), told, fetch, stops }, todo)
}

/// Always the same nonces and numbers, for what differs only in them is the same state; but where users act, one's wishes
/// can be told apart.
fn fresh(turn: Option<Turn>, at: usize) -> Fresh {
    let Some(Turn { wishes, links, signed, .. }) = turn else { return Fresh::new([0; 32]) };
    let mut seed = [0; 32];
    seed[..3].copy_from_slice(&[wishes, links, signed]);
    let mut fresh = Fresh::new(seed);
    for _ in 1..wishes {
        fresh.handoff();
    }
    let so_far = [links, wishes, signed].map(usize::from).iter().fold(0, |all, count| all * 8 + count);
    for _ in 0..so_far * 8 + at * 2 {
        fresh.request();
    }
    fresh
}

/// What an event tells a user.
fn tells(event: &Event) -> Option<Told> {
    Some(match event {
        Event::HandoffRequest { token, .. } => Told::Offered(*token),
        Event::RequestHandoff { token, by, .. } => Told::AskedFor(*token, number(by)?),
        Event::Withdrawn { token, .. } => Told::Withdrawn(*token),
        Event::HandoffPending { id, .. } => Told::Pending(id.0),
        Event::HandoffResolved { id, result, reason, .. } => Told::Ended(id.0, *result, reason.clone()),
        _ => return None,
    })
}

/// A message is taken in, its signatures taken for proven.
pub(crate) fn arrive(rules: Rules, setting: Setting, packet: &Packet, s: &mut Session<Data>, ctx: &mut Ctx<'_>) {
    let from = key(packet.from);
    match Message::clone(&packet.message) {
        Message::Want(WantMsg { req, want, .. }) => {
            let Ok(body) = want.open(rules) else { return };
            s.on_want(ctx, from, req, Proven::assume(body));
        }
        Message::Offer(OfferMsg { req, offer, .. }) => {
            let Ok(body) = offer.open(rules) else { return };
            s.on_offer(ctx, from, req, Proven::assume(body), Pick::all());
        }
        Message::Grant(grant) => {
            let opened = (grant.want.open(rules), grant.record.open(rules), grant.end.open(rules));
            let (Ok(want), Ok(record), Ok(end)) = opened else { return };
            let (want, record, end) = (Proven::assume(want), Proven::assume(record), Proven::assume(end));
            let inline = Inline { ops: grant.ops.to_vec(), parts: Vec::new() };
            s.on_grant(ctx, from, ProvenGrant { req: grant.req, want, record, end, inline });
        }
        Message::Head(Head { records, more, ack, .. }) => {
            let proven: Vec<_> = records.iter().filter_map(|r| r.open(rules).ok()).map(Proven::assume).collect();
            let ack = ack.get().and_then(|ack| {
                let by = proven.iter().find(|r: &&Proven<Record>| r.id() == ack.record)?.body().owner;
                Some(ProvenAck { record: ack.record, by: if by == from { by } else { from }, sig: ack.sig })
            });
            s.on_head(ctx, from, proven, more, ack);
        }
        Message::Have(have) => {
            if have.req != 0 && s.may_read(ctx, &from) {
                s.answer_have(ctx, from, &have);
            }
            s.on_announcement(ctx, from, &have);
            if have.req == 0 && setting.turn.is_some() {
                s.on_peer_head(ctx, from, &have);
            }
        }
        Message::Error(Error { req, code, .. }) => s.on_refused(ctx, from, req, code.into()),
        Message::Freeze(Freeze { end, .. }) => {
            let Ok(body) = end.open(rules) else { return };
            s.on_frozen(ctx, from, &Proven::assume(body));
        }
        Message::Cas(Cas { req, record, want, tenure, .. }) => {
            let Ok(record) = record.open(rules).map(Proven::assume) else { return };
            let want = want.get().and_then(|want| want.open(rules).ok()).map(Proven::assume);
            s.on_cas(ctx, from, ProvenCas { req, record, want, tenure });
        }
        Message::Decline(decline) => s.on_decline(ctx, from, Declined::open(rules, &decline)),
        Message::Cancel(Cancel { subject, code, .. }) => {
            s.on_want_cancelled(ctx, from, subject, code.into());
            s.on_offer_cancelled(ctx, from, subject, code.into());
        }
        _ => {}
    }
}
