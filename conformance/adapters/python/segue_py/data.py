"""Chapter data: parts, ops, strands, roots, manifests, paths."""
from . import wire
from .crypto import H, blob_id
from .registry import LIMIT, Refused
from .wire import ZERO32, Struct

REGISTER, LOG, BLOB, OPAQUE, EXCLUSIVE = 1, 2, 3, 4, 5
STREAMS = (LOG, OPAQUE)
SHARED_VALUES = (REGISTER, BLOB)
FILE, EXECUTABLE, DIRECTORY, REMOVED = 0, 1, 2, 3
EMPTY_BLOB = blob_id(b"")


def u(n, size):
    return n.to_bytes(size, "big")


def named_part(session, kind, name):
    return H("segue/1 named part", session + u(kind, 2) + name.encode())[:16]


def actor_of(device, nonce):
    return H("segue/1 actor", device + nonce)


def salt_of(seed, seq):
    return H("segue/1 salt", seed + u(seq, 8))[:16]


def strand_start(session, part, actor):
    return H("segue/1 strand", session + part + actor)


def header_of(op):
    body_hash = H("segue/1 body", op.salt + op.body)
    return Struct(seq=op.seq, deps=op.deps, hlc=op.hlc, record=op.record, body_len=len(op.body), body_hash=body_hash)


def op_hash(prev, op):
    return H("segue/1 op", prev + wire.encode("OpHeader", header_of(op)))


def part_root(part, kind, tips):
    """tips: [(actor, seq, hash)], ascending by actor."""
    return H("segue/1 part", part + u(kind, 2) + u(len(tips), 4) + b"".join(a + u(s, 8) + h for a, s, h in tips))


def root_of(session, roots):
    """roots: [(part, part root)], ascending by part."""
    return H("segue/1 root", session + u(len(roots), 4) + b"".join(p + r for p, r in roots))


def next_time(clock_ms, last, read):
    """The hlc, a number, of the next op: last is that of its strand's last op, read the latest read in the part."""
    ms = max(clock_ms, 1, (last or 0) >> 16, (read or 0) >> 16)
    return ms << 16 if not last or ms > last >> 16 else last + 1


# --- paths

_DEVICES = {"con", "prn", "aux", "nul", "conin$", "conout$"} | {
    d + n for d in ("com", "lpt") for n in "0123456789¹²³"
}


def _good_component(name):
    size = len(name.encode())
    return (
        1 <= size <= LIMIT.MAX_COMPONENT
        and not any(c in "\\:" or wire.forbidden(c) for c in name)
        and name[-1] not in ". "
        and name.split(".")[0].rstrip(" ").lower() not in _DEVICES
    )


def good_path(path):
    return 1 <= len(path.encode()) <= LIMIT.MAX_PATH and all(_good_component(c) for c in path.split("/"))


def check_path(path):
    if not good_path(path):
        raise Refused("DATA_NAME", "DATA-NAME-1")


def check_entry(body):
    """The Entry that is the body of a blob part's op."""
    entry = wire.decode("Entry", body)
    if entry.mode > REMOVED:
        raise Refused("WIRE_VALUE", "WIRE-VALUE-1")
    check_path(entry.path)
    if entry.mode >= DIRECTORY:
        good = entry.len == 0 and entry.blob == ZERO32
    elif entry.len == 0:
        good = entry.blob == EMPTY_BLOB
    else:
        good = entry.blob != ZERO32 and entry.len <= LIMIT.MAX_BLOB
    if not good:
        raise Refused("DATA_MANIFEST", "DATA-ENTRY-1")
    listed = entry.chunks is not None
    if listed != (entry.len > LIMIT.CHUNK) or listed and not 1 <= entry.chunks.len <= LIMIT.MAX_MANIFEST:
        raise Refused("DATA_MANIFEST", "DATA-MANIFEST-2")
    return entry


def place(entries):
    """DATA-TREE-1: {path: part} for live entries [(part, path, is file)]."""
    placed = {}  # path -> whether a file
    below = set()  # paths that something placed lies below
    result = {}
    for part, path, is_file in sorted(entries):
        short = part.hex()[:8]
        parents, _, last = path.rpartition("/")
        stem, dot, extension = last.rpartition(".")
        if not stem:
            stem, dot, extension = last, "", ""
        renamed = f"{stem} ({short}){dot}{extension}"
        for candidate in (path, f"{parents}/{renamed}" if parents else renamed, renamed, part.hex()):
            above = [candidate[:i] for i, c in enumerate(candidate) if c == "/"]
            if (
                candidate not in placed
                and not any(placed.get(a) for a in above)
                and not (is_file and candidate in below)
                and good_path(candidate)
            ):
                placed[candidate] = is_file
                below.update(above)
                result[candidate] = part
                break
    return result


# --- parts


