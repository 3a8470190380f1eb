//! What goes wrong in a world, and how its users behave.

use crate::net::Weather;
use crate::rng::{Rng, Span};

/// What goes wrong besides the weather. All times are in microseconds, all chances in thousandths.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Faults {
    /// How long a sync takes.
    pub sync: Span,
    /// How often a device crashes where it matters: as it writes, and as it sends what waited for a sync.
    pub crash: u32,
    /// How long it stays down.
    pub outage: Span,
    /// How often a sync fails. The device halts, and is started again.
    pub sync_failure: u32,
    /// How often a packet meets a new partition between its devices.
    pub partition: u32,
    /// How long a partition lasts.
    pub split: Span,
    /// How often the bytes of a unidirectional stream are wrong, as from a rotten disk.
    pub rot: u32,
    /// How often a sync is followed by a backup.
    pub backup: u32,
    /// How often a device that crashed starts from its backup.
    pub restore: u32,
    /// How often a device sends, behind what it sends, a message once more that it sent to the same peer before.
    pub replay: u32,
}

impl Faults {
    /// Nothing goes wrong, and every sync takes just `sync`.
    pub const fn none(sync: u64) -> Faults {
        Faults {
            sync: Span::just(sync),
            crash: 0,
            outage: Span::just(0),
            sync_failure: 0,
            partition: 0,
            split: Span::just(0),
            rot: 0,
            backup: 0,
            restore: 0,
            replay: 0,
        }
    }

    /// Draws how bad it is. Restores are left out: they end what other promises are checked by.
    pub fn draw(rng: &mut Rng) -> Faults {
        let quick = rng.within(Span(50, 5_000));
        Faults {
            sync: Span(quick, quick * rng.within(Span(1, 200))),
            crash: rng.below(120) as u32,
            outage: Span(10_000, rng.within(Span(100_000, 20_000_000))),
            sync_failure: rng.below(10) as u32,
            partition: rng.below(8) as u32,
            split: Span(100_000, rng.within(Span(1_000_000, 60_000_000))),
            rot: if rng.chance(300) { rng.below(200) as u32 } else { 0 },
            backup: 0,
            restore: 0,
            replay: 0,
        }
    }

    /// The same, with messages that are sent again at any time.
    #[must_use]
    pub fn with_replays(mut self, rng: &mut Rng) -> Faults {
        self.replay = rng.within(Span(50, 500)) as u32;
        self
    }

    /// The same, with devices that come back from backups.
    #[must_use]
    pub fn with_restores(mut self, rng: &mut Rng) -> Faults {
        self.backup = rng.within(Span(50, 300)) as u32;
        self.restore = rng.within(Span(100, 600)) as u32;
        self.crash = self.crash.max(40);
        self
    }
}

/// How the users answer requests. All chances in thousandths; what is left is ignored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Users {
    /// How often they accept.
    pub accept: u32,
    /// How often they reject.
    pub reject: u32,
    /// How long they think, in microseconds.
    pub think: Span,
}

impl Users {
    /// They accept everything at once.
    pub const EAGER: Users = Users { accept: 1000, reject: 0, think: Span::just(0) };

    /// They never answer.
    pub const ABSENT: Users = Users { accept: 0, reject: 0, think: Span::just(0) };

    /// Draws what they are like.
    pub fn draw(rng: &mut Rng) -> Users {
        let accept = rng.within(Span(600, 1000)) as u32;
        Users { accept, reject: rng.below(u64::from(1001 - accept)) as u32, think: Span(0, 3_000_000) }
    }
}

/// A whole world's surroundings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// Everything random comes from it.
    pub seed: u64,
    /// What the network does.
    pub weather: Weather,
    /// What else goes wrong.
    pub faults: Faults,
    /// How users answer.
    pub users: Users,
}

impl Options {
    /// A calm world in which a message takes `delay` and a sync `sync` microseconds, and users accept at once.
    pub const fn calm(seed: u64, delay: u64, sync: u64) -> Options {
        Options { seed, weather: Weather::calm(delay), faults: Faults::none(sync), users: Users::EAGER }
    }

    /// Draws a world with faults.
    pub fn draw(seed: u64) -> Options {
        let mut rng = Rng::new(seed, "options");
        let (weather, faults, users) = (Weather::draw(&mut rng), Faults::draw(&mut rng), Users::draw(&mut rng));
        Options { seed, weather, faults, users }
    }
}
