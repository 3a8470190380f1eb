//! Which devices have a link, and which of them may be told of it (spec section 9.13).

use std::collections::{BTreeMap, BTreeSet};

use segue_proto::limits::SEEN_DEVICES;
use segue_proto::wire::{DeviceId, Presence};
use segue_proto::{Clause, Generation, Instant, Rules};

use crate::directory::{Directory, Failed, Note};

/// Who is there.
#[derive(Debug, Default)]
pub(crate) struct Attendance {
    here: BTreeMap<DeviceId, Here>,
    /// An instant, and the milliseconds since 1970 that the wall clock showed then.
    clock: (Instant, u64),
}

/// A device that has a link.
#[derive(Debug)]
struct Here {
    generation: Generation,
    /// Whom it named last; none if it never asked.
    named: Option<Vec<DeviceId>>,
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
}
