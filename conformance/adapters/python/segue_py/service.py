"""Chapter service: sealing, the mailbox as its user has it, and hosting one."""
from . import crypto
from .crypto import H

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


class Mailbox:
    def __init__(self, dev):
        self.dev = dev
        self.used = set()
        self.handlers = {"KEY": lambda link, m: None}

    def give_keys(self, link, session):
        pass

    def chain_changed(self, session):
        pass

    def pump(self):
        pass

    def link_ready(self, link):
        pass

    def link_over(self, link):
        pass


class Host:
    def __init__(self, dev):
        self.dev = dev
        self.handlers = {"PUT": self.none, "FETCH": self.none, "WATCH": self.none, "PUT_OK": self.ignore, "ENVELOPES": self.ignore}

    def none(self, link, m):
        link.error(m.req, None, "SERVICE_NONE")

    def ignore(self, link, m):
        pass

    def link_over(self, link):
        pass
