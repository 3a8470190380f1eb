//! What failed: the transcript, message by message, beside the requirement's words.

use maud::{Markup, html};
use segue_proto::Generation;

use super::Report;
use super::prose::prose;
use crate::lab::{By, Line};
use crate::report::clauses;
use crate::report::fields::{Value, fields};
use crate::run::Reason;
use crate::spec;
use crate::verdict::Verdict;

/// A failure: one of a case at one or more generations, or one of a pair.
struct Failure<'a> {
    name: String,
    /// What kind of failure it is.
    word: &'static str,
    clauses: Vec<String>,
    generations: Vec<Generation>,
    reason: &'a Reason,
    /// The command that shows it again.
    again: String,
}

/// The section; nothing if nothing failed.
pub(super) fn section(report: &Report) -> Markup {
    let failures = failures(report);
    let (shown, brief) = failures.split_at(failures.len().min(SHOWN));
    html! {
        @if !failures.is_empty() {
            section #failures {
                h2 { "What failed" }
                p { "Each failure is told with the requirement that it breaks, what was expected and what came, and the messages up to there. The last lines are the ones that count." }
                @for failure in shown { (whole(failure)) }
                @if !brief.is_empty() {
                    h3 { "And " (brief.len()) " more" }
                    p { "Their transcripts are in " code { "report.json" } "." }
                    ul.plain { @for failure in brief { (line(failure)) } }
                }
            }
        }
    }
}

fn failures(report: &Report) -> Vec<Failure<'_>> {
    let mut out: Vec<Failure<'_>> = Vec::new();
    for result in &report.cases {
        let word = match result.verdict {
            Verdict::Fail => "failed",
            Verdict::Inconclusive => "inconclusive",
            Verdict::Pass | Verdict::Unsupported => continue,
        };
        let Some(reason) = &result.reason else { continue };
        let alike = |it: &&mut Failure<'_>| {
            it.name == result.case && it.reason.expected == reason.expected && it.reason.came == reason.came
        };
        if let Some(failure) = out.iter_mut().find(alike) {
            failure.generations.push(result.generation);
            continue;
        }
        let clauses = clauses(result.case).iter().map(|id| (*id).to_string()).collect();
        let again = match &result.replay {
            Some(token) => format!("--replay {token}"),
            None => format!("--case '{}' --generation {} --seed {}", result.case, result.generation, report.asked.seed),
        };
        let (name, generations) = (result.case.to_string(), vec![result.generation]);
        out.push(Failure { name, word, clauses, generations, reason, again });
    }
    for found in &report.pairs {
        let Some((seed, reason)) = &found.fault else { continue };
        let name = found.cell.name();
        let again = format!("--case '{name}' --seed {seed}");
        let (clauses, generations) = (vec![found.cell.clause()], Vec::new());
        out.push(Failure { name, word: "failed", clauses, generations, reason, again });
    }
    out
}

/// The place of a failure on the page.
pub(super) fn anchor(name: &str) -> String {
    format!("f-{}", name.replace('/', "-"))
}

fn whole(failure: &Failure<'_>) -> Markup {
    let names: Vec<&str> = failure.generations.iter().map(|generation| generation.name()).collect();
    html! {
        article.failure #(anchor(&failure.name)) {
            h3 { code { (failure.name) } span.mark.bad { (failure.word) } }
            @if !names.is_empty() { p.note { "At generation " (names.join(", ")) "." } }
            div.columns {
                div.story {
                    dl.verdict {
                        div { dt { "expected" } dd { (failure.reason.expected) } }
                        div { dt { "came" } dd.bad { (failure.reason.came) } }
                    }
                    (transcript(&failure.reason.lines))
                    p.note { "Again, alone: " code { "segue certify --adapter … " (failure.again) } }
                }
                aside {
                    @for id in &failure.clauses {
                        @if let Some(requirement) = spec::find(id) {
                            blockquote {
                                p.head { a href=(format!("#{id}")) { code.id { (id) } } " " small { (requirement.chapter) } }
                                p { (prose(requirement.text)) }
                            }
                        }
                    }
                }
            }
        }
    }
}

fn line(failure: &Failure<'_>) -> Markup {
    let names: Vec<&str> = failure.generations.iter().map(|generation| generation.name()).collect();
    html! {
        li {
            code { (failure.name) } @if !names.is_empty() { " at " (names.join(", ")) }
            ", " (failure.clauses.join(", ")) ": expected " (failure.reason.expected) "; came " b { (failure.reason.came) }
        }
    }
}

fn transcript(lines: &[Line]) -> Markup {
    html! {
        @if lines.is_empty() {
            p.note { "There is no transcript: nothing was said." }
        } @else {
            ol.transcript {
                @for line in lines {
                    li.(class(line.by)) {
                        span.time { (line.time()) }
                        span.who { (line.by.name()) }
                        @match &line.message {
                            Some(message) => {
                                details {
                                    summary { (line.text) }
                                    (table(&fields(message)))
                                }
                            }
                            None => { span.what { (line.text) } }
                        }
                    }
                }
            }
        }
    }
}

const fn class(by: By) -> &'static str {
    match by {
        By::Subject => "subject",
        By::Peer => "peer",
        By::Event | By::Application => "application",
        By::Bench => "bench",
    }
}

fn table(fields: &[(&'static str, Value)]) -> Markup {
    html! {
        table.fields {
            @for (name, value) in fields {
                tr { th scope="row" { (name) } td { (shown(value)) } }
            }
        }
    }
}

fn shown(value: &Value) -> Markup {
    html! {
        @match value {
            Value::Text(text) => { (text) }
            Value::Id(digits) if digits.bytes().all(|digit| digit == b'0') => { span.dim { "zero" } }
            // Whole, so that it can be searched for, compared and copied; lines break anywhere in it.
            Value::Id(digits) => { code { (digits) } }
            Value::Bytes(bytes) => {
                (bytes.len()) " bytes"
                @if !bytes.is_empty() { " " code { (hex::encode(&bytes[..bytes.len().min(WHOLE)])) @if bytes.len() > WHOLE { "…" } } }
            }
            Value::List(items) if items.is_empty() => { span.dim { "none" } }
            Value::List(items) if items.len() == 1 => { (shown(&items[0])) }
            Value::List(items) => { ol.items { @for item in items { li { (shown(item)) } } } }
            Value::Fields(fields) => { (table(fields)) }
        }
    }
}

/// Bytes of any length are shown up to here. From: a hash or a signature in them is whole.
const WHOLE: usize = 64;

/// How many failures are told whole: a subject that does nothing right would make a page that no browser opens.
const SHOWN: usize = 60;
