//! Directories with one mistake each: the laws of directories are seen broken by them.

use segue_proto::service::custody::{Kept, Set};
use segue_proto::wire::{BoxId, DeviceId, Hash, SessionId};
use segue_proto::{Clause, Rules};
use segue_service::laws::{Backend, Law, check};
use segue_service::{Append, Binding, Directory, Failed, Full, Memory, Note, Page, Quota, Room, Unset};

/// A mistake of a directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Flaw {
    None,
    Fails,
    Panics,
    UsesAnOffsetTwice,
    PutsAgain,
    KnowsNoBounds,
    KeepsWhatItRefused,
    BeginsAPageTooEarly,
    GivesMoreThanThereIsRoomFor,
    TakesAnyHead,
    TellsNoHead,
    LetsAnybodyBring,
    DropsRecords,
    TellsWhatWaitsInNoOrder,
    CountsCalls,
    KeepsTheOldNote,
    KeepsAllNotes,
    MakesUpNotes,
    BindsTooMany,
    NeverUnbinds,
    CountsHalf,
    EndsWithoutWriting,
    LosesTheLastInACrash,
    TearsABatch,
}

struct Flawed {
    memory: Memory,
    flaw: Flaw,
    /// The calls that changed sessions.
    calls: u64,
    /// What was put by the last call.
    last: Vec<Append>,
}

impl Directory for Flawed {
    fn append(&mut self, rules: Rules, batch: &[Append], quota: &Quota) -> Result<Vec<Result<u64, Full>>, Failed> {
        self.last = batch.to_vec();
        let rules = match self.flaw {
            Flaw::PutsAgain => Rules::without(Clause::SERVICE_HOST_1),
            Flaw::KnowsNoBounds => Rules::without(Clause::SERVICE_HOST_3),
            _ => rules,
        };
        let mut outcomes = self.memory.append(rules, batch, quota)?;
        match self.flaw {
            Flaw::UsesAnOffsetTwice => outcomes.iter_mut().flatten().for_each(|offset| *offset = 1.max(*offset - 1)),
            Flaw::KeepsWhatItRefused => {
                drop(self.memory.append(Rules::without(Clause::SERVICE_HOST_3), batch, quota)?);
            }
            _ => {}
        }
        Ok(outcomes)
    }

    fn fetch(&self, of: &BoxId, after: u64, room: Room) -> Result<Page, Failed> {
        match self.flaw {
            Flaw::BeginsAPageTooEarly => self.memory.fetch(of, after.saturating_sub(1), room),
            Flaw::GivesMoreThanThereIsRoomFor => {
                self.memory.fetch(of, after, Room { envelopes: room.envelopes + 1, ..room })
            }
            _ => self.memory.fetch(of, after, room),
        }
    }

    fn set(&mut self, rules: Rules, batch: &[Set], quota: &Quota) -> Result<Vec<Result<(), Unset>>, Failed> {
        self.calls += 1;
        let (mut batch, mut quota) = (batch.to_vec(), *quota);
        match self.flaw {
            Flaw::DropsRecords => batch.iter_mut().for_each(|set| set.records.truncate(1)),
            Flaw::LetsAnybodyBring => quota.device_sessions = u64::MAX,
            _ => {}
        }
        let rules = if self.flaw == Flaw::TakesAnyHead { Rules::without(Clause::SERVICE_CAS_1) } else { rules };
        let outcomes = self.memory.set(rules, &batch, &quota)?;
        let told = |unset: Unset| match (self.flaw, unset) {
            (Flaw::TellsNoHead, Unset::Stale(_)) => Unset::Stale(Hash::ZERO),
            (_, unset) => unset,
        };
        Ok(outcomes.into_iter().map(|outcome| outcome.map_err(told)).collect())
    }

    fn kept(&self, session: &SessionId) -> Result<Option<Kept>, Failed> {
        assert!(self.flaw != Flaw::Panics || self.calls == 0, "a mistake");
        self.memory.kept(session)
    }

    fn waiting(&self) -> Result<Vec<SessionId>, Failed> {
        let mut waiting = self.memory.waiting()?;
        if self.flaw == Flaw::TellsWhatWaitsInNoOrder {
            waiting.reverse();
        }
        Ok(waiting)
    }

    fn sets(&self) -> Result<u64, Failed> {
        if self.flaw == Flaw::CountsCalls { Ok(self.calls) } else { self.memory.sets() }
    }

    fn note(&mut self, device: &DeviceId, note: &Note, most: usize) -> Result<(), Failed> {
        let known = self.memory.noted(device)?.is_some();
        match self.flaw {
            Flaw::Fails => Err(Failed("a mistake".into())),
            Flaw::KeepsTheOldNote if known => Ok(()),
            Flaw::KeepsAllNotes => self.memory.note(device, note, usize::MAX),
            _ => self.memory.note(device, note, most),
        }
    }

    fn noted(&self, device: &DeviceId) -> Result<Option<Note>, Failed> {
        self.memory.noted(device)
    }

