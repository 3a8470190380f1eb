//! The whole run: select, run on two workers, judge, report.

use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use segue_proto::Generation;

use crate::attach::{ChildWire, GUARD, Hello, Host, LineHost, Place, Tier, WaitWire, Wire};
use crate::cases::{self, Case, matches};
use crate::exemptions;
use crate::loopback::{self, Running};
use crate::pairs::{self, Cell, Found, Shared};
use crate::properties::{self, Property};
use crate::report::Report;
use crate::requirements::{self, Set};
use crate::run::{self, Reason, applies};
use crate::terminal::Terminal;
use crate::verdict::Verdict;

/// What to certify, and how.
#[derive(Clone, Debug, Default)]
pub struct CertifyOptions {
    /// The command that starts the subject's adapter; none means this program with the argument `adapter`.
    pub adapter: Option<String>,
    /// The command of a second subject, the target of the pairs; none means the first one.
    pub peer: Option<String>,
    /// The generations to certify; empty means all that the subject speaks.
    pub generations: Vec<Generation>,
    /// Only cases and pairs whose name this pattern matches; `*` stands for anything.
    pub case: Option<String>,
    /// Where to leave `report.json`.
    pub report: Option<PathBuf>,
    /// What all randomness comes from.
    pub seed: u64,
    /// How many sequences of each property are tried for a generation; none means [`properties::SEQUENCES`].
    pub sequences: Option<u32>,
    /// The file of the failures that the vendor knows of.
    pub exemptions: Option<PathBuf>,
    /// The version of the frozen requirements to ask for, and nothing besides.
    pub requirements: Option<String>,
    /// Where an adapter that is started by hand is waited for, instead of starting `adapter`.
    pub attach: Option<Place>,
    /// Whether the slowest pieces are named on the terminal.
    pub time: bool,
    /// The tiers to examine; none means A, and B where nothing of A can be.
    pub tiers: Option<Vec<Tier>>,
}

impl CertifyOptions {
    fn has(&self, tier: Tier) -> bool {
        self.tiers.as_ref().is_none_or(|tiers| tiers.contains(&tier))
    }

    fn selects(&self, name: &str) -> bool {
        self.case.as_deref().is_none_or(|pattern| matches(pattern, name))
    }
}

/// How a run ended; also the program's exit code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Outcome {
    /// Everything that was run passed, or is declared as not supported; something passed.
    Certified = 0,
    /// Something failed.
    Failed = 1,
    /// Nothing could be run as it was asked for.
    Usage = 2,
    /// The suite itself is at fault.
    Suite = 3,
}

impl Outcome {
    /// The exit code.
    pub const fn code(self) -> u8 {
        self as u8
    }

    /// Its word.
    pub const fn name(self) -> &'static str {
        match self {
            Outcome::Certified => "certified",
            Outcome::Failed => "failed",
            Outcome::Usage => "usage",
            Outcome::Suite => "suite",
        }
    }
}

/// The misbehaviours and good deeds of tier B: name, clauses, and how a subject has to refuse.
pub fn list_sockets() -> Vec<[String; 3]> {
    let row = |case: Case| {
        let sign = match case.body {
            cases::Body::Loopback(sockets) => sockets.sign().map_or("works".into(), |sign| sign.words()),
            _ => String::new(),
        };
        [case.name.to_string(), case.clauses.join(" "), sign]
    };
    cases::of(Tier::B).into_iter().map(row).collect()
}

/// The names of all cases and pairs of tier A, one a line.
pub fn list_cases() -> Vec<String> {
    let cases = cases::all().into_iter().map(|case| case.name.to_string());
    let properties = properties::ALL.iter().map(|property| property.name.to_string());
    cases.chain(properties).chain(Cell::all().iter().map(Cell::name)).collect()
}

