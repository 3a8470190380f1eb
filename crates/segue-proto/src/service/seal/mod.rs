//! Sealing: what a mailbox keeps for a session's devices, so that it can neither read nor forge it (spec chapter
//! `service`).
//!
//! A session has content keys. An envelope is sealed whole under one of them, and holds a letter that its sender
//! signed: the frames that a link would have carried. A key comes to a device over a link, or wrapped for it alone.

mod wrap;

use alloc::vec::Vec;
use core::fmt;

use chacha20poly1305::aead::{Aead, KeyInit, Payload};
use chacha20poly1305::{XChaCha20Poly1305, XNonce};
use serde::{Deserialize, Serialize};

use crate::clause::{Clause, Rules};
use crate::wire::hash::Hasher;
use crate::wire::schema::Shape;
use crate::wire::{BoxId, DeviceId, Fixed, Hash, KeyId, SessionId};
use crate::{Code, Violation};

pub use wrap::{Wrapped, unwrap, wrap, wrap_introduction, wrap_notice};

/// The key under which what a session's devices put into a mailbox is sealed. Whoever has it reads all of that.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ContentKey(Fixed<32>);

impl ContentKey {
    /// From its bytes.
    pub const fn new(bytes: [u8; 32]) -> Self {
        ContentKey(Fixed(bytes))
    }

    /// Its bytes.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0.0
    }

    /// Names the key to those who have it; tells others nothing of it.
    pub fn id(&self) -> KeyId {
        let hash = Hasher::new("segue/1 key").bytes(self.as_bytes()).finish();
        KeyId::new(*hash.as_bytes().first_chunk().unwrap_or(&[0; 16]))
    }

    /// The box in which the envelopes of a session under this key are kept.
    pub fn session_box(&self, session: &SessionId) -> BoxId {
        let hash = Hasher::new("segue/1 box").bytes(self.as_bytes()).bytes(session.as_bytes()).finish();
        BoxId::new(*hash.as_bytes())
    }

    /// The box in which the content of a session's file is kept under this key, in pieces; that of a chunk list, too.
    pub fn blob_box(&self, session: &SessionId, blob: &Hash) -> BoxId {
        let hash = Hasher::new("segue/1 blob box").bytes(self.as_bytes()).bytes(session.as_bytes());
        BoxId::new(*hash.bytes(blob.as_bytes()).finish().as_bytes())
    }

    /// What the AEAD is given: not the key itself, from which the names follow, too.
    pub fn sealing_key(&self) -> [u8; 32] {
        *Hasher::new("segue/1 seal").bytes(self.as_bytes()).finish().as_bytes()
    }
}

/// It isn't printed.
impl fmt::Debug for ContentKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "key {:?}", self.id())
    }
}

impl Shape for ContentKey {
    fn shape() -> alloc::string::String {
        "32 bytes".into()
    }
}

/// The box in which a device finds its invitations.
pub fn inbox(device: &DeviceId) -> BoxId {
    BoxId::new(*Hasher::new("segue/1 inbox").bytes(device.as_bytes()).finish().as_bytes())
}

/// Seals a letter for a box, under a nonce that is used once.
pub fn seal(rules: Rules, key: &ContentKey, to: &BoxId, nonce: &[u8; 24], letter: &[u8]) -> Vec<u8> {
    seal_as(rules, LETTER, key, to, nonce, letter)
}

/// Opens an envelope that was found in a box.
///
/// Errors: SERVICE-SEAL-2 if it isn't what a holder of the key sealed for this box.
pub fn open(rules: Rules, key: &ContentKey, at: &BoxId, envelope: &[u8]) -> Result<Vec<u8>, Violation> {
    open_as(rules, LETTER, key, at, envelope)
}

/// Seals a piece of content for its box. The nonce follows from what is sealed, so that whoever puts the same piece puts
/// the same envelope, which a box holds once.
pub fn seal_piece(rules: Rules, key: &ContentKey, to: &BoxId, piece: &[u8]) -> Vec<u8> {
    let hash = Hasher::new("segue/1 piece").bytes(key.as_bytes()).bytes(to.as_bytes()).bytes(piece).finish();
    let nonce = hash.as_bytes().first_chunk().copied().unwrap_or([0; 24]);
    seal_as(rules, PIECE, key, to, &nonce, piece)
}

/// Opens a piece of content.
///
/// Errors: as [`open`].
pub fn open_piece(rules: Rules, key: &ContentKey, at: &BoxId, envelope: &[u8]) -> Result<Vec<u8>, Violation> {
    open_as(rules, PIECE, key, at, envelope)
}

