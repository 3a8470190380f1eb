//! The kill matrix: which case notices which broken implementation. The suite is judged by it, not a subject.

use std::collections::BTreeSet;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use maud::{DOCTYPE, Markup, PreEscaped, html};
use segue_proto::Generation;
use serde_json::{Value, json};

use super::File;
use super::html::STYLE;
use crate::attach::{Hello, Host, LocalHost};
use crate::cases::{self, Case};
use crate::mutants::{Mutant, TABLE};
use crate::pairs::{Cell, play};
use crate::run::{applies, run};
use crate::verdict::Verdict;

/// What the cases made of a mutant.
pub struct Row {
    /// The mutant.
    pub mutant: Mutant,
    /// Whether the case that is meant for it noticed it.
    pub intended: bool,
    /// All cases that noticed it, in the order of the suite.
    pub by: Vec<&'static str>,
}

/// Whether the case that is meant for a mutant notices it, at some generation.
pub fn kills(mutant: &Mutant) -> bool {
    let Some(clause) = mutant.switch() else { return false };
    if let Some(cell) = Cell::all().into_iter().find(|cell| cell.name() == mutant.case) {
        let hosts = [LocalHost::mutant(clause).shared(), LocalHost::mutant(clause).shared()];
        return play(&hosts, cell, SEED, 0).fault.is_some();
    }
    let mut host = LocalHost::mutant(clause);
    let generations = Generation::ALL.into_iter();
    cases::find(mutant.case).is_some_and(|case| {
        let mut applying = generations.filter(|generation| case.applies(*generation));
        applying.any(|generation| notices(&mut host, &case, generation))
    })
}

/// Plays every case against every mutant, each case at the highest generation that it is for; `done` is told of each
/// mutant that is through.
pub fn matrix(done: &(dyn Fn(usize) + Sync)) -> Vec<Row> {
    let (next, through) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let rows: Mutex<Vec<(usize, Row)>> = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for _ in 0..WORKERS {
            scope.spawn(|| {
                while let at = next.fetch_add(1, Ordering::SeqCst)
                    && let Some(mutant) = TABLE.get(at)
                {
                    let row = row(mutant);
                    if let Ok(mut rows) = rows.lock() {
                        rows.push((at, row));
                    }
                    done(through.fetch_add(1, Ordering::SeqCst) + 1);
                }
            });
        }
    });
    let mut rows = rows.into_inner().unwrap_or_default();
    rows.sort_by_key(|(at, _)| *at);
    rows.into_iter().map(|(_, row)| row).collect()
}

/// The matrix as it was recorded last, as far as this suite still has its mutants and cases.
pub(super) fn recorded() -> Vec<Row> {
    let recorded: Value = serde_json::from_str(RECORDED).unwrap_or_default();
    let all = cases::all();
    let read = |row: &Value| {
        let mutant = *Mutant::find(row["clause"].as_str()?)?;
        let name = |name: &Value| all.iter().find(|case| Some(case.name) == name.as_str()).map(|case| case.name);
        Some(Row {
            mutant,
            intended: row["killed"].as_bool()?,
            by: row["by"].as_array()?.iter().filter_map(name).collect(),
        })
    };
    recorded["mutants"].as_array().into_iter().flatten().filter_map(read).collect()
}

fn row(mutant: &Mutant) -> Row {
    let intended = kills(mutant);
    let mut by = Vec::new();
    if let Some(clause) = mutant.switch() {
        let mut host = LocalHost::mutant(clause);
        for case in cases::all() {
            let highest = Generation::ALL.into_iter().rev().find(|generation| case.applies(*generation));
            let noticed = highest.is_some_and(|generation| notices(&mut host, &case, generation));
            if noticed || intended && case.name == mutant.case {
                by.push(case.name);
            }
        }
    }
    Row { mutant: *mutant, intended, by }
}

fn notices(host: &mut LocalHost, case: &Case, generation: Generation) -> bool {
    let hello: Hello = host.hello().unwrap_or_default();
    applies(case, &hello, generation) && run(host, &hello, case, generation, SEED).verdict == Verdict::Fail
}

