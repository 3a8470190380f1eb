"""Chapter link: HELLO, AUTH, liveness, the end of a link."""
from . import crypto, generations, wire
from .crypto import H
from .registry import DEFINITE, LIMIT, MESSAGES, Refused, code_bytes, code_name
from .replica import Strands

GREETING, AUTHENTICATING, READY, CLOSED = range(4)
INITIATOR, RESPONDER = 0, 1
# Codes that the peer isn't told (LINK-AUTH-6).
_LOCAL = {"AUTH_BINDING": "AUTH_FAILED", "AUTH_UNKNOWN_DEVICE": "AUTH_FAILED"}


def _auth_message(role, key, hello, binding):
    return b"segue/1 sig auth" + H("segue/1 auth", bytes([role]) + key + hello + binding)


def auth_frame(identity, role, hello, binding):
    return wire.frame("AUTH", key=identity.key, sig=identity.sign(_auth_message(role, identity.key, hello, binding)))


def check_auth(auth, role, hello, binding):
    """LINK-AUTH-2: the peer's AUTH, by its role, the payload of its HELLO and the link's binding."""
    try:
        crypto.verify(auth.key, _auth_message(role, auth.key, hello, binding), auth.sig)
    except Refused:
        raise Refused("AUTH_FAILED", "LINK-AUTH-2") from None


