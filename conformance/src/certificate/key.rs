//! The key that signs a certificate.

use std::path::Path;

use ed25519_dalek::pkcs8::{DecodePrivateKey, DecodePublicKey};
use ed25519_dalek::{Signer, SigningKey, VerifyingKey};

use super::Signature;

/// A key that signs certificates.
pub struct Key {
    key: SigningKey,
    derived: bool,
}

impl Key {
    /// The key in a file: Ed25519, PKCS #8, PEM.
    ///
    /// # Errors
    /// If there is none, in words.
    pub fn read(path: &Path) -> Result<Key, String> {
        let text = std::fs::read_to_string(path).map_err(|error| format!("can't read {}: {error}", path.display()))?;
        let key = SigningKey::from_pkcs8_pem(&text).map_err(|_| {
            let path = path.display();
            format!("{path} holds no Ed25519 key in PEM; 'openssl genpkey -algorithm ed25519 -out {path}' makes one")
        })?;
        Ok(Key { key, derived: false })
    }

    /// The key of a certificate that nobody else signs. It follows from what is signed, so that the same run gives the
    /// same certificate; and as anybody can make it, it proves nothing about who did.
    pub(super) fn derived(message: &[u8]) -> Key {
        let seed = blake3::derive_key("segue certificate 2026 key of an unsigned certificate", message);
        Key { key: SigningKey::from_bytes(&seed), derived: true }
    }

    pub(super) fn sign(&self, message: &[u8]) -> Signature {
        Signature {
            algorithm: ALGORITHM.into(),
            key: hex::encode(self.key.verifying_key().to_bytes()),
            proves: if self.derived { DERIVED } else { HELD }.into(),
            signature: hex::encode(self.key.sign(message).to_bytes()),
        }
    }
}

impl Signature {
    /// Whether it was made with a key that proves nothing about who made it.
    pub fn is_derived(&self) -> bool {
        self.proves == DERIVED
    }

    /// Whether it is good for a message.
    ///
    /// # Errors
    /// What is wrong with it, in words.
    pub(super) fn check(&self, message: &[u8]) -> Result<(), String> {
        if self.algorithm != ALGORITHM {
            return Err(format!("signature: the algorithm is '{}' instead of {ALGORITHM}", self.algorithm));
        }
        if self.proves != DERIVED && self.proves != HELD {
            return Err("signature: what the key proves isn't one of the two things that it can".into());
        }
        if self.is_derived() {
            // Nothing of it is free: it has to be the very one that the suite makes.
            let made = Key::derived(message).sign(message);
            return if made == *self { Ok(()) } else { Err(MISMATCH.into()) };
        }
        let bytes = |text: &str| hex::decode(text).ok().filter(|bytes| hex::encode(bytes) == text);
        let key = bytes(&self.key).and_then(|bytes| bytes.try_into().ok());
        let key = key.and_then(|bytes| VerifyingKey::from_bytes(&bytes).ok());
        let key = key.ok_or("signature: 'key' isn't an Ed25519 key in hexadecimal digits")?;
        let signature = bytes(&self.signature).and_then(|bytes| ed25519_dalek::Signature::from_slice(&bytes).ok());
        let signature = signature.ok_or("signature: 'signature' isn't 64 bytes in hexadecimal digits")?;
        key.verify_strict(message, &signature).map_err(|_| MISMATCH.into())
    }
}

/// A public key as somebody gives it: 64 hexadecimal digits, or a file with an Ed25519 key in PEM.
///
/// # Errors
/// If it is neither, in words.
pub(super) fn public(given: &str) -> Result<String, String> {
    if given.len() == 64 && hex::decode(given).is_ok() {
        return Ok(given.to_lowercase());
    }
    let text = std::fs::read_to_string(given).map_err(|error| {
        format!("--key takes 64 hexadecimal digits or a file with a public key in PEM; can't read {given}: {error}")
    })?;
    let key = VerifyingKey::from_public_key_pem(&text).map_err(|_| {
        format!("{given} holds no Ed25519 public key in PEM; 'openssl pkey -in KEY -pubout' prints the one of a key")
    })?;
    Ok(hex::encode(key.to_bytes()))
}

const ALGORITHM: &str = "Ed25519";
const HELD: &str = "that the holder of this key signed";
const DERIVED: &str = "that nothing was changed by accident; the key follows from the content, and anybody can make it";
const MISMATCH: &str = "signature: it isn't good for what the certificate says: certificate or signature was changed";
