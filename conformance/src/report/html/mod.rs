//! `report.html`: one page that reads without explanation, without scripts, and without anything from elsewhere.
//!
//! Whatever comes from the subject goes through `maud`, which escapes it.

mod clauses;
mod failures;
mod matrix;
mod prose;

use maud::{DOCTYPE, Markup, PreEscaped, html};
use segue_proto::Generation;

use super::{Report, kills};
use crate::attach::{Hello, Tier};
use crate::cases;
use crate::certify::Outcome;
use crate::mutants;
use crate::spec;
use crate::verdict::Verdict;

/// The page as text.
pub(super) fn page(report: &Report) -> String {
    let name = report.hello.as_ref().map_or("no subject", |hello| hello.subject.as_str());
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { (name) ": " (report.verdict()) }
                style { (PreEscaped(STYLE)) }
            }
            body {
                (header(report, name))
                main {
                    (failures::section(report))
                    (matrix::section(report))
                    (clauses::section(report))
                    (kill_matrix())
                    (exemptions(report))
                    (unsupported(report))
                    (about(report))
                }
            }
        }
    };
    page.into_string() + "\n"
}

/// What the suite itself is worth: the kill matrix as it was recorded last.
fn kill_matrix() -> Markup {
    let rows = kills::recorded();
    let killed = rows.iter().filter(|row| row.intended).count();
    html! {
        @if !rows.is_empty() {
            section #kills {
                h2 { "Kill matrix" }
                p {
                    "What a pass is worth: " (killed) " of " (rows.len()) " broken implementations are noticed by the case meant for them ("
                    (mutants::TABLE.len()) " stand in the bank). One row a broken implementation, one column a case, both in the order of the suite. Dark: the case meant for it. Light: others that notice it too."
                }
                (kills::picture(&rows, &cases::all()))
            }
        }
    }
}

fn header(report: &Report, name: &str) -> Markup {
    let (good, bad) = (passed(report), failed(report));
    let unsupported = verdicts(report, Verdict::Unsupported);
    let coverage = report.coverage();
    let tone = match (report.outcome, report.is_whole()) {
        (Outcome::Certified, true) => "good",
        (Outcome::Certified, false) => "part",
        _ => "bad",
    };
    html! {
        header {
            p.kicker { "Segue conformance report" }
            h1 { (name) }
            p.verdict.(tone) { (capital(report.verdict())) }
            p.why { (why(report, good, bad)) }
            dl.tiles {
                div { dt { "passed" } dd { (good) } }
                div { dt { "failed" } dd.bad[bad > 0] { (bad) } }
                div { dt { "not offered" } dd { (unsupported) } }
                div { dt { "requirements tested" } dd { (coverage.tested.len()) " of " (spec::ids().len()) } }
            }
        }
    }
}

fn why(report: &Report, good: usize, bad: usize) -> Markup {
    let names = list(&report.generations());
    html! {
        @if let Some(why) = &report.why {
            "The subject can't be examined: " (why) "."
        } @else if report.outcome == Outcome::Suite {
            "The suite itself failed, so there is no verdict: " (report.panics.join("; ")) "."
        } @else if bad == 0 {
            "Everything that was run passed: " (good) " checks of generations " (names) ", on both sides of every pair. "
            @if !report.is_whole() { "Only a part of the suite was asked for, so this is no certificate of the whole." }
        } @else {
            (bad) " of " (good + bad) " checks of generations " (names) " failed. "
            a href="#failures" { "What failed, and which requirement it breaks" } "."
        }
    }
}

fn unsupported(report: &Report) -> Markup {
    let left: Vec<_> = report.cases.iter().filter(|result| result.verdict == Verdict::Unsupported).collect();
    html! {
        @if !left.is_empty() {
            section {
                h2 { "Not offered by the subject" }
                p { "The subject's adapter declares that it doesn't offer what these cases need. They count neither for nor against it." }
                details {
                    summary { (left.len()) " runs of cases" }
                    ul.plain {
                        @for result in left {
                            li {
                                code { (result.case) } " at " (result.generation)
                                @if let Some(reason) = &result.reason { ", needs " (reason.expected) }
                            }
                        }
                    }
                }
            }
        }
    }
}

