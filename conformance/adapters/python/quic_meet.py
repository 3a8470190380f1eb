"""Lets devices of two implementations meet over real QUIC, and compares what they hold; written from the specification alone.

    quic_meet.py ADAPTER ADAPTER

Each ADAPTER is a command that speaks tier B of conformance/ADAPTER.md. `meet.py` has the worlds with faults; here are no
faults but the network's own, and what is shown is that the bytes, streams and closes of the two fit.
"""
import argparse
import itertools
import json
import os
import sys
import time

import meet
from nacl.signing import SigningKey

PATIENCE = 20  # seconds


class NotOffered(Exception):
    """An adapter doesn't offer what a scenario asks for."""


class Adapter(meet.Adapter):
    def __init__(self, command):
        super().__init__(command)
        if "B" not in self.told.get("tiers", []):
            raise SystemExit(f"{command} doesn't offer tier B")
        self.generations = self.told["generations"]

    def ask(self, **request):
        answer, line = self.say(**request)
        if "unsupported" in answer:
            raise NotOffered(answer["unsupported"])
        if "ok" not in answer:
            raise AssertionError(f"{request} was answered by {line}")
        return answer["ok"]


class Device:
    """A device; its user accepts what it is asked, and confirms what both devices show."""

    def __init__(self, adapter, generation, trusted=(), **setup):
        adapter.last_dev += 1
        self.adapter, self.number, self.events = adapter, adapter.last_dev, []
        seed = os.urandom(32)
        self.key = SigningKey(seed).verify_key.encode().hex()
        setup = {
            "identity": seed.hex(), "generation": generation, "floor": "1.4", "pulls": "allow", "accept_unknown": False,
            "follow": True, "trusted": list(trusted), "wall_offset_ms": 0, **setup,
        }
        self.addr = adapter.ask(cmd="new", dev=self.number, listen="127.0.0.1:0", start={"setup": setup})["listening"]

    def do(self, kind, **do):
        ok = self.adapter.ask(cmd="do", dev=self.number, do={"type": kind, **do})
        self.take(ok["out"].get("events", []))
        if "refused" in ok:
            raise AssertionError(f"{self.adapter.name} refused {kind}: {ok['refused']}")
        return ok.get("reply", {})

    def take(self, events):
        self.events += events
        for e in events:
            if e["type"] in ("handoff-request", "request-handoff"):
                self.do("accept", token=e["token"])
            elif e["type"] == "link-code":
                self.do("confirm-link", device=e["peer"], yes=True)

    def look(self, ms=20):
        self.take(self.adapter.ask(cmd="input", dev=self.number, input={"type": "wait", "ms": ms})["out"].get("events", []))

    def session(self, session):
        return self.adapter.ask(cmd="inspect", dev=self.number)["sessions"].get(session, {})

    def bye(self):
        self.adapter.ask(cmd="bye", dev=self.number)


def until(devices, what, condition):
    end = time.monotonic() + PATIENCE
    while not condition():
        if time.monotonic() > end:
            events = {f"{d.adapter.name} {d.number}": d.events[-6:] for d in devices}
            raise AssertionError(f"no {what}: {json.dumps(events)}")
        for device in devices:
            device.look()


def link(dials, listens, others=()):
    seen = [len(dials.events), len(listens.events)]
    dials.do("dial", device=listens.key, addr=listens.addr)

    def ready():
        sides = ((dials, listens, seen[0]), (listens, dials, seen[1]))
        return all(any(e["type"] == "link-ready" and e["peer"] == b.key for e in a.events[n:]) for a, b, n in sides)

    until([dials, listens, *others], "link", ready)


def owned_alike(devices, session, owner):
    views = [d.session(session) for d in devices]
    owns = [v.get("role") == "primary" for v in views] == [d is owner for d in devices]
    return owns and all(v.get(f) == views[0].get(f) for v in views for f in ("head", "root", "files", "exclusive"))


