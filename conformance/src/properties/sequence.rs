//! Sequences: what users and accidents do, drawn from a seed, and written down in a token.

use segue_proto::Generation;
use segue_testkit::net::Weather;
use segue_testkit::{Faults, Options, Rng, Span, Users};

use super::{Act, Property};

/// All that a run of a property depends on, besides the subject.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sequence {
    /// What the network, the disks and the keys are drawn from.
    pub seed: u32,
    /// The devices' highest generations; as many as there are devices.
    pub generations: Vec<Generation>,
    /// What goes wrong without being asked for, ascending.
    pub around: Vec<Around>,
    /// What is done, in order.
    pub steps: Vec<Step>,
}

/// Something that is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step {
    /// Milliseconds after the step before.
    pub pause: u32,
    /// What.
    pub act: Act,
    /// The device that does it, or to which it happens.
    pub who: Who,
    /// The other device, where there is one.
    pub other: Who,
    /// Milliseconds or bytes, as the act says.
    pub number: u32,
}

/// A device of a sequence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Who {
    /// By its number.
    Device(u8),
    /// The primary, as the devices say at that time; device 0 if there is none.
    Owner,
    /// The device behind the owner, by number.
    Next,
    /// The device behind that.
    Third,
}

impl Who {
    /// Everybody who may be named in a world of three devices.
    pub const ALL: [Who; 6] = [Who::Device(0), Who::Device(1), Who::Device(2), Who::Owner, Who::Next, Who::Third];

    /// Its letter in a token.
    pub const fn letter(self) -> char {
        match self {
            Who::Device(at) => (b'0' + at) as char,
            Who::Owner => 'o',
            Who::Next => 'n',
            Who::Third => 'm',
        }
    }

    /// The one of this letter.
    pub fn from_letter(letter: char) -> Option<Who> {
        Who::ALL.into_iter().find(|who| who.letter() == letter)
    }

    /// The device that is meant among so many.
    pub fn resolve(self, owner: usize, devices: usize) -> usize {
        let behind = |steps: usize| (owner + 1 + (steps - 1) % (devices - 1)) % devices;
        match self {
            Who::Device(at) => usize::from(at) % devices,
            Who::Owner => owner,
            Who::Next => behind(1),
            Who::Third => behind(2),
        }
    }
}

/// Something that goes wrong around the devices without being asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Around {
    /// Messages are said again.
    Again,
    /// Messages take longer, and not equally long.
    Delays,
    /// Wall clocks are off, by up to ten years.
    Clocks,
    /// Messages are lost and sent again, and links die.
    Losses,
    /// A source asks its user about pulls.
    Asks,
    /// Bytes of content are wrong.
    Rot,
    /// Streams arrive split, break off, and both devices dial at once.
    Streams,
    /// Users hesitate, say no, or nothing.
    Users,
    /// Syncs take long.
    Syncs,
}

impl Around {
    /// All of them, with their letters in a token, ascending.
    pub const ALL: [(Around, char, &str); 9] = [
        (Around::Again, 'a', "messages are said again"),
        (Around::Delays, 'd', "messages take their time"),
        (Around::Clocks, 'k', "wall clocks are off"),
        (Around::Losses, 'l', "messages are lost, links die"),
        (Around::Asks, 'q', "pulls are put to the user"),
        (Around::Rot, 'r', "content comes with wrong bits"),
        (Around::Streams, 's', "streams split and break off, both sides dial"),
        (Around::Users, 'u', "users hesitate, or say no"),
        (Around::Syncs, 'y', "syncs take long"),
    ];

    /// The one of this letter.
    pub fn from_letter(letter: char) -> Option<Around> {
        Around::ALL.iter().find(|row| row.1 == letter).map(|row| row.0)
    }

    /// What goes wrong, in words.
    pub fn words(self) -> &'static str {
        Around::ALL.iter().find(|row| row.0 == self).map_or("?", |row| row.2)
    }

    /// Its letter.
    pub fn letter(self) -> char {
        Around::ALL.iter().find(|row| row.0 == self).map_or('?', |row| row.1)
    }
}

