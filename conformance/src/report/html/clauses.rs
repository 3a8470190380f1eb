//! Every requirement of the spec: tested, excluded with a reason, or untested.

use std::collections::BTreeMap;

use maud::{Markup, html};

use super::Report;
use super::prose::prose;
use crate::attach::Tier;
use crate::cases;
use crate::mutants;
use crate::report::coverage::{Coverage, Standing};
use crate::spec::{Chapter, Requirement};

/// The section.
pub(super) fn section(report: &Report) -> Markup {
    let coverage = report.coverage();
    let standing = report.standing();
    html! {
        section #clauses {
            h2 { "Requirements" }
            p {
                (coverage.tested.len()) " tested, " (coverage.excluded.len()) " excluded with a reason, "
                (coverage.untested.len()) " untested. A requirement that is "
                b { "guarded" }
                " is one that the suite has a broken implementation for, which fails at the case meant for it, so that a pass means something: there are "
                (mutants::TABLE.len()) " of those."
            }
            (table(&coverage))
            @for chapter in Chapter::all() {
                @let requirements = chapter.requirements();
                @if !requirements.is_empty() {
                    details.chapter {
                        summary { (chapter.title) }
                        ul.clauses { @for requirement in requirements { (clause(&requirement, &standing)) } }
                    }
                }
            }
        }
    }
}

fn table(coverage: &Coverage) -> Markup {
    html! {
        div.scroll {
            table.grid.coverage {
                thead {
                    tr { th scope="col" { "chapter" } th scope="col" { "tested" } th scope="col" { "excluded" } th scope="col" { "untested" } th scope="col" { "share tested" } }
                }
                tbody {
                    @for chapter in Chapter::all() {
                        @let all = chapter.requirements();
                        @let tested = all.iter().filter(|it| coverage.tested.contains(it.id)).count();
                        @let excluded = all.iter().filter(|it| coverage.excluded.contains_key(it.id)).count();
                        @let open = all.len() - tested - excluded;
                        @if !all.is_empty() {
                            tr {
                                th scope="row" { (chapter.title) }
                                td { (tested) }
                                td { (excluded) }
                                td.bad[open > 0] { (open) }
                                td { (bar(tested, excluded, all.len())) }
                            }
                        }
                    }
                }
            }
        }
    }
}

/// A bar in a picture of its own, so that it needs no style in the element.
fn bar(tested: usize, excluded: usize, all: usize) -> Markup {
    let (tested, excluded) = (tested * 100 / all.max(1), excluded * 100 / all.max(1));
    html! {
        svg.bar viewBox="0 0 100 8" preserveAspectRatio="none" role="img" aria-label=(format!("{tested} % tested, {excluded} % excluded")) {
            rect.rest width="100" height="8" {}
            rect.tested width=(tested) height="8" {}
            rect.excluded x=(tested) width=(excluded) height="8" {}
        }
    }
}

fn clause(requirement: &Requirement, standing: &BTreeMap<&'static str, Standing>) -> Markup {
    let id = requirement.id;
    let none = Standing::Untested("no case of the suite".into());
    let found = standing.get(id).unwrap_or(&none);
    let guarded = mutants::TABLE.iter().chain(mutants::SOCKETS).any(|mutant| mutant.clause == id);
    let all = [Tier::A, Tier::B].into_iter().flat_map(cases::of);
    let names: Vec<&str> = all.filter(|case| case.clauses.contains(&id)).map(|case| case.name).collect();
    html! {
        li #(id) {
            p.head {
                code.id { (id) }
                @match found {
                    Standing::Passed => { span.mark.good { "tested, passed" } }
                    Standing::Failed => { span.mark.bad { "tested, failed" } }
                    Standing::Excluded(_) => { span.mark.none { "excluded" } }
                    Standing::Untested(_) => { span.mark.part { "untested" } }
                }
                @if guarded { span.mark.guard { "guarded" } }
            }
            p { (prose(requirement.text)) }
            @match found {
                Standing::Excluded(why) => { p.note { "Excluded: " (why) "." } }
                Standing::Untested(why) => { p.note { "Untested: " (why) "." } }
                Standing::Passed | Standing::Failed => {}
            }
            @if !names.is_empty() { p.note { "Cases: " @for (at, name) in names.iter().enumerate() { @if at > 0 { ", " } code { (name) } } } }
        }
    }
}
