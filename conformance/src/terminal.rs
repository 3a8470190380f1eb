//! What the user sees: a progress bar, and then tables in plain text.

use std::io::{IsTerminal, Write};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use segue_proto::Generation;

use crate::cases;
use crate::certify::Outcome;
use crate::exemptions;
use crate::pairs::Way;
use crate::properties::Property;
use crate::report::Report;
use crate::run::Reason;
use crate::verdict::Verdict;

/// The terminal, or whatever standard output leads to.
pub struct Terminal {
    bar: ProgressBar,
}

impl Default for Terminal {
    fn default() -> Self {
        Terminal::new()
    }
}

impl Terminal {
    /// Shows a bar only if somebody watches.
    pub fn new() -> Terminal {
        let bar = ProgressBar::hidden();
        if std::io::stderr().is_terminal() {
            bar.set_draw_target(ProgressDrawTarget::stderr_with_hz(10));
        }
        if let Ok(style) = ProgressStyle::with_template("{bar:40} {pos}/{len} {msg}") {
            bar.set_style(style);
        }
        Terminal { bar }
    }

    /// Prints a line. If nobody reads any more, the work goes on without.
    pub fn line(&mut self, text: &str) {
        let _ = writeln!(std::io::stdout(), "{text}");
    }

    /// A run of so many pieces begins.
    pub fn begin(&mut self, subject: &str, pieces: usize) {
        self.line(&format!("subject: {subject}"));
        self.bar.set_length(pieces as u64);
    }

    /// A piece of the run has ended.
    pub fn step(&self) {
        self.bar.inc(1);
    }

    /// The run has ended.
    pub fn finish(&self) {
        self.bar.finish_and_clear();
    }

    /// Shows what was found.
    pub fn show(&mut self, report: &Report, outcome: Outcome) {
        self.generations(report);
        self.pairs(report);
        self.failures(report);
        self.coverage(report);
        let lacks = report.lacks();
        match outcome {
            Outcome::Certified if lacks.is_empty() => self.line("certified: all of tier A passed"),
            Outcome::Certified => {
                self.line("passed in part: everything that was run passed, and less was run than there is");
                lacks.iter().for_each(|why| self.line(&format!("  {why}")));
            }
            Outcome::Failed => self.line("NOT certified"),
            Outcome::Usage | Outcome::Suite => self.line("the suite itself is at fault: no verdict"),
        }
    }

    /// Names the pieces that took longest by the wall clock, and says what all took.
    pub fn times(&mut self, times: &[(String, Duration)]) {
        let mut slowest: Vec<&(String, Duration)> = times.iter().collect();
        slowest.sort_by_key(|(_, time)| std::cmp::Reverse(*time));
        let all: Duration = times.iter().map(|(_, time)| *time).sum();
        self.line("");
        self.line(&format!("{} pieces took {:.1} s together; the slowest:", times.len(), all.as_secs_f64()));
        for (name, time) in slowest.into_iter().take(SLOWEST) {
            self.line(&format!("{:>9.1} ms  {name}", time.as_secs_f64() * 1e3));
        }
    }

    fn generations(&mut self, report: &Report) {
        if report.cases.is_empty() {
            return;
        }
        let heads = ["generation", "pass", "fail", "inconclusive", "unsupported"];
        self.line("");
        self.line(&format!("{:<12}{:>8}{:>8}{:>14}{:>13}", heads[0], heads[1], heads[2], heads[3], heads[4]));
        for generation in Generation::ALL {
            let count = |verdict| report.count(generation, verdict);
            let counts = [Verdict::Pass, Verdict::Fail, Verdict::Inconclusive, Verdict::Unsupported].map(count);
            if counts.iter().sum::<usize>() > 0 {
                let name = generation.name();
                self.line(&format!("{name:<12}{:>8}{:>8}{:>14}{:>13}", counts[0], counts[1], counts[2], counts[3]));
            }
        }
    }

    /// One row a source, one column a target: at which generation push and pull work, and whether a floor refuses.
    fn pairs(&mut self, report: &Report) {
        if report.pairs.is_empty() {
            return;
        }
        self.line("");
        self.line("pairs, source down, target across: the generation at which push and pull work, 'floor' where a floor refuses");
        let heads: String = Generation::ALL.iter().map(|generation| format!("{:>20}", generation.name())).collect();
        self.line(&format!("{:<6}{heads}", ""));
        for source in Generation::ALL {
            let mut row = format!("{:<6}", source.name());
            for target in Generation::ALL {
                let of = |way| {
                    let mut cells = report.pairs.iter();
                    let found =
                        cells.find(|it| it.cell.source == source && it.cell.target == target && it.cell.way == way);
                    found.map(|found| match (&found.fault, way) {
                        (Some(_), _) => "FAIL".to_string(),
                        (None, Way::Floor) => "floor".to_string(),
                        (None, _) => source.min(target).name().to_string(),
                    })
                };
                let cell: Vec<String> = Way::ALL.into_iter().filter_map(of).collect();
                row.push_str(&format!("{:>20}", cell.join(" ")));
            }
            self.line(row.trim_end());
        }
    }

    fn failures(&mut self, report: &Report) {
        for (at, result) in report.cases.iter().enumerate() {
            if let Some(entry) = report.exemption(at) {
                self.line(&format!("exempt: {} at {}: {}", result.case, result.generation, entry.reason));
                continue;
            }
            if matches!(result.verdict, Verdict::Pass) {
                continue;
            }
            let case = cases::find(result.case).map(|case| case.clauses);
            let clauses = case.or(Property::find(result.case).map(|property| property.clauses));
            let clauses = clauses.map(|clauses| clauses.join(", ")).unwrap_or_default();
            self.line("");
            self.line(&format!(
                "{}: {} (generation {}; {clauses})",
                result.verdict.name(),
                result.case,
                result.generation
            ));
            if let Some(reason) = &result.reason {
                self.reason(reason);
            }
            if let Some(token) = &result.replay {
                self.line(&format!("  again:    segue certify --replay {token}"));
            }
        }
        for (at, found) in report.pairs.iter().enumerate() {
            if let Some(entry) = report.exemption(report.cases.len() + at) {
                self.line(&format!("exempt: {}: {}", found.cell.name(), entry.reason));
            } else if let Some((seed, reason)) = &found.fault {
                self.line("");
                self.line(&format!(
                    "fail: {}; again with --case '{}' --seed {seed}",
                    found.cell.name(),
                    found.cell.name()
                ));
                self.reason(reason);
            }
        }
        for why in report.wrong() {
            self.line(&format!("wrong: {why}"));
        }
        for words in &report.panics {
            self.line(&format!("the suite failed: {words}"));
        }
        self.line("");
    }

    fn reason(&mut self, reason: &Reason) {
        self.line(&format!("  expected: {}", reason.expected));
        self.line(&format!("  came:     {} [{}]", reason.came, exemptions::class(reason)));
        let shown = reason.lines.len().saturating_sub(SHOWN);
        for line in &reason.lines[shown..] {
            self.line(&format!("    {line}"));
        }
    }

    fn coverage(&mut self, report: &Report) {
        let coverage = report.coverage();
        let (tested, excluded, untested) = (coverage.tested.len(), coverage.excluded.len(), coverage.untested.len());
        self.line(&format!("permutations: {}", report.permutations()));
        self.line(&format!("requirements: {tested} tested, {excluded} excluded with a reason, {untested} untested"));
    }
}

/// How many of the slowest pieces are named.
const SLOWEST: usize = 20;
/// The lines of a transcript on the terminal; the report has more.
const SHOWN: usize = 12;
