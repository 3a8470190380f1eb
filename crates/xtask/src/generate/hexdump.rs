//! The vectors as the spec shows them.

use std::collections::BTreeMap;

use super::Output;
use super::tables::table;
use crate::json::Json;
use crate::problem::Problem;
use crate::tree::Tree;
use crate::vectors::{Values, Vector};

/// These vectors: the most important ones in full, with their intermediate values, the others in tables.
pub(crate) fn section<'a>(vectors: impl Iterator<Item = &'a Vector>) -> String {
    let vectors: Vec<&Vector> = vectors.collect();
    let mut seen = BTreeMap::new();
    let mut out: String = vectors.iter().filter(|vector| vector.shown).map(|vector| show(vector, &mut seen)).collect();
    let rest = |valid: bool| vectors.iter().filter(move |vector| !vector.shown && vector.valid == valid);
    let accepted = rest(true)
        .map(|vector| [vector.name.clone(), vector.what.clone(), short(&vector.input), short(&vector.expected)]);
    let refused = rest(false).map(|vector| {
        [
            vector.name.clone(),
            vector.what.clone(),
            short(&vector.input),
            format!("`{}`", vector.error()),
            vector.clauses.join(" or "),
        ]
    });
    let accepted = table(["accepted", "what it is", "input", "gives"], accepted);
    let refused = table(["refused", "what is wrong", "input", "error", "requirement"], refused);
    out.push_str(&accepted);
    if !accepted.is_empty() && !refused.is_empty() {
        out.push('\n');
    }
    out + &refused
}

/// Named values on one line, if they are short enough for a table.
fn short(values: &Values) -> String {
    let values: Vec<String> = values
        .iter()
        .map(|(name, value)| {
            let value = text_of(value).unwrap_or_else(|| bare(value));
            format!("{name} `{value}`")
        })
        .collect();
    let line = values.join(", ");
    if line.chars().count() <= SHORT && !line.contains("``") { line } else { "in its file".into() }
}

/// Long hex in the spec's own text must be that of a vector or a table.
pub(crate) fn check(tree: &Tree, outputs: &[Output]) -> Vec<Problem> {
    let mut problems = Vec::new();
    for file in tree.spec() {
        let mut generated = false;
        for (line, text) in file.lines() {
            generated = (generated || text.starts_with("<!-- generated:")) && !text.starts_with("<!-- end -->");
            let words = text.split(|c: char| !c.is_ascii_alphanumeric());
            let mut hex = words.filter(|word| word.len() >= LONG && word.bytes().all(|b| b.is_ascii_hexdigit()));
            let known =
                |word: &str| outputs.iter().any(|output| output.path.ends_with(".json") && output.text.contains(word));
            if let Some(word) = hex.find(|word| !generated && !known(word)) {
                let what =
                    format!("{}… is in no vector: correct it, or show the vector in a generated section", &word[..16]);
                problems.push(Problem::at(&file.path, line, what));
            }
        }
    }
    problems
}

/// Where long values were shown first.
type Seen = BTreeMap<String, String>;

fn show(vector: &Vector, seen: &mut Seen) -> String {
    let mut out = format!("**{}**: {}\n\n```text\n", vector.name, vector.what);
    let parts = [("input", &vector.input), ("intermediate", &vector.intermediate), ("expected", &vector.expected)];
    for (title, values) in parts {
        if !values.is_empty() {
            out.push_str(title);
            out.push('\n');
            for (name, value) in values {
                match again(vector, name, value, seen) {
                    Some(place) => out.push_str(&line(1, name, &place)),
                    None => lines(1, name, value, &mut out),
                }
            }
        }
    }
    out + "```\n\n"
}

