"""Chapter handoff, section 7.7: a GRANT arrives."""
from . import data, wire
from .registry import Refused


class Receiver:
    """Judges a GRANT by what it holds, in whatever state the target is."""

    def __init__(self, dev, handoff):
        self.dev, self.handoff = dev, handoff

    def on_grant(self, link, m):
        sid = None
        try:
            sid = wire.decode("Record", m.record.body).session
        except Refused:
            pass
        try:
            self._grant(link, m)
        except Refused as e:
            link.error(m.req, sid, e.code)

    def _grant(self, link, m):
        body = wire.open_body("Record", m.record)
        session = self.handoff.known(body.session, link.peer)
        if session is None:
            raise Refused("HO_UNKNOWN_SESSION")
        want = wire.open_body("Want", m.want)
        wire.verify_signed("Want", m.want, want.target)
        wire.verify_signed("Record", m.record, body.signer)
        parent = session.chain.get(body.parent)
        if parent is None:
            raise Refused("HO_CHAIN", "HO-CHAIN-1")
        final = wire.decode("Final", m.end.body)
        try:
            wire.verify_signed("Final", m.end, parent.body.owner)
        except Refused:
            raise Refused("HO_FINAL", "HO-GRANT-6") from None
        rid = wire.object_id("Record", m.record.body)
        known = session.chain.get(rid)
        if rid in session.activated or known is not None and session.head is not known:
            self.handoff.send_head(link, session, body.parent)
            return
        wid = wire.object_id("Want", m.want.body)
        if not (
            want.target == self.dev.key and want.actor == session.actor and want.parent == body.parent
            and body.owner == self.dev.key and body.want == wid
        ):
            raise Refused("HO_NO_CONSENT", "HO-GRANT-5")
        if known is None:
            session.chain.check(body)
        if final.parent != body.parent or final.session != body.session:
            raise Refused("HO_FINAL", "HO-GRANT-6")
        parts = self._check_data(session, m, want, final)
        self._activate(link, session, m, body, rid, parts, final)

    def _check_data(self, session, m, want, final):
        """HO-GRANT-7 and the inline ops: the exclusive parts after them."""
        raw = self.dev.blobs.get(final.manifest)
        own = session.announce() if raw is None else None
        if own is not None and own.hash == final.manifest:
            raw = own.raw
        held = raw is not None and self._complete(session, raw, final)
        if not held:
            raise Refused("DATA_INCOMPLETE", "HO-GRANT-7")
        manifest = data.check_manifest(session.id, raw)
        parts = {p.part: data.part_of(session.id, p) for p in manifest.parts}
        listed = set(parts)
        data.apply_whole(session.id, parts, m.parts, m.ops)
        for op in m.ops:
            part = parts.get(op.part)
            if part and part.kind == data.EXCLUSIVE and 0 < op.seq <= part.tips.get(op.actor, (0,))[0]:
                continue
            data.apply_inline(parts, listed, op)
        roots = [(p, parts[p].root()) for p in sorted(parts)]
        exclusive = [(p, r) for p, r in roots if parts[p].kind == data.EXCLUSIVE]
        if data.root_of(session.id, roots) != final.root or data.root_of(session.id, exclusive) != final.exclusive:
            raise Refused("DATA_ROOT", "DATA-ROOT-1")
        return {p: part for p, part in parts.items() if part.kind == data.EXCLUSIVE}

    def _complete(self, session, raw, final):
        try:
            manifest = data.check_manifest(session.id, raw)
        except Refused:
            return False
        files = all(e.len == 0 or e.mode >= data.DIRECTORY or self.dev.blobs.get(e.blob) is not None for e in data.manifest_entries(manifest))
        return files and self.handoff.target.streams_held(session, manifest)

    def _activate(self, link, session, m, body, rid, parts, final):
        old = session.head
        record = session.chain.get(rid) or session.chain.add(m.record, body)
        session.keep_record(record)
        session.take_part_in()
        session.activated[rid] = session.actor
        session.proven = True
        for pid, part in parts.items():
            held = session.copy.parts.get(pid)
            if held is None or held.root() != part.root():
                session.keep_part(part)
        for pid in [p for p, part in session.copy.parts.items() if part.kind == data.EXCLUSIVE and p not in parts]:
            session.drop_part(pid)
        session.touch()
        self.handoff.target.won(session.id, rid)
        link.requests.pop(m.req, None)
        if session.head is record:
            if old is not record:
                self.handoff.head_changed(session, old)
            self.dev.event("activated", session=session.id.hex(), record=rid.hex())
        self.handoff.send_head(link, session, body.parent)
        self.dev.store.when_durable(lambda: self.handoff.tell_members(session, but=link))
