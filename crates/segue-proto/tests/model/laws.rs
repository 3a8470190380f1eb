//! The promises and invariants, as they can be seen in the model.

use std::collections::BTreeMap;

use segue_proto::handoff::{Chain, Session, keys};
use segue_proto::wire::codec::decode;
use segue_proto::wire::{Hash, Kind, Message, Proven, Record, Signed};
use segue_proto::{Clause, Instant, Rules, SessionRole};

use crate::data::{Data, list, list_with};
use crate::world::{Device, Disk, World, key, number, open};

pub(crate) type Law = Result<(), &'static str>;

pub(crate) fn law(holds: bool, name: &'static str) -> Law {
    if holds { Ok(()) } else { Err(name) }
}

/// What holds after every step of a device.
pub(crate) fn step(rules: Rules, world: &World, device: u8, before: &Session<Data>) -> Law {
    let Some(now) = &world.devices[usize::from(device)].session else { return Ok(()) };
    if now.head().id() != before.head().id() {
        let (old, new) = (rank(now.chain(), &before.head().id()), rank(now.chain(), &now.head().id()));
        law(new > old, "6: the head fell")?;
        chain_is_sound(now.chain())?;
        no_forks(world)?;
    }
    primaries(rules, world)
}

/// Invariant 1, and the rule for restored stores.
pub(crate) fn primaries(rules: Rules, world: &World) -> Law {
    let mut seen: BTreeMap<(u64, Hash, u64), usize> = BTreeMap::new();
    let mut takeovers = false;
    for device in &world.devices {
        let Some(session) = &device.session else { continue };
        takeovers |= session.chain().records().any(|r| r.body().kind == Kind::Takeover.number());
        if session.role(rules) != SessionRole::Primary {
            continue;
        }
        let resumed = session.pending().is_some();
        let head = if resumed { session.head().body().parent } else { session.head().id() };
        let (term, opener, n, _) = rank(session.chain(), &head);
        *seen.entry((term, opener, n)).or_default() += 1;
        law(!resumed, "S1: a source acts under a parent that it signed away")?;
        if let Some(copy) = &device.restored {
            law(!holds_record(copy, &session.head().id()), "31: a restored store owns by what it held")?;
            // Without a new actor no WANT can name it: then the other laws have to notice.
            let anew = is_granted_anew(session) || !rules.keeps(Clause::HO_STORE_2);
            law(anew, "31: a restored store owns by no WANT of its new actor")?;
        }
    }
    law(seen.values().all(|n| *n == 1), "1: two primaries of one epoch")?;
    law(takeovers || seen.len() <= 1, "1: two primaries without a takeover")
}

/// A restored store may own under a record whose WANT names its new actor.
fn is_granted_anew(session: &Session<Data>) -> bool {
    session.actor().nonce.as_bytes()[0] >= 0x80 && session.is_entitled(Rules::ALL, session.head())
}

/// Invariants 2 and 7, over all devices: one record a parent, term and signer; one record a WANT.
fn no_forks(world: &World) -> Law {
    let mut by_parent: BTreeMap<_, Hash> = BTreeMap::new();
    let mut by_want: BTreeMap<Hash, Hash> = BTreeMap::new();
    for session in world.devices.iter().filter_map(|device| device.session.as_ref()) {
        for record in session.chain().records() {
            let body = record.body();
            let serves = world.service.is_some() && body.signer == key(crate::service::SERVICE);
            let term = if serves { 0 } else { body.term };
            let first = *by_parent.entry((body.parent, term, body.signer)).or_insert(record.id());
            law(first == record.id(), "2: two records of one signer under one parent")?;
            if body.kind == Kind::Grant.number() {
                let first = *by_want.entry(body.want).or_insert(record.id());
                law(first == record.id(), "7: a WANT was used twice")?;
            }
        }
    }
    Ok(())
}

/// What makes a chain: every record follows from its parent.
fn chain_is_sound(chain: &Chain) -> Law {
    for record in chain.records().map(Proven::body).filter(|record| record.kind != Kind::Genesis.number()) {
        let parent = chain.get(&record.parent).ok_or("2: a record without its parent")?.body();
        let takeover = record.kind == Kind::Takeover.number();
        let lease = takeover && record.signer == parent.grantor && parent.grantor != parent.owner;
        law(takeover || record.signer == parent.grantor, "1: a record that its parent's grantor didn't sign")?;
        law(record.n == parent.n + 1, "2: a record's number doesn't follow")?;
        law(record.term == parent.term + u64::from(takeover), "1: a takeover that opened no term")?;
        law(!takeover || record.owner == record.signer || lease, "1: a takeover for another device")?;
    }
    Ok(())
}

