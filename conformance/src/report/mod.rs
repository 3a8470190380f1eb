//! The report: what was run, what came of it, and which requirements that touches. It holds no time of day, so that the
//! same seed gives the same bytes.

mod badge;
mod coverage;
mod fields;
mod html;
mod json;
mod junit;
pub mod kills;

use std::path::Path;

use segue_proto::Generation;

use crate::attach::{Hello, Tier};
use crate::cases::{self, Body};
use crate::certify::{CertifyOptions, Outcome, list_cases};
use crate::exemptions::{self, Exemption, Judged, Shown};
use crate::pairs::{self, Found};
use crate::plan::Piece;
use crate::properties::{self, Property};
use crate::run;
use crate::verdict::Verdict;

pub use coverage::{Coverage, exclusions};

/// What a run was asked to do.
#[derive(Clone, Debug)]
pub struct Asked {
    /// The command of the adapter, as it was given; none means the suite's own.
    pub adapter: Option<String>,
    /// The command of the second subject of pairs.
    pub peer: Option<String>,
    /// The generations; empty means all that the subject speaks.
    pub generations: Vec<Generation>,
    /// The pattern of the cases; none means all.
    pub case: Option<String>,
    /// Whether tier A was asked for. Of tier B nothing follows from what was asked: it is told in the results.
    pub in_a: bool,
    /// The version of the frozen requirements; none means whatever the suite has.
    pub requirements: Option<String>,
    /// How many sequences of each property were tried for a generation.
    pub sequences: u32,
    /// What all randomness came from.
    pub seed: u64,
}

/// What a run found.
pub struct Report {
    /// What it was asked to do.
    pub asked: Asked,
    /// What the subject says of itself.
    pub hello: Result<Hello, String>,
    /// What the second subject of pairs and properties says of itself, if there is one.
    pub peer: Option<Hello>,
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
    /// What is wrong with the adapter, whatever its cases came to. Anything here fails the run.
    pub adapter: Vec<String>,
    /// How the run ended.
    pub outcome: Outcome,
    /// Why, if there is more to say than the cases do.
    pub why: Option<String>,
}

/// A file of a report.
pub struct File {
    /// Its name.
    pub name: &'static str,
    /// What it holds.
    pub bytes: Vec<u8>,
}

impl From<&CertifyOptions> for Asked {
    fn from(options: &CertifyOptions) -> Asked {
        Asked {
            adapter: options.adapter.clone(),
            peer: options.peer.clone(),
            generations: options.generations.clone(),
            case: options.case.clone(),
            in_a: options.tiers.as_ref().is_none_or(|tiers| tiers.contains(&Tier::A)),
            requirements: options.requirements.clone(),
            sequences: options.sequences.unwrap_or(properties::SEQUENCES),
            seed: options.seed,
        }
    }
}

impl Asked {
    /// What of tier A wasn't asked for, of all that the suite has for a subject of these generations: a line each.
    fn left_out(&self, generations: &[Generation]) -> Vec<String> {
        let names = |all: &[Generation]| all.iter().map(|one| one.name()).collect::<Vec<_>>().join(", ");
        let some = !self.generations.is_empty() && !generations.iter().all(|one| self.generations.contains(one));
        let few = self.sequences < properties::SEQUENCES;
        [
            (!self.in_a).then(|| "tier A wasn't asked for".into()),
            some.then(|| format!("--generation {} of {}", names(&self.generations), names(generations))),
            self.case.as_ref().map(|case| format!("--case '{case}'")),
            self.requirements.as_ref().map(|version| format!("--requirements {version}")),
            few.then(|| format!("--sequences {} of {}", self.sequences, properties::SEQUENCES)),
        ]
        .into_iter()
        .flatten()
        .collect()
    }
}

