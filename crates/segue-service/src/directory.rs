//! What a service keeps, behind an interface: an embedded store is one, the engine of a cluster may be another.

use std::fmt;

use segue_proto::Rules;
use segue_proto::service::custody::{Kept, Set};
use segue_proto::wire::{BoxId, DeviceId, Hash, SessionId};

use crate::quota::Quota;

/// An envelope that is to be put.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Append {
    /// Whom it counts against: the device that puts it, or what stands for the account that it is under.
    pub by: DeviceId,
    /// What that may have.
    pub share: Share,
    /// The box.
    pub to: BoxId,
    /// The envelope.
    pub envelope: Vec<u8>,
}

impl Append {
    /// The envelope's id.
    pub fn id(&self) -> Hash {
        segue_proto::wire::hash::blob_id(&self.envelope)
    }
}

/// How much one that puts may have in a mailbox.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Share {
    /// The bytes, with ENVELOPE_COST for each envelope.
    pub bytes: u64,
    /// The envelopes.
    pub envelopes: u64,
}

/// Why an envelope has no room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Full {
    /// Its box is full.
    Box,
    /// The share of its device, or of the account, is used up.
    Device,
    /// The mailbox is full.
    Mailbox,
}

/// Envelopes of a box, in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Page {
    /// The offset of the first; 0 if there are none.
    pub first: u64,
    /// The offset of the last envelope in the box; 0 if it is empty.
    pub last: u64,
    /// The envelopes.
    pub envelopes: Vec<Vec<u8>>,
}

/// How much of a box is wanted at most.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Room {
    /// The bytes, with three for each envelope's length.
    pub bytes: usize,
    /// The envelopes.
    pub envelopes: usize,
}

impl Room {
    /// Takes room for an envelope of so many bytes; false if there isn't any.
    pub fn take(&mut self, envelope: usize) -> bool {
        match (self.bytes.checked_sub(envelope + 3), self.envelopes.checked_sub(1)) {
            (Some(bytes), Some(envelopes)) => {
                *self = Room { bytes, envelopes };
                true
            }
            _ => false,
        }
    }
}

/// What is known of a device though it has no link.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Note {
    /// When it was there last, in milliseconds since 1970.
    pub seen: u64,
    /// Whom it named in its last DISCOVER.
    pub named: Vec<DeviceId>,
}

impl Note {
    /// The devices, one behind the other.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        self.named.iter().flat_map(|device| *device.as_bytes()).collect()
    }

    /// A note from its time and [`Note::bytes`].
    pub(crate) fn of(seen: u64, bytes: &[u8]) -> Note {
        Note { seen, named: bytes.as_chunks::<32>().0.iter().map(|id| DeviceId::new(*id)).collect() }
    }
}

/// That a device is under an account because it came with a token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Binding {
    /// The account's name.
    pub account: String,
    /// When it ends, in milliseconds since 1970; 0 if it doesn't.
    pub until: u64,
}

impl Binding {
    /// Whether it hasn't ended by then.
    pub fn lasts(&self, unix_ms: u64) -> bool {
        self.until == 0 || unix_ms < self.until
    }
}

/// Why a session stays as it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unset {
    /// Its head is another than the one that was compared with; zero if the session isn't here.
    Stale(Hash),
    /// There is no room for a further session of this device.
    Full(Full),
}

/// The directory can't go on: what it was given last may or may not be durable.
#[derive(Debug)]
pub struct Failed(pub String);

impl fmt::Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the mailbox's store failed: {}", self.0)
    }
}

impl std::error::Error for Failed {}

/// What a service must not forget: boxes of envelopes with offsets, sessions in custody, notes of devices, and which are
/// under which account. `laws::check`, with the feature `testing`, puts a backend to the test of all that is said here.
///
/// **Durability.** What [`append`](Directory::append), [`set`](Directory::set), [`bind`](Directory::bind) and
/// [`unbind`](Directory::unbind) did is synced when they return, each on all that has to survive for it: a service answers
/// next, and its answer is a promise (SERVICE-HOST-2, SERVICE-CAS-2, SERVICE-LOGIN-3). [`note`](Directory::note) alone
/// may be lost in a crash, and an older note of that device, or none, stands then; after an orderly end it is there.
///
/// **Order.** Calls count in the order in which they are made, and what one did every later one sees, be it by another
/// handle or after a restart: there are no stale reads. The items of a batch are judged one behind the other, each by what
/// those before it did. Batches need be no transactions: if the process ends before a call returns, of its batch the first
/// so many are done, none or all among them, and each item wholly or not at all.
///
/// **Errors.** [`Failed`] is for the directory as a whole. The service answers nothing of what it was doing and ends; so a
/// backend that can't reach its engine for a moment waits and tries again as long as that is of use, and doesn't fail. A
/// `set` of which it isn't known whether it was made counts as failed. What has no room, or comes too late, is an outcome
/// of its item.
///
/// **Rules** are [`Rules::ALL`] but in tests, which switch a clause off to see that its loss is noticed. A backend may pass
/// over them.
///
/// Time is the caller's: no method reads a clock.
pub trait Directory: Send {
    /// Puts envelopes, in order; the offset of each, from 1 in each box without gaps: the next is one above the number of
    /// envelopes that the box holds, and none is ever given to two envelopes. One whose bytes the box holds already is put no
    /// second time, counts for nothing, and has the offset that it has, whatever room there is (SERVICE-HOST-1). What
    /// has no room by [`Quota::check`], for its box, the share of [`Append::by`] or all, is refused and changes nothing
    /// (SERVICE-HOST-3): nothing is ever removed to make room. There is one outcome for each of the batch, in its order,
    /// and all is durable (SERVICE-HOST-2).
    ///
    /// # Errors
    /// The directory failed as a whole, and takes nothing any more.
    fn append(&mut self, rules: Rules, batch: &[Append], quota: &Quota) -> Result<Vec<Result<u64, Full>>, Failed>;

