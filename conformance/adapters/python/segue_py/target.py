"""Chapter handoff, section 7.7: the target."""
from . import data, generations, reason, wire
from .registry import LIMIT, Refused, code_bytes, code_name
from .source import ANSWER, DECLINE_CODES, PULL, STANDING
from .wire import Struct


class Seek:
    """A wish to own a session: a pull, an accepted OFFER, or a standing consent."""

    def __init__(self, number, sid, source, mode, expires):
        self.number, self.sid, self.source, self.mode, self.expires = number, sid, source, mode, expires
        self.offer_id = None
        self.manifest = None  # Announced, as a structure, that is fetched or held
        self.gone = None  # hash of a manifest that the source announced and couldn't give (TRANSFER-NEWER-1)
        self.fetch = None
        self.held = None  # hash of the manifest that is held, durably
        self.wants = {}  # id -> parent of the WANTs that are out, in the order in which they left
        self.parent = None  # the head under which it seeks
        self.sent_on = None  # the link on which a WANT is out
        self.ended = None  # why it is over, once it is but for what its WANTs may still bring (HO-TIME-3)
        self.waiting_sync = False

    def on_error(self, link, req, code, retry_ms):
        """An ERROR that answers the HAVE of this wish."""
        link.requests.pop(req, None)
        link.dev.handoff.target.fail(self, code)


class Followed:
    def __init__(self, sid):
        self.sid = sid

    def on_error(self, link, req, code, retry_ms):
        link.requests.pop(req, None)


class WantRequest:
    def __init__(self, seek, wid):
        self.seek, self.wid = seek, wid

    def on_error(self, link, req, code, retry_ms):
        link.requests.pop(req, None)
        link.dev.handoff.target.want_refused(link, self.seek, self.wid, code)


