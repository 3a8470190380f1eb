"""Chapter sync: SINCE, STRAND, OPS, PARTS, MARK."""
from . import data, wire
from .aside import WRITER_EXT
from .contents import Contents
from .crypto import blob_id
from .data import EXCLUSIVE
from .chain import TAKEOVER
from .registry import LIMIT, Refused
from .wire import ZERO16, Struct

WHOLE_EXT = 1


def origin_of(peer, log):
    """A label for what came from a peer while its log had this name; under another name it may have lost it."""
    return log and blob_id(peer + log)


class Feed:
    """What goes to, and comes from, one peer of one session on one link."""

    def __init__(self):
        self.active = False  # the peer sent SINCE
        self.sent = self.marked = 0
        self.first_mark = False
        self.flying = []  # (position, bytes) that the peer doesn't name as held yet
        self.unmarked = 0
        self.peer_own = None
        self.mark_came = self.refused = self.asked = False


class Numbers:
    """The numbers that this device gave to strands on a link, or in a letter."""

    def __init__(self):
        self.by_strand = {}  # (session, part, actor) -> [number, seq, hlc, record]
        self.by_number = {}
        self.writers = set()  # actors whose Writers were named
        self.next = 0

    def give(self, key):
        number = self.next % LIMIT.MAX_STRANDS
        self.next += 1
        self.by_strand.pop(self.by_number.get(number), None)
        self.by_number[number] = key
        self.by_strand[key] = [number, 0, 0, None]
        return self.by_strand[key]


def number(op_or_none):
    return int.from_bytes(op_or_none.hlc, "big") if op_or_none else 0


class Writer:
    """Makes the frames that tell of changes, in the order of the log."""

    def __init__(self, session, numbers):
        self.session, self.numbers = session, numbers
        self.frames = []
        self._run = None  # [number, [BriefOp]]
        self._run_bytes = 0
        self._parts = []
        self.size = 0  # about how many bytes wait

    def change(self, entry):
        pid, actor, seq = entry
        part = self.session.copy.parts[pid]
        if actor is None:
            self._end_run()
            for piece in pieces(part):
                if len(self._parts) >= LIMIT.MAX_SYNC_PARTS or sum(map(len, self._parts)) + len(piece) > 61_440:
                    self._end_parts()
                self._parts.append(piece)
                self.size += len(piece)
            return
        self._end_parts()
        op = part.ops[actor][seq - 1]
        before = part.ops[actor][seq - 2] if seq > 1 else None
        read = []
        for dep in op.deps:
            read.append(Struct(strand=self._named(part, dep.actor, part.ops[dep.actor][dep.seq - 1], dep.seq)[0], seq=dep.seq))
        state = self.numbers.by_strand.get((self.session.id, pid, actor))
        if state is None or state[1] != seq - 1 or state[3] != op.record:
            state = self._name(part, actor, seq - 1, number(before), op.record)
        ms = 0 if number(op) == state[2] + 1 else (number(op) >> 16) - (state[2] >> 16)
        brief = Struct(ms=ms, deps=read, body=op.body)
        size = 16 + len(op.body) + 16 * len(read)
        if self._run is None or self._run[0] != state[0] or len(self._run[1]) >= LIMIT.MAX_OPS or self._run_bytes + size > 60_000:
            self._end_run()
            self._run, self._run_bytes = [state[0], []], 0
        self._run[1].append(brief)
        self._run_bytes += size
        self.size += size
        state[1], state[2] = seq, number(op)

    def sizes(self, entry):
        """About how many bytes a change takes, and in how many pieces it goes."""
        part = self.session.copy.parts[entry[0]]
        if entry[1] is None:
            parts = pieces(part)
            return sum(map(len, parts)) + 60, len(parts)
        op = part.ops[entry[1]][entry[2] - 1]
        return len(op.body) + 32 + 200 * (1 + len(op.deps)), 1

    def part_piece(self, entry, n):
        """One piece of a part that goes in several."""
        self._parts.append(pieces(self.session.copy.parts[entry[0]])[n])

    def _named(self, part, actor, op, seq):
        state = self.numbers.by_strand.get((self.session.id, part.id, actor))
        return state or self._name(part, actor, seq, number(op), op.record)

    def _name(self, part, actor, seq, hlc, record):
        self._end_run()
        key = (self.session.id, part.id, actor)
        state = self.numbers.by_strand.get(key) or self.numbers.give(key)
        state[1:] = [seq, hlc, record]
        self.frames.append(
            wire.frame(
                "STRAND", strand=state[0], session=self.session.id, part=part.id, kind=part.kind, actor=actor,
                seed=part.seeds[actor], record=record, seq=seq, hlc=hlc.to_bytes(8, "big"), ext=self._names([actor]),
            )
        )
        return state

    def _names(self, actors):
        """The extension that names writers which weren't named yet (DATA-WRITER-1); those beyond its room go before."""
        known = self.session.aside.writers
        new = [a for a in dict.fromkeys(actors) if a in known and a not in self.numbers.writers]
        self.numbers.writers |= set(new)
        pages = [new[i : i + LIMIT.MAX_NAMED] for i in range(0, len(new), LIMIT.MAX_NAMED)]
        exts = [
            [Struct(id=WRITER_EXT, bytes=wire.encode(f"list ≤ {LIMIT.MAX_NAMED} of Writer", [known[a] for a in page]))]
            for page in pages
        ]
        for ext in exts[:-1]:
            self.frames.append(wire.frame("PARTS", session=self.session.id, parts=[], ext=ext))
        return exts[-1] if exts else []

    def _end_run(self):
        if self._run:
            self.frames.append(wire.frame("OPS", strand=self._run[0], ops=self._run[1]))
        self._run = None

    def _end_parts(self):
        if self._parts:
            actors = [v.op.actor for raw in self._parts for v in wire.decode("Part", raw).values]
            ext = self._names(actors)
            self.frames.append(wire.frame("PARTS", session=self.session.id, parts=self._parts, ext=ext))
        self._parts = []

    def finish(self):
        self._end_run()
        self._end_parts()
        frames, self.frames, self.size = self.frames, [], 0
        return frames