class Part:
    """A part of a session. With values: `values` by actor. A stream: `ops` and `hashes` by actor, and each strand's seed."""

    def __init__(self, session, part, kind):
        self.session, self.id, self.kind = session, part, kind
        self.tips = {}  # actor -> (seq, hash)
        self.values = {}  # actor -> Value
        self.ops = {}  # actor -> [Op]
        self.hashes = {}  # actor -> [hash of op 1, ...]
        self.seeds = {}
        self._root = None

    @property
    def is_stream(self):
        return self.kind in STREAMS

    def changed(self):
        self._root = None

    def root(self):
        if self._root is None:
            self._root = part_root(self.id, self.kind, [(a, *self.tips[a]) for a in sorted(self.tips)])
        return self._root

    def hash_at(self, actor, seq):
        """The hash of an op of a stream, or of the tip of a strand; None if it isn't held."""
        if seq == 0:
            return strand_start(self.session, self.id, actor)
        if self.is_stream:
            hashes = self.hashes.get(actor, ())
            return hashes[seq - 1] if seq <= len(hashes) else None
        tip = self.tips.get(actor)
        return tip[1] if tip and tip[0] == seq else None

    def shown(self):
        """The value that is shown, or None."""
        return max(self.values.values(), key=lambda v: (v.op.hlc, v.op.actor, v.op.seq), default=None)

    def struct(self):
        tips = [Struct(actor=a, seq=s, hash=h) for a, (s, h) in sorted(self.tips.items())]
        values = [self.values[a] for a in sorted(self.values)]
        return Struct(part=self.id, kind=self.kind, strands=tips, values=values)

    def encode(self):
        return wire.encode("Part", self.struct())

    def copy(self):
        other = Part(self.session, self.id, self.kind)
        other.tips, other.values = dict(self.tips), dict(self.values)
        other.ops = {a: list(o) for a, o in self.ops.items()}
        other.hashes = {a: list(h) for a, h in self.hashes.items()}
        other.seeds = dict(self.seeds)
        return other

    def put_value(self, op):
        """An op of its own strand, or an inline op, on a part with values: replaces what it replaces."""
        seq, prev = self.tips.get(op.actor, (0, strand_start(self.session, self.id, op.actor)))
        covered = {d.actor: d.seq for d in op.deps}
        self.values = {a: v for a, v in self.values.items() if a != op.actor and v.op.seq > covered.get(a, 0)}
        self.values[op.actor] = Struct(prev=prev, op=op)
        self.tips[op.actor] = (seq + 1, op_hash(prev, op))
        self.changed()

    def put_op(self, op, seed):
        """The next op of a strand of a stream."""
        prev = self.hash_at(op.actor, op.seq - 1)
        self.ops.setdefault(op.actor, []).append(op)
        self.hashes.setdefault(op.actor, []).append(op_hash(prev, op))
        self.seeds.setdefault(op.actor, seed)
        self.tips[op.actor] = (op.seq, self.hashes[op.actor][-1])
        self.changed()


def bad(clause, code="DATA_MANIFEST"):
    raise Refused(code, clause)


def check_deps(op, tips, exclusive, strict=False):
    """DATA-OP-4. tips: actor -> (seq, hash) of the part's strands."""
    actors = [d.actor for d in op.deps]
    if not wire.ascends(actors) or op.actor in actors or any(d.seq < 1 for d in op.deps):
        bad("DATA-OP-4")
    for dep in op.deps:
        seq, hash_ = tips.get(dep.actor, (0, None))
        if dep.seq == seq and dep.hash != hash_ or dep.seq > seq and exclusive:
            bad("DATA-OP-4")


def check_part(session, part, pieces=False):
    """Step 3 of 5.5 for one part. pieces: a register or blob part may lack values (PARTS)."""
    if not 1 <= part.kind <= 5:
        raise Refused("WIRE_VALUE", "WIRE-VALUE-1")
    tips = {t.actor: (t.seq, t.hash) for t in part.strands}
    if not wire.ascends([t.actor for t in part.strands]) or any(t.seq < 1 for t in part.strands):
        bad("DATA-MANIFEST-1")
    actors = [v.op.actor for v in part.values]
    if not wire.ascends(actors):
        bad("DATA-MANIFEST-1")
    if part.kind in STREAMS:
        if part.values:
            bad("DATA-MANIFEST-1")
    elif bool(part.values) != bool(part.strands) and not (pieces and not part.values and part.kind in SHARED_VALUES):
        bad("DATA-MANIFEST-1")
    if part.kind == EXCLUSIVE and len(part.values) > 1:
        bad("DATA-MANIFEST-1")
    for value in part.values:
        op = value.op
        if op.part != part.part or op.actor not in tips or tips[op.actor][0] != op.seq:
            bad("DATA-MANIFEST-1")
    for value in part.values:
        op = value.op
        if op_hash(value.prev, op) != tips[op.actor][1]:
            bad("DATA-OP-1", "DATA_HASH")
        if op.seq == 1 and value.prev != strand_start(session, part.part, op.actor):
            bad("DATA-OP-1", "DATA_HASH")
        check_deps(op, tips, part.kind == EXCLUSIVE)
        if part.kind == BLOB:
            check_entry(op.body)