class Target:
    def __init__(self, dev, handoff):
        self.dev, self.handoff = dev, handoff
        self.seeks = {}  # session -> Seek
        self.lapsed = {}  # session -> the Seeks that are over but for what their WANTs may still bring (HO-TIME-3)
        self.followed = {}  # unknown session -> the device that is asked for it
        self.staged = {}  # session -> {hash of manifest: head}, of those that WANTs named

    def seeks_session(self, sid):
        return sid in self.seeks or sid in self.followed

    # --- the user

    def request(self, sid, source, timeout_us):
        session = self.handoff.sessions.get(sid)
        if session and session.primary():
            raise Refused("HO_NOT_OWNER", None, "this device already owns the session")
        if session and session.closed():
            raise Refused("HO_CLOSED", None, "the session is closed")
        runs = self.seeks.get(sid)
        offer = runs.offer_id if runs and runs.source == source else None
        if offer:
            runs.offer_id = None  # the wish that takes its place answers it
        self._supersede(sid)
        seek = Seek(self.handoff.next_handoff(), sid, source, PULL, self.dev.now + (timeout_us or LIMIT.HANDOFF_TIMEOUT))
        seek.offer_id = offer
        self._start(seek)
        return seek.number

    def consent(self, sid, source, ttl_us):
        session = self.handoff.sessions.get(sid)
        if session and session.primary():
            raise Refused("HO_NOT_OWNER", None, "this device already owns the session")
        self._supersede(sid)
        self._start(Seek(None, sid, source, STANDING, self.dev.now + min(ttl_us or LIMIT.MAX_TTL, LIMIT.MAX_TTL)))

    def follow(self, sid, source):
        """Takes part in a session without asking to own it."""
        session = self.handoff.sessions.get(sid)
        if session and session.head:
            session.take_part_in()
            return
        self.followed[sid] = source
        link = self.dev.link_to(source)
        if link:
            self.handoff.ask_head(link, sid, Followed(sid))

    def answer(self, sid, source, oid, offer):
        """The user accepted an OFFER."""
        self._supersede(sid)
        seek = Seek(self.handoff.next_handoff(), sid, source, ANSWER, self.dev.now + LIMIT.HANDOFF_TIMEOUT)
        self.take_offer(seek, oid, offer)
        self._start(seek)
        return seek.number

    def sought(self, link, session, oid, offer):
        """Whether an OFFER is one of what this device seeks from its source already, and so accepted (HO-OFFER-6)."""
        seek = self.seeks.get(session.id)
        if seek is None or seek.source != link.peer:
            return False
        if seek.offer_id != oid and not (seek.sent_on is link and seek.wants):
            self.take_offer(seek, oid, offer)
            self._fetch(seek, session)
        return True

    def won(self, sid, record):
        """A GRANT made this device the primary: the wish is over, and is resolved once that is durable."""
        seek = self.seeks.pop(sid, None)
        self.dev.clear_timers(("seek", sid))
        if seek and seek.fetch:
            seek.fetch.stop()
        for wish in self.lapsed.pop(sid, []) + ([seek] if seek else []):
            self.dev.store.when_durable(lambda wish=wish: self._resolve(wish, {"record": record.hex()}))

    def user_cancels(self, sid):
        seek = self.seeks.get(sid)
        if seek is None:
            return False
        self.fail(seek, "HO_CANCELLED")
        return True

    def _supersede(self, sid):
        seek = self.seeks.get(sid)
        if seek:
            self.fail(seek, "HO_SUPERSEDED")

    def _start(self, seek):
        self.seeks[seek.sid] = seek
        session = self.handoff.sessions.get(seek.sid)
        if session and session.head:
            session.take_part_in()
            seek.parent = session.head.id
        self.dev.set_timer(("seek", seek.sid), seek.expires, lambda: self.fail(seek, "HO_TIMEOUT"))
        self._go(seek)

    # --- how a wish goes on

    def _go(self, seek):
        """On the link to the source: asks, fetches, or sends the WANT."""
        link = self.dev.link_to(seek.source)
        if link is None:
            return
        session = self.handoff.sessions.get(seek.sid)
        if seek.mode == STANDING and link.generation < generations.V2:
            return
        if (seek.mode == ANSWER or seek.offer_id) and seek.manifest:
            self._fetch(seek, session)
        else:
            self.handoff.ask_head(link, seek.sid, seek)

    def announced(self, link, session, m):
        """A HAVE with data."""
        seek = self.seeks.get(session.id)
        if m.head != session.head.id or session.owner() != link.peer:
            return
        if seek is None or seek.source != link.peer:
            if not session.primary():
                self.dev.event("available", session=session.id.hex(), from_=link.peer.hex())
            return
        if not 1 <= m.data.manifest_len <= LIMIT.MAX_MANIFEST:
            self.fail(seek, "LIMIT_MANIFEST")
            return
        if m.data.manifest == seek.gone:
            self.fail(seek, "DATA_UNAVAILABLE")
            return
        seek.parent = session.head.id
        self._seek_manifest(seek, m.data)
        self._fetch(seek, session)

    def not_owner(self, link, session, m):
        """A HAVE without data: a pull from a device that doesn't own by the same head is over (7.7)."""
        seek = self.seeks.get(session.id)
        if seek is None or seek.mode != PULL or seek.source != link.peer:
            return
        granted = session.head.body.want in seek.wants
        if m.head == session.head.id and session.owner() != link.peer and not granted:
            seek.wants = {}  # who doesn't own grants nothing
            self.fail(seek, "HO_NOT_OWNER", told=True)

    def _seek_manifest(self, seek, announced):
        if seek.manifest is None or seek.manifest.manifest != announced.manifest:
            if seek.fetch:
                seek.fetch.stop()
                seek.fetch = None
            seek.held = None
        seek.manifest = announced
        seek.sent_on = None

    def _fetch(self, seek, session):
        if seek.held:
            self._send_want(seek)
            return
        if seek.fetch or seek.manifest is None:
            return
        m = seek.manifest

        def manifest_there():
            manifest = data.check_manifest(seek.sid, self.dev.blobs.get(m.manifest), m.root)
            entries = list(data.manifest_entries(manifest))
            for e in entries:
                held = self.dev.blobs.get(e.blob)
                if held is not None and e.len != len(held):
                    raise Refused("DATA_MANIFEST", "DATA-MANIFEST-4")
            seek.fetch.want_entries(entries)
            if seek.fetch.total_bytes:
                self.dev.event("progress", session=seek.sid.hex(), done=seek.fetch.done_bytes, total=seek.fetch.total_bytes)

        seek.fetch = self.dev.transfer.fetch(
            seek.sid, seek.source, lambda: self._fetched(seek), lambda code: self._fetch_failed(seek, code)
        )
        try:
            seek.fetch.want(m.manifest, m.manifest_len, meta=True, then=manifest_there)
        except Refused as e:
            seek.fetch.fail(e.code)

    def _fetch_failed(self, seek, code):
        gone, seek.fetch = seek.fetch and seek.fetch.gone, None
        if self.seeks.get(seek.sid) is seek:
            link = self.dev.link_to(seek.source)
            if gone and link:
                # The source may have gone on since it announced that.
                seek.gone, seek.manifest = seek.manifest.manifest, None
                self.handoff.ask_head(link, seek.sid, seek)
                return
            self.fail(seek, code)

    def _fetched(self, seek):
        """All blobs are there: their data is taken in, and once that is durable the WANT may name the manifest."""
        seek.fetch = None
        session = self.handoff.sessions.get(seek.sid)
        if session is None or self.seeks.get(seek.sid) is not seek:
            return
        manifest = data.check_manifest(seek.sid, self.dev.blobs.get(seek.manifest.manifest), seek.manifest.root)
        try:
            self._take_manifest(session, manifest)
        except Refused as e:
            self._fetch_failed(seek, e.code)
            return
        if not self.streams_held(session, manifest):
            seek.waiting_sync = True
            return
        self._durable_soon(seek, session, manifest)

    def _durable_soon(self, seek, session, manifest):
        seek.waiting_sync = False
        name = manifest.name
        if name and session.name != name:
            session.name = name
            session.touch()
        self.dev.store.after_chunks()
        wanted = seek.manifest

        def durable():
            if self.seeks.get(seek.sid) is seek and seek.manifest is wanted:
                seek.held = wanted.manifest
                self.dev.event("data", session=seek.sid.hex(), root=wanted.root.hex())
                self._send_want(seek)

        self.dev.store.when_durable(durable)

    def _take_manifest(self, session, manifest):
        for part in manifest.parts:
            session.copy.check_kind(part.part, part.kind)
            if part.kind in data.STREAMS or not part.strands:
                continue
            self.dev.sync.take_struct(session, part, None)

    def streams_held(self, session, manifest):
        for part in manifest.parts:
            if part.kind in data.STREAMS:
                held = session.copy.parts.get(part.part)
                for tip in part.strands:
                    if held is None or held.hash_at(tip.actor, tip.seq) != tip.hash:
                        return False
        return True

    def data_changed(self, session):
        seek = self.seeks.get(session.id)
        if seek and seek.waiting_sync:
            manifest = data.check_manifest(seek.sid, self.dev.blobs.get(seek.manifest.manifest), seek.manifest.root)
            if self.streams_held(session, manifest):
                self._durable_soon(seek, session, manifest)

    def _send_want(self, seek):
        link = self.dev.link_to(seek.source)
        session = self.handoff.sessions.get(seek.sid)
        if link is None or seek.sent_on is link or not seek.held:
            return
        staged = self.staged.setdefault(seek.sid, {})
        if seek.held not in staged and len(staged) >= LIMIT.MAX_STAGED:
            del staged[next(iter(staged))]
        mode = ANSWER if seek.offer_id else seek.mode
        if mode == STANDING and link.generation < generations.V2:
            return
        seek.sent_on = link
        body = Struct(
            session=seek.sid, parent=session.head.id, target=self.dev.key, actor=session.actor, nonce=self.dev.random.draw(16),
            mode=mode, offer=seek.offer_id, have=Struct(root=seek.manifest.root, manifest=seek.held), need=[], pick=[],
            ttl=max(1, (seek.expires - self.dev.now) // 1000),
        )
        want = wire.sign_object("Want", body, self.dev.identity)
        wid = wire.object_id("Want", want.body)
        staged[seek.held] = session.head.id
        req = link.request(WantRequest(seek, wid))

        def send():
            if link.ready and self.seeks.get(seek.sid) is seek and body.parent == session.head.id:
                seek.wants[wid] = body.parent
                link.send("WANT", req=req, want=want)

        self.dev.store.when_durable(send)

    def want_refused(self, link, seek, wid, code):
        parent = seek.wants.get(wid)
        newest = self._void(seek.sid, seek.source, wid, before=link.generation < generations.V1_7)
        if parent is None or self.seeks.get(seek.sid) is not seek:
            return
        session = self.handoff.sessions.get(seek.sid)
        if code != "HO_STALE_PARENT":
            if newest:
                self.fail(seek, code)
        elif session.head.id != parent:
            self._new_head(seek, session)

    # --- the end of a wish

    def fail(self, seek, code, told=False, said=None):
        """A wish ends: at once, unless a GRANT may be on its way (HO-TIME-3). The source knows already if it was told."""
        if self.seeks.get(seek.sid) is not seek:
            return
        del self.seeks[seek.sid]
        self.dev.clear_timers(("seek", seek.sid))
        if seek.fetch:
            seek.fetch.stop()
        link = self.dev.link_to(seek.source)
        if link and seek.offer_id and not told:
            self.decline(link, seek.sid, seek.offer_id, code if code in DECLINE_CODES else "HO_CANCELLED")
        if not seek.wants:
            self._resolve(seek, {"error": code}, said)
            return
        seek.ended = code
        self.lapsed.setdefault(seek.sid, []).append(seek)
        if seek.number is not None:
            self.dev.event("handoff-pending", id=seek.number, session=seek.sid.hex(), peer=seek.source.hex())
        self._withdraw(seek)

    def _void(self, sid, source, wid, before):
        """A WANT is void, with those before it if the source took it in their place. Returns whether it was the newest of the
        wish that runs."""
        runs = self.seeks.get(sid)
        wishes = [s for s in self.lapsed.get(sid, []) + ([runs] if runs else []) if s.source == source]
        out = [(wish, w) for wish in wishes for w in wish.wants]
        at = next((i for i, (_, w) in enumerate(out) if w == wid), None)
        if at is None:
            return False
        newest = out[at][0] is runs and wid == list(runs.wants)[-1]
        for wish, w in out[0 if before else at : at + 1]:
            del wish.wants[w]
        self._end_void(sid)
        return newest

    def _end_void(self, sid):
        wishes = self.lapsed.pop(sid, [])
        for wish in wishes:
            if wish.wants:
                self.lapsed.setdefault(sid, []).append(wish)
            else:
                self._resolve(wish, {"error": wish.ended})

    def _resolve(self, seek, result, said=None):
        if seek.number is not None:
            told = {"id": seek.number, "session": seek.sid.hex(), "peer": seek.source.hex(), "result": result}
            self.dev.event("handoff-resolved", **told, **reason.told(said))

    def _withdraw(self, seek):
        """Tells the source that the WANTs of a wish are void (7.8)."""
        link = self.dev.link_to(seek.source)
        if link is None or link.generation < generations.V1_7:
            return
        code = seek.ended if seek.ended in DECLINE_CODES else "HO_CANCELLED"
        for wid in seek.wants:
            link.send("CANCEL", session=seek.sid, subject=wid, code=code_bytes(code))

    def decline(self, link, sid, subject, code, said=None):
        if link.generation >= generations.V1_7:
            ext = reason.extensions(said)
            link.send("DECLINE", session=sid, subject=subject, code=code_bytes(code), ext=ext)

    def take_offer(self, seek, oid, body):
        seek.offer_id = oid
        seek.parent = body.parent
        self._seek_manifest(seek, Struct(root=body.root, manifest=body.manifest, manifest_len=body.manifest_len))

    def cancelled(self, link, session, m):
        seek = self.seeks.get(session.id)
        if seek and seek.offer_id == m.subject and seek.source == link.peer:
            self.fail(seek, "HO_CANCELLED", told=True)

    def declined(self, link, m):
        newest = self._void(m.session, link.peer, m.subject, before=True)
        if newest:
            code = code_name(m.code)
            code = code if code in DECLINE_CODES else "HO_DECLINED"
            self.fail(self.seeks[m.session], code, told=True, said=reason.read(m))

    # --- what happens meanwhile

    def link_ready(self, link):
        for sid, source in self.followed.items():
            if source == link.peer:
                self.handoff.ask_head(link, sid, Followed(sid))
        for wish in [wish for wishes in self.lapsed.values() for wish in wishes]:
            if wish.source == link.peer:
                self._withdraw(wish)
        for seek in list(self.seeks.values()):
            if seek.source == link.peer:
                self._go(seek)

    def link_over(self, link):
        for seek in self.seeks.values():
            if seek.sent_on is link:
                seek.sent_on = None

    def head_came(self, link, session):
        """A HEAD came: a session that was unknown may be known now."""
        if self.followed.pop(session.id, None):
            session.take_part_in()
        seek = self.seeks.get(session.id)
        if seek and seek.parent is None:
            seek.parent = session.head.id
            session.take_part_in()

    def head_changed(self, session):
        self.staged.pop(session.id, None)
        for wish in self.lapsed.get(session.id, []):
            if session.head.body.want not in wish.wants:
                wish.wants = {}
        self._end_void(session.id)
        seek = self.seeks.get(session.id)
        if seek and seek.parent is not None and seek.parent != session.head.id:
            self._new_head(seek, session)

    def _new_head(self, seek, session):
        if session.head.body.want in seek.wants:
            return  # the GRANT that answers is under way
        seek.wants = {}
        if seek.mode == PULL and not seek.offer_id and session.owner() == seek.source:
            seek.parent, seek.sent_on = session.head.id, None
            self._go(seek)
        else:
            self.fail(seek, "HO_STALE_PARENT", told=True)

    def revoked(self, session, device):
        seek = self.seeks.get(session.id)
        if seek and seek.source == device:
            seek.wants = {}
            self.fail(seek, "AUTH_REVOKED", told=True)
