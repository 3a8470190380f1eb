"""Asks of a random sample of the core's mutants whether the tests or the suite notice.

    mutants.py sample N SEED    draws, builds and runs; goes on where it was stopped
    mutants.py report N SEED    the share that was caught, and the survivors
    mutants.py again N SEED     puts the survivors through all stages once more, with the tests as they are now

`cargo mutants` names the mutants of crates/segue-proto/src. A copy of the repository in target/mutants/tree gets the whole
sample at once, each behind a switch (switched.py), and is built once, as tests are. A mutant that doesn't compile there is
tried alone: if it doesn't compile then, it isn't viable and doesn't count. Each of the others, one after the other, passes
through the quick stages until one fails or takes more than three times as long as without a mutant; those that are left
pass through the slow ones.
"""

import json
import os
import random
import re
import resource
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

from switched import SWITCH, plainly, switched

ROOT = Path(__file__).resolve().parents[2]
WORK = Path(os.environ.get("SEGUE_MUTANTS_DIR", ROOT / "target/mutants"))
TREE = WORK / "tree"
BUILD = WORK / "build"
CORE = "crates/segue-proto/src"
# What is built: as tests are, so that overflows panic, but without lines for debuggers.
PROFILE = ["--config", "profile.dev.debug=false"]
FEATURES = ["--features", "segue-proto/std,segue-proto/testing"]
# What the compiler foresees of a mutant is for tests to find: as an error it would end a build, and no check knows of it.
LENIENT = b"#![allow(arithmetic_overflow, unconditional_panic)] "
# Packages and their folders. Unit tests are built of the core alone.
TESTED = {
    "segue-proto": "crates/segue-proto",
    "segue-testkit": "crates/segue-testkit",
    "segue-service": "crates/segue-service",
    "segue-quic": "crates/segue-quic",
    "segue-conformance": "conformance",
}
# What a mutant has to pass: the name, and what is run as package, target and filter. Tier A of the suite is four of them.
QUICK = [
    ("vectors", [("segue-conformance", "it", "vectors::")]),
    ("core", [("segue-proto", "segue_proto", ""), ("segue-proto", "it", "")]),
    ("cases", [("segue-conformance", "it", "reference::")]),
    ("pairs", [("segue-conformance", "it", "every_pair_does")]),
    ("properties", [("segue-conformance", "it", "the_reference_keeps_every_property")]),
    ("service", [("segue-service", "it", "")]),
    ("nodes", [("segue-quic", "it", "")]),
    ("sockets", [("segue-conformance", "it", "the_reference_passes_every_case_over_quic")]),
]
# These wait for real clocks and sockets, and may fail because the machine is busy: see `Step.repeated`.
LIVE = ("nodes", "sockets")
# They take minutes each: what the quick ones catch needn't go through them. A transcript changes with whatever devices do,
# wrong or not; so it comes last, and the report tells what it alone notices.
SLOW = [
    ("simulator", [("segue-testkit", "it", "--skip transcripts::")]),
    ("model", [("segue-proto", "model", "")]),
    ("transcripts", [("segue-testkit", "it", "transcripts::")]),
]
# What a mutant may take of memory, and how often the limit it may take of the clock: the machine may be busy otherwise.
MEMORY = 8 << 30
IDLE = 40
# So many mutants pass through the quick stages, and then through the slow ones, before the next.
ROW = 10
# Seconds that a stage in real time may take by the clock, and one of its tests alone. A test gives up after 60.
LIVE_LIMIT = 900
ALONE_LIMIT = 150


def main() -> None:
    match sys.argv[1:]:
        case ["sample", count, seed]:
            sample(int(count), int(seed))
            report(int(count), int(seed))
        case ["report", count, seed]:
            report(int(count), int(seed))
        case ["again", count, seed]:
            Results(int(count), int(seed)).let_survivors_go()
            sample(int(count), int(seed))
            report(int(count), int(seed))
        case _:
            sys.exit(f"{__doc__}\nmutants.py: not one of these three: {sys.argv[1:]}")


def sample(count: int, seed: int) -> None:
    WORK.mkdir(parents=True, exist_ok=True)
    copy()
    drawn = draw(count, seed)
    results = Results(count, seed)
    names = {mutant["name"] for mutant in drawn}
    if any(row["name"] not in names for row in results.rows):
        sys.exit(f"mutants.py: the core changed since {results.path} was begun; remove that file to begin anew")
    results.begin()
    viable = build(drawn, results)
    run_stages(viable, results)