impl Report {
    /// The report of a run that begins.
    pub fn new(asked: Asked, hello: &Result<Hello, String>) -> Report {
        let (cases, pairs, panics) = (Vec::new(), Vec::new(), Vec::new());
        let (exemptions, judged, hello) = (Vec::new(), Judged::default(), hello.clone());
        Report {
            asked,
            hello,
            peer: None,
            cases,
            pairs,
            panics,
            exemptions,
            judged,
            adapter: Vec::new(),
            outcome: Outcome::Suite,
            why: None,
        }
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
        } else if bad > 0 || passed == 0 || self.wrong().next().is_some() {
            Outcome::Failed
        } else {
            Outcome::Certified
        };
        let wrong: Vec<&str> = self.wrong().collect();
        let why = (!wrong.is_empty()).then(|| wrong.join("; "));
        self.end(outcome, why);
        outcome
    }

    /// What fails the run beside the cases: what is wrong with the exemptions, and with the adapter.
    pub fn wrong(&self) -> impl Iterator<Item = &str> {
        self.judged.wrong.iter().chain(&self.adapter).map(String::as_str)
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

    /// How many permutations were run: ways of a case, roles of one on real sockets, sequences of a property, worlds of a pair.
    pub fn permutations(&self) -> usize {
        let ran = self.cases.iter().filter(|result| result.verdict != Verdict::Unsupported);
        let cases = ran.map(|result| match cases::find(result.case).map(|case| case.body) {
            None => self.asked.sequences as usize,
            Some(Body::Loopback(sockets)) => sockets.roles.len(),
            Some(Body::Works(_) | Body::Refused { .. }) => run::WAYS,
        });
        cases.sum::<usize>() + self.pairs.iter().map(|found| pairs::worlds(found.cell)).sum::<usize>()
    }

    /// The tiers of which something was run.
    pub fn tiers(&self) -> Vec<Tier> {
        let in_b = |result: &run::Result| tier(result.case) == Tier::B;
        let b = self.cases.iter().any(in_b);
        let a = !self.pairs.is_empty() || self.cases.iter().any(|result| !in_b(result));
        [(Tier::A, a), (Tier::B, b)].into_iter().filter(|(_, ran)| *ran).map(|(tier, _)| tier).collect()
    }

    /// The results of tier B.
    pub fn on_sockets(&self) -> impl Iterator<Item = &run::Result> {
        self.cases.iter().filter(|result| tier(result.case) == Tier::B)
    }

    /// Whether everything of tier A was asked for that the suite has for the subject's generations.
    pub fn asked_whole(&self) -> bool {
        self.left_out().is_empty()
    }

    /// Whether everything was asked for, and the subject offers enough to show it.
    pub fn is_whole(&self) -> bool {
        self.hello.is_ok() && self.lacks().is_empty()
    }

    fn left_out(&self) -> Vec<String> {
        let mut left_out =
            self.asked.left_out(self.hello.as_ref().map_or(&Generation::ALL, |hello| &hello.generations));
        left_out.extend(self.peer_lacks());
        left_out
    }

    /// That the peer doesn't declare all of the subject's generations, in words.
    pub fn peer_lacks(&self) -> Option<String> {
        let (hello, peer) = (self.hello.as_ref().ok()?, self.peer.as_ref()?);
        let all = hello.generations.iter().all(|generation| peer.generations.contains(generation));
        let declared: Vec<&str> = peer.generations.iter().map(|generation| generation.name()).collect();
        let declared = if declared.is_empty() { "none".into() } else { declared.join(", ") };
        (!all).then(|| format!("the peer declares generations {declared}: what needs another of it isn't played"))
    }

    /// Why a run in which all passed shows a part only, a line each; none if it shows the whole. Tier A is the whole: a
    /// subject without it shows a part, and so does one that offers too little to own a session and to take one over.
    pub fn lacks(&self) -> Vec<String> {
        let mut lacks = self.left_out();
        if let Ok(hello) = &self.hello {
            lacks.extend(
                (self.asked.in_a && !hello.tiers.contains(&Tier::A)).then(|| "the adapter doesn't offer tier A".into()),
            );
            let missing: Vec<_> = LEAST.iter().copied().filter(|command| !hello.offers(command)).collect();
            let told = self.asked.in_a && !missing.is_empty();
            lacks.extend(told.then(|| format!("the adapter doesn't offer {}", missing.join(", "))));
        }
        lacks
    }

    /// Notes how the run ended, and why if there is more to say than the cases do.
    pub fn end(&mut self, outcome: Outcome, why: Option<String>) {
        (self.outcome, self.why) = (outcome, why);
    }

    /// How many cases of a generation came to a verdict.
    pub fn count(&self, generation: Generation, verdict: Verdict) -> usize {
        self.cases.iter().filter(|result| result.generation == generation && result.verdict == verdict).count()
    }

    /// The generations that cases were run for, ascending.
    pub fn generations(&self) -> Vec<Generation> {
        let ran = |generation: &Generation| self.cases.iter().any(|result| result.generation == *generation);
        Generation::ALL.into_iter().filter(ran).collect()
    }

    /// The outcome in words, as certificate and badge have it.
    pub fn verdict(&self) -> &'static str {
        match (self.outcome, self.is_whole()) {
            (Outcome::Certified, true) => "certified",
            (Outcome::Certified, false) => "passed in part",
            (Outcome::Failed | Outcome::Usage, _) => "not certified",
            (Outcome::Suite, _) => "no verdict",
        }
    }

    /// The files of the report, but for the certificate.
    pub fn files(&self) -> Vec<File> {
        vec![
            File { name: "report.json", bytes: json::text(self).into_bytes() },
            File { name: "report.html", bytes: html::page(self).into_bytes() },
            File { name: "junit.xml", bytes: junit::text(self).into_bytes() },
            File { name: "badge.svg", bytes: badge::text(self).into_bytes() },
        ]
    }
}

