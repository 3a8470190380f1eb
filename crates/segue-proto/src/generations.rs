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

impl fmt::Display for Generation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