def handoffs(adapters, generation):
    """A session with files of several lengths goes there and back, by push and by pull, whoever dialled."""
    for way, turned in itertools.product(("push", "pull"), (False, True)):
        if way == "push" and generation == "1.4":
            continue  # a hint, and then the pull
        a = Device(adapters[0], generation)
        b = Device(adapters[1], generation, [a.key])
        a.do("trust", device=b.key)
        link(*((b, a) if turned else (a, b)))
        session = a.do("create", name="meeting", members=[b.key])["session"]
        for n, length in enumerate((0, 1, 65_536, 65_537, 500_000)):
            a.do("write-file", session=session, path=f"file{n}", content=os.urandom(length).hex())
        a.do("write-exclusive", session=session, bytes="6f6e65")
        for source, target in ((a, b), (b, a), (a, b)):
            if way == "push":
                source.do("initiate", session=session, to=target.key, timeout_us=PATIENCE * 1_000_000)
            else:
                target.do("request", session=session, **{"from": source.key}, timeout_us=PATIENCE * 1_000_000)
            until([a, b], f"{way}, {'b' if turned else 'a'} dialled", lambda: owned_alike([a, b], session, target))
            target.do("write-file", session=session, path="file4", content=os.urandom(100_000).hex())
            target.do("write-exclusive", session=session, bytes="74776f")
        closed = len(b.events)
        a.do("shutdown")
        until([b], "close", lambda: any(e["type"] == "link-closed" and e["code"] == "LINK_SHUTDOWN" for e in b.events[closed:]))
        a.bye(), b.bye()


def accounts(adapters, generation):
    """One makes an account and links the other, which is then known as its member."""
    a, b = Device(adapters[0], generation), Device(adapters[1], generation)
    a.do("create-account", name="first")
    invite = b.do("invite", name="second")["invite"]
    a.do("accept-link", invite=invite)
    a.do("dial", device=b.key, addr=b.addr)
    until([a, b], "linking", lambda: all(any(e["type"] == "link-resolved" and "record" in e["result"] for e in d.events) for d in (a, b)))
    a.bye(), b.bye()


def mailbox(adapters, generation):
    """Two that are never linked converge by a mailbox, hosted by either; the session then goes on there."""
    for hosting in adapters:
        host = Device(hosting, generation, accept_unknown=True)
        host.do("host-mailbox")
        a = Device(adapters[0], generation)
        b = Device(adapters[1], generation, [a.key])
        a.do("trust", device=b.key)
        for user in (a, b):
            user.do("use-mailbox", mailbox=host.key)
        session = a.do("create", name="meeting", members=[b.key])["session"]
        a.do("write-file", session=session, path="note", content=os.urandom(200_000).hex())
        link(a, host)
        link(b, host, [a])

        def same():
            views = [d.session(session) for d in (a, b)]
            return all("note" in v.get("files", {}) for v in views) and views[0]["files"] == views[1]["files"]

        until([a, b, host], f"exchange at {hosting.name}", same)
        b.do("write-file", session=session, path="note", content=b"an answer".hex())
        until([a, b, host], f"answer at {hosting.name}", lambda: same() and a.session(session)["root"] == b.session(session)["root"])
        for d in (a, b, host):
            d.bye()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("adapters", nargs=2, metavar="ADAPTER")
    adapters = [Adapter(c) for c in parser.parse_args().adapters]
    failed = 0
    for scenario in (handoffs, accounts, mailbox):
        for generation in [g for g in adapters[0].generations if g in adapters[1].generations]:
            for order in (adapters, adapters[::-1]):
                began = time.monotonic()
                try:
                    scenario(order, generation)
                    said = "ok"
                except NotOffered as why:
                    said = f"not offered: {why}"
                except AssertionError as why:
                    failed += 1
                    said = f"FAIL: {str(why)[:1500]}"
                print(f"{scenario.__name__} {generation}, {order[0].name} first: {said} ({time.monotonic() - began:.1f} s)", flush=True)
    for adapter in adapters:
        adapter.ask(cmd="bye")
    sys.exit(failed > 0)


if __name__ == "__main__":
    main()
