"""What goes on between a device and a mailbox over one link (chapter service, 9.4)."""
from . import service
from .mailcontent import Contents
from .registry import LIMIT, Refused
from .wire import ZERO32


class MailRequest:
    """A PUT, FETCH or WATCH that is outstanding."""

    def __init__(self, exchange, name, on_answer, on_error=None):
        self.exchange, self.name, self._on_answer, self._on_error = exchange, name, on_answer, on_error
        self.counts = name != "WATCH"

    def expects(self, m):
        return hasattr(m, "offset") == (self.name == "PUT")

    def answer(self, m):
        self.exchange.flying -= self.counts
        self._on_answer(m)

    def on_error(self, link, req, code, retry_ms):
        link.requests.pop(req, None)
        self.exchange.flying -= self.counts
        if self._on_error:
            self._on_error(code, retry_ms)


class BoxAt:
    """A box that is read on this link."""

    def __init__(self, box, session, key):
        self.id, self.session, self.key = box, session, key
        self.fetched = self.busy = self.watched = self.shunned = False
        self.shown = False  # something was told of it
        self.putting = False


class Exchange:
    def __init__(self, mailbox, link):
        self.mailbox, self.dev, self.link = mailbox, mailbox.dev, link
        self.peer = link.peer
        self.flying = 0
        self.boxes = {}
        self.inbox = self._box(service.inbox_of(self.dev.key), None, None)
        self.inboxes_busy = set()  # devices to whose inbox something is on its way
        self.waits = {}  # box -> when something may be put there again
        self.contents = Contents(self)
        self.told = False

    def _box(self, box, session, key):
        if box not in self.boxes:
            self.boxes[box] = BoxAt(box, session, key)
        return self.boxes[box]

    # --- requests

    def room(self):
        return self.link.ready and self.flying < LIMIT.MAILBOX_WINDOW

    def ask(self, name, on_answer, on_error, **fields):
        request = MailRequest(self, name, on_answer, on_error)
        self.flying += request.counts
        req = self.link.request(request)
        self.link.send(name, req=req, **fields)

    def put(self, box, envelope, on_ok, on_error):
        """Puts once all that was written is durable (SERVICE-PUT-1)."""
        request = MailRequest(self, "PUT", on_ok, on_error)
        self.flying += 1
        req = self.link.request(request)
        self.dev.store.when_durable(lambda: self.link.ready and self.link.send("PUT", req=req, to=box, envelope=envelope))

    def wait(self, box, retry_ms):
        """SERVICE-PUT-3."""
        delay = retry_ms * 1000
        delay = delay if 0 < delay < LIMIT.QUOTA_DELAY else LIMIT.QUOTA_DELAY
        self.waits[box] = self.dev.now + delay
        self.dev.set_timer(("link", self.link.number, "mail", box), self.waits[box], lambda: self.waits.pop(box, None))

    # --- reading

    def at(self, box):
        if box is self.inbox:
            return self.mailbox.state(self.peer)["inbox"]
        return self.mailbox.box_state(box.session, self.peer, box.id)["at"]

    def set_at(self, box, at):
        if box is self.inbox:
            self.mailbox.state(self.peer)["inbox"] = at
            self.mailbox.save(self.peer)
        else:
            self.mailbox.box_state(box.session, self.peer, box.id)["at"] = at
            box.session.touch()

    def _read(self, box):
        if box.shunned or box.busy or box.watched:
            return
        name, after = ("WATCH" if box.fetched else "FETCH"), self.at(box)
        if name == "FETCH" and not self.room():
            return
        box.busy, box.watched = name == "FETCH", name == "WATCH"
        self.ask(name, lambda m: self._got(box, m, name, after), lambda *_: self._shun(box), of=box.id, after=after)

    def _shun(self, box):
        box.shunned, box.busy, box.watched = True, False, False

    def report(self, session, code, clause):
        self.dev.violation(self.peer, session.id if session else b"", Refused(code, clause))

    def _got(self, box, m, name, after):
        box.busy = box.watched = False
        at, n = self.at(box), len(m.envelopes)
        if after > at:
            return  # the box was begun anew meanwhile, and is asked for from there
        if m.last < max(after, self._put_before(box)):
            self.report(box.session, "SERVICE_LOST", "SERVICE-BACK-1")
            self._begin_anew()
            return
        if n and (m.first != after + 1 or after + n > m.last) or not n and m.last > after and name != "WATCH":
            self._shun(box)
            self.report(box.session, "SERVICE_FETCH", "SERVICE-FETCH-2")
            return
        # A PUT_OK may have come since this was asked for: this device's own letter is behind it.
        for envelope in m.envelopes[at - after :]:
            try:
                if box is self.inbox:
                    self.mailbox.take_from_inbox(envelope)
                else:
                    self.mailbox.take_letter(box.session, self.peer, box.key, box.id, envelope)
            except Refused as e:
                code = "SERVICE_ENVELOPE" if e.code.startswith("WIRE_") else e.code
                self.report(box.session, code, e.clause)
        at = max(at, after + n)
        self.set_at(box, at)
        box.fetched = at >= m.last
        self.told = self.told and not n

    def _put_before(self, box):
        """The highest offset that a letter was given on an earlier link; 0 once something was told of the box on this one."""
        first, box.shown = not box.shown, True
        return self.mailbox.box_state(box.session, self.peer, box.id)["offset"] if first and box.session else 0

    def _begin_anew(self):
        """SERVICE-BACK-1: a mailbox that lost envelopes is fetched from the beginning and told everything anew, also what was taken from there."""
        self.mailbox.known[self.peer] = {"inbox": 0, "roster": {}}
        self.mailbox.save(self.peer)
        for session in self.dev.sessions.values():
            mail = session.mail.get(self.peer)
            if mail:
                mail["invited"] = []
                for box_id, state in mail["boxes"].items():
                    letter = self.mailbox.letters.pop((self.peer, bytes.fromhex(box_id)), None)
                    if letter:  # the numbers of letters go on
                        state["count"] = max(state["count"], letter.count)
                    state |= {"at": 0, "put": 0, "offset": 0, "piece": 0, "head": ZERO32.hex(), "lost": session.position}
                session.touch()
        for box in self.boxes.values():
            box.fetched = box.watched = False
        self.contents.done.clear()
        self.told = False

    # --- going on

    def pump(self):
        if not self.link.ready:
            return
        self._read(self.inbox)
        if not self.inbox.fetched:
            return
        busy = False
        for session in list(self.dev.sessions.values()):
            busy |= self._session(session)
        busy |= self._roster()
        busy |= self.contents.pump()
        busy |= self.flying > 0 or any(not b.fetched and not b.shunned for b in self.boxes.values())
        if busy or self.waits:
            self.told = False
        elif not self.told:
            self.told = True
            self.dev.store.when_durable(lambda: self.told and self.dev.event("exchanged", mailbox=self.peer.hex()))

    def _session(self, session):
        """Reads and fills a session's boxes; whether there is more to do."""
        if not session.takes_part and not (session.head is None and session.keys):
            return False
        put_key = self.mailbox.put_key(session) if session.takes_part and session.head else None
        busy = False
        for key in session.keys:
            box = self._box(service.box_of(key.key, session.id), session, key)
            self._read(box)
            if key is put_key and (box.fetched or box.watched):
                busy |= self._put_letter(session, key, box)
        if put_key and session.durable_position == session.position:
            busy |= self._invite(session, put_key)
        return busy or session.durable_position < session.position

    def _put_letter(self, session, key, box):
        if box.putting or box.id in self.waits or not self.room():
            return True
        slot = (self.peer, box.id)
        letter = self.mailbox.letters.get(slot) or self.mailbox.next_letter(session, self.peer, key, box.id)
        if letter is None:
            return False
        self.mailbox.letters[slot] = letter
        box.putting = True

        def ok(m):
            box.putting = False
            if self.mailbox.letters.get(slot) is not letter:
                return  # put together before the box lost envelopes: it says nothing of the rest
            del self.mailbox.letters[slot]
            self.mailbox.was_put(session, self.peer, box.id, letter, m.offset)
            # What this device put itself needn't be fetched.
            if not box.busy and m.offset == self.at(box) + 1:
                self.set_at(box, m.offset)

        def refused(code, retry_ms):
            box.putting = False
            self.wait(box.id, retry_ms)

        self.put(box.id, letter.envelope, ok, refused)
        return True

    def _invite(self, session, key):
        busy = False
        for device, label in self.mailbox.invites(session, self.peer, key):
            busy = True
            inbox = service.inbox_of(device)
            if device in self.inboxes_busy or inbox in self.waits or not self.room():
                continue
            envelope = self.mailbox.invitation(session, key, device)
            done = session.mail[self.peer]["invited"]
            if envelope is None:
                done.append(label)
                continue
            self.inboxes_busy.add(device)

            def ok(m, device=device, label=label, done=done):
                self.inboxes_busy.discard(device)
                done.append(label)
                session.touch()

            def refused(code, retry_ms, device=device, inbox=inbox):
                self.inboxes_busy.discard(device)
                self.wait(inbox, retry_ms)

            self.put(inbox, envelope, ok, refused)
        return busy

    def _roster(self):
        account = self.dev.account
        if account.id is None or not account.is_member(self.dev.key):
            return False
        busy = False
        for device in account.others():
            lacking = self.mailbox.roster_lacking(self.peer, device)
            if not lacking:
                continue
            busy = True
            inbox = service.inbox_of(device)
            if device in self.inboxes_busy or inbox in self.waits or not self.room():
                continue
            heads = account.roster.heads(account.durable)
            self._put_in_turn(device, inbox, list(self.mailbox.roster_envelopes(device, lacking)), heads)
        return busy

    def _put_in_turn(self, device, inbox, envelopes, heads):
        self.inboxes_busy.add(device)
        if not envelopes or envelopes[0] is None:
            self.inboxes_busy.discard(device)
            self.mailbox.roster_told(device, heads, [self.peer])
            return

        def refused(code, retry_ms):
            self.inboxes_busy.discard(device)
            self.wait(inbox, retry_ms)

        self.put(inbox, envelopes[0], lambda m: self._put_in_turn(device, inbox, envelopes[1:], heads), refused)
