"""Lets devices of two implementations meet in a simulated world with faulty links and disks, and compares what they hold.

    meet.py ADAPTER ADAPTER [--seed N] [--rounds N]

Each ADAPTER is a command that speaks conformance/ADAPTER.md. What the suite's pairs show of a handoff, this shows of
sync, linking, handoffs between three and mailboxes: whatever happened, the devices agree once they have met.
"""
import argparse
import json
import random
import shlex
import subprocess
import sys

SECOND = 1_000_000


class Adapter:
    def __init__(self, command):
        self.process = subprocess.Popen(shlex.split(command), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.last_id = self.last_dev = 0
        self.told = self.ask(cmd="hello", protocol=1, suite="meet")
        self.name = self.told["subject"]

    def say(self, **request):
        """Sends a request; its answer, and the line that held it."""
        self.last_id += 1
        self.process.stdin.write(json.dumps({"id": self.last_id, **request}) + "\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        return json.loads(line) if line else {}, line

    def ask(self, **request):
        answer, line = self.say(**request)
        if "ok" not in answer:
            raise AssertionError(f"{self.name if hasattr(self, 'name') else 'adapter'}: {request} was answered by {line}")
        return answer["ok"]

    def number(self):
        self.last_dev += 1
        return self.last_dev


class Device:
    """A device, with its disk."""

    def __init__(self, world, adapter, seed, generation="2", **setup):
        self.world, self.adapter, self.number = world, adapter, adapter.number()
        self.setup = {
            "identity": seed.to_bytes(32, "big").hex(), "generation": generation, "floor": "1.4", "pulls": "allow",
            "accept_unknown": False, "follow": True, "trusted": [], "wall_offset_ms": 0, **setup,
        }
        self.entries, self.blobs, self.last = {}, [], 0
        self.pending = []  # what the disk hasn't written
        self.timeout = None
        self.links = {}  # link number -> Link
        self.events = []
        self.backup = None
        self.again = []  # what the application asks for again whenever the device starts
        self.start("new")

    def start(self, cmd, continuity="proven"):
        disk = {"last": self.last}
        if cmd == "restore":
            disk |= {"entries": sorted(self.entries.items()), "blobs": self.blobs}
        start = {"setup": self.setup, "entropy": self.world.random.randbytes(32).hex(), "disk": disk, "continuity": continuity}
        ok = self.adapter.ask(cmd=cmd, dev=self.number, now=self.world.now, start=start)
        self.take(ok["out"])
        for do in self.again:
            self.do(**do)

    def crash(self):
        """The device stops; what the disk hadn't written is lost."""
        for link in list(self.links.values()):
            link.cut(but=self)
        kept = self.world.random.randint(0, len(self.pending))
        for kind, value in self.pending[:kept]:
            self.write(kind, value)
        self.pending, self.events, self.links, self.timeout = [], [], {}, None
        self.start("restore")

    def save_backup(self):
        self.backup = (dict(self.entries), list(self.blobs), self.last)

    def put_backup_back(self):
        """The device starts with what its disk once held, and can't prove that nothing was lost."""
        for link in list(self.links.values()):
            link.cut(but=self)
        self.entries, self.blobs, self.last = dict(self.backup[0]), list(self.backup[1]), self.backup[2]
        self.pending, self.events, self.links, self.timeout = [], [], {}, None
        self.start("restore", "unproven")

    def write(self, kind, value):
        if kind == "chunk":
            self.blobs.append(value)
            return
        for w in value["writes"]:
            if w.get("value") is None:
                self.entries.pop(w["key"], None)
            else:
                self.entries[w["key"]] = w["value"]
        self.last = value["lsn"]

    def sync(self):
        for kind, value in self.pending:
            self.write(kind, value)
        self.pending = []
        self.input(type="durable", lsn=self.last)

    def input(self, **i):
        self.take(self.adapter.ask(cmd="input", dev=self.number, now=self.world.now, input=i)["out"])

    def do(self, **do):
        ok = self.adapter.ask(cmd="do", dev=self.number, now=self.world.now, do=do)
        self.take(ok["out"])
        return ok.get("reply", {}) | ({"refused": ok["refused"]["code"]} if "refused" in ok else {})

    def inspect(self):
        return self.adapter.ask(cmd="inspect", dev=self.number, now=self.world.now)

    def take(self, out):
        self.pending += [("chunk", c) for c in out.get("chunks", [])]
        self.pending += [("batch", b) for b in out.get("batches", [])]
        self.timeout = out.get("timeout")
        for link, raw in out.get("control", []):
            if link in self.links:
                self.links[link].send(self, raw)
        for b in out.get("bulk", []):
            if b["link"] in self.links:
                self.links[b["link"]].send_bulk(self, b)
        for link, _code in out.get("closes", []):
            if link in self.links:
                self.links[link].closing = True
        for event in out.get("events", []):
            self.events.append(event)
            self.world.on_event(self, event)


class Link:
    def __init__(self, world, initiator, responder):
        self.world, self.number = world, world.next_link()
        self.ends = (initiator, responder)
        self.queues = {initiator: [], responder: []}  # what is on its way to each
        self.closing = False
        binding = world.random.randbytes(32).hex()
        for end in self.ends:
            end.links[self.number] = self
        world.links.append(self)
        initiator.input(type="link-up", link=self.number, role="initiator", binding=binding, expect=world.key_of(responder))
        responder.input(type="link-up", link=self.number, role="responder", binding=binding)

    def other(self, end):
        return self.ends[self.ends[0] is end]

    def send(self, sender, raw):
        self.queues[self.other(sender)].append(("bytes", {"bytes": raw}))

    def send_bulk(self, sender, b):
        fields = {"stream": b["stream"], "bytes": b.get("bytes", ""), "fin": b.get("fin", False)}
        self.queues[self.other(sender)].append(("bulk", fields))

    def deliver(self, end):
        kind, fields = self.queues[end].pop(0)
        end.input(type=kind, link=self.number, **fields)

    def cut(self, but=None):
        if self in self.world.links:
            self.world.links.remove(self)
        for end in self.ends:
            if end.links.pop(self.number, None) and end is not but:
                end.input(type="link-down", link=self.number)


class World:
    def __init__(self, seed):
        self.random = random.Random(seed)
        self.now = SECOND
        self.links, self.devices = [], []
        self._links = 0
        self.keys = {}
        self.answers = {}

    def next_link(self):
        self._links += 1
        return self._links

    def device(self, adapter, seed, **setup):
        device = Device(self, adapter, seed, **setup)
        self.devices.append(device)
        return device

    def key_of(self, device):
        """A device's key, from its seed; what `nacl` computes here the devices compute for themselves."""
        from nacl.signing import SigningKey

        return SigningKey(bytes.fromhex(device.setup["identity"])).verify_key.encode().hex()

    def on_event(self, device, event):
        """Users accept what they are asked, and confirm what both devices show."""
        kind = event["type"]
        if kind in ("handoff-request", "request-handoff"):
            self.answers.setdefault(device, []).append({"type": "accept", "token": event["token"]})
        elif kind == "link-code":
            self.answers.setdefault(device, []).append({"type": "confirm-link", "device": event["peer"], "yes": True})

    def actions(self):
        for device in self.devices:
            if device.pending:
                yield device.sync
            if self.answers.get(device):
                yield lambda d=device: d.do(**self.answers[d].pop(0))
        for link in self.links:
            for end in link.ends:
                if link.queues[end]:
                    yield lambda k=link, e=end: k.deliver(e)
            if link.closing and not any(link.queues.values()):
                yield link.cut

    def run(self, seconds):
        """Everything that can happen happens, in any order; time passes when nothing else can."""
        until = self.now + seconds * SECOND
        while True:
            actions = list(self.actions())
            if actions:
                self.random.choice(actions)()
                continue
            due = [d for d in self.devices if d.timeout is not None and d.timeout <= until]
            if not due:
                self.now = until
                return
            first = min(due, key=lambda d: d.timeout)
            self.now = max(self.now, first.timeout)
            first.timeout = None
            first.input(type="time")

    def some(self, steps):
        for _ in range(steps):
            actions = list(self.actions())
            if actions:
                self.random.choice(actions)()

    def meet_all(self, devices=None):
        """Links between all devices that have none."""
        devices = devices or self.devices
        for i, a in enumerate(devices):
            for b in devices[i + 1 :]:
                if not any(set(k.ends) == {a, b} for k in self.links):
                    Link(self, *self.random.sample([a, b], 2))

    def part(self):
        for link in list(self.links):
            link.cut()

    def trust_each_other(self):
        for a in self.devices:
            a.setup["trusted"] = [self.key_of(b) for b in self.devices if b is not a]
            for key in a.setup["trusted"]:
                a.do(type="trust", device=key)


def create(device, members):
    session = device.do(type="create", name="meeting", members=members)["session"]
    device.sync()
    return session


def views(devices, session):
    return [d.inspect()["sessions"].get(session) for d in devices]


def agree(devices, session, fields):
    seen = views(devices, session)
    if None in seen:
        raise AssertionError(f"the session isn't known to all: {seen}")
    for field in fields:
        values = [v.get(field) for v in seen]
        if len({json.dumps(v, sort_keys=True) for v in values}) != 1:
            raise AssertionError(f"{field}: {list(zip([d.adapter.name for d in devices], values))}")


def write_something(world, device, session):
    r = world.random
    pick = r.randrange(6)
    part = [b"register", b"diary00", b"drawing"][pick % 3].ljust(16, b"_").hex()
    if pick < 3:
        kind = (1, 2, 4)[pick]
        size = r.choice([3, 100, 5000])
        device.do(type="write", session=session, part=part, kind=kind, body=r.randbytes(size).hex(), resolves=r.random() < 0.5)
    elif pick == 3:
        size = r.choice([0, 10, 65_536, 70_000, 200_000])
        device.do(type="write-file", session=session, path=r.choice(["a.txt", "b/c.txt", "b", "d"]), content=r.randbytes(size).hex())
    elif pick == 4:
        device.do(type="remove", session=session, path=r.choice(["a.txt", "b/c.txt"]))
    else:
        device.do(type="write-exclusive", session=session, bytes=r.randbytes(8).hex())


def three(world, adapters):
    order = [adapters[0], adapters[1], world.random.choice(adapters)]
    generations = ["2", world.random.choice(["1.4", "1.7", "2"]), "2"]
    devices = [world.device(a, n + 1, generation=g) for n, (a, g) in enumerate(zip(order, generations))]
    world.trust_each_other()
    session = create(devices[0], [world.key_of(d) for d in devices[1:]])
    world.meet_all()
    world.run(5)
    return devices, session


def fail_somehow(world, devices):
    """A link that breaks, a device that crashes, a backup that is made or put back; or nothing."""
    fault = world.random.randrange(7)
    device = world.random.choice(devices)
    if fault == 0 and world.links:
        world.random.choice(world.links).cut()
    elif fault == 1:
        device.crash()
    elif fault == 2 and device.backup:
        device.put_backup_back()
    elif fault == 3:
        device.save_backup()


def sync(world, adapters, rounds):
    """Three devices write without asking each other, lose their links, crash and get backups back, and agree once they have met."""
    devices, session = three(world, adapters)
    for _ in range(rounds):
        for _ in range(world.random.randrange(8)):
            write_something(world, world.random.choice(devices), session)
            world.some(world.random.randrange(30))
        fail_somehow(world, devices)
        if world.random.random() < 0.5:
            world.meet_all()
    world.meet_all()
    world.run(30)
    agree(devices, session, ["head", "root", "files", "named", "exclusive", "conflicts"])


def handoffs(world, adapters, rounds):
    """The session goes from device to device while links and devices fail; in the end one owns, and all agree who."""
    devices, session = three(world, adapters)
    for _ in range(rounds):
        a, b = world.random.sample(devices, 2)
        write_something(world, a, session)
        way = world.random.randrange(6)
        if way < 3:
            a.do(type="initiate", session=session, to=world.key_of(b), timeout_us=20 * SECOND)
        elif way < 5:
            a.do(type="request", session=session, **{"from": world.key_of(b)}, timeout_us=20 * SECOND)
        elif world.random.random() < 0.3:
            a.do(type="takeover", session=session)
        world.some(world.random.randrange(80))
        fail_somehow(world, devices)
        if world.random.random() < 0.6:
            world.meet_all()
            world.run(world.random.choice([0, 1, 30]))
    world.meet_all()
    world.run(150)
    if not any(v["role"] == "primary" for v in views(devices, session)):
        # The owner's store is an old one: somebody has to take the session over, and who can't know what was lost can't.
        taken = [d for d in devices if "refused" not in d.do(type="takeover", session=session)]
        world.run(30)
        if not taken:
            return
    agree(devices, session, ["head", "term", "n", "owner", "root", "files"])
    roles = sorted(v["role"] for v in views(devices, session))
    if roles.count("primary") != 1:
        raise AssertionError(f"roles: {roles}")


def accounts(world, adapters, rounds):
    """A device links another one, which links a third; what one makes the others get; one is put out again."""
    first, second, third = (world.device(a, n + 1) for n, a in enumerate([adapters[0], adapters[1], adapters[0]]))
    first.do(type="create-account", name="first")
    first.sync()
    for old, new in ((first, second), (second, third)):
        invite = new.do(type="invite", name="new")["invite"]
        old.do(type="accept-link", invite=invite)
        Link(world, old, new)
        world.run(10)
    world.meet_all()
    world.run(5)
    session = create(third, [])
    world.part()  # a session is told of when links are made
    world.meet_all()
    world.run(5)
    write_something(world, third, session)
    world.run(5)
    agree([first, second, third], session, ["head", "root"])
    members = [d.inspect()["account"]["members"] for d in (first, second, third)]
    if not len(members[0]) == 3 or members.count(members[0]) != 3:
        raise AssertionError(f"members: {members}")
    first.do(type="revoke", device=world.key_of(third))
    world.run(10)
    for d in (first, second):
        if d.inspect()["account"]["revoked"] != [world.key_of(third)]:
            raise AssertionError(f"{d.adapter.name} doesn't know of the revocation")
    agree([first, second], session, ["head", "owner", "root"])
    if views([first], session)[0]["owner"] != world.key_of(first):
        raise AssertionError("the session wasn't taken over")


def mailbox(world, adapters, rounds):
    """Two devices that are never online together meet by a mailbox, hosted by either implementation."""
    host = world.device(world.random.choice(adapters), 9)
    users = [world.device(a, n + 1) for n, a in enumerate(adapters)]
    world.trust_each_other()
    host.again.append({"type": "host-mailbox"})
    host.do(type="host-mailbox")
    for user in users:
        user.again.append({"type": "use-mailbox", "mailbox": world.key_of(host)})
        user.do(**user.again[0])
    session = create(users[0], [world.key_of(users[1])])
    for n in range(rounds):
        user = users[n % 2]
        Link(world, user, host)
        for _ in range(world.random.randrange(5)):
            write_something(world, user, session)
            world.some(world.random.randrange(40))
        fail_somehow(world, [user, host])
        world.meet_all([user, host])
        world.run(5)
        world.part()
    for user in users * 2:
        Link(world, user, host)
        world.run(20)
        world.part()
    agree(users, session, ["head", "root", "files", "named", "exclusive", "conflicts"])


SCENARIOS = [sync, handoffs, accounts, mailbox]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("adapters", nargs=2, metavar="ADAPTER")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--seeds", type=int, default=1, help="how many seeds, from the first on")
    parser.add_argument("--rounds", type=int, default=12)
    parser.add_argument("--only", help="one scenario by its name")
    options = parser.parse_args()
    adapters = [Adapter(c) for c in options.adapters]
    failed = 0
    for scenario in SCENARIOS:
        if options.only not in (None, scenario.__name__):
            continue
        for seed in range(options.seed, options.seed + options.seeds):
            for order in (adapters, adapters[::-1]):
                try:
                    scenario(World(seed), order, options.rounds)
                except AssertionError as e:
                    failed += 1
                    print(f"fail: {scenario.__name__}, seed {seed}, {order[0].name} first: {str(e)[:1500]}")
        print(f"{scenario.__name__}: {scenario.__doc__}")
    print("failed" if failed else "all agree", flush=True)
    sys.exit(failed > 0)


if __name__ == "__main__":
    main()
