//! The chain a second time, straight from the paragraphs of the spec and in their order.

use segue_proto::Rules;
use segue_proto::data;
use segue_proto::wire::{DeviceId, Hash, Record, Sig, Signed, verify_message};

/// A record that was taken in.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Known {
    pub(super) id: Hash,
    pub(super) body: Record,
    pub(super) opener: Hash,
}

/// The clause that was broken, and the error code.
type Broken = (&'static str, &'static str);

/// The head after these records came in, in this order, or what is wrong about the first that isn't taken in.
pub(super) fn chain(records: &[&Signed<Record>]) -> Result<Known, Broken> {
    let mut known: Vec<Known> = Vec::new();
    for record in records {
        let body = record.open(Rules::ALL).map_err(|_| ("", "form"))?;
        let id = record.id();
        if known.iter().any(|other| other.id == id) {
            continue;
        }
        check(verifies(record, &body.signer), "WIRE-SIGN-1", "AUTH_SIGNATURE")?;
        let opener = follows(&known, &body)?;
        let opener = if body.kind == TAKEOVER { id } else { opener };
        known.push(Known { id, body, opener });
    }
    let highest = known.iter().reduce(|a, b| if higher(b, a) { b } else { a });
    highest.cloned().ok_or(("HO-CHAIN-1", "HO_CHAIN"))
}

/// The opener of the record's parent, if the record follows from it.
fn follows(known: &[Known], body: &Record) -> Result<Hash, Broken> {
    let Some(first) = known.first() else {
        if body.kind != GENESIS {
            return Err(("HO-CHAIN-1", "HO_CHAIN"));
        }
        return starts(body);
    };
    let parent = known.iter().find(|other| other.id == body.parent);
    let parent = parent.filter(|_| body.session == first.body.session).ok_or(("HO-CHAIN-1", "HO_CHAIN"))?;
    let above = &parent.body;
    check(above.kind != CLOSE, "HO-CHAIN-6", "HO_CLOSED")?;
    check(body.n == above.n + 1, "HO-CHAIN-3", "HO_CHAIN")?;
    let term = above.term + u64::from(body.kind == TAKEOVER);
    check(body.term == term, "HO-CHAIN-4", "HO_CHAIN")?;
    if body.kind == TAKEOVER {
        let own = body.owner == body.signer && body.grantor == body.signer;
        let other = body.owner != above.owner && body.owner != body.signer && body.owner != DeviceId::ZERO;
        let lease = body.signer == above.grantor && above.grantor != above.owner && other;
        let lease = lease && (body.grantor == body.signer || body.grantor == body.owner);
        check(own && is_member(known, &body.signer) || lease, "HO-CHAIN-5", "HO_CHAIN")?;
    } else {
        check(body.signer == above.grantor, "HO-CHAIN-2", "HO_CHAIN")?;
    }
    let fits = match body.kind {
        GRANT => {
            let grantor = body.grantor == body.owner || body.grantor == above.grantor;
            grantor && body.owner != DeviceId::ZERO && body.want != Hash::ZERO
        }
        DELEGATE => body.owner == above.owner && body.grantor != DeviceId::ZERO && body.want == above.want,
        TAKEOVER => body.want != Hash::ZERO,
        CLOSE => body.owner == DeviceId::ZERO && body.grantor == DeviceId::ZERO && body.want == Hash::ZERO,
        _ => false,
    };
    check(fits && body.genesis.is_empty(), "HO-CHAIN-8", "HO_CHAIN")?;
    Ok(parent.opener)
}

fn starts(body: &Record) -> Result<Hash, Broken> {
    check(body.n == 0, "HO-CHAIN-3", "HO_CHAIN")?;
    check(body.term == 0, "HO-CHAIN-4", "HO_CHAIN")?;
    let own = body.owner == body.signer && body.grantor == body.signer && body.want != Hash::ZERO;
    check(own && body.parent == Hash::ZERO && body.genesis.len() == 1, "HO-CHAIN-8", "HO_CHAIN")?;
    let bound = body.genesis.iter().all(|genesis| data::session_id(&body.signer, &genesis.nonce) == body.session);
    check(bound, "HO-CHAIN-7", "HO_CHAIN")?;
    Ok(Hash::ZERO)
}

fn is_member(known: &[Known], device: &DeviceId) -> bool {
    known.iter().any(|record| {
        let listed = record.body.genesis.iter().any(|genesis| genesis.members.contains(device));
        listed || record.body.owner == *device
    })
}

/// Whether `a` is the higher one.
fn higher(a: &Known, b: &Known) -> bool {
    if a.body.term != b.body.term {
        return a.body.term > b.body.term;
    }
    if a.opener != b.opener {
        return a.opener > b.opener;
    }
    if a.body.n != b.body.n {
        return a.body.n > b.body.n;
    }
    a.id < b.id
}

fn verifies(record: &Signed<Record>, signer: &DeviceId) -> bool {
    let id = blake3::derive_key("segue/1 record", record.body_bytes());
    let message = [b"segue/1 sig record".as_slice(), &id].concat();
    verify_message(signer, &message, &Sig::new(*record.sig().as_bytes()))
}

fn check(holds: bool, clause: &'static str, code: &'static str) -> Result<(), Broken> {
    if holds { Ok(()) } else { Err((clause, code)) }
}

const GENESIS: u8 = 0;
const GRANT: u8 = 1;
const DELEGATE: u8 = 2;
const TAKEOVER: u8 = 3;
const CLOSE: u8 = 4;