/// The failures that the vendor expects, each with its reason.
fn exemptions(report: &Report) -> Markup {
    html! {
        @if !report.exemptions.is_empty() {
            section {
                h2 { "Exempt" }
                p { "Failures that the vendor knows of and expects. One that doesn't come as it is described here fails the run." }
                ul.plain {
                    @for entry in &report.exemptions {
                        li { code { (entry.case) } " " (entry.verdict.name()) ", " (entry.came) ": " (entry.reason) }
                    }
                }
                @for wrong in report.wrong() { p.verdict.bad { (wrong) } }
            }
        }
    }
}

/// A tier in words.
fn tiers(tier: Tier) -> &'static str {
    match tier {
        Tier::A => "tier A: bytes, clock, network, disk and randomness are the suite's",
        Tier::B => "tier B: on real sockets, by the wall clock; what isn't heard in time is inconclusive",
    }
}

fn about(report: &Report) -> Markup {
    let asked = &report.asked;
    html! {
        section {
            h2 { "The run" }
            dl.facts {
                div { dt { "Suite" } dd { "segue-conformance " (env!("CARGO_PKG_VERSION")) @for tier in report.tiers() { ", " (tiers(tier)) } } }
                div { dt { "Specification" } dd { "segue/1, " (spec::ids().len()) " requirements, BLAKE3 " code { (spec::hash().to_hex().as_str()) } } }
                div { dt { "Adapter" } dd { code { (asked.adapter.as_deref().unwrap_or("segue adapter (the reference's own)")) } } }
                @if let Some(peer) = &asked.peer { div { dt { "Other device of pairs" } dd { code { (peer) } } } }
                div { dt { "Seed" } dd { (asked.seed) ": the same seed gives the same bytes of this page" } }
                div { dt { "Permutations" } dd { (report.permutations()) ", " (asked.sequences) " random sequences of each property among them" } }
                @if let Some(version) = &asked.requirements { div { dt { "Frozen requirements" } dd { (version) } } }
                @if let Some(case) = &asked.case { div { dt { "Only cases" } dd { code { (case) } } } }
                @if let Ok(hello) = &report.hello { (subject(hello)) }
            }
            p {
                code { "certificate.json" } " beside this page binds these results to the transcripts of all requests and answers; "
                code { "segue verify certificate.json" } " derives them again, offline."
            }
        }
    }
}

fn subject(hello: &Hello) -> Markup {
    html! {
        div { dt { "Declared generations" } dd { (list(&hello.generations)) } }
        div { dt { "Declared commands" } dd { (hello.commands.join(", ")) } }
    }
}

fn list(generations: &[Generation]) -> String {
    let names: Vec<&str> = generations.iter().map(|generation| generation.name()).collect();
    match names.split_last() {
        Some((last, rest)) if !rest.is_empty() => format!("{} and {last}", rest.join(", ")),
        _ => names.concat(),
    }
}

fn verdicts(report: &Report, verdict: Verdict) -> usize {
    report.cases.iter().filter(|result| result.verdict == verdict).count()
}

fn passed(report: &Report) -> usize {
    verdicts(report, Verdict::Pass) + report.pairs.iter().filter(|found| found.fault.is_none()).count()
}

fn failed(report: &Report) -> usize {
    let pairs = report.pairs.iter().filter(|found| found.fault.is_some()).count();
    verdicts(report, Verdict::Fail) + verdicts(report, Verdict::Inconclusive) + pairs
}

fn capital(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map(|first| first.to_uppercase().chain(chars).collect()).unwrap_or_default()
}

pub(super) const STYLE: &str = include_str!("style.css");
