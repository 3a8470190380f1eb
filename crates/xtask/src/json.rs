//! JSON with its keys in the order in which they were written, so that generated files read well and never change by
//! themselves.

use std::fmt::Write;

/// A JSON value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Json {
    /// `true` or `false`.
    Bool(bool),
    /// A natural number below 2^64.
    Number(u64),
    /// A string.
    Text(String),
    /// An array.
    List(Vec<Json>),
    /// An object.
    Object(Vec<(String, Json)>),
}

impl Json {
    /// An object of named values.
    pub(crate) fn object<K: Into<String>>(members: impl IntoIterator<Item = (K, Json)>) -> Json {
        Json::Object(members.into_iter().map(|(key, value)| (key.into(), value)).collect())
    }

    /// An array.
    pub(crate) fn list(items: impl IntoIterator<Item = Json>) -> Json {
        Json::List(items.into_iter().collect())
    }

    /// Bytes, as hexadecimal digits.
    pub(crate) fn hex(bytes: impl AsRef<[u8]>) -> Json {
        Json::Text(hex(bytes))
    }

    /// The text of a file: two spaces a level; lists and objects that fit a line stay on it.
    pub(crate) fn to_file(&self) -> String {
        let mut out = String::new();
        self.print(0, &mut out);
        out.push('\n');
        out
    }

    /// On one line.
    pub(crate) fn to_line(&self) -> String {
        match self {
            Json::Bool(value) => value.to_string(),
            Json::Number(value) => value.to_string(),
            Json::Text(text) => quote(text),
            Json::List(items) => format!("[{}]", items.iter().map(Json::to_line).collect::<Vec<_>>().join(", ")),
            Json::Object(members) if members.is_empty() => "{}".into(),
            Json::Object(members) => {
                let members: Vec<_> = members.iter().map(|(key, value)| member(key, &value.to_line())).collect();
                format!("{{ {} }}", members.join(", "))
            }
        }
    }

    fn print(&self, level: usize, out: &mut String) {
        let line = self.to_line();
        // The top level is always spread, so that a file's difference shows the member that changed.
        let fits = level > 0 && line.chars().count() + 2 * level <= WIDTH;
        let (open, close, items) = match self {
            Json::List(items) if !fits && !items.is_empty() => {
                ('[', ']', items.iter().map(|item| (None, item)).collect::<Vec<_>>())
            }
            Json::Object(members) if !fits && !members.is_empty() => {
                ('{', '}', members.iter().map(|(key, value)| (Some(key), value)).collect())
            }
            _ => return out.push_str(&line),
        };
        out.push(open);
        for (at, (key, value)) in items.iter().enumerate() {
            out.push_str(if at == 0 { "\n" } else { ",\n" });
            out.extend(std::iter::repeat_n(' ', 2 * (level + 1)));
            if let Some(key) = key {
                out.push_str(&quote(key));
                out.push_str(": ");
            }
            value.print(level + 1, out);
        }
        out.push('\n');
        out.extend(std::iter::repeat_n(' ', 2 * level));
        out.push(close);
    }
}

impl From<&str> for Json {
    fn from(text: &str) -> Json {
        Json::Text(text.into())
    }
}

impl From<String> for Json {
    fn from(text: String) -> Json {
        Json::Text(text)
    }
}

impl From<u64> for Json {
    fn from(number: u64) -> Json {
        Json::Number(number)
    }
}

impl From<bool> for Json {
    fn from(value: bool) -> Json {
        Json::Bool(value)
    }
}

/// Bytes as hexadecimal digits.
pub(crate) fn hex(bytes: impl AsRef<[u8]>) -> String {
    bytes.as_ref().iter().fold(String::new(), |mut out, byte| {
        let _ = write!(out, "{byte:02x}");
        out
    })
}

/// Lines of generated JSON are broken beyond this many characters.
const WIDTH: usize = 110;

fn member(key: &str, value: &str) -> String {
    format!("{}: {value}", quote(key))
}

fn quote(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            // Controls, and what an editor would show in another order or not at all.
            c if c.is_control() || matches!(c, '\u{200b}'..='\u{206f}' | '\u{feff}' | '\u{61c}') => {
                let _ = write!(out, "\\u{:04x}", u32::from(c));
            }
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_printed_is_json() {
        let value = Json::object([
            ("text", Json::from("a \"b\" \\ \n \u{202e} ü")),
            ("numbers", Json::list([0, u64::MAX].map(Json::from))),
            ("empty", Json::list([])),
            ("deep", Json::object([("long", Json::list((0..60).map(Json::from))), ("yes", true.into())])),
        ]);
        for text in [value.to_file(), value.to_line()] {
            let read: serde_json::Value = serde_json::from_str(&text).unwrap();
            assert_eq!(read["text"], "a \"b\" \\ \n \u{202e} ü");
            assert_eq!(read["numbers"][1], u64::MAX);
            assert_eq!(read["deep"]["long"][59], 59);
            assert_eq!(read["deep"]["yes"], true);
        }
    }
}
