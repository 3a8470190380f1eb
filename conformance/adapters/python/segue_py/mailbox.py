"""Chapter service, sections 9.2 to 9.6: content keys, letters, invitations. `exchange` is what goes on over one link."""
import json

from . import service, wire
from .account import pages
from .exchange import Exchange, MailRequest
from .registry import LIMIT, Refused
from .replica import Strands
from .session import Session
from .sync import Numbers, Writer
from .wire import ZERO16, ZERO32, Struct

FRAMES_ROOM = LIMIT.MAX_ENVELOPE - LIMIT.ENVELOPE_ROOM
LETTER_FRAMES = ("HEAD", "STRAND", "OPS", "PARTS", "MARK")


class Letter:
    """A letter that is to be put, or was put and not answered."""

    def __init__(self, envelope, position, piece, count, head):
        self.envelope, self.position, self.piece, self.count, self.head = envelope, position, piece, count, head


class Mailbox:
    def __init__(self, dev):
        self.dev = dev
        self.used = set()
        self.exchanges = {}  # link number -> Exchange
        self.letters = {}  # (mailbox, box) -> Letter
        self.known = {m: json.loads(v) for m, v in dev.store.under(b"x/")}  # mailbox -> what holds for no session
        self.handlers = {"KEY": self.on_key, "PUT_OK": self.on_answer, "ENVELOPES": self.on_answer}

    # --- what is written down

    def state(self, mailbox):
        return self.known.setdefault(mailbox, {"inbox": 0, "roster": {}})

    def save(self, mailbox):
        self.dev.store.put(b"x/" + mailbox, json.dumps(self.state(mailbox)).encode())

    def box_state(self, session, mailbox, box):
        """Of a session's box: how far it was fetched, what was put, letters' numbers by sender, the head that it tells of, and
        up to which position of this device's log what was found there may be gone."""
        boxes = session.mail.setdefault(mailbox, {"boxes": {}, "invited": []})["boxes"]
        new = {"at": 0, "put": 0, "offset": 0, "piece": 0, "count": 0, "seen": {}, "head": ZERO32.hex(), "lost": 0}
        return boxes.setdefault(box.hex(), new)

    def _is_there(self, session, state, box, position):
        """Whether a change was found in a box, and is there still as far as this device knows."""
        return session.origins.get(position) == box and position > state["lost"]

    # --- links

    def use(self, mailbox):
        self.used.add(mailbox)
        link = self.dev.link_to(mailbox)
        if link and link.number not in self.exchanges:
            self.exchanges[link.number] = Exchange(self, link)

    def link_ready(self, link):
        if link.peer in self.used:
            self.exchanges[link.number] = Exchange(self, link)

    def link_over(self, link):
        self.exchanges.pop(link.number, None)

    def only_mailbox(self, link):
        """SERVICE-PEER-1: whether the peer is a mailbox and nothing else."""
        if link.peer not in self.used or self.dev.vouched(link.peer) or self.dev.accept_unknown:
            return False
        return not any(s.takes_part and s.is_member(link.peer) for s in self.dev.sessions.values())

    def pump(self):
        for exchange in list(self.exchanges.values()):
            exchange.pump()

    def on_answer(self, link, m):
        request = link.requests.get(m.req)
        if isinstance(request, MailRequest) and request.expects(m):
            del link.requests[m.req]
            request.answer(m)

    # --- keys

    def revoked(self):
        return sorted(self.dev.account.roster.revoked())[: LIMIT.MAX_WITHOUT]

    def put_key(self, session):
        """The key under which this device puts; a new one if there is none and it is time for one (9.3)."""
        revoked = set(self.revoked())
        good = [k for k in session.keys if revoked <= set(k.without)]
        if good:
            return max(good, key=lambda k: (k.epoch, service.key_id(k.key)))
        genesis = session.chain.path()[0]
        if genesis.body.signer != self.dev.key and not session.keys and not session.changes:
            return None
        epoch = max((k.epoch for k in session.keys), default=0) + 1
        key = Struct(epoch=epoch, key=self.dev.random.draw(32), without=sorted(revoked))
        self.add_key(session, key, None)
        return key

    def add_key(self, session, key, origin):
        if any(k.key == key.key for k in session.keys):
            return
        session.keys.append(key)
        session.keys.sort(key=lambda k: (k.epoch, service.key_id(k.key)))
        del session.keys[: -LIMIT.MAX_KEYS]
        session.touch()
        for link in self.dev.ready_links():
            feed = self.dev.sync.feeds.get((link.number, session.id))
            if feed and feed.active and link.peer != origin:
                self._give(link, session, key)

    def give_keys(self, link, session):
        for key in session.keys:
            self._give(link, session, key)

    def may_have(self, session, key, device):
        """SERVICE-KEY-1."""
        return device not in key.without and not self.dev.account.is_revoked(device) and self.dev.handoff.may_know(session, device)

    def _give(self, link, session, key):
        def send():
            if link.ready and self.may_have(session, key, link.peer):
                link.send("KEY", session=session.id, epoch=key.epoch, key=key.key, without=key.without)

        self.dev.store.when_durable(send)

    def on_key(self, link, m):
        session = self.dev.sessions.get(m.session)
        if session and session.takes_part and self._key_from(session, link.peer):
            self.add_key(session, Struct(epoch=m.epoch, key=m.key, without=m.without), link.peer)

    def _key_from(self, session, device):
        """SERVICE-KEY-2, SERVICE-READ-1."""
        return not self.dev.account.is_revoked(device) and (session.is_member(device) or self.dev.vouched(device))

    def chain_changed(self, session):
        pass

    # --- the inbox

    def take_from_inbox(self, envelope):
        opened = service.unwrap_envelope(self.dev.identity, envelope)
        if opened is None:
            raise Refused("SERVICE_ENVELOPE", "SERVICE-SEAL-2")
        kind, plain = opened
        if kind == service.WRAPPED:
            self._take_invitation(plain)
        else:
            self._take_roster(plain)

    def _take_invitation(self, plain):
        signed = wire.decode("Signed Invitation", plain)
        m = wire.open_body("Invitation", signed)
        sender = getattr(m, "from")
        wire.verify_signed("Invitation", signed, sender)
        if m.to != self.dev.key:
            raise Refused("SERVICE_ENVELOPE", "SERVICE-INVITE-1")
        sessions = self.dev.sessions
        session = sessions.get(m.session)
        if session is None or session.head is None:
            if not (self.dev.vouched(sender) and (self.dev.follow or self.dev.handoff.target.seeks_session(m.session))):
                raise Refused("SERVICE_ENVELOPE", "SERVICE-KEY-2")
            if session is None:
                if len(sessions) >= LIMIT.MAX_SESSIONS:
                    raise Refused("LIMIT_ROOM", "LIMIT-ROOM-1")
                session = sessions[m.session] = Session(self.dev, m.session)
                session.proven = not self.dev.handoff.unproven
                session.name = m.name
        elif not self._key_from(session, sender):
            raise Refused("SERVICE_ENVELOPE", "SERVICE-KEY-2")
        self.add_key(session, Struct(epoch=m.epoch, key=m.key, without=m.without), sender)

    def _take_roster(self, plain):
        letter, frames = service.open_sealed(plain, ZERO16, service.inbox_of(self.dev.key))
        sender = getattr(letter, "from")
        account = self.dev.account
        if letter.count != 0 or account.id is None or not account.is_member(sender):
            raise Refused("ACCOUNT_OTHER", "SERVICE-ROSTER-2")
        for name, m in wire.read_frames(frames):
            if name != "ROSTER" or m.account != account.id:
                raise Refused("SERVICE_ENVELOPE", "SERVICE-FRAME-1")
            account.take_mailed(m.entries)

    # --- letters that come

    def take_letter(self, session, mailbox, key, box, envelope):
        """Takes in an envelope of a session's box, as far as it may be."""
        plain = service.open_envelope(service.LETTER, key.key, box, envelope)
        if plain is None:
            raise Refused("SERVICE_ENVELOPE", "SERVICE-SEAL-2")
        letter, frames = service.open_sealed(plain, session.id, box)
        sender = getattr(letter, "from")
        state = self.box_state(session, mailbox, box)
        if sender != self.dev.key and not self._key_from(session, sender):
            raise Refused("SERVICE_ENVELOPE", "SERVICE-READ-1")
        seen = state["seen"].get(sender.hex(), 0)
        state["seen"][sender.hex()] = max(seen, letter.count)
        if sender == self.dev.key:
            state["count"] = max(state["count"], letter.count)
        session.touch()
        if letter.count > seen + 1:
            self.dev.violation(mailbox, session.id, Refused("SERVICE_LOST", "SERVICE-COUNT-1"))
        self._take_frames(session, sender, box, frames, state)
        self._skip_found(session, state, box)

    def _take_frames(self, session, sender, box, frames, state):
        strands = Strands()
        sync, handoff = self.dev.sync, self.dev.handoff
        for name, m in wire.read_frames(frames):
            if name not in LETTER_FRAMES:
                raise Refused("SERVICE_ENVELOPE", "SERVICE-FRAME-1")
            if (strands.session_of(m.strand) if name == "OPS" else m.session) != session.id:
                raise Refused("SERVICE_ENVELOPE", "SERVICE-FRAME-1")
            if name == "HEAD":
                if session.head is None:
                    handoff.begin(sender, m)
                else:
                    handoff.take_records(session, m.records, sender)
                if m.records:
                    self._tells_of(session, state, wire.object_id("Record", m.records[-1].body))
            elif name == "STRAND":
                strands.name(m)
                session.aside.take_names(m)
            elif session.head is None or not session.takes_part:
                raise Refused("SERVICE_ENVELOPE", "SERVICE-READ-1")
            elif name == "OPS":
                sync.take_ops(session, strands, m, box)
            elif name == "PARTS":
                session.aside.take_names(m)
                sync.take_parts(session, m, box)
            elif m.name and not session.name:
                session.name = m.name

    def _tells_of(self, session, state, head):
        record, told = session.chain.get(head), session.chain.get(bytes.fromhex(state["head"]))
        if record and (told is None or record.rank() > told.rank()):
            state["head"] = head.hex()

    def _skip_found(self, session, state, box):
        """What was found in a box isn't put there: the position moves on over it (SERVICE-PUT-2)."""
        for position in session.changes:
            if position > state["put"]:
                if not self._is_there(session, state, box, position):
                    break
                state["put"] = position

    # --- letters that go

    def next_letter(self, session, mailbox, key, box):
        """The letter with what the box lacks, or None."""
        state = self.box_state(session, mailbox, box)
        writer = Writer(session, Numbers())
        frames = []
        head = session.head.id
        if head.hex() != state["head"]:
            records = session.chain.behind(bytes.fromhex(state["head"]))
            page, size = [], 0
            for record in records:
                n = len(record.signed.body) + 70
                if size + n > 50_000 or len(page) >= LIMIT.MAX_RECORDS:
                    break
                page.append(record)
                size += n
            if page:
                head = page[-1].id
                more = len(page) < len(records)
                frames.append(wire.frame("HEAD", session=session.id, records=[r.signed for r in page], more=more, ack=None))
        position, piece = self._fill(session, writer, box, state, sum(map(len, frames)))
        frames += writer.finish()
        if not frames:
            state["put"] = position
            return None
        frames.append(wire.frame("MARK", session=session.id, name=session.name, log=session.log, at=position))
        count = state["count"] + 1
        plain = service.make_sealed(self.dev.identity, session.id, box, count, b"".join(frames))
        envelope = service.seal_envelope(service.LETTER, key.key, box, self.dev.random.draw(24), plain)
        return Letter(envelope, position, piece, count, head.hex())

    def _fill(self, session, writer, box, state, used):
        """Writes changes behind the position that was put, as many as fit a letter; the position and piece reached."""
        position, piece = state["put"], state["piece"]
        for p in [p for p in session.changes if position < p <= session.durable_position]:
            if self._is_there(session, state, box, p):
                position, piece = p, 0
                continue
            entry = session.changes[p]
            size, parts = writer.sizes(entry)
            if parts > 1:
                if not writer.size and not used:
                    writer.part_piece(entry, piece)
                    position, piece = (p, 0) if piece + 1 >= parts else (position, piece + 1)
                return position, piece
            if used + writer.size + size > FRAMES_ROOM - 1024 and (writer.size or used):
                return position, piece
            writer.change(entry)
            position, piece = p, 0
        return position, piece

    def was_put(self, session, mailbox, box, letter, offset):
        state = self.box_state(session, mailbox, box)
        state["offset"] = max(state["offset"], offset)
        state["put"], state["piece"] = max(state["put"], letter.position), letter.piece
        state["count"] = max(state["count"], letter.count)
        state["seen"][self.dev.key.hex()] = state["count"]
        self._tells_of(session, state, bytes.fromhex(letter.head))
        session.touch()

    # --- invitations and the roster

    def invitation(self, session, key, device):
        body = Struct(**{
            "from": self.dev.key, "to": device, "session": session.id, "name": session.name, "epoch": key.epoch,
            "key": key.key, "without": key.without,
        })
        plain = wire.encode("Signed Invitation", wire.sign_object("Invitation", body, self.dev.identity))
        return service.wrap_envelope(service.WRAPPED, device, self.dev.random.draw(32), plain)

    def invites(self, session, mailbox, key):
        """Devices that are to be invited at a mailbox and weren't (9.3)."""
        done = session.mail.setdefault(mailbox, {"boxes": {}, "invited": []})["invited"]
        devices = session.chain.members | self.dev.trusted | self.dev.account.roster.members()
        kid = service.key_id(key.key).hex()
        return [
            (d, kid + d.hex()) for d in sorted(devices)
            if d != self.dev.key and kid + d.hex() not in done and self.may_have(session, key, d)
        ]

    def roster_lacking(self, mailbox, device):
        account = self.dev.account
        told = [bytes.fromhex(h) for h in self.state(mailbox)["roster"].get(device.hex(), [])]
        return [e for e in account.roster.lacking(told) if e in account.durable]

    def roster_envelopes(self, device, lacking):
        account = self.dev.account
        heads = account.roster.heads(account.durable)[: LIMIT.MAX_ROSTER_HEADS]
        for page, more in pages([account.roster.signed[e] for e in lacking], LIMIT.MAX_ENTRIES):
            frames = wire.frame("ROSTER", account=account.id, heads=heads, entries=page, more=more)
            plain = service.make_sealed(self.dev.identity, ZERO16, service.inbox_of(device), 0, frames)
            yield service.wrap_envelope(service.WRAPPED_ROSTER, device, self.dev.random.draw(32), plain)

    def roster_told(self, device, heads, mailboxes=None):
        """A device was told, or says, that it has everything below these heads (SERVICE-ROSTER-1)."""
        roster = self.dev.account.roster
        for mailbox in mailboxes or self.used:
            told = self.state(mailbox)["roster"]
            before = [bytes.fromhex(h) for h in told.get(device.hex(), [])]
            if len(roster.lacking(heads)) < len(roster.lacking(before)):
                told[device.hex()] = [h.hex() for h in heads]
                self.save(mailbox)