/// Certifies a subject: runs, prints, and leaves the report.
pub fn certify(options: &CertifyOptions) -> Outcome {
    let mut terminal = Terminal::new();
    let in_a = |name: &str| options.has(Tier::A) && options.selects(name);
    let cases: Vec<Case> = cases::all().into_iter().filter(|case| in_a(case.name)).collect();
    let cells: Vec<Cell> = Cell::all().into_iter().filter(|cell| in_a(&cell.name())).collect();
    let properties: Vec<Property> = properties::ALL.iter().copied().filter(|it| in_a(it.name)).collect();
    let in_b = |name: &str| options.has(Tier::B) && options.selects(name);
    let none_in_b = !cases::of(Tier::B).iter().any(|case| in_b(case.name));
    if cases.is_empty() && cells.is_empty() && properties.is_empty() && none_in_b {
        terminal.line("no case and no pair of that name; 'segue certify --list' names them all");
        return Outcome::Usage;
    }
    let known = options.exemptions.as_deref().map_or_else(|| Ok(Vec::new()), exemptions::read);
    let sets = options.requirements.as_deref().map(requirements::find).transpose();
    let (known, sets) = match (known, sets) {
        (Ok(known), Ok(sets)) => (known, sets),
        (Err(why), _) | (_, Err(why)) => {
            terminal.line(&why);
            return Outcome::Usage;
        }
    };
    let subject = match Subject::new(options) {
        Ok(subject) => subject,
        Err(why) => {
            terminal.line(&why);
            return Outcome::Suite;
        }
    };
    let hello = LineHost::new(subject.wire()).hello();
    let mut report = Report::new(options, &hello);
    let outcome = match hello {
        Err(why) => {
            terminal.line(&format!("the subject can't be examined: {why}"));
            report.end(Outcome::Failed, Some(why));
            Outcome::Failed
        }
        Ok(hello) => {
            let mut plan = Plan::new(options, &hello, (&cases, &properties, &cells));
            plan.jobs.retain(|job| sets.as_ref().is_none_or(|sets| sets.iter().any(|set| job.is_in(set))));
            // Tier B waits for timers of the subject: unasked, it is played where nothing of tier A is.
            let with_b = options.tiers.is_some() || plan.jobs.is_empty();
            let mut on_sockets = match with_b {
                true => loopback::applying(&hello, &options.generations, &in_b),
                false => Vec::new(),
            };
            on_sockets.retain(|(case, generation)| {
                sets.as_ref().is_none_or(|sets| sets.iter().any(|set| set.has(case.name, Some(*generation))))
            });
            if plan.jobs.is_empty() && on_sockets.is_empty() {
                terminal.line(
                    "nothing applies to the generations and tiers that were asked for and that the subject declares",
                );
                return Outcome::Usage;
            }
            terminal.begin(&hello.subject, plan.jobs.len() + on_sockets.len());
            let (mut done, times) = plan.run(&subject, &hello, options, &terminal);
            done.extend(loopback::examine(&subject, &hello, &on_sockets, options.seed, &terminal));
            terminal.finish();
            report.take(done);
            report.excuse(known);
            let outcome = report.judge();
            terminal.show(&report, outcome);
            if options.time {
                terminal.times(&times);
            }
            outcome
        }
    };
    match report.write(options.report.as_deref()) {
        Ok(()) => outcome,
        Err(why) => {
            terminal.line(&why);
            Outcome::Suite
        }
    }
}

/// Certifies a device that runs already, as far as it shows from outside.
pub fn certify_running(options: &CertifyOptions, running: &Running) -> Outcome {
    let mut terminal = Terminal::new();
    terminal.line(&format!("the suite calls as device {}; the subject has to let it in", running.caller().id));
    let generation = match running.generation() {
        Ok(generation) => generation,
        Err(why) => {
            terminal.line(&why);
            return Outcome::Usage;
        }
    };
    let selected = running.applying(generation, &|name| options.selects(name));
    if selected.is_empty() {
        terminal.line("no case of that name shows from outside; 'segue certify --tier b --list' names them all");
        return Outcome::Usage;
    }
    let subject = format!("device {} at {}", running.device, running.addr);
    let hello = Hello { subject, generations: vec![generation], tiers: vec![Tier::B], ..Hello::default() };
    let mut report = Report::new(options, &Ok(hello.clone()));
    terminal.begin(&hello.subject, selected.len());
    let done = running.examine(&selected, &terminal);
    terminal.finish();
    report.take(done);
    let outcome = report.judge();
    terminal.show(&report, outcome);
    match report.write(options.report.as_deref()) {
        Ok(()) => outcome,
        Err(why) => {
            terminal.line(&why);
            Outcome::Suite
        }
    }
}

/// A piece of the run.
#[derive(Clone, Copy)]
enum Job {
    Case(Case, Generation),
    Property(Property, Generation),
    Pair(Cell),
}

