//! Subjects that implement nothing: what they pass proves nothing.

use serde_json::{Value, json};

/// A subject that implements nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Null {
    /// Ends at once.
    Dead,
    /// Reads and never answers.
    Silent,
    /// Says hello, and yes to everything, with empty outputs.
    AcceptAll,
    /// Says hello, and no to everything.
    RejectAll,
    /// Answers every line with itself.
    Echo,
}

impl Null {
    /// All of them.
    pub const ALL: [Null; 5] = [Null::Dead, Null::Silent, Null::AcceptAll, Null::RejectAll, Null::Echo];

    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            Null::Dead => "dead",
            Null::Silent => "silent",
            Null::AcceptAll => "accept-all",
            Null::RejectAll => "reject-all",
            Null::Echo => "echo",
        }
    }

    /// The null subject of this name.
    pub fn from_name(name: &str) -> Option<Null> {
        Null::ALL.into_iter().find(|null| null.name() == name)
    }

    /// What it answers to a line; none if it says nothing.
    pub(super) fn answer(self, line: &str, hello: Value) -> Option<String> {
        let request: Value = serde_json::from_str(line).unwrap_or_default();
        let id = request.get("id").cloned().unwrap_or_default();
        let greets = request.get("cmd").and_then(Value::as_str) == Some("hello");
        match self {
            Null::Dead | Null::Silent => None,
            Null::Echo => Some(line.to_string()),
            Null::AcceptAll | Null::RejectAll if greets => Some(json!({ "id": id, "ok": hello }).to_string()),
            Null::AcceptAll => Some(json!({ "id": id, "ok": { "out": {}, "reply": {}, "sessions": {} } }).to_string()),
            Null::RejectAll => Some(json!({ "id": id, "error": { "code": "HO_DECLINED", "text": "no" } }).to_string()),
        }
    }
}