/// Invariant 9, S2 and 5: what holds when a message leaves.
pub(crate) fn leaving(_rules: Rules, world: &World, from: u8, to: u8, message: &Message) -> Law {
    let sender = &world.devices[usize::from(from)];
    match message {
        Message::Grant(grant) => {
            law(on_disk(sender, &grant.record), "9: a GRANT left before its record was durable")?;
            let (want, record) = (grant.want.open(Rules::ALL), grant.record.open(Rules::ALL));
            let (Ok(want), Ok(record), Ok(end)) = (want, record, grant.end.open(Rules::ALL)) else {
                return Err("5: a GRANT that can't be read");
            };
            let answers = record.want == grant.want.id() && want.target == record.owner;
            law(answers, "5: a GRANT to a device that didn't want it")?;
            law(want.parent == record.parent, "5: a GRANT for a WANT of another parent")?;
            let target = &world.devices[usize::from(to)];
            let base = list(&end.manifest);
            let data = |key: &[u8]| keys::split(key).is_some_and(|(_, l, _)| l == keys::BASE || l == keys::MANIFEST);
            let created = to == 0 && base.is_empty();
            let held = created
                || stored_record(target, &grant.record.id())
                || target.disk.iter().any(|(key, value)| data(key) && *value == base);
            // A target that knows a higher head refuses the GRANT and says why: nothing waits for its data.
            let overtaken = head_of(target).is_none_or(|head| head != want.parent);
            law(
                held || target.restored.is_some() || overtaken,
                "S2: a GRANT left for a target that doesn't hold its data",
            )?;
            law(
                list_with(&end.manifest, &grant.ops).len() == usize::from(end.root.as_bytes()[0]),
                "8: a FINAL that doesn't add up",
            )
        }
        Message::Head(head) => {
            for record in head.records.iter() {
                let own = record.open(Rules::ALL).is_ok_and(|body| body.signer == key(from));
                law(
                    !own || sender.restored.is_some() || on_disk(sender, record),
                    "9: an own record left before it was durable",
                )?;
            }
            let Some(ack) = head.ack.get() else { return Ok(()) };
            let stored = stored_record(sender, &ack.record);
            law(stored || sender.restored.is_some(), "9: a HEAD acknowledged before the sync")
        }
        Message::Want(want) => {
            let Ok(body) = want.want.open(Rules::ALL) else { return Err("5: a WANT that can't be read") };
            let Some(have) = body.have.get() else { return Ok(()) };
            let base = list(&have.manifest);
            let created = from == 0 && base.is_empty();
            let stored = created || sender.restored.is_some() || sender.disk.values().any(|value| *value == base);
            // A WANT that waited while the head changed is dead.
            let dead = head_of(sender).is_none_or(|head| head != body.parent);
            law(stored || dead, "9: a WANT said have before it was durable")
        }
        _ => Ok(()),
    }
}

/// Invariants 5, 9 and S2, for a service: its GRANT is for a WANT, made durable, and its target holds the data.
pub(crate) fn leaving_service(_rules: Rules, world: &World, to: u8, message: &Message) -> Law {
    let Some(service) = &world.service else { return Ok(()) };
    let stored = |id: &Hash| {
        let decoded = |bytes: &Vec<u8>| decode::<Signed<Record>>(Rules::ALL, bytes).is_ok_and(|it| it.id() == *id);
        service.disk.records.iter().any(decoded)
    };
    match message {
        Message::Grant(grant) => {
            law(stored(&grant.record.id()), "9: a service's GRANT left before its record was durable")?;
            let (want, record) = (grant.want.open(Rules::ALL), grant.record.open(Rules::ALL));
            let (Ok(want), Ok(record), Ok(end)) = (want, record, grant.end.open(Rules::ALL)) else {
                return Err("5: a GRANT that can't be read");
            };
            let answers = record.want == grant.want.id() && want.target == record.owner && want.parent == record.parent;
            law(answers, "5: a service's GRANT to a device that didn't want it")?;
            let target = &world.devices[usize::from(to)];
            let base = list(&end.manifest);
            let held = stored_record(target, &grant.record.id()) || target.disk.values().any(|value| *value == base);
            let overtaken = head_of(target).is_none_or(|head| head != want.parent);
            law(
                held || target.restored.is_some() || overtaken,
                "S2: a service's GRANT left for a target without its data",
            )
        }
        Message::Cas(cas) => law(stored(&cas.record.id()), "9: a service told of a record before it was durable"),
        Message::Head(head) => {
            let all = head.records.iter().all(|record| stored(&record.id()));
            law(all, "9: a service told of a record before it was durable")
        }
        _ => Ok(()),
    }
}