# The sample.


def draw(count: int, seed: int) -> list[dict]:
    """A sample of the mutants that cargo-mutants names, but for those of what is printed for developers."""
    listed = subprocess.run(
        ["cargo", "mutants", "--list", "--json", "--package", "segue-proto", "--file", f"{CORE}/**"],
        cwd=ROOT, check=True, capture_output=True, text=True,
    ).stdout
    mutants = [mutant for mutant in json.loads(listed) if not printed(mutant)]
    mutants.sort(key=lambda mutant: mutant["name"])
    drawn = random.Random(seed).sample(mutants, min(count, len(mutants)))
    for number, mutant in enumerate(drawn, 1):
        mutant["number"] = number
        del mutant["diff"]
    say(f"{len(drawn)} of {len(mutants)} mutants, seed {seed}")
    return drawn


def printed(mutant: dict) -> bool:
    function = (mutant["function"] or {}).get("function_name", "")
    return re.search(r"impl (fmt::)?(Debug|Display) for", function) is not None


class Results:
    """A line of JSON for each thing that is known of a mutant, written when it is: its end, or a stage that it passed.

    Ahead of those that one run wrote stands its commit.
    """

    def __init__(self, count: int, seed: int) -> None:
        self.path = WORK / f"results-{count}-{seed}.jsonl"
        lines = self.path.read_text().splitlines() if self.path.exists() else []
        rows = [json.loads(line) for line in lines]
        self.rows = [row for row in rows if "stage" in row]
        self.passed = {(row["name"], row["passed"]) for row in rows if "passed" in row}
        self.commits = list(dict.fromkeys(row["commit"] for row in rows if "commit" in row))

    def begin(self) -> None:
        """Notes the commit that is asked about, with a plus if the work tree differs from it."""
        commit = git("rev-parse", "--short=12", "HEAD") + ("+" if git("status", "--porcelain", "--untracked-files=no") else "")
        if commit not in self.commits:
            self.commits.append(commit)
        self.write({"commit": commit})

    def let_survivors_go(self) -> None:
        """What survived is open again, from the first stage on. What is known of the others stays."""
        lines = self.path.read_text().splitlines() if self.path.exists() else []
        rows = [json.loads(line) for line in lines]
        survived = {row["name"] for row in rows if row.get("stage") == "survived"}
        kept = [line for line, row in zip(lines, rows) if row.get("name") not in survived]
        self.path.write_text("".join(f"{line}\n" for line in kept))

    def ended(self, mutant: dict) -> bool:
        return any(row["name"] == mutant["name"] for row in self.rows)

    def add(self, mutant: dict, stage: str, how: str) -> None:
        row = {"number": mutant["number"], "name": mutant["name"], "stage": stage, "how": how}
        self.rows.append(row)
        self.write(row)
        say(f"{mutant['number']:4} {stage:10} {mutant['name']}: {how}")

    def add_passed(self, mutant: dict, stage: str) -> None:
        self.passed.add((mutant["name"], stage))
        self.write({"number": mutant["number"], "name": mutant["name"], "passed": stage})

    def write(self, row: dict) -> None:
        with self.path.open("a") as file:
            file.write(json.dumps(row) + "\n")


def git(*arguments: str) -> str:
    done = subprocess.run(["git", *arguments], cwd=ROOT, check=True, capture_output=True, text=True)
    return done.stdout.strip()


# The build.


