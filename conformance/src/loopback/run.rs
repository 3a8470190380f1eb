//! All cases of tier B with a subject: behind its adapter, or running somewhere.

use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use segue_proto::wire::{BoxId, DeviceId, Envelopes, Error, Exts, Fetch, Message};
use segue_proto::{Code, Generation};
use segue_testkit::rng::Rng;

use super::Link;
use super::play::{judge, steps};
use super::{Dialling, GUARD, Loopback, Rig, play};
use crate::attach::{Hello, LineHost, Tier};
use crate::cases::transport::{Outside, Sign};
use crate::cases::{self, Body, Case};
use crate::certify::Subject;
use crate::peer::Peer;
use crate::plan::Piece;
use crate::run::{Reason, Result};
use crate::terminal::Terminal;
use crate::verdict::Verdict;

/// Plays these cases with a subject behind its adapter, on several workers, each with an adapter of its own. What they
/// find is in the order of the cases.
pub(crate) fn examine(
    subject: &Subject,
    hello: &Hello,
    cases: &[(Case, Generation)],
    seed: u64,
    terminal: &Terminal,
) -> Vec<(Piece, Duration)> {
    let (next, unheard) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let found: Mutex<Vec<(usize, (Piece, Duration))>> = Mutex::new(Vec::new());
    let order = slowest_first(cases);
    thread::scope(|scope| {
        for _ in 0..subject.callers().min(cases.len()) {
            scope.spawn(|| {
                let mut host = LineHost::new(subject.wire());
                let rig = Rig::new(GUARD);
                loop {
                    let turn = next.fetch_add(1, Ordering::SeqCst);
                    let Some((at, (case, generation))) = order.get(turn).and_then(|at| Some((*at, cases.get(*at)?)))
                    else {
                        return;
                    };
                    let begun = Instant::now();
                    let stop = unheard.load(Ordering::SeqCst) >= MAX_UNHEARD;
                    let piece = match &rig {
                        Ok(rig) if !stop => caught(|| play(&mut host, rig, hello, case, *generation, seed)),
                        Ok(_) => Piece::Case(given_up(case, *generation)),
                        Err(why) => Piece::Panic(why.clone()),
                    };
                    match &piece {
                        Piece::Case(Result { verdict: Verdict::Inconclusive, .. }) => {
                            unheard.fetch_add(1, Ordering::SeqCst);
                        }
                        _ => unheard.store(0, Ordering::SeqCst),
                    }
                    terminal.step();
                    if let Ok(mut found) = found.lock() {
                        found.push((at, (piece, begun.elapsed())));
                    }
                }
            });
        }
    });
    let mut found = found.into_inner().unwrap_or_default();
    found.sort_by_key(|(at, _)| *at);
    found.into_iter().map(|(_, played)| played).collect()
}

/// The cases of tier B that apply to a subject behind an adapter, each with each of its generations that was asked for.
pub fn applying(hello: &Hello, wanted: &[Generation], selected: &dyn Fn(&str) -> bool) -> Vec<(Case, Generation)> {
    if !hello.tiers.contains(&Tier::B) {
        return Vec::new();
    }
    let cases: Vec<Case> = cases::of(Tier::B).into_iter().filter(|case| selected(case.name)).collect();
    let asked = |generation: &Generation| wanted.is_empty() || wanted.contains(generation);
    let generations = Generation::ALL.into_iter().filter(|it| asked(it) && hello.generations.contains(it));
    let each = |generation: Generation| {
        cases.iter().filter(move |case| case.applies(generation)).map(move |case| (*case, generation))
    };
    generations.flat_map(each).collect()
}

/// A device that runs already.
#[derive(Clone, Debug)]
pub struct Running {
    /// Where it listens.
    pub addr: SocketAddr,
    /// Its key.
    pub device: DeviceId,
    /// Whether it hosts a mailbox.
    pub service: bool,
    /// What all randomness of the suite comes from, the key that it calls with above all.
    pub seed: u64,
}

impl Running {
    /// The device as which the suite calls; the subject has to let it in.
    pub fn caller(&self) -> Peer {
        Peer::new(&mut Rng::new(self.seed, "caller"))
    }

    /// The highest generation that it speaks.
    ///
    /// # Errors
    /// Why no honest link comes to be, in words.
    pub fn generation(&self) -> std::result::Result<Generation, String> {
        let rig = Rig::new(GUARD)?;
        let caller = self.caller();
        let mut lo = self.loopback(&rig, "hello", Generation::V7);
        let link = lo.trusted().and_then(|peer| Ok((lo.dial(&Dialling::default())?, peer)));
        let (mut link, peer) = link.map_err(|fault| format!("{} can't be called: {}", self.addr, fault.came))?;
        link.says(&peer);
        let hello = link
            .proves()
            .map_err(|fault| format!("{} doesn't prove to be device {}: {}", self.addr, self.device, fault.came))?;
        link.alive().map_err(|fault| {
            let refused = fault.came.contains(&format!("{:?}", Code::AUTH_FAILED));
            let advice = format!("let device {} in, or choose another key by --seed", caller.id);
            if refused { format!("{} refuses the suite: {advice}", self.addr) } else { fault.came }
        })?;
        if self.service {
            self.lets_in(&mut link, &caller)?;
        }
        let known = Generation::from_number(hello.generation);
        Ok(known.unwrap_or(Generation::V7))
    }

