//! `spec/registry.json`: the numbers and names that the protocol gives out.

use segue_proto::errors::Outcome;
use segue_proto::wire::Message;
use segue_proto::{Ability, Clause, Code, Generation, limits};

use super::tables::place;
use crate::json::Json;

/// The registry.
pub(crate) fn registry() -> Json {
    Json::object([
        ("protocol", Json::from("segue/1")),
        (
            "generations",
            Json::list(Generation::ALL.map(|generation| {
                Json::object([
                    ("number", u64::from(generation.number()).into()),
                    ("name", Json::from(generation.name())),
                ])
            })),
        ),
        (
            "abilities",
            Json::list(Ability::ALL.map(|ability| {
                Json::object([
                    ("name", Json::from(ability.name())),
                    ("since", ability.since().name().into()),
                    ("able_to", ability.words().into()),
                ])
            })),
        ),
        (
            "messages",
            Json::list(Message::TABLE.iter().map(|row| {
                Json::object([
                    ("type", row.number.into()),
                    ("name", Json::from(row.name)),
                    ("payload", row.payload.into()),
                    ("since", row.since.name().into()),
                    ("where", place(row.place).into()),
                    ("chapter", row.chapter.into()),
                ])
            })),
        ),
        (
            "errors",
            Json::list(Code::TABLE.iter().map(|row| {
                Json::object([
                    ("code", u64::from(row.code.number()).into()),
                    ("name", Json::from(row.name)),
                    ("definite", (row.outcome == Outcome::Definite).into()),
                    ("meaning", row.meaning.trim().into()),
                ])
            })),
        ),
        (
            "limits",
            Json::list(limits::TABLE.iter().map(|row| {
                Json::object([
                    ("name", Json::from(row.name)),
                    ("value", row.value.into()),
                    ("unit", row.unit.into()),
                    ("bounds", row.meaning.trim().into()),
                ])
            })),
        ),
        (
            "clauses",
            Json::list(
                Clause::TABLE
                    .iter()
                    .map(|(id, summary)| Json::object([("id", Json::from(*id)), ("summary", (*summary).into())])),
            ),
        ),
    ])
}
