//! Generations: profiles of the link messages that a pair may use.

use core::fmt;

use serde::{Deserialize, Serialize};

/// A protocol generation. Each includes those before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[repr(u8)]
pub enum Generation {
    /// Device Linking 1.4.
    V1_4 = 1,
    /// Session Handoff 1.7.
    V1_7 = 2,
    /// Session Handoff 2.
    V2 = 3,
    /// Session Handoff 7.
    V7 = 4,
}

impl Generation {
    /// All generations, ascending.
    pub const ALL: [Generation; 4] = [Generation::V1_4, Generation::V1_7, Generation::V2, Generation::V7];

    /// Its number in HELLO.
    pub const fn number(self) -> u8 {
        self as u8
    }

    /// The generation with this number in HELLO.
    pub fn from_number(number: u8) -> Option<Generation> {
        Self::ALL.into_iter().find(|g| g.number() == number)
    }

    /// Its name: `1.4`, `1.7`, `2` or `7`.
    pub const fn name(self) -> &'static str {
        match self {
            Generation::V1_4 => "1.4",
            Generation::V1_7 => "1.7",
            Generation::V2 => "2",
            Generation::V7 => "7",
        }
    }

    /// The generation of this name.
    pub fn from_name(name: &str) -> Option<Generation> {
        Self::ALL.into_iter().find(|g| g.name() == name)
    }
}

/// Something that a device is able to do, for it speaks a generation. There is no other sign of it than the generation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Ability {
    /// Keeping a session in step, and fetching its ownership.
    Sync,
    /// Having its user asked for a session that another one offers.
    Requests,
    /// Going on with content that broke off, and fetching of a changed file what changed.
    Resuming,
    /// Consenting in advance.
    Consent,
    /// Having its user choose which content comes.
    Choice,
    /// Having a service sign for it, and being brought together with others by one.
    Service,
}

impl Ability {
    /// All of them, by the generations that bring them.
    pub const ALL: [Ability; 6] =
        [Ability::Sync, Ability::Requests, Ability::Resuming, Ability::Consent, Ability::Choice, Ability::Service];

    /// The first generation that has it.
    pub const fn since(self) -> Generation {
        match self {
            Ability::Sync => Generation::V1_4,
            Ability::Requests => Generation::V1_7,
            Ability::Resuming | Ability::Consent => Generation::V2,
            Ability::Choice | Ability::Service => Generation::V7,
        }
    }

    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            Ability::Sync => "sync",
            Ability::Requests => "requests",
            Ability::Resuming => "resuming",
            Ability::Consent => "consent",
            Ability::Choice => "choice",
            Ability::Service => "service",
        }
    }

    /// What it is, to show to a user.
    pub const fn words(self) -> &'static str {
        match self {
            Ability::Sync => "keep a session in step, and fetch it",
            Ability::Requests => "have its user asked whether to take a session that is offered",
            Ability::Resuming => "go on with what broke off, and fetch of a changed file what changed",
            Ability::Consent => "consent in advance",
            Ability::Choice => "have its user choose which content comes",
            Ability::Service => "have a service sign for it, and introduce it to others",
        }
    }
}

impl Generation {
    /// What a device of this generation is able to do.
    pub fn abilities(self) -> impl Iterator<Item = Ability> {
        Ability::ALL.into_iter().filter(move |ability| ability.since() <= self)
    }

    /// What only later generations have.
    pub fn lacks(self) -> impl Iterator<Item = Ability> {
        Ability::ALL.into_iter().filter(move |ability| ability.since() > self)
    }
}

impl fmt::Display for Generation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_generation_lacks_what_later_ones_add() {
        use Ability::*;
        assert!(Generation::V1_4.lacks().eq([Requests, Resuming, Consent, Choice, Service]));
        assert!(Generation::V1_7.lacks().eq([Resuming, Consent, Choice, Service]));
        assert!(Generation::V2.lacks().eq([Choice, Service]));
        assert!(Generation::V7.lacks().eq([]));
        for generation in Generation::ALL {
            assert!(generation.abilities().chain(generation.lacks()).eq(Ability::ALL));
        }
    }
}