    /// Whether the service lets the suite in under an account, or demands none.
    fn lets_in(&self, link: &mut Link, caller: &Peer) -> std::result::Result<(), String> {
        link.send(Fetch { req: 1, of: BoxId::new([0; 32]), after: 0, ext: Exts::empty() });
        let answer = link.take("an answer to FETCH", |message| match message {
            Message::Error(Error { req: 1, code, .. }) => Some(Some(Code::from(*code))),
            Message::Envelopes(Envelopes { req: 1, .. }) => Some(None),
            _ => None,
        });
        // What else it answers is for the cases to judge.
        match answer {
            Ok(Some(Code::SVC_LOGIN)) => Err(format!(
                "{} doesn't let the suite in, for it is under no account there (SVC_LOGIN): have its operator name device {} in an account (`segue serve`: \"devices\" in the file --accounts), or let another service without accounts be certified",
                self.addr, caller.id
            )),
            _ => Ok(()),
        }
    }

    /// The cases that it can show.
    pub fn applying(&self, generation: Generation, selected: &dyn Fn(&str) -> bool) -> Vec<(Case, Generation)> {
        let shows = |case: &Case| match case.body {
            Body::Loopback(sockets) => match sockets.outside {
                Outside::Nothing => false,
                Outside::Device => true,
                Outside::Service => self.service,
            },
            _ => false,
        };
        let cases = cases::of(Tier::B).into_iter().filter(|case| shows(case) && selected(case.name));
        cases.filter(|case| case.applies(generation)).map(|case| (case, generation)).collect()
    }

    /// Plays these cases, one after the other: the suite has one key, and of its links the newest stays.
    pub fn examine(&self, cases: &[(Case, Generation)], terminal: &Terminal) -> Vec<(Piece, Duration)> {
        let rig = match Rig::new(GUARD) {
            Ok(rig) => rig,
            Err(why) => return vec![(Piece::Panic(why), Duration::ZERO)],
        };
        let mut unheard = 0;
        let mut found = Vec::new();
        for (case, generation) in cases {
            let begun = Instant::now();
            let piece = match unheard < MAX_UNHEARD {
                true => caught(|| self.play(&rig, case, *generation)),
                false => Piece::Case(given_up(case, *generation)),
            };
            let silent = matches!(&piece, Piece::Case(Result { verdict: Verdict::Inconclusive, .. }));
            unheard = if silent { unheard + 1 } else { 0 };
            terminal.step();
            found.push((piece, begun.elapsed()));
        }
        found
    }

    fn play(&self, rig: &Rig, case: &Case, generation: Generation) -> Result {
        let ended = |verdict, reason| Result { case: case.name, generation, verdict, reason, replay: None };
        let Body::Loopback(sockets) = case.body else { return given_up(case, generation) };
        let played = steps(&sockets, &mut |which, step| {
            let mut lo = self.loopback(rig, case.name, generation);
            let outcome = step(&mut lo);
            drop(lo);
            judge(rig, which, outcome)
        });
        match played {
            Ok(()) => ended(Verdict::Pass, None),
            Err((verdict, reason)) => ended(verdict, Some(reason)),
        }
    }

    fn loopback(&self, rig: &Rig, case: &str, generation: Generation) -> Loopback<'static> {
        let mut lo = Loopback::running(rig.clone(), self.addr, self.device, self.caller(), self.seed, case);
        lo.generation = generation;
        lo
    }
}

/// The suite's own mistakes aren't the subject's.
fn caught(play: impl FnOnce() -> Result) -> Piece {
    match catch_unwind(AssertUnwindSafe(play)) {
        Ok(result) => Piece::Case(result),
        Err(panic) => {
            let words = panic.downcast_ref::<String>().cloned();
            let words = words.or_else(|| panic.downcast_ref::<&str>().map(|words| (*words).to_string()));
            Piece::Panic(words.unwrap_or_else(|| "a panic".into()))
        }
    }
}

/// Those that wait for a timer of the subject begin first: others go on beside them.
fn slowest_first(cases: &[(Case, Generation)]) -> Vec<usize> {
    let waits = |case: &Case| match case.body {
        Body::Loopback(sockets) => sockets.sign() == Some(Sign::Close(Code::LIMIT_PROGRESS)),
        _ => false,
    };
    let mut order: Vec<usize> = (0..cases.len()).collect();
    order.sort_by_key(|at| !cases.get(*at).is_some_and(|(case, _)| waits(case)));
    order
}

/// What becomes of the rest of a subject that says nothing.
fn given_up(case: &Case, generation: Generation) -> Result {
    let (expected, came) = ("a subject that is heard", "nothing came several times in a row, and the run was given up");
    let reason = Reason { expected: expected.into(), came: came.into(), lines: Vec::new() };
    Result { case: case.name, generation, verdict: Verdict::Inconclusive, reason: Some(reason), replay: None }
}

/// How many cases in a row may come to nothing before the run is given up: each may cost the guard's time.
const MAX_UNHEARD: usize = 4;