impl Job {
    /// Its name, with the generation.
    fn name(&self) -> String {
        match self {
            Job::Case(case, generation) => format!("{} at {generation}", case.name),
            Job::Property(property, generation) => format!("{} at {generation}", property.name),
            Job::Pair(cell) => cell.name(),
        }
    }

    /// Whether a frozen set asks for it.
    fn is_in(&self, set: &Set) -> bool {
        match self {
            Job::Case(case, generation) => set.has(case.name, Some(*generation)),
            Job::Property(property, generation) => set.has(property.name, Some(*generation)),
            Job::Pair(cell) => set.has(&cell.name(), None),
        }
    }
}

/// What a piece of the run came to.
pub enum Piece {
    /// A case.
    Case(run::Result),
    /// A pair.
    Pair(Found),
    /// The suite itself failed.
    Panic(String),
}

struct Plan {
    jobs: Vec<Job>,
}

impl Plan {
    fn new(options: &CertifyOptions, hello: &Hello, selected: (&[Case], &[Property], &[Cell])) -> Plan {
        let (cases, properties, cells) = selected;
        let wanted =
            |generation: &Generation| options.generations.is_empty() || options.generations.contains(generation);
        let generations: Vec<Generation> = Generation::ALL.into_iter().filter(wanted).collect();
        let mut jobs = Vec::new();
        if !hello.tiers.contains(&Tier::A) {
            return Plan { jobs };
        }
        // The longest first, so that no worker is left alone with one.
        for generation in generations.iter().copied().filter(|generation| hello.generations.contains(generation)) {
            jobs.extend(properties.iter().map(|property| Job::Property(*property, generation)));
        }
        for generation in generations.iter().copied() {
            let applying = cases.iter().filter(|case| applies(case, hello, generation));
            jobs.extend(applying.map(|case| Job::Case(*case, generation)));
        }
        let speaks = |cell: &&Cell| {
            let known = hello.generations.contains(&cell.source);
            known && (generations.contains(&cell.source) || generations.contains(&cell.target))
        };
        jobs.extend(cells.iter().filter(speaks).map(|cell| Job::Pair(*cell)));
        Plan { jobs }
    }

    /// Runs all pieces on two workers, each with adapters of its own. What they find is in the order of the plan.
    fn run(
        &self,
        subject: &Subject,
        hello: &Hello,
        options: &CertifyOptions,
        terminal: &Terminal,
    ) -> (Vec<Piece>, Vec<(String, Duration)>) {
        let (seed, sequences) = (options.seed, options.sequences.unwrap_or(properties::SEQUENCES));
        let next = AtomicUsize::new(0);
        let broken = AtomicUsize::new(0);
        let found: Mutex<Vec<(usize, Piece, Duration)>> = Mutex::new(Vec::new());
        thread::scope(|scope| {
            for _ in 0..subject.workers() {
                scope.spawn(|| {
                    let mut worker = Worker::new(subject, hello, seed, sequences);
                    loop {
                        let at = next.fetch_add(1, Ordering::SeqCst);
                        let Some(job) = self.jobs.get(at) else { return };
                        let begun = Instant::now();
                        let stop = broken.load(Ordering::SeqCst) >= MAX_BROKEN;
                        let piece = if stop { given_up(*job) } else { worker.run(*job) };
                        let ended = worker.host.borrow().failure().is_some();
                        if ended {
                            broken.fetch_add(1, Ordering::SeqCst);
                        } else if !stop {
                            broken.store(0, Ordering::SeqCst);
                        }
                        terminal.step();
                        if let Ok(mut found) = found.lock() {
                            found.push((at, piece, begun.elapsed()));
                        }
                    }
                });
            }
        });
        let mut found = found.into_inner().unwrap_or_default();
        found.sort_by_key(|(at, ..)| *at);
        let timed = found.into_iter().zip(&self.jobs).map(|((_, piece, time), job)| (piece, (job.name(), time)));
        timed.unzip()
    }
}

struct Worker<'a> {
    hello: &'a Hello,
    seed: u64,
    sequences: u32,
    host: Shared,
    pair: [Shared; 2],
}

