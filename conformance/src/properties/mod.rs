//! Properties: what must hold whatever users do and whatever goes wrong, tried by random sequences in the subject's own
//! process.
//!
//! A [`Property`] says what may happen in its worlds. A [`Sequence`] is drawn for it and [played](play): devices of the
//! subject, in a simulated network with simulated disks, watched from outside by the testkit's oracle, which
//! knows what they send, what they tell and what they say of themselves. A sequence that fails is [shrunk](shrink) by playing it again
//! with less and less, and told as a [token].

mod act;
mod play;
pub mod replay;
mod sequence;
mod shrink;
pub mod token;

use segue_proto::Generation;
use segue_testkit::Rng;

use crate::attach::Hello;
use crate::pairs::Shared;
use crate::run::{self, Reason};
use crate::verdict::Verdict;

pub use act::Act;
pub use play::{Broken, play};
pub use sequence::{Around, Offers, Sequence, Step, Who};
pub use shrink::shrink;

/// A property: what is tried, and what must hold.
#[derive(Clone, Copy, Debug)]
pub struct Property {
    /// Its permanent name.
    pub name: &'static str,
    /// The clauses without which it breaks.
    pub clauses: &'static [&'static str],
    /// The kinds of `do` without which nothing is tried.
    pub needs: &'static [&'static str],
    /// What is done, and how often.
    pub acts: &'static [(Act, u32)],
    /// What goes wrong without being asked for, and in how many of a thousand sequences.
    pub around: &'static [(Around, u32)],
    /// What is judged besides what is judged everywhere.
    pub extra: Extra,
}

/// What a property judges besides what every one does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extra {
    /// Nothing.
    None,
    /// Whether what a device promises would outlast a crash at that instant.
    Promises,
    /// Whether everything that was said, said again in the end, changes anything.
    Repeats,
}

/// Handoffs, and accidents of every kind.
const HANDOFFS: &[(Act, u32)] = &[
    (Act::Write, 20),
    (Act::File, 6),
    (Act::Photo, 3),
    (Act::Remove, 2),
    (Act::Initiate, 20),
    (Act::Cancel, 4),
    (Act::Request, 18),
    (Act::Consent, 6),
    (Act::Crash, 3),
    (Act::StrikeWriting, 3),
    (Act::StrikeWritten, 3),
    (Act::StrikeSynced, 3),
    (Act::StrikeSent, 3),
    (Act::Cut, 3),
    (Act::Partition, 3),
];

const TAKEOVERS: &[(Act, u32)] = &[
    (Act::Write, 24),
    (Act::Takeover, 14),
    (Act::Initiate, 16),
    (Act::Request, 14),
    (Act::Consent, 4),
    (Act::Partition, 12),
    (Act::Cut, 4),
    (Act::Crash, 4),
    (Act::StrikeWritten, 4),
    (Act::StrikeSent, 4),
];

const RESTORES: &[(Act, u32)] = &[
    (Act::Write, 20),
    (Act::Initiate, 18),
    (Act::Request, 16),
    (Act::BackUp, 16),
    (Act::Restore, 16),
    (Act::Crash, 6),
    (Act::Takeover, 4),
    (Act::Cut, 4),
];

const SHARED: &[(Act, u32)] = &[
    (Act::File, 26),
    (Act::Photo, 22),
    (Act::Remove, 5),
    (Act::Write, 10),
    (Act::Request, 8),
    (Act::Initiate, 6),
    (Act::Partition, 8),
    (Act::Cut, 5),
    (Act::Crash, 4),
    (Act::StrikeWritten, 3),
    (Act::StrikeSent, 3),
];

const EDGES: &[(Act, u32)] = &[
    (Act::Write, 16),
    (Act::File, 6),
    (Act::Photo, 4),
    (Act::Initiate, 18),
    (Act::Request, 18),
    (Act::Consent, 6),
    (Act::StrikeWriting, 6),
    (Act::StrikeWritten, 8),
    (Act::StrikeSynced, 8),
    (Act::StrikeSent, 8),
    (Act::FailStore, 6),
];

const BAD_DAYS: &[(Around, u32)] = &[
    (Around::Delays, 400),
    (Around::Losses, 350),
    (Around::Streams, 350),
    (Around::Syncs, 300),
    (Around::Users, 250),
    (Around::Asks, 400),
    (Around::Clocks, 200),
];

