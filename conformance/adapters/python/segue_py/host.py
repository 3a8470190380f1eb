"""Chapter service, section 9.1: hosting a mailbox."""
from .crypto import blob_id
from .registry import LIMIT
from .wire import Struct

_FRAME_ROOM = LIMIT.MAX_FRAME - 64


class Box:
    def __init__(self):
        self.envelopes = []
        self.offsets = {}  # id of an envelope -> its offset
        self.bytes = 0
        self.durable = 0  # the last offset that is durable


class Host:
    def __init__(self, dev):
        self.dev = dev
        self.limits = None  # while this device hosts
        self.boxes = {}
        self.device_bytes, self.device_envelopes = {}, {}
        self.bytes = 0
        self.tokens = {}  # device -> (bytes that it may put, as of when)
        self.unanswered = {}  # link number -> PUTs that wait for the store
        self.watches = {}  # link number -> [(req, box, after)]
        self.handlers = {"PUT": self.on_put, "FETCH": self.on_fetch, "WATCH": self.on_watch}
        self.handlers |= dict.fromkeys(("CAS", "FREEZE", "RENEW", "DELEGATE"), self.on_custody)
        for key, value in dev.store.under(b"m/"):
            self._add(key[:32], value[:32], value[32:])
        for box in self.boxes.values():
            box.durable = len(box.envelopes)

    def start(self, bounds):
        self.limits = Struct(
            box_envelopes=bounds.get("box_envelopes", LIMIT.BOX_ENVELOPES), box_bytes=bounds.get("box_bytes", LIMIT.BOX_BYTES),
            device_bytes=bounds.get("device_bytes", LIMIT.DEVICE_BYTES), bytes=bounds.get("bytes", LIMIT.MAILBOX_BYTES),
        )

    def _add(self, box_id, device, envelope):
        box = self.boxes.setdefault(box_id, Box())
        cost = len(envelope) + LIMIT.ENVELOPE_COST
        box.envelopes.append(envelope)
        box.offsets[blob_id(envelope)] = len(box.envelopes)
        box.bytes += cost
        self.bytes += cost
        self.device_bytes[device] = self.device_bytes.get(device, 0) + cost
        self.device_envelopes[device] = self.device_envelopes.get(device, 0) + 1
        return box

    def on_custody(self, link, m):
        """What is asked of a service that signs for others: this device is none (SERVICE-NONE-1)."""
        if m.req:
            link.error(m.req, None, "SERVICE_NONE")

    # --- PUT

    def on_put(self, link, m):
        if self.limits is None:
            return link.error(m.req, None, "SERVICE_NONE")
        if self.unanswered.get(link.number, 0) >= 2 * LIMIT.MAILBOX_WINDOW:
            return link.error(m.req, None, "LIMIT_REQUESTS")
        box = self.boxes.get(m.to) or Box()
        offset = box.offsets.get(blob_id(m.envelope))
        if offset is None:
            retry_ms = self._refusal(box, link.peer, m.envelope)
            if retry_ms is not None:
                return link.error(m.req, None, "LIMIT_QUOTA", retry_ms)
            box = self._add(m.to, link.peer, m.envelope)
            offset = len(box.envelopes)
            self.dev.store.put(b"m/" + m.to + offset.to_bytes(8, "big"), link.peer + m.envelope)
        self.unanswered[link.number] = self.unanswered.get(link.number, 0) + 1
        return self.dev.store.when_durable(lambda: self._durable(link, m, box, offset))

    def _durable(self, link, m, box, offset):
        if link.number in self.unanswered:
            self.unanswered[link.number] -= 1
        box.durable = max(box.durable, offset)
        if link.ready:
            link.send("PUT_OK", req=m.req, offset=offset)
        for other in self.dev.ready_links():
            self._answer_watches(other)

    def _refusal(self, box, device, envelope):
        """Milliseconds after which an envelope may be put again for which there is no room, 0 if waiting doesn't help; else None."""
        cost = len(envelope) + LIMIT.ENVELOPE_COST
        limits = self.limits
        if (
            len(box.envelopes) >= limits.box_envelopes
            or box.bytes + cost > limits.box_bytes
            or self.device_bytes.get(device, 0) + cost > limits.device_bytes
            or self.device_envelopes.get(device, 0) >= LIMIT.DEVICE_ENVELOPES
            or self.bytes + cost > limits.bytes
        ):
            return 0
        tokens, since = self.tokens.get(device, (LIMIT.PUT_BURST, self.dev.now))
        tokens = min(LIMIT.PUT_BURST, tokens + (self.dev.now - since) * LIMIT.PUT_RATE // 1_000_000)
        if tokens < cost:
            return (cost - tokens) * 1000 // LIMIT.PUT_RATE + 1
        self.tokens[device] = (tokens - cost, self.dev.now)
        return None

    # --- FETCH and WATCH

    def _envelopes(self, link, req, box, after, room):
        page, size = [], 0
        for envelope in box.envelopes[after : box.durable]:
            if len(page) >= LIMIT.MAX_ENVELOPES or size + len(envelope) + 4 > room:
                break
            page.append(envelope)
            size += len(envelope) + 4
        link.send("ENVELOPES", req=req, first=after + 1 if page else 0, last=box.durable, envelopes=page)

    def on_fetch(self, link, m):
        if self.limits is None:
            link.error(m.req, None, "SERVICE_NONE")
        elif self.unanswered.get(link.number, 0) >= 2 * LIMIT.MAILBOX_WINDOW:
            link.error(m.req, None, "LIMIT_REQUESTS")
        else:
            self._envelopes(link, m.req, self.boxes.get(m.of) or Box(), m.after, _FRAME_ROOM)

    def on_watch(self, link, m):
        watches = self.watches.setdefault(link.number, [])
        if self.limits is None:
            link.error(m.req, None, "SERVICE_NONE")
        elif len(watches) >= LIMIT.MAX_WATCHES:
            link.error(m.req, None, "LIMIT_REQUESTS")
        else:
            watches += self._waiting(link, [(m.req, m.of, m.after)])

    def _answer_watches(self, link):
        if link.number in self.watches:
            self.watches[link.number] = self._waiting(link, self.watches[link.number])

    def _waiting(self, link, watches):
        """Answers those of some watches for which there is something; the others."""
        waiting = []
        for req, box_id, after in watches:
            box = self.boxes.get(box_id) or Box()
            if box.durable == after:
                waiting.append((req, box_id, after))
            else:
                self._envelopes(link, req, box, after, LIMIT.WATCH_BYTES)
        return waiting

    def link_over(self, link):
        self.unanswered.pop(link.number, None)
        self.watches.pop(link.number, None)
