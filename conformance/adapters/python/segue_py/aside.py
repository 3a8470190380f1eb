"""What revoked devices wrote past their cuts (04-account, section 4.6; 05-data, section 5.9), and who writes as whom."""
from . import data, wire
from .data import Part
from .registry import LIMIT, Refused
from .wire import Struct

WRITER_EXT = 1


class Aside:
    """What is set aside of one session, and its writers."""

    def __init__(self, session):
        self.session, self.dev = session, session.dev
        self.writers = {}  # actor -> Writer
        self.ops = {}  # part -> {actor: [(op, hash, seed, kind)]}, what follows the strand that is taken in
        self.values = {}  # (part, actor) -> (kind, Value)
        self.bytes = 0

    def load(self):
        store, sid = self.dev.store, self.session.id
        for actor, value in store.under(b"w/" + sid):
            self.writers[actor] = Struct(device=value[:32], nonce=value[32:])
        for key, value in store.under(b"a/" + sid):
            op = wire.decode("Op", value[49:])
            self._hold((op, value[:32], value[32:48], value[48]))
        for key, value in store.under(b"v/" + sid):
            self.values[key[:16], key[16:]] = (value[0], wire.decode("Value", value[1:]))

    # --- writers (DATA-WRITER-1)

    def name(self, writer):
        """Keeps a Writer; whether it is new."""
        actor = data.actor_of(writer.device, writer.nonce)
        if actor in self.writers or len(self.writers) >= LIMIT.MAX_WRITERS:
            return False
        self.writers[actor] = writer
        self.dev.store.put(b"w/" + self.session.id + actor, writer.device + writer.nonce)
        return True

    def take_names(self, message):
        """The Writers that a STRAND or PARTS names by its extension."""
        new = False
        for ext in message.ext:
            if ext.id == WRITER_EXT:
                try:
                    for writer in wire.decode(f"list ≤ {LIMIT.MAX_NAMED} of Writer", ext.bytes):
                        new |= self.name(writer)
                except Refused:
                    pass
        if new and self.revoked():
            self.apply()

    # --- what stands (ACCOUNT-CUT-2)

    def revoked(self):
        return self.dev.account.roster.revoked()

    def _end(self, device, part, actor):
        """(seq, hashes) of the end of a strand as one of a revoked device."""
        best = {}  # signer -> (seq, hash)
        for signer, cut in self.dev.account.roster.signed_cuts(device):
            best.setdefault(signer, (0, None))
            for tip in cut.tips:
                if (tip.part, tip.actor) == (part, actor) and tip.seq > best[signer][0]:
                    best[signer] = (tip.seq, tip.hash)
        return min(best.values(), key=lambda end: end[0])

    def end_of(self, part, actor):
        """The end of a strand, or None if all its ops stand."""
        revoked = self.revoked()
        if not revoked:
            return None
        writer = self.writers.get(actor)
        if writer is None:
            return max((self._end(d, part, actor) for d in sorted(revoked)), key=lambda end: end[0])
        return self._end(writer.device, part, actor) if writer.device in revoked else None

    def stands(self, part, actor, seq, hash_):
        end = self.end_of(part, actor)
        return end is None or seq < end[0] or seq == end[0] and hash_ == end[1]

    # --- ops of streams

    def hash_at(self, part, actor, seq):
        for op, hash_, _, _ in self.ops.get(part, {}).get(actor, ()):
            if op.seq == seq:
                return hash_
        return None

    def _hold(self, entry):
        op = entry[0]
        self.ops.setdefault(op.part, {}).setdefault(op.actor, []).append(entry)
        self.ops[op.part][op.actor].sort(key=lambda e: e[0].seq)
        self.bytes += 128 + len(op.body)

    def set_aside(self, op, hash_, seed, kind):
        if self.bytes + 128 + len(op.body) > LIMIT.MAX_ASIDE_BYTES:
            raise Refused("LIMIT_ROOM", "DATA-ASIDE-3")
        self._hold((op, hash_, seed, kind))
        key = b"a/" + self.session.id + op.part + op.actor + op.seq.to_bytes(8, "big")
        self.dev.store.put(key, hash_ + seed + bytes([kind]) + wire.encode("Op", op))

    def bring_in(self, part, actor, seq):
        """Takes in what is set aside of a strand up to an op, with what those ops had read."""
        held = self.ops.get(part, {}).get(actor, [])
        while held and held[0][0].seq <= seq:
            op, _, seed, kind = held.pop(0)
            self.bytes -= 128 + len(op.body)
            self.dev.store.delete(b"a/" + self.session.id + part + actor + op.seq.to_bytes(8, "big"))
            self.bring_in_before(op)
            if self.session.copy.take_op(kind, op, seed):
                self.session.keep_op(kind, op, seed, None)

    def bring_in_before(self, op):
        self.bring_in(op.part, op.actor, op.seq - 1)
        for dep in op.deps:
            self.bring_in(op.part, dep.actor, dep.seq)

    # --- values

    def split(self, part):
        """DATA-ASIDE-2: a copy of a part without the values that don't stand, None if nothing is left; and those values."""
        bad = {a: v for a, v in part.values.items() if not self.stands(part.id, a, v.op.seq, part.tips[a][1])}
        if not bad:
            return part, {}
        rest = Part(part.session, part.id, part.kind)
        rest.values = {a: v for a, v in part.values.items() if a not in bad}
        rest.tips = {a: part.tips[a] for a in rest.values}
        for value in rest.values.values():
            for dep in value.op.deps:
                if dep.actor not in rest.values and dep.seq > rest.tips.get(dep.actor, (0,))[0]:
                    rest.tips[dep.actor] = (dep.seq, dep.hash)
        return rest if rest.values else None, bad

    def keep_values(self, kind, part, values):
        for actor, value in values.items():
            held = self.values.get((part, actor))
            if held is None or value.op.seq > held[1].op.seq:
                self.values[part, actor] = (kind, value)
                key = b"v/" + self.session.id + part + actor
                self.dev.store.put(key, bytes([kind]) + wire.encode("Value", value))

    def forget_followed(self, part):
        """A value that is set aside is forgotten once one that stands follows it."""
        for value in part.values.values():
            for actor, seq in [(d.actor, d.seq) for d in value.op.deps] + [(value.op.actor, value.op.seq)]:
                held = self.values.get((part.id, actor))
                if held and held[1].op.seq <= seq:
                    self.forget(part.id, actor)

    def forget(self, part, actor):
        if self.values.pop((part, actor), None):
            self.dev.store.delete(b"v/" + self.session.id + part + actor)

    # --- a roster that changed

    def apply(self):
        """Sets aside what is held and doesn't stand any more, and takes in what stands now."""
        lost = False
        for part in list(self.session.copy.parts.values()):
            if part.is_stream:
                continue
            rest, bad = self.split(part)
            if bad:
                lost = True
                self.keep_values(part.kind, part.id, bad)
                if rest is None:
                    self.session.drop_part(part.id)
                else:
                    self.session.keep_part(rest)
        for pid in {*self.ops, *(p for p, part in self.session.copy.parts.items() if part.is_stream)}:
            self._apply_stream(pid)
        if lost:
            self.session.held = {}
            self.session.touch()
            self.dev.sync.takes_part(self.session)

    def _apply_stream(self, pid):
        part = self.session.copy.parts.get(pid)
        held = {a: list(zip(part.ops[a], part.hashes[a])) for a in part.ops} if part else {}
        ops = {a: [*held.get(a, []), *((o, h) for o, h, _, _ in self.ops.get(pid, {}).get(a, []))] for a in {*held, *self.ops.get(pid, {})}}
        keep = {}

        def need(actor, seq):
            work = [(actor, seq)]
            while work:
                actor, seq = work.pop()
                before = keep.get(actor, 0)
                if seq > before:
                    keep[actor] = seq
                    work += [(d.actor, d.seq) for op, _ in ops.get(actor, ())[before:seq] for d in op.deps]

        for actor, strand in ops.items():
            for op, hash_ in strand:
                if op.seq > keep.get(actor, 0) and self.stands(pid, actor, op.seq, hash_):
                    need(actor, op.seq)
        for actor in held:
            if len(held[actor]) > keep.get(actor, 0):
                self._take_out(part, actor, keep.get(actor, 0))
        for actor, seq in keep.items():
            self.bring_in(pid, actor, seq)

    def _take_out(self, part, actor, seq):
        """Sets aside all of a strand behind an op."""
        seed = part.seeds[actor]
        out = list(zip(part.ops[actor][seq:], part.hashes[actor][seq:]))
        del part.ops[actor][seq:], part.hashes[actor][seq:]
        if seq:
            part.tips[actor] = (seq, part.hashes[actor][-1])
        else:
            del part.tips[actor], part.ops[actor], part.hashes[actor], part.seeds[actor]
        part.changed()
        for op, hash_ in out:
            self.session.drop_op(op)
            self.set_aside(op, hash_, seed, part.kind)
        if not part.tips:
            del self.session.copy.parts[part.id]

    def count(self):
        return len(self.values) + sum(len(s) for strands in self.ops.values() for s in strands.values())

    def take_in(self, pid, actor):
        """The user takes in what is set aside of a writer (DATA-ASIDE-3)."""
        session = self.session
        held = self.ops.get(pid, {}).get(actor)
        if held:
            kind = held[0][3]
            self.bring_in(pid, actor, held[-1][0].seq)
            session.write(pid, kind, b"")
            return
        if (pid, actor) not in self.values:
            raise Refused("DATA_UNAVAILABLE", None, "nothing of this writer is set aside in the part")
        kind, value = self.values[pid, actor]
        session.write(pid, kind, value.op.body, resolves=True)
        self.forget(pid, actor)

    # --- the cut of a revoke (ACCOUNT-CUT-1)

    def cut_tips(self, device):
        """(tips of streams, tips of parts with values) as this device holds them."""
        streams, values = [], []
        for pid, part in sorted(self.session.copy.parts.items()):
            for actor, (seq, hash_) in sorted(part.tips.items()):
                writer = self.writers.get(actor)
                if (writer is None or writer.device == device) and (part.is_stream or actor in part.values):
                    tip = Struct(part=pid, actor=actor, seq=seq, hash=hash_)
                    (streams if part.is_stream else values).append(tip)
        return streams, values