def part_of(session, struct):
    """A checked structure as a Part with values."""
    part = Part(session, struct.part, struct.kind)
    part.tips = {t.actor: (t.seq, t.hash) for t in struct.strands}
    part.values = {v.op.actor: v for v in struct.values}
    return part


def merge(ours, theirs):
    """DATA-MERGE-1 of two copies of one register or blob part; a new Part."""
    if ours.kind != theirs.kind:
        bad("DATA-KIND-1")
    for actor, (seq, hash_) in theirs.tips.items():
        held = ours.tips.get(actor)
        if held and held[0] == seq and held[1] != hash_:
            bad("DATA-FORK-1", "DATA_FORK")
    merged = Part(ours.session, ours.id, ours.kind)
    for copy in (ours, theirs):
        for actor, tip in copy.tips.items():
            if tip[0] > merged.tips.get(actor, (0,))[0]:
                merged.tips[actor] = tip
    for copy, other in ((ours, theirs), (theirs, ours)):
        for actor, value in copy.values.items():
            seq = other.tips.get(actor, (0,))[0]
            replaced = seq > value.op.seq or seq == value.op.seq and actor not in other.values
            if not replaced:
                merged.values[actor] = value
    return merged


def lengths_agree(entries, known=None):
    """DATA-MANIFEST-4 over entries of files; known: blob -> length."""
    known = dict(known or {})
    for entry in entries:
        if entry.mode < DIRECTORY and known.setdefault(entry.blob, entry.len) != entry.len:
            bad("DATA-MANIFEST-4")


def check_manifest(session, raw, root=None):
    """5.5: the manifest, checked; its root against the announced one."""
    if len(raw) > LIMIT.MAX_MANIFEST:
        raise Refused("LIMIT_MANIFEST", "DATA-MANIFEST-5")
    manifest = wire.decode("Manifest", raw)
    if manifest.session != session:
        bad("DATA-MANIFEST-3")
    wire.check_name(manifest.name)
    if not wire.ascends([p.part for p in manifest.parts]):
        bad("DATA-MANIFEST-1")
    for part in manifest.parts:
        check_part(session, part)
    lengths_agree(wire.decode("Entry", v.op.body) for p in manifest.parts if p.kind == BLOB for v in p.values)
    manifest.root = manifest_root(session, manifest.parts)
    if root is not None and manifest.root != root:
        bad("DATA-ROOT-1", "DATA_ROOT")
    return manifest


def manifest_root(session, parts):
    return root_of(session, [(p.part, part_root(p.part, p.kind, [(t.actor, t.seq, t.hash) for t in p.strands])) for p in parts])


def manifest_entries(manifest):
    """All files' entries that a manifest's values name."""
    for part in manifest.parts:
        if part.kind == BLOB:
            for value in part.values:
                yield wire.decode("Entry", value.op.body)


def apply_whole(session, parts, encoded, ops):
    """Takes the whole parts of a GRANT into parts (id -> Part): DATA-OP-7, DATA-KIND-1."""
    seen = {op.part for op in ops}
    for raw in encoded:
        struct = wire.decode("Part", raw)
        if struct.kind != EXCLUSIVE or struct.part in seen:
            bad("DATA-OP-7")
        check_part(session, struct)
        held = parts.get(struct.part)
        if held and held.kind != struct.kind:
            bad("DATA-KIND-1")
        seen.add(struct.part)
        parts[struct.part] = part_of(session, struct)


def apply_inline(parts, listed, op):
    """Takes an inline op of a GRANT into parts (id -> Part): DATA-OP-5, DATA-OP-1, DATA-OP-4. False if it is held."""
    part = parts.get(op.part)
    if part is None or part.kind != EXCLUSIVE or op.part not in listed:
        bad("DATA-OP-5")
    seq, _ = part.tips.get(op.actor, (0, None))
    if op.seq != seq + 1:
        bad("DATA-OP-1", "DATA_HASH")
    check_deps(op, part.tips, True)
    value = part.shown()
    if value and value.op.actor != op.actor:
        hash_ = part.tips[value.op.actor][1]
        if not any(d.actor == value.op.actor and d.hash == hash_ for d in op.deps):
            bad("DATA-OP-4")
    part.put_value(op)


def log_order(ops):
    """DATA-LOG-1: ops, each behind those that it names, in the order in which they are shown."""
    lifted, keyed = {}, []
    for op in ops:
        before = [lifted[d.actor, d.seq] for d in op.deps]
        if op.seq > 1:
            before.append(lifted[op.actor, op.seq - 1])
        time = int.from_bytes(op.hlc, "big")
        time = min(max([time, *(t + 1 for t, _ in before)]), 2**64 - 1)
        depth = 1 + max((d for _, d in before), default=0)
        lifted[op.actor, op.seq] = (time, depth)
        keyed.append(((time, depth, op.actor, op.seq), op))
    return [op for _, op in sorted(keyed, key=lambda k: k[0])]
