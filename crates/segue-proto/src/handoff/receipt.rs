//! Receipts: what this device keeps of the handoffs that it gave or took, and how anybody verifies one (spec section 7.14).

use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use super::chain::Chain;
use super::effects::Ctx;
use super::holdings::Holdings;
use super::keys;
use super::session::Session;
use super::target::ack_message;
use crate::clause::{Clause, Rules};
use crate::limits::{MAX_RECEIPTS, MAX_TALLIES};
use crate::wire::codec::{decode, encode};
use crate::wire::{
    Ack, DeviceId, Final, Hash, Kind, List, Opt, Proven, Receipt, Record, SessionId, Sig, Signed, Statement, Tally,
    Want, id_of, signing_bytes, verify_message,
};
use crate::{Code, Violation};

/// What moved and what stayed, by merge kind.
pub type Tallies = (List<Tally, MAX_TALLIES>, List<Tally, MAX_TALLIES>);

/// What is kept of a handoff, beside its record.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(super) struct Kept {
    want: Signed<Want>,
    end: Signed<Final>,
    ack: Opt<Ack>,
    moved: List<Tally, MAX_TALLIES>,
    left: List<Tally, MAX_TALLIES>,
}

/// A receipt that lacks this device's signatures.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Draft {
    chain: Vec<Signed<Record>>,
    record: Hash,
    kept: Kept,
    statement: Statement,
    /// The acknowledgement is this device's own to sign.
    acknowledges: bool,
}

impl Draft {
    /// Makes the receipt with this device's key. None if its chain is longer than a receipt holds.
    pub fn sign(self, sign: impl Fn(&[u8]) -> Sig) -> Option<Receipt> {
        let Draft { chain, record, kept: Kept { want, end, mut ack, .. }, statement, acknowledges } = self;
        if acknowledges {
            ack = Some(Ack { record, sig: sign(&ack_message(&record)) }).into();
        }
        let body = encode(&statement);
        let sig = sign(&signing_bytes::<Statement>(id_of::<Statement>(&body)));
        let statement = Signed::from_parts(body, sig)?;
        Some(Receipt { chain: List::new(chain)?, want, end, ack, statement })
    }
}

/// What a receipt proves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Handed {
    /// The session.
    pub session: SessionId,
    /// The record by which it was handed over.
    pub record: Hash,
    /// The old owner.
    pub source: DeviceId,
    /// The new owner.
    pub target: DeviceId,
    /// The record's term.
    pub term: u64,
    /// Its number.
    pub n: u64,
    /// The root of the data that moved.
    pub root: Hash,
    /// The hash of the manifest that lists it.
    pub manifest: Hash,
    /// Who says what moved and what stayed.
    pub by: DeviceId,
    /// What moved, by merge kind.
    pub moved: Vec<Tally>,
    /// What stayed, by merge kind.
    pub left: Vec<Tally>,
    /// The owners up to then: each record with the owner from then on.
    pub chain: Vec<(Hash, DeviceId)>,
}

impl Receipt {
    /// The bytes of a file that holds it.
    pub fn to_bytes(&self) -> Vec<u8> {
        encode(self)
    }

    /// Verifies a receipt from the bytes of its file: HO-RECEIPT-1 and HO-RECEIPT-2, in the order of their list.
    pub fn verify(bytes: &[u8]) -> Result<Handed, Violation> {
        let rules = Rules::ALL;
        let Receipt { chain: records, want, end, ack, statement } = decode(rules, bytes)?;
        let mut proven = Vec::new();
        for record in records.into_vec() {
            proven.push(record.prove(rules, |record: &Record| record.signer)?);
        }
        let want = want.prove(rules, |want: &Want| want.target)?;
        let said = statement.prove(rules, |said: &Statement| said.by)?;
        let at = proven.iter().position(|record| record.body().want == want.id()).ok_or(broken(Code::HO_NO_CONSENT))?;
        let follows = consecutive(rules, &proven)?;
        let record = proven.get(at).filter(|record| record.body().kind == Kind::Grant.number());
        let record = record.ok_or(broken(Code::HO_NO_CONSENT))?;
        let parent = at.checked_sub(1).and_then(|at| proven.get(at)).ok_or(broken(Code::HO_CHAIN))?;
        let (body, source) = (record.body(), parent.body().owner);
        let consents = want.body().target == body.owner && want.body().parent == body.parent;
        rules.ensure(Clause::HO_RECEIPT_1, consents, Code::HO_NO_CONSENT)?;
        let end = end.prove(rules, |_: &Final| source)?;
        let fits = end.body().parent == body.parent && end.body().session == body.session;
        rules.ensure(Clause::HO_RECEIPT_1, fits, Code::HO_FINAL)?;
        let signed = ack
            .get()
            .map(|ack| ack.record == record.id() && verify_message(&body.owner, &ack_message(&ack.record), &ack.sig));
        rules.ensure(Clause::HO_RECEIPT_1, signed != Some(false), Code::AUTH_SIGNATURE)?;
        let next = proven.get(at + 1);
        let continued = next.is_some_and(|next| next.body().signer == body.grantor);
        let ends = next.is_none() || continued && at + 2 == proven.len();
        rules.ensure(Clause::HO_RECEIPT_1, follows && ends, Code::HO_CHAIN)?;
        rules.ensure(Clause::HO_RECEIPT_1, signed.is_some() || continued, Code::DATA_INCOMPLETE)?;
        let by = said.body().by;
        let about = said.body().record == record.id() && said.body().session == body.session;
        rules.ensure(Clause::HO_RECEIPT_2, about && (by == source || by == body.owner), Code::HO_NOT_OWNER)?;
        let ascend = |of: &[Tally]| of.windows(2).all(|two| matches!(two, [a, b] if a.kind < b.kind));
        let tidy = ascend(&said.body().moved) && ascend(&said.body().left);
        rules.ensure(Clause::HO_RECEIPT_2, tidy, Code::WIRE_VALUE)?;
        Ok(Handed {
            session: body.session,
            record: record.id(),
            source,
            target: body.owner,
            term: body.term,
            n: body.n,
            root: end.body().root,
            manifest: end.body().manifest,
            by,
            moved: said.body().moved.to_vec(),
            left: said.body().left.to_vec(),
            chain: proven.iter().take(at + 1).map(|record| (record.id(), record.body().owner)).collect(),
        })
    }
}

