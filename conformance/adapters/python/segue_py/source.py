"""Chapter handoff, section 7.6: the source."""
from . import crypto, data, generations, reason, wire
from .chain import GRANT
from .registry import LIMIT, Refused, code_bytes, code_name
from .wire import ZERO32, Struct

PULL, ANSWER, STANDING = range(3)
DECLINE_CODES = ("HO_DECLINED", "HO_CANCELLED", "HO_TIMEOUT", "HO_SUPERSEDED", "DATA_HASH")


class Initiated:
    """A handoff that this device's user started, before the GRANT."""

    def __init__(self, number, to, deadline):
        self.number, self.to, self.deadline = number, to, deadline
        self.offer = self.offer_id = None
        self.sent_on = None  # the link on which it was offered, or hinted


class KeptWant:
    def __init__(self, signed, body, wid, link, req, expires):
        self.signed, self.body, self.id = signed, body, wid
        self.link, self.req, self.expires = link, req, expires
        self.allowed = False
        self.by_choice = False  # allowed as its target was chosen, for that handoff alone (HO-WANT-7)
        self.told = False
        self.pace = None  # the manifest that the target is to fetch, and until when writes wait for that
        self.outgrown = False


class Source:
    def __init__(self, dev, handoff):
        self.dev, self.handoff = dev, handoff
        self.initiated = {}  # session -> Initiated
        self.wants = {}  # session -> {target: KeptWant}

    def chosen(self, sid):
        started = self.initiated.get(sid)
        if started:
            return started.to
        session = self.handoff.sessions.get(sid)
        return session.grant.target if session and session.grant else None

    # --- the user

    def initiate(self, session, to, timeout_us):
        if not session.primary() or session.head.body.grantor != self.dev.key:
            raise Refused("HO_NOT_OWNER", None, "this device isn't the primary")
        if to == self.dev.key:
            raise Refused("HO_NOT_OWNER", None, "this device already owns the session")
        if self.dev.account.is_revoked(to):
            raise Refused("AUTH_REVOKED", "ACCOUNT-REVOKE-3", "the device is revoked")
        self.give_up(session, "HO_SUPERSEDED")
        started = Initiated(self.handoff.next_handoff(), to, self.dev.now + (timeout_us or LIMIT.HANDOFF_TIMEOUT))
        self.initiated[session.id] = started
        self.dev.set_timer(("initiated", session.id), started.deadline, lambda: self.give_up(session, "HO_TIMEOUT"))
        self._try(session)
        return started.number

    def user_cancels(self, sid):
        session = self.handoff.sessions.get(sid)
        if session is None or sid not in self.initiated:
            return False
        self.give_up(session, "HO_CANCELLED")
        return True

    def give_up(self, session, code, tell=True, said=None):
        """Ends what the user started, before the GRANT."""
        started = self.initiated.pop(session.id, None)
        if started is None:
            return
        self.dev.clear_timers(("initiated", session.id))
        link = self.dev.link_to(started.to)
        if tell and started.offer_id and link and link.generation >= generations.V1_7:
            link.send("CANCEL", session=session.id, subject=started.offer_id, code=code_bytes(code))
        self.resolve(session, started.number, started.to, {"error": code}, said)
        if code not in ("HO_CLOSED", "HO_FENCED", "AUTH_REVOKED"):
            self._unchoose(session, started.to)

    def _unchoose(self, session, target):
        """A handoff ended without a GRANT: a WANT of its target is as if it hadn't been chosen (HO-WANT-7)."""
        want = self.wants.get(session.id, {}).get(target)
        if want is None or not want.by_choice:
            return
        want.allowed = want.by_choice = False
        if want.body.mode == ANSWER:
            self._remove(session, want)
        elif want.body.mode == PULL:
            self._ask(session, want)

    def _ask(self, session, want):
        """A pull that nobody allowed yet: by policy it is allowed, refused, or put to the user. True if it is kept."""
        if self.dev.pulls not in ("allow", "ask"):
            self._remove(session, want)
            self.decline(session, want, "HO_DECLINED")
            return False
        want.allowed = self.dev.pulls == "allow"
        if not want.allowed:
            want.told = True
            by = want.body.target
            self.dev.event("request-handoff", token=want.id.hex(), session=session.id.hex(), by=by.hex())
        return True

    def resolve(self, session, number, peer, result, said=None):
        if number is not None:
            told = {"id": number, "session": session.id.hex(), "peer": peer.hex(), "result": result}
            self.dev.event("handoff-resolved", **told, **reason.told(said))

    def _try(self, session):
        """Goes on with a handoff on the link to its target."""
        started = self.initiated.get(session.id)
        if started is None:
            return
        link = self.dev.link_to(started.to)
        if link is None or started.sent_on is link:
            return
        want = self.wants.get(session.id, {}).get(started.to)
        recently = self.dev.now - link.heard_at <= LIMIT.HEARD
        if want and recently and self.try_grant(session, want, answer=False):
            return
        started.sent_on = link
        present = session.announce()
        self.handoff.send_head(link, session, link.peer_heads.get(session.id, ZERO32))
        if link.generation < generations.V1_7:
            self.dev.store.when_durable(lambda: link.ready and self.handoff.send_have(link, session, announced=present.struct()))
            return
        if started.offer is None:
            body = Struct(
                session=session.id, parent=session.head.id, source=self.dev.key, target=started.to,
                nonce=self.dev.random.draw(16), root=present.root, manifest=present.hash, manifest_len=len(present.raw),
                name=session.name, ttl=max(1, min((started.deadline - self.dev.now) // 1000, LIMIT.MAX_TTL // 1000)),
            )
            started.offer = wire.sign_object("Offer", body, self.dev.identity)
            started.offer_id = wire.object_id("Offer", started.offer.body)
        req = link.request(OfferRequest(self, session, started))
        offer = started.offer

        def send():
            if link.ready and self.initiated.get(session.id) is started:
                link.send("OFFER", req=req, offer=offer)

        self.dev.store.when_durable(send)

    # --- WANT

    def on_want(self, link, m):
        sid = None
        try:
            body = wire.decode("Want", m.want.body)
            sid = body.session
            wire.check_form("Want", body)
            wire.verify_signed("Want", m.want, body.target)
            self._want(link, m, body)
        except Refused as e:
            link.error(m.req, sid, e.code)
            session = self.handoff.known(sid, link.peer) if sid else None
            if session and e.code in ("HO_STALE_PARENT", "HO_NOT_OWNER"):
                self.handoff.send_head(link, session, body.parent)

    def _want(self, link, m, body):
        session = self.handoff.known(body.session, link.peer)
        if session is None:
            raise Refused("HO_UNKNOWN_SESSION", "HO-MEMBER-1")
        wid = wire.object_id("Want", m.want.body)
        grant = session.grant
        if grant and body.target == link.peer == grant.target and body.parent == bytes.fromhex(grant.under):
            self._send_grant(session, link, m.req if wid == grant.want else 0)
            return
        if body.target != link.peer:
            raise Refused("HO_TOKEN_WRONG_PEER", "HO-WANT-2")
        if grant and not grant.durable:
            self.dev.store.when_durable(lambda: link.ready and self.on_want(link, m))
            return
        if not session.primary() or session.head.body.grantor != self.dev.key:
            raise Refused("HO_NOT_OWNER", "HO-WANT-6")
        if body.parent != session.head.id:
            raise Refused("HO_STALE_PARENT", "HO-WANT-1")
        started = self.initiated.get(session.id)
        if body.mode == ANSWER:
            if started is None or body.offer != started.offer_id:
                raise Refused("HO_TOKEN_BAD", "HO-WANT-3")
            if started.to != link.peer:
                raise Refused("HO_TOKEN_WRONG_PEER", "HO-WANT-3")
        if body.mode == STANDING and link.generation < generations.V2:
            raise Refused("VER_NOT_PERMITTED", "GEN-USE-1")
        kept = self.wants.setdefault(session.id, {})
        old = kept.get(link.peer)
        chosen = started is not None and started.to == link.peer
        want = KeptWant(m.want, body, wid, link, m.req, self.dev.now + min(body.ttl * 1000 or LIMIT.MAX_TTL, LIMIT.MAX_TTL))
        want.allowed = old is not None and old.allowed and not old.by_choice
        want.allowed |= body.mode == PULL and self.dev.pulls == "allow"
        want.by_choice = chosen and not want.allowed
        want.allowed |= chosen
        if body.mode == PULL and not want.allowed and self.dev.pulls != "ask":
            if old:
                self._withdrawn(session, old, "HO_SUPERSEDED")
            self.decline(session, want, "HO_DECLINED")
            return
        if old is None and len(kept) >= LIMIT.MAX_WANTS:
            raise Refused("LIMIT_ROOM", "HO-WANT-8")
        kept[link.peer] = want
        self.dev.set_timer(("want", session.id, link.peer), want.expires, lambda: self._expired(session, want))
        if body.mode == STANDING and not chosen:
            want.outgrown = body.have is None or not self.suffices(session, body.have)
            if want.outgrown:
                self._tell_data(session, link)
            return
        if body.mode == PULL and not want.allowed:
            if old and old.told and old.id != want.id:
                self.dev.event("withdrawn", token=old.id.hex(), session=session.id.hex(), code="HO_SUPERSEDED")
            self._ask(session, want)
            return
        self.try_grant(session, want)

    def decline(self, session, want, code, said=None):
        """Refuses a pull: DECLINE, or an ERROR on a link of 1.4."""
        link = want.link
        if not link.ready:
            return
        if link.generation >= generations.V1_7:
            ext = reason.extensions(said)
            link.send("DECLINE", session=session.id, subject=want.id, code=code_bytes(code), ext=ext)
        else:
            link.error(want.req, session.id, code)

    def _remove(self, session, want):
        kept = self.wants.get(session.id, {})
        if kept.get(want.body.target) is want:
            del kept[want.body.target]
            self.dev.clear_timers(("want", session.id, want.body.target))

    def _withdrawn(self, session, want, code):
        self._remove(session, want)
        if want.told and not want.allowed:
            self.dev.event("withdrawn", token=want.id.hex(), session=session.id.hex(), code=code)

    def _expired(self, session, want):
        if want.body.mode != STANDING:
            self.decline(session, want, "HO_TIMEOUT")
        self._withdrawn(session, want, "HO_TIMEOUT")

    def waiting(self, token):
        for sid, kept in self.wants.items():
            for want in kept.values():
                if want.id == token and want.told and not want.allowed:
                    return self.handoff.sessions[sid], want
        return None, None

    def allow(self, session, want):
        want.allowed = True
        if not self.handoff.may_know(session, want.body.target):
            self._remove(session, want)
            if want.link.ready:
                want.link.error(want.req, session.id, "HO_UNKNOWN_SESSION")
            return
        self.try_grant(session, want)

    def reject(self, session, want, said=None):
        self._remove(session, want)
        self.decline(session, want, "HO_DECLINED", said)

    # --- GRANT

    def _tell_data(self, session, link):
        present = session.announce().struct()
        self.dev.store.when_durable(lambda: link.ready and self.handoff.send_have(link, session, announced=present))

    def inline(self, session, announced):
        """What goes inline behind a manifest: ops, whole parts, and the parts after them; None if it doesn't fit (HO-GRANT-4)."""
        ops, parts = self.inline_ops(session, announced)
        if ops is not None:
            return ops, [], parts
        whole = self.changed(session, announced)
        size = sum(len(part.encode()) for part in whole.values())
        if size > LIMIT.MAX_INLINE_BYTES or len(whole) > LIMIT.MAX_SYNC_PARTS:
            return None
        return [], [whole[p].encode() for p in sorted(whole)], announced.exclusive | whole

    def changed(self, session, announced):
        """The exclusive parts that aren't as a manifest has them."""
        now = {p: part for p, part in session.copy.parts.items() if part.kind == data.EXCLUSIVE}
        then = announced.exclusive
        return {p: part for p, part in now.items() if p not in then or then[p].root() != part.root()}

    def named(self, session, held):
        """The manifest that a WANT names: one that was announced, or the present one."""
        announced = session.announced.get(held.manifest)
        if announced is None:
            present = session.announce()
            announced = present if present.hash == held.manifest else None
        return announced if announced and announced.root == held.root else None

    def suffices(self, session, held):
        announced = self.named(session, held)
        return announced is not None and self.inline(session, announced) is not None

    def leaves_room(self, session, announced, part=None):
        """Whether what goes inline behind a manifest, with this part as it would be, fits a GRANT."""
        whole = self.changed(session, announced) | ({part.id: part} if part else {})
        return sum(len(p.encode()) for p in whole.values()) <= LIMIT.MAX_INLINE_BYTES and len(whole) <= LIMIT.MAX_SYNC_PARTS

    def pace(self, session, part):
        """HO-PACE-1: a write that would leave the last difference no room in the GRANT waits."""
        for target, want in self.wants.get(session.id, {}).items():
            announced, until = want.pace or (None, 0)
            if until > self.dev.now and self.dev.link_to(target) and not self.leaves_room(session, announced, part):
                raise Refused("HO_PENDING", "HO-PACE-1", "a handoff is about to complete and has no room for further writes")

    def written(self, session):
        """HO-WANT-9: a standing WANT that suffices no more is renewed."""
        for want in self.wants.get(session.id, {}).values():
            held = want.body.have
            if want.body.mode != STANDING or want.outgrown or held is None or not want.link.ready:
                continue
            announced = session.announced.get(held.manifest)
            if announced is None or not self.leaves_room(session, announced):
                want.outgrown = True
                self._tell_data(session, want.link)

    def inline_ops(self, session, announced):
        """The exclusive ops behind a manifest's tips, and the parts after them; None if they don't fit."""
        parts = {p: part.copy() for p, part in announced.exclusive.items()}
        ops = []
        for op in session.exclusive_log:
            part = parts.get(op.part)
            if part is None:
                return None, None
            if op.seq > part.tips.get(op.actor, (0,))[0]:
                try:
                    data.apply_inline(parts, set(parts), op)
                except Refused:
                    return None, None
                ops.append(op)
        root = data.root_of(session.id, [(p, parts[p].root()) for p in sorted(parts)])
        size = sum(len(wire.encode("Op", op)) for op in ops)
        if root != session.copy.exclusive_root() or len(ops) > LIMIT.MAX_INLINE_OPS or size > LIMIT.MAX_INLINE_BYTES:
            return None, None
        return ops, parts

    def try_grant(self, session, want, answer=True):
        """Grants if the WANT's data suffices; else tells of the present manifest, and the WANT stays."""
        if not session.primary() or want.body.parent != session.head.id or not self.handoff.may_know(session, want.body.target):
            return False
        held = want.body.have
        announced = self.named(session, held) if held else None
        inline = self.inline(session, announced) if announced else None
        if inline is None:
            if answer and want.link.ready:
                self._tell_data(session, want.link)
                if held and want.allowed:
                    want.pace = session.announce(), self.dev.now + LIMIT.MAX_PAUSE
            return False
        self._grant(session, want, announced, *inline)
        return True

    def _grant(self, session, want, announced, ops, whole, parts):
        under, target = session.head, want.body.target
        roots = announced.parts | {p: part.root() for p, part in parts.items()}
        final = Struct(
            session=session.id, parent=under.id, root=data.root_of(session.id, sorted(roots.items())),
            exclusive=session.copy.exclusive_root(), manifest=announced.hash, manifest_len=len(announced.raw),
        )
        started = self.initiated.get(session.id)
        if started and started.to != target:
            self.give_up(session, "HO_SUPERSEDED")
            started = None
        record = self.handoff.sign_record(session, GRANT, target, target, want.id)
        message = Struct(
            req=0, want=want.signed, record=record.signed, end=wire.sign_object("Final", final, self.dev.identity), ops=ops,
            parts=whole, ext=[],
        )
        session.grant = Struct(
            record=record.id, target=target, want=want.id, message=message, under=under.id.hex(), durable=False,
            handoff=None, pause=0,
        )
        if started:
            session.grant.handoff = started.number
            self.initiated.pop(session.id)
            self.dev.clear_timers(("initiated", session.id))
            self.dev.set_timer(("pending", session.id), started.deadline, lambda: self._pending(session, started))
        self._remove(session, want)
        losers = list(self.wants.pop(session.id, {}).values())
        session.touch()
        grant, link, req = session.grant, want.link, want.req
        for other in losers:
            self.dev.clear_timers(("want", session.id, other.body.target))
        self.handoff.head_changed(session, under)

        def durable():
            grant.durable = True
            if session.grant is not grant:
                return
            self.watch_grant(session)
            self._send_grant(session, link if link.ready else self.dev.link_to(target), req if link.ready else 0)
            for other in losers:
                if other.link.ready:
                    other.link.error(other.req, session.id, "HO_STALE_PARENT")
                    self.handoff.send_head(other.link, session, other.body.parent)

        self.dev.store.when_durable(durable)

    def _pending(self, session, started):
        if session.grant and session.grant.handoff == started.number:
            self.dev.event("handoff-pending", id=started.number, session=session.id.hex(), peer=started.to.hex())

    def watch_grant(self, session):
        session.grant.pause = LIMIT.RESEND_MIN
        self.dev.set_timer(("grant", session.id), self.dev.now + LIMIT.RESEND_MIN, lambda: self._resend(session))

    def _resend(self, session):
        grant = session.grant
        if grant is None:
            return
        self._send_grant(session, self.dev.link_to(grant.target), 0)
        grant.pause = min(grant.pause * 2, LIMIT.RESEND_MAX)
        self.dev.set_timer(("grant", session.id), self.dev.now + grant.pause, lambda: self._resend(session))

    def _send_grant(self, session, link, req):
        grant = session.grant
        if link is None or grant is None:
            return

        def send():
            if link.ready and session.grant is grant:
                fields = vars(grant.message) | {"req": req}
                del fields["ext"]
                link.send("GRANT", **fields)

        self.dev.store.when_durable(send)

    def acknowledged_by(self, session, ack):
        """HO-HEAD-3 (a)."""
        grant = session.grant
        if grant is None or ack.record != grant.record:
            return
        try:
            crypto.verify(grant.target, b"segue/1 sig head" + ack.record, ack.sig)
        except Refused:
            return
        self._acknowledged(session)

    def record_came(self, session, record):
        """HO-HEAD-3 (b)."""
        grant = session.grant
        if grant and record.body.parent == grant.record and record.body.signer == session.chain.get(grant.record).body.grantor:
            self._acknowledged(session)

    def _acknowledged(self, session):
        grant = session.grant
        self._forget_grant(session)
        self.resolve(session, grant.handoff, grant.target, {"record": grant.record.hex()})
        self.dev.store.when_durable(lambda: self.handoff.tell_members(session, but=self.dev.link_to(grant.target)))

    def _forget_grant(self, session):
        session.grant = None
        session.touch()
        self.dev.clear_timers(("grant", session.id))
        self.dev.clear_timers(("pending", session.id))

    # --- what happens meanwhile

    def fenced(self, session):
        grant = session.grant
        if not grant.durable:
            session.drop_record(session.chain.get(grant.record))
        self._forget_grant(session)
        self.resolve(session, grant.handoff, grant.target, {"error": "HO_FENCED"})

    def taken_back(self, session):
        """HO-GRANT-8: this device takes over what it gave away, and nobody acknowledged."""
        grant = session.grant
        if grant:
            self._forget_grant(session)
            self.resolve(session, grant.handoff, grant.target, {"error": "HO_FENCED"})

    def head_changed(self, session, fenced):
        if session.grant and session.head.id == session.grant.record:
            session.exclusive_log = []
            return
        session.exclusive_log = []
        if session.id in self.initiated:
            self.give_up(session, "HO_FENCED", tell=False)
        for want in list(self.wants.pop(session.id, {}).values()):
            self.dev.clear_timers(("want", session.id, want.body.target))
            if want.told and not want.allowed:
                self.dev.event("withdrawn", token=want.id.hex(), session=session.id.hex(), code="HO_STALE_PARENT")
            if want.link.ready and self.handoff.may_know(session, want.link.peer):
                want.link.error(want.req, session.id, "HO_STALE_PARENT")
                self.handoff.send_head(want.link, session, want.body.parent)

    def revoked(self, session, device):
        started = self.initiated.get(session.id)
        if started and started.to == device:
            self.give_up(session, "AUTH_REVOKED", tell=False)
        want = self.wants.get(session.id, {}).get(device)
        if want:
            self._withdrawn(session, want, "AUTH_REVOKED")

    def link_ready(self, link):
        for session in list(self.handoff.sessions.values()):
            if session.grant and session.grant.target == link.peer and session.grant.durable:
                self._send_grant(session, link, 0)
            self._try(session)

    def link_over(self, link):
        for started in self.initiated.values():
            if started.sent_on is link:
                started.sent_on = None

    def declined(self, link, m):
        started = self.initiated.get(m.session)
        if started and started.offer_id == m.subject and started.to == link.peer:
            code = code_name(m.code)
            code = code if code in DECLINE_CODES else "HO_DECLINED"
            self.give_up(self.handoff.sessions[m.session], code, tell=False, said=reason.read(m))

    def cancelled(self, link, session, m):
        want = self.wants.get(session.id, {}).get(link.peer)
        if want and want.id == m.subject:
            self._withdrawn(session, want, code_name(m.code))
        if session.grant is None and session.primary():
            link.send("DECLINE", session=session.id, subject=m.subject, code=code_bytes("HO_CANCELLED"))


class OfferRequest:
    def __init__(self, source, session, started):
        self.source, self.session, self.started = source, session, started

    def on_error(self, link, req, code, retry_ms):
        link.requests.pop(req, None)
        if self.source.initiated.get(self.session.id) is self.started:
            self.source.give_up(self.session, code, tell=False)
