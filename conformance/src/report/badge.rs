//! `badge.svg`: the outcome in a picture of one line.

use maud::html;

use super::Report;
use crate::certify::Outcome;

/// The badge as text.
pub(super) fn text(report: &Report) -> String {
    let names: Vec<&str> = report.generations().iter().map(|generation| generation.name()).collect();
    let label = if names.is_empty() { "segue".to_string() } else { format!("segue {}", names.join(" · ")) };
    let verdict = report.verdict();
    let colour = match (report.outcome, report.is_whole()) {
        (Outcome::Certified, true) => "#1a7f37",
        (Outcome::Certified, false) => "#9a6700",
        _ => "#b42318",
    };
    let (left, right) = (width(&label), width(verdict));
    let all = left + right;
    let svg = html! {
        svg xmlns="http://www.w3.org/2000/svg" width=(all) height="20" role="img" aria-label=(format!("{label}: {verdict}")) {
            title { (label) ": " (verdict) }
            clipPath id="r" { rect width=(all) height="20" rx="4" {} }
            g clip-path="url(#r)" {
                rect width=(left) height="20" fill="#3d4450" {}
                rect x=(left) width=(right) height="20" fill=(colour) {}
            }
            g fill="#fff" text-anchor="middle" font-family="Verdana,DejaVu Sans,sans-serif" font-size="11" {
                text x=(left / 2) y="14" textLength=(left - 12) { (label) }
                text x=(left + right / 2) y="14" textLength=(right - 12) { (verdict) }
            }
        }
    };
    svg.into_string() + "\n"
}

/// The width of a text with its margins, in pixels; `textLength` makes it fit whatever the font.
fn width(text: &str) -> usize {
    text.chars().map(|c| if c == ' ' || c == '.' || c == '·' { 4 } else { 7 }).sum::<usize>() + 12
}
