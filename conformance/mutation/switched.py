"""Puts many mutants into one copy of the sources, each behind a switch of its own.

A mutant is what `cargo mutants --list --json` names: a span of a file, and what is to stand there instead. So that all of
them are compiled once, the smallest expression that the span may change is written twice, `(if crate::mutant(7) { changed }
else { original })`; a function's body gets an early return, a deleted arm of a match a guard. `crate::mutant` compares with
the environment variable SEGUE_MUTANT, and where SEGUE_MUTANTS_REACHED names a file, it notes there which thread came to which mutant.
"""

from dataclasses import dataclass, field

import tree_sitter_rust
from tree_sitter import Language, Parser

PARSER = Parser(Language(tree_sitter_rust.language()))

SWITCH = """
extern crate std;

#[doc(hidden)]
pub fn mutant(number: u32) -> bool {
    static CHOSEN: std::sync::OnceLock<(u32, Option<std::ffi::OsString>)> = std::sync::OnceLock::new();
    let (chosen, record) = CHOSEN.get_or_init(|| {
        let named = std::env::var("SEGUE_MUTANT").ok().and_then(|text| text.parse().ok()).unwrap_or(0);
        (named, std::env::var_os("SEGUE_MUTANTS_REACHED"))
    });
    if let Some(path) = record {
        std::thread_local! {
            static REACHED: core::cell::RefCell<std::collections::HashSet<u32>> = core::cell::RefCell::default();
        }
        if REACHED.try_with(|reached| reached.borrow_mut().insert(number)).unwrap_or(true) {
            let thread = std::thread::current();
            let line = std::format!("{number} {}\\n", thread.name().unwrap_or("-"));
            let mut file = std::fs::File::options().append(true).create(true).open(path).expect("the record opens");
            std::io::Write::write_all(&mut file, line.as_bytes()).expect("the record is written");
        }
    }
    *chosen == number
}
"""


@dataclass
class Switch:
    """Bytes `start..end` of a file that are written twice."""

    start: int
    end: int
    number: int
    head: str
    tail: str
    changed: str = ""
    inner: list = field(default_factory=list)


def span(source: bytes, mutant: dict) -> tuple[int, int]:
    """The bytes that the mutant replaces. Its columns count characters from 1."""
    starts = [0]
    for line in source.split(b"\n"):
        starts.append(starts[-1] + len(line) + 1)

    def offset(place: dict) -> int:
        line = source[starts[place["line"] - 1] : starts[place["line"]]].decode()
        return starts[place["line"] - 1] + len(line[: place["column"] - 1].encode())

    return offset(mutant["span"]["start"]), offset(mutant["span"]["end"])


def plainly(source: bytes, mutants: list[dict]) -> bytes:
    """The file with these mutants in place of the original, and each line where it was."""
    out, end = [], len(source)
    for first, last, mutant in sorted(((*span(source, mutant), mutant) for mutant in mutants), key=lambda it: -it[0]):
        # Where one holds another, the outer is left for the compiler to judge.
        if last <= end:
            lines = source[first:last].count(b"\n")
            out += [source[last:end], flat(mutant["replacement"]).encode() + b"\n" * lines]
            end = first
    return source[:end] + b"".join(reversed(out))


def switched(source: bytes, mutants: list[dict]) -> bytes:
    """The file with all of these mutants behind their switches, line for line as long as before."""
    root = PARSER.parse(source).root_node
    switches, deleted = [], []
    for mutant in mutants:
        found = find(source, root, mutant)
        switches.append(found)
        constant = constness(root, found.start)
        if constant is not None and constant not in deleted:
            deleted.append(constant)
    # What a constant function is asked at run time is answered at run time.
    switches += [Switch(start, end, 0, "", "") for start, end in deleted]
    return render(source, 0, len(source), nest(switches))


