//! What a run consists of: cases at generations, and pairs; and how one of them is played.

use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;

use segue_proto::Generation;

use crate::attach::{Hello, LineHost, Tier, Wire};
use crate::cases::{self, Case, matches};
use crate::pairs::{self, Cell, Found, Shared};
use crate::properties::{self, Property};
use crate::report::Asked;
use crate::requirements::{self, Set};
use crate::run::{self, Reason, applies};
use crate::verdict::Verdict;

/// A piece of a run that is to be played.
#[derive(Clone, Copy)]
pub enum Job {
    /// A case at a generation.
    Case(Case, Generation),
    /// A property at a generation.
    Property(Property, Generation),
    /// A pair.
    Pair(Cell),
}

/// What a piece of a run came to.
pub enum Piece {
    /// A case.
    Case(run::Result),
    /// A pair.
    Pair(Found),
    /// The suite itself failed.
    Panic(String),
}

impl Job {
    /// Its name, in transcripts and certificates.
    pub fn name(&self) -> String {
        match self {
            Job::Case(case, generation) => format!("{} at {generation}", case.name),
            Job::Property(property, generation) => format!("{} at {generation}", property.name),
            Job::Pair(cell) => cell.name(),
        }
    }

    /// What becomes of it once the adapter has broken too often in a row.
    pub fn given_up(&self) -> Piece {
        let (expected, came) = ("an adapter that answers", "it broke several times in a row, and the run was given up");
        let reason = Reason { expected: expected.into(), came: came.into(), lines: Vec::new() };
        let case = |case, generation| {
            let (verdict, reason) = (Verdict::Inconclusive, Some(reason.clone()));
            Piece::Case(run::Result { case, generation, verdict, reason, replay: None })
        };
        match *self {
            Job::Case(it, generation) => case(it.name, generation),
            Job::Property(property, generation) => case(property.name, generation),
            Job::Pair(cell) => Piece::Pair(Found { cell, says: came.into(), fault: Some((0, reason)) }),
        }
    }

    /// What is declared by those that it is played with: a property's devices are drawn for both.
    pub const fn declared<'a>(&self, subject: &'a Hello, both: &'a Hello) -> &'a Hello {
        match self {
            Job::Property(..) => both,
            Job::Case(..) | Job::Pair(_) => subject,
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

impl Piece {
    /// Its verdict's name.
    pub fn verdict(&self) -> &'static str {
        match self {
            Piece::Case(result) => result.verdict.name(),
            Piece::Pair(found) if found.fault.is_none() => Verdict::Pass.name(),
            Piece::Pair(_) => Verdict::Fail.name(),
            Piece::Panic(_) => "the suite failed",
        }
    }
}

/// What the subject says of itself, with those generations and commands alone that its peer declares, too.
pub fn both(hello: &Hello, peer: Option<&Hello>) -> Hello {
    let mut both = hello.clone();
    if let Some(peer) = peer {
        both.generations.retain(|generation| peer.generations.contains(generation));
        both.commands.retain(|command| peer.offers(command));
    }
    both
}

/// Every job of tier A that was asked for and that applies to the subject and, of pairs and properties, to its peer, in the
/// order of the report.
///
/// # Errors
/// If there are no frozen requirements of the version that was asked for, in words.
pub fn jobs(asked: &Asked, hello: &Hello, peer: Option<&Hello>) -> Result<Vec<Job>, String> {
    let sets = asked.requirements.as_deref().map(requirements::find).transpose()?;
    if !asked.in_a || !hello.tiers.contains(&Tier::A) {
        return Ok(Vec::new());
    }
    let selected = |name: &str| asked.case.as_deref().is_none_or(|pattern| matches(pattern, name));
    let wanted = |generation: &Generation| asked.generations.is_empty() || asked.generations.contains(generation);
    let generations: Vec<Generation> = Generation::ALL.into_iter().filter(wanted).collect();
    let cases: Vec<Case> = cases::all().into_iter().filter(|case| selected(case.name)).collect();
    let mut jobs = Vec::new();
    let properties: Vec<Property> = properties::ALL.iter().copied().filter(|it| selected(it.name)).collect();
    // The longest first, so that no worker is left alone with one.
    let common = both(hello, peer).generations;
    for generation in generations.iter().copied().filter(|generation| common.contains(generation)) {
        jobs.extend(properties.iter().map(|property| Job::Property(*property, generation)));
    }
    for generation in generations.iter().copied() {
        let applying = cases.iter().filter(|case| applies(case, hello, generation));
        jobs.extend(applying.map(|case| Job::Case(*case, generation)));
    }
    let speaks = |cell: &Cell| {
        // Without a peer the subject is the target, too.
        let target = peer.unwrap_or(hello);
        let able = hello.generations.contains(&cell.source) && target.generations.contains(&cell.target);
        let offered = cell.needs().iter().all(|need| hello.offers(need));
        able && offered && (generations.contains(&cell.source) || generations.contains(&cell.target))
    };
    let cells = Cell::all().into_iter().filter(|cell| selected(&cell.name()) && speaks(cell));
    jobs.extend(cells.map(Job::Pair));
    jobs.retain(|job| sets.as_ref().is_none_or(|sets| sets.iter().any(|set| job.is_in(set))));
    Ok(jobs)
}

/// The hosts that jobs are played on: the subject, and the two devices of pairs and properties.
pub struct Stage {
    /// The subject.
    pub host: Shared,
    pair: [Shared; 2],
}

impl Stage {
    /// Hosts behind these wires: the subject's, a source's and a target's.
    pub fn new(wires: [Box<dyn Wire>; 3]) -> Stage {
        let [host, source, target] = wires.map(shared);
        Stage { host, pair: [source, target] }
    }

    /// One host for everything, as an adapter is that is started by hand.
    pub fn alone(wire: Box<dyn Wire>) -> Stage {
        let host = shared(wire);
        Stage { pair: [host.clone(), host.clone()], host }
    }

    /// Plays a job, a property with so many sequences.
    pub fn play(&mut self, job: Job, hello: &Hello, seed: u64, sequences: u32) -> Piece {
        let piece = catch_unwind(AssertUnwindSafe(|| match job {
            Job::Case(case, generation) => {
                let mut host = self.host.borrow_mut();
                Piece::Case(run::run(&mut **host, hello, &case, generation, seed))
            }
            Job::Property(property, generation) => {
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

fn shared(wire: Box<dyn Wire>) -> Shared {
    Rc::new(RefCell::new(Box::new(LineHost::new(wire))))
}
