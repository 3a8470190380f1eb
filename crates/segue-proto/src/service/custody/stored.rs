//! A session in custody as a directory keeps it, and back.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use super::{Custody, Delivery, Lease};
use crate::clause::Rules;
use crate::clock::Instant;
use crate::handoff::Chain;
use crate::limits::RESEND_MIN;
use crate::wire::codec::decode;
use crate::wire::frame::Framer;
use crate::wire::{DeviceId, Hash, Message, Proven, Record, Signed, Want};

/// What a directory keeps of a session.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Kept {
    /// The id of the head record.
    pub head: Hash,
    /// The records, encoded, in the order in which they were set.
    pub records: Vec<Vec<u8>>,
    /// The message that makes the head's owner its owner, until that device acknowledges it; else empty.
    pub grant: Vec<u8>,
    /// How long the owner may be silent, in microseconds; 0 without a lease.
    pub lease: u64,
}

impl Default for Kept {
    fn default() -> Self {
        Kept { head: Hash::ZERO, records: Vec::new(), grant: Vec::new(), lease: 0 }
    }
}

impl Custody {
    /// From what was kept. The owner's lease begins anew: nobody knows how long the service was away.
    ///
    /// Errors: it isn't as a service keeps it.
    pub fn restore(me: DeviceId, rules: Rules, now: Instant, kept: &Kept) -> Result<Custody, String> {
        let mut records = kept.records.iter().map(|bytes| {
            let signed: Signed<Record> = decode(Rules::ALL, bytes).map_err(|why| why.to_string())?;
            Proven::journaled(signed).map_err(|why| why.to_string())
        });
        let genesis = records.next().ok_or("a session without a genesis")??;
        let by = genesis.body().signer;
        let mut chain = Chain::start(rules, genesis).map_err(|why| why.to_string())?;
        for record in records {
            chain.admit(rules, record?).map_err(|why| why.to_string())?;
        }
        if chain.head().id() != kept.head {
            return Err(format!(
                "a session with the head {:?} whose records lead to {:?}",
                kept.head,
                chain.head().id()
            ));
        }
        let mut custody = Custody::new(me, by, chain);
        custody.lease = (kept.lease > 0).then(|| Lease { ttl: kept.lease, ends: now.after(kept.lease), over: false });
        if !kept.grant.is_empty() {
            custody.delivery = Some(delivery(now, &kept.grant).ok_or("a grant that can't be read")?);
        }
        Ok(custody)
    }
}

/// A message that makes a device the owner.
fn delivery(now: Instant, frame: &[u8]) -> Option<Delivery> {
    let mut framer = Framer::default();
    framer.push(frame);
    let frame = framer.next(Rules::ALL).ok()??;
    let message = Message::decode(Rules::ALL, frame.number, &frame.payload).ok()??;
    of_message(now, message)
}

/// What is delivered by a message that makes a device the owner: a GRANT, or a CAS with a WANT.
pub(super) fn of_message(now: Instant, message: Message) -> Option<Delivery> {
    let (signed, want): (&Signed<Record>, &Signed<Want>) = match &message {
        Message::Grant(grant) => (&grant.record, &grant.want),
        Message::Cas(cas) => (&cas.record, cas.want.get()?),
        _ => return None,
    };
    let record = signed.open(Rules::ALL).ok()?;
    let (id, want) = (signed.id(), want.id());
    let (to, parent) = (record.owner, record.parent);
    Some(Delivery { to, record: id, parent, want, message, resend: now.after(RESEND_MIN), pause: RESEND_MIN })
}
