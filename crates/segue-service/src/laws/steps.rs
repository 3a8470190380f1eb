//! What is asked of a directory that is put to the test: few boxes, sessions and devices, so that they meet.

use proptest::prelude::*;
use segue_proto::Rules;
use segue_proto::service::custody::Set;
use segue_proto::wire::{BoxId, DeviceId, Hash, SessionId};

use super::{Law, Model};
use crate::directory::{Append, Binding, Directory, Failed, Full, Note, Page, Room, Share, Unset};
use crate::quota::Quota;

/// Something that happens to a directory.
#[derive(Clone, Debug)]
pub(super) enum Step {
    /// A call that is answered.
    Call(Call),
    /// The process ends in good order.
    Close,
    /// It crashes while nothing is asked.
    Crash,
    /// It crashes before a call is answered.
    Cut(Call),
}

/// A call.
#[derive(Clone, Debug)]
pub(super) enum Call {
    Append(Vec<Append>),
    Fetch(BoxId, u64, Room),
    Set(Vec<Set>),
    Note(DeviceId, Note),
    Bind(DeviceId, Binding, u64),
    Unbind(DeviceId),
}

/// What a call gave.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    Appended(Vec<Result<u64, Full>>),
    Fetched(Page),
    Set(Vec<Result<(), Unset>>),
    Bound(bool),
    Done,
}

impl Call {
    pub(super) fn run(&self, it: &mut impl Directory) -> Result<Outcome, Failed> {
        Ok(match self {
            Call::Append(batch) => Outcome::Appended(it.append(Rules::ALL, batch, &QUOTA)?),
            Call::Fetch(of, after, room) => Outcome::Fetched(it.fetch(of, *after, *room)?),
            Call::Set(batch) => Outcome::Set(it.set(Rules::ALL, batch, &QUOTA)?),
            Call::Note(device, note) => {
                it.note(device, note, MOST)?;
                Outcome::Done
            }
            Call::Bind(device, binding, now) => Outcome::Bound(it.bind(device, binding, MOST, *now)?),
            Call::Unbind(device) => {
                it.unbind(device)?;
                Outcome::Done
            }
        })
    }

    /// What may have been done of it if it isn't answered: the first of a batch, none or all among them.
    pub(super) fn parts(&self) -> Vec<Call> {
        match self {
            Call::Append(batch) => (0..=batch.len()).map(|count| Call::Append(batch[..count].to_vec())).collect(),
            Call::Set(batch) => (0..=batch.len()).map(|count| Call::Set(batch[..count].to_vec())).collect(),
            other => vec![Call::Append(Vec::new()), other.clone()],
        }
    }

    /// Which law an outcome breaks that isn't the expected one, and where in the batch; `before` is what the model held.
    pub(super) fn broken(&self, before: &Model, expected: &Outcome, found: &Outcome) -> Option<(Law, usize)> {
        if expected == found {
            return None;
        }
        Some(match (self, expected, found) {
            (Call::Append(batch), Outcome::Appended(expected), Outcome::Appended(found)) => {
                let at = expected.iter().zip(found).position(|(expected, found)| expected != found).unwrap_or(0);
                let twice = |it: &Append| {
                    before.holds(it) || batch[..at].iter().any(|other| (other.to, other.id()) == (it.to, it.id()))
                };
                match (expected.get(at), batch.get(at)) {
                    (Some(Err(_)), _) => (Law::Room, at),
                    (_, Some(it)) if twice(it) => (Law::Once, at),
                    _ => (Law::Offsets, at),
                }
            }
            (_, Outcome::Set(expected), Outcome::Set(found)) => {
                let at = expected.iter().zip(found).position(|(expected, found)| expected != found).unwrap_or(0);
                let full = matches!(expected.get(at), Some(Err(Unset::Full(_))));
                (if full { Law::Room } else { Law::Compare }, at)
            }
            (_, Outcome::Fetched(_), _) => (Law::Page, 0),
            _ => (Law::Bindings, 0),
        })
    }
}

