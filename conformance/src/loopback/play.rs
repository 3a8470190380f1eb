//! Playing cases on real sockets: one subject, one case, each role.

use segue_proto::{Generation, Role};

use super::{Loopback, Rig};
use crate::attach::{Failure, Hello, Host, Tier};
use crate::cases::transport::{Act, Sockets};
use crate::cases::{Body, Case};
use crate::lab::{Done, Line};
use crate::run::{LINES, Reason, Result};
use crate::verdict::{Fault, Verdict};

/// The highest generation of a subject for which a case is played, of those that were asked for.
pub fn generation(case: &Case, hello: &Hello, wanted: &[Generation]) -> Option<Generation> {
    let asked = |generation: &Generation| wanted.is_empty() || wanted.contains(generation);
    let known = hello.generations.iter().copied().filter(|generation| case.applies(*generation));
    known.filter(asked).max()
}

/// Plays a case with a subject behind an adapter.
pub fn play(host: &mut dyn Host, rig: &Rig, hello: &Hello, case: &Case, generation: Generation, seed: u64) -> Result {
    let ended = |verdict, reason| Result { case: case.name, generation, verdict, reason, replay: None };
    let Body::Loopback(sockets) = case.body else {
        return ended(Verdict::Inconclusive, Some(reason("a case on real sockets", "a case of tier A")));
    };
    let dials = sockets.roles.contains(&Role::Initiator).then_some("dial");
    let lacks = case.needs.iter().copied().chain(dials).find(|need| !hello.offers_in(Tier::B, need));
    if let Some(command) = lacks {
        return ended(Verdict::Unsupported, Some(reason(&format!("'do' of '{command}'"), "not declared")));
    }
    for role in sockets.roles {
        let mut examine = |which: &str, step: &dyn Fn(&mut Loopback) -> Done| {
            host.renew();
            let mut lo = Loopback::new(host, rig.clone(), generation, *role, seed, case.name);
            let outcome = step(&mut lo);
            drop(lo);
            let outcome = match host.failure() {
                Some(Failure::Broken(why)) => Err(Fault::fail("an adapter that answers", why)),
                Some(Failure::Unsupported { asked, why }) => {
                    Err(Fault::fail("what the adapter declared in 'hello'", format!("unsupported: {asked}, {why}")))
                }
                None => outcome,
            };
            judge(rig, &format!("as {}, {which}", words(*role)), outcome)
        };
        if let Err((verdict, reason)) = steps(&sockets, &mut examine) {
            return ended(verdict, Some(reason));
        }
    }
    ended(Verdict::Pass, None)
}

/// What a step came to, if it came to nothing good.
pub(super) type Bad = (Verdict, Reason);

/// Who plays a step: which it is, and what is done.
pub(super) type Examine<'a> = dyn FnMut(&str, &dyn Fn(&mut Loopback) -> Done) -> std::result::Result<(), Bad> + 'a;

/// Plays the steps of a case: the twin first, for a refusal by a subject that refuses everything proves nothing.
pub(super) fn steps(sockets: &Sockets, examine: &mut Examine<'_>) -> std::result::Result<(), Bad> {
    match sockets.act {
        Act::Works(step) => examine("", &step),
        Act::Refused { sign, twin, bad } => {
            examine("its twin, which must work: ", &twin)?;
            examine("", &|lo: &mut Loopback| bad(lo, sign.code()))
        }
    }
}

/// The verdict on a step.
pub(super) fn judge(rig: &Rig, which: &str, outcome: Done) -> std::result::Result<(), Bad> {
    let lines = rig.take_lines();
    let Err(fault) = outcome else { return Ok(()) };
    let verdict = if fault.unheard { Verdict::Inconclusive } else { Verdict::Fail };
    let lines = lines[lines.len().saturating_sub(LINES)..].iter().map(|line| Line::traced(line)).collect();
    Err((verdict, Reason { expected: format!("{which}{}", fault.expected), came: fault.came, lines }))
}

fn reason(expected: &str, came: &str) -> Reason {
    Reason { expected: expected.into(), came: came.into(), lines: Vec::new() }
}

fn words(role: Role) -> &'static str {
    match role {
        Role::Initiator => "initiator",
        Role::Responder => "responder",
    }
}
