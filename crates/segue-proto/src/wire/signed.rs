//! Signed objects: a body, encoded once, and a signature over its id.

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;
use core::marker::PhantomData;

use ed25519_dalek::{Signature, Signer, SigningKey, VerifyingKey};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::codec::{Blob, decode, encode};
use super::hash::Hasher;
use super::ids::{DeviceId, Hash, Sig};
use super::schema::{self, Shape};
use crate::clause::{Clause, Rules};
use crate::limits::MAX_SIGNED_BODY;
use crate::{Code, Violation};

/// A body that devices sign.
pub trait SignedBody: Serialize + DeserializeOwned {
    /// Its name in the contexts "segue/1 NAME" and "segue/1 sig NAME".
    const NAME: &'static str;
    /// The context of its id.
    const ID_CONTEXT: &'static str;
    /// What stands before the id in the signed bytes.
    const SIG_CONTEXT: &'static str;
    /// The rules of form that its encoding alone can't express.
    fn check(&self, rules: Rules) -> Result<(), Violation>;
}

/// A signed object as it travels: the body's bytes as they were signed, and the signature.
#[derive(Serialize, Deserialize)]
#[serde(bound = "")]
pub struct Signed<T> {
    body: Blob<MAX_SIGNED_BODY>,
    sig: Sig,
    #[serde(skip)]
    kind: PhantomData<fn() -> T>,
}

impl<T> Clone for Signed<T> {
    fn clone(&self) -> Self {
        Signed { body: self.body.clone(), sig: self.sig, kind: PhantomData }
    }
}
impl<T> PartialEq for Signed<T> {
    fn eq(&self, other: &Self) -> bool {
        self.body == other.body && self.sig == other.sig
    }
}
impl<T> Eq for Signed<T> {}
impl<T> core::hash::Hash for Signed<T> {
    fn hash<H: core::hash::Hasher>(&self, state: &mut H) {
        self.body.hash(state);
        self.sig.hash(state);
    }
}
impl<T: SignedBody> fmt::Debug for Signed<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {:?}", T::NAME, self.id())
    }
}
impl<T: SignedBody> Shape for Signed<T> {
    fn shape() -> String {
        schema::signed_shape(T::NAME)
    }
}

impl<T: SignedBody> Signed<T> {
    /// From the body's bytes and a signature, not verified.
    pub fn from_parts(body: Vec<u8>, sig: Sig) -> Option<Self> {
        Some(Signed { body: Blob::new(body)?, sig, kind: PhantomData })
    }

    /// Signs `body` with a key in memory.
    pub fn sign(body: &T, key: &SigningKey) -> Self {
        let bytes = encode(body);
        let sig = sign_message(&signing_bytes::<T>(id_of::<T>(&bytes)), key);
        Signed { body: Blob::new(bytes).unwrap_or_default(), sig, kind: PhantomData }
    }

    /// The object's id: the hash of its body.
    pub fn id(&self) -> Hash {
        id_of::<T>(&self.body)
    }

    /// The body's bytes.
    pub fn body_bytes(&self) -> &[u8] {
        &self.body
    }

    /// The signature.
    pub fn sig(&self) -> Sig {
        self.sig
    }

    /// Decodes the body without believing it.
    pub fn open(&self, rules: Rules) -> Result<T, Violation> {
        let body: T = decode(rules, &self.body)?;
        body.check(rules)?;
        Ok(body)
    }

    /// Decodes the body and verifies the signature by the key that `signer` finds in it.
    pub fn prove(self, rules: Rules, signer: impl FnOnce(&T) -> DeviceId) -> Result<Proven<T>, Violation> {
        let body = self.open(rules)?;
        let id = self.id();
        let message = signing_bytes::<T>(id);
        // With the clause switched off nothing is computed, so that a bench can tell what signatures cost.
        let good = !rules.keeps(Clause::WIRE_SIGN_1) || verify_message(&signer(&body), &message, &self.sig);
        rules.ensure(Clause::WIRE_SIGN_1, good, Code::AUTH_SIGNATURE)?;
        Ok(Proven { id, body, signed: self })
    }
}

/// A signed object whose signature was verified over the bytes as received.
pub struct Proven<T> {
    id: Hash,
    body: T,
    signed: Signed<T>,
}

impl<T: SignedBody> Proven<T> {
    /// The object's id.
    pub fn id(&self) -> Hash {
        self.id
    }
    /// The body.
    pub fn body(&self) -> &T {
        &self.body
    }
    /// The object as it travels.
    pub fn signed(&self) -> &Signed<T> {
        &self.signed
    }

    /// What this device just signed, or read back from its own journal, needs no verification.
    pub(crate) fn own(body: T, sig: Sig) -> Self {
        let bytes = encode(&body);
        let id = id_of::<T>(&bytes);
        Proven { id, body, signed: Signed { body: Blob::new(bytes).unwrap_or_default(), sig, kind: PhantomData } }
    }

    /// What this device's own journal holds was verified before it was written there.
    pub(crate) fn journaled(signed: Signed<T>) -> Result<Self, Violation> {
        let body = signed.open(Rules::ALL)?;
        Ok(Proven { id: signed.id(), body, signed })
    }

    /// For the model: takes a body as proven without a signature.
    #[cfg(feature = "testing")]
    pub fn assume(body: T) -> Self {
        Self::own(body, Sig::ZERO)
    }
}

impl<T: Clone> Clone for Proven<T> {
    fn clone(&self) -> Self {
        Proven { id: self.id, body: self.body.clone(), signed: self.signed.clone() }
    }
}
impl<T> PartialEq for Proven<T> {
    fn eq(&self, other: &Self) -> bool {
        self.id == other.id
    }
}
impl<T> Eq for Proven<T> {}
impl<T> core::hash::Hash for Proven<T> {
    fn hash<H: core::hash::Hasher>(&self, state: &mut H) {
        self.id.hash(state);
    }
}
impl<T: fmt::Debug> fmt::Debug for Proven<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} {:?}", self.id, self.body)
    }
}

/// The id of an object with this body.
pub fn id_of<T: SignedBody>(body: &[u8]) -> Hash {
    Hasher::new(T::ID_CONTEXT).bytes(body).finish()
}

/// The bytes that are signed for the object with this id.
pub fn signing_bytes<T: SignedBody>(id: Hash) -> Vec<u8> {
    [T::SIG_CONTEXT.as_bytes(), id.as_bytes()].concat()
}

/// Signs with a key in memory.
pub fn sign_message(message: &[u8], key: &SigningKey) -> Sig {
    Sig::new(key.sign(message).to_bytes())
}

/// Verifies strictly: no small-order keys, no malleable signatures.
pub fn verify_message(key: &DeviceId, message: &[u8], sig: &Sig) -> bool {
    VerifyingKey::from_bytes(key.as_bytes())
        .is_ok_and(|key| key.verify_strict(message, &Signature::from_bytes(sig.as_bytes())).is_ok())
}
