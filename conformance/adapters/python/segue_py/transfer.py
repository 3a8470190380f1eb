"""Chapter transfer, sections 8.2 and 8.3: requests for blobs and their answers."""
from . import generations, wire
from .blobs import check_ranges, plan_from_list
from .crypto import blob_id
from .data import DIRECTORY
from .registry import LIMIT, MESSAGES, TYPES, Refused
from .wire import Struct


class Item:
    """A blob of a session that some fetches want."""

    def __init__(self, session, blob, length, meta, chunks=None):
        self.session, self.blob, self.length, self.meta, self.chunks = session, blob, length, meta, chunks
        self.plan = [(0, length, blob)] if meta or length <= LIMIT.CHUNK else None
        self.long = self.plan is None  # and so is its chunk list
        self.fetches = []
        self.bad = 0
        self.request = None

    def missing(self, held):
        return [(o, n) for o, n, _ in self.plan if o not in held]


class Request:
    """A GET or RANGES that is outstanding."""

    def __init__(self, transfer, link, item, ranges):
        self.transfer, self.link, self.item, self.ranges = transfer, link, item, ranges
        self.ended = 0
        self.mismatch = self.lost = self.fresh = self.limited = False

    def on_error(self, link, req, code, retry_ms):
        self.transfer.refused(self, req, code)


class Stream:
    def __init__(self):
        self.buffer = bytearray()
        self.request = self.offset = None
        self.left = 0
        self.dead = self.stopped = False


class Fetch:
    """Blobs that are wanted of one session from one device; done when all are there."""

    def __init__(self, transfer, session, source, on_done, on_fail):
        self.transfer, self.session, self.source = transfer, session, source
        self.on_done, self.on_fail = on_done, on_fail
        self.wanted = set()
        self.handlers = {}
        self.over = False
        self.gone = False  # the source said that it can't give something
        self.done_bytes = self.total_bytes = 0

    def want(self, blob, length, meta=False, chunks=None, then=None):
        if self.transfer.dev.blobs.get(blob) is not None:
            if then:
                then()
            return
        item = self.transfer.items.get((self.session, blob))
        if item is None:
            item = Item(self.session, blob, length, meta, chunks)
            self.transfer.items[self.session, blob] = item
        if self not in item.fetches:
            item.fetches.append(self)
            self.wanted.add(blob)
            self.total_bytes += length
        if then:
            self.handlers[blob] = then
        if item.plan is None:
            self.want(chunks.hash, chunks.len, meta=True, then=lambda: self.transfer.planned(item))
            listed = self.transfer.items.get((self.session, chunks.hash))
            if listed:
                listed.long = True

    def want_entries(self, entries):
        for e in entries:
            if e.mode < DIRECTORY and e.len:
                self.want(e.blob, e.len, chunks=e.chunks)

    def stop(self):
        self.over = True
        for blob in self.wanted:
            item = self.transfer.items.get((self.session, blob))
            if item:
                item.fetches.remove(self)
                if not item.fetches:
                    self.transfer.drop(item)
        self.wanted = set()

    def got(self, blob, length):
        self.wanted.discard(blob)
        self.done_bytes += length
        then = self.handlers.pop(blob, None)
        try:
            if then:
                then()
        except Refused as e:
            self.fail(e.code)

    def fail(self, code):
        if not self.over:
            self.stop()
            self.on_fail(code)