/// `kill-matrix.json` and `kill-matrix.html`.
pub fn files(rows: &[Row]) -> Vec<File> {
    let list: Vec<_> = rows
        .iter()
        .map(|row| json!({ "clause": row.mutant.clause, "without": row.mutant.without, "case": row.mutant.case, "killed": row.intended, "by": row.by }))
        .collect();
    let text = serde_json::to_string_pretty(&json!({ "suite": env!("CARGO_PKG_VERSION"), "mutants": list }))
        .unwrap_or_default();
    vec![
        File { name: "kill-matrix.json", bytes: (text + "\n").into_bytes() },
        File { name: "kill-matrix.html", bytes: (page(rows).into_string() + "\n").into_bytes() },
    ]
}

fn page(rows: &[Row]) -> Markup {
    let killed = rows.iter().filter(|row| row.intended).count();
    let useful: BTreeSet<&str> = rows.iter().flat_map(|row| row.by.iter().copied()).collect();
    let cases = cases::all();
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                title { "Kill matrix of the Segue conformance suite" }
                style { (PreEscaped(STYLE)) }
            }
            body {
                header {
                    p.kicker { "Segue conformance suite " (env!("CARGO_PKG_VERSION")) }
                    h1 { "Kill matrix" }
                    p.verdict.good[killed == rows.len()].bad[killed < rows.len()] { (killed) " of " (rows.len()) " mutants are killed by the case meant for them" }
                    p.why { "A mutant is the reference without one requirement. A suite is worth something if it notices each, by the case that is meant to: whatever else notices it is listed beside." }
                    dl.tiles {
                        div { dt { "mutants" } dd { (rows.len()) } }
                        div { dt { "cases" } dd { (cases.len()) } }
                        div { dt { "cases that notice one" } dd { (useful.len()) } }
                    }
                }
                main {
                    section {
                        h2 { "The matrix" }
                        p { "One row a mutant, one column a case, both in the order of the suite. Dark: the case meant for it. Light: others that notice it too." }
                        (picture(rows, &cases))
                    }
                    section {
                        h2 { "Mutants" }
                        div.scroll {
                            table.grid {
                                thead { tr { th scope="col" { "without" } th scope="col" { "case meant for it" } th scope="col" { "noticed by" } } }
                                tbody { @for row in rows { (line(row)) } }
                            }
                        }
                    }
                }
            }
        }
    }
}

fn line(row: &Row) -> Markup {
    html! {
        tr {
            th scope="row" { code { (row.mutant.clause) } }
            td.good[row.intended].bad[!row.intended] { @if row.intended { "✓ " } @else { "✗ " } (row.mutant.case) }
            td {
                @if row.by.len() > 1 {
                    details { summary { (row.by.len()) " cases" } @for name in &row.by { (name) br; } }
                } @else { (row.by.len()) " case" }
            }
        }
    }
}

/// All kills as two paths of unit squares.
pub(super) fn picture(rows: &[Row], cases: &[Case]) -> Markup {
    let (mut meant, mut others) = (String::new(), String::new());
    for (y, row) in rows.iter().enumerate() {
        for (x, case) in cases.iter().enumerate().filter(|(_, case)| row.by.contains(&case.name)) {
            let path = if case.name == row.mutant.case { &mut meant } else { &mut others };
            path.push_str(&format!("M{x} {y}h1v1h-1z"));
        }
    }
    let size = format!("0 0 {} {}", cases.len(), rows.len());
    html! {
        svg.kills viewBox=(size) role="img" aria-label="which case notices which mutant" {
            path.others d=(others) {}
            path.meant d=(meant) {}
        }
    }
}

/// What the example `kill_matrix` wrote.
const RECORDED: &str = include_str!("../../kill-matrix.json");
/// The seed of all runs.
const SEED: u64 = 1;
/// Those who play at a time, as for a run.
const WORKERS: usize = 2;
