"""Chapter wire: encodings, frames, the form of messages and signed objects."""
import re
import unicodedata
from types import SimpleNamespace

from . import crypto
from .registry import LIMIT, MESSAGES, PAYLOAD_OF, SIGNED, STRUCTS, TYPES, Refused

ZERO16 = bytes(16)
ZERO32 = bytes(32)


class Struct(SimpleNamespace):
    """A decoded structure: its fields as attributes."""


def _parse(encoding):
    """An encoding's name as a tuple, so that it is parsed once."""
    if encoding in ("u8", "bool"):
        return (encoding,)
    for pattern, kind in (
        (r"varint < 2\^(\d+)", "varint"),
        (r"(\d+) bytes", "fixed"),
        (r"bytes ≤ (\d+)", "bytes"),
        (r"string ≤ (\d+)", "string"),
    ):
        if m := re.fullmatch(pattern, encoding):
            return (kind, int(m[1]))
    if m := re.fullmatch(r"list ≤ (\d+) of (.+)", encoding):
        return ("list", int(m[1]), _parse(m[2]))
    if m := re.fullmatch(r"optional (.+)", encoding):
        return ("optional", _parse(m[1]))
    if encoding.startswith("Signed "):
        return ("signed",)
    if encoding not in STRUCTS:
        raise ValueError(f"no encoding {encoding}")
    return ("struct", encoding)


_PARSED = {}


def _encoding(name):
    if name not in _PARSED:
        _PARSED[name] = _parse(name)
    return _PARSED[name]


_FIELDS = {}


def _fields(name):
    if name not in _FIELDS:
        _FIELDS[name] = [(field, _parse(encoding)) for field, encoding in STRUCTS[name]]
    return _FIELDS[name]


# --- encoding


def varint(number):
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


def _write(out, enc, value):
    kind = enc[0]
    if kind == "u8":
        out.append(value)
    elif kind == "bool":
        out.append(1 if value else 0)
    elif kind == "varint":
        out += varint(value)
    elif kind == "fixed":
        assert len(value) == enc[1]
        out += value
    elif kind == "bytes":
        out += varint(len(value)) + value
    elif kind == "string":
        raw = value.encode()
        out += varint(len(raw)) + raw
    elif kind == "list":
        out += varint(len(value))
        for item in value:
            _write(out, enc[2], item)
    elif kind == "optional":
        out.append(0 if value is None else 1)
        if value is not None:
            _write(out, enc[1], value)
    elif kind == "signed":
        out += varint(len(value.body)) + value.body + value.sig
    else:
        for field, inner in _fields(enc[1]):
            _write(out, inner, getattr(value, field))


def encode(name, value):
    out = bytearray()
    _write(out, _encoding(name), value)
    return bytes(out)


# --- decoding


class _Reader:
    def __init__(self, data):
        self.data = data
        self.at = 0
        self.minimal = True

    def take(self, n):
        if len(self.data) - self.at < n:
            raise Refused("WIRE_LENGTH", "WIRE-CANON-2")
        self.at += n
        return bytes(self.data[self.at - n : self.at])

    def varint(self, bits):
        number, longest = 0, (bits + 6) // 7
        for i in range(longest):
            byte = self.take(1)[0]
            number |= (byte & 0x7F) << (7 * i)
            if byte < 0x80:
                if number >> bits:
                    break
                if byte == 0 and i > 0:
                    self.minimal = False
                return number
        raise Refused("WIRE_NONCANONICAL", "WIRE-CANON-1")

    def bytes(self, cap):
        n = self.varint(64)
        raw = self.take(n)
        if n > cap:
            raise Refused("WIRE_LIMIT", "WIRE-CAP-1")
        return raw

    def value(self, enc):
        kind = enc[0]
        if kind == "u8":
            return self.take(1)[0]
        if kind == "bool":
            byte = self.take(1)[0]
            if byte > 1:
                raise Refused("WIRE_NONCANONICAL", "WIRE-CANON-1")
            return byte == 1
        if kind == "varint":
            return self.varint(enc[1])
        if kind == "fixed":
            return self.take(enc[1])
        if kind == "bytes":
            return self.bytes(enc[1])
        if kind == "string":
            try:
                return self.bytes(enc[1]).decode("utf-8")
            except UnicodeDecodeError:
                raise Refused("WIRE_NONCANONICAL", "WIRE-CANON-1") from None
        if kind == "list":
            n = self.varint(64)
            if n > enc[1]:
                raise Refused("WIRE_LIMIT", "WIRE-CAP-1")
            return [self.value(enc[2]) for _ in range(n)]
        if kind == "optional":
            n = self.varint(64)
            if n > 1:
                raise Refused("WIRE_LIMIT", "WIRE-CAP-1")
            return self.value(enc[1]) if n else None
        if kind == "signed":
            body = self.bytes(LIMIT.MAX_SIGNED_BODY)
            return Struct(body=body, sig=self.take(64))
        return Struct(**{field: self.value(inner) for field, inner in _fields(enc[1])})


