//! The sections of the spec that come from the core's tables.

use segue_proto::errors::Outcome;
use segue_proto::wire::schema::Struct;
use segue_proto::wire::{self, Message, Place};
use segue_proto::{Ability, Clause, Code, Generation, data, limits, transfer};

use super::contexts;
use super::schema::{bulk, signed};
use crate::check::CHAPTERS;
use crate::vectors::Vector;

/// The section of this name; none if there is no such section.
///
/// `payloads` and `clauses` may be narrowed: `payloads link` holds the payloads of one chapter's messages, `clauses HO`
/// one area's clauses, `objects Record Genesis` (and so for `data` and `transfer`) the structures named.
pub(crate) fn section(name: &str, vectors: &[Vector]) -> Option<String> {
    let (kind, rest) = name.split_once(' ').map_or((name, ""), |(kind, rest)| (kind, rest.trim()));
    let text = match kind {
        "messages" => messages(),
        "states" => states(),
        "errors" => errors(),
        "limits" => limits(),
        "generations" => generations(),
        "abilities" => abilities(),
        "payloads" => payloads(rest),
        // Structures by their names may be those of any chapter.
        "objects" if rest.is_empty() => structures(wire::parts(), rest),
        "objects" => structures(wire::parts().into_iter().chain(bulk()).collect(), rest),
        "data" => structures(data::parts(), rest),
        "transfer" => structures(transfer::parts(), rest),
        "clauses" => clauses(rest),
        "contexts" => contexts(),
        "vectors" => super::hexdump::section(vectors.iter().filter(|vector| vector.chapter == rest)),
        _ => return None,
    };
    (!text.is_empty()).then_some(text)
}

/// The sections that the spec can't do without.
pub(crate) fn required() -> Vec<String> {
    let tables = ["messages", "states", "errors", "limits", "payloads", "objects", "clauses"].map(String::from);
    tables.into_iter().chain(CHAPTERS.into_iter().map(|chapter| format!("vectors {chapter}"))).collect()
}

fn messages() -> String {
    let rows = Message::TABLE.iter().map(|row| {
        let since = row.since.name();
        [
            format!("`0x{:02x}`", row.number),
            row.name.into(),
            row.payload.into(),
            since.into(),
            place(row.place).into(),
            row.chapter.into(),
        ]
    });
    table(["type", "message", "payload", "from generation", "where", "chapter"], rows)
}

/// What a receiver does with each message in each state of its link.
fn states() -> String {
    let early = "`WIRE_STATE` (LINK-HELLO-1)";
    let late = "`WIRE_STATE` (LINK-AUTH-1)";
    let known = Message::TABLE.iter().map(|row| {
        let [greeting, authenticating, ready] = match row.place {
            Place::First => ["LINK-HELLO-2 → Authenticating".into(), late.into(), "`WIRE_STATE` (LINK-HELLO-1)".into()],
            Place::Second => {
                let proof = "LINK-AUTH-2, LINK-AUTH-4, GEN-FLOOR-1, LINK-AUTH-3, section 3.5 → Ready";
                [early.into(), proof.into(), late.into()]
            }
            Place::Always => ["→ Closed".into(), "→ Closed".into(), "→ Closed".into()],
            Place::Control => [early.into(), late.into(), ready(row.chapter, row.since)],
            Place::Bulk => [early.into(), late.into(), late.into()],
        };
        [row.name.to_owned(), greeting, authenticating, ready, "ignored".into()]
    });
    let unknown =
        [("unknown, even", "`WIRE_UNKNOWN_CRITICAL` (WIRE-FRAME-2)"), ("unknown, odd", "skipped (WIRE-FRAME-3)")];
    let rest = unknown.map(|(name, what)| [name, what, what, what, "ignored"].map(String::from));
    table(["message", "Greeting", "Authenticating", "Ready", "Closed"], known.chain(rest))
}

/// What is done with a message that may come once the link is ready.
fn ready(chapter: &str, since: Generation) -> String {
    let rule = match CHAPTERS.iter().position(|name| *name == chapter) {
        Some(0 | 1) => "section 3.3".to_owned(),
        Some(at) => format!("[{0:02}-{chapter}]({0:02}-{chapter}.md)", at + 2),
        None => "[12-errors](12-errors.md)".to_owned(),
    };
    if since == Generation::V1_4 {
        return rule;
    }
    format!("{rule}; below generation {} `VER_NOT_PERMITTED` (GEN-USE-1)", since.name())
}

