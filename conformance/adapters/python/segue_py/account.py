"""Chapter account: linking, the roster on links, revocation. Entries and what counts are in `roster`."""
import base64

from . import wire
from .crypto import H
from .link import RESPONDER
from .registry import LIMIT, Refused
from .roster import GENESIS, LINK, REVOKE, Roster
from .wire import ZERO32, Struct

LINKED, NEW = 0, 1
ASKED, SHOWN, CONFIRMED, TOLD, OVER = range(5)


def link_proof(side, secret, binding, linked, new):
    return H("segue/1 link proof", bytes([side]) + secret + binding + linked + new)


def link_code(secret, binding, linked, new):
    return int.from_bytes(H("segue/1 link code", secret + binding + linked + new)[:8], "big") % 1_000_000


def invite_text(invite):
    raw = wire.encode("Invite", invite)
    raw += H("segue/1 invite", raw)[:4]
    return "SEGUE:" + base64.b32encode(raw).decode().rstrip("=")


def read_invite(text):
    text = text.strip().upper()
    try:
        if not text.startswith("SEGUE:"):
            raise ValueError
        body = text[6:]
        raw = base64.b32decode(body + "=" * (-len(body) % 8))
        if H("segue/1 invite", raw[:-4])[:4] != raw[-4:]:
            raise ValueError
        return wire.decode("Invite", raw[:-4])
    except (ValueError, Refused):
        raise Refused("WIRE_VALUE", "ACCOUNT-INVITE-3", "the text is no invitation") from None


class Linking:
    """One linking under way, on one link."""

    def __init__(self, link, side, secret):
        self.link, self.side, self.secret = link, side, secret
        self.state = ASKED
        self.user_yes = self.peer_yes = False
        self.name = ""
        self.roster = Roster()

    def keys(self):
        own, peer = self.link.dev.key, self.link.peer
        return (own, peer) if self.side == LINKED else (peer, own)

    def proof(self, side):
        return link_proof(side, self.secret, self.link.binding, *self.keys())

    def code(self):
        return link_code(self.secret, self.link.binding, *self.keys())


