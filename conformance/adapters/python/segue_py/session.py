"""A session that a device knows: its chain, its copy of the data, the log of changes, and how both are kept."""
import json

from . import data, wire
from .aside import Aside
from .blobs import cut
from .chain import CLOSE, DELEGATE, GENESIS, GRANT, TAKEOVER, Chain
from .crypto import blob_id
from .data import BLOB, EXCLUSIVE, STREAMS, Part
from .registry import LIMIT, Refused
from .replica import Copy
from .wire import ZERO32, Struct


SHOWN = "shown"  # what a write of a file stands for: the value that its user sees, and no other


class Announced:
    """A manifest that was announced, or made of this device's own data."""

    def __init__(self, copy, name):
        self.raw = copy.manifest(name)
        self.hash = blob_id(self.raw)
        self.root = copy.root()
        self.parts = {p: part.root() for p, part in copy.parts.items()}
        self.exclusive = {p: part.copy() for p, part in copy.parts.items() if part.kind == EXCLUSIVE}
        self.blobs = {}
        for _, _, entry in copy.entries():
            add_blobs(self.blobs, entry)

    def struct(self):
        return Struct(root=self.root, manifest=self.hash, manifest_len=len(self.raw))


def add_blobs(blobs, entry):
    if entry.len:
        blobs[entry.blob] = entry.len
        if entry.chunks:
            blobs[entry.chunks.hash] = entry.chunks.len


