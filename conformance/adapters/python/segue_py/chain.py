"""Chapter handoff, sections 7.1 to 7.3: records, the chain, the head."""
from . import wire
from .crypto import H
from .registry import LIMIT, Refused
from .wire import ZERO32

GENESIS, GRANT, DELEGATE, TAKEOVER, CLOSE = range(5)


def session_id(creator, nonce):
    return H("segue/1 session", creator + nonce)[:16]


class Record:
    def __init__(self, signed, body, opener):
        self.signed, self.body, self.opener = signed, body, opener
        self.id = wire.object_id("Record", signed.body)

    def rank(self):
        """The order of HO-HEAD-1; of equal ones the smaller id is higher."""
        return (self.body.term, self.opener, self.body.n, bytes(255 - b for b in self.id))


def open_record(signed):
    """Form and signature of a record, which are checked before all else; its body."""
    body = wire.open_body("Record", signed)
    wire.verify_signed("Record", signed, body.signer)
    return body


class Chain:
    """The records of one session that a device has taken in."""

    def __init__(self):
        self.records = {}
        self.session = None
        self.head = None
        self.members = set()
        self._by_parent = {}

    def get(self, rid):
        return self.records.get(rid)

    def check(self, body):
        """The requirements of 7.1, in their order."""

        def need(good, clause, code="HO_CHAIN"):
            if not good:
                raise Refused(code, clause)

        if not self.records:
            need(body.kind == GENESIS and body.genesis is not None, "HO-CHAIN-8")
            need(body.parent == ZERO32 and body.term == 0 and body.n == 0, "HO-CHAIN-8")
            need(body.owner == body.grantor == body.signer and body.want != ZERO32, "HO-CHAIN-8")
            need(body.session == session_id(body.signer, body.genesis.nonce), "HO-CHAIN-7")
            return
        parent = self.records.get(body.parent)
        need(body.session == self.session and parent is not None, "HO-CHAIN-1")
        p = parent.body
        need(p.kind != CLOSE, "HO-CHAIN-6", "HO_CLOSED")
        need(body.n == p.n + 1, "HO-CHAIN-3")
        need(body.term == p.term + (body.kind == TAKEOVER), "HO-CHAIN-4")
        if body.kind == TAKEOVER:
            own = body.signer in self.members and body.owner == body.grantor == body.signer
            lease = body.signer == p.grantor != p.owner and body.owner not in (ZERO32, p.owner, body.signer)
            need(own or lease and body.grantor in (body.signer, body.owner), "HO-CHAIN-5")
        else:
            need(body.signer == p.grantor, "HO-CHAIN-2")
        need(body.kind != GENESIS and body.genesis is None, "HO-CHAIN-8")
        if body.kind == GRANT:
            good = body.owner != ZERO32 and body.want != ZERO32 and body.grantor in (body.owner, p.grantor)
        elif body.kind == DELEGATE:
            good = body.owner == p.owner and body.grantor != ZERO32 and body.want == p.want
        elif body.kind == TAKEOVER:
            good = body.want != ZERO32
        else:
            good = body.owner == body.grantor == body.want == ZERO32
        need(good, "HO-CHAIN-8")

    def take(self, signed, body):
        """Takes in a record whose form and signature are checked; the Record, or None if it is known."""
        rid = wire.object_id("Record", signed.body)
        if rid in self.records:
            return None
        self.check(body)
        if len(self.records) >= LIMIT.MAX_CHAIN:
            raise Refused("LIMIT_ROOM", "LIMIT-ROOM-1")
        return self.add(signed, body)

    def add(self, signed, body):
        rid = wire.object_id("Record", signed.body)
        parent = self.records.get(body.parent)
        opener = rid if body.kind == TAKEOVER else parent.opener if parent else ZERO32
        record = Record(signed, body, opener)
        self.session = body.session
        self.records[rid] = record
        self.members |= {body.owner} - {ZERO32}
        if body.genesis:
            self.members |= set(body.genesis.members)
        if self.head is None or record.rank() > self.head.rank():
            self.head = record
        return record

    def forget(self, rid):
        """Drops a record that was never durable and has no followers."""
        del self.records[rid]
        records = list(self.records.values())
        self.head = max(records, key=Record.rank)

    def twin(self, record):
        """Another record with the same parent, signer and term (HO-EQUIV-1)."""
        b = record.body
        for other in self.records.values():
            o = other.body
            if other.id != record.id and (o.parent, o.signer, o.term) == (b.parent, b.signer, b.term):
                return other
        return None

    def path(self, record=None):
        """The records from the genesis to the head, or to another record."""
        path = []
        record = record or self.head
        while record:
            path.append(record)
            record = self.records.get(record.body.parent)
        return path[::-1]

    def descends(self, record, ancestor_id):
        """Whether a record is, or follows, another."""
        while record:
            if record.id == ancestor_id:
                return True
            record = self.records.get(record.body.parent)
        return False

    def behind(self, rid):
        """The head's chain behind the last record of it that a device with the head `rid` has."""
        path = self.path()
        on_path = {r.id: i for i, r in enumerate(path)}
        record = self.records.get(rid)
        while record and record.id not in on_path:
            record = self.records.get(record.body.parent)
        return path[on_path[record.id] + 1 :] if record else path
