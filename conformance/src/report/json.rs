//! `report.json`: everything that was found, for programs.

use serde_json::{Value, json};

use super::Report;
use crate::attach::Tier;
use crate::cases::{self, Level};
use crate::exemptions::{self, Exemption};
use crate::pairs::Found;
use crate::properties::Property;
use crate::protocol::VERSION;
use crate::protocol::json::Json;
use crate::run::{self, Reason};

/// The report as text.
pub(super) fn text(report: &Report) -> String {
    let mut text = serde_json::to_string_pretty(&value(report)).unwrap_or_default();
    text.push('\n');
    text
}

fn value(report: &Report) -> Value {
    let coverage = report.coverage();
    let exempt = |at: usize, value: Value| excused(value, report.exemption(at));
    let cases = report.cases.iter().enumerate().map(|(at, found)| exempt(at, case(found)));
    let pairs = report.pairs.iter().enumerate().map(|(at, found)| exempt(report.cases.len() + at, pair(found)));
    json!({
        "suite": env!("CARGO_PKG_VERSION"),
        "protocol": VERSION,
        "tiers": report.tiers().into_iter().map(Tier::name).collect::<Vec<_>>(),
        "seed": report.asked.seed,
        "whole": report.is_whole(),
        "outcome": report.outcome.name(),
        "why": report.why,
        "subject": subject(report),
        "peer": report.peer.as_ref().map(|peer| json!({ "name": peer.subject, "generations": peer.generations.to_json() })),
        "requirements": report.asked.requirements,
        "permutations": report.permutations(),
        "cases": cases.collect::<Vec<_>>(),
        "pairs": pairs.collect::<Vec<_>>(),
        "exemptions": report.exemptions.iter().map(exemptions::to_json).collect::<Vec<_>>(),
        "exemptions_wrong": report.judged.wrong,
        "adapter_wrong": report.adapter,
        "suite_errors": report.panics,
        "clauses": {
            "tested": coverage.tested,
            "excluded": coverage.excluded,
            "untested": coverage.untested,
        },
    })
}

fn subject(report: &Report) -> Value {
    match &report.hello {
        Ok(hello) => json!({
            "name": hello.subject,
            "generations": hello.generations.to_json(),
            "commands": hello.commands,
            "commands_b": hello.commands_b,
            "choices": hello.choices.declared(),
        }),
        Err(why) => json!({ "error": why }),
    }
}

fn case(result: &run::Result) -> Value {
    let mut out = json!({
        "case": result.case,
        "generation": result.generation.name(),
        "verdict": result.verdict.name(),
    });
    if let Some(case) = cases::find(result.case) {
        out["clauses"] = json!(case.clauses);
        out["level"] = case.level.name().into();
        out["part"] = case.part.name().into();
        out["tier"] = case.tier().name().into();
    }
    if let Some(property) = Property::find(result.case) {
        out["clauses"] = json!(property.clauses);
        out["level"] = Level::Must.name().into();
    }
    if let Some(token) = &result.replay {
        out["replay"] = token.as_str().into();
    }
    if let Some(found) = &result.reason {
        out["reason"] = reason(found);
    }
    out
}

fn pair(found: &Found) -> Value {
    let mut out = json!({
        "source": found.cell.source.name(),
        "target": found.cell.target.name(),
        "way": found.cell.way.name(),
        "clause": found.cell.clause(),
        "expected": found.cell.expected(),
        "found": found.says,
        "verdict": if found.fault.is_none() { "pass" } else { "fail" },
    });
    if let Some((seed, why)) = &found.fault {
        out["seed"] = (*seed).into();
        out["reason"] = reason(why);
    }
    out
}

fn reason(reason: &Reason) -> Value {
    let class = exemptions::class(reason);
    json!({ "expected": reason.expected, "came": reason.came, "class": class, "transcript": reason.text() })
}

fn excused(mut result: Value, exemption: Option<&Exemption>) -> Value {
    if let Some(entry) = exemption {
        result["exempt"] = entry.reason.as_str().into();
    }
    result
}
