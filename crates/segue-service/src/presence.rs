//! Which devices have a link, which of them may be told of it (spec section 9.13), which are introduced (9.15), and which
//! are woken (9.17).

use std::collections::{BTreeMap, BTreeSet};

use segue_proto::limits::{INTRODUCTION_WINDOW, MAX_INTRODUCTIONS, MAX_WAKES, SEEN_DEVICES, WAKE_WINDOW};
use segue_proto::wire::{DeviceId, Presence};
use segue_proto::{Clause, Code, Generation, Instant, Rules};

use crate::directory::{Directory, Failed, Note};
use crate::often::Often;

/// Who is there.
#[derive(Debug)]
pub(crate) struct Attendance {
    here: BTreeMap<DeviceId, Here>,
    /// An instant, and the milliseconds since 1970 that the wall clock showed then.
    clock: (Instant, u64),
    /// The introductions of each device that were passed on.
    introduced: Often,
    /// How often each device had another one woken.
    wakes: Often,
    /// How often each device was woken.
    woken: Often,
}

/// A device that has a link.
#[derive(Debug)]
struct Here {
    generation: Generation,
    /// Whom it named last; none if it never asked.
    named: Option<Vec<DeviceId>>,
}

/// What a device has to hear that asked for something, and in how many milliseconds it may again (0 if that doesn't help).
type Refused = (Code, u32);

impl Default for Attendance {
    fn default() -> Self {
        Attendance {
            here: BTreeMap::new(),
            clock: Default::default(),
            introduced: Often::new(MAX_INTRODUCTIONS, INTRODUCTION_WINDOW),
            wakes: Often::new(MAX_WAKES, WAKE_WINDOW),
            woken: Often::new(MAX_WAKES, WAKE_WINDOW),
        }
    }
}

impl Attendance {
    pub(crate) fn set_clock(&mut self, now: Instant, unix_ms: u64) {
        self.clock = (now, unix_ms);
    }

    /// Milliseconds since 1970, as far as is known.
    pub(crate) fn wall(&self, now: Instant) -> u64 {
        let (at, unix_ms) = self.clock;
        unix_ms.saturating_add(now.since(at) / 1_000)
    }

    pub(crate) fn linked(
        &mut self,
        device: DeviceId,
        generation: Generation,
        directory: &impl Directory,
    ) -> Result<(), Failed> {
        let named = directory.noted(&device)?.map(|note| note.named);
        self.here.insert(device, Here { generation, named });
        Ok(())
    }

    pub(crate) fn gone(
        &mut self,
        now: Instant,
        device: &DeviceId,
        directory: &mut impl Directory,
    ) -> Result<(), Failed> {
        match self.here.remove(device).and_then(|here| here.named) {
            Some(named) => directory.note(device, &Note { seen: self.wall(now), named }, SEEN_DEVICES),
            None => Ok(()),
        }
    }

    /// A device asks: what it is told. Its note is written now, too, for a service that dies with the link.
    pub(crate) fn discover(
        &mut self,
        rules: Rules,
        now: Instant,
        by: DeviceId,
        devices: &[DeviceId],
        directory: &mut impl Directory,
    ) -> Result<Vec<Presence>, Failed> {
        let before = self.here.get(&by).and_then(|here| here.named.clone()).unwrap_or_default();
        let kept = if rules.keeps(Clause::SERVICE_SEEN_3) { Vec::new() } else { before };
        let named: Vec<_> = devices.iter().copied().chain(kept).collect::<BTreeSet<_>>().into_iter().collect();
        directory.note(&by, &Note { seen: self.wall(now), named: named.clone() }, SEEN_DEVICES)?;
        if let Some(here) = self.here.get_mut(&by) {
            here.named = Some(named);
        }
        let mut found = Vec::new();
        for device in devices.iter().copied().collect::<BTreeSet<_>>() {
            let tells = |named: &[DeviceId]| named.contains(&by) || !rules.keeps(Clause::SERVICE_SEEN_1);
            let presence = match self.here.get(&device) {
                Some(Here { generation, named }) => tells(named.as_deref().unwrap_or_default()).then(|| Presence {
                    device,
                    generation: generation.number(),
                    ago_ms: 0,
                }),
                None => directory.noted(&device)?.filter(|note| tells(&note.named)).map(|note| {
                    let ago_ms = self.wall(now).saturating_sub(note.seen);
                    Presence { device, generation: 0, ago_ms }
                }),
            };
            found.extend(presence.filter(|it| it.generation > 0 || rules.keeps(Clause::SERVICE_SEEN_2)));
        }
        Ok(found)
    }

    /// Whether a device that has a link named another one in its latest DISCOVER.
    fn names(&self, device: &DeviceId, other: &DeviceId) -> bool {
        self.here.get(device).and_then(|here| here.named.as_ref()).is_some_and(|named| named.contains(other))
    }

    /// Whether something of a device's may be passed on to another, by this clause: each named the other in its latest
    /// DISCOVER, and that one has a link of generation 7.
    pub(crate) fn may_pass(&self, rules: Rules, clause: Clause, by: DeviceId, to: &DeviceId) -> bool {
        let mutual = self.names(&by, to) && self.names(to, &by) || !rules.keeps(clause);
        mutual && self.here.get(to).is_some_and(|here| here.generation >= Generation::V7)
    }

    /// A device asks to be introduced to another: whether that may be.
    pub(crate) fn introduce(&mut self, rules: Rules, now: Instant, by: DeviceId, to: &DeviceId) -> Result<(), Refused> {
        if !self.may_pass(rules, Clause::SERVICE_MEET_2, by, to) {
            return Err((Code::SERVICE_AWAY, 0));
        }
        if let Err(wait) = self.introduced.may(now, &by)
            && rules.keeps(Clause::SERVICE_MEET_3)
        {
            return Err((Code::LIMIT_OFFERS, wait));
        }
        self.introduced.did(now, by);
        Ok(())
    }

    /// A device wants another one woken: whether the operator's way is to be used for that now. It isn't for one that is
    /// there.
    pub(crate) fn wake(
        &mut self,
        rules: Rules,
        now: Instant,
        by: DeviceId,
        device: DeviceId,
        directory: &impl Directory,
    ) -> Result<Result<bool, Refused>, Failed> {
        let here = self.here.contains_key(&device);
        // What it named outlasts its link.
        let named = || directory.noted(&device).map(|note| note.is_some_and(|note| note.named.contains(&by)));
        let named = if here { self.names(&device, &by) } else { named()? };
        if !(named && self.names(&by, &device)) && rules.keeps(Clause::SERVICE_WAKE_2) {
            return Ok(Err((Code::SERVICE_AWAY, 0)));
        }
        if here && rules.keeps(Clause::SERVICE_WAKE_3) {
            return Ok(Ok(false));
        }
        let may = self.wakes.may(now, &by).and_then(|()| self.woken.may(now, &device));
        if let Err(wait) = may
            && rules.keeps(Clause::SERVICE_WAKE_4)
        {
            return Ok(Err((Code::LIMIT_OFFERS, wait)));
        }
        self.wakes.did(now, by);
        self.woken.did(now, device);
        Ok(Ok(true))
    }
}
