"""Chapter handoff, section 7.7: an OFFER arrives, and its user answers."""
from . import wire
from .registry import LIMIT, Refused, code_name


class Invited:
    """An OFFER that its user hasn't answered."""

    def __init__(self, oid, body, peer, expires):
        self.id, self.body, self.peer, self.expires = oid, body, peer, expires


class Offers:
    def __init__(self, dev, handoff):
        self.dev, self.handoff = dev, handoff
        self.invited = {}  # session -> Invited
        self.times = {}  # peer -> when it offered, within the last minute

    def on_offer(self, link, m):
        sid = None
        body = None
        try:
            body = wire.decode("Offer", m.offer.body)
            sid = body.session
        except Refused:
            pass
        try:
            self._offer(link, m, body)
        except Refused as e:
            link.error(m.req, sid, e.code)
            session = self.handoff.known(sid, link.peer) if sid else None
            if session and e.code == "HO_STALE_PARENT":
                self.handoff.send_head(link, session, body.parent)

    def _offer(self, link, m, body):
        times = [t for t in self.times.get(link.peer, []) if t > self.dev.now - LIMIT.OFFER_WINDOW]
        self.times[link.peer] = times
        if len(times) >= LIMIT.MAX_OFFERS:
            raise Refused("LIMIT_OFFERS", "HO-OFFER-4")
        times.append(self.dev.now)
        body = wire.decode("Offer", m.offer.body)
        wire.verify_signed("Offer", m.offer, body.source)
        wire.check_form("Offer", body)
        session = self.handoff.known(body.session, link.peer)
        if session is None:
            raise Refused("HO_UNKNOWN_SESSION")
        if body.target != self.dev.key:
            raise Refused("HO_TOKEN_WRONG_PEER", "HO-OFFER-2")
        if body.source != link.peer:
            raise Refused("HO_NOT_OWNER", "HO-OFFER-1")
        if body.parent != session.head.id:
            raise Refused("HO_STALE_PARENT", "HO-WANT-1")
        if session.owner() != link.peer:
            raise Refused("HO_NOT_OWNER", "HO-OFFER-1")
        if not 1 <= body.manifest_len <= LIMIT.MAX_MANIFEST:
            raise Refused("LIMIT_MANIFEST", "DATA-MANIFEST-5")
        oid = wire.object_id("Offer", m.offer.body)
        if self.handoff.target.sought(link, session, oid, body):
            return
        old = self.invited.get(session.id)
        if old and old.id == oid:
            return
        if old:
            self._drop(old)
            self.dev.event("withdrawn", token=old.id.hex(), session=session.id.hex(), code="HO_SUPERSEDED")
        expires = self.dev.now + min(body.ttl * 1000 or LIMIT.MAX_TTL, LIMIT.MAX_TTL)
        invited = self.invited[session.id] = Invited(oid, body, link.peer, expires)
        self.dev.set_timer(("invited", session.id), expires, lambda: self._void(invited, "HO_TIMEOUT"))
        if body.name and not session.name:
            session.name = body.name
            session.touch()
        self.dev.event(
            "handoff-request", token=oid.hex(), session=session.id.hex(), from_=link.peer.hex(), name=body.name
        )

    # --- the user

    def find(self, token):
        return next((i for i in self.invited.values() if i.id == token), None)

    def accept(self, invited):
        self._drop(invited)
        return self.handoff.target.answer(invited.body.session, invited.peer, invited.id, invited.body)

    def reject(self, invited, said=None):
        self._drop(invited)
        link = self.dev.link_to(invited.peer)
        if link:
            self.handoff.target.decline(link, invited.body.session, invited.id, "HO_DECLINED", said)

    # --- what happens meanwhile

    def _drop(self, invited):
        self.invited.pop(invited.body.session, None)
        self.dev.clear_timers(("invited", invited.body.session))

    def _void(self, invited, code):
        self._drop(invited)
        self.dev.event("withdrawn", token=invited.id.hex(), session=invited.body.session.hex(), code=code)

    def cancelled(self, link, session, m):
        invited = self.invited.get(session.id)
        if invited and invited.id == m.subject and invited.peer == link.peer:
            self._void(invited, code_name(m.code))

    def head_changed(self, session):
        invited = self.invited.get(session.id)
        if invited and invited.body.parent != session.head.id:
            self._void(invited, "HO_STALE_PARENT")

    def revoked(self, session, device):
        invited = self.invited.get(session.id)
        if invited and invited.peer == device:
            self._void(invited, "AUTH_REVOKED")