impl Sequence {
    /// Draws the sequence of a property from a seed, for a subject of this highest generation that offers these
    /// generations and commands.
    pub fn draw(property: &Property, seed: u32, generation: Generation, subject: &Offers) -> Sequence {
        let mut rng = Rng::new(u64::from(seed), property.name);
        let devices = rng.within(Span(2, 3)) as usize;
        let lower: Vec<Generation> = subject.generations.iter().copied().filter(|it| *it <= generation).collect();
        let mut generations = vec![generation; devices];
        if rng.chance(400) {
            let kept = rng.below(devices as u64) as usize;
            for (at, drawn) in generations.iter_mut().enumerate() {
                let other = *rng.pick(&lower).unwrap_or(&generation);
                *drawn = if at == kept { generation } else { other };
            }
        }
        let around = property.around.iter().filter(|(_, permille)| rng.chance(*permille)).map(|(around, _)| *around);
        let mut around: Vec<Around> = around.collect();
        around.sort_unstable();
        let acts: Vec<(Act, u32)> = property.acts.iter().copied().filter(|(act, _)| subject.offers(*act)).collect();
        let steps = (0..rng.within(Span(4, 16))).filter_map(|_| Step::draw(&mut rng, &acts)).collect();
        Sequence { seed, generations, around, steps }
    }

    /// The surroundings.
    pub fn options(&self) -> Options {
        let seed = u64::from(self.seed);
        let has = |around| self.around.contains(&around);
        let mut rng = Rng::new(seed, "surroundings");
        let (drawn, faults) = (Weather::draw(&mut rng), Faults::draw(&mut rng));
        let (users, rot, again) = (Users::draw(&mut rng), rng.within(Span(50, 400)), rng.within(Span(50, 500)));
        let mut out = Options::calm(seed, DELAY, SYNC);
        out.faults.outage = Span::just(OUTAGE);
        if has(Around::Delays) {
            out.weather.delay = Span(drawn.delay.0, drawn.delay.1.min(1_000_000));
        }
        if has(Around::Losses) {
            let Weather { loss, retransmit, death, notice, redial, .. } = drawn;
            out.weather = Weather { loss, retransmit, death, notice, redial, ..out.weather };
        }
        if has(Around::Streams) {
            let Weather { split, reset, crossing, .. } = drawn;
            out.weather = Weather { split, reset, crossing, ..out.weather };
        }
        if has(Around::Syncs) {
            out.faults.sync = faults.sync;
        }
        if has(Around::Users) {
            out.users = users;
        }
        if has(Around::Rot) {
            out.faults.rot = rot as u32;
        }
        if has(Around::Again) {
            out.faults.replay = again as u32;
        }
        out
    }

    /// How far a device's wall clock is off, in milliseconds.
    pub fn wall_offset_ms(&self, device: usize) -> i64 {
        if !self.around.contains(&Around::Clocks) {
            return 0;
        }
        let mut rng = Rng::new(u64::from(self.seed) << 8 | device as u64, "clocks");
        let most = *rng.pick(&[1_000, 3_600_000, 315_360_000_000]).unwrap_or(&0);
        rng.below(2 * most) as i64 - most as i64
    }
}

/// What a subject offers.
#[derive(Clone, Debug)]
pub struct Offers {
    /// The generations that it declares.
    pub generations: Vec<Generation>,
    /// The commands that it declares.
    pub commands: Vec<String>,
}

impl Offers {
    /// Whether an act can be done with what is offered.
    pub fn offers(&self, act: Act) -> bool {
        act.command().is_none_or(|name| self.commands.iter().any(|command| command == name))
    }
}

impl Step {
    fn draw(rng: &mut Rng, acts: &[(Act, u32)]) -> Option<Step> {
        let total: u32 = acts.iter().map(|(_, weight)| weight).sum();
        let mut drawn = rng.below(u64::from(total)) as u32;
        let (act, _) = *acts.iter().find(|(_, weight)| {
            let here = drawn < *weight;
            drawn = drawn.saturating_sub(*weight);
            here
        })?;
        let pause = match rng.below(20) {
            0..9 => rng.below(12),
            9..15 => rng.below(200),
            15..18 => rng.below(2_000),
            _ => rng.below(8_000),
        };
        let (who, other) = act.draw(rng);
        let other = if act.has_other() { other } else { who };
        let number = act.number().map_or(0, |(default, spans)| match rng.chance(500) {
            true => default,
            false => rng.pick(spans).map_or(default, |span| rng.within(*span) as u32),
        });
        Some(Step { pause: pause as u32, act, who, other, number })
    }
}

/// The one-way delay of a calm world, in microseconds.
const DELAY: u64 = 1_000;
/// How long a sync takes in a calm world, in microseconds.
const SYNC: u64 = 100;
/// How long a device stays down that lost power where it hurts, in microseconds.
const OUTAGE: u64 = 50_000;