/// The commands without which a subject is certified in part only.
const LEAST: [&str; 4] = ["create", "write-file", "write-exclusive", "request"];

/// The tier of a case or property.
fn tier(name: &str) -> Tier {
    cases::find(name).map_or(Tier::A, |case| case.tier())
}

/// The clauses that a case or property checks.
pub fn clauses(name: &str) -> &'static [&'static str] {
    let case = cases::find(name).map(|case| case.clauses);
    case.or_else(|| Property::find(name).map(|property| property.clauses)).unwrap_or_default()
}

/// Writes files into a directory, which is made if need be.
///
/// # Errors
/// If that fails, in words.
pub fn write(directory: &Path, files: &[File]) -> Result<(), String> {
    let failed = |path: &Path, error: std::io::Error| format!("{} can't be written: {error}", path.display());
    std::fs::create_dir_all(directory).map_err(|error| failed(directory, error))?;
    for file in files {
        let path = directory.join(file.name);
        std::fs::write(&path, &file.bytes).map_err(|error| failed(&path, error))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::choices::Chosen;

    /// A run in which all passed, with this asked of a subject that offers these commands.
    fn certified(options: &CertifyOptions, commands: &[&str]) -> Report {
        let hello = Hello {
            subject: "acme".into(),
            generations: vec![Generation::V1_4, Generation::V2],
            commands: commands.iter().map(|name| (*name).to_string()).collect(),
            commands_b: None,
            choices: Chosen::default(),
            tiers: vec![Tier::A],
        };
        let mut report = Report::new(Asked::from(options), &Ok(hello));
        report.end(Outcome::Certified, None);
        report
    }

    #[test]
    fn all_generations_that_a_subject_speaks_are_the_whole() {
        for generations in [vec![], vec![Generation::V1_4, Generation::V2]] {
            let report = certified(&CertifyOptions { generations, ..CertifyOptions::default() }, &LEAST);
            assert!(report.is_whole() && report.lacks().is_empty(), "{:?}", report.lacks());
            assert_eq!(report.verdict(), "certified");
        }
    }

    #[test]
    fn a_part_is_called_so_everywhere_with_the_reason() {
        let all = CertifyOptions::default();
        let one = CertifyOptions { generations: vec![Generation::V1_4], ..CertifyOptions::default() };
        for (options, commands, why) in [(&one, &LEAST[..], "--generation 1.4"), (&all, &LEAST[1..], LEAST[0])] {
            let report = certified(options, commands);
            assert_eq!(report.verdict(), "passed in part");
            assert!(!report.is_whole() && report.lacks().iter().any(|line| line.contains(why)), "{:?}", report.lacks());
            let colour = |report: &Report| badge::text(report).contains("#1a7f37");
            assert!(colour(&certified(&all, &LEAST)) && !colour(&report), "a part with the colour of the whole");
        }
    }
}
