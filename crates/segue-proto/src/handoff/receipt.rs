//! Receipts: what this device keeps of the handoffs that it gave or took, and how anybody verifies one (spec section 7.14).

use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use super::chain::Chain;
use super::effects::Ctx;
use super::holdings::Holdings;
use super::keys;
use super::proven::ack_message;
use super::session::Session;
use crate::clause::{Clause, Rules};
use crate::data::Pick;
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
    /// The record's term and number, by which receipts are put in order.
    #[serde(skip)]
    epoch: (u64, u64),
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
    ///
    /// # Errors
    /// The first that is wrong, with its code and the requirement that it breaks.
    pub fn verify(rules: Rules, bytes: &[u8]) -> Result<Handed, Violation> {
        let Receipt { chain: records, want, end, ack, statement } = decode(rules, bytes)?;
        let prove = |record: Signed<Record>| record.prove(rules, |record: &Record| record.signer);
        let records = records.into_vec().into_iter().map(prove).collect::<Result<Vec<_>, _>>()?;
        let want = want.prove(rules, |want: &Want| want.target)?;
        let said = statement.prove(rules, |said: &Statement| said.by)?;
        let at = records.iter().position(|record| record.body().want == want.id());
        let at = at.ok_or(broken(Code::HO_NO_CONSENT))?;
        consecutive(rules, &records)?;
        let (Some([parent, record]), next) = (at.checked_sub(1).and_then(|from| records.get(from..=at)), at + 1) else {
            return Err(broken(Code::HO_NO_CONSENT));
        };
        let source = parent.body().owner;
        holds(rules, consents(record.body(), want.body()), Code::HO_NO_CONSENT)?;
        let end = end.prove(rules, |_: &Final| source)?;
        let of = |end: &Final| end.parent == parent.id() && end.session == record.body().session;
        holds(rules, of(end.body()), Code::HO_FINAL)?;
        has_it(rules, record, ack.get(), records.get(next..).unwrap_or_default())?;
        about(rules, record, &source, said.body())?;
        Ok(Handed {
            session: record.body().session,
            record: record.id(),
            source,
            target: record.body().owner,
            term: record.body().term,
            n: record.body().n,
            root: end.body().root,
            manifest: end.body().manifest,
            by: said.body().by,
            moved: said.body().moved.to_vec(),
            left: said.body().left.to_vec(),
            chain: records.iter().take(next).map(|record| (record.id(), record.body().owner)).collect(),
        })
    }
}

/// Whether records follow one another from a genesis on.
fn consecutive(rules: Rules, records: &[Proven<Record>]) -> Result<(), Violation> {
    let mut records = records.iter();
    let genesis = records.next().cloned().ok_or(broken(Code::HO_CHAIN))?;
    let (mut chain, mut last) = (Chain::start(rules, genesis.clone())?, genesis.id());
    for record in records {
        holds(rules, record.body().parent == last, Code::HO_CHAIN)?;
        last = record.id();
        chain.admit(rules, record.clone())?;
    }
    Ok(())
}

/// Whether the record is a grant to the device whose WANT this is, under the record that the WANT cites.
fn consents(record: &Record, want: &Want) -> bool {
    record.kind == Kind::Grant.number()
        && (want.target, want.parent, want.session) == (record.owner, record.parent, record.session)
}

/// Whether the new owner said that it has the record, or signed the one that follows it.
fn has_it(
    rules: Rules,
    record: &Proven<Record>,
    ack: Option<&Ack>,
    behind: &[Proven<Record>],
) -> Result<(), Violation> {
    let signs = |ack: &Ack| verify_message(&record.body().owner, &ack_message(&record.id()), &ack.sig);
    holds(rules, ack.is_none_or(|ack| ack.record == record.id() && signs(ack)), Code::AUTH_SIGNATURE)?;
    let continued = match behind {
        [] => false,
        [next] => next.body().signer == record.body().grantor,
        _ => return Err(broken(Code::HO_CHAIN)),
    };
    holds(rules, continued || behind.is_empty(), Code::HO_CHAIN)?;
    holds(rules, continued || ack.is_some(), Code::DATA_INCOMPLETE)
}

/// Whether a side of the handoff by this record states this of it, in order.
fn about(rules: Rules, record: &Proven<Record>, source: &DeviceId, said: &Statement) -> Result<(), Violation> {
    let of = (said.record, said.session) == (record.id(), record.body().session);
    let by = said.by == *source || said.by == record.body().owner;
    rules.ensure(Clause::HO_RECEIPT_2, of && by, Code::HO_NOT_OWNER)?;
    let ascend = |of: &[Tally]| of.is_sorted_by(|a, b| a.kind < b.kind);
    rules.ensure(Clause::HO_RECEIPT_2, ascend(&said.moved) && ascend(&said.left), Code::WIRE_VALUE)
}

fn holds(rules: Rules, it: bool, code: Code) -> Result<(), Violation> {
    rules.ensure(Clause::HO_RECEIPT_1, it, code)
}

fn broken(code: Code) -> Violation {
    Violation::new(code, Clause::HO_RECEIPT_1)
}

impl<H: Holdings> Session<H> {
    /// Keeps what a receipt needs of a handoff that was signed here, or to here.
    pub(super) fn keep_receipt(&mut self, ctx: &mut Ctx<'_>, record: Hash, want: &Proven<Want>, end: &Proven<Final>) {
        let picked = Pick::new(want.body().pick.iter().copied()).unwrap_or_default();
        let Some((moved, left)) = self.holdings.tally(&end.body().manifest, &picked) else { return };
        let epoch = self.epoch(&record);
        let want = want.signed().clone();
        let kept = Kept { want, end: end.signed().clone(), ack: None.into(), moved, left, epoch };
        ctx.fx.writes.push(keys::put(self.id(), keys::RECEIPT, record.as_bytes(), encode(&kept)));
        ctx.fx.receipt = Some(record);
        self.receipts.insert(record, kept);
        while self.receipts.len() > MAX_RECEIPTS {
            let oldest = self.receipts.iter().min_by_key(|(_, kept)| kept.epoch);
            let Some(oldest) = oldest.map(|(record, _)| *record) else { return };
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
        let kept: Kept = decode(Rules::ALL, bytes)?;
        self.receipts.insert(record, Kept { epoch: self.epoch(&record), ..kept });
        Ok(())
    }

    fn epoch(&self, record: &Hash) -> (u64, u64) {
        self.chain.get(record).map_or((0, 0), |record| (record.body().term, record.body().n))
    }

    /// The records for which [`Session::receipt`] has one, oldest first.
    pub fn receipts(&self) -> Vec<Hash> {
        let mut records: Vec<_> = self.receipts.iter().map(|(record, kept)| (kept.epoch, *record)).collect();
        records.sort_by_key(|(epoch, _)| *epoch);
        records.into_iter().map(|(_, record)| record).collect()
    }

    /// A receipt for the handoff by this record, which this device gave or took; none while it isn't acknowledged.
    pub fn receipt(&self, rules: Rules, record: &Hash) -> Option<Draft> {
        let kept = self.receipts.get(record)?.clone();
        let known = self.chain.get(record)?;
        let mut chain: Vec<_> = self.chain.path(record).into_iter().map(|record| record.signed().clone()).collect();
        let acknowledges = known.body().owner == self.me;
        if kept.ack.get().is_none() && !acknowledges {
            let next = self.chain.children(record).find(|next| next.body().signer == known.body().grantor);
            if next.is_none() && rules.keeps(Clause::HO_RECEIPT_3) {
                return None;
            }
            chain.extend(next.map(|next| next.signed().clone()));
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