class Link:
    def __init__(self, dev, number, role, binding, expect):
        self.dev, self.number, self.role, self.binding, self.expect = dev, number, role, binding, expect
        self.state = GREETING
        self.peer = self.peer_hello = self.peer_hello_raw = self.generation = None
        self.buffer = bytearray()
        self.taken = 0
        self.up_at = self.heard_at = dev.now
        self.requests = {}  # our requests that are outstanding: req -> object with on_error(code, retry_ms)
        self.served = {}  # the streams with which requests of the peer are answered: number -> req
        self.strands = Strands()
        self._next_req = 0
        self._next_stream = 0
        self.linking_only = False  # let in by an invitation, and not linked yet
        self.told = {}  # session -> heads that were shown to us and answered
        self.peer_heads = {}  # session -> the record that the peer is known to have
        self.hello = wire.encode("Hello", wire.Struct(generation=dev.generation, floor=dev.floor, boot=dev.boot, ext=[]))
        self.put(bytes([0]) + wire.varint(len(self.hello)) + self.hello)
        self.put(auth_frame(dev.identity, role, self.hello, binding))
        self.timer("hello", self.up_at + LIMIT.HELLO_TIMEOUT, lambda: self.end("LIMIT_PROGRESS", "LINK-PROGRESS-1"))
        self.timer("auth", self.up_at + LIMIT.AUTH_TIMEOUT, lambda: self.end("LIMIT_PROGRESS", "LINK-PROGRESS-1"))

    @property
    def ready(self):
        return self.state == READY

    def timer(self, what, at, fn):
        self.dev.set_timer(("link", self.number, what), at, fn)

    # --- sending

    def put(self, raw):
        if self.state != CLOSED:
            self.dev.out.control(self.number, raw)

    def send(self, name, /, **fields):
        self.put(wire.frame(name, **fields))

    def send_durable(self, name, /, **fields):
        """Sends once all that was written so far is durable."""
        self.dev.store.when_durable(lambda: self.ready and self.send(name, **fields))

    def error(self, req, session, code, retry_ms=0):
        definite = DEFINITE.get(code, False)
        self.send("ERROR", req=req, session=session, code=code_bytes(code), definite=definite, retry_after_ms=retry_ms)

    def request(self, handler):
        """A number for a request of ours; handler.on_error(code, retry_ms) hears of its failure."""
        self._next_req = self._next_req % (2**32 - 1) + 1
        while self._next_req in self.requests:
            self._next_req += 1
        self.requests[self._next_req] = handler
        return self._next_req

    def stream(self):
        self._next_stream += 1
        return self._next_stream

    def end(self, code, clause=None):
        """Ends the link with a code."""
        if self.state == CLOSED:
            return
        code = _LOCAL.get(code, code)
        self.send("GOAWAY", code=code_bytes(code))
        self._close(code, code, clause, False)

    def _close(self, code, told, clause, remote):
        self.dev.out.close(self.number, code)
        self.down(told, clause, remote)

    def down(self, code="LINK_LOST", clause=None, remote=True):
        """The link is over, whoever ended it."""
        if self.state == CLOSED:
            return
        was_ready = self.ready
        self.state = CLOSED
        self.dev.clear_timers(("link", self.number))
        peer = self.peer or self.expect
        event = {"link": self.number, "peer": peer.hex() if peer else None, "code": code, "clause": clause, "remote": remote}
        self.dev.event("link-closed", **{k: v for k, v in event.items() if v is not None})
        if was_ready:
            self.dev.closing_code = code
            self.dev.link_over(self)

    # --- receiving

    def receive(self, raw):
        if self.state == CLOSED:
            return
        self.heard_at = self.dev.now
        if self.ready:
            self._keep_alive()
        if not self.buffer:
            self.timer("frame", self.dev.now + LIMIT.FRAME_TIMEOUT, lambda: self.end("LIMIT_PROGRESS", "LINK-PROGRESS-1"))
        self.buffer += raw
        try:
            while self.state != CLOSED and self._one_frame():
                self.dev.clear_timers(("link", self.number, "frame"))
                if self.buffer:
                    self.timer(
                        "frame", self.dev.now + LIMIT.FRAME_TIMEOUT, lambda: self.end("LIMIT_PROGRESS", "LINK-PROGRESS-1")
                    )
            if self.state < READY and self.taken + len(self.buffer) > LIMIT.MAX_PREAUTH:
                raise Refused("LIMIT_PREAUTH", "LINK-PREAUTH-1")
        except Refused as e:
            self.end(e.code, e.clause)

    def _one_frame(self):
        if not self.buffer:
            return False
        header = wire.frame_header(self.buffer[:20])
        if header is None:
            return False
        kind, length, size = header
        known = wire.check_type(kind)
        if len(self.buffer) < size + length:
            return False
        payload = bytes(self.buffer[size : size + length])
        del self.buffer[: size + length]
        if self.state < READY:
            self.taken += size + length
            if self.taken > LIMIT.MAX_PREAUTH:
                raise Refused("LIMIT_PREAUTH", "LINK-PREAUTH-1")
        if known:
            name, message = wire.decode_message(kind, payload)
            self._judge(kind, name, message, payload)
        return True

    def _judge(self, kind, name, message, payload):
        if name == "GOAWAY":
            told = code_name(message.code)
            self.send("GOAWAY", code=code_bytes("LINK_SHUTDOWN"))
            self._close("LINK_SHUTDOWN", told, None, True)
        elif self.state == GREETING:
            if name != "HELLO":
                raise Refused("WIRE_STATE", "LINK-HELLO-1")
            generations.check_hello(message)
            self.peer_hello, self.peer_hello_raw = message, payload
            self.state = AUTHENTICATING
            self.dev.clear_timers(("link", self.number, "hello"))
        elif self.state == AUTHENTICATING:
            if name != "AUTH":
                raise Refused("WIRE_STATE", "LINK-AUTH-1")
            self._authenticate(message)
        elif name == "HELLO":
            raise Refused("WIRE_STATE", "LINK-HELLO-1")
        elif name in ("AUTH", "BYTES", "RELAY"):
            raise Refused("WIRE_STATE", "LINK-AUTH-1")
        elif MESSAGES[kind][2] > self.generation:
            raise Refused("VER_NOT_PERMITTED", "GEN-USE-1")
        elif self.linking_only and name not in ("LINK", "LINK_OK", "ROSTER", "ERROR", "PING"):
            raise Refused("WIRE_STATE", "ACCOUNT-LINK-2")
        elif name == "PING":
            if not message.answer:
                self.send("PING", nonce=message.nonce, answer=True)
        elif name == "ERROR":
            self._error(message)
        else:
            self.dev.message(self, name, message)

    def _error(self, message):
        handler = self.requests.get(message.req) if message.req else None
        code = code_name(message.code)
        if message.req == 0 or handler is not None:
            session = {"session": message.session.hex()} if message.session else {}
            self.dev.event("refused", peer=self.peer.hex(), code=code, **session)
        if handler is not None:
            handler.on_error(self, message.req, code, message.retry_after_ms)

    def _authenticate(self, auth):
        dev = self.dev
        check_auth(auth, RESPONDER if self.role == INITIATOR else INITIATOR, self.peer_hello_raw, self.binding)
        if auth.key == dev.key:
            raise Refused("AUTH_FAILED", "LINK-AUTH-2")
        if self.expect is not None and auth.key != self.expect:
            raise Refused("AUTH_FAILED", "LINK-AUTH-4")
        hello = self.peer_hello
        self.generation = generations.pick(dev.generation, dev.floor, hello.generation, hello.floor)
        self.peer = auth.key
        self.linking_only = dev.admit(self)
        self._settle_duplicates()
        if self.state == CLOSED:
            return
        self.state = READY
        dev.clear_timers(("link", self.number, "auth"))
        self._keep_alive()
        dev.event("link-ready", link=self.number, peer=self.peer.hex(), generation=dev.generation_name(self.generation))
        dev.link_ready(self)

    def initiator(self):
        return self.dev.key if self.role == INITIATOR else self.peer

    def _settle_duplicates(self):
        for other in list(self.dev.links.values()):
            if other is self or not other.ready or other.peer != self.peer:
                continue
            same_boot = other.peer_hello.boot == self.peer_hello.boot
            if same_boot and other.initiator() != self.initiator() and other.initiator() < self.initiator():
                self.end("LINK_REPLACED", "LINK-DUP-1")
                return
            other.end("LINK_REPLACED", "LINK-DUP-1" if same_boot else "LINK-DUP-2")

    def _keep_alive(self):
        self.timer("idle", self.heard_at + LIMIT.IDLE, lambda: self.end("LIMIT_IDLE", "LINK-IDLE-1"))
        self.timer("ping", self.heard_at + LIMIT.KEEPALIVE, self._ping)

    def _ping(self):
        self.send("PING", nonce=int.from_bytes(self.dev.random.draw(8), "big"), answer=False)
        self.timer("ping", self.dev.now + LIMIT.KEEPALIVE, self._ping)
