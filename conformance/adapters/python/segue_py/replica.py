"""A device's copy of a session's data, and how what comes over links is taken in (chapter sync, 6.3 and 6.4)."""
from . import data, wire
from .data import BLOB, EXCLUSIVE, STREAMS, Part
from .registry import LIMIT, Refused
from .wire import Struct


class Copy:
    def __init__(self, session):
        self.session = session
        self.parts = {}
        self.stream_bytes = 0
        self.aside = None  # what is set aside of the session, if anything can be

    def roots(self, exclusive_only=False):
        ids = sorted(p for p, part in self.parts.items() if not exclusive_only or part.kind == EXCLUSIVE)
        return [(p, self.parts[p].root()) for p in ids]

    def root(self):
        return data.root_of(self.session, self.roots())

    def exclusive_root(self):
        return data.root_of(self.session, self.roots(True))

    def manifest(self, name):
        """The encoding of the manifest of the whole copy."""
        parts = [self.parts[p].struct() for p in sorted(self.parts)]
        return wire.encode("Manifest", Struct(session=self.session, name=name, parts=parts))

    def entries(self):
        """(part, actor, Entry) of each value of a blob part."""
        for pid, part in self.parts.items():
            if part.kind == BLOB:
                for actor, value in part.values.items():
                    yield pid, actor, wire.decode("Entry", value.op.body)

    def shown_entries(self):
        for pid, part in self.parts.items():
            if part.kind == BLOB and part.values:
                yield pid, wire.decode("Entry", part.shown().op.body)

    def tree(self):
        """{path: (part, Entry)} of the live files and directories."""
        live = {p: e for p, e in self.shown_entries() if e.mode != data.REMOVED}
        placed = data.place([(p, e.path, e.mode < data.DIRECTORY) for p, e in live.items()])
        return {path: (p, live[p]) for path, p in placed.items()}

    def check_kind(self, pid, kind):
        part = self.parts.get(pid)
        if part and part.kind != kind:
            raise Refused("DATA_MANIFEST", "DATA-KIND-1")
        if part is None and len(self.parts) >= LIMIT.MAX_PARTS:
            raise Refused("LIMIT_MANIFEST", "LIMIT-KEEP-1")
        return part

    def find_hash(self, pid, actor, seq):
        """The hash of an op of a stream, taken in or set aside; None if it isn't held."""
        part = self.parts.get(pid)
        found = part.hash_at(actor, seq) if part else None
        if found is None and self.aside is not None:
            found = self.aside.hash_at(pid, actor, seq)
        return found

    def take_part(self, struct, outranks):
        """Takes in a copy of a part with values, checked by 6.4. outranks(theirs, ours): SYNC-RANK-1. The changed Part, or None."""
        if struct.kind in STREAMS:
            raise Refused("DATA_MANIFEST", "DATA-KIND-1")
        held = self.check_kind(struct.part, struct.kind)
        theirs = data.part_of(self.session, struct)
        if self.aside is not None:
            theirs, bad = self.aside.split(theirs)
            self.aside.keep_values(struct.kind, struct.part, bad)
            if theirs is None:
                return None
        if struct.kind == BLOB:
            known = {e.blob: e.len for _, _, e in self.entries() if e.mode < data.DIRECTORY}
            data.lengths_agree((wire.decode("Entry", v.op.body) for v in struct.values), known)
        if struct.kind == EXCLUSIVE:
            if not outranks(theirs, held):
                return None
            merged = theirs
        else:
            merged = data.merge(held or Part(self.session, struct.part, struct.kind), theirs)
            if len(merged.tips) > LIMIT.MAX_ACTORS:
                raise Refused("LIMIT_ROOM", "LIMIT-ROOM-1")
        if held is not None and (merged.tips, merged.values.keys()) == (held.tips, held.values.keys()):
            return None
        self.parts[struct.part] = merged
        return merged

    def take_op(self, kind, op, seed):
        """Takes in an op of a stream whose deps have their hashes; whether it is new."""
        part = self.check_op(kind, op)
        prev = part.hash_at(op.actor, op.seq - 1)
        if prev is None:
            raise Refused("DATA_HASH", "DATA-OP-1")
        held = part.hash_at(op.actor, op.seq)
        if held is not None:
            if held != data.op_hash(prev, op):
                raise Refused("DATA_FORK", "DATA-FORK-1")
            return False
        self.check_room(part, op)
        part.put_op(op, seed)
        self.parts[op.part] = part
        return True

    def check_op(self, kind, op):
        """DATA-KIND-1, DATA-OP-1 and DATA-OP-4 for an op of a stream; its part."""
        part = self.check_kind(op.part, kind)
        if kind not in STREAMS:
            raise Refused("DATA_MANIFEST", "DATA-KIND-1")
        if op.seq > 1 and self.find_hash(op.part, op.actor, op.seq - 1) is None:
            raise Refused("DATA_HASH", "DATA-OP-1")
        actors = [d.actor for d in op.deps]
        if not wire.ascends(actors) or op.actor in actors or any(d.seq < 1 or d.hash is None for d in op.deps):
            raise Refused("DATA_MANIFEST", "DATA-OP-4")
        return part or Part(self.session, op.part, kind)

    def check_room(self, part, op):
        size = 128 + len(op.body)
        if (
            sum(len(o) for o in part.ops.values()) >= LIMIT.MAX_STREAM_OPS
            or self.stream_bytes + size > LIMIT.MAX_STREAM_BYTES
            or op.actor not in part.tips
            and len(part.tips) >= LIMIT.MAX_ACTORS
        ):
            raise Refused("LIMIT_ROOM", "LIMIT-ROOM-1")
        self.stream_bytes += size


class Strands:
    """What the numbers of strands mean on a link, or in a letter."""

    def __init__(self):
        self.named = {}

    def name(self, strand):
        if strand.strand >= LIMIT.MAX_STRANDS:
            raise Refused("WIRE_LIMIT", "SYNC-STRAND-1")
        strand.hlc_number = int.from_bytes(strand.hlc, "big")
        self.named[strand.strand] = strand

    def session_of(self, number):
        if number not in self.named:
            raise Refused("WIRE_STATE", "SYNC-STRAND-1")
        return self.named[number].session

    def next_op(self, copy, number, brief):
        """The op that a BriefOp stands for (6.3), whole, and its strand; the number moves on."""
        strand = self.named[number]
        deps = []
        for dep in brief.deps:
            other = self.named.get(dep.strand)
            if other is None or (other.session, other.part) != (strand.session, strand.part):
                raise Refused("WIRE_STATE", "SYNC-STRAND-1")
            hash_ = copy.find_hash(strand.part, other.actor, dep.seq) if dep.seq else None
            deps.append(Struct(actor=other.actor, seq=dep.seq, hash=hash_))
        last = strand.hlc_number
        hlc = last + 1 if brief.ms == 0 else ((last >> 16) + brief.ms) << 16
        seq = strand.seq + 1
        if hlc >= 1 << 64 or seq >= 1 << 64:
            raise Refused("WIRE_VALUE", "DATA-TIME-1")
        strand.hlc_number, strand.seq = hlc, seq
        op = Struct(
            part=strand.part, actor=strand.actor, seq=seq, deps=deps, hlc=hlc.to_bytes(8, "big"),
            record=strand.record, salt=data.salt_of(strand.seed, seq), body=brief.body,
        )
        return op, strand