/// Every property, by name.
pub const ALL: &[Property] = &[
    Property {
        name: "properties/ownership/handoffs",
        clauses: &["HO-GRANT-2", "HO-GRANT-3", "HO-WANT-5", "HO-OFFER-5", "HO-WRITE-1"],
        needs: &["create", "request"],
        acts: HANDOFFS,
        around: BAD_DAYS,
        extra: Extra::None,
    },
    Property {
        name: "properties/ownership/takeovers",
        clauses: &["HO-HEAD-1", "HO-HEAD-7", "HO-WRITE-1", "HO-WRITE-2"],
        needs: &["create", "takeover"],
        acts: TAKEOVERS,
        around: BAD_DAYS,
        extra: Extra::None,
    },
    Property {
        name: "properties/ownership/backups",
        clauses: &["HO-STORE-1", "HO-STORE-2"],
        needs: &["create", "request"],
        acts: RESTORES,
        around: BAD_DAYS,
        extra: Extra::None,
    },
    Property {
        name: "properties/durability/promises",
        clauses: &["HO-GRANT-1", "HO-HEAD-4", "HO-STORE-3"],
        needs: &["create", "request"],
        acts: EDGES,
        around: &[(Around::Syncs, 700), (Around::Delays, 300), (Around::Losses, 200)],
        extra: Extra::Promises,
    },
    Property {
        name: "properties/data/everybody-writes",
        clauses: &["SYNC-SINCE-1", "DATA-MERGE-1", "HO-GRANT-4"],
        needs: &["create", "write-file"],
        acts: SHARED,
        around: BAD_DAYS,
        extra: Extra::None,
    },
    Property {
        name: "properties/data/rotten-bytes",
        clauses: &["TRANSFER-CHUNK-1", "TRANSFER-ANSWER-1"],
        needs: &["create", "request", "write-file"],
        acts: SHARED,
        around: &[(Around::Rot, 1000), (Around::Streams, 400), (Around::Delays, 300)],
        extra: Extra::None,
    },
    Property {
        name: "properties/replay/said-again",
        clauses: &["HO-WANT-1", "HO-GRANT-3"],
        needs: &["create", "request"],
        acts: HANDOFFS,
        around: &[(Around::Again, 800), (Around::Delays, 400), (Around::Losses, 400), (Around::Asks, 300)],
        extra: Extra::Repeats,
    },
    Property {
        name: "properties/liveness/arrives",
        clauses: &["HO-GRANT-8", "HO-GRANT-9", "SYNC-RANK-1"],
        needs: &["create", "request"],
        acts: EDGES,
        around: &[(Around::Losses, 700), (Around::Delays, 400), (Around::Syncs, 400), (Around::Streams, 300)],
        extra: Extra::None,
    },
    Property {
        name: "properties/liveness/ends",
        clauses: &["HO-TIME-1"],
        needs: &["create", "request"],
        acts: HANDOFFS,
        around: &[(Around::Users, 800), (Around::Asks, 700), (Around::Losses, 300), (Around::Delays, 300)],
        extra: Extra::None,
    },
];

impl Property {
    /// The property of this name, with or without `properties/`.
    pub fn find(name: &str) -> Option<Property> {
        ALL.iter().find(|property| property.name == name || property.short() == name).copied()
    }

    /// Its name without `properties/`.
    pub fn short(&self) -> &'static str {
        self.name.strip_prefix("properties/").unwrap_or(self.name)
    }

    /// The seed of its `at`th sequence for a generation.
    pub fn seed(&self, seed: u64, generation: Generation, at: u32) -> u32 {
        let purpose = format!("{} {generation} {at}", self.name);
        Rng::new(seed, &purpose).bits() as u32
    }
}

/// How many sequences of each property are tried for a generation, unless told otherwise: a guess at what fits the time
/// that tier A may take.
pub const SEQUENCES: u32 = 25;

/// What was found out about a property.
#[derive(Clone, Debug, PartialEq)]
pub struct Failure {
    /// The sequence that failed, shrunk.
    pub sequence: Sequence,
    /// How many steps it had before it was shrunk.
    pub drawn: usize,
    /// Why it fails.
    pub broken: Broken,
}

/// Plays so many sequences of a property; the first that fails, shrunk.
pub fn search(
    hosts: &[Shared; 2],
    hello: &Hello,
    property: &Property,
    generation: Generation,
    seed: u64,
    sequences: u32,
) -> Option<Failure> {
    let offers = Offers { generations: hello.generations.clone(), commands: hello.commands.clone() };
    let drawn = |at| Sequence::draw(property, property.seed(seed, generation, at), generation, &offers);
    let (first, broken) = (0..sequences).map(drawn).find_map(|sequence| {
        let broken = play(hosts, property, &sequence)?;
        Some((sequence, broken))
    })?;
    let drawn = first.steps.len();
    let (sequence, broken) = shrink(first, broken, |sequence| play(hosts, property, sequence));
    Some(Failure { sequence, drawn, broken })
}

/// Examines a property for a generation.
pub fn examine(
    hosts: &[Shared; 2],
    hello: &Hello,
    property: &Property,
    generation: Generation,
    seed: u64,
    sequences: u32,
) -> run::Result {
    let result = |verdict, reason, replay| run::Result { case: property.name, generation, verdict, reason, replay };
    if let Some(command) = property.needs.iter().find(|need| !hello.offers(need)) {
        let (expected, came) = (format!("'do' of '{command}'"), "not declared".into());
        return result(Verdict::Unsupported, Some(Reason { expected, came, lines: Vec::new() }), None);
    }
    match search(hosts, hello, property, generation, seed, sequences) {
        None => result(Verdict::Pass, None, None),
        Some(Failure { sequence, broken, .. }) => {
            let replay = token::write(property, &sequence);
            result(Verdict::Fail, Some(broken.reason), Some(replay))
        }
    }
}