def copy() -> None:
    """The files of the work tree that git knows; those that are as they were keep their time, so that nothing is built twice."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, check=True, capture_output=True).stdout
    for name in listed.decode().split("\0"):
        # The core's files are written with the mutants in them.
        if (ROOT / name).is_file() and not name.startswith(CORE):
            content = (ROOT / name).read_bytes()
            if name in (f"{folder}/Cargo.toml" for folder in list(TESTED.values())[1:]):
                content += b"\n[lib]\ntest = false\n"
            put(TREE / name, content)


def put(path: Path, content: bytes) -> None:
    if not path.exists() or path.read_bytes() != content:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


def build(drawn: list[dict], results: Results) -> list[dict]:
    """Puts all mutants that compile into the copy; the others are judged."""
    out = [row["name"] for row in results.rows if row["stage"] in ("unviable", "unswitched")]
    left, wrong = settle([mutant for mutant in drawn if mutant["name"] not in out], switched)
    # Of those that stood where an error was, some compile instead of the original. They may have stood beside a culprit.
    sound, unviable = settle(wrong, plainly)
    for mutant in unviable:
        results.add(mutant, "unviable", "doesn't compile")
    left, unswitched = settle([*left, *sound], switched)
    for mutant in unswitched:
        if settle([mutant], plainly)[1]:
            results.add(mutant, "unviable", "doesn't compile")
        else:
            results.add(mutant, "unswitched", "compiles, but not behind a switch")
    if unswitched:
        apply(left, switched)
    return sorted(left, key=lambda mutant: mutant["number"])


def settle(mutants: list[dict], write) -> tuple[list[dict], list[dict]]:
    """Writes the mutants into the copy, and takes out those where it doesn't compile, until it does."""
    left, wrong = mutants, []
    while left:
        apply(left, write)
        places = errors()
        if not places:
            return left, wrong
        culprits = [mutant for mutant in left if any(touches(mutant, place) for place in places)]
        if not culprits:
            sys.exit(f"the copy doesn't compile, and no mutant is there: {places}")
        wrong += culprits
        left = [mutant for mutant in left if mutant not in culprits]
    return left, wrong


def apply(mutants: list[dict], write) -> None:
    """Writes the mutants into the files of the core, and the other files as they are."""
    of: dict[str, list[dict]] = {}
    for mutant in mutants:
        of.setdefault(mutant["file"], []).append(mutant)
    for path in sorted((ROOT / CORE).rglob("*.rs")):
        name = str(path.relative_to(ROOT))
        content = write(path.read_bytes(), of.get(name, []))
        put(TREE / name, LENIENT + content + SWITCH.encode() if name == f"{CORE}/lib.rs" else content)


def errors() -> list[tuple[str, int, int]]:
    """Where the core doesn't compile: file, first and last line."""
    done = cargo("check", "--package", "segue-proto", *FEATURES, "--message-format", "json")
    found = []
    for line in done.stdout.splitlines():
        message = json.loads(line).get("message") or {}
        if message.get("level") == "error":
            for span in [span for span in message["spans"] if span["is_primary"]]:
                while span.get("expansion") and not span["file_name"].startswith(CORE):
                    span = span["expansion"]["span"]
                found.append((span["file_name"], span["line_start"], span["line_end"]))
    if done.returncode and not found:
        sys.exit(f"cargo check failed:\n{done.stderr}")
    return found


def touches(mutant: dict, place: tuple[str, int, int]) -> bool:
    file, first, last = place
    start, end = mutant["span"]["start"]["line"], mutant["span"]["end"]["line"]
    if mutant["genre"] == "FnValue":
        # An early return of another type than the body's is an error at the body's end.
        whole = mutant["function"]["span"]
        start, end = whole["start"]["line"], whole["end"]["line"]
    return mutant["file"] == file and start <= last and end >= first


def cargo(*arguments: str) -> subprocess.CompletedProcess:
    environment = {**os.environ, "CARGO_TARGET_DIR": str(BUILD), "CARGO_INCREMENTAL": "0"}
    command = ["cargo", arguments[0], *PROFILE, *arguments[1:]]
    return subprocess.run(command, cwd=TREE, env=environment, capture_output=True, text=True)


# The stages.


def run_stages(mutants: list[dict], results: Results) -> None:
    """Puts one mutant after the other through the stages, so that those that are known are the first of the sample."""
    if all(results.ended(mutant) for mutant in mutants):
        return
    built, explored = programs(), {}
    for at in range(0, len(mutants), ROW):
        for stages in (QUICK, SLOW):
            pass_through(mutants[at : at + ROW], stages, built, explored, results)


def pass_through(mutants: list[dict], stages: list[tuple], built: dict, explored: dict, results: Results) -> None:
    for mutant in mutants:
        for name, parts in stages:
            if results.ended(mutant) or (mutant["name"], name) in results.passed:
                continue
            if name not in explored:
                explored[name] = explore(name, parts, built)
            steps, taken = explored[name]
            why = next(filter(None, (step.with_mutant(mutant["number"], 3 * taken + 10) for step in steps)), None)
            if why is not None:
                results.add(mutant, name, why)
            else:
                results.add_passed(mutant, name)
        end(mutant, results)