/// Whether records follow one another from a genesis on.
fn consecutive(rules: Rules, records: &[Proven<Record>]) -> Result<bool, Violation> {
    let mut records = records.iter();
    let genesis = records.next().cloned().ok_or(broken(Code::HO_CHAIN))?;
    let (mut chain, mut last) = (Chain::start(rules, genesis.clone())?, genesis.id());
    for record in records {
        if record.body().parent != last {
            return Ok(false);
        }
        last = record.id();
        chain.admit(rules, record.clone())?;
    }
    Ok(true)
}

fn broken(code: Code) -> Violation {
    Violation::new(code, Clause::HO_RECEIPT_1)
}

impl<H: Holdings> Session<H> {
    /// Keeps what a receipt needs of a handoff that was signed here, or to here.
    pub(super) fn keep_receipt(&mut self, ctx: &mut Ctx<'_>, record: Hash, want: Signed<Want>, end: Signed<Final>) {
        let manifest = end.open(Rules::ALL).map(|end: Final| end.manifest).unwrap_or(Hash::ZERO);
        let Some((moved, left)) = self.holdings.tally(&manifest) else { return };
        let kept = Kept { want, end, ack: None.into(), moved, left };
        ctx.fx.writes.push(keys::put(self.id(), keys::RECEIPT, record.as_bytes(), encode(&kept)));
        self.receipts.insert(record, kept);
        while self.receipts.len() > MAX_RECEIPTS {
            let epoch = |id: &Hash| self.chain.get(id).map(|record| (record.body().term, record.body().n));
            let Some(oldest) = self.receipts.keys().copied().min_by_key(epoch) else { return };
            self.receipts.remove(&oldest);
            ctx.fx.writes.push(keys::delete(self.id(), keys::RECEIPT, oldest.as_bytes()));
        }
    }

    /// The new owner's acknowledgement came.
    pub(super) fn acknowledge_receipt(&mut self, ctx: &mut Ctx<'_>, ack: Ack) {
        let (session, record) = (self.id(), ack.record);
        let Some(kept) = self.receipts.get_mut(&record) else { return };
        kept.ack = Some(ack).into();
        ctx.fx.writes.push(keys::put(session, keys::RECEIPT, record.as_bytes(), encode(kept)));
    }

    pub(super) fn restore_receipt(&mut self, record: Hash, bytes: &[u8]) -> Result<(), Violation> {
        self.receipts.insert(record, decode(Rules::ALL, bytes)?);
        Ok(())
    }

    /// The records for which [`Session::receipt`] has one, oldest first.
    pub fn receipts(&self) -> Vec<Hash> {
        let mut records: Vec<_> = self.receipts.keys().copied().collect();
        records.sort_by_key(|id| self.chain.get(id).map(|record| (record.body().term, record.body().n)));
        records
    }

    /// A receipt for the handoff by this record, which this device gave or took; none while it isn't acknowledged.
    pub fn receipt(&self, record: &Hash) -> Option<Draft> {
        let kept = self.receipts.get(record)?.clone();
        let known = self.chain.get(record)?;
        let mut chain: Vec<_> = self.chain.path(record).into_iter().map(|record| record.signed().clone()).collect();
        let acknowledges = known.body().owner == self.me;
        if kept.ack.get().is_none() && !acknowledges {
            let next = self
                .chain
                .records()
                .find(|next| next.body().parent == *record && next.body().signer == known.body().grantor)?;
            chain.push(next.signed().clone());
        }
        let statement = Statement {
            session: self.id(),
            record: *record,
            by: self.me,
            moved: kept.moved.clone(),
            left: kept.left.clone(),
        };
        Some(Draft { chain, record: *record, kept, statement, acknowledges })
    }
}