def find(source: bytes, root, mutant: dict) -> Switch:
    start, end = span(source, mutant)
    number, replacement = mutant["number"], mutant["replacement"]
    chosen = f"crate::mutant({number})"
    match mutant["genre"]:
        case "FnValue":
            return Switch(start, start, number, f"if {chosen} {{ return {flat(replacement)}; }} ", "")
        case "MatchArm":
            arm = upwards(root.descendant_for_byte_range(start, start + 1), "match_arm", start)
            pattern = arm.child_by_field_name("pattern")
            condition = pattern.child_by_field_name("condition")
            if condition is None:
                return Switch(pattern.end_byte, pattern.end_byte, number, f" if !{chosen}", "")
            at = condition.start_byte
            if condition.type in ("let_chain", "let_condition"):
                return Switch(at, at, number, f"!{chosen} && ", "")
            return Switch(at, condition.end_byte, number, f"!{chosen} && (", ")")
        case "MatchArmGuard":
            first, last = start, end
        case "StructField":
            node = upwards(root.descendant_for_byte_range(start, start + 1), "struct_expression", None)
            first, last = node.start_byte, node.end_byte
        case "BinaryOperator" | "UnaryOperator":
            node = root.descendant_for_byte_range(start, end).parent
            # A changed operator may bind otherwise than the original: the whole row of them is written twice.
            while node.parent is not None and node.parent.type in ("binary_expression", "unary_expression"):
                node = node.parent
            first, last = node.start_byte, node.end_byte
        case genre:
            raise ValueError(f"{mutant['name']}: no switch is known for the genre {genre}")
    # What is written twice stands on one line, so that all that follows keeps its own.
    comments = [node for node in within(root, first, last) if node.type in ("line_comment", "block_comment")]
    bare = bytearray(source)
    for comment in comments:
        bare[comment.start_byte : comment.end_byte] = b" " * (comment.end_byte - comment.start_byte)
    changed = (bare[first:start] + replacement.encode() + bare[end:last]).decode()
    return Switch(first, last, number, f"(if {chosen} {{ ", " })", flat(changed) + " } else { ")


def flat(text: str) -> str:
    return " ".join(line.strip() for line in text.split("\n"))


def within(node, first: int, last: int):
    """All nodes that touch a range."""
    for child in node.children:
        if child.start_byte < last and child.end_byte > first:
            yield child
            yield from within(child, first, last)


def upwards(node, kind: str, start: int | None):
    while node is not None and (node.type != kind or start is not None and node.start_byte != start):
        node = node.parent
    if node is None:
        raise ValueError(f"no {kind} there")
    return node


def constness(root, at: int) -> tuple[int, int] | None:
    """Where the word 'const' of the function around a place stands."""
    node = root.descendant_for_byte_range(at, at)
    while node is not None and node.type != "function_item":
        node = node.parent
    for child in node.children if node is not None else []:
        if child.type == "function_modifiers":
            for word in child.children:
                if word.type == "const":
                    return word.start_byte, word.end_byte
    return None


def nest(switches: list[Switch]) -> list[Switch]:
    outermost: list[Switch] = []
    open_ones: list[Switch] = []
    for switch in sorted(switches, key=lambda it: (it.start, -it.end, it.number)):
        while open_ones and not (switch.start >= open_ones[-1].start and switch.end <= open_ones[-1].end
                                 and open_ones[-1].start != open_ones[-1].end):
            open_ones.pop()
        (open_ones[-1].inner if open_ones else outermost).append(switch)
        open_ones.append(switch)
    return outermost


def render(source: bytes, start: int, end: int, switches: list[Switch]) -> bytes:
    out = []
    for switch in switches:
        out.append(source[start : switch.start])
        if switch.number:
            out += [switch.head.encode(), switch.changed.encode()]
            out += [render(source, switch.start, switch.end, switch.inner), switch.tail.encode()]
        start = switch.end
    out.append(source[start:end])
    return b"".join(out)
