//! Opening: from what the journal holds back to where the device stood, or a refusal if that can't be (SEC-STORE-1).

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use super::Endpoint;
use super::bulk::Bulk;
use super::outputs::Outputs;
use super::session_data::{SessionData, StoredData};
use super::standby::Standbys;
use super::syncing::Syncing;
use crate::Code;
use crate::clause::Clause;
use crate::clock::Instant;
use crate::event::Config;
use crate::fresh::Fresh;
use crate::generations::Generation;
use crate::handoff::{Chain, Effects, Stored, keys};
use crate::journal::{Continuity, Lsn, Write};
use crate::link::Links;
use crate::wire::{DeviceId, Hash, SessionId};

/// The device's own floor.
const FLOOR: &[u8] = b"dfloor";
/// There once the store's continuity wasn't proven.
const RESTORED: &[u8] = b"drestored";

/// The journal holds something that this device can't have written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenError {
    /// `STORE_CORRUPT`.
    pub code: Code,
    /// What, and where.
    pub what: String,
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {}", self.code, self.what)
    }
}

impl core::error::Error for OpenError {}

impl Endpoint {
    /// Opens a device with what its journal holds; `last` is the LSN of the last batch in it.
    ///
    /// `entropy` is 32 fresh random bytes. A store whose continuity isn't proven takes new actors: the device
    /// contributes, and owns nothing until it is granted anew (HO-STORE-1, HO-STORE-2).
    ///
    /// Errors: the entries aren't ones that this device wrote.
    pub fn open(
        config: Config,
        entries: impl IntoIterator<Item = (Vec<u8>, Vec<u8>)>,
        last: Lsn,
        continuity: Continuity,
        entropy: [u8; 32],
        now: Instant,
    ) -> Result<Self, OpenError> {
        let mut fresh = Fresh::new(entropy);
        let boot = fresh.nonce();
        let mut endpoint = Endpoint {
            config,
            boot,
            fresh,
            links: Links::default(),
            routes: BTreeMap::new(),
            peers: BTreeMap::new(),
            trusted: BTreeSet::new(),
            sessions: BTreeMap::new(),
            wishes: BTreeMap::new(),
            picks: BTreeMap::new(),
            usual: Vec::new(),
            births: BTreeMap::new(),
            signing: BTreeMap::new(),
            auths: BTreeMap::new(),
            offers: BTreeMap::new(),
            pauses: super::pauses::Pauses::default(),
            account: super::account::Account::default(),
            cuts: alloc::sync::Arc::default(),
            making: BTreeMap::new(),
            seen: super::snapshots::Seen::default(),
            bulk: Bulk::default(),
            standbys: Standbys::default(),
            serving: super::serving::Serving::default(),
            syncing: Syncing::default(),
            mailboxes: super::mailbox::Mailboxes::default(),
            owed: BTreeSet::new(),
            custodian: super::custody::Custodian::default(),
            out: Outputs::default(),
            last,
            durable: last,
            unsynced_receipts: Vec::new(),
            restored: false,
            halted: false,
        };
        let rules = endpoint.config.rules;
        let wrong = |what: &str, place: &[u8]| match rules.keeps(Clause::SEC_STORE_1) {
            true => Err(corrupt(what, place)),
            false => Ok(()),
        };
        let mut sessions: BTreeMap<SessionId, Stored> = BTreeMap::new();
        let mut floor = None;
        let mut account = Vec::new();
        for (key, value) in entries {
            if key == FLOOR {
                floor = value.first().copied().and_then(Generation::from_number);
            } else if key == RESTORED {
                endpoint.restored = true;
            } else if key == super::custody::TENURE {
                let tenure = value.first_chunk().copied().map(Hash::new);
                endpoint.custodian.tenure = tenure.filter(|_| continuity == Continuity::Proven);
            } else if let Some(device) = key.strip_prefix(super::snapshots::Seen::KEY) {
                endpoint.seen.restore(device, &value).ok_or_else(|| corrupt("the entry", &key))?;
            } else if crate::account::keys::split(&key).is_some() {
                account.push(value);
            } else if key.first() == Some(&super::mailbox::keys::PREFIX) {
                let book = &mut endpoint.mailboxes.book;
                book.restore(&key, &value).map_or_else(|| wrong("the entry", &key), Ok)?;
            } else if let Some((session, letter, rest)) = keys::split(&key) {
                let put = sessions.entry(session).or_default().put(letter, rest, value);
                put.map_or_else(|| wrong("the entry", &key), Ok)?;
            } else {
                wrong("an unknown key", &key)?;
            }
        }
        let mut writes = endpoint.restore_device(floor, continuity);
        endpoint.account.roster = match super::account::restore(rules, account) {
            Ok(roster) => roster,
            Err(why) => wrong(&format!("the account: {why}"), b"ae").map(|()| None)?,
        };
        for (id, entries) in sessions {
            let me = endpoint.config.device;
            let data = |chain: &Chain, name: &str, entries| restore_data(id, me, chain, name, entries);
            match entries.build(me, rules, now, endpoint.fresh.handoff(), data) {
                Ok(session) => drop(endpoint.sessions.insert(id, session)),
                Err(what) => wrong(&what, id.as_bytes())?,
            }
        }
        if continuity == Continuity::Unproven {
            writes.append(&mut endpoint.renew_actors());
        }
        // One batch: a store whose continuity isn't proven is doubted until all of it is durable.
        endpoint.commit(writes, false);
        endpoint.cut_sessions(now);
        endpoint.resume_revocations(now);
        Ok(endpoint)
    }

