"""A device: what the chapters' modules share, and what goes in and out of it."""
from . import account, blobs, handoff, host, mailbox, sync, transfer
from .crypto import Identity, Random
from .link import INITIATOR, READY, RESPONDER, Link
from .registry import GENERATION_NAMES, GENERATIONS, Refused
from .store import Store


class Out:
    def __init__(self):
        self.fields = {"control": [], "bulk": [], "closes": [], "chunks": [], "batches": [], "events": []}
        self.stops = []  # (link, stream, code): bulk streams that can't be used; tier A has no word for them

    def control(self, link, raw):
        self.fields["control"].append([link, raw.hex()])

    def bulk(self, link, stream, raw, fin):
        self.fields["bulk"].append({"link": link, "stream": stream, "bytes": raw.hex(), "fin": fin})

    def stop(self, link, stream, code):
        self.stops.append((link, stream, code))

    def close(self, link, code):
        self.fields["closes"].append([link, code])

    def chunk(self, blob, offset, raw):
        self.fields["chunks"].append({"blob": blob.hex(), "offset": offset, "bytes": raw.hex()})


class Device:
    def __init__(self, now, start, restored):
        setup, disk = start["setup"], start.get("disk", {})
        self.now = now
        self.out = Out()
        self.identity = Identity(bytes.fromhex(setup["identity"]))
        self.key = self.identity.key
        self.generation = GENERATIONS[setup["generation"]]
        self.pulls = setup.get("pulls", "deny")
        self.accept_unknown = setup.get("accept_unknown", False)
        self.follow = setup.get("follow", False)
        self.trusted = {bytes.fromhex(d) for d in setup.get("trusted", [])}
        self.wall_offset_ms = setup.get("wall_offset_ms", 0)
        self.random = Random(bytes.fromhex(start["entropy"]))
        self.boot = self.random.draw(16)
        self.halted = False
        self.closing_code = None
        self.links = {}
        self.timers = {}
        entries = [(bytes.fromhex(k), bytes.fromhex(v)) for k, v in disk.get("entries", [])]
        self.store = Store(entries, disk.get("last", 0))
        self.floor = max(GENERATIONS[setup.get("floor", "1.4")], int.from_bytes(self.store.entries.get(b"floor", b"\1"), "big"))
        self.store.put(b"floor", bytes([self.floor]))
        self.blobs = blobs.Blobs(self, disk.get("blobs", []))
        self.account = account.Account(self)
        self.sync = sync.Sync(self)
        self.transfer = transfer.Transfer(self)
        self.handoff = handoff.Handoff(self)
        self.mailbox = mailbox.Mailbox(self)
        self.host = host.Host(self)
        if start.get("continuity", "proven") != "proven" and restored:
            self.store.put(b"unproven", b"\1")
            self.handoff.continuity_lost()
        self.handlers = {}
        for module in (self.account, self.handoff, self.sync, self.transfer, self.mailbox, self.host):
            self.handlers |= module.handlers
        self.account.started()

    # --- the world outside

    @property
    def sessions(self):
        return self.handoff.sessions

    def wall_ms(self):
        return max(0, self.now // 1000 + self.wall_offset_ms)

    def step(self, now, action):
        """Runs what is due and then the action; everything that the device has to say because of it."""
        self.out = Out()
        self.now = max(now, self.now)
        result = None
        if self.halted:
            raise Refused("STORE_IO", "HO-STORE-3", "the store failed")
        self._run_timers()
        try:
            result = action()
        finally:
            self._settle()
        return result

    def finish_start(self):
        self._settle()

    def result(self):
        out = {k: v for k, v in self.out.fields.items() if v}
        if self.timers and not self.halted:
            out["timeout"] = min(at for at, _ in self.timers.values())
        return out

    def _settle(self):
        """Lets all modules go on as far as they can, and writes the batch."""
        while not self.halted:
            self.sync.pump()
            self.transfer.pump()
            self.mailbox.pump()
            self.handoff.save_changed()
            batch = self.store.flush()
            if batch:
                self.out.fields["batches"].append(batch)
            ready = self.store.ready()
            for function in ready:
                function()
            if not ready and not batch:
                break

    def input(self, i):
        kind = i["type"]
        if kind == "link-up":
            role = INITIATOR if i["role"] == "initiator" else RESPONDER
            expect = bytes.fromhex(i["expect"]) if i.get("expect") else None
            self.links[i["link"]] = Link(self, i["link"], role, bytes.fromhex(i["binding"]), expect)
        elif kind == "durable":
            self.store.durable = max(self.store.durable, i["lsn"])
        elif kind == "store-failed":
            self.halted = True
            self.event("halted")
        elif kind != "time":
            link = self.links.get(i["link"])
            if link is None:
                return
            if kind == "bytes":
                link.receive(bytes.fromhex(i["bytes"]))
            elif kind == "link-down":
                link.down()
                del self.links[i["link"]]
            elif kind == "bulk" and link.ready:
                self.transfer.bulk(link, i["stream"], bytes.fromhex(i.get("bytes", "")), i.get("fin", False))
            elif kind == "bulk-reset" and link.ready:
                self.transfer.bulk_reset(link, i["stream"])

    # --- timers

    def set_timer(self, key, at, fn):
        self.timers[key] = (at, fn)

    def clear_timers(self, prefix):
        for key in [k for k in self.timers if k[: len(prefix)] == prefix]:
            del self.timers[key]

    def _run_timers(self):
        while True:
            due = [(at, key) for key, (at, _) in self.timers.items() if at <= self.now]
            if not due:
                return
            key = min(due, key=lambda d: d[0])[1]
            fn = self.timers.pop(key)[1]
            fn()

    # --- what modules share

    def event(self, kind, /, **fields):
        self.out.fields["events"].append({"type": kind, **fields})

    def violation(self, peer, session, e):
        fields = {"code": e.code}
        if e.clause:
            fields["clause"] = e.clause
        concerned = {"session": session.hex()} if session else {}
        self.event("violation", peer=peer.hex(), violation=fields, **concerned)

    def generation_name(self, number):
        return GENERATION_NAMES[number]

    def link_to(self, device):
        """The Ready link with a device that may carry everything, or None."""
        for link in self.links.values():
            if link.state == READY and link.peer == device and not link.linking_only:
                return link
        return None

    def ready_links(self):
        return [link for link in self.links.values() if link.ready and not link.linking_only]

    def vouched(self, device):
        """Whether the user vouches for a device: it is trusted, or a member of the account."""
        return not self.account.is_revoked(device) and (device in self.trusted or self.account.is_member(device))

    def admit(self, link):
        """LINK-AUTH-3: accepts the peer or refuses it; whether it may only link."""
        peer = link.peer
        if self.account.is_revoked(peer):
            raise Refused("AUTH_FAILED", "ACCOUNT-REVOKE-1")
        if self.account.links_with(link):
            return True
        known = self.vouched(peer) or self.accept_unknown or peer in self.mailbox.used
        if known or any(s.takes_part and peer in s.chain.members for s in self.sessions.values()):
            return False
        if self.account.lets_in(link):
            return True
        raise Refused("AUTH_FAILED", "LINK-AUTH-3")

    def link_ready(self, link):
        if link.linking_only:
            self.account.linking_ready(link)
            return
        self.account.link_ready(link)
        self.handoff.link_ready(link)
        self.sync.link_ready(link)
        self.transfer.link_ready(link)
        self.mailbox.link_ready(link)

    def link_over(self, link):
        for module in (self.account, self.handoff, self.sync, self.transfer, self.mailbox, self.host):
            module.link_over(link)

    def message(self, link, name, message):
        """A message on a Ready link. What a module refuses by raising ends the link."""
        if name not in ("PUT_OK", "ENVELOPES") and self.mailbox.only_mailbox(link):
            self.violation(link.peer, None, Refused("WIRE_STATE", "SERVICE-PEER-1"))
            return
        # A message that later tables list and this implementation doesn't act on changes nothing here.
        self.handlers.get(name, _ignore)(link, message)

    def ask(self, application, do):
        """What the application asks for. A refusal changes nothing."""
        return application.run(do)

    def inspect(self):
        sessions = {sid.hex(): s.inspect() for sid, s in self.sessions.items() if s.head}
        account = {"account": self.account.inspect()} if self.account.id else {}
        return {"sessions": sessions, **account}

    def close_link(self, number, code):
        link = self.links.get(number)
        if link:
            link.end(code)

    def shutdown(self):
        for link in list(self.links.values()):
            link.end("LINK_SHUTDOWN")


def _ignore(link, message):
    pass
