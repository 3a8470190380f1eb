"""BLAKE3, Ed25519 and what the chapter service seals with, as the chapters wire and service name them."""
import hmac

from blake3 import blake3
from nacl import bindings as na
from nacl.exceptions import CryptoError

from .registry import Refused


def H(context, material):
    return blake3(material, derive_key_context=context).digest()


def blob_id(content):
    return blake3(content).digest()


def verify(key, message, signature):
    """Strict verification (WIRE-SIGN-1): libsodium refuses points of small order, a large S, and compares R's bytes."""
    try:
        na.crypto_sign_open(signature + message, key)
    except (CryptoError, ValueError, TypeError):
        raise Refused("AUTH_SIGNATURE", "WIRE-SIGN-1") from None


class Identity:
    def __init__(self, seed):
        self.key, self._secret = na.crypto_sign_seed_keypair(seed)

    def sign(self, message):
        return na.crypto_sign(message, self._secret)[:64]

    def x25519(self):
        return na.crypto_sign_ed25519_sk_to_curve25519(self._secret)


class Random:
    """All randomness of a device, from the 32 bytes that it was given."""

    def __init__(self, entropy):
        self._seed = entropy
        self._drawn = 0

    def draw(self, n):
        self._drawn += 1
        return blake3(self._drawn.to_bytes(8, "big"), key=self._seed).digest(length=n)


# --- envelopes


def seal(key, nonce, aad, plain):
    return na.crypto_aead_xchacha20poly1305_ietf_encrypt(plain, aad, nonce, key)


def unseal(key, nonce, aad, sealed):
    """The plain bytes, or None."""
    try:
        return na.crypto_aead_xchacha20poly1305_ietf_decrypt(sealed, aad, nonce, key)
    except (CryptoError, ValueError, TypeError):
        return None


# HPKE (RFC 9180), base mode: DHKEM(X25519, HKDF-SHA256), HKDF-SHA256, ChaCha20-Poly1305.
_KEM = b"KEM" + (0x0020).to_bytes(2, "big")
_SUITE = b"HPKE" + b"".join(n.to_bytes(2, "big") for n in (0x0020, 0x0001, 0x0003))


def _extract(suite, salt, label, ikm):
    return hmac.digest(salt, b"HPKE-v1" + suite + label + ikm, "sha256")


def _expand(suite, prk, label, info, length):
    info = length.to_bytes(2, "big") + b"HPKE-v1" + suite + label + info
    out, block, n = b"", b"", 0
    while len(out) < length:
        n += 1
        block = hmac.digest(prk, block + info + bytes([n]), "sha256")
        out += block
    return out[:length]


def _schedule(dh, enc, public, info):
    eae = _extract(_KEM, b"", b"eae_prk", dh)
    shared = _expand(_KEM, eae, b"shared_secret", enc + public, 32)
    context = b"\0" + _extract(_SUITE, b"", b"psk_id_hash", b"") + _extract(_SUITE, b"", b"info_hash", info)
    secret = _extract(_SUITE, shared, b"secret", b"")
    return _expand(_SUITE, secret, b"key", context, 32), _expand(_SUITE, secret, b"base_nonce", context, 12)


def device_x25519(device):
    """The X25519 key of a device's Ed25519 key; None if it has none."""
    try:
        return na.crypto_sign_ed25519_pk_to_curve25519(device)
    except (CryptoError, RuntimeError, ValueError):
        return None


def wrap(device, ikm, info, aad, plain):
    """enc ‖ ciphertext for a device; None if its key can't be used."""
    public = device_x25519(device)
    if public is None:
        return None
    secret = _expand(_KEM, _extract(_KEM, b"", b"dkp_prk", ikm), b"sk", b"", 32)
    enc = na.crypto_scalarmult_base(secret)
    key, nonce = _schedule(na.crypto_scalarmult(secret, public), enc, public, info)
    return enc + na.crypto_aead_chacha20poly1305_ietf_encrypt(plain, aad, nonce, key)


def unwrap(identity, info, aad, wrapped):
    """What was wrapped for this identity, or None."""
    try:
        secret = identity.x25519()
        public = na.crypto_scalarmult_base(secret)
        enc = wrapped[:32]
        key, nonce = _schedule(na.crypto_scalarmult(secret, enc), enc, public, info)
        return na.crypto_aead_chacha20poly1305_ietf_decrypt(wrapped[32:], aad, nonce, key)
    except (CryptoError, RuntimeError, ValueError, TypeError):
        return None
