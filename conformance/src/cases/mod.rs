//! The cases, chapter by chapter.

mod account;
#[cfg(test)]
mod cells;
mod data;
mod generations;
mod handoff;
mod link;
mod scene;
mod service;
mod sync;
mod transfer;
pub mod transport;
mod wire;

use segue_proto::Generation;

use crate::attach::Tier;
use crate::lab::{Done, Lab};
use transport::Sockets;

/// How binding what a case checks is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// The spec says MUST.
    Must,
    /// The spec says SHOULD.
    Should,
    /// The spec leaves a choice, and the subject is held to the one that it declared.
    Choice,
}

impl Level {
    /// Its word.
    pub const fn name(self) -> &'static str {
        match self {
            Level::Must => "MUST",
            Level::Should => "SHOULD",
            Level::Choice => "DEFINED-CHOICE",
        }
    }
}

/// What the subject is in a case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// One end of a link.
    End,
    /// It hands over.
    Source,
    /// It takes over.
    Target,
}

impl Part {
    /// Its word.
    pub const fn name(self) -> &'static str {
        match self {
            Part::End => "end",
            Part::Source => "source",
            Part::Target => "target",
        }
    }
}

/// What is done in a case.
#[derive(Clone, Copy)]
pub enum Body {
    /// Something that must work.
    Works(Step),
    /// Something that must be refused, and beside it the nearest thing that must work. The twin is run first, on a
    /// subject of its own: a refusal by a subject that refuses everything proves nothing.
    Refused {
        /// What must work.
        twin: Step,
        /// What must be refused.
        bad: Step,
    },
    /// Something on real sockets.
    Loopback(Sockets),
}

/// A step of a case, in a lab of its own.
pub type Step = fn(&mut Lab) -> Done;

/// A case.
#[derive(Clone, Copy)]
pub struct Case {
    /// Its permanent name.
    pub name: &'static str,
    /// The clauses that it checks, the first above all.
    pub clauses: &'static [&'static str],
    /// How binding they are.
    pub level: Level,
    /// What the subject is in it.
    pub part: Part,
    /// The subject's generations for which it is run.
    pub since: Generation,
    /// The last of them.
    pub until: Generation,
    /// The kinds of `do` that it needs.
    pub needs: &'static [&'static str],
    /// What is done.
    pub body: Body,
}

impl Case {
    const fn of(name: &'static str, clauses: &'static [&'static str], part: Part, body: Body) -> Case {
        let (since, until) = (Generation::V1_4, Generation::V7);
        Case { name, clauses, level: Level::Must, part, since, until, needs: &[], body }
    }

    const fn since(mut self, generation: Generation) -> Case {
        self.since = generation;
        self
    }

    const fn choice(mut self) -> Case {
        self.level = Level::Choice;
        self
    }

    const fn until(mut self, generation: Generation) -> Case {
        self.until = generation;
        self
    }

    const fn needs(mut self, commands: &'static [&'static str]) -> Case {
        self.needs = commands;
        self
    }

    /// Whether it is run for a subject of this generation.
    pub fn applies(&self, generation: Generation) -> bool {
        self.since <= generation && generation <= self.until
    }

    /// Whether it is about a refusal.
    pub fn is_negative(&self) -> bool {
        match self.body {
            Body::Works(_) => false,
            Body::Refused { .. } => true,
            Body::Loopback(sockets) => sockets.is_negative(),
        }
    }

    /// The tier that it belongs to.
    pub fn tier(&self) -> Tier {
        match self.body {
            Body::Works(_) | Body::Refused { .. } => Tier::A,
            Body::Loopback(_) => Tier::B,
        }
    }
}

/// Something that must work.
const fn works(name: &'static str, clauses: &'static [&'static str], part: Part, step: Step) -> Case {
    Case::of(name, clauses, part, Body::Works(step))
}

/// Something that must be refused, beside its twin.
const fn refused(name: &'static str, clauses: &'static [&'static str], part: Part, twin: Step, bad: Step) -> Case {
    Case::of(name, clauses, part, Body::Refused { twin, bad })
}

/// Every case of a tier.
pub fn of(tier: Tier) -> Vec<Case> {
    match tier {
        Tier::A => all(),
        Tier::B => transport::chapters().into_iter().flatten().copied().collect(),
    }
}

/// The case of this name, of whatever tier.
pub fn find(name: &str) -> Option<Case> {
    [Tier::A, Tier::B].into_iter().flat_map(of).find(|case| case.name == name)
}

/// Every case of tier A, chapter by chapter.
pub fn all() -> Vec<Case> {
    [wire::CASES, link::CASES, generations::CASES, generations::MEMBERS]
        .into_iter()
        .chain(account::chapters())
        .chain(handoff::chapters())
        .chain(transfer::chapters())
        .chain([data::CASES])
        .chain(sync::chapters())
        .chain(service::chapters())
        .flatten()
        .copied()
        .collect()
}

/// Whether a name matches a pattern in which `*` stands for anything, and a comma parts alternatives.
pub fn matches(pattern: &str, name: &str) -> bool {
    pattern.split(',').any(|one| matches_one(one.trim(), name))
}

fn matches_one(pattern: &str, name: &str) -> bool {
    let mut parts = pattern.split('*');
    let Some(mut rest) = parts.next().and_then(|first| name.strip_prefix(first)) else { return false };
    let parts: Vec<&str> = parts.collect();
    let Some((last, middle)) = parts.split_last() else { return rest.is_empty() };
    for part in middle {
        let Some(at) = rest.find(part) else { return false };
        rest = &rest[at + part.len()..];
    }
    rest.ends_with(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stands_for_anything() {
        assert!(matches("handoff/*", "handoff/grant/resent"));
        assert!(matches("*/grant/*", "handoff/grant/resent"));
        assert!(matches("handoff/grant/resent", "handoff/grant/resent"));
        assert!(!matches("handoff/grant", "handoff/grant/resent"));
        assert!(!matches("handoff/*/x", "handoff/grant/resent"));
        assert!(matches("*", "x"));
    }

    #[test]
    fn a_comma_parts_alternatives() {
        assert!(matches("wire/*,data/*", "data/op/seq"));
        assert!(matches("wire/*, data/*", "data/op/seq"));
        assert!(!matches("wire/*,data/*", "handoff/grant/resent"));
        assert!(!matches("", "x"));
    }
}