/// Where a message may be sent, in words.
pub(crate) fn place(place: Place) -> &'static str {
    match place {
        Place::First => "control stream, first frame",
        Place::Second => "control stream, second frame",
        Place::Always => "control stream, before and after AUTH",
        Place::Control => "control stream, after AUTH",
        Place::Bulk => "bulk stream, first frame",
    }
}

fn errors() -> String {
    let rows = Code::TABLE.iter().map(|row| {
        let definite = if row.outcome == Outcome::Definite { "yes" } else { "no" };
        [format!("`0x{:04x}`", row.code.number()), row.name.into(), definite.into(), row.meaning.trim().into()]
    });
    table(["code", "name", "definite", "meaning"], rows)
}

fn limits() -> String {
    let rows = limits::TABLE
        .iter()
        .map(|row| [row.name.into(), grouped(row.value), row.unit.into(), row.meaning.trim().into(), row.from.into()]);
    table(["name", "value", "unit", "bounds", "where the value comes from"], rows)
}

fn generations() -> String {
    let rows = Generation::ALL.iter().map(|generation| {
        let since = Message::TABLE.iter().filter(|row| row.since == *generation).map(|row| row.name);
        [generation.number().to_string(), generation.name().into(), since.collect::<Vec<_>>().join(", ")]
    });
    table(["in HELLO", "generation", "adds the messages"], rows)
}

/// What a device is able to do, by its generation.
fn abilities() -> String {
    let rows = Ability::ALL.iter().map(|it| [it.name(), it.words(), it.since().name()].map(String::from));
    table(["name", "what the device is able to do", "from generation"], rows)
}

fn payloads(chapter: &str) -> String {
    let of_chapter = |name: &str| {
        chapter.is_empty() || Message::TABLE.iter().any(|row| row.payload == name && row.chapter == chapter)
    };
    let payloads = wire::payloads().into_iter().filter(|payload| of_chapter(payload.name));
    payloads
        .map(|payload| {
            let row = Message::TABLE.iter().find(|row| row.payload == payload.name);
            let title = row
                .map_or(payload.name.into(), |row| format!("{} (`0x{:02x}`, {})", row.name, row.number, payload.name));
            structure(&title, &payload)
        })
        .collect()
}

fn structures(all: Vec<Struct>, names: &str) -> String {
    let names: Vec<&str> = names.split_whitespace().collect();
    let wanted = all.iter().filter(|found| names.is_empty() || names.contains(&found.name));
    let titled = wanted.map(|found| {
        let signed = signed().into_iter().find(|row| row.body == found.name);
        let title = signed.map_or(found.name.into(), |row| format!("{}, signed as `{}`", found.name, row.sig_context));
        structure(&title, found)
    });
    titled.collect()
}

fn structure(title: &str, structure: &Struct) -> String {
    let rows =
        structure.fields.iter().map(|field| [format!("`{}`", field.name), field.shape.clone(), field.doc.clone()]);
    format!("**{title}**: {}\n\n{}\n", structure.doc, table(["field", "encoding", "what it holds"], rows))
}

fn clauses(area: &str) -> String {
    let of_area = |id: &str| area.is_empty() || id.split('-').next() == Some(area);
    let rows = Clause::TABLE.iter().filter(|row| of_area(row.0)).map(|row| [row.0.to_string(), row.1.to_string()]);
    table(["clause", "in short"], rows)
}

fn contexts() -> String {
    let rows = contexts::TABLE.iter().map(|row| [format!("`{}`", row.context), row.names.into(), row.over.into()]);
    table(["context", "names", "over"], rows)
}

/// A table in Markdown; empty without rows.
pub(super) fn table<const N: usize>(head: [&str; N], rows: impl Iterator<Item = [String; N]>) -> String {
    let line = |cells: Vec<String>| format!("| {} |\n", cells.join(" | "));
    let head = line(head.map(String::from).to_vec()) + "|" + &"---|".repeat(N) + "\n";
    // A bar would end its cell.
    let rows: String = rows.map(|row| line(row.map(|cell| cell.replace('|', "\\|")).to_vec())).collect();
    if rows.is_empty() { String::new() } else { head + &rows }
}

/// A number with its digits in groups of three.
fn grouped(value: u64) -> String {
    let digits = value.to_string();
    let mut out = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_required_table_is_there() {
        for name in required().iter().filter(|name| !name.starts_with("vectors")) {
            assert!(section(name, &[]).is_some(), "{name}");
        }
        assert_eq!(section("nothing", &[]), None);
        assert_eq!(section("clauses NOPE", &[]), None);
    }

    #[test]
    fn numbers_are_grouped() {
        assert_eq!([0, 999, 1_000, 86_400_000_000].map(grouped), ["0", "999", "1,000", "86,400,000,000"]);
    }
}