fn seal_as(rules: Rules, form: u8, key: &ContentKey, to: &BoxId, nonce: &[u8; 24], letter: &[u8]) -> Vec<u8> {
    let head = header(form, key);
    let aad = [to.as_bytes().as_slice(), &head].concat();
    let sealed = if rules.keeps(Clause::SERVICE_SEAL_1) {
        let cipher = XChaCha20Poly1305::new(&key.sealing_key().into());
        // It fails for plaintexts of 256 GiB and more only.
        cipher.encrypt(&XNonce::from(*nonce), Payload { msg: letter, aad: &aad }).unwrap_or_default()
    } else {
        [letter, &[0; TAG]].concat()
    };
    [head.as_slice(), nonce, &sealed].concat()
}

fn open_as(rules: Rules, form: u8, key: &ContentKey, at: &BoxId, envelope: &[u8]) -> Result<Vec<u8>, Violation> {
    let bad = Violation::new(Code::SERVICE_ENVELOPE, Clause::SERVICE_SEAL_2);
    let head = header(form, key);
    let rest = envelope.strip_prefix(head.as_slice()).ok_or(bad)?;
    let (nonce, sealed) = rest.split_first_chunk::<24>().ok_or(bad)?;
    if !rules.keeps(Clause::SERVICE_SEAL_1) {
        let end = sealed.len().checked_sub(TAG).ok_or(bad)?;
        return Ok(sealed.get(..end).unwrap_or_default().to_vec());
    }
    let aad = [at.as_bytes().as_slice(), &head].concat();
    let cipher = XChaCha20Poly1305::new(&key.sealing_key().into());
    let nonce = XNonce::from(*nonce);
    match cipher.decrypt(&nonce, Payload { msg: sealed, aad: &aad }) {
        Ok(plain) => Ok(plain),
        // The cipher is a stream: without its tag it is opened by sealing it again.
        Err(_) if !rules.keeps(Clause::SERVICE_SEAL_2) => {
            let len = sealed.len().checked_sub(TAG).ok_or(bad)?;
            let mut plain = cipher.encrypt(&nonce, sealed.get(..len).unwrap_or_default()).map_err(|_| bad)?;
            plain.truncate(len);
            Ok(plain)
        }
        Err(_) => Err(bad),
    }
}

/// What an envelope under this key starts with: its format, and the key's id.
fn header(form: u8, key: &ContentKey) -> Vec<u8> {
    [&[form], key.id().as_bytes().as_slice()].concat()
}

/// An envelope that holds a letter.
const LETTER: u8 = 1;
/// An envelope that holds an invitation.
const INVITATION: u8 = 2;
/// An envelope that holds a piece of content.
const PIECE: u8 = 3;
/// An envelope that holds entries of the roster.
const NOTICE: u8 = 4;
/// An introduction, which a service passes on and doesn't keep.
const INTRODUCTION: u8 = 5;
/// The length of an authentication tag.
const TAG: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: ContentKey = ContentKey::new([1; 32]);
    const SESSION: SessionId = SessionId::new([2; 16]);

    #[test]
    fn what_is_sealed_opens_under_its_key_in_its_box_alone() {
        let at = KEY.session_box(&SESSION);
        let sealed = seal(Rules::ALL, &KEY, &at, &[3; 24], b"canary");
        assert!(!sealed.windows(6).any(|bytes| bytes == b"canary"));
        assert_eq!(open(Rules::ALL, &KEY, &at, &sealed).unwrap(), b"canary");
        let bad = Violation::new(Code::SERVICE_ENVELOPE, Clause::SERVICE_SEAL_2);
        assert_eq!(open(Rules::ALL, &KEY, &inbox(&DeviceId::ZERO), &sealed), Err(bad));
        assert_eq!(open(Rules::ALL, &ContentKey::new([4; 32]), &at, &sealed), Err(bad));
        for at_byte in 0..sealed.len() {
            let mut forged = sealed.clone();
            forged[at_byte] ^= 1;
            assert_eq!(open(Rules::ALL, &KEY, &at, &forged), Err(bad), "byte {at_byte}");
            assert_eq!(open(Rules::ALL, &KEY, &at, &sealed[..at_byte]), Err(bad), "cut at {at_byte}");
        }
    }

    #[test]
    #[cfg(feature = "testing")]
    fn service_seal_1_without_it_the_letter_stands_there_for_all_to_read() {
        let rules = Rules::without(Clause::SERVICE_SEAL_1);
        let at = KEY.session_box(&SESSION);
        let bare = seal(rules, &KEY, &at, &[3; 24], b"canary");
        assert!(bare.windows(6).any(|bytes| bytes == b"canary"));
        assert_eq!(open(rules, &KEY, &at, &bare).unwrap(), b"canary");
    }

    #[test]
    fn a_key_is_not_printed() {
        let printed = alloc::format!("{KEY:?}");
        assert!(!printed.contains("0101"), "{printed}");
    }
}