    /// The envelopes of a box behind an offset, in the order of their offsets and without gaps, as long as
    /// [`Room::take`] has room for the next; and the last offset of the box, whatever was asked for. A box into which
    /// nothing was put is an empty one, and an offset beyond the last is no mistake.
    ///
    /// # Errors
    /// As [`Directory::append`].
    fn fetch(&self, of: &BoxId, after: u64, room: Room) -> Result<Page, Failed>;

    /// Changes sessions, in order, each if its head is the one that the change was made for (SERVICE-CAS-1): zero for one
    /// that isn't here yet; a new head is never zero. Comparing and changing are one step, which no other handle gets in
    /// between: of two changes for one head the first is made, and the other is told the head that it made. A change
    /// appends its records to those that are kept, and replaces the grant and the lease if it names them. A session that
    /// isn't here counts against [`Set::by`], which may bring so many as the quota says, for good. When this returns all
    /// of it is durable (SERVICE-CAS-2).
    ///
    /// # Errors
    /// As [`Directory::append`].
    fn set(&mut self, rules: Rules, batch: &[Set], quota: &Quota) -> Result<Vec<Result<(), Unset>>, Failed>;

    /// A session in custody: its head, all its records in the order in which they came, the grant and the lease; none if
    /// it was never brought. It is what the last `set` made of it, by whatever handle: who sees an older head shows a device
    /// less than it was shown before, which is reported as a fork (SERVICE-FORK-1).
    ///
    /// # Errors
    /// As [`Directory::append`].
    fn kept(&self, session: &SessionId) -> Result<Option<Kept>, Failed>;

    /// The sessions of which a grant waits for its acknowledgement (it isn't empty), or whose owner has a lease (it isn't
    /// 0), ascending. Asked once, as the service starts.
    ///
    /// # Errors
    /// As [`Directory::append`].
    fn waiting(&self) -> Result<Vec<SessionId>, Failed>;

    /// How often a session was changed, in all. It never falls, unless an older copy of the directory is put back: that is
    /// how a host notices so, and takes a new tenure (SERVICE-TENURE-1).
    ///
    /// # Errors
    /// As [`Directory::append`].
    fn sets(&self) -> Result<u64, Failed>;

    /// Keeps a note of a device in place of the one before. Beyond `most` notes the one goes whose device was seen
    /// longest ago, the smallest of several; it may be this one. What was noted may be lost in a crash; what comes back is
    /// a note that was made of that device, or none, and `most` at most.
    ///
    /// # Errors
    /// As [`Directory::append`].
    fn note(&mut self, device: &DeviceId, note: &Note, most: usize) -> Result<(), Failed>;

    /// The note of a device.
    ///
    /// # Errors
    /// As [`Directory::append`].
    fn noted(&self, device: &DeviceId) -> Result<Option<Note>, Failed>;

    /// The bytes that were put so far of what counts against one, with ENVELOPE_COST for each envelope: 0 if nothing was.
    ///
    /// # Errors
    /// As [`Directory::append`].
    fn used(&self, by: &DeviceId) -> Result<u64, Failed>;

    /// Puts a device under an account, in place of what it was under; false, and nothing changes, if `most` others are
    /// under it whose bindings last at `unix_ms` ([`Binding::lasts`]), and the device isn't by one that lasts. If it is put
    /// there the bindings of this account that ended go; those of others stay. Counting and putting are one step, as in
    /// [`Directory::set`]. When this returns, all of it is durable (SERVICE-LOGIN-3).
    ///
    /// # Errors
    /// As [`Directory::append`].
    fn bind(&mut self, device: &DeviceId, binding: &Binding, most: usize, unix_ms: u64) -> Result<bool, Failed>;

    /// Takes a device from its account, durably; one that is under none stays so.
    ///
    /// # Errors
    /// As [`Directory::append`].
    fn unbind(&mut self, device: &DeviceId) -> Result<(), Failed>;

    /// Under which account a device is, though that may have ended.
    ///
    /// # Errors
    /// As [`Directory::append`].
    fn bound(&self, device: &DeviceId) -> Result<Option<Binding>, Failed>;
}