impl<'a> Worker<'a> {
    fn new(subject: &Subject, hello: &'a Hello, seed: u64, sequences: u32) -> Worker<'a> {
        let [host, source, target] = subject.hosts();
        Worker { hello, seed, sequences, host, pair: [source, target] }
    }
}

impl Worker<'_> {
    fn run(&mut self, job: Job) -> Piece {
        let (hello, seed) = (self.hello, self.seed);
        let piece = catch_unwind(AssertUnwindSafe(|| match job {
            Job::Case(case, generation) => {
                let mut host = self.host.borrow_mut();
                Piece::Case(run::run(&mut **host, hello, &case, generation, seed))
            }
            Job::Property(property, generation) => {
                let sequences = self.sequences;
                Piece::Case(properties::examine(&self.pair, hello, &property, generation, seed, sequences))
            }
            Job::Pair(cell) => Piece::Pair(pairs::play(&self.pair, cell, seed, pairs::FAULTY)),
        }));
        piece.unwrap_or_else(|panic| {
            let words = panic.downcast_ref::<String>().cloned();
            let words = words.or_else(|| panic.downcast_ref::<&str>().map(|words| (*words).to_string()));
            Piece::Panic(words.unwrap_or_else(|| "a panic".into()))
        })
    }
}

/// What becomes of the rest once the adapter has broken too often in a row.
fn given_up(job: Job) -> Piece {
    let (expected, came) = ("an adapter that answers", "it broke several times in a row, and the run was given up");
    let reason = Reason { expected: expected.into(), came: came.into(), lines: Vec::new() };
    let case = |case, generation| {
        let (verdict, reason) = (Verdict::Inconclusive, Some(reason.clone()));
        Piece::Case(run::Result { case, generation, verdict, reason, replay: None })
    };
    match job {
        Job::Case(it, generation) => case(it.name, generation),
        Job::Property(property, generation) => case(property.name, generation),
        Job::Pair(cell) => Piece::Pair(Found { cell, says: came.into(), fault: Some((0, reason)) }),
    }
}

/// How the subject is reached.
pub(crate) enum Subject {
    /// By the commands that start its adapter, and that of the other device of pairs.
    Started(String, String),
    /// By an adapter that is waited for.
    Awaited(WaitWire),
}

impl Subject {
    /// The subject that the options name; this program's own adapter if none.
    ///
    /// # Errors
    /// If this program can't be found.
    pub(crate) fn new(options: &CertifyOptions) -> Result<Subject, String> {
        if let Some(place) = &options.attach {
            return Ok(Subject::Awaited(WaitWire::new(place.clone())));
        }
        let adapter = options.adapter.clone().map_or_else(own, Ok)?;
        let peer = options.peer.clone().unwrap_or_else(|| adapter.clone());
        Ok(Subject::Started(adapter, peer))
    }

    /// How many may examine it at a time on real sockets, where most of the time is waiting.
    pub(crate) const fn callers(&self) -> usize {
        match self {
            Subject::Started(..) => 2 * WORKERS,
            Subject::Awaited(_) => 1,
        }
    }

    /// A wire to the subject.
    pub(crate) fn wire(&self) -> Box<dyn Wire> {
        match self {
            Subject::Started(adapter, _) => Box::new(ChildWire::new(adapter, GUARD)),
            Subject::Awaited(wire) => Box::new(wire.clone()),
        }
    }

    /// The subject, and the source and target of pairs. An adapter that is waited for is all three.
    pub(crate) fn hosts(&self) -> [Shared; 3] {
        let shared = |wire: Box<dyn Wire>| -> Shared { Rc::new(RefCell::new(Box::new(LineHost::new(wire)))) };
        match self {
            Subject::Started(_, peer) => {
                let peer = Box::new(ChildWire::new(peer, GUARD));
                [shared(self.wire()), shared(self.wire()), shared(peer)]
            }
            Subject::Awaited(_) => {
                let one = shared(self.wire());
                [one.clone(), one.clone(), one]
            }
        }
    }

    /// What it is called in words.
    pub(crate) fn words(&self) -> String {
        match self {
            Subject::Started(adapter, _) => adapter.clone(),
            Subject::Awaited(_) => "the adapter".into(),
        }
    }

    const fn workers(&self) -> usize {
        match self {
            Subject::Started(..) => WORKERS,
            Subject::Awaited(_) => 1,
        }
    }
}

/// This program's own adapter.
fn own() -> Result<String, String> {
    let program = std::env::current_exe().map_err(|error| format!("this program can't be found: {error}"))?;
    Ok(format!("'{}' adapter", program.display()))
}

/// The children that work at a time: the machine that all numbers are for has two cores.
const WORKERS: usize = 2;
/// How often in a row an adapter may break before the run is given up: each time may cost the guard's ten seconds.
const MAX_BROKEN: usize = 4;