class Session:
    """`meta` is what the journal keeps of it besides records, parts and ops, as JSON."""

    def __init__(self, dev, sid):
        self.dev, self.id = dev, sid
        self.chain = Chain()
        self.copy = Copy(sid)
        self.name = ""
        self.takes_part = False
        self.proven = True  # made, or granted anew, since continuity was last lost
        self.nonce = None  # of the present actor
        self.actor = None
        self.activated = {}  # grants that this device became primary by -> as which actor
        self.log = None
        self.position = self.durable_position = 0
        self.changes = {}  # position -> (part, actor, seq) of an op, or (part, None, None)
        self.origins = {}  # position -> label of where it came from: a peer under the name of its log, or a box
        self.part_positions = {}
        self.held = {}  # peer -> (log, position) up to which its changes are held, durably
        self.grant = None  # Struct: the GRANT that waits for its acknowledgement
        self.copies = []  # labelled copies: [record, [encoded parts]]
        self.exclusive_log = []  # exclusive ops in the order in which they were made, for GRANTs
        self.announced = {}  # hash -> Announced
        self.reported = []  # evidence that was reported
        self.keys = []  # content keys: Struct(epoch, key, without)
        self.mail = {}  # mailbox -> what is known of its boxes
        self.own_read = {}  # part -> {actor: seq}: what ops of the present actor named as read
        self.changed = False
        self._serves = None
        self.aside = self.copy.aside = Aside(self)

    # --- what it is

    @property
    def head(self):
        return self.chain.head

    def entitled_under(self, record):
        b = record.body
        if b.kind == DELEGATE:
            return self.entitled_under(self.chain.get(b.parent))
        if b.kind == GENESIS or b.kind == TAKEOVER and b.signer == b.owner:
            return b.owner == self.dev.key and b.want == self.actor
        return b.kind in (GRANT, TAKEOVER) and b.owner == self.dev.key and self.activated.get(record.id) == self.actor

    def entitled(self):
        return self.head is not None and self.takes_part and self.proven and self.entitled_under(self.head)

    def primary(self):
        return self.entitled() and not self.dev.halted

    def closed(self):
        return self.head is not None and self.head.body.kind == CLOSE

    def owner(self):
        return self.head.body.owner if self.head else ZERO32

    def is_member(self, device):
        return device in self.chain.members

    # --- keeping

    def touch(self):
        self.changed = True

    def save(self):
        """Writes what changed besides records, parts and ops."""
        g = self.grant
        meta = {
            "name": self.name, "part": self.takes_part, "proven": self.proven,
            "nonce": _hex(self.nonce), "log": _hex(self.log), "activated": {r.hex(): a.hex() for r, a in self.activated.items()},
            "held": {p.hex(): [log.hex(), at] for p, (log, at) in self.held.items()},
            "grant": g and {
                "record": g.record.hex(), "target": g.target.hex(), "want": g.want.hex(),
                "frame": wire.encode("Grant", g.message).hex(), "under": g.under,
            },
            "copies": self.copies, "reported": self.reported,
            "keys": [[k.epoch, k.key.hex(), [w.hex() for w in k.without]] for k in self.keys],
            "mail": {m.hex(): v for m, v in self.mail.items()},
        }
        self.dev.store.put(b"s/" + self.id, json.dumps(meta, separators=(",", ":")).encode())
        self.changed = False

    def load(self, raw):
        meta = json.loads(raw)
        self.name, self.takes_part, self.proven = meta["name"], meta["part"], meta["proven"]
        self.log = bytes.fromhex(meta["log"]) if meta["log"] else None
        if meta["nonce"]:
            self.nonce = bytes.fromhex(meta["nonce"])
            self.actor = data.actor_of(self.dev.key, self.nonce)
        self.activated = {bytes.fromhex(r): bytes.fromhex(a) for r, a in meta["activated"].items()}
        self.held = {bytes.fromhex(p): (bytes.fromhex(log), at) for p, (log, at) in meta["held"].items()}
        self.copies, self.reported = meta["copies"], meta["reported"]
        self.keys = [Struct(epoch=e, key=bytes.fromhex(k), without=[bytes.fromhex(x) for x in w]) for e, k, w in meta["keys"]]
        self.mail = {bytes.fromhex(m): v for m, v in meta["mail"].items()}
        if g := meta["grant"]:
            self.grant = Struct(
                record=bytes.fromhex(g["record"]), target=bytes.fromhex(g["target"]), want=bytes.fromhex(g["want"]),
                message=wire.decode("Grant", bytes.fromhex(g["frame"])), under=g["under"], durable=True, handoff=None, pause=0,
            )
        store = self.dev.store
        records = []
        for _, value in store.under(b"r/" + self.id):
            signed = Struct(body=value[:-64], sig=value[-64:])
            records.append((signed, wire.open_body("Record", signed)))
        for signed, body in sorted(records, key=lambda r: r[1].n):
            self.chain.add(signed, body)
        for pid, value in store.under(b"p/" + self.id):
            position, origin, rest = _unlabel(value)
            part = data.part_of(self.id, wire.decode("Part", rest))
            self.copy.parts[pid] = part
            if part.kind not in STREAMS:
                self._note(position, (pid, None, None), origin)
                self.part_positions[pid] = position
        for key, value in store.under(b"o/" + self.id):
            position, origin, rest = _unlabel(value)
            hash_, seed, kind = rest[:32], rest[32:48], rest[48]
            op = wire.decode("Op", rest[49:])
            part = self.copy.parts.setdefault(op.part, Part(self.id, op.part, kind))
            part.ops.setdefault(op.actor, []).append(op)
            part.hashes.setdefault(op.actor, []).append(hash_)
            part.seeds[op.actor] = seed
            part.tips[op.actor] = (op.seq, hash_)
            part.changed()
            self.copy.stream_bytes += 128 + len(op.body)
            self._note(position, (op.part, op.actor, op.seq), origin)
        self.position = self.durable_position = max([*self.changes, 0])
        self.changes = dict(sorted(self.changes.items()))
        self.aside.load()
        self._find_read()

    def _find_read(self):
        self.own_read = {}
        for pid, part in self.copy.parts.items():
            for op in part.ops.get(self.actor, ()):
                for dep in op.deps:
                    self.own_read.setdefault(pid, {})[dep.actor] = dep.seq

    def _note(self, position, entry, origin):
        self.changes[position] = entry
        if origin:
            self.origins[position] = origin

    def keep_record(self, record):
        self.dev.store.put(b"r/" + self.id + record.id, record.signed.body + record.signed.sig)

    def drop_record(self, record):
        self.chain.forget(record.id)
        self.dev.store.delete(b"r/" + self.id + record.id)

    def take_part_in(self):
        """From now on the session is kept, written and fed."""
        if self.takes_part:
            return
        self.takes_part = True
        self.log = self.log or self.dev.random.draw(16)
        if self.actor is None:
            self.new_actor()
        self.touch()
        self.dev.sync.takes_part(self)
        for link in self.dev.ready_links():
            self.dev.handoff.tell_of(link, self)

    def new_actor(self):
        self.nonce = self.dev.random.draw(16)
        self.actor = data.actor_of(self.dev.key, self.nonce)
        self.own_read = {}
        self.aside.name(Struct(device=self.dev.key, nonce=self.nonce))
        self.touch()

    # --- data

    def _advance(self, entry, origin):
        self.position += 1
        position = self.position
        self._note(position, entry, origin)
        self.dev.store.when_durable(lambda: self._durable(position))
        self._serves = None
        return position

    def _durable(self, position):
        self.durable_position = max(self.durable_position, position)

    def keep_part(self, part, origin=None):
        """A part with values has changed."""
        old = self.part_positions.get(part.id)
        if old is not None:
            self.changes.pop(old, None)
            self.origins.pop(old, None)
        position = self._advance((part.id, None, None), origin)
        self.part_positions[part.id] = position
        self.copy.parts[part.id] = part
        self.dev.store.put(b"p/" + self.id + part.id, _label(position, origin) + part.encode())

    def drop_part(self, pid):
        del self.copy.parts[pid]
        self.changes.pop(self.part_positions.pop(pid, None), None)
        self.dev.store.delete(b"p/" + self.id + pid)
        self._serves = None

    def take_op(self, kind, op, seed, origin):
        """Takes in an op of a stream, or sets it aside; whether it is new data."""
        aside = self.aside
        if not aside.ops and not aside.revoked():
            taken = self.copy.take_op(kind, op, seed)
        else:
            prev = self.copy.find_hash(op.part, op.actor, op.seq - 1) or data.strand_start(self.id, op.part, op.actor)
            hash_ = data.op_hash(prev, op) if all(d.hash for d in op.deps) else None
            known = aside.hash_at(op.part, op.actor, op.seq)
            if known is not None:
                if known != hash_:
                    raise Refused("DATA_FORK", "DATA-FORK-1")
                return False
            held = self.copy.find_hash(op.part, op.actor, op.seq)
            if held is None and hash_ and not aside.stands(op.part, op.actor, op.seq, hash_):
                self.copy.check_op(kind, op)
                aside.set_aside(op, hash_, seed, kind)
                return False
            if held is None and hash_:
                aside.bring_in_before(op)
            taken = self.copy.take_op(kind, op, seed)
        if taken:
            self.keep_op(kind, op, seed, origin)
        return taken

    def drop_op(self, op):
        """An op of a stream is no part of the data any more."""
        entry = (op.part, op.actor, op.seq)
        for position in [p for p, e in self.changes.items() if e == entry]:
            del self.changes[position]
            self.origins.pop(position, None)
        self.dev.store.delete(b"o/" + self.id + op.part + op.actor + op.seq.to_bytes(8, "big"))

    def keep_op(self, kind, op, seed, origin=None):
        """An op of a stream is here."""
        position = self._advance((op.part, op.actor, op.seq), origin)
        hash_ = self.copy.parts[op.part].hash_at(op.actor, op.seq)
        key = b"o/" + self.id + op.part + op.actor + op.seq.to_bytes(8, "big")
        self.dev.store.put(key, _label(position, origin) + hash_ + seed + bytes([kind]) + wire.encode("Op", op))

    def may_write(self, kind):
        if not self.takes_part:
            raise Refused("HO_UNKNOWN_SESSION", None, "this device doesn't take part in the session")
        if self.closed():
            raise Refused("HO_CLOSED", None, "the session is closed")
        if kind == EXCLUSIVE and not self.primary():
            raise Refused("HO_NOT_OWNER", "HO-WRITE-1", "this device isn't the primary")

    def write(self, pid, kind, body, resolves=False):
        """Makes an op of this device on a part of any kind."""
        if not 1 <= kind <= 5:
            raise Refused("WIRE_VALUE", "WIRE-VALUE-1", f"there is no kind {kind}")
        self.may_write(kind)
        if len(body) > LIMIT.MAX_OP_BODY:
            raise Refused("WIRE_LIMIT", "LIMIT-KEEP-1", "the body is too long")
        part = self.copy.check_kind(pid, kind)
        part = part.copy() if part and kind not in STREAMS else part or Part(self.id, pid, kind)
        if kind == BLOB:
            data.check_entry(body)
        seq = part.tips.get(self.actor, (0,))[0] + 1
        seed = None
        if kind in STREAMS:
            deps, last, read = self._stream_deps(part)
            seed = part.seeds.get(self.actor) or self.dev.random.draw(16)
            salt = data.salt_of(seed, seq)
        else:
            deps, last, read = self._value_deps(part, resolves)
            salt = self.dev.random.draw(16)
        hlc = data.next_time(self.dev.wall_ms(), last, read).to_bytes(8, "big")
        op = Struct(part=pid, actor=self.actor, seq=seq, deps=deps, hlc=hlc, record=self.head.id, salt=salt, body=body)
        if kind in STREAMS:
            self.copy.check_room(part, op)
            part.put_op(op, seed)
            self.copy.parts[pid] = part
            for dep in deps:
                self.own_read.setdefault(pid, {})[dep.actor] = dep.seq
            self.keep_op(kind, op, seed)
            return
        part.put_value(op)
        if kind == EXCLUSIVE:
            if len(part.encode()) > LIMIT.MAX_PART:
                raise Refused("LIMIT_ROOM", "DATA-PART-2", "the part has become too long")
            self.dev.handoff.source.pace(self, part)
            self.exclusive_log.append(op)
        self.keep_part(part)
        if kind == EXCLUSIVE:
            self.dev.handoff.source.written(self)

    def _value_deps(self, part, resolves):
        values = part.values.values()
        shown = part.shown()
        if len(values) > 1 and not resolves:
            raise Refused("DATA_CONFLICT", "DATA-VALUE-1", "the part has values in conflict, for which the write doesn't stand")
        read = [v for v in values if v.op.actor != self.actor and (resolves != SHOWN or v is shown)]
        deps = [Struct(actor=v.op.actor, seq=part.tips[v.op.actor][0], hash=part.tips[v.op.actor][1]) for v in read]
        last = int.from_bytes(part.values[self.actor].op.hlc, "big") if self.actor in part.values else None
        times = [int.from_bytes(v.op.hlc, "big") for v in values if v.op.actor != self.actor]
        return sorted(deps, key=lambda d: d.actor), last, max(times, default=None)

    def _stream_deps(self, part):
        named = self.own_read.get(part.id, {})
        grown = [a for a, (s, _) in sorted(part.tips.items()) if a != self.actor and s > named.get(a, 0)]
        deps = [Struct(actor=a, seq=part.tips[a][0], hash=part.tips[a][1]) for a in grown[: LIMIT.MAX_DEPS]]
        own = part.ops.get(self.actor)
        last = int.from_bytes(own[-1].hlc, "big") if own else None
        times = [int.from_bytes(ops[-1].hlc, "big") for a, ops in part.ops.items() if a != self.actor and ops]
        return deps, last, max(times, default=None)

    def write_file(self, path, content):
        """A file of the session's tree; None removes it."""
        data.check_path(path)
        self.may_write(BLOB)
        tree = self.copy.tree()
        if path in tree:
            pid, entry = tree[path]
            path = entry.path
        else:
            pid = next((p for p, e in self.copy.shown_entries() if e.path == path), None)
            if content is None:
                raise Refused("DATA_NAME", None, "there is no such file")
            pid = pid or data.named_part(self.id, BLOB, path)
        if content is None:
            entry = Struct(path=path, mode=data.REMOVED, len=0, blob=ZERO32, chunks=None)
        else:
            entry = Struct(path=path, mode=data.FILE, len=len(content), blob=blob_id(content), chunks=None)
            if listed := cut(content):
                entry.chunks = Struct(hash=blob_id(listed), len=len(listed))
                self.dev.blobs.put(entry.chunks.hash, listed)
            self.dev.blobs.put(entry.blob, content)
            if listed:
                self.dev.blobs.index(listed)
        self.write(pid, BLOB, wire.encode("Entry", entry), resolves=SHOWN)
        if content:
            self.dev.store.after_chunks()

    def value_of_exclusive(self):
        for pid in sorted(self.copy.parts):
            part = self.copy.parts[pid]
            if part.kind == EXCLUSIVE and part.values:
                return pid, part.shown().op.body
        return None, None

    # --- what others may fetch

    def announce(self):
        """The present manifest."""
        present = Announced(self.copy, self.name)
        if len(present.raw) > LIMIT.MAX_MANIFEST:
            raise Refused("LIMIT_MANIFEST", "DATA-MANIFEST-5")
        if present.hash not in self.announced:
            self.announced[present.hash] = present
            self.dev.blobs.put(present.hash, present.raw)
            while len(self.announced) > 64:
                del self.announced[next(iter(self.announced))]
            self._serves = None
        return self.announced[present.hash]

    def serves(self):
        """{blob: length} of all that may be fetched of this session."""
        if self._serves is None:
            self._serves = {}
            for a in self.announced.values():
                self._serves |= a.blobs
                self._serves[a.hash] = len(a.raw)
            for _, _, entry in self.copy.entries():
                add_blobs(self._serves, entry)
        return self._serves

    def inspect(self):
        head = self.head
        b = head.body
        fields = {
            "role": self._role(), "head": head.id.hex(), "parent": b.parent.hex(), "term": b.term, "n": b.n,
            "taker": head.opener.hex(), "entitled": self.entitled(), "root": ZERO32.hex() if not self.takes_part else self.copy.root().hex(),
            "files": {}, "named": {}, "conflicts": {}, "copies": len(self.copies), "aside": self.aside.count(),
        }
        if not self.closed():
            fields["owner"] = b.owner.hex()
        for path, (_, entry) in self.copy.tree().items():
            if entry.mode >= data.DIRECTORY:
                continue
            whole = entry.len == 0 or self.dev.blobs.get(entry.blob) is not None
            fields["files"][path] = (entry.blob if whole else ZERO32).hex()
            fields["named"][path] = entry.blob.hex()
        for pid, entry in self.copy.shown_entries():
            part = self.copy.parts[pid]
            if len(part.values) > 1:
                others = [wire.decode("Entry", part.values[a].op.body) for a in sorted(part.values)]
                blobs = [o.blob.hex() for o in others if o.mode < data.DIRECTORY and o.blob != entry.blob]
                fields["conflicts"][entry.path] = list(dict.fromkeys(blobs))
        _, value = self.value_of_exclusive()
        if value is not None:
            fields["exclusive"] = value.hex()
        if self.grant:
            fields["pending"] = self.grant.target.hex()
        return fields

    def _role(self):
        if self.closed():
            return "closed"
        if self.grant:
            return "releasing"
        if self.primary():
            return "primary"
        return "rolled-back" if self.owner() == self.dev.key else "secondary"


def _hex(value):
    return value.hex() if value else None


def _label(position, origin):
    return position.to_bytes(8, "big") + (origin or ZERO32)


def _unlabel(value):
    origin = value[8:40]
    return int.from_bytes(value[:8], "big"), None if origin == ZERO32 else origin, value[40:]


def check_equivocation(session, record):
    """HO-EQUIV-1: tells the user once."""
    twin = session.chain.twin(record)
    if twin is None:
        return
    pair = sorted([twin.id.hex(), record.id.hex()])
    if pair not in session.reported:
        session.reported.append(pair)
        session.touch()
        session.dev.event("equivocation", session=session.id.hex(), key=record.body.signer.hex(), records=pair)