    fn restore_device(&mut self, floor: Option<Generation>, continuity: Continuity) -> Vec<Write> {
        let mut writes = Vec::new();
        let durable = self.config.rules.keeps(Clause::GEN_ROLLBACK_1);
        if let Some(floor) = floor.filter(|floor| *floor > self.config.floor && durable) {
            self.config.floor = floor;
        }
        if floor != Some(self.config.floor) {
            writes.push(Write { key: FLOOR.to_vec(), value: Some(alloc::vec![self.config.floor.number()]) });
        }
        if continuity == Continuity::Unproven && !self.restored {
            self.restored = true;
            writes.push(Write { key: RESTORED.to_vec(), value: Some(Vec::new()) });
        }
        writes
    }

    fn renew_actors(&mut self) -> Vec<Write> {
        let mut fx = Effects::default();
        let rules = self.config.rules;
        for (id, session) in &mut self.sessions {
            if rules.keeps(Clause::HO_STORE_2) {
                session.renew_actor(self.fresh.nonce(), &mut fx);
            }
            fx.writes.extend(session.holdings.rename_log(self.fresh.nonce()));
            session.distrust_store();
            fx.writes.push(keys::put(*id, keys::UNPROVEN, &[], Vec::new()));
        }
        fx.writes
    }
}

/// The data of a session from its entries in the journal.
fn restore_data(
    id: SessionId,
    me: DeviceId,
    chain: &Chain,
    name: &str,
    entries: Vec<(u8, Vec<u8>, Vec<u8>)>,
) -> Result<SessionData, String> {
    let own = chain.line().first().is_some_and(|first| first.body().signer == me);
    let mut stored = StoredData::new(own);
    for (letter, rest, value) in entries {
        stored.put(letter, &rest, value).ok_or_else(|| String::from("the data: an entry of no known kind"))?;
    }
    SessionData::restore(id, name, stored).map_err(|why| format!("the data: {why}"))
}

fn corrupt(what: &str, place: &[u8]) -> OpenError {
    let place: String = place.iter().take(20).map(|byte| format!("{byte:02x}")).collect();
    OpenError { code: Code::STORE_CORRUPT, what: format!("{what} (entry {place}) isn't what this device wrote") }
}
