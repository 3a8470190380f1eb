//! The report: what was run, what came of it, and which requirements that touches. It holds no time, so that the same
//! seed gives the same bytes.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use segue_proto::Generation;
use serde_json::{Value, json};

use crate::attach::Hello;
use crate::cases;
use crate::certify::{CertifyOptions, Outcome, Piece};
use crate::pairs::Found;
use crate::protocol::VERSION;
use crate::protocol::json::Json;
use crate::run::{self, Reason};
use crate::verdict::Verdict;

/// What a run found.
pub struct Report {
    seed: u64,
    hello: Result<Hello, String>,
    /// The cases' results, in the order of the plan.
    pub cases: Vec<run::Result>,
    /// The pairs'.
    pub pairs: Vec<Found>,
    /// Mistakes of the suite itself.
    pub panics: Vec<String>,
    outcome: Outcome,
    why: Option<String>,
}

/// What became of the requirements of the spec.
pub struct Coverage {
    /// Checked by a case that was run.
    pub tested: BTreeSet<String>,
    /// Excluded, with the reason.
    pub excluded: BTreeMap<String, String>,
    /// Neither.
    pub untested: BTreeSet<String>,
}

impl Report {
    /// The report of a run that begins.
    pub fn new(options: &CertifyOptions, hello: &Result<Hello, String>) -> Report {
        let (seed, hello) = (options.seed, hello.clone());
        let (cases, pairs, panics) = (Vec::new(), Vec::new(), Vec::new());
        Report { seed, hello, cases, pairs, panics, outcome: Outcome::Suite, why: None }
    }

    /// Takes in what was found.
    pub fn take(&mut self, pieces: Vec<Piece>) {
        for piece in pieces {
            match piece {
                Piece::Case(result) => self.cases.push(result),
                Piece::Pair(found) => self.pairs.push(found),
                Piece::Panic(words) => self.panics.push(words),
            }
        }
    }

    /// How the run ended.
    pub fn judge(&mut self) -> Outcome {
        let count = |verdict| self.cases.iter().filter(|result| result.verdict == verdict).count();
        let good_pairs = self.pairs.iter().filter(|found| found.fault.is_none()).count();
        let bad = count(Verdict::Fail) + count(Verdict::Inconclusive) + self.pairs.len() - good_pairs;
        let outcome = if !self.panics.is_empty() {
            Outcome::Suite
        } else if bad > 0 || count(Verdict::Pass) + good_pairs == 0 {
            Outcome::Failed
        } else {
            Outcome::Certified
        };
        self.end(outcome, None);
        outcome
    }

    /// Notes how the run ended, and why if there is more to say than the cases do.
    pub fn end(&mut self, outcome: Outcome, why: Option<String>) {
        (self.outcome, self.why) = (outcome, why);
    }

    /// How many cases of a generation came to a verdict.
    pub fn count(&self, generation: Generation, verdict: Verdict) -> usize {
        self.cases.iter().filter(|result| result.generation == generation && result.verdict == verdict).count()
    }

    /// What became of each requirement.
    pub fn coverage(&self) -> Coverage {
        let ran: BTreeSet<&str> = self.cases.iter().map(|result| result.case).collect();
        let all = cases::all();
        let named = all.iter().filter(|case| ran.contains(case.name)).flat_map(|case| case.clauses.iter());
        let mut tested: BTreeSet<String> = named.map(|clause| (*clause).to_string()).collect();
        if !self.pairs.is_empty() {
            tested.extend((1..=16).map(|n| format!("GEN-PAIR-{n}")));
        }
        let required = requirements();
        tested.retain(|clause| required.contains(clause));
        let excluded: BTreeMap<String, String> =
            exclusions().into_iter().filter(|(clause, _)| !tested.contains(clause)).collect();
        let left = |clause: &&String| !tested.contains(*clause) && !excluded.contains_key(*clause);
        let untested = required.iter().filter(left).cloned().collect();
        Coverage { tested, excluded, untested }
    }

    /// Writes `report.json` into a directory, which is made if need be.
    ///
    /// # Errors
    /// If that fails, in words.
    pub fn write(&self, directory: Option<&Path>) -> Result<(), String> {
        let Some(directory) = directory else { return Ok(()) };
        let path = directory.join("report.json");
        let text = serde_json::to_string_pretty(&self.to_json()).unwrap_or_default();
        let written = std::fs::create_dir_all(directory).and_then(|()| std::fs::write(&path, text + "\n"));
        written.map_err(|error| format!("{} can't be written: {error}", path.display()))
    }