def decode(name, data):
    """Decodes a value that takes all of `data`; the first error in the order of WIRE-ORDER-1."""
    reader = _Reader(data)
    value = reader.value(_encoding(name))
    if not reader.minimal:
        raise Refused("WIRE_NONCANONICAL", "WIRE-CANON-1")
    if reader.at != len(data):
        raise Refused("WIRE_LENGTH", "WIRE-CANON-2")
    return value


# --- frames


def frame(name, /, **fields):
    """The frame of a message; without extensions unless they are among the fields."""
    payload = encode(PAYLOAD_OF[name], Struct(**{"ext": [], **fields}))
    return varint(TYPES[name]) + varint(len(payload)) + payload


def frame_header(data):
    """(type, length, header's length) of the frame that `data` begins with; None if more bytes are needed."""
    reader = _Reader(data)
    numbers = []
    for _ in range(2):
        try:
            numbers.append(reader.varint(64))
        except Refused as e:
            if e.code == "WIRE_LENGTH":
                return None
            raise
        if not reader.minimal:
            raise Refused("WIRE_NONCANONICAL", "WIRE-CANON-1")
    if numbers[1] > LIMIT.MAX_FRAME:
        raise Refused("LIMIT_FRAME", "WIRE-FRAME-1")
    return numbers[0], numbers[1], reader.at


def check_type(kind):
    """Whether a frame's type is known; an unknown odd one is skipped, an even one refused."""
    if kind in MESSAGES:
        return True
    if kind % 2 == 0:
        raise Refused("WIRE_UNKNOWN_CRITICAL", "WIRE-FRAME-2")
    return False


def decode_message(kind, payload):
    """(name, message) of a known frame."""
    name, structure, _ = MESSAGES[kind]
    message = decode(structure, payload)
    for ext in message.ext:
        if ext.id % 2 == 0:
            raise Refused("WIRE_UNKNOWN_CRITICAL", "WIRE-EXT-1")
    if name in ("LINK", "MARK"):
        check_name(message.name)
    return name, message


def read_frames(data):
    """The messages of a run of whole frames, as a letter holds them."""
    at = 0
    while at < len(data):
        header = frame_header(data[at:])
        if header is None or at + header[2] + header[1] > len(data):
            raise Refused("WIRE_LENGTH", "WIRE-CANON-2")
        kind, length, size = header
        payload = data[at + size : at + size + length]
        at += size + length
        if check_type(kind):
            yield decode_message(kind, payload)


# --- form

_BIDI = set(map(chr, [0x061C, 0x200E, 0x200F, *range(0x2028, 0x202F), *range(0x2066, 0x206A), 0xFEFF]))


def forbidden(char):
    return char in _BIDI or unicodedata.category(char) == "Cc"


def check_name(name):
    if len(name) > LIMIT.MAX_NAME or any(forbidden(c) for c in name):
        raise Refused("WIRE_STRING", "WIRE-STRING-1")


def ascends(items):
    return all(a < b for a, b in zip(items, items[1:]))


def _value(good, clause="WIRE-VALUE-1"):
    if not good:
        raise Refused("WIRE_VALUE", clause)


def check_form(structure, body):
    """The form of a signed object's body: WIRE-VALUE-1, WIRE-STRING-1, ACCOUNT-ENTRY-1."""
    if structure == "Record":
        _value(body.kind <= 4)
        _value(body.genesis is None or ascends(body.genesis.members))
    elif structure == "Want":
        _value(body.mode <= 2)
        _value((body.mode == 1) == (body.offer is not None))
    elif structure in ("Offer", "Invitation"):
        check_name(body.name)
    elif structure == "RosterEntry":
        _value(body.kind <= 2)
        _value((body.kind == 0) == (body.genesis is not None), "ACCOUNT-ENTRY-1")
        _value((body.kind == 2) == (body.cut is not None), "ACCOUNT-ENTRY-1")
        _value((body.kind == 0) == (body.account == ZERO32), "ACCOUNT-ENTRY-1")
        _value((body.kind == 0) == (not body.parents), "ACCOUNT-ENTRY-1")
        _value(ascends(body.parents), "ACCOUNT-ENTRY-1")
        _value(body.kind != 0 or body.signer == body.device, "ACCOUNT-ENTRY-1")
        _value(body.kind != 2 or body.name == "", "ACCOUNT-ENTRY-1")
        check_name(body.name)


def open_body(structure, signed):
    """The body of a signed object, its form checked."""
    body = decode(structure, signed.body)
    check_form(structure, body)
    return body


def object_id(structure, body):
    return crypto.H(SIGNED[structure][0], body)


def verify_signed(structure, signed, key):
    """WIRE-SIGN-1 over the bytes as received."""
    context = SIGNED[structure][1].encode()
    crypto.verify(key, context + object_id(structure, signed.body), signed.sig)


def sign_object(structure, body, identity):
    """A structure's encoding, signed by the identity."""
    raw = encode(structure, body)
    return Struct(body=raw, sig=identity.sign(SIGNED[structure][1].encode() + object_id(structure, raw)))