/// Sequences of steps.
pub(super) fn sequences() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        16 => call().prop_map(Step::Call),
        1 => Just(Step::Close),
        2 => Just(Step::Crash),
        2 => call().prop_map(Step::Cut),
    ];
    prop::collection::vec(step, 1..30)
}

fn call() -> impl Strategy<Value = Call> {
    let after = prop_oneof![8 => 0..8u64, 1 => Just(u64::MAX)];
    let room = (0..1_000usize, 0..5usize).prop_map(|(bytes, envelopes)| Room { bytes, envelopes });
    let named = prop::collection::vec(0..DEVICES, 0..3).prop_map(|named| named.into_iter().map(device).collect());
    prop_oneof![
        4 => prop::collection::vec(append(), 0..5).prop_map(Call::Append),
        3 => (0..=BOXES, after, room).prop_map(|(of, after, room)| Call::Fetch(BoxId::new([of; 32]), after, room)),
        5 => prop::collection::vec(set(), 1..4).prop_map(Call::Set),
        2 => (0..DEVICES, 0..9u64, named).prop_map(|(by, seen, named)| Call::Note(device(by), Note { seen, named })),
        3 => (0..DEVICES, 0..2u8, 0..6u64, 0..6u64).prop_map(|(by, account, until, now)| {
            Call::Bind(device(by), Binding { account: format!("account {account}"), until }, now)
        }),
        1 => (0..DEVICES).prop_map(|by| Call::Unbind(device(by))),
    ]
}

fn append() -> impl Strategy<Value = Append> {
    let len = prop_oneof![1 => Just(0usize), 4 => Just(10), 4 => Just(300)];
    (0..3u8, 0..BOXES, 0..6u8, len).prop_map(|(by, to, fill, len)| {
        let share = Share { bytes: 3_000 - 1_000 * u64::from(by), envelopes: 9 };
        Append { by: device(by), share, to: BoxId::new([to; 32]), envelope: vec![fill; len] }
    })
}

/// A change of a session. Heads are zero (none), 1 and 2.
fn set() -> impl Strategy<Value = Set> {
    let grant = prop_oneof![Just(None), Just(Some(Vec::new())), Just(Some(vec![7; 9]))];
    let lease = prop_oneof![Just(None), Just(Some(0u64)), Just(Some(5))];
    let records = prop::collection::vec(prop::collection::vec(any::<u8>(), 0..4), 0..3);
    (0..3u8, 0..SESSIONS, 0..3u8, 1..3u8, records, grant, lease).prop_map(
        |(by, session, expect, head, records, grant, lease)| {
            let hash = |number: u8| if number == 0 { Hash::ZERO } else { Hash::new([number; 32]) };
            let (by, session) = (device(by), SessionId::new([session; 16]));
            Set { by, session, expect: hash(expect), head: hash(head), records, grant, lease }
        },
    )
}

/// The boxes that are looked at: those into which something is put, and an empty one.
pub(super) fn boxes() -> impl Iterator<Item = BoxId> {
    (0..=BOXES).map(|at| BoxId::new([at; 32]))
}

/// The sessions that are looked at, one of which nobody brings.
pub(super) fn sessions() -> impl Iterator<Item = SessionId> {
    (0..=SESSIONS).map(|at| SessionId::new([at; 16]))
}

/// The devices that are looked at.
pub(super) fn devices() -> impl Iterator<Item = DeviceId> {
    (0..DEVICES).map(device)
}

fn device(number: u8) -> DeviceId {
    DeviceId::new([number; 32])
}

/// So little that each bound is met.
const QUOTA: Quota = Quota {
    box_bytes: 1_800,
    box_envelopes: 5,
    device_bytes: 3_000,
    device_envelopes: 9,
    device_sessions: 2,
    bytes: 5_000,
    rate: 1,
    burst: 1,
};
/// More than a box holds.
pub(super) const ROOM: Room = Room { bytes: 100_000, envelopes: 1_000 };
/// The notes that are kept, and the devices of an account.
const MOST: usize = 2;
const BOXES: u8 = 3;
const SESSIONS: u8 = 3;
const DEVICES: u8 = 5;
