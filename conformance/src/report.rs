//! The report: what was run, what came of it, and which requirements that touches. It holds no time, so that the same
//! seed gives the same bytes.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use segue_proto::Generation;
use serde_json::{Value, json};

use crate::attach::{Hello, Tier};
use crate::cases::{self, Level};
use crate::certify::{CertifyOptions, Outcome, Piece, list_cases};
use crate::exemptions::{self, Exemption, Judged, Shown};
use crate::pairs::{self, Found};
use crate::properties::{self, Property};
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
    /// The failures that the vendor knows of.
    pub exemptions: Vec<Exemption>,
    /// What of them covers which result, and what is wrong with them: results are the cases, and then the pairs.
    pub judged: Judged,
    requirements: Option<String>,
    sequences: u32,
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
        let (exemptions, judged) = (Vec::new(), Judged::default());
        let sequences = options.sequences.unwrap_or(properties::SEQUENCES);
        let (requirements, outcome) = (options.requirements.clone(), Outcome::Suite);
        let why = None;
        Report { seed, hello, cases, pairs, panics, exemptions, judged, requirements, sequences, outcome, why }
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

    /// Holds the failures that the vendor knows of against what was found.
    pub fn excuse(&mut self, exemptions: Vec<Exemption>) {
        self.judged = exemptions::judge(&exemptions, &self.shown(), &list_cases());
        self.exemptions = exemptions;
    }

    /// The entry that covers a result, by its place among cases and then pairs.
    pub fn exemption(&self, at: usize) -> Option<&Exemption> {
        self.judged.exempt.get(at).copied().flatten().and_then(|entry| self.exemptions.get(entry))
    }

    /// How the run ended.
    pub fn judge(&mut self) -> Outcome {
        let shown = self.shown();
        let passed = shown.iter().filter(|result| result.verdict == Verdict::Pass).count();
        let failed = |at: usize, verdict| {
            matches!(verdict, Verdict::Fail | Verdict::Inconclusive) && self.exemption(at).is_none()
        };
        let bad = shown.iter().enumerate().filter(|(at, result)| failed(*at, result.verdict)).count();
        let outcome = if !self.panics.is_empty() {
            Outcome::Suite
        } else if bad > 0 || passed == 0 || !self.judged.wrong.is_empty() {
            Outcome::Failed
        } else {
            Outcome::Certified
        };
        let why = (!self.judged.wrong.is_empty()).then(|| self.judged.wrong.join("; "));
        self.end(outcome, why);
        outcome
    }

    /// Every result, cases and then pairs, as exemptions see it.
    fn shown(&self) -> Vec<Shown<'_>> {
        let cases = self.cases.iter().map(|result| Shown {
            case: result.case.into(),
            generation: Some(result.generation),
            verdict: result.verdict,
            reason: result.reason.as_ref(),
        });
        let pairs = self.pairs.iter().map(|found| Shown {
            case: found.cell.name().into(),
            generation: None,
            verdict: if found.fault.is_none() { Verdict::Pass } else { Verdict::Fail },
            reason: found.fault.as_ref().map(|(_, reason)| reason),
        });
        cases.chain(pairs).collect()
    }

    /// How many permutations were run: ways of a case, sequences of a property, worlds of a pair.
    pub fn permutations(&self) -> usize {
        let ran = self.cases.iter().filter(|result| result.verdict != Verdict::Unsupported);
        let cases = ran.map(|result| match Property::find(result.case) {
            Some(_) => self.sequences as usize,
            None => run::WAYS,
        });
        cases.sum::<usize>() + self.pairs.iter().map(|found| pairs::worlds(found.cell)).sum::<usize>()
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
        let all = ran.iter().filter_map(|name| cases::find(name));
        let named = all.flat_map(|case| case.clauses.iter());
        let properties = properties::ALL.iter().filter(|property| ran.contains(property.name));
        let named = named.chain(properties.flat_map(|property| property.clauses.iter()));
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
            "tiers": self.tiers(),
            "seed": self.seed,
            "outcome": self.outcome.name(),
            "why": self.why,
            "subject": self.subject(),
            "requirements": self.requirements,
            "permutations": self.permutations(),
            "cases": self.cases.iter().enumerate().map(|(at, it)| excused(case_json(it), self.exemption(at))).collect::<Vec<_>>(),
            "pairs": self.pairs.iter().enumerate().map(|(at, it)| {
                excused(pair_json(it), self.exemption(self.cases.len() + at))
            }).collect::<Vec<_>>(),
            "exemptions": self.exemptions.iter().map(exemptions::to_json).collect::<Vec<_>>(),
            "exemptions_wrong": self.judged.wrong,
            "suite_errors": self.panics,
            "clauses": {
                "tested": coverage.tested,
                "excluded": coverage.excluded,
                "untested": coverage.untested,
            },
        })
    }

    /// The tiers of which something was run.
    fn tiers(&self) -> Vec<&'static str> {
        let of = |tier| self.cases.iter().filter_map(|it| cases::find(it.case)).any(|case| case.tier() == tier);
        let ran = [(Tier::A, of(Tier::A) || !self.pairs.is_empty()), (Tier::B, of(Tier::B))];
        ran.into_iter().filter(|(_, ran)| *ran).map(|(tier, _)| tier.name()).collect()
    }

    fn subject(&self) -> Value {
        match &self.hello {
            Ok(hello) => json!({
                "name": hello.subject,
                "generations": hello.generations.to_json(),
                "commands": hello.commands,
                "choices": hello.choices.declared(),
            }),
            Err(why) => json!({ "error": why }),
        }
    }
}

fn excused(mut result: Value, exemption: Option<&Exemption>) -> Value {
    if let Some(entry) = exemption {
        result["exempt"] = entry.reason.as_str().into();
    }
    result
}

fn case_json(result: &run::Result) -> Value {
    let case = cases::find(result.case);
    let mut out = json!({
        "case": result.case,
        "generation": result.generation.name(),
        "verdict": result.verdict.name(),
    });
    if let Some(case) = case {
        out["clauses"] = json!(case.clauses);
        out["level"] = case.level.name().into();
        out["part"] = case.part.name().into();
        out["tier"] = case.tier().name().into();
    }
    if let Some(property) = Property::find(result.case) {
        out["clauses"] = json!(property.clauses);
        out["level"] = Level::Must.name().into();
    }
    if let Some(reason) = &result.reason {
        out["reason"] = reason_json(reason);
    }
    if let Some(token) = &result.replay {
        out["replay"] = token.as_str().into();
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
    let class = exemptions::class(reason);
    json!({ "expected": reason.expected, "came": reason.came, "class": class, "transcript": reason.lines })
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
    let transport =
        transport.map(|id| (id, "concerns QUIC, which tier A doesn't use: it is examined in tier B".to_string()));
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
