//! The whole run: select, run on two workers, judge, report.

use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use segue_proto::Generation;

use crate::attach::{ChildWire, GUARD, Hello, Host, LineHost};
use crate::cases::{self, Case, matches};
use crate::pairs::{self, Cell, Found, Shared};
use crate::report::Report;
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

/// The names of all cases and pairs, one a line.
pub fn list_cases() -> Vec<String> {
    let cases = cases::all().into_iter().map(|case| case.name.to_string());
    cases.chain(Cell::all().iter().map(Cell::name)).collect()
}

/// Certifies a subject: runs, prints, and leaves the report.
pub fn certify(options: &CertifyOptions) -> Outcome {
    let mut terminal = Terminal::new();
    let selected = |name: &str| options.case.as_deref().is_none_or(|pattern| matches(pattern, name));
    let cases: Vec<Case> = cases::all().into_iter().filter(|case| selected(case.name)).collect();
    let cells: Vec<Cell> = Cell::all().into_iter().filter(|cell| selected(&cell.name())).collect();
    if cases.is_empty() && cells.is_empty() {
        terminal.line("no case and no pair of that name; 'segue certify --list' names them all");
        return Outcome::Usage;
    }
    let adapter = match options.adapter.clone().map_or_else(own, Ok) {
        Ok(adapter) => adapter,
        Err(why) => {
            terminal.line(&why);
            return Outcome::Suite;
        }
    };
    let hello = host(&adapter).hello();
    let mut report = Report::new(options, &hello);
    let outcome = match hello {
        Err(why) => {
            terminal.line(&format!("the subject can't be examined: {why}"));
            report.end(Outcome::Failed, Some(why));
            Outcome::Failed
        }
        Ok(hello) => {
            let plan = Plan::new(options, &hello, &cases, &cells);
            if plan.jobs.is_empty() {
                terminal.line("nothing applies to the generations that were asked for");
                return Outcome::Usage;
            }
            terminal.begin(&hello.subject, plan.jobs.len());
            let peer = options.peer.as_deref().unwrap_or(&adapter);
            let done = plan.run(&adapter, peer, &hello, options.seed, &terminal);
            terminal.finish();
            report.take(done);
            let outcome = report.judge();
            terminal.show(&report, outcome);
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

/// A piece of the run.
#[derive(Clone, Copy)]
enum Job {
    Case(Case, Generation),
    Pair(Cell),
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
    fn new(options: &CertifyOptions, hello: &Hello, cases: &[Case], cells: &[Cell]) -> Plan {
        let wanted =
            |generation: &Generation| options.generations.is_empty() || options.generations.contains(generation);
        let generations: Vec<Generation> = Generation::ALL.into_iter().filter(wanted).collect();
        let mut jobs = Vec::new();
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
    fn run(&self, adapter: &str, peer: &str, hello: &Hello, seed: u64, terminal: &Terminal) -> Vec<Piece> {
        let next = AtomicUsize::new(0);
        let broken = AtomicUsize::new(0);
        let found: Mutex<Vec<(usize, Piece)>> = Mutex::new(Vec::new());
        thread::scope(|scope| {
            for _ in 0..WORKERS {
                scope.spawn(|| {
                    let mut worker = Worker { adapter, peer, hello, seed, host: host(adapter), pair: None };
                    loop {
                        let at = next.fetch_add(1, Ordering::SeqCst);
                        let Some(job) = self.jobs.get(at) else { return };
                        let stop = broken.load(Ordering::SeqCst) >= MAX_BROKEN;
                        let piece = if stop { given_up(*job) } else { worker.run(*job) };
                        let ended = worker.host.failure().is_some();
                        if ended {
                            broken.fetch_add(1, Ordering::SeqCst);
                        } else if !stop {
                            broken.store(0, Ordering::SeqCst);
                        }
                        terminal.step();
                        if let Ok(mut found) = found.lock() {
                            found.push((at, piece));
                        }
                    }
                });
            }
        });
        let mut found = found.into_inner().unwrap_or_default();
        found.sort_by_key(|(at, _)| *at);
        found.into_iter().map(|(_, piece)| piece).collect()
    }
}

struct Worker<'a> {
    adapter: &'a str,
    peer: &'a str,
    hello: &'a Hello,
    seed: u64,
    host: LineHost,
    pair: Option<[Shared; 2]>,
}

impl Worker<'_> {
    fn run(&mut self, job: Job) -> Piece {
        let (hello, seed) = (self.hello, self.seed);
        let piece = catch_unwind(AssertUnwindSafe(|| match job {
            Job::Case(case, generation) => Piece::Case(run::run(&mut self.host, hello, &case, generation, seed)),
            Job::Pair(cell) => {
                let hosts = self.pair.get_or_insert_with(|| [shared(self.adapter), shared(self.peer)]);
                Piece::Pair(pairs::play(hosts, cell, seed, FAULTY))
            }
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
    match job {
        Job::Case(case, generation) => {
            let (verdict, reason) = (Verdict::Inconclusive, Some(reason));
            Piece::Case(run::Result { case: case.name, generation, verdict, reason })
        }
        Job::Pair(cell) => Piece::Pair(Found { cell, says: came.into(), fault: Some((0, reason)) }),
    }
}

fn host(command: &str) -> LineHost {
    LineHost::new(Box::new(ChildWire::new(command, GUARD)))
}

fn shared(command: &str) -> Shared {
    let host: Box<dyn Host> = Box::new(host(command));
    Rc::new(RefCell::new(host))
}

/// This program's own adapter.
fn own() -> Result<String, String> {
    let program = std::env::current_exe().map_err(|error| format!("this program can't be found: {error}"))?;
    Ok(format!("'{}' adapter", program.display()))
}

/// The children that work at a time: the machine that all numbers are for has two cores.
const WORKERS: usize = 2;
/// How many worlds with faults a pair is played in, besides the calm one.
const FAULTY: u64 = 2;
/// How often in a row an adapter may break before the run is given up: each time may cost the guard's ten seconds.
const MAX_BROKEN: usize = 4;