class Account:
    def __init__(self, dev):
        self.dev = dev
        self.roster = Roster()
        self.name = ""
        self.invite = None  # the invitation that this device made: Struct(secret, made, used, name)
        self.read = {}  # device -> secret of the invitation that was read
        self.linkings = {}  # link number -> Linking
        for _, value in dev.store.under(b"e/"):
            self.roster.take(Struct(body=value[:-64], sig=value[-64:]))
        self.durable = set(self.roster.entries)  # what may be told (ACCOUNT-ROSTER-4)
        self.handlers = {"LINK": self.on_link, "LINK_OK": self.on_link_ok, "ROSTER": self.on_roster}

    @property
    def id(self):
        return self.roster.account

    def is_member(self, device):
        return device in self.roster.members()

    def is_revoked(self, device):
        return device in self.roster.revoked()

    def others(self):
        return [m for m in self.roster.members() if m != self.dev.key]

    # --- entries

    def _keep(self, ids):
        """Makes entries durable and acts on them."""
        for eid in ids:
            signed = self.roster.signed[eid]
            number = len(self.dev.store.under(b"e/"))
            self.dev.store.put(b"e/" + number.to_bytes(4, "big"), signed.body + signed.sig)
        self.dev.store.when_durable(lambda: self.durable.update(ids))

    def _take(self, signed_entries, on_refused):
        """Takes entries in; the ids that are new, after their effects."""
        members, revoked = self.roster.members(), self.roster.revoked()
        taken = []
        for signed in signed_entries:
            try:
                taken += self.roster.take(signed)
            except Refused as e:
                on_refused(e)
        if taken:
            self._keep(taken)
            self._tell(taken, members)
            for device in self.roster.revoked() - revoked:
                self._revoked(device)
            if self.roster.revoked():
                self.dev.handoff.cuts_changed()
        return taken

    def _tell(self, ids, members_before):
        for eid in ids:
            body = self.roster.entries[eid]
            if body.kind == LINK and self.is_member(body.device) and body.device not in members_before:
                self.dev.event("device-linked", device=body.device.hex(), name=body.name, by=body.signer.hex())
            elif body.kind == REVOKE and self.is_revoked(body.device):
                self.dev.event("device-revoked", device=body.device.hex(), by=body.signer.hex())

    def _revoked(self, device):
        self.dev.handoff.revoked(device)
        for link in list(self.dev.links.values()):
            if link.peer == device:
                link.end("AUTH_REVOKED", "ACCOUNT-REVOKE-2")

    def _sign(self, kind, device, name="", genesis=None, cut=None):
        body = Struct(
            kind=kind, account=ZERO32 if kind == GENESIS else self.id, parents=self.roster.parents_for(self.dev.key),
            signer=self.dev.key, device=device, name=name, made=(self.dev.wall_ms() << 16).to_bytes(8, "big"),
            genesis=genesis, cut=cut,
        )
        return wire.sign_object("RosterEntry", body, self.dev.identity)

    def started(self):
        """What a crash may have left undone: ACCOUNT-REVOKE-4."""
        for device in self.roster.revoked():
            if any(b.kind == REVOKE and b.device == device and b.signer == self.dev.key for b in self.roster.entries.values()):
                self.dev.handoff.take_over_from(device)

    # --- what the user asks for

    def create(self, name):
        wire.check_name(name)
        if self.id is not None:
            raise Refused("ACCOUNT_OTHER", None, "this device belongs to an account")
        entry = self._sign(GENESIS, self.dev.key, name, Struct(nonce=self.dev.random.draw(16), recovery=None))
        self._keep(self.roster.take(entry))
        account = self.id.hex()
        self.dev.store.when_durable(lambda: self.dev.event("account-created", account=account))

    def make_invite(self, name):
        wire.check_name(name)
        if self.id is not None:
            raise Refused("ACCOUNT_OTHER", "ACCOUNT-LINK-6", "this device belongs to an account")
        self._void_invite()
        self.invite = Struct(secret=self.dev.random.draw(16), made=self.dev.now, used=False, name=name)
        self.dev.set_timer(("invite",), self.dev.now + LIMIT.INVITE_TTL, self._void_invite)
        expires = (self.dev.wall_ms() * 1000 + LIMIT.INVITE_TTL) // 1_000_000
        return invite_text(Struct(secret=self.invite.secret, device=self.dev.key, expires=expires, hints=[]))

    def _void_invite(self):
        self.dev.clear_timers(("invite",))
        if self.invite is not None and not self.invite.used:
            self._end_idle(None)
        self.invite = None

    def _end_idle(self, but):
        """Ends the links that were let in by the invitation and aren't linking."""
        for link in list(self.dev.links.values()):
            if link.ready and link.linking_only and link is not but and link.number not in self.linkings:
                link.end("LINK_EXPIRED", "ACCOUNT-LINK-2")

    def accept_link(self, text):
        invite = read_invite(text)
        if self.id is None:
            raise Refused("ACCOUNT_OTHER", None, "this device belongs to no account")
        if invite.device == self.dev.key:
            raise Refused("WIRE_VALUE", None, "the invitation is this device's own")
        self.read[invite.device] = invite.secret
        link = self.dev.link_to(invite.device)
        if link:
            self.linking_ready(link)

    def confirm(self, device, yes):
        for linking in list(self.linkings.values()):
            if linking.link.peer == device and linking.state == SHOWN:
                if not yes:
                    return self._fail(linking, "LINK_DECLINED", None)
                if linking.user_yes:
                    return None
                linking.user_yes = True
                if linking.side == NEW:
                    linking.state = CONFIRMED
                self._say(linking)
                return self._maybe_sign(linking)
        raise Refused("LINK_EXPIRED", None, "no linking with this device waits for its user")

    def revoke(self, device):
        if self.id is None or not self.is_member(self.dev.key):
            raise Refused("ACCOUNT_OTHER", None, "this device is no member of an account")
        if not any(b.kind != REVOKE and b.device == device for b in self.roster.entries.values()):
            raise Refused("ACCOUNT_OTHER", None, "the device was never linked")
        if device == self.dev.key:
            raise Refused("ACCOUNT_OTHER", None, "a device doesn't revoke itself")
        heads = self.dev.handoff.taken_over_by(device)[: LIMIT.MAX_CUT_HEADS]
        tips = self.dev.handoff.cut_tips(device)[: LIMIT.MAX_CUT_TIPS * LIMIT.MAX_CUT_ENTRIES]
        pages = [tips[i : i + LIMIT.MAX_CUT_TIPS] for i in range(0, len(tips), LIMIT.MAX_CUT_TIPS)] or [[]]
        entries = [self._sign(REVOKE, device, cut=Struct(tips=page, heads=heads)) for page in pages]
        taken = self._take(entries, _raise)
        self._push(taken)
        self.dev.handoff.take_over_from(device)

    # --- linking

    def links_with(self, link):
        """Whether the peer is the one whose invitation was read, and may only link."""
        return link.peer in self.read and not self.dev.vouched(link.peer)

    def lets_in(self, link):
        return link.role == RESPONDER and self._live()

    def _live(self):
        i = self.invite
        return i is not None and not i.used and self.dev.now < i.made + LIMIT.INVITE_TTL

    def linking_ready(self, link):
        """The linked device asks, on a link with the device whose invitation it read."""
        secret = self.read.pop(link.peer, None)
        if secret is None:
            return
        linking = Linking(link, LINKED, secret)
        self.linkings[link.number] = linking
        self._say(linking)
        self._deadline(linking)

    def _say(self, linking):
        name = self.invite_name(linking)
        linking.link.send("LINK", proof=linking.proof(linking.side), name=name, confirmed=linking.user_yes)

    def invite_name(self, linking):
        if linking.side == NEW:
            return linking.name
        for body in self.roster.entries.values():
            if body.kind != REVOKE and body.device == self.dev.key:
                return body.name
        return ""

    def _deadline(self, linking):
        key = ("link", linking.link.number, "linking")
        self.dev.set_timer(
            key, self.dev.now + LIMIT.CONFIRM_TIMEOUT, lambda: self._fail(linking, "LINK_EXPIRED", "ACCOUNT-LINK-7")
        )

    def _fail(self, linking, code, clause):
        linking.link.end(code, clause)

    def _resolve(self, linking, result):
        linking.state = OVER
        self.linkings.pop(linking.link.number, None)
        self.dev.clear_timers(("link", linking.link.number, "linking"))
        self.dev.event("link-resolved", peer=linking.link.peer.hex(), result=result)

    def link_over(self, link):
        linking = self.linkings.get(link.number)
        if linking:
            self._resolve(linking, {"error": self.dev.closing_code or "LINK_LOST"})

    def on_link(self, link, m):
        linking = self.linkings.get(link.number)
        if linking is None:
            if not self._live():
                raise Refused("LINK_EXPIRED", "ACCOUNT-INVITE-1")
            linking = Linking(link, NEW, self.invite.secret)
            linking.name = self.invite.name
            self._check_proof(linking, m)
            self.invite.used = True
            self.dev.clear_timers(("invite",))
            self.linkings[link.number] = linking
            self._end_idle(link)
            self._say(linking)
            self._show(linking, m.name)
        else:
            self._check_proof(linking, m)
            if linking.state == ASKED:
                self._show(linking, m.name)
        linking.peer_yes |= m.confirmed
        self._maybe_sign(linking)

    def _check_proof(self, linking, m):
        if m.proof != linking.proof(1 - linking.side):
            raise Refused("LINK_CHANNEL", "ACCOUNT-LINK-1")

    def _show(self, linking, name):
        linking.state = SHOWN
        linking.peer_name = name
        self._deadline(linking)
        self.dev.event("link-code", peer=linking.link.peer.hex(), name=name, code=linking.code())

    def _maybe_sign(self, linking):
        if linking.side != LINKED or linking.state != SHOWN or not (linking.user_yes and linking.peer_yes):
            return
        linking.state = TOLD
        link = linking.link
        if not self.is_member(link.peer):
            taken = self._take([self._sign(LINK, link.peer, linking.peer_name)], _raise)
            self._push(taken, but=link)
        link.roster_known = set()
        self._send_entries(link)

    def on_link_ok(self, link, m):
        linking = self.linkings.get(link.number)
        if linking and linking.state == TOLD and m.account == self.id:
            self.dev.mailbox.roster_told(link.peer, self.roster.heads(self.durable))
            self._resolve(linking, {"record": self.id.hex()})
            self._become_full(link)

    def _become_full(self, link):
        if link.linking_only:
            link.linking_only = False
            self.dev.link_ready(link)

    def _join(self, linking, m):
        """The new device takes the roster that it was sent."""
        if linking.state == SHOWN:
            raise Refused("LINK_DECLINED", "ACCOUNT-LINK-4")
        roster, link = linking.roster, linking.link
        for signed in m.entries:
            roster.take(signed)
        if m.more:
            return
        members = roster.members()
        good = roster.account == m.account and self.dev.key in members and link.peer in members and not roster.waiting
        if not good or self.id is not None:
            raise Refused("ACCOUNT_ENTRY", "ACCOUNT-LINK-6")
        self.roster = roster
        self.invite = None
        self._keep(list(roster.entries))
        link.roster_known = set(roster.entries)
        linking.state = TOLD
        self.dev.store.when_durable(lambda: self._joined(linking))

    def _joined(self, linking):
        if linking.link.ready and linking.state == TOLD:
            linking.link.send("LINK_OK", account=self.id)
            self._resolve(linking, {"record": self.id.hex()})
            self._become_full(linking.link)

    # --- ROSTER

    def link_ready(self, link):
        if not hasattr(link, "roster_known"):
            link.roster_known = set()
        if self.id is not None and self.is_member(link.peer) and self.is_member(self.dev.key):
            self.dev.store.when_durable(lambda: link.ready and self._send_roster(link, [], False))
        if link.peer in self.read:
            self.linking_ready(link)

    def on_roster(self, link, m):
        linking = self.linkings.get(link.number)
        if linking and linking.side == NEW and linking.state in (SHOWN, CONFIRMED):
            return self._join(linking, m)
        if self.id is None or not self.is_member(link.peer) or m.account != self.id:
            return link.error(0, None, "ACCOUNT_OTHER")
        taken = self._take(m.entries, lambda e: link.error(0, None, e.code))
        if not link.ready:
            return None
        for signed in m.entries:
            link.roster_known.add(wire.object_id("RosterEntry", signed.body))
        self.dev.mailbox.roster_told(link.peer, [h for h in m.heads if h in self.roster.entries])
        for head in m.heads:
            if head in self.roster.entries:
                link.roster_known |= {head} | self.roster.past[head]
        self._push(taken, but=link)
        if not m.more:
            self._send_entries(link)
        return None

    def take_mailed(self, entries):
        """Takes in entries that came by a mailbox."""
        self._push(self._take(entries, lambda e: None))

    def _push(self, taken, but=None):
        if taken:
            for link in self.dev.ready_links():
                if link is not but and self.is_member(link.peer):
                    self._send_entries(link)

    def _send_entries(self, link):
        """The entries that the peer may lack, once they are durable."""
        self.dev.store.when_durable(lambda: self._send_entries_now(link))

    def _send_entries_now(self, link):
        lacking = [e for e in self.roster.lacking([]) if e in self.durable and e not in link.roster_known]
        if not link.ready or not lacking:
            return
        for page, more in pages([self.roster.signed[e] for e in lacking], LIMIT.MAX_ENTRIES):
            self._send_roster(link, page, more)
        link.roster_known |= set(lacking)

    def _send_roster(self, link, entries, more):
        heads = self.roster.heads(self.durable)[: LIMIT.MAX_ROSTER_HEADS]
        link.send("ROSTER", account=self.id, heads=heads, entries=entries, more=more)

    def inspect(self):
        lists = {"members": self.roster.members(), "revoked": self.roster.revoked()}
        return {"account": self.id.hex(), **{k: [d.hex() for d in sorted(v)] for k, v in lists.items()}}


def pages(signed, most, room=50_000):
    """Signed objects in pages that fit a frame: (page, whether more follow)."""
    result, page, size = [], [], 0
    for s in signed:
        n = len(s.body) + 70
        if page and (len(page) >= most or size + n > room):
            result.append(page)
            page, size = [], 0
        page.append(s)
        size += n
    result.append(page)
    return [(p, i < len(result) - 1) for i, p in enumerate(result)]


def _raise(e):
    raise e