def end(mutant: dict, results: Results) -> None:
    """Writes of a mutant that has passed all stages that it survived."""
    passed = all((mutant["name"], name) in results.passed for name, _ in QUICK + SLOW)
    if passed and not results.ended(mutant):
        results.add(mutant, "survived", "passes all stages")


def explore(name: str, parts: list[tuple], built: dict) -> tuple:
    """A stage, as it passes without a mutant: its steps, and the time of processors that they take."""
    steps = [Step(built[package, target], TREE / TESTED[package], chosen, name in LIVE) for package, target, chosen in parts]
    taken = 0.0
    for step in steps:
        used, why = step.explore()
        taken += used
        if why is not None:
            sys.exit(f"without a mutant the stage '{name}' fails: {why}")
    say(f"without a mutant: {name} passes, {taken:.1f} s of processors")
    return steps, taken


class Step:
    """A program of tests, or those of its tests whose names hold a word. A test that doesn't come to a mutant can't notice it."""

    def __init__(self, program: str, folder: Path, chosen: str, live: bool) -> None:
        self.program, self.folder, self.live = program, folder, live
        self.chosen = chosen.split()
        self.reached: dict[int, set[str]] = {}

    def explore(self) -> tuple[float, str | None]:
        """Runs without a mutant, and learns which tests come to which mutants; once for each build, for it may take long."""
        known = WORK / "explored.json"
        built = f"{self.program} {os.stat(self.program).st_mtime_ns} {' '.join(self.chosen)}"
        explored = json.loads(known.read_text()) if known.exists() else {}
        listed = subprocess.run(
            [self.program, *self.chosen, "--list"], cwd=self.folder, check=True, capture_output=True, text=True
        ).stdout
        self.tests = {line.removesuffix(": test") for line in listed.splitlines() if line.endswith(": test")}
        if built not in explored:
            used, why, lines, left_out = self.explored()
            if why is not None:
                return used, why
            explored[built] = (used, lines, left_out)
            known.write_text(json.dumps(explored))
        used, lines, left_out = explored[built]
        self.tests -= set(left_out)
        for line in lines:
            number, thread = line.split(" ", 1)
            if thread not in left_out:
                self.reached.setdefault(int(number), set()).add(thread)
        return used, None

    def explored(self) -> tuple[float, str | None, list[str], list[str]]:
        """What a run without a mutant took, why it fails, what its threads came to, and which tests are left out.

        A test in real time that fails twice, for the machine is too busy, tells nothing of any mutant.
        """
        record, failed = WORK / f"reached-{os.getpid()}", []
        while True:
            left_out = [test for test in set(failed) if failed.count(test) > 1]
            tests = [test for test in sorted(self.tests) if test not in left_out]
            chosen = ["--exact", *tests] if self.live else self.chosen
            used, why = run([self.program, *chosen], self.folder, 0, 7200, record)
            lines = record.read_text().splitlines() if record.exists() else []
            record.unlink(missing_ok=True)
            if why not in self.tests or not self.live or len(failed) > 9:
                break
            say(f"without a mutant: {why} fails")
            failed.append(why)
        return used, why, sorted(set(lines)), left_out

    def with_mutant(self, number: int, limit: float) -> str | None:
        """Why a test fails with the mutant. A thread that isn't a test's own may belong to any of them."""
        reached = self.reached.get(number, set())
        if not reached:
            return None
        known = reached <= self.tests
        if self.live:
            return self.repeated(sorted(reached if known else self.tests), number, limit)
        return run([self.program, *(["--exact", *sorted(reached)] if known else self.chosen)], self.folder, number, limit)[1]

    def repeated(self, tests: list[str], number: int, limit: float) -> str | None:
        """Why a test in real time fails with the mutant: one that right after does so again, alone, and passes without it.

        Another, which failed because the machine was busy, say, tells nothing of the mutant, and the rest go on without it.
        """
        while tests:
            why = run([self.program, "--exact", *tests], self.folder, number, limit, patience=LIVE_LIMIT)[1]
            if why is None:
                return None
            named = why in self.tests
            command = [self.program, "--exact", *([why] if named else tests)]
            patience = ALONE_LIMIT if named else LIVE_LIMIT
            again = [run(command, self.folder, at, limit, patience=patience)[1] for at in (number, 0)]
            if again[0] is not None and again[1] is None:
                return why
            say(f"{number:4} not for its mutant: {why}; {'fails without it, too' if again[0] else 'passes when repeated'}")
            tests = [test for test in tests if named and test != why]
        return None


