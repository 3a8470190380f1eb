"""Chapter account, sections 4.1 and 4.2: entries, and what counts."""
from . import wire
from .registry import LIMIT, Refused

GENESIS, LINK, REVOKE = range(3)


class Roster:
    """The entries of one account that a device holds."""

    def __init__(self):
        self.entries = {}  # id -> body
        self.signed = {}
        self.past = {}  # id -> frozenset of ids
        self.account = None
        self.recovery = None
        self.waiting = {}  # id -> (signed, body)
        self._counts = {}

    def heads(self, among=None):
        """The entries that no other one cites, of all or of some."""
        among = self.entries if among is None else among
        cited = {p for e in among for p in self.entries[e].parents}
        return sorted(e for e in among if e not in cited)

    def check(self, signed):
        """Form, account and signature of an entry; its id and body."""
        body = wire.open_body("RosterEntry", signed)
        eid = wire.object_id("RosterEntry", signed.body)
        if self.account is not None:
            if body.kind == GENESIS and eid != self.account:
                raise Refused("ACCOUNT_ENTRY", "ACCOUNT-ENTRY-1")
            if body.kind != GENESIS and body.account != self.account:
                raise Refused("ACCOUNT_OTHER", "ACCOUNT-ENTRY-1")
        if body.kind == GENESIS and body.genesis.recovery == body.device:
            raise Refused("ACCOUNT_ENTRY", "ACCOUNT-ENTRY-1")
        wire.verify_signed("RosterEntry", signed, body.signer)
        return eid, body

    def take(self, signed):
        """Takes in an entry and those that waited for it; the ids that are new."""
        eid, body = self.check(signed)
        if eid in self.entries or eid in self.waiting:
            return []
        if any(p not in self.entries for p in body.parents) or self.account is None and body.kind != GENESIS:
            if len(self.waiting) >= LIMIT.MAX_WAITING:
                raise Refused("LIMIT_ROOM", "LIMIT-ROOM-1")
            self.waiting[eid] = (signed, body)
            return []
        taken = [self._add(eid, signed, body)]
        progress = True
        while progress:
            progress = False
            for wid, (wsigned, wbody) in list(self.waiting.items()):
                if all(p in self.entries for p in wbody.parents):
                    del self.waiting[wid]
                    progress = True
                    try:
                        taken.append(self._add(wid, wsigned, wbody))
                    except Refused:
                        pass
        return taken

    def _add(self, eid, signed, body):
        if len(self.entries) >= LIMIT.MAX_ROSTER:
            raise Refused("LIMIT_ROOM", "LIMIT-ROOM-1")
        past = frozenset().union(*({p} | self.past[p] for p in body.parents))
        if body.kind == GENESIS:
            self.account, self.recovery = eid, body.genesis.recovery
        elif body.signer != self.recovery and not any(
            self.entries[e].kind != REVOKE and self.entries[e].device == body.signer for e in past
        ):
            raise Refused("ACCOUNT_ENTRY", "ACCOUNT-ENTRY-3")
        self.entries[eid], self.signed[eid], self.past[eid] = body, signed, past
        self._counts.clear()
        return eid

    # --- what counts

    def _revoke_counts(self, eid):
        key = ("revoke", eid)
        if key not in self._counts:
            body = self.entries[eid]
            self._counts[key] = body.device != self.recovery and (
                body.signer == self.recovery or body.signer in self._members(self.past[eid])[0]
            )
        return self._counts[key]

    def _members(self, entries):
        """(members, revoked) of a set of entries that holds every past of its entries."""
        if entries in self._counts:
            return self._counts[entries]
        ordered = sorted(entries, key=lambda e: len(self.past[e]))
        revokes = {}
        for eid in ordered:
            if self.entries[eid].kind == REVOKE and self._revoke_counts(eid):
                revokes.setdefault(self.entries[eid].device, []).append(eid)
        counted = {}  # device -> ids of links that count
        for eid in ordered:
            body = self.entries[eid]
            if body.kind == REVOKE:
                continue
            counts = (
                body.kind == GENESIS
                or body.signer == self.recovery
                or any(e in self.past[eid] for e in counted.get(body.signer, ()))
                and all(eid in self.past[r] for r in revokes.get(body.signer, ()))
            )
            if counts:
                counted.setdefault(body.device, []).append(eid)
        result = (frozenset(d for d in counted if d not in revokes), frozenset(revokes))
        self._counts[entries] = result
        return result

    def members(self):
        return self._members(frozenset(self.entries))[0]

    def revoked(self):
        return self._members(frozenset(self.entries))[1]

    def signed_cuts(self, device):
        """(signer, cut) of the counted revokes of a key."""
        return [
            (b.signer, b.cut) for e, b in self.entries.items() if b.kind == REVOKE and b.device == device and self._revoke_counts(e)
        ]

    def lacking(self, heads):
        """Ids of the entries that are neither among these heads nor in their past, parents first."""
        known = set()
        for h in heads:
            if h in self.entries:
                known |= {h} | self.past[h]
        return sorted((e for e in self.entries if e not in known), key=lambda e: (len(self.past[e]), e))

    def parents_for(self, signer):
        """ACCOUNT-ENTRY-4: what an entry by this signer cites."""
        heads = self.heads()
        if len(heads) > LIMIT.MAX_PARENTS:
            own = {e for e, b in self.entries.items() if b.kind != REVOKE and b.device == signer}
            heads.sort(key=lambda h: (not own & (self.past[h] | {h}), h))
            heads = sorted(heads[: LIMIT.MAX_PARENTS])
        return heads
