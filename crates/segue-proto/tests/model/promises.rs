//! What a user may rely on: the laws of wishes, and of what is told of them.

use segue_proto::handoff::Session;
use segue_proto::wire::{Hash as Id, Kind, Proven, Record, WantMode};
use segue_proto::{Code, Outcome, Rules, SessionRole};

use crate::data::Data;
use crate::laws::{Law, law, stored_record};
use crate::steps::{Cause, Told};
use crate::users::{NO, Said, What, Wish, answered, owner};
use crate::world::{World, key};

/// What a user may be told now.
pub(crate) fn told(world: &World, device: u8, told: &Told) -> Law {
    let Some(users) = &world.users else { return Ok(()) };
    let ledger = &users.ledger;
    match told {
        Told::Offered(token) => {
            law(!ledger.put_off.contains(&(device, *token)), "HO-OFFER-6: a user is asked again for what was accepted")
        }
        Told::AskedFor(..) | Told::Withdrawn(_) => Ok(()),
        Told::Pending(id) => {
            let Some(wish) = ledger.of(device, *id) else { return Ok(()) };
            law(wish.said == Said::Nothing, "HO-TIME-3: a wish is pending after its end")?;
            let granted = world.devices[usize::from(device)].session.as_ref().is_some_and(|it| it.pending().is_some());
            let out = if let What::Push(_) = wish.what { granted } else { !wish.signed.is_empty() };
            law(out, "HO-TIME-3: a wish is pending of which nothing is out")
        }
        Told::Ended(id, result, reason) => {
            let Some(wish) = ledger.of(device, *id) else { return Ok(()) };
            law(matches!(wish.said, Said::Nothing | Said::Pending), "a wish ends twice")?;
            match result {
                Ok(record) => done(world, wish, record),
                Err(code) => failed(world, wish, *code, reason.as_deref()),
            }
        }
    }
}

/// Who is told that the session is here has it, and has it on disk; who is told that it went, gave it to whom it meant to.
fn done(world: &World, wish: &Wish, record: &Id) -> Law {
    let it = &world.devices[usize::from(wish.device)];
    let known = it.session.as_ref().and_then(|session| session.chain().get(record));
    let to = if let What::Push(to) = wish.what { to } else { wish.device };
    law(known.is_some_and(|record| owner(record.body()) == Some(to)), "told as done, and isn't so")?;
    law(stored_record(it, record), "told as done before it was durable")
}

fn failed(world: &World, wish: &Wish, code: Code, reason: Option<&str>) -> Law {
    law(code.outcome() == Outcome::Definite, "an end that isn't definite")?;
    law(!came_true(world, wish), "told that nothing changed hands, when it had")?;
    let Some(users) = &world.users else { return Ok(()) };
    let rejected = users.ledger.rejected.iter().any(|token| wish.signed.contains(token));
    law(rejected || code != Code::HO_DECLINED, "HO-DECLINE-1: declined, and nobody said no to it")?;
    let words = if code == Code::HO_DECLINED { Some(NO) } else { None };
    law(reason == words, "HO-REASON-1: what the other side's user said isn't told")
}

/// Whether anybody knows of a record that answers what was signed for a wish. There are no takeovers here.
fn came_true(world: &World, wish: &Wish) -> bool {
    let Some(users) = &world.users else { return false };
    let answers = |record: &Proven<Record>| {
        let record = record.body();
        match wish.what {
            What::Push(_) => {
                let offer = answered(&users.ledger, record).and_then(|(_, offer)| offer);
                offer.is_some_and(|offer| wish.signed.contains(&offer))
            }
            _ => wish.signed.contains(&record.want),
        }
    };
    world.devices.iter().filter_map(|device| device.session.as_ref()).any(|it| it.chain().records().any(answers))
}

/// What holds after every step.
pub(crate) fn kept(world: &World) -> Law {
    let Some(users) = &world.users else { return Ok(()) };
    let failed = |wish: &&Wish| matches!(wish.said, Said::Failed(_));
    let broken = users.ledger.wishes.iter().filter(failed).any(|wish| came_true(world, wish));
    law(!broken, "told that nothing changed hands, and then it did")?;
    if users.ledger.wishes.is_empty() {
        let idle = |session: &Session<Data>| {
            session.next_timeout().is_none() && session.handing_over().is_none() && session.chosen().is_none()
        };
        let mut sessions = world.devices.iter().filter_map(|device| device.session.as_ref());
        let idle = sessions.all(|it| idle(it)) && users.ledger.open.is_empty();
        law(idle, "HO-STANDBY-2: something goes on that no user wished for")?;
    }
    Ok(())
}

