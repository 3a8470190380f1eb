//! Wrapping: bytes for one device alone, by HPKE to the X25519 key that its Ed25519 key maps to.

use alloc::vec::Vec;
use core::convert::Infallible;

use ed25519_dalek::{SigningKey, VerifyingKey};
use hpke::aead::ChaCha20Poly1305;
use hpke::kdf::HkdfSha256;
use hpke::kem::X25519HkdfSha256;
use hpke::rand_core::{TryCryptoRng, TryRng};
use hpke::{Deserializable, Kem, OpModeR, OpModeS, Serializable};

use super::{INTRODUCTION, INVITATION, NOTICE, inbox};
use crate::clause::{Clause, Rules};
use crate::wire::DeviceId;

type Suite = X25519HkdfSha256;

/// An envelope that a device's key is asked to open. The key may live in hardware, so that this is asked for like a
/// signature.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wrapped {
    /// The device.
    pub device: DeviceId,
    /// The envelope.
    pub envelope: Vec<u8>,
}

impl Wrapped {
    /// Whether it says to hold entries of the roster, and not an invitation.
    pub fn is_notice(&self) -> bool {
        self.envelope.first() == Some(&NOTICE)
    }

    /// Whether it says to be an introduction.
    pub fn is_introduction(&self) -> bool {
        self.envelope.first() == Some(&INTRODUCTION)
    }
}

/// Wraps an invitation for a device; none if its id is no key of the curve. `seed` is fresh and used once.
pub fn wrap(device: &DeviceId, seed: [u8; 32], plain: &[u8]) -> Option<Vec<u8>> {
    wrap_as(INVITATION, device, seed, plain)
}

/// Wraps entries of the roster for a device, as [`wrap`] does an invitation.
pub fn wrap_notice(device: &DeviceId, seed: [u8; 32], plain: &[u8]) -> Option<Vec<u8>> {
    wrap_as(NOTICE, device, seed, plain)
}

/// Wraps an introduction for a device, as [`wrap`] does an invitation.
pub fn wrap_introduction(rules: Rules, device: &DeviceId, seed: [u8; 32], plain: &[u8]) -> Option<Vec<u8>> {
    match rules.keeps(Clause::SERVICE_MEET_4) {
        true => wrap_as(INTRODUCTION, device, seed, plain),
        false => Some([&[INTRODUCTION], plain].concat()),
    }
}

fn wrap_as(form: u8, device: &DeviceId, seed: [u8; 32], plain: &[u8]) -> Option<Vec<u8>> {
    let public = VerifyingKey::from_bytes(device.as_bytes()).ok()?.to_montgomery();
    let public = <Suite as Kem>::PublicKey::from_bytes(public.as_bytes()).ok()?;
    let mut random = Seed(Some(seed));
    let to = inbox(device);
    let (enc, sealed) = hpke::single_shot_seal_with_rng::<ChaCha20Poly1305, HkdfSha256, Suite>(
        &OpModeS::Base,
        &public,
        info(form)?,
        plain,
        to.as_bytes(),
        &mut random,
    )
    .ok()?;
    Some([&[form], enc.to_bytes().as_slice(), &sealed].concat())
}

/// Opens what was wrapped for the device of this key; none if it wasn't, or was changed.
pub fn unwrap(key: &SigningKey, wrapped: &Wrapped) -> Option<Vec<u8>> {
    let (form, rest) = wrapped.envelope.split_first()?;
    let info = info(*form)?;
    let (enc, sealed) = rest.split_first_chunk::<32>()?;
    let secret = <Suite as Kem>::PrivateKey::from_bytes(&key.to_scalar_bytes()).ok()?;
    let enc = <Suite as Kem>::EncappedKey::from_bytes(enc).ok()?;
    hpke::single_shot_open::<ChaCha20Poly1305, HkdfSha256, Suite>(
        &OpModeR::Base,
        &secret,
        &enc,
        info,
        sealed,
        inbox(&wrapped.device).as_bytes(),
    )
    .ok()
}

/// What HPKE is told of the form of an envelope, so that none passes for another.
fn info(form: u8) -> Option<&'static [u8]> {
    match form {
        INVITATION => Some(b"segue/1 wrap"),
        NOTICE => Some(b"segue/1 wrap roster"),
        INTRODUCTION => Some(b"segue/1 introduction"),
        _ => None,
    }
}

/// Gives HPKE the 32 bytes that it draws its ephemeral key from, once.
struct Seed(Option<[u8; 32]>);

impl TryRng for Seed {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        let mut bytes = [0; 4];
        self.try_fill_bytes(&mut bytes)?;
        Ok(u32::from_le_bytes(bytes))
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        let mut bytes = [0; 8];
        self.try_fill_bytes(&mut bytes)?;
        Ok(u64::from_le_bytes(bytes))
    }

    fn try_fill_bytes(&mut self, out: &mut [u8]) -> Result<(), Infallible> {
        // X25519 draws 32 bytes, once. Were it ever more, they would be derived and not repeated.
        let seed = self.0.unwrap_or_default();
        self.0 = Some(*blake3::hash(&seed).as_bytes());
        for (at, to) in out.iter_mut().enumerate() {
            *to = seed.get(at % 32).copied().unwrap_or_default();
        }
        Ok(())
    }
}

impl TryCryptoRng for Seed {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrapped_for_a_device_opens_with_its_key_alone() {
        let (own, other) = (SigningKey::from_bytes(&[1; 32]), SigningKey::from_bytes(&[2; 32]));
        let device = DeviceId::new(own.verifying_key().to_bytes());
        let envelope = wrap(&device, [9; 32], b"a content key").unwrap();
        let wrapped = Wrapped { device, envelope };
        assert_eq!(unwrap(&own, &wrapped).unwrap(), b"a content key");
        assert!(unwrap(&other, &wrapped).is_none());
        for at in 0..wrapped.envelope.len() {
            let mut changed = wrapped.clone();
            changed.envelope[at] ^= 1;
            // X25519 ignores the top bit of a key, and HPKE binds the bytes of it all the same.
            assert!(unwrap(&own, &changed).is_none(), "byte {at}");
            changed.envelope.truncate(at);
            assert!(unwrap(&own, &changed).is_none(), "cut at {at}");
        }
    }
}
