//! The requirements of the specification, as its chapters stated them when the suite was built.

use std::collections::{BTreeMap, BTreeSet};

/// A chapter.
#[derive(Clone, Copy, Debug)]
pub struct Chapter {
    /// Its title, with its number.
    pub title: &'static str,
    text: &'static str,
}

/// A requirement: one paragraph that opens with its id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Requirement {
    /// Its permanent id.
    pub id: &'static str,
    /// The paragraph, without the id.
    pub text: &'static str,
    /// The title of its chapter.
    pub chapter: &'static str,
}

impl Requirement {
    /// Whether it binds without an exception.
    pub fn is_must(&self) -> bool {
        let prose = self.text.split('`').step_by(2);
        let mut words = prose.flat_map(|text| text.split(|c: char| !c.is_alphanumeric()));
        words.any(|word| matches!(word, "MUST" | "SHALL" | "REQUIRED"))
    }
}

impl Chapter {
    /// Every chapter that states requirements, in order.
    pub fn all() -> Vec<Chapter> {
        let read = |text: &'static str| {
            let title = text.lines().next().and_then(|line| line.strip_prefix("# ")).unwrap_or_default();
            Chapter { title, text }
        };
        TEXTS.into_iter().map(read).collect()
    }

    /// Its requirements, in its order.
    pub fn requirements(&self) -> Vec<Requirement> {
        let read = |paragraph: &'static str| {
            let (id, text) = paragraph.trim().strip_prefix("**")?.split_once(".**")?;
            is_id(id).then_some(Requirement { id, text: text.trim(), chapter: self.title })
        };
        self.text.split("\n\n").filter_map(read).collect()
    }
}

/// Every requirement, chapter by chapter.
pub fn requirements() -> Vec<Requirement> {
    Chapter::all().iter().flat_map(Chapter::requirements).collect()
}

/// The ids of all requirements.
pub fn ids() -> BTreeSet<String> {
    requirements().iter().map(|requirement| requirement.id.to_string()).collect()
}

/// The requirement of this id.
pub fn find(id: &str) -> Option<Requirement> {
    requirements().into_iter().find(|requirement| requirement.id == id)
}

/// The requirements that no case of any tier observes, with the reason.
pub fn exclusions() -> BTreeMap<String, String> {
    let rows = EXCLUSIONS.lines().filter_map(|line| {
        let mut cells = line.trim().strip_prefix('|')?.split('|').map(str::trim);
        let (id, reason) = (cells.next()?, cells.next()?);
        is_id(id).then(|| (id.to_string(), reason.to_string()))
    });
    rows.collect()
}

/// The BLAKE3 hash of the requirements, ids and words: what a certificate means by 'the spec'.
pub fn hash() -> blake3::Hash {
    let mut hasher = blake3::Hasher::new();
    for requirement in requirements() {
        for part in [requirement.id, "\n", requirement.text, "\n\n"] {
            hasher.update(part.as_bytes());
        }
    }
    hasher.finalize()
}

fn is_id(id: &str) -> bool {
    id.starts_with(|c: char| c.is_ascii_uppercase())
        && id.contains('-')
        && id.chars().all(|c| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '-')
}

const TEXTS: [&str; 13] = [
    include_str!("../../spec/02-wire.md"),
    include_str!("../../spec/03-link.md"),
    include_str!("../../spec/04-account.md"),
    include_str!("../../spec/05-data.md"),
    include_str!("../../spec/06-sync.md"),
    include_str!("../../spec/07-handoff.md"),
    include_str!("../../spec/08-transfer.md"),
    include_str!("../../spec/09-service.md"),
    include_str!("../../spec/10-generations.md"),
    include_str!("../../spec/11-limits.md"),
    include_str!("../../spec/12-errors.md"),
    include_str!("../../spec/13-transport.md"),
    include_str!("../../spec/14-security.md"),
];
const EXCLUSIONS: &str = include_str!("../../spec/exclusions.md");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_line_that_opens_with_an_id_is_a_requirement_of_its_own() {
        let lines = TEXTS.iter().flat_map(|text| text.lines());
        let opened = lines.filter_map(|line| line.strip_prefix("**")?.split_once(".** ").map(|(id, _)| id));
        let opened: Vec<&str> = opened.filter(|id| is_id(id)).collect();
        let stated: Vec<&str> = requirements().iter().map(|requirement| requirement.id).collect();
        assert_eq!(opened, stated);
        assert!(stated.len() > 200, "{}", stated.len());
    }

    #[test]
    fn a_requirement_has_its_words_and_its_chapter() {
        let found = find("LINK-AUTH-4").unwrap_or(requirements()[0]);
        assert_eq!((found.id, found.chapter), ("LINK-AUTH-4", "3. Link"));
        assert!(found.text.starts_with("An initiator that dialled") && found.is_must(), "{}", found.text);
    }
}
