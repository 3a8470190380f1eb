//! `junit.xml`: the report for build servers. A suite is a generation, and one is the pairs.

use quick_junit::{NonSuccessKind, Report as Junit, TestCase, TestCaseStatus, TestSuite};

use super::Report;
use crate::pairs::Found;
use crate::run::{self, Reason};
use crate::verdict::Verdict;

/// The report as text.
pub(super) fn text(report: &Report) -> String {
    let name = report.hello.as_ref().map_or("no subject", |hello| hello.subject.as_str());
    let mut junit = Junit::new(format!("segue certify: {name}"));
    for generation in report.generations() {
        let mut suite = TestSuite::new(format!("generation {generation}"));
        let results = report.cases.iter().filter(|result| result.generation == generation);
        suite.add_test_cases(results.map(case));
        junit.add_test_suite(suite);
    }
    if !report.pairs.is_empty() {
        let mut suite = TestSuite::new("pairs");
        suite.add_test_cases(report.pairs.iter().map(pair));
        junit.add_test_suite(suite);
    }
    let errors = report.panics.iter().chain(&report.why);
    let errors: Vec<TestCase> = errors.map(|words| failed("run", NonSuccessKind::Error, words, words, "")).collect();
    if !errors.is_empty() {
        let mut suite = TestSuite::new("the run itself");
        suite.add_test_cases(errors);
        junit.add_test_suite(suite);
    }
    plain(&junit.to_string().unwrap_or_default())
}

/// Jenkins' schema knows `skipped` of a suite, and not of all suites together.
fn plain(text: &str) -> String {
    let at = text.find("<testsuites").unwrap_or_default();
    let (before, rest) = text.split_at(at);
    let (tag, rest) = rest.split_at(rest.find('>').unwrap_or_default());
    let all = tag.split_once(" skipped=\"").and_then(|(left, right)| Some((left, right.split_once('"')?.1)));
    all.map_or_else(|| text.to_owned(), |(left, right)| [before, left, right, rest].concat())
}

fn case(result: &run::Result) -> TestCase {
    let words = result.reason.as_ref();
    let clauses = super::clauses(result.case).join(", ");
    let kind = match (result.verdict, words) {
        (Verdict::Fail, Some(reason)) => return reasoned(result.case, NonSuccessKind::Failure, reason, &clauses),
        (Verdict::Inconclusive, Some(reason)) => return reasoned(result.case, NonSuccessKind::Error, reason, &clauses),
        (Verdict::Unsupported, Some(reason)) => {
            let mut skipped = TestCaseStatus::skipped();
            skipped.set_message(format!("needs {}: {}", reason.expected, reason.came));
            skipped
        }
        _ => TestCaseStatus::success(),
    };
    let mut case = TestCase::new(result.case, kind);
    case.set_classname(class(result.case));
    case
}

fn pair(found: &Found) -> TestCase {
    let name = found.cell.name();
    if let Some((_, reason)) = &found.fault {
        return reasoned(&name, NonSuccessKind::Failure, reason, &found.cell.clause());
    }
    let mut case = TestCase::new(name, TestCaseStatus::success());
    case.set_classname("pairs");
    case
}

fn reasoned(name: &str, kind: NonSuccessKind, reason: &Reason, clauses: &str) -> TestCase {
    let message = format!("expected {}; came {}", reason.expected, reason.came);
    failed(name, kind, &message, &reason.text().join("\n"), clauses)
}

fn failed(name: &str, kind: NonSuccessKind, message: &str, text: &str, clauses: &str) -> TestCase {
    let mut status = TestCaseStatus::non_success(kind);
    status.set_message(message).set_type(clauses).set_description(text);
    let mut case = TestCase::new(name, status);
    case.set_classname(class(name));
    case
}

/// What stands before the last part of a case's name.
fn class(name: &str) -> &str {
    name.rsplit_once('/').map_or("segue", |(class, _)| class)
}
