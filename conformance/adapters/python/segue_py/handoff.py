"""Chapter handoff: what source and target share, which are modules of their own."""
from . import data, wire
from .chain import CLOSE, GENESIS, GRANT, TAKEOVER, open_record, session_id
from .registry import LIMIT, Refused
from .offers import Offers
from .receive import Receiver
from .session import Session, check_equivocation
from .source import Source
from .target import Target
from .wire import ZERO32, Struct


class Handoff:
    def __init__(self, dev):
        self.dev = dev
        self.sessions = {}
        self.unproven = b"unproven" in dev.store.entries
        self._next_handoff = 0
        self.source = Source(dev, self)
        self.target = Target(dev, self)
        self.offers = Offers(dev, self)
        self.receiver = Receiver(dev, self)
        self.handlers = {
            "HAVE": self.on_have, "HEAD": self.on_head, "WANT": self.source.on_want, "GRANT": self.receiver.on_grant,
            "OFFER": self.offers.on_offer, "DECLINE": self.on_decline, "CANCEL": self.on_cancel,
        }
        dev.handoff = self
        for sid, raw in dev.store.under(b"s/"):
            session = self.sessions[sid] = Session(dev, sid)
            session.load(raw)
            if session.grant:
                self.source.watch_grant(session)

    def continuity_lost(self):
        """HO-STORE-1, HO-STORE-2, SYNC-LOG-1."""
        self.unproven = True
        for session in self.sessions.values():
            session.proven = False
            session.log = self.dev.random.draw(16)
            session.new_actor()

    def save_changed(self):
        for session in self.sessions.values():
            if session.changed:
                session.save()

    def next_handoff(self):
        self._next_handoff += 1
        return self._next_handoff

    # --- who may know what

    def may_know(self, session, device):
        """HO-MEMBER-1."""
        if self.dev.account.is_revoked(device):
            return False
        return session.is_member(device) or self.dev.vouched(device) or self.source.chosen(session.id) == device

    def known(self, sid, device):
        """The session, if there is one that the device may know."""
        session = self.sessions.get(sid)
        if session is None or session.head is None or not self.may_know(session, device):
            return None
        return session

    def get(self, sid):
        session = self.sessions.get(sid)
        if session is None:
            raise Refused("HO_UNKNOWN_SESSION", None, "no such session is known here")
        return session

    # --- records of this device

    def sign_record(self, session, kind, owner, grantor, want):
        """Signs and takes in a record of this device behind the head; it is kept with this step's batch."""
        head = session.head
        body = Struct(
            kind=kind, session=session.id, parent=head.id, term=head.body.term + (kind == TAKEOVER), n=head.body.n + 1,
            signer=self.dev.key, owner=owner, grantor=grantor, want=want, roster=ZERO32, genesis=None,
        )
        record = session.chain.add(wire.sign_object("Record", body, self.dev.identity), body)
        session.keep_record(record)
        return record

    def create(self, name, members):
        wire.check_name(name)
        dev = self.dev
        if len(self.sessions) >= LIMIT.MAX_SESSIONS:
            raise Refused("LIMIT_ROOM", "LIMIT-ROOM-1")
        members = {*members, *dev.account.others()} - {dev.key}
        if len(members) > LIMIT.MAX_MEMBERS:
            raise Refused("LIMIT_ROOM", "LIMIT-KEEP-1", "too many members")
        nonce = dev.random.draw(16)
        session = Session(dev, session_id(dev.key, nonce))
        session.name = name
        self.sessions[session.id] = session
        session.new_actor()
        body = Struct(
            kind=GENESIS, session=session.id, parent=ZERO32, term=0, n=0, signer=dev.key, owner=dev.key, grantor=dev.key,
            want=session.actor, roster=ZERO32, genesis=Struct(nonce=nonce, members=sorted(members)),
        )
        record = session.chain.add(wire.sign_object("Record", body, dev.identity), body)
        session.keep_record(record)
        session.take_part_in()

        dev.store.when_durable(lambda: dev.event("created", session=session.id.hex()))
        return session

    def take_over(self, session):
        if session.head is None or not session.is_member(self.dev.key):
            raise Refused("HO_NOT_MEMBER", "HO-TAKE-1", "this device is no member of the session")
        if session.closed():
            raise Refused("HO_CLOSED", "HO-TAKE-1", "the session is closed")
        if session.primary():
            raise Refused("HO_NOT_OWNER", "HO-TAKE-1", "this device already owns the session")
        if not session.proven:
            raise Refused("STORE_ROLLED_BACK", "HO-STORE-1", "the store's continuity isn't proven")
        session.take_part_in()
        self.source.taken_back(session)
        old = session.head
        record = self.sign_record(session, TAKEOVER, self.dev.key, self.dev.key, session.actor)
        self.head_changed(session, old)
        self.dev.event("activated", session=session.id.hex(), record=record.id.hex())
        self.dev.store.when_durable(lambda: self.tell_members(session))

    def close(self, session):
        if session.closed():
            raise Refused("HO_CLOSED", None, "the session is closed")
        if not session.primary() or session.head.body.grantor != self.dev.key:
            raise Refused("HO_NOT_OWNER", "HO-CLOSE-1", "this device isn't the primary")
        self.source.give_up(session, "HO_CLOSED")
        old = session.head
        self.sign_record(session, CLOSE, ZERO32, ZERO32, ZERO32)
        self.head_changed(session, old)

        def durable():
            self.dev.event("closed", session=session.id.hex())
            self.tell_members(session)

        self.dev.store.when_durable(durable)

    # --- HAVE and HEAD

    def link_ready(self, link):
        for session in self.sessions.values():
            self.tell_of(link, session)
        self.source.link_ready(link)
        self.target.link_ready(link)

    def tell_of(self, link, session):
        """HO-HEAD-7 at the beginning of a link, HO-HEAD-8 when the device comes to keep the session."""
        concerned = session.is_member(link.peer) or self.dev.vouched(link.peer)
        if session.takes_part and concerned and self.may_know(session, link.peer):
            self.dev.store.when_durable(lambda: link.ready and self.send_have(link, session))

    def send_have(self, link, session, req=0, announced=None):
        head = session.head.id if session and session.head else ZERO32
        link.send("HAVE", req=req, session=session.id, head=head, data=announced)

    def ask_head(self, link, sid, handler):
        """A HAVE that asks; handler.on_error hears if there is no answer."""
        session = self.sessions.get(sid)
        head = session.head.id if session and session.head else ZERO32
        link.requests = {r: h for r, h in link.requests.items() if not (isinstance(h, Asked) and h.sid == sid)}
        req = link.request(handler)
        self.dev.store.when_durable(lambda: link.ready and link.send("HAVE", req=req, session=sid, head=head, data=None))

    def send_head(self, link, session, behind, ack=True):
        """The chain behind a record to the head, once it is durable (HO-HEAD-5)."""

        # What is told is what stands now: a record that is taken in while this waits may not be durable when it leaves.
        records, head, signed_ack = session.chain.behind(behind), session.head, None
        if ack and head.body.kind == GRANT and session.entitled():
            signed_ack = Struct(record=head.id, sig=self.dev.identity.sign(b"segue/1 sig head" + head.id))

        def send():
            if not link.ready:
                return
            page, size = [], 0
            for i, record in enumerate(records):
                n = len(record.signed.body) + 66
                if page and (size + n > 60_000 or len(page) >= LIMIT.MAX_RECORDS):
                    link.send("HEAD", session=session.id, records=page, more=True, ack=None)
                    page, size = [], 0
                page.append(record.signed)
                size += n
            link.send("HEAD", session=session.id, records=page, more=False, ack=signed_ack)
            link.peer_heads[session.id] = head.id

        self.dev.store.when_durable(send)

    def tell_members(self, session, but=None):
        for link in self.dev.ready_links():
            if link is not but and session.is_member(link.peer) and self.may_know(session, link.peer):
                self.send_head(link, session, link.peer_heads.get(session.id, ZERO32))

    def on_have(self, link, m):
        session = self.known(m.session, link.peer)
        if m.req:
            if session is None:
                return link.error(m.req, m.session, "HO_UNKNOWN_SESSION")
            self._saw(link, session, m.head)
            announced = session.announce().struct() if session.primary() else None
            if m.head != session.head.id:
                self.send_head(link, session, m.head)
            self.dev.store.when_durable(lambda: link.ready and self.send_have(link, session, announced=announced))
            return None
        if session is None:
            if m.session not in self.sessions and self.dev.follow and self.dev.vouched(link.peer):
                self._ask_once(link, m.session, m.head)
            return None
        self._saw(link, session, m.head)
        if m.head != ZERO32 and m.head not in session.chain.records:
            self._ask_once(link, m.session, m.head)
        else:
            self._answer_lower(link, session, m.head)
        if m.data is not None:
            self.target.announced(link, session, m)
        else:
            self.target.not_owner(link, session, m)
        return None

    def _saw(self, link, session, head):
        if head in session.chain.records:
            link.peer_heads[session.id] = head

    def _ask_once(self, link, sid, head):
        told = link.told.setdefault(sid, set())
        if ("ask", head) not in told:
            told.add(("ask", head))
            self.ask_head(link, sid, Asked(sid))

    def _answer_lower(self, link, session, head):
        """HO-HEAD-2, once a link for each head."""
        told = link.told.setdefault(session.id, set())
        if head != session.head.id and head not in told:
            told.add(head)
            self.send_head(link, session, head)

    def on_head(self, link, m):
        session = self.sessions.get(m.session)
        if session is None or session.head is None:
            session = self.begin(link.peer, m)
        if session is None or not self.may_know(session, link.peer):
            return
        self.take_records(session, m.records, link.peer)
        if m.records:
            last = wire.object_id("Record", m.records[-1].body)
            self._saw(link, session, last)
            if not m.more and last in session.chain.records:
                self._answer_lower(link, session, last)
        if m.ack is not None:
            self.source.acknowledged_by(session, m.ack)
        self.target.head_came(link, session)

    def begin(self, peer, m):
        """A genesis starts an unknown session; the session, if it does."""
        session = self.sessions.get(m.session)
        if not m.records:
            return None
        try:
            body = open_record(m.records[0])
        except Refused:
            return None
        if body.kind != GENESIS or body.session != m.session:
            return None
        wanted = self.target.seeks_session(m.session) or session is not None
        hearsay = [s for s in self.sessions.values() if not s.takes_part]
        if not wanted and (len(hearsay) >= LIMIT.MAX_HEARSAY or len(self.sessions) >= LIMIT.MAX_SESSIONS):
            return None
        session = session or Session(self.dev, m.session)
        try:
            record = session.chain.take(m.records[0], body)
        except Refused as e:
            self.dev.violation(peer, m.session, e)
            return None
        if not self.may_know(session, peer):
            return None
        session.proven = not self.unproven
        self.sessions[m.session] = session
        session.keep_record(record)
        session.touch()
        self.take_records(session, m.records[1:], peer)
        if wanted or self.dev.follow and self.dev.vouched(peer):
            session.take_part_in()
        return session

    def take_records(self, session, records, peer):
        """Takes in records in their order, up to the first that is refused; whether all were taken."""
        old = session.head
        complete = True
        opened = []
        for i, signed in enumerate(records):
            try:
                body = open_record(signed)
                if wire.object_id("Record", signed.body) in session.chain.records:
                    continue
                session.chain.check(body)
                self._admit_takeover(session, body, signed, records[i:])
                record = session.chain.take(signed, body)
            except Refused as e:
                self.dev.violation(peer, session.id, e)
                complete = False
                break
            session.keep_record(record)
            opened.append(record)
        for record in opened:
            check_equivocation(session, record)
            self.source.record_came(session, record)
        if session.head is not old:
            self.head_changed(session, old)
        return complete

    def _admit_takeover(self, session, body, signed, rest):
        """ACCOUNT-REVOKE-5."""
        if body.kind != TAKEOVER or not self.dev.account.is_revoked(body.signer):
            return
        ids = {wire.object_id("Record", s.body) for s in rest}
        for later in rest[1:]:
            later_body = wire.decode("Record", later.body)
            if later_body.kind == TAKEOVER and not self.dev.account.is_revoked(later_body.signer):
                return
        accepted = {}
        for signer, cut in self.dev.account.roster.signed_cuts(body.signer):
            accepted[signer] = accepted.get(signer, False) or any(h.session == session.id and h.record in ids for h in cut.heads)
        if all(accepted.values()):
            return
        raise Refused("AUTH_REVOKED", "ACCOUNT-REVOKE-5")

    def head_changed(self, session, old):
        head = session.head
        was_primary = old is not None and session.takes_part and session.proven and session.entitled_under(old)
        fields = {} if head.body.owner == ZERO32 else {"owner": head.body.owner.hex()}
        self.dev.event("head-changed", session=session.id.hex(), head=head.id.hex(), **fields)
        # A takeover may not stand on what this device wrote or granted.
        others = head.body.signer != self.dev.key and not (was_primary and session.chain.descends(head, old.id) and head.body.kind != TAKEOVER)
        fenced = False
        if session.grant and not session.chain.descends(head, session.grant.record):
            fenced = True
            self._keep_copy(session, session.grant.under)
            self.source.fenced(session)
        elif was_primary and others:
            fenced = True
            self._keep_copy(session, old.id.hex())
        opener = session.chain.get(head.opener)
        taken = old is not None and head.opener != old.opener and opener.body.owner != self.dev.key
        passed_by = taken or old is not None and not session.chain.descends(head, old.id)
        if passed_by and any(p.kind == data.EXCLUSIVE and session.actor in p.tips for p in session.copy.parts.values()):
            session.new_actor()  # DATA-OP-3
        self.source.head_changed(session, fenced)
        self.offers.head_changed(session)
        self.target.head_changed(session)
        if fenced:
            self.dev.event("fenced", session=session.id.hex(), head=head.id.hex(), copies=len(session.copies), **fields)
        session.touch()
        self.dev.mailbox.chain_changed(session)

    def _keep_copy(self, session, record):
        """HO-WRITE-2: what was written to exclusive parts under a record."""
        written = [
            p.encode().hex() for _, p in sorted(session.copy.parts.items())
            if p.kind == 5 and p.values and p.shown().op.record.hex() == record
        ]
        if written:
            session.copies.append([record, written])

    def data_changed(self, session):
        self.target.data_changed(session)

    # --- DECLINE, CANCEL

    def on_decline(self, link, m):
        session = self.known(m.session, link.peer)
        if session is not None or self.target.seeks_session(m.session):
            self.source.declined(link, m)
            self.target.declined(link, m)

    def on_cancel(self, link, m):
        session = self.known(m.session, link.peer)
        if session is not None:
            self.source.cancelled(link, session, m)
            self.offers.cancelled(link, session, m)
            self.target.cancelled(link, session, m)

    def cancel(self, session_id_):
        done = self.source.user_cancels(session_id_)
        if not (self.target.user_cancels(session_id_) or done):
            raise Refused("HO_TOKEN_BAD", None, "no handoff or request of the session is under way")

    # --- accounts

    def revoked(self, device):
        for session in list(self.sessions.values()):
            if session.head is None:
                continue
            self.source.revoked(session, device)
            self.offers.revoked(session, device)
            self.target.revoked(session, device)
            if session.owner() == device or session.head.body.grantor == device:
                self.dev.event("owner-revoked", session=session.id.hex(), owner=device.hex())

    def cut_tips(self, device):
        """The ends of a device's strands as they are held here, those of streams first."""
        both = [s.aside.cut_tips(device) for _, s in sorted(self.sessions.items()) if s.takes_part]
        return [t for streams, _ in both for t in streams] + [t for _, values in both for t in values]

    def cuts_changed(self):
        for session in self.sessions.values():
            session.aside.apply()

    def take_over_from(self, device):
        """ACCOUNT-REVOKE-4."""
        for session in self.sessions.values():
            b = session.head.body if session.head else None
            if b and session.takes_part and device in (b.owner, b.grantor) and session.is_member(self.dev.key) and session.proven:
                self.take_over(session)

    def taken_over_by(self, device):
        """The heads in a cut: of the sessions that the device took over."""
        return [
            Struct(session=s.id, record=s.head.id)
            for _, s in sorted(self.sessions.items())
            if s.head and any(r.body.kind == TAKEOVER and r.body.signer == device for r in s.chain.path())
        ]

    def link_over(self, link):
        self.source.link_over(link)
        self.target.link_over(link)


class Asked:
    """A HAVE that asked on this device's own account."""

    def __init__(self, sid):
        self.sid = sid

    def on_error(self, link, req, code, retry_ms):
        link.requests.pop(req, None)
