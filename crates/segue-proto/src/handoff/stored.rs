//! A session as the journal holds it, and back.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use super::Holdings;
use super::chain::Chain;
use super::keys;
use super::session::{Actor, Session};
use crate::Violation;
use crate::clause::Rules;
use crate::clock::Instant;
use crate::event::HandoffId;
use crate::wire::codec::decode;
use crate::wire::{DeviceId, Freeze, Grant, Hash, Nonce, Proven, Record, Signed, SignedBody, Want};

/// The journal's entries of one session.
#[derive(Clone, Debug, Default)]
pub struct Stored {
    name: String,
    actor: Option<Nonce>,
    records: Vec<Vec<u8>>,
    grant: Option<Vec<u8>>,
    frozen: Option<Vec<u8>>,
    claim: Option<Vec<u8>>,
    receipts: Vec<(Hash, Vec<u8>)>,
    unproven: bool,
    /// What the session's data is made of: letter, rest of the key, value.
    pub data: Vec<(u8, Vec<u8>, Vec<u8>)>,
}

impl Stored {
    /// Takes in an entry: the letter and the rest of its key, and its value.
    ///
    /// None if no session has such an entry.
    pub fn put(&mut self, letter: u8, rest: &[u8], value: Vec<u8>) -> Option<()> {
        match letter {
            keys::NAME => self.name = String::from_utf8(value).ok()?,
            keys::ACTOR => self.actor = Some(Nonce::new(*value.first_chunk()?)),
            keys::RECORD => self.records.push(value),
            keys::GRANT => self.grant = Some(value),
            keys::FROZEN => self.frozen = Some(value),
            keys::CLAIM => self.claim = Some(value),
            keys::RECEIPT => self.receipts.push((Hash::new(*rest.first_chunk()?), value)),
            keys::UNPROVEN => self.unproven = true,
            _ => self.data.push((letter, rest.to_vec(), value)),
        }
        Some(())
    }

    /// Builds the session. `holdings` makes its data from the chain, the name and the entries that are left.
    ///
    /// Errors: what is not as this device wrote it.
    pub fn build<H: Holdings>(
        self,
        me: DeviceId,
        rules: Rules,
        now: Instant,
        handoff: HandoffId,
        holdings: impl FnOnce(&Chain, &str, Vec<(u8, Vec<u8>, Vec<u8>)>) -> Result<H, String>,
    ) -> Result<Session<H>, String> {
        let chain = chain(rules, &self.records).map_err(|why| format!("the chain: {why}"))?;
        let chain = chain.ok_or_else(|| "the chain: its genesis is missing".to_string())?;
        let nonce = self.actor.ok_or_else(|| "its actor is missing".to_string())?;
        let holdings = holdings(&chain, &self.name, self.data)?;
        let mut session = Session::new(me, &self.name, chain, Actor::new(&me, nonce), holdings);
        session.kept = true;
        if let Some(claim) = self.claim {
            let claim: Proven<Want> = journaled(&claim).map_err(|why| format!("the claim: {why}"))?;
            session.claim = Some(claim);
        }
        if let Some(grant) = self.grant {
            let grant: Grant = decode(Rules::ALL, &grant).map_err(|why| format!("the GRANT: {why}"))?;
            session.restore_grant(now, handoff, grant);
        }
        if let Some(freeze) = self.frozen {
            let freeze: Freeze = decode(Rules::ALL, &freeze).map_err(|why| format!("the FREEZE: {why}"))?;
            session.restore_freeze(now, handoff, &freeze).map_err(|why| format!("the FREEZE: {why}"))?;
        }
        for (record, kept) in self.receipts {
            session.restore_receipt(record, &kept).map_err(|why| format!("what a receipt needs: {why}"))?;
        }
        if self.unproven {
            session.distrust_store();
        }
        Ok(session)
    }
}

/// The chain of the records: parents have smaller numbers than their children.
fn chain(rules: Rules, records: &[Vec<u8>]) -> Result<Option<Chain>, Violation> {
    let mut records = records.iter().map(|bytes| journaled::<Record>(bytes)).collect::<Result<Vec<_>, _>>()?;
    records.sort_by_key(|record| record.body().n);
    let mut records = records.into_iter();
    let Some(genesis) = records.next() else { return Ok(None) };
    let mut chain = Chain::start(rules, genesis)?;
    for record in records {
        chain.admit(rules, record)?;
    }
    Ok(Some(chain))
}

fn journaled<T: SignedBody>(bytes: &[u8]) -> Result<Proven<T>, Violation> {
    let signed: Signed<T> = decode(Rules::ALL, bytes)?;
    Proven::journaled(signed)
}
