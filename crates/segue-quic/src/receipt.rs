//! Receipts of handoffs, for those who weren't there.

use segue_proto::handoff::Handed;
use segue_proto::wire::{Hash, SessionId, sign_message};
use segue_proto::{Rules, UsageError, Violation};

use crate::error::Error;
use crate::node::Node;

/// A receipt: the records up to a handoff, the target's WANT, the source's FINAL and the target's acknowledgement, with
/// the giver's statement of what moved and what stayed. Anybody can verify it, without either device and for good.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedReceipt {
    bytes: Vec<u8>,
    handed: Handed,
}

impl SignedReceipt {
    /// Verifies a receipt from the bytes of its file. Any byte that was changed is noticed.
    ///
    /// # Errors
    /// What is wrong, with the requirement that it breaks.
    pub fn verify(bytes: impl Into<Vec<u8>>) -> Result<SignedReceipt, Violation> {
        let bytes = bytes.into();
        let handed = segue_proto::wire::Receipt::verify(Rules::ALL, &bytes)?;
        Ok(SignedReceipt { bytes, handed })
    }

    /// The bytes of a file that holds it.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// What it proves.
    pub fn handed(&self) -> &Handed {
        &self.handed
    }
}

impl Node {
    /// The records of a session's handoffs of which this device can give a receipt, oldest first: those that it gave or
    /// took, the last 16 of them.
    ///
    /// # Errors
    /// The node has stopped.
    pub async fn receipts(&self, session: SessionId) -> Result<Vec<Hash>, Error> {
        self.call(move |driver| driver.core.receipts(&session)).await
    }

    /// A receipt for the handoff by `record`, signed by this device; none if this device neither gave nor took it, or
    /// doesn't know yet that the new owner has it.
    ///
    /// # Errors
    /// `UnknownSession`; the node has stopped.
    pub async fn receipt(&self, session: SessionId, record: Hash) -> Result<Option<SignedReceipt>, Error> {
        let receipt = self.command("give a receipt", move |driver| {
            driver.core.session(&session).ok_or(UsageError::UnknownSession)?;
            let key = driver.key().clone();
            let draft = driver.core.receipt(&session, &record);
            Ok(draft.and_then(|draft| draft.sign(|message| sign_message(message, &key))))
        });
        // What this device makes verifies, unless its store was meddled with.
        Ok(receipt.await?.and_then(|receipt| SignedReceipt::verify(receipt.to_bytes()).ok()))
    }
}
