//! The tables at a glance: chapters by generations, and pairs by source and target.

use std::collections::BTreeMap;

use maud::{Markup, html};
use segue_proto::Generation;

use super::Report;
use crate::pairs::{Found, Way};
use crate::verdict::Verdict;

/// Both tables.
pub(super) fn section(report: &Report) -> Markup {
    html! {
        @if !report.cases.is_empty() {
            section {
                h2 { "Cases by chapter and generation" }
                p { "How many of the cases passed, of those that the subject offers. A case examines one device of the subject with peers that the suite scripts." }
                (cases(report))
            }
        }
        @if !report.pairs.is_empty() {
            section {
                h2 { "Pairs" }
                p { "Two devices of the named generations hand a session over, in calm weather and with faults of network and disk. Each cell says at which generation a push and a pull work, and whether a link is refused where one side's floor lies above it." }
                @if let Some(why) = report.peer_lacks() { p { (why) } }
                (pairs(report))
            }
        }
    }
}

/// Passed, failed and not offered.
#[derive(Default)]
struct Counts {
    good: usize,
    bad: usize,
    left: usize,
}

fn cases(report: &Report) -> Markup {
    let generations = report.generations();
    let mut rows: Vec<(&str, BTreeMap<Generation, Counts>)> = Vec::new();
    for result in &report.cases {
        let chapter = result.case.split('/').next().unwrap_or_default();
        let at = rows.iter().position(|row| row.0 == chapter).unwrap_or_else(|| {
            rows.push((chapter, BTreeMap::new()));
            rows.len() - 1
        });
        let counts = rows[at].1.entry(result.generation).or_default();
        match result.verdict {
            Verdict::Pass => counts.good += 1,
            Verdict::Fail | Verdict::Inconclusive => counts.bad += 1,
            Verdict::Unsupported => counts.left += 1,
        }
    }
    html! {
        div.scroll {
            table.grid {
                thead { tr { th scope="col" { "chapter" } @for generation in &generations { th scope="col" { (generation) } } } }
                tbody {
                    @for (chapter, counts) in &rows {
                        tr {
                            th scope="row" { (chapter) }
                            @for generation in &generations { (cell(counts.get(generation))) }
                        }
                    }
                }
            }
        }
    }
}

fn cell(counts: Option<&Counts>) -> Markup {
    let none = Counts::default();
    let Counts { good, bad, left } = counts.unwrap_or(&none);
    html! {
        @if good + bad == 0 {
            td.none { @if *left > 0 { "not offered" } @else { "–" } }
        } @else if *bad > 0 {
            td.bad { "✗ " (good) "/" (good + bad) @if *left > 0 { small { (left) " not offered" } } }
        } @else {
            td.good { "✓ " (good) @if *left > 0 { small { (left) " not offered" } } }
        }
    }
}

fn pairs(report: &Report) -> Markup {
    let find = |source, target, way| {
        let mut cells = report.pairs.iter();
        cells.find(|found| found.cell.source == source && found.cell.target == target && found.cell.way == way)
    };
    let known = |source: &Generation| report.pairs.iter().any(|found| found.cell.source == *source);
    html! {
        div.scroll {
            table.grid.pairs {
                thead {
                    tr { th scope="col" { "source ↓ target →" } @for target in Generation::ALL { th scope="col" { (target) } } }
                }
                tbody {
                    @for source in Generation::ALL.into_iter().filter(known) {
                        tr {
                            th scope="row" { (source) }
                            @for target in Generation::ALL {
                                @let found: Vec<&Found> = Way::ALL.into_iter().filter_map(|way| find(source, target, way)).collect();
                                @let bad = found.iter().any(|found| found.fault.is_some());
                                td.bad[bad].good[!bad && !found.is_empty()].none[found.is_empty()] {
                                    @for found in &found { (pair(found)) }
                                    @if found.is_empty() { "–" }
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}

fn pair(found: &Found) -> Markup {
    let (name, link) = (found.cell.way.name(), format!("#{}", super::failures::anchor(&found.cell.name())));
    html! {
        @match (&found.fault, found.cell.way) {
            (Some(_), _) => { a href=(link) { "✗ " (name) " fails" } }
            (None, Way::Floor) => { span { "✓ floor refuses" } }
            (None, _) => { span { "✓ " (name) " at " (found.cell.source.min(found.cell.target)) } }
        }
    }
}
