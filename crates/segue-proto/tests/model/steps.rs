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
use segue_proto::wire::Hash as Id;
use segue_proto::wire::{Announced, Cancel, Cas, Freeze, Head, Message, OfferMsg, Proven, Record, Sig, WantMsg};
use segue_proto::{Clause, Event, Generation, Instant, Policy, Rules, Write};

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
    /// Its user writes, for the nth time.
    Write(u8),
    /// It waited long enough.
    Timeout,
    /// It learned that a device is revoked.
    Revoked(u8),
}

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
    via: bool,
    session: u64,
    cause: u64,
}

/// Runs a step of a session and all that follows from it, or remembers what it came to.
pub(crate) fn ran(
    rules: Rules,
    device: u8,
    via: bool,
    cause: Cause<'_>,
    session: &Known<Session<Data>>,
    step: impl FnOnce(&mut Session<Data>, &mut Ctx<'_>),
) -> Rc<Ran> {
    thread_local! {
        static RAN: RefCell<HashMap<Asked, Rc<Ran>>> = RefCell::default();
    }
    let asked = Asked { rules, device, via, session: session.id, cause: crate::world::hash(&cause) };
    if let Some(ran) = RAN.with_borrow(|ran| ran.get(&asked).cloned()) {
        return ran;
    }
    let now = if cause == Cause::Timeout { Instant::from_micros(TIMEOUT) } else { Instant::ZERO };
    let mut session = Session::clone(session);
    let (first, mut todo) = one(rules, device, via, now, &mut session, step);
    let mut steps = vec![first];
    while let Some(next) = todo.pop_front() {
        let (step, more) = one(rules, device, via, now, &mut session, |session, ctx| match next {
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
    // What is answered once a link is answered always here: links have no beginning in the model.
    session.forget_shown();
    let ran = Rc::new(Ran { steps, session: Known::new(session) });
    RAN.with_borrow_mut(|all| all.insert(asked, ran.clone()));
    ran
}

fn one(
    rules: Rules,
    device: u8,
    via: bool,
    now: Instant,
    session: &mut Session<Data>,
    step: impl FnOnce(&mut Session<Data>, &mut Ctx<'_>),
) -> (Step, VecDeque<Todo>) {
    // Devices whose session is delegated don't meet: all goes by way of the service.
    let generation = if via { Generation::V7 } else { Generation::V2 };
    let peer = Peer { generation, heard: Instant::ZERO, trusted: false };
    let others = if via { SERVICE..SERVICE + 1 } else { 0..DEVICES as u8 };
    let others = others.filter(|other| *other != device);
    let mut fx = Effects::default();
    step(
        session,
        &mut Ctx {
            now,
            me: key(device),
            rules,
            pulls: Policy::Allow,
            peers: &others.map(|other| (key(other), peer)).collect(),
            // Always the same nonces and numbers: what differs only in them is the same state.
            fresh: &mut Fresh::new([0; 32]),
            fx: &mut fx,
        },
    );
    let mut todo: VecDeque<_> = fx.signs.into_iter().map(|(purpose, _)| Todo::Sign(purpose)).collect();
    todo.extend(fx.fetch.map(|(_, data, _)| Todo::Fetch(data)));
    todo.extend(fx.owed.then_some(Todo::Owe));
    let mut resolved = Vec::new();
    for (_, event) in fx.events {
        match event {
            Event::HandoffRequest { token, .. } => todo.push_back(Todo::Accept(token)),
            Event::HandoffResolved { result: Ok(record), .. } => resolved.push(record),
            _ => {}
        }
    }
    let resolved = (!resolved.is_empty()).then(|| (session.clone(), resolved));
    let to = |to| number(&to).or_else(|| (via && to == key(SERVICE)).then_some(SERVICE));
    let sends = fx.sends.into_iter();
    let sends = sends.filter_map(|Outgoing { to: peer, hold, message }| Some((to(peer)?, hold, Known::new(message))));
    (Step { resolved, writes: fx.writes, sends: sends.collect() }, todo)
}

/// A message is taken in, its signatures taken for proven.
pub(crate) fn arrive(rules: Rules, packet: &Packet, s: &mut Session<Data>, ctx: &mut Ctx<'_>) {
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
        }
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
