//! What the journal keeps of mailboxes: `m` ‖ one letter ‖ the rest.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;

use crate::journal::Write;
use crate::seal::ContentKey;
use crate::wire::{BoxId, DeviceId, Hash, KeyId, Nonce, SessionId};

/// What every key of a mailbox starts with.
pub(in crate::endpoint) const PREFIX: u8 = b'm';
/// The content keys, by session and id.
const KEY: u8 = b'k';
/// Up to which offset a box was fetched, by mailbox and box.
const FETCHED: u8 = b'f';
/// What was put into a box, by mailbox and box.
const PUT: u8 = b'p';
/// Who was invited, by mailbox, session, key and device.
const TOLD: u8 = b't';

/// What of content was put, by mailbox and box.
const SHARED: u8 = b's';
/// The heads of the roster below which a device was told everything, by mailbox and device.
const ROSTER: u8 = b'r';
/// How many lacks of content were told of, by session.
const LACKS: u8 = b'l';
/// What the host of a mailbox keeps here, by its own keys.
const HOSTED: u8 = b'h';

/// A content key of a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::endpoint) struct HeldKey {
    pub(in crate::endpoint) epoch: u32,
    pub(in crate::endpoint) key: ContentKey,
    /// The devices that its maker knew to be revoked.
    pub(in crate::endpoint) without: BTreeSet<DeviceId>,
}

/// What was fetched of a box.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::endpoint) struct Fetched {
    pub(in crate::endpoint) at: u64,
    /// The number of the last letter of each device.
    pub(in crate::endpoint) counts: BTreeMap<DeviceId, u64>,
}

/// What was put into a box.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::endpoint) struct PutAt {
    /// The own log of changes, and the position in it up to which everything is in the box.
    pub(in crate::endpoint) log: Option<Nonce>,
    pub(in crate::endpoint) at: u64,
    /// How many letters that took.
    pub(in crate::endpoint) count: u64,
    /// The head that is in the box.
    pub(in crate::endpoint) head: Option<Hash>,
    /// The highest offset that the mailbox gave a letter.
    pub(in crate::endpoint) offset: u64,
}

/// Everything that the journal holds of mailboxes.
#[derive(Clone, Debug, Default)]
pub(in crate::endpoint) struct Book {
    pub(in crate::endpoint) keys: BTreeMap<SessionId, BTreeMap<KeyId, HeldKey>>,
    pub(in crate::endpoint) fetched: BTreeMap<(DeviceId, BoxId), Fetched>,
    pub(in crate::endpoint) puts: BTreeMap<(DeviceId, BoxId), PutAt>,
    pub(in crate::endpoint) told: BTreeSet<(DeviceId, SessionId, KeyId, DeviceId)>,
    pub(in crate::endpoint) shared: BTreeSet<(DeviceId, BoxId)>,
    pub(in crate::endpoint) roster: BTreeMap<(DeviceId, DeviceId), Vec<Hash>>,
    /// The number of the last lack of content that was told of, by session.
    pub(in crate::endpoint) lacks: BTreeMap<SessionId, u64>,
    pub(in crate::endpoint) hosted: Vec<(Vec<u8>, Vec<u8>)>,
}

impl Book {
    /// Takes an entry of the journal in; none if it isn't one.
    pub(in crate::endpoint) fn restore(&mut self, key: &[u8], value: &[u8]) -> Option<()> {
        let (letter, rest) = key.strip_prefix(&[PREFIX])?.split_first()?;
        match *letter {
            KEY => {
                let (session, id) = rest.split_first_chunk::<16>()?;
                let (epoch, rest) = value.split_first_chunk::<4>()?;
                let (key, without) = rest.split_first_chunk::<32>()?;
                let without =
                    without.chunks(32).map(|id| Some(DeviceId::new(*id.first_chunk()?))).collect::<Option<_>>()?;
                let held = HeldKey { epoch: u32::from_be_bytes(*epoch), key: ContentKey::new(*key), without };
                let id = KeyId::new(id.try_into().ok()?);
                self.keys.entry(SessionId::new(*session)).or_default().insert(id, held);
            }
            FETCHED => {
                let (at, counts) = value.split_first_chunk::<8>()?;
                let count = |bytes: &[u8]| {
                    let (device, count) = bytes.split_first_chunk::<32>()?;
                    Some((DeviceId::new(*device), u64::from_be_bytes(count.try_into().ok()?)))
                };
                let counts = counts.chunks(40).map(count).collect::<Option<_>>()?;
                self.fetched.insert(place(rest)?, Fetched { at: u64::from_be_bytes(*at), counts });
            }
            PUT => {
                let (log, rest_of) = value.split_first_chunk::<16>()?;
                let (at, rest_of) = rest_of.split_first_chunk::<8>()?;
                let (count, rest_of) = rest_of.split_first_chunk::<8>()?;
                let (head, offset) = rest_of.split_first_chunk::<32>()?;
                // Stores of before have none.
                let offset = if offset.is_empty() { [0; 8] } else { offset.try_into().ok()? };
                let put = PutAt {
                    log: Some(Nonce::new(*log)),
                    at: u64::from_be_bytes(*at),
                    count: u64::from_be_bytes(*count),
                    head: Hash::new(*head).some(),
                    offset: u64::from_be_bytes(offset),
                };
                self.puts.insert(place(rest)?, put);
            }
            TOLD => {
                let (service, rest) = rest.split_first_chunk::<32>()?;
                let (session, rest) = rest.split_first_chunk::<16>()?;
                let (key, device) = rest.split_first_chunk::<16>()?;
                let (service, device) = (DeviceId::new(*service), DeviceId::new(device.try_into().ok()?));
                self.told.insert((service, SessionId::new(*session), KeyId::new(*key), device));
            }
            SHARED => {
                self.shared.insert(place(rest)?);
            }
            ROSTER => {
                let (service, device) = place(rest)?;
                let heads = value.chunks(32).map(|id| Some(Hash::new(*id.first_chunk()?))).collect::<Option<_>>()?;
                self.roster.insert((service, DeviceId::new(*device.as_bytes())), heads);
            }
            LACKS => {
                let number = u64::from_be_bytes(value.try_into().ok()?);
                self.lacks.insert(SessionId::new(rest.try_into().ok()?), number);
            }
            HOSTED => self.hosted.push((rest.to_vec(), value.to_vec())),
            _ => return None,
        }
        Some(())
    }