    /// The report as JSON.
    pub fn to_json(&self) -> Value {
        let coverage = self.coverage();
        json!({
            "suite": env!("CARGO_PKG_VERSION"),
            "protocol": VERSION,
            "tier": "A",
            "seed": self.seed,
            "outcome": self.outcome.name(),
            "why": self.why,
            "subject": self.subject(),
            "cases": self.cases.iter().map(case_json).collect::<Vec<_>>(),
            "pairs": self.pairs.iter().map(pair_json).collect::<Vec<_>>(),
            "suite_errors": self.panics,
            "clauses": {
                "tested": coverage.tested,
                "excluded": coverage.excluded,
                "untested": coverage.untested,
            },
        })
    }

    fn subject(&self) -> Value {
        match &self.hello {
            Ok(hello) => json!({
                "name": hello.subject,
                "generations": hello.generations.to_json(),
                "commands": hello.commands,
            }),
            Err(why) => json!({ "error": why }),
        }
    }
}

fn case_json(result: &run::Result) -> Value {
    let case = cases::all().into_iter().find(|case| case.name == result.case);
    let mut out = json!({
        "case": result.case,
        "generation": result.generation.name(),
        "verdict": result.verdict.name(),
    });
    if let Some(case) = case {
        out["clauses"] = json!(case.clauses);
        out["level"] = case.level.name().into();
        out["part"] = case.part.name().into();
    }
    if let Some(reason) = &result.reason {
        out["reason"] = reason_json(reason);
    }
    out
}

fn pair_json(found: &Found) -> Value {
    let mut out = json!({
        "source": found.cell.source.name(),
        "target": found.cell.target.name(),
        "way": found.cell.way.name(),
        "expected": found.cell.expected(),
        "found": found.says,
        "verdict": if found.fault.is_none() { "pass" } else { "fail" },
    });
    if let Some((seed, reason)) = &found.fault {
        out["seed"] = (*seed).into();
        out["reason"] = reason_json(reason);
    }
    out
}

fn reason_json(reason: &Reason) -> Value {
    json!({ "expected": reason.expected, "came": reason.came, "transcript": reason.lines })
}

/// Every requirement of the spec: a paragraph that opens with its id in bold.
pub fn requirements() -> BTreeSet<String> {
    let lines = CHAPTERS.iter().flat_map(|chapter| chapter.lines());
    let ids = lines.filter_map(|line| line.strip_prefix("**")?.split_once(".**").map(|(id, _)| id));
    ids.filter(|id| is_id(id)).map(Into::into).collect()
}

fn is_id(id: &str) -> bool {
    id.starts_with(|c: char| c.is_ascii_uppercase())
        && id.contains('-')
        && id.chars().all(|c| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '-')
}

/// The requirements that no case observes: those of the spec, and those of this tier.
pub fn exclusions() -> BTreeMap<String, String> {
    let rows = EXCLUSIONS.lines().filter_map(|line| {
        let mut cells = line.trim().strip_prefix('|')?.split('|').map(str::trim);
        let (id, reason) = (cells.next()?, cells.next()?);
        is_id(id).then(|| (id.to_string(), reason.to_string()))
    });
    let transport = requirements().into_iter().filter(|id| id.starts_with("TRANSPORT-"));
    let transport = transport.map(|id| (id, "concerns QUIC, which tier A doesn't use".to_string()));
    let tier = TIER_A.iter().map(|(id, reason)| ((*id).to_string(), (*reason).to_string()));
    rows.chain(transport).chain(tier).collect()
}

const CHAPTERS: [&str; 13] = [
    include_str!("../../spec/02-wire.md"),
    include_str!("../../spec/03-link.md"),
    include_str!("../../spec/04-account.md"),
    include_str!("../../spec/05-data.md"),
    include_str!("../../spec/06-sync.md"),
    include_str!("../../spec/07-handoff.md"),
    include_str!("../../spec/08-transfer.md"),
    include_str!("../../spec/09-service.md"),
    include_str!("../../spec/10-generations.md"),
    include_str!("../../spec/11-limits.md"),
    include_str!("../../spec/12-errors.md"),
    include_str!("../../spec/13-transport.md"),
    include_str!("../../spec/14-security.md"),
];
const EXCLUSIONS: &str = include_str!("../../spec/exclusions.md");

/// What this tier can't observe.
const TIER_A: &[(&str, &str)] = &[
    ("LINK-QUEUE-1", "the suite takes at once what a subject sends, so no queue grows"),
    ("GEN-REDIAL-1", "the suite dials; a subject has no say in it"),
    ("SEC-PANIC-1", "concerns every input; the fuzz targets and every case count against it"),
];