/// Where a long value was shown already, in this vector or one before it.
fn again(vector: &Vector, name: &str, value: &Json, seen: &mut Seen) -> Option<String> {
    let Json::Text(hex) = value else { return None };
    if hex.len() <= 2 * HEX {
        return None;
    }
    let whole = vector.input.iter().find_map(|(other, whole)| match whole {
        Json::Text(whole) if other != name && whole.len() > hex.len() && whole.ends_with(hex.as_str()) => Some(other),
        _ => None,
    });
    if let Some(whole) = whole {
        return Some(format!("the last {} bytes of {whole}", hex.len() / 2));
    }
    if let Some(place) = seen.get(hex) {
        return Some(format!("as {place}"));
    }
    seen.insert(hex.clone(), format!("{name} of {}", vector.name));
    None
}

/// A named value, `level` steps in.
fn lines(level: usize, name: &str, value: &Json, out: &mut String) {
    let indent = "  ".repeat(level);
    match value {
        Json::Object(members) if text_of(value).is_none() && !members.is_empty() => {
            out.push_str(&format!("{indent}{name}\n"));
            members.iter().for_each(|(name, value)| lines(level + 1, name, value, out));
        }
        Json::List(items) if items.iter().any(|item| !matches!(item, Json::Number(_))) => {
            for (at, item) in items.iter().enumerate() {
                lines(level, &format!("{name}[{at}]"), item, out);
            }
        }
        _ => out.push_str(&line(level, name, &text_of(value).unwrap_or_else(|| bare(value)))),
    }
}

/// Text stands in the vectors as an object with the one member `text`.
fn text_of(value: &Json) -> Option<String> {
    match value {
        Json::Object(members) => match members.as_slice() {
            [(name, text @ Json::Text(_))] if name == "text" => Some(text.to_line()),
            _ => None,
        },
        _ => None,
    }
}

fn bare(value: &Json) -> String {
    match value {
        Json::Text(text) if text.is_empty() => "(empty)".into(),
        Json::Text(text) => text.clone(),
        other => other.to_line(),
    }
}

/// A name and its value. Hex is broken after whole bytes, other text not at all.
fn line(level: usize, name: &str, value: &str) -> String {
    let indent = "  ".repeat(level);
    let mut head = format!("{indent}{name:<width$} ", width = NAME.saturating_sub(indent.len()));
    if !value.bytes().all(|b| b.is_ascii_hexdigit()) {
        return format!("{head}{value}\n");
    }
    let mut out = String::new();
    let mut rest = value;
    while !rest.is_empty() {
        let (line, more) = rest.split_at(rest.len().min(HEX));
        out.push_str(&format!("{head}{line}\n"));
        head = " ".repeat(head.chars().count());
        rest = more;
    }
    out
}

/// What a table's cell holds at most, in characters.
const SHORT: usize = 100;

/// Digits a line: 32 bytes.
const HEX: usize = 64;

/// The column at which values start.
const NAME: usize = 22;

/// Shorter hex may be anything: a code, a type, a colour.
const LONG: usize = 32;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hex_that_no_vector_has_is_found() {
        let outputs = [Output { path: "a.json".into(), text: "\"00112233445566778899aabbccddeeff\"".into() }];
        let found = |text: &str| check(&Tree::of(&[("spec/01-wire.md", text)]), &outputs).len();
        assert_eq!(found("It is 00112233445566778899aabbccddeeff.\n"), 0);
        assert_eq!(found("It is 00112233445566778899aabbccddeefe.\n"), 1);
        assert_eq!(found("It is 0x0102 and cafe.\n"), 0);
    }

    #[test]
    fn values_are_named_and_wrapped() {
        let mut out = String::new();
        let value = Json::object([
            ("bytes", Json::hex([7; 33])),
            ("name", Json::object([("text", Json::from("a\"b"))])),
            ("list", Json::list([Json::hex([1]), Json::hex([2])])),
        ]);
        lines(0, "frame", &value, &mut out);
        let expected = format!(
            "frame\n  bytes                {}\n{}07\n  name                 \"a\\\"b\"\n  list[0]              01\n  list[1]              02\n",
            "07".repeat(32),
            " ".repeat(23)
        );
        assert_eq!(out, expected);
    }
}