class Transfer:
    def __init__(self, dev):
        self.dev = dev
        self.items = {}
        self.fetches = []
        self.streams = {}
        # Whether a stream of ours on a link has ended. Without a network it has: all that was put out is there at once.
        self.ended = lambda link_number, stream: True
        self.handlers = {"GET": self.on_get, "RANGES": self.on_ranges}

    def fetch(self, session, source, on_done, on_fail):
        fetch = Fetch(self, session, source, on_done, on_fail)
        self.fetches.append(fetch)
        return fetch

    # --- asking

    def planned(self, item):
        """The chunk list of an item is there."""
        raw = self.dev.blobs.get(item.chunks.hash)
        item.plan = plan_from_list(item.length, raw)

    def drop(self, item):
        self.items.pop((item.session, item.blob), None)
        if item.request:
            self._forget(item.request)

    def _forget(self, request):
        requests = request.link.requests
        for req in [r for r, held in requests.items() if held is request]:
            del requests[req]
        if request.item.request is request:
            request.item.request = None

    def pump(self):
        for fetch in list(self.fetches):
            if not fetch.over:
                self._ask(fetch)
            if not fetch.over and not fetch.wanted:
                fetch.over = True
                fetch.on_done()
        self.fetches = [f for f in self.fetches if not f.over]

    def _ask(self, fetch):
        link = self.dev.link_to(fetch.source)
        items = [self.items[fetch.session, b] for b in fetch.wanted]
        items.sort(key=lambda i: (i.long, not i.meta, i.blob))  # TRANSFER-ORDER-1
        flying = sum(1 for i in items if i.request)
        long = sum(1 for i in self.items.values() if i.session == fetch.session and i.long and i.request)
        for item in items:
            if item.request or item.plan is None or fetch.over:
                continue
            if self.dev.blobs.get(item.blob) is not None:
                self._held(item)
                continue
            self.dev.blobs.look_for(item.blob, item.plan)
            missing = item.missing(self.dev.blobs.partial[item.blob])
            if not missing:
                self._complete(item)
                continue
            blob_requests = 0 if link is None else sum(1 for r in link.requests.values() if isinstance(r, Request))
            if link is None or flying >= LIMIT.FETCH_WINDOW or blob_requests >= LIMIT.MAX_REQUESTS:
                continue
            if item.long and long >= LIMIT.LONG_WINDOW:  # TRANSFER-ORDER-2
                continue
            self._send(link, item, missing)
            flying += 1
            long += item.long

    def _send(self, link, item, missing):
        fields = {"session": item.session, "blob": item.blob, "len": item.length}
        if link.generation >= generations.V2 and len(missing) < len(item.plan):
            ranges = []
            for offset, size in missing:
                if ranges and sum(ranges[-1]) == offset:
                    ranges[-1] = (ranges[-1][0], ranges[-1][1] + size)
                elif len(ranges) < LIMIT.MAX_RANGES:
                    ranges.append((offset, size))
                else:
                    break
            item.request = Request(self, link, item, ranges)
            structs = [Struct(offset=o, len=n) for o, n in ranges]
            link.send("RANGES", req=link.request(item.request), ranges=structs, **fields)
        else:
            item.request = Request(self, link, item, [(0, item.length)])
            link.send("GET", req=link.request(item.request), **fields)
        self._touch(link, item.session)

    def refused(self, request, req, code):
        if request.limited:
            return
        if code == "LIMIT_REQUESTS":
            request.limited = True
            return
        self._forget(request)
        for fetch in request.item.fetches:
            fetch.gone |= code == "DATA_UNAVAILABLE"
        self._fail(request.item, request.link.peer, code)
        self._unlimit(request.link)

    def _unlimit(self, link):
        """Another request has ended: those that were refused for their number are made again."""
        for request in [r for r in link.requests.values() if isinstance(r, Request) and r.limited]:
            self._forget(request)

    def _fail(self, item, peer, code):
        for fetch in list(item.fetches):
            if fetch.source == peer:
                fetch.fail(code)

    def _complete(self, item):
        if not self.dev.blobs.finish(item.blob, item.plan):
            self._bad(item, "DATA_HASH")
            return
        self._held(item)

    def _held(self, item):
        self.items.pop((item.session, item.blob), None)
        if item.request:
            self._forget(item.request)
        for fetch in item.fetches:
            fetch.got(item.blob, item.length)

    def _bad(self, item, code):
        item.bad += 1
        if item.bad > LIMIT.MAX_REFETCH:
            for fetch in list(item.fetches):
                fetch.fail(code)

    # --- answers

    def bulk(self, link, number, raw, fin):
        key = (link.number, number)
        stream = self.streams.get(key)
        if stream is None:
            stream = self.streams[key] = Stream()
            self.dev.set_timer(
                ("link", link.number, "first", number), self.dev.now + LIMIT.FRAME_TIMEOUT,
                lambda: link.end("LIMIT_PROGRESS", "LINK-PROGRESS-1"),
            )
        try:
            if not stream.dead and stream.request is None:
                stream.buffer += raw
                raw = self._begin(link, number, stream)
        except Refused as e:
            link.end(e.code, e.clause)
            return
        if stream.request is not None and not stream.dead:
            self._take(link, number, stream, raw, fin)
        if fin:
            self._drop_stream(link, number)

    def bulk_reset(self, link, number):
        stream = self.streams.get((link.number, number))
        if stream and stream.request and not stream.dead:
            stream.request.lost = True
            self._ended(link, stream)
        self._drop_stream(link, number)

    def _drop_stream(self, link, number):
        self.streams.pop((link.number, number), None)
        for what in ("first", "stream"):
            self.dev.clear_timers(("link", link.number, what, number))

    def _begin(self, link, number, stream):
        """Reads the BYTES of a stream; the bytes behind it."""
        header = wire.frame_header(stream.buffer[:20])
        if header is None:
            return b""
        kind, length, size = header
        if kind == TYPES["RELAY"]:
            # Packets for another device, or of one: none are passed on here, and none taken.
            self.dev.clear_timers(("link", link.number, "first", number))
            self._refuse(link, number, stream, "SERVICE_NONE", "SERVICE-RELAY-6")
            return b""
        if kind not in MESSAGES or kind != TYPES["BYTES"]:
            raise Refused("WIRE_STATE", "TRANSFER-BYTES-1")
        if len(stream.buffer) < size + length:
            return b""
        _, m = wire.decode_message(kind, bytes(stream.buffer[size : size + length]))
        self.dev.clear_timers(("link", link.number, "first", number))
        request = link.requests.get(m.req)
        item = request.item if isinstance(request, Request) else None
        if item is None or request.limited or m.blob != item.blob or not any(
            o <= m.offset and m.offset + m.len <= o + n for o, n in request.ranges
        ):
            self._refuse(link, number, stream, "WIRE_STATE", "TRANSFER-BYTES-1")
            return b""
        starts = {o for o, _, _ in item.plan}
        ends = {o + n for o, n, _ in item.plan}
        if m.len == 0 or m.offset not in starts or m.offset + m.len not in ends:
            self._refuse(link, number, stream, "WIRE_VALUE", "TRANSFER-BYTES-2", item.session)
            return b""
        stream.request, stream.offset, stream.left = request, m.offset, m.len
        rest = bytes(stream.buffer[size + length :])
        stream.buffer = bytearray()
        self._touch_all(link)
        return rest

    def _refuse(self, link, number, stream, code, clause, session=b""):
        stream.dead = True
        self.dev.out.stop(link.number, number, code)
        self.dev.violation(link.peer, session, Refused(code, clause))

    def _take(self, link, number, stream, raw, fin):
        request, item = stream.request, stream.request.item
        if len(raw) > stream.left:
            request.mismatch = True
            raw = raw[: stream.left]
        stream.left -= len(raw)
        stream.buffer += raw
        for offset, size, hash_ in item.plan:
            if offset != stream.offset or len(stream.buffer) < size:
                continue
            chunk = bytes(stream.buffer[:size])
            del stream.buffer[:size]
            stream.offset += size
            if blob_id(chunk) != hash_:
                request.mismatch = True
            elif item.blob in self.dev.blobs.partial and offset not in self.dev.blobs.partial[item.blob]:
                request.fresh = True
                self.dev.blobs.put_chunk(item.blob, offset, chunk, hash_)
        if request.mismatch and not fin and not stream.stopped:
            stream.stopped = True  # what still comes is looked at all the same, until the stream ends
            self.dev.out.stop(link.number, number, "DATA_HASH")
        if fin:
            request.lost |= stream.left > 0
            self._ended(link, stream)
        else:
            self.dev.set_timer(
                ("link", link.number, "stream", number), self.dev.now + LIMIT.IDLE, lambda: self.bulk_reset(link, number)
            )

    def _ended(self, link, stream):
        stream.dead = True
        self._touch_all(link)
        request = stream.request
        request.ended += 1
        item = request.item
        if request.ended < len(request.ranges) or item.request is not request:
            return
        self._forget(request)
        self._unlimit(link)
        if request.mismatch:
            self._bad(item, "DATA_HASH")
        elif not request.lost and not request.fresh:
            self._bad(item, "DATA_UNAVAILABLE")
        if item.fetches and not item.missing(self.dev.blobs.partial.get(item.blob, {})):
            self._complete(item)

    # --- requests that nothing answers

    def _touch(self, link, session):
        self.dev.set_timer(
            ("link", link.number, "answer", session), self.dev.now + LIMIT.ANSWER_TIMEOUT, lambda: self._no_answer(link, session)
        )

    def _touch_all(self, link):
        for session in {r.item.session for r in link.requests.values() if isinstance(r, Request)}:
            self._touch(link, session)

    def _no_answer(self, link, session):
        mine = [r for r in link.requests.values() if isinstance(r, Request) and r.item.session == session]
        if any(n == link.number and s.request and not s.dead for (n, _), s in self.streams.items()):
            if mine:
                self._touch(link, session)
            return
        for request in mine:
            self._forget(request)

    def link_ready(self, link):
        pass

    def link_over(self, link):
        for item in self.items.values():
            if item.request and item.request.link is link:
                item.request = None
        for key in [k for k in self.streams if k[0] == link.number]:
            del self.streams[key]
        link.requests = {}

    # --- serving

    def on_get(self, link, m):
        self._serve(link, m, [Struct(offset=0, len=m.len)])

    def on_ranges(self, link, m):
        try:
            check_ranges(m.len, m.ranges)
        except Refused as e:
            return link.error(m.req, m.session, e.code)
        return self._serve(link, m, m.ranges)

    def _serve(self, link, m, ranges):
        link.served = {stream: req for stream, req in link.served.items() if not self.ended(link.number, stream)}
        outstanding = set(link.served.values())
        if m.req in outstanding or len(outstanding) >= LIMIT.MAX_REQUESTS:  # TRANSFER-SERVE-2
            return link.error(m.req, m.session, "LIMIT_REQUESTS")
        session = self.dev.handoff.known(m.session, link.peer)
        if session is None:
            return link.error(m.req, m.session, "HO_UNKNOWN_SESSION")
        content = self.dev.blobs.get(m.blob)
        if content is None or m.len == 0 or session.serves().get(m.blob) != m.len:
            return link.error(m.req, m.session, "DATA_UNAVAILABLE")
        for r in ranges:
            head = wire.frame("BYTES", req=m.req, blob=m.blob, offset=r.offset, len=r.len)
            stream = link.stream()
            link.served[stream] = m.req
            self.dev.out.bulk(link.number, stream, head + content[r.offset : r.offset + r.len], True)
        return None