    pub(in crate::endpoint) fn keep_key(&mut self, session: SessionId, held: HeldKey) -> Write {
        let id = held.key.id();
        let without = held.without.iter().flat_map(|device| *device.as_bytes());
        let value = held.epoch.to_be_bytes().into_iter().chain(*held.key.as_bytes()).chain(without).collect();
        let key = [&[PREFIX, KEY], session.as_bytes().as_slice(), id.as_bytes()].concat();
        self.keys.entry(session).or_default().insert(id, held);
        Write { key, value: Some(value) }
    }

    pub(in crate::endpoint) fn keep_fetched(&mut self, service: DeviceId, of: BoxId, fetched: Fetched) -> Write {
        let counts = fetched
            .counts
            .iter()
            .flat_map(|(device, count)| [device.as_bytes().as_slice(), &count.to_be_bytes()].concat());
        let value: Vec<u8> = fetched.at.to_be_bytes().into_iter().chain(counts).collect();
        self.fetched.insert((service, of), fetched);
        Write { key: box_key(FETCHED, &service, &of), value: Some(value) }
    }

    pub(in crate::endpoint) fn keep_put(&mut self, service: DeviceId, to: BoxId, put: PutAt) -> Write {
        let (log, head) = (put.log.unwrap_or(Nonce::ZERO), put.head.unwrap_or(Hash::ZERO));
        let numbers = [put.at.to_be_bytes(), put.count.to_be_bytes()].concat();
        let value = [log.as_bytes().as_slice(), &numbers, head.as_bytes(), &put.offset.to_be_bytes()].concat();
        self.puts.insert((service, to), put);
        Write { key: box_key(PUT, &service, &to), value: Some(value) }
    }

    pub(in crate::endpoint) fn keep_shared(&mut self, service: DeviceId, to: BoxId) -> Write {
        self.shared.insert((service, to));
        Write { key: box_key(SHARED, &service, &to), value: Some(Vec::new()) }
    }

    pub(in crate::endpoint) fn keep_roster(&mut self, service: DeviceId, device: DeviceId, heads: Vec<Hash>) -> Write {
        let value = heads.iter().flat_map(|head| *head.as_bytes()).collect();
        self.roster.insert((service, device), heads);
        Write { key: roster_key(&service, &device), value: Some(value) }
    }

    /// One more lack of content is told of.
    pub(in crate::endpoint) fn keep_lack(&mut self, session: SessionId) -> Write {
        let number = self.lacks.entry(session).or_default();
        *number = number.saturating_add(1);
        let key = [&[PREFIX, LACKS], session.as_bytes().as_slice()].concat();
        Write { key, value: Some(number.to_be_bytes().to_vec()) }
    }

    /// Content, invitations and entries of the roster that were put into a mailbox, which lost envelopes, may not be there
    /// any more.
    pub(in crate::endpoint) fn forget(&mut self, service: &DeviceId) -> Vec<Write> {
        let shared = self.shared.extract_if(.., |(of, _)| of == service).map(|(of, to)| box_key(SHARED, &of, &to));
        let roster = self.roster.extract_if(.., |(of, _), _| of == service);
        let roster = roster.map(|((of, device), _)| roster_key(&of, &device));
        let told = self.told.extract_if(.., |(of, ..)| of == service);
        let told = told.map(|(of, session, key, device)| told_key(&of, &session, &key, &device));
        shared.chain(roster).chain(told).map(|key| Write { key, value: None }).collect()
    }

    pub(in crate::endpoint) fn keep_told(
        &mut self,
        service: DeviceId,
        session: SessionId,
        key: KeyId,
        device: DeviceId,
    ) -> Write {
        self.told.insert((service, session, key, device));
        Write { key: told_key(&service, &session, &key, &device), value: Some(Vec::new()) }
    }
}

/// An entry of the host.
pub(super) fn hosted(key: &[u8], value: Vec<u8>) -> Write {
    Write { key: [&[PREFIX, HOSTED], key].concat(), value: Some(value) }
}

fn roster_key(service: &DeviceId, device: &DeviceId) -> Vec<u8> {
    [&[PREFIX, ROSTER], service.as_bytes().as_slice(), device.as_bytes()].concat()
}

fn told_key(service: &DeviceId, session: &SessionId, key: &KeyId, device: &DeviceId) -> Vec<u8> {
    let place = [service.as_bytes().as_slice(), session.as_bytes(), key.as_bytes(), device.as_bytes()].concat();
    [&[PREFIX, TOLD], place.as_slice()].concat()
}

fn box_key(letter: u8, service: &DeviceId, of: &BoxId) -> Vec<u8> {
    [&[PREFIX, letter], service.as_bytes().as_slice(), of.as_bytes()].concat()
}

fn place(rest: &[u8]) -> Option<(DeviceId, BoxId)> {
    let (service, of) = rest.split_first_chunk::<32>()?;
    Some((DeviceId::new(*service), BoxId::new(of.try_into().ok()?)))
}