/// Who signs the session away has leave: its user started that, or let the other side have it, or lets everybody.
pub(crate) fn hands_over(world: &World, device: u8, cause: Cause<'_>, before: &Session<Data>) -> Law {
    let Some(users) = &world.users else { return Ok(()) };
    let Some(session) = &world.devices[usize::from(device)].session else { return Ok(()) };
    let head = session.head().body();
    let signs = head.kind == Kind::Grant.number() && head.signer == key(device);
    if !signs || session.head().id() == before.head().id() {
        return Ok(());
    }
    let Some(to) = owner(head) else { return Ok(()) };
    let started =
        |wish: &Wish| wish.live && (wish.device, wish.what, wish.said) == (device, What::Push(to), Said::Nothing);
    let pulls = answered(&users.ledger, head).is_some_and(|(mode, _)| mode == WantMode::Pull) && !users.acts.asks;
    let leave = pulls || users.ledger.allowed.contains(&(device, to)) || users.ledger.wishes.iter().any(started);
    law(leave, "HO-WANT-5: handed over without leave")?;
    law(
        !(users.is_silent(to) && matches!(cause, Cause::Initiate(_))),
        "7.6: granted at once to a device that wasn't heard of",
    )
}

/// Whether a device consented to being handed the session by another, that one knows all of it, and nothing is under way:
/// then a handoff is one flight.
pub(crate) fn is_awaited(world: &World, device: u8, by: u8) -> bool {
    let Some(users) = &world.users else { return false };
    let consents = |wish: &Wish| wish.live && (wish.device, wish.what) == (device, What::Standing);
    let seeks = world.devices[usize::from(device)].session.as_ref().is_some_and(|session| session.seeks());
    let signed = users.ledger.wishes.iter().any(|wish| consents(wish) && !wish.signed.is_empty());
    seeks && signed && users.rests(device, by) && !users.is_silent(device)
}

/// A deadline passed: every user who waits was told.
pub(crate) fn timed_out(world: &World, device: u8) -> Law {
    let Some(users) = &world.users else { return Ok(()) };
    let unheard = |wish: &Wish| wish.said == Said::Nothing && !users.will_tell(wish);
    let waits = |wish: &Wish| wish.waits() && wish.device == device && unheard(wish);
    law(!users.ledger.wishes.iter().any(waits), "HO-TIME-1: a deadline passed, and the user isn't told")
}

/// What is to come if nothing more goes wrong and no user does anything more: word for each wish.
pub(crate) fn answers_come(rules: Rules, world: &World) -> Law {
    let mut world = world.clone();
    let waiting = |world: &World| {
        let users = world.users.as_ref();
        let wishes = users.into_iter().flat_map(|users| users.ledger.wishes.iter());
        wishes.filter(|wish| wish.waits()).map(|wish| wish.device).collect::<Vec<_>>()
    };
    if waiting(&world).is_empty() {
        return Ok(());
    }
    // The second time for what the first one's answers lead to.
    for _ in 0..2 {
        world.rest(rules)?;
        for device in waiting(&world) {
            let cause = Cause::Timeout;
            world.run(rules, device, cause, |session, ctx| session.on_timeout(ctx));
        }
    }
    world.rest(rules)?;
    world.broken.map_or(Ok(()), Err)?;
    law(waiting(&world).is_empty(), "no word ever comes of a wish")
}

/// Whether a device owns, and may write.
pub(crate) fn is_primary(rules: Rules, world: &World, device: u8) -> bool {
    let session = world.devices[usize::from(device)].session.as_ref();
    session.is_some_and(|session| session.role(rules) == SessionRole::Primary)
}

impl World {
    /// Links come up, disks catch up, and all that is under way arrives, and what follows from it.
    fn rest(&mut self, rules: Rules) -> Law {
        for _ in 0..200 {
            let Some(users) = &self.users else { return Ok(()) };
            let down = users.down.first().copied();
            let fetch = users.fetches.keys().next().copied();
            let lane = users.lanes.keys().next().copied();
            let unsynced = self.devices.iter().position(|device| !device.pending.is_empty());
            match (down, unsynced, fetch, lane) {
                (Some((a, b)), ..) => self.meet(rules, a, b),
                (_, Some(device), ..) => self.sync(rules, device as u8),
                (_, _, Some(device), _) => self.fetched(rules, device),
                (_, _, _, Some((from, to))) => self.take(rules, from, to),
                _ => return Ok(()),
            }
        }
        Err("devices talk without end")
    }
}
