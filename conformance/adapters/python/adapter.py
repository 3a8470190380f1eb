"""Speaks conformance/ADAPTER.md over standard input and output for the implementation in segue_py."""
import json
import sys

from segue_py import data, receipt
from segue_py.account import read_invite
from segue_py.device import Device
from segue_py.registry import GENERATIONS, Refused

COMMANDS = [
    "trust", "distrust", "create", "write-file", "write-exclusive", "write", "follow", "remove", "initiate", "request",
    "cancel", "consent", "accept", "reject", "takeover", "close", "create-account", "invite", "accept-link", "confirm-link",
    "revoke", "take-in", "verify-receipt", "use-mailbox", "host-mailbox", "close-link", "shutdown",
]


def b(text):
    return bytes.fromhex(text)


class Do:
    """The application's requests, by their type."""

    def __init__(self, dev):
        self.dev, self.handoff = dev, dev.handoff

    def run(self, do):
        method = getattr(self, do["type"].replace("-", "_"))
        return method(do)

    def lsn(self):
        return lambda: {"lsn": self.dev.store.last}

    def trust(self, do):
        self.dev.trusted.add(b(do["device"]))

    def distrust(self, do):
        self.dev.trusted.discard(b(do["device"]))

    def create(self, do):
        session = self.handoff.create(do["name"], [b(m) for m in do.get("members", [])])
        return {"session": session.id.hex()}

    def write_file(self, do):
        self.handoff.get(b(do["session"])).write_file(do["path"], b(do.get("content", "")))
        return self.lsn()

    def remove(self, do):
        self.handoff.get(b(do["session"])).write_file(do["path"], None)
        return self.lsn()

    def write_exclusive(self, do):
        session = self.handoff.get(b(do["session"]))
        pid, _ = session.value_of_exclusive()
        session.may_write(data.EXCLUSIVE)
        session.write(pid or data.named_part(session.id, data.EXCLUSIVE, "view"), data.EXCLUSIVE, b(do.get("bytes", "")))
        return self.lsn()

    def write(self, do):
        session = self.handoff.get(b(do["session"]))
        session.write(b(do["part"]), do["kind"], b(do.get("body", "")), do.get("resolves", False))
        return self.lsn()

    def follow(self, do):
        self.handoff.target.follow(b(do["session"]), b(do["from"]))

    def initiate(self, do):
        session = self.handoff.get(b(do["session"]))
        return {"handoff": self.handoff.source.initiate(session, b(do["to"]), do.get("timeout_us"))}

    def request(self, do):
        return {"handoff": self.handoff.target.request(b(do["session"]), b(do["from"]), do.get("timeout_us"))}

    def cancel(self, do):
        self.handoff.cancel(b(do["session"]))

    def consent(self, do):
        self.handoff.target.consent(b(do["session"]), b(do["to"]), do.get("ttl_us"))

    def accept(self, do):
        token = b(do["token"])
        if invited := self.handoff.offers.find(token):
            return {"handoff": self.handoff.offers.accept(invited)}
        session, want = self.handoff.source.waiting(token)
        if want is None:
            raise Refused("HO_TOKEN_BAD", None, "no request with this token waits")
        return self.handoff.source.allow(session, want)

    def reject(self, do):
        token = b(do["token"])
        if invited := self.handoff.offers.find(token):
            return self.handoff.offers.reject(invited, do.get("reason"))
        session, want = self.handoff.source.waiting(token)
        if want is None:
            raise Refused("HO_TOKEN_BAD", None, "no request with this token waits")
        return self.handoff.source.reject(session, want, do.get("reason"))

    def takeover(self, do):
        self.handoff.take_over(self.handoff.get(b(do["session"])))

    def close(self, do):
        self.handoff.close(self.handoff.get(b(do["session"])))

    def create_account(self, do):
        self.dev.account.create(do["name"])

    def invite(self, do):
        return {"invite": self.dev.account.make_invite(do["name"])}

    def accept_link(self, do):
        read_invite(do["invite"])
        self.dev.account.accept_link(do["invite"])

    def confirm_link(self, do):
        self.dev.account.confirm(b(do["device"]), do.get("yes", False))

    def revoke(self, do):
        self.dev.account.revoke(b(do["device"]))

    def use_mailbox(self, do):
        self.dev.mailbox.use(b(do["mailbox"]))

    def host_mailbox(self, do):
        self.dev.host.start(do)

    def verify_receipt(self, do):
        receipt.verify(b(do["receipt"]))

    def take_in(self, do):
        self.handoff.get(b(do["session"])).aside.take_in(b(do["part"]), b(do["actor"]))
        return self.lsn()

    def close_link(self, do):
        self.dev.close_link(do["link"], do["code"])

    def shutdown(self, do):
        self.dev.shutdown()


class Adapter:
    def __init__(self):
        self.devices = {}

    def answer(self, q):
        cmd = q["cmd"]
        if cmd == "hello":
            names = [n for n in GENERATIONS if n != "7"]
            return {"ok": {"protocol": 1, "subject": "segue-py 1", "generations": names, "commands": COMMANDS}}
        if cmd in ("new", "restore"):
            try:
                dev = Device(q["now"], q["start"], cmd == "restore")
                dev.finish_start()
            except (ValueError, LookupError, TypeError) as why:  # whatever reading what was never written comes to
                if cmd == "new":
                    raise
                return {"error": {"code": "STORE_CORRUPT", "text": f"the journal holds what this program never wrote: {why}"}}
            self.devices[q["dev"]] = dev
            return {"ok": {"out": self.out(dev)}}
        if cmd == "bye":
            if "dev" in q:
                self.devices.pop(q["dev"], None)
            return {"ok": {}}
        dev = self.devices[q["dev"]]
        if cmd == "input":
            try:
                dev.step(q["now"], lambda: dev.input(q["input"]))
            except Refused:
                pass  # it halted
            return {"ok": {"out": self.out(dev)}}
        if cmd == "do":
            return self.do(dev, q)
        if cmd == "inspect":
            return {"ok": dev.inspect()}
        return {"unsupported": f"there is no request {cmd}"}

    def do(self, dev, q):
        do = q["do"]
        if do["type"] not in COMMANDS:
            return {"unsupported": f"this implementation has no {do['type']}"}
        try:
            reply = dev.step(q["now"], lambda: dev.ask(Do(dev), do))
        except Refused as e:
            return {"ok": {"out": self.out(dev), "refused": {"code": e.code, "text": e.text}}}
        if callable(reply):
            reply = reply()
        ok = {"out": self.out(dev)}
        if reply:
            ok["reply"] = reply
        return {"ok": ok}

    def out(self, dev):
        out = dev.result()
        for event in out.get("events", []):
            if "from_" in event:
                event["from"] = event.pop("from_")
        return out


def main():
    adapter = Adapter()
    for line in sys.stdin:
        q = json.loads(line)
        answer = {"id": q["id"], **adapter.answer(q)}
        sys.stdout.write(json.dumps(answer, separators=(",", ":")) + "\n")
        sys.stdout.flush()
        if q["cmd"] == "bye" and "dev" not in q:
            break


if __name__ == "__main__":
    main()
