"""Chapter service: sealing (9.2, 9.3, 9.5). `mailbox` uses one, `host` hosts one."""
from . import crypto, wire
from .crypto import H, blob_id
from .registry import Refused
from .wire import Struct

LETTER, WRAPPED, PIECE, WRAPPED_ROSTER = 1, 2, 3, 4


def key_id(key):
    return H("segue/1 key", key)[:16]


def box_of(key, session):
    return H("segue/1 box", key + session)


def blob_box(key, session, blob):
    return H("segue/1 blob box", key + session + blob)


def seal_key(key):
    return H("segue/1 seal", key)


def inbox_of(device):
    return H("segue/1 inbox", device)


def seal_envelope(kind, key, box, nonce, plain):
    label = bytes([kind]) + key_id(key)
    return label + nonce + crypto.seal(seal_key(key), nonce, box + label, plain)


def seal_piece(key, box, plain):
    return seal_envelope(PIECE, key, box, H("segue/1 piece", key + box + plain)[:24], plain)


def open_envelope(kind, key, box, envelope):
    """What an envelope of a box holds, or None (SERVICE-SEAL-2)."""
    label = bytes([kind]) + key_id(key)
    if envelope[:17] != label:
        return None
    return crypto.unseal(seal_key(key), envelope[17:41], box + label, envelope[41:])


INFO = {WRAPPED: b"segue/1 wrap", WRAPPED_ROSTER: b"segue/1 wrap roster"}


def wrap_envelope(kind, device, ikm, plain):
    """An envelope for one device's inbox, or None if its key can't be used."""
    wrapped = crypto.wrap(device, ikm, INFO[kind], inbox_of(device), plain)
    return wrapped and bytes([kind]) + wrapped


def unwrap_envelope(identity, envelope):
    """(kind, plain) of an envelope in this device's inbox; None if it doesn't open."""
    kind = envelope[0] if envelope else 0
    if kind not in INFO:
        return None
    plain = crypto.unwrap(identity, INFO[kind], inbox_of(identity.key), envelope[1:])
    return None if plain is None else (kind, plain)


def make_sealed(identity, session, box, count, frames):
    """The encoding of a Sealed: the letter of this device, and frames."""
    letter = Struct(**{"from": identity.key, "session": session, "to": box, "count": count, "frames": blob_id(frames)})
    return wire.encode("Sealed", Struct(letter=wire.sign_object("Letter", letter, identity), frames=frames))


def open_sealed(plain, session, box):
    """(letter, frames) of a Sealed that was found in a box of a session (SERVICE-SIGN-1)."""
    sealed = wire.decode("Sealed", plain)
    letter = wire.open_body("Letter", sealed.letter)
    wire.verify_signed("Letter", sealed.letter, getattr(letter, "from"))
    if letter.session != session or letter.to != box or letter.frames != blob_id(sealed.frames):
        raise Refused("SERVICE_ENVELOPE", "SERVICE-SIGN-1")
    return letter, sealed.frames