    fn used(&self, by: &DeviceId) -> Result<u64, Failed> {
        Ok(self.memory.used(by)? / if self.flaw == Flaw::CountsHalf { 2 } else { 1 })
    }

    fn bind(&mut self, device: &DeviceId, binding: &Binding, most: usize, unix_ms: u64) -> Result<bool, Failed> {
        let most = if self.flaw == Flaw::BindsTooMany { most + 1 } else { most };
        self.memory.bind(device, binding, most, unix_ms)
    }

    fn unbind(&mut self, device: &DeviceId) -> Result<(), Failed> {
        if self.flaw == Flaw::NeverUnbinds { Ok(()) } else { self.memory.unbind(device) }
    }

    fn bound(&self, device: &DeviceId) -> Result<Option<Binding>, Failed> {
        self.memory.bound(device)
    }
}

/// What outlasts a directory with a mistake.
struct Outlasts {
    flaw: Flaw,
    /// As it was settled last.
    durable: Memory,
    /// As it was settled before.
    before: Memory,
    calls: u64,
}

impl Outlasts {
    fn new(flaw: Flaw) -> Outlasts {
        Outlasts { flaw, durable: Memory::default(), before: Memory::default(), calls: 0 }
    }
}

impl Backend for Outlasts {
    type Directory = Flawed;

    fn open(&mut self) -> Result<Flawed, Failed> {
        let Outlasts { flaw, durable, calls, .. } = self;
        Ok(Flawed { memory: durable.clone(), flaw: *flaw, calls: *calls, last: Vec::new() })
    }

    fn settle(&mut self, directory: &mut Flawed) -> Result<(), Failed> {
        self.before = std::mem::replace(&mut self.durable, directory.memory.clone());
        self.calls = directory.calls;
        directory.last.clear();
        Ok(())
    }

    fn close(&mut self, directory: Flawed) {
        self.durable = if self.flaw == Flaw::EndsWithoutWriting { self.before.clone() } else { directory.memory };
    }

    fn crash(&mut self, directory: Flawed) {
        match self.flaw {
            Flaw::MakesUpNotes => {
                let (device, note) = (DeviceId::new([1; 32]), Note { seen: 1_000, named: Vec::new() });
                self.durable.note(&device, &note, usize::MAX).expect("memory doesn't fail");
            }
            Flaw::LosesTheLastInACrash => self.durable = self.before.clone(),
            Flaw::TearsABatch => {
                let torn = directory.last.len() / 2;
                let kept = self.durable.append(Rules::ALL, &directory.last[torn..], &Quota::default());
                drop(kept.expect("memory doesn't fail"));
            }
            _ => {}
        }
    }
}

#[test]
fn a_directory_without_a_mistake_breaks_no_law() {
    assert_eq!(check(500, || Outlasts::new(Flaw::None)), Ok(()));
}

#[test]
fn each_mistake_of_a_directory_breaks_its_law() {
    let lost: &[Law] = &[Law::Crash, Law::Unanswered];
    let mistakes: [(Flaw, &[Law]); 23] = [
        (Flaw::Fails, &[Law::Works]),
        (Flaw::Panics, &[Law::Works]),
        (Flaw::UsesAnOffsetTwice, &[Law::Offsets]),
        (Flaw::PutsAgain, &[Law::Once]),
        (Flaw::KnowsNoBounds, &[Law::Room]),
        (Flaw::KeepsWhatItRefused, &[Law::Boxes]),
        (Flaw::BeginsAPageTooEarly, &[Law::Page]),
        (Flaw::GivesMoreThanThereIsRoomFor, &[Law::Page]),
        (Flaw::TakesAnyHead, &[Law::Compare]),
        (Flaw::TellsNoHead, &[Law::Compare]),
        (Flaw::LetsAnybodyBring, &[Law::Room]),
        (Flaw::DropsRecords, &[Law::Sessions]),
        (Flaw::TellsWhatWaitsInNoOrder, &[Law::Waiting]),
        (Flaw::CountsCalls, &[Law::Sets]),
        (Flaw::KeepsTheOldNote, &[Law::Notes]),
        (Flaw::KeepsAllNotes, &[Law::Notes]),
        (Flaw::MakesUpNotes, lost),
        (Flaw::BindsTooMany, &[Law::Bindings]),
        (Flaw::NeverUnbinds, &[Law::Bindings]),
        (Flaw::CountsHalf, &[Law::Used]),
        (Flaw::EndsWithoutWriting, &[Law::Stop]),
        (Flaw::LosesTheLastInACrash, lost),
        (Flaw::TearsABatch, &[Law::Unanswered]),
    ];
    for (flaw, laws) in mistakes {
        let breach = check(500, || Outlasts::new(flaw)).expect_err(&format!("nobody noticed {flaw:?}"));
        assert!(laws.contains(&breach.law), "{flaw:?}: {breach}");
    }
}