def pieces(part):
    """The encodings by which a part goes: one, or some of its strands each, those with values first (6.4)."""
    raw = part.encode()
    if len(raw) <= LIMIT.MAX_PART:
        return [raw]
    result = []
    piece, size = data.Part(part.session, part.id, part.kind), 0
    for actor in sorted(part.tips, key=lambda a: (a not in part.values, a)):
        value = part.values.get(actor)
        n = 72 + (len(wire.encode("Value", value)) if value else 0)
        if size + n > LIMIT.MAX_PART - 64:
            result.append(piece.encode())
            piece, size = data.Part(part.session, part.id, part.kind), 0
        piece.tips[actor] = part.tips[actor]
        if value:
            piece.values[actor] = value
        size += n
    result.append(piece.encode())
    return result


class Sync:
    def __init__(self, dev):
        self.dev = dev
        self.feeds = {}  # (link number, session) -> Feed
        self.contents = Contents(dev)
        self.handlers = {
            "SINCE": self.on_since, "STRAND": self.on_strand, "OPS": self.on_ops, "PARTS": self.on_parts, "MARK": self.on_mark
        }

    def feed(self, link, sid):
        return self.feeds.setdefault((link.number, sid), Feed())

    def link_over(self, link):
        for key in [k for k in self.feeds if k[0] == link.number]:
            del self.feeds[key]
        self.contents.link_over(link)

    def shares(self, link, session):
        return session is not None and session.takes_part and self.dev.handoff.may_know(session, link.peer)

    # --- asking

    def link_ready(self, link):
        link.numbers = Numbers()
        for session in self.dev.sessions.values():
            if self.shares(link, session):
                self.ask(link, session)
        self.contents.link_ready(link)

    def takes_part(self, session):
        for link in self.dev.ready_links():
            if self.shares(link, session):
                self.ask(link, session)

    def ask(self, link, session):
        self.feed(link, session.id).asked = True
        log, at = session.held.get(link.peer, (ZERO16, 0))

        def send():
            if link.ready:
                link.send("SINCE", session=session.id, log=log, at=at, own=session.log, ext=whole)

        whole = self.whole(session)
        self.dev.store.when_durable(send)

    def whole(self, session):
        """SYNC-WHOLE-1: who uses a mailbox says that no content is lacking."""
        says = self.dev.mailbox.used and not self.contents.lacking(session)
        return [Struct(id=WHOLE_EXT, bytes=b"")] if says else []

    def tell_whole(self, session):
        """The last content that was lacking came."""
        if self.whole(session):
            for link in self.dev.ready_links():
                if self.shares(link, session) and self.feed(link, session.id).mark_came:
                    self.ask(link, session)

    def on_since(self, link, m):
        session = self.dev.sessions.get(m.session)
        if not self.shares(link, session):
            return
        feed = self.feed(link, m.session)
        at = m.at if m.log == session.log and m.at <= session.position else 0
        feed.peer_own = m.own
        if not feed.active:
            feed.active = True
            feed.sent = feed.marked = at
            self.dev.mailbox.give_keys(link, session)
            if not feed.mark_came:
                self.ask(link, session)
        elif m.log == session.log:
            feed.flying = [(p, n) for p, n in feed.flying if p > at]

    # --- feeding

    def pump(self):
        for link in self.dev.ready_links():
            for (number_, sid), feed in list(self.feeds.items()):
                if number_ == link.number and feed.active:
                    self._pump(link, self.dev.sessions.get(sid), feed)

    def _pump(self, link, session, feed):
        if not self.shares(link, session):
            feed.active = False
            return
        if feed.first_mark and feed.sent >= session.durable_position:
            return
        writer = Writer(session, link.numbers)
        came = origin_of(link.peer, feed.peer_own)
        flying = sum(n for _, n in feed.flying)
        for position in [p for p in session.changes if feed.sent < p <= session.durable_position]:
            if flying + writer.size >= LIMIT.SYNC_WINDOW:
                break
            if session.origins.get(position) != came:
                writer.change(session.changes[position])
            feed.sent = position
            if writer.size >= LIMIT.SYNC_WINDOW // 8:
                flying += self._send(link, feed, writer.finish(), position)
            if feed.unmarked >= LIMIT.SYNC_WINDOW // 4:
                self._mark(link, session, feed, feed.sent)
        self._send(link, feed, writer.finish(), feed.sent)
        done = feed.sent >= max([p for p in session.changes if p <= session.durable_position], default=0)
        if done and not feed.first_mark:
            feed.sent = session.durable_position
            self._mark(link, session, feed, feed.sent)
            feed.first_mark = True

    def _send(self, link, feed, frames, position):
        size = sum(map(len, frames))
        for raw in frames:
            link.put(raw)
        if frames:
            feed.flying.append((position, size))
            if not feed.unmarked:
                key = ("link", link.number, "mark", position)
                session = self.dev.sessions[next(s for (n, s), f in self.feeds.items() if f is feed)]
                self.dev.set_timer(key, self.dev.now + LIMIT.MARK_DELAY, lambda: self._late_mark(link, session, feed))
            feed.unmarked += size
        return size

    def _late_mark(self, link, session, feed):
        if feed.unmarked and link.ready:
            self._mark(link, session, feed, feed.sent)

    def _mark(self, link, session, feed, at):
        link.send("MARK", session=session.id, name=session.name, log=session.log, at=at)
        feed.marked, feed.unmarked = at, 0

    # --- taking in

    def _refuse(self, link, sid, feed, e):
        if feed is not None:
            feed.refused = True
        link.error(0, sid, e.code)
        if sid:
            self.dev.violation(link.peer, sid, e)

    def on_strand(self, link, m):
        try:
            link.strands.name(m)
            self.take_names(link, m)
        except Refused as e:
            session = self.dev.sessions.get(m.session)
            self._refuse(link, m.session, self.feed(link, m.session) if self.shares(link, session) else None, e)

    def take_names(self, link, m):
        session = self.dev.sessions.get(m.session)
        if self.shares(link, session):
            session.aside.take_names(m)

    def on_ops(self, link, m):
        try:
            sid = link.strands.session_of(m.strand)
        except Refused as e:
            return self._refuse(link, None, None, e)
        session = self.dev.sessions.get(sid)
        feed = self.feed(link, sid)
        if not self.shares(link, session) or feed.refused:
            return None
        try:
            self.take_ops(session, link.strands, m, origin_of(link.peer, feed.peer_own))
        except Refused as e:
            self._refuse(link, sid, feed, e)
        return None

    def take_ops(self, session, strands, m, origin):
        """Takes in the ops of an OPS, up to the first that is refused."""
        changed = set()
        try:
            for brief in m.ops:
                op, strand = strands.next_op(session.copy, m.strand, brief)
                if session.take_op(strand.kind, op, strand.seed, origin):
                    changed.add(op.part)
        finally:
            self._changed(session, changed)

    def on_parts(self, link, m):
        session = self.dev.sessions.get(m.session)
        feed = self.feed(link, m.session)
        if not self.shares(link, session) or feed.refused:
            return
        self.take_names(link, m)
        try:
            self.contents.tellers[session.id] = link.peer
            self.take_parts(session, m, origin_of(link.peer, feed.peer_own))
        except Refused as e:
            self._refuse(link, m.session, feed, e)

    def take_parts(self, session, m, origin):
        changed = set()
        try:
            for raw in m.parts:
                struct = wire.decode("Part", raw)
                data.check_part(session.id, struct, pieces=True)
                if self.take_struct(session, struct, origin, raw):
                    changed.add(struct.part)
        finally:
            self._changed(session, changed)
            self.contents.want(session)

    def take_struct(self, session, struct, origin, raw=None):
        if struct.kind == EXCLUSIVE and session.primary() and session.head.body.kind != TAKEOVER:
            session.copy.check_kind(struct.part, struct.kind)
            return False
        merged = session.copy.take_part(struct, lambda theirs, ours: outranks(session.chain, theirs, ours))
        if merged is None:
            return False
        same = raw is not None and merged.encode() == raw
        session.keep_part(merged, origin if same else None)
        session.aside.forget_followed(merged)
        return True

    def _changed(self, session, parts):
        if parts:
            self.dev.event("changed", session=session.id.hex(), parts=[p.hex() for p in sorted(parts)])
            self.dev.handoff.data_changed(session)

    def on_mark(self, link, m):
        session = self.dev.sessions.get(m.session)
        if not self.shares(link, session):
            return
        feed = self.feed(link, m.session)
        feed.mark_came = True
        if feed.refused:
            return
        if m.name and not session.name:
            session.name = m.name
        session.held[link.peer] = (m.log, m.at)
        session.touch()

        def durable():
            if link.ready:
                link.send("SINCE", session=session.id, log=m.log, at=m.at, own=session.log, ext=whole)
            self.dev.event("synced", session=session.id.hex(), peer=link.peer.hex())

        whole = self.whole(session)
        self.dev.store.when_durable(durable)


def outranks(chain, theirs, ours):
    """SYNC-RANK-1: whether a copy of an exclusive part that came takes the place of the one that is held, if one is."""
    on_chain = {r.id: r.body.n for r in chain.path()}

    def rank(part):
        value = part.shown() if part else None
        return (-1, 0) if value is None else (on_chain.get(value.op.record, -1), value.op.seq)

    return rank(theirs)[0] >= 0 and rank(theirs) > rank(ours)