/// Invariants 4 and 8: what holds when a device becomes primary by a GRANT.
pub(crate) fn activated(world: &World, device: u8, record: &Hash, promised: &[u8]) -> Law {
    let Some(session) = &world.devices[usize::from(device)].session else { return Ok(()) };
    if session.head().id() != *record {
        return Ok(());
    }
    let log = session.holdings.log.clone().unwrap_or_default();
    law(log == promised, "8: active without the data of FINAL")?;
    let takeover = |record: &Proven<Record>| record.body().kind == Kind::Takeover.number();
    let calm = world.devices.iter().all(|device| {
        device.restored.is_none() && device.session.as_ref().is_none_or(|known| !known.chain().records().any(takeover))
    });
    let all = world.acked.iter().all(|(write, _)| log.contains(write));
    law(!calm || all, "4: an acknowledged write was lost over a handoff")
}

/// L2: a source that takes its GRANT for acknowledged is right.
pub(crate) fn resolved(world: &World, device: u8, session: &Session<Data>, record: &Hash) -> Law {
    let Some(known) = session.chain().get(record) else { return Ok(()) };
    if known.body().signer != key(device) {
        return Ok(());
    }
    let Some(owner) = number(&known.body().owner) else { return Ok(()) };
    let it = &world.devices[usize::from(owner)];
    let held = stored_record(it, record) || it.restored.is_some() || session.chain().continued(record);
    law(held, "L2: a GRANT was given up before its target had it")
}

/// An exclusive write is made.
pub(crate) fn writing(session: &Session<Data>, record: &Hash) -> Law {
    let head = session.head();
    let owns = head.body().owner == key(number_of(session)) && head.id() == *record;
    law(owns, "3: an exclusive write by a device that isn't primary")
}

fn number_of(session: &Session<Data>) -> u8 {
    let nonce = session.actor().nonce.as_bytes()[0];
    if nonce >= 0x80 { nonce - 0x80 } else { nonce - 1 }
}

fn head_of(device: &Device) -> Option<Hash> {
    device.session.as_ref().map(|session| session.head().id())
}

fn on_disk(device: &Device, record: &Signed<Record>) -> bool {
    stored_record(device, &record.id())
}

pub(crate) fn stored_record(device: &Device, id: &Hash) -> bool {
    holds_record(&device.disk, id)
}

fn holds_record(disk: &Disk, id: &Hash) -> bool {
    disk.iter().any(|(key, value)| {
        let named = keys::split(key).is_some_and(|(_, letter, rest)| letter == keys::RECORD && rest == id.as_bytes());
        named && decode::<Signed<Record>>(Rules::ALL, value).is_ok()
    })
}

/// The order of heads, computed apart from the code under test.
fn rank(chain: &Chain, id: &Hash) -> (u64, Hash, u64, std::cmp::Reverse<Hash>) {
    let Some(record) = chain.get(id) else { return (0, Hash::ZERO, 0, std::cmp::Reverse(*id)) };
    let mut opener = Hash::ZERO;
    let mut at = Some(record);
    while let Some(record) = at {
        if record.body().kind == Kind::Takeover.number() {
            opener = record.id();
            break;
        }
        at = chain.get(&record.body().parent);
    }
    (record.body().term, opener, record.body().n, std::cmp::Reverse(*id))
}

/// What a crash may not change: the durable head never falls, and what is on the disk can be opened.
pub(crate) fn reopened(rules: Rules, device: &Device, number: u8) -> Law {
    law(open(rules, number, &device.disk, Instant::ZERO).is_some(), "6: a disk that doesn't open")
}