def programs() -> dict[tuple[str, str], str]:
    """Builds what the stages run."""
    say("building")
    packages = [word for package in TESTED for word in ("--package", package)]
    built = cargo("test", "--no-run", *packages, "--tests", *FEATURES, "--message-format", "json")
    if built.returncode:
        sys.exit(f"the copy doesn't build:\n{built.stderr}")
    of_folder = {str(TREE / folder): package for package, folder in TESTED.items()}
    found = {}
    for line in built.stdout.splitlines():
        it = json.loads(line)
        if it.get("reason") == "compiler-artifact" and it.get("executable") and it["profile"]["test"]:
            found[of_folder[str(Path(it["manifest_path"]).parent)], it["target"]["name"]] = it["executable"]
    return found


def run(
    command: list[str], folder: Path, number: int, limit: float, record: Path | None = None, patience: float | None = None
) -> tuple[float, str | None]:
    """Runs until the end, the first test that fails, or the limit. The time of processors that it took, and why it failed.

    The limit is of that time too, so that what else the machine does fails no test; who waits may take longer. With
    `patience`, in seconds by the clock, a test that takes a minute has failed, too.
    """
    environment = {
        **os.environ, "SEGUE_MUTANT": str(number), "CARGO_MANIFEST_DIR": str(folder), "INSTA_UPDATE": "no",
        "INSTA_WORKSPACE_ROOT": str(TREE), "PROPTEST_RNG_SEED": "7", "PROPTEST_DISABLE_FAILURE_PERSISTENCE": "1",
        "PROPTEST_MAX_SHRINK_ITERS": "0", "RUST_BACKTRACE": "0",
    }
    if record is not None:
        environment["SEGUE_MUTANTS_REACHED"] = str(record)

    def bound() -> None:
        resource.setrlimit(resource.RLIMIT_CPU, (int(limit), int(limit) + 5))
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))

    child = subprocess.Popen(
        command, cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, process_group=0,
        preexec_fn=bound, text=True, errors="replace",
    )
    late = threading.Event()

    def stop() -> None:
        late.set()
        os.killpg(child.pid, signal.SIGKILL)

    timer = threading.Timer(patience or IDLE * limit, stop)
    timer.start()
    why, last = None, ""
    for line in child.stdout:
        last = line.strip() or last
        if line.startswith("test ") and line.rstrip().endswith("FAILED"):
            why = line.split()[1]
        elif patience and line.startswith("test ") and "has been running for over" in line:
            why = line.split()[1]
        elif line.startswith("running 0 tests") and len(command) > 1:
            why = "no test of that name"
        if why is not None:
            os.killpg(child.pid, signal.SIGKILL)
            break
    _, status, usage = os.wait4(child.pid, 0)
    timer.cancel()
    code = os.waitstatus_to_exitcode(status)
    used = usage.ru_utime + usage.ru_stime
    if why is None and (late.is_set() or code == -signal.SIGXCPU):
        why = f"more than {limit:.0f} s"
    elif why is None and code != 0:
        why = f"exit {code}: {last[:120]}"
    return used, why


# The report.


def report(count: int, seed: int) -> None:
    results = Results(count, seed)
    rows = {row["number"]: row for row in results.rows}
    # Whoever runs out of time knows all of the first of the sample, which are a sample too.
    known = next((number - 1 for number in range(1, count + 1) if number not in rows), count)
    print(f"\n{count} mutants, seed {seed}, commit {', then '.join(results.commits) or 'unknown'}")
    if known < count:
        print(f"not known yet: {count - len(rows)}; below are the first {known} alone")
    of: dict[str, list[dict]] = {}
    for number in range(1, known + 1):
        of.setdefault(rows[number]["stage"], []).append(rows[number])
    viable = known - len(of.get("unviable", []))
    missed = of.get("survived", []) + of.get("unswitched", [])
    if viable:
        caught, alone = viable - len(missed), len(of.get("transcripts", []))
        print(f"{viable} viable, {caught} of them caught: {100 * caught / viable:.1f} %")
        print(f"without those that only a transcript notices: {caught - alone}, {100 * (caught - alone) / viable:.1f} %")
    for stage, those in of.items():
        print(f"  {stage}: {len(those)}")
    for row in missed:
        print(f"{row['stage']}: {row['name']}")


def say(text: str) -> None:
    print(time.strftime("%H:%M:%S"), text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
