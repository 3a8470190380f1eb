"""Content of files by way of a mailbox (chapter service, 9.5), over one link."""
from . import data, service, wire
from .registry import LIMIT, Refused
from .blobs import plan_from_list
from .wire import Struct


def pieces_of(content):
    return [content[i : i + LIMIT.PIECE] for i in range(0, len(content), LIMIT.PIECE)]


class Taking:
    """A content, or chunk list, that is put together from the pieces in the boxes of a session's keys."""

    def __init__(self, session, blob, length, plan):
        self.session, self.blob, self.length, self.plan = session, blob, length, plan
        self.keys = list(reversed(session.keys))  # boxes that aren't looked through, the newest first
        self.watching = False
        self.begin()

    def begin(self):
        """A box is looked through from its first piece on."""
        self.after = 0
        self.taken = 0
        self.buffer = bytearray()


class Contents:
    def __init__(self, exchange):
        self.exchange, self.dev = exchange, exchange.dev
        self.done = set()  # boxes whose content is there whole, or is left out while the link lasts
        self.putting = None  # the box that is being filled
        self.refused = {}  # box -> the piece that it didn't take for now
        self.taking = {}  # blob -> Taking
        self.bad = set()  # contents that aren't had from here

    def pump(self):
        """Whether there is more to do."""
        busy = self._put_next()
        for session in list(self.dev.sessions.values()):
            if session.takes_part:
                for entry in self.dev.sync.contents.lacking(session):
                    busy |= self._want(session, entry)
        return busy or any(not t.watching for t in self.taking.values())

    # --- putting

    def _to_put(self):
        for session in self.dev.sessions.values():
            key = session.takes_part and session.head and self.exchange.mailbox.put_key(session)
            if not key:
                continue
            for _, _, entry in session.copy.entries():
                if entry.mode >= data.DIRECTORY or not 0 < entry.len <= LIMIT.MAX_MAILED:
                    continue
                if self.dev.blobs.get(entry.blob) is None:
                    continue
                for blob in ([entry.chunks.hash] if entry.chunks else []) + [entry.blob]:
                    content = self.dev.blobs.get(blob)
                    box = service.blob_box(key.key, session.id, blob)
                    if content is not None and box not in self.done:
                        yield session, key, box, content

    def _put_next(self):
        if self.putting:
            return True
        for session, key, box, content in self._to_put():
            if box in self.exchange.waits or not self.exchange.room():
                return True
            self.putting = box
            envelopes = [
                service.seal_piece(key.key, box, wire.encode("Piece", Struct(offset=i * LIMIT.PIECE, bytes=p)))
                for i, p in enumerate(pieces_of(content))
            ]
            last = len(envelopes) - 1
            if box in self.refused:
                self._put_piece(box, envelopes, self.refused.pop(box))
                return True

            def looked(m, box=box, envelopes=envelopes, last=last):
                if envelopes[last] in m.envelopes:
                    self._finished(box)
                else:
                    self._put_piece(box, envelopes, 0)

            self.exchange.ask("FETCH", looked, lambda code, retry_ms, box=box: self._finished(box), of=box, after=last)
            return True
        return False

    def _finished(self, box):
        self.done.add(box)
        self.putting = None

    def _put_piece(self, box, envelopes, i):
        if i == len(envelopes):
            self._finished(box)
            return

        def refused(code, retry_ms):
            if code == "LIMIT_QUOTA" and retry_ms:
                # What is there stays there: it goes on with this piece.
                self.putting, self.refused[box] = None, i
                self.exchange.wait(box, retry_ms)
            else:
                self._finished(box)

        self.exchange.put(box, envelopes[i], lambda m: self._put_piece(box, envelopes, i + 1), refused)

    # --- taking

    def _want(self, session, entry):
        """Looks for a content that is lacking, its chunk list first; whether it is being looked for."""
        if entry.len > LIMIT.MAX_MAILED or entry.blob in self.bad or not session.keys:
            return False
        blob, length, plan = entry.blob, entry.len, [(0, entry.len, entry.blob)]
        if entry.chunks:
            listed = self.dev.blobs.get(entry.chunks.hash)
            if listed is None:
                blob, length = entry.chunks.hash, entry.chunks.len
                plan = [(0, length, blob)]
            else:
                try:
                    plan = plan_from_list(entry.len, listed)
                except Refused:
                    self.bad.add(entry.blob)
                    return False
        taking = self.taking.get(blob)
        if blob in self.bad:
            return False
        if taking is None:
            if len(self.taking) >= LIMIT.MAX_TAKEN or not self.exchange.room():
                return True
            self.dev.blobs.look_for(blob, plan)
            taking = self.taking[blob] = Taking(session, blob, length, plan)
            self._next_box(taking)
        return not taking.watching

    def _box(self, taking, key):
        return service.blob_box(key.key, taking.session.id, taking.blob)

    def _next_box(self, taking):
        """Looks through the box of the next key; behind the last one, watches that of the newest."""
        taking.begin()
        if taking.keys:
            self._fetch(taking, taking.keys.pop(0))
            return
        key = taking.session.keys[-1]
        taking.watching = True
        newest = self._box(taking, key)
        self.exchange.ask(
            "WATCH", lambda m: self._look_again(taking), lambda *_: None, of=newest, after=getattr(taking, "newest_last", 0)
        )

    def _look_again(self, taking):
        taking.watching = False
        if self.taking.get(taking.blob) is taking:
            taking.begin()
            self._fetch(taking, taking.session.keys[-1])

    def _fetch(self, taking, key):
        self.exchange.ask(
            "FETCH", lambda m: self._got(taking, key, m), lambda *_: self._give_up(taking), of=self._box(taking, key), after=taking.after
        )

    def _give_up(self, taking):
        self.bad.add(taking.blob)
        self.taking.pop(taking.blob, None)

    def _got(self, taking, key, m):
        if self.dev.blobs.get(taking.blob) is not None:
            self.taking.pop(taking.blob, None)
            return
        n = len(m.envelopes)
        if n and m.first != taking.after + 1 or not n and m.last > taking.after:
            self.exchange.report(taking.session, "SERVICE_FETCH", "SERVICE-FETCH-2")
            self._give_up(taking)
            return
        taking.after += n
        try:
            for envelope in m.envelopes:
                self._take_piece(taking, key, envelope)
        except Refused as e:
            self.exchange.report(taking.session, e.code, e.clause)
            self._give_up(taking)
            return
        if taking.taken == taking.length:
            self._whole(taking)
        elif taking.after < m.last:
            self._fetch(taking, key)
        else:
            if key is taking.session.keys[-1]:
                taking.newest_last = m.last
            self._next_box(taking)

    def _take_piece(self, taking, key, envelope):
        plain = service.open_envelope(service.PIECE, key.key, self._box(taking, key), envelope)
        try:
            piece = wire.decode("Piece", plain or b"")
        except Refused:
            piece = None
        if piece is None or piece.offset > taking.taken:
            self.exchange.report(taking.session, "SERVICE_ENVELOPE", "SERVICE-SEAL-2" if piece is None else "SERVICE-CONTENT-3")
        if piece is None or piece.offset != taking.taken or taking.taken == taking.length:
            return
        taking.taken += len(piece.bytes)
        taking.buffer += piece.bytes
        if taking.taken > taking.length:
            raise Refused("DATA_HASH", "TRANSFER-CHUNK-1")
        self._use_chunks(taking)

    def _use_chunks(self, taking):
        start = taking.taken - len(taking.buffer)
        for offset, size, hash_ in taking.plan:
            if offset == start and len(taking.buffer) >= size:
                chunk = bytes(taking.buffer[:size])
                del taking.buffer[:size]
                start += size
                if service.blob_id(chunk) != hash_:
                    raise Refused("DATA_HASH", "TRANSFER-CHUNK-1")
                if offset not in self.dev.blobs.partial.setdefault(taking.blob, {}):
                    self.dev.blobs.put_chunk(taking.blob, offset, chunk, hash_)

    def _whole(self, taking):
        self.taking.pop(taking.blob, None)
        if not self.dev.blobs.finish(taking.blob, taking.plan):
            self.bad.add(taking.blob)
            self.exchange.report(taking.session, "DATA_HASH", "TRANSFER-WHOLE-1")
            return
        self.dev.store.after_chunks()
        self.dev.handoff.data_changed(taking.session)
