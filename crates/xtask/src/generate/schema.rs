//! `spec/schema.json`: every structure on the wire, every signed object, every hash and signature.

use segue_proto::wire::schema::Struct;
use segue_proto::wire::{
    self, Final, Holding, Introduction, Invitation, Letter, Offer, Record, RosterEntry, SignedBody, Snapshot,
    Statement, Want,
};
use segue_proto::{data, transfer};

use super::contexts;
use crate::json::Json;

/// The schema.
pub(crate) fn schema() -> Json {
    Json::object([
        ("protocol", "segue/1".into()),
        ("primitives", Json::object(PRIMITIVES.map(|(name, what)| (name, what.into())))),
        ("payloads", Json::list(wire::payloads().iter().map(structure))),
        ("objects", Json::list(wire::parts().iter().map(structure))),
        ("blobs", Json::list(bulk().iter().map(structure))),
        ("signed", Json::list(signed().iter().map(SignedRow::to_json))),
        ("contexts", Json::list(contexts::TABLE.iter().map(context))),
    ])
}

/// A signed object.
pub(crate) struct SignedRow {
    /// Its name in the contexts.
    pub(crate) name: &'static str,
    /// The structure of its body.
    pub(crate) body: &'static str,
    /// The field that holds the key that signs it, or who that is.
    pub(crate) signer: &'static str,
    /// The context of its id.
    pub(crate) id_context: &'static str,
    /// What stands before the id in the signed bytes.
    pub(crate) sig_context: &'static str,
}

/// Every signed object.
pub(crate) fn signed() -> Vec<SignedRow> {
    fn row<T: SignedBody>(body: &'static str, signer: &'static str) -> SignedRow {
        SignedRow { name: T::NAME, body, signer, id_context: T::ID_CONTEXT, sig_context: T::SIG_CONTEXT }
    }
    vec![
        row::<Record>("Record", "signer"),
        row::<Final>("Final", "the owner under the record `parent`"),
        row::<Want>("Want", "target"),
        row::<Offer>("Offer", "source"),
        row::<Statement>("Statement", "by"),
        row::<RosterEntry>("RosterEntry", "signer"),
        row::<Letter>("Letter", "from"),
        row::<Invitation>("Invitation", "from"),
        row::<Introduction>("Introduction", "from"),
        row::<Snapshot>("Snapshot", "signer"),
        row::<Holding>("Holding", "device"),
    ]
}

/// The structures that travel as blobs, or inside of ops.
pub(crate) fn bulk() -> Vec<Struct> {
    data::parts().into_iter().chain(transfer::parts()).collect()
}

impl SignedRow {
    fn to_json(&self) -> Json {
        Json::object(
            [
                ("name", self.name),
                ("body", self.body),
                ("signer", self.signer),
                ("id_context", self.id_context),
                ("signature_context", self.sig_context),
            ]
            .map(|(key, value)| (key, value.into())),
        )
    }
}

fn structure(structure: &Struct) -> Json {
    let fields = structure.fields.iter().map(|field| {
        Json::object([
            ("name", field.name.into()),
            ("encoding", field.shape.clone().into()),
            ("doc", field.doc.clone().into()),
        ])
    });
    Json::object([
        ("name", structure.name.into()),
        ("doc", structure.doc.clone().into()),
        ("fields", Json::list(fields)),
    ])
}

fn context(row: &contexts::ContextRow) -> Json {
    Json::object(
        [("context", row.context), ("names", row.names), ("over", row.over)].map(|(key, value)| (key, value.into())),
    )
}

/// How each encoding that a field may have looks on the wire.
const PRIMITIVES: [(&str, &str); 9] = [
    ("u8", "one byte"),
    ("bool", "one byte, 00 or 01"),
    ("varint < 2^N", "a number in LEB128, least significant seven bits first, in as few bytes as it takes"),
    ("N bytes", "the bytes, without a length"),
    ("bytes ≤ N", "the length as a varint, then that many bytes"),
    ("string ≤ N", "the length in bytes as a varint, then that many bytes of UTF-8"),
    ("list ≤ N of X", "the number of elements as a varint, then the elements"),
    ("optional X", "a list of at most one X"),
    ("Signed NAME", "the body as bytes ≤ MAX_SIGNED_BODY, then the signature as 64 bytes"),
];
