//! What a clause id looks like, in text and in Rust.

/// Whether `text` is of the form `AREA-TOPIC-N`.
pub(crate) fn is_id(text: &str) -> bool {
    parts(text, '-')
}

/// The clause ids in a line, in order: as `AREA-TOPIC-N`, or in Rust as a constant of `Clause`.
///
/// `constants` are the clauses that Rust knows. A constant counts anywhere, as macros name them without their type;
/// one that doesn't exist counts behind `Clause::` only.
pub(crate) fn ids(line: &str, constants: &[&str]) -> Vec<String> {
    let mut found = Vec::new();
    let mut rest = line;
    let mut before = "";
    while let Some(start) = rest.find(is_word) {
        let gap = &rest[..start];
        let end = rest[start..].find(|c| !is_word(c)).map_or(rest.len(), |len| start + len);
        let word = rest[start..end].trim_matches(['-', '_']);
        if is_id(word) {
            found.push(word.to_owned());
        } else if parts(word, '_') {
            let id = word.replace('_', "-");
            if constants.contains(&id.as_str()) || (before == "Clause" && gap == "::") {
                found.push(id);
            }
        }
        before = &rest[start..end];
        rest = &rest[end..];
    }
    found
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '-' || c == '_'
}

fn parts(text: &str, separator: char) -> bool {
    let upper = |part: &str| part.len() >= 2 && part.bytes().all(|b| b.is_ascii_uppercase());
    let topic = |part: &str| {
        part.starts_with(|c: char| c.is_ascii_uppercase())
            && part.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit())
    };
    let number = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
    let parts: Vec<&str> = text.split(separator).collect();
    matches!(parts.as_slice(), [a, b, n] if upper(a) && topic(b) && number(n))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_have_three_parts() {
        for good in ["HO-GRANT-1", "WIRE-EXT2-12"] {
            assert!(is_id(good), "{good}");
        }
        for bad in ["HO-GRANT", "H-GRANT-1", "HO-GRANT-x", "ho-grant-1", "CVE-2024-1", "HO-GRANT-1-2", "HO--1", ""] {
            assert!(!is_id(bad), "{bad}");
        }
    }

    #[test]
    fn ids_are_found_in_text_and_in_rust() {
        let known = ["HO-GRANT-1", "HO-WANT-2"];
        assert_eq!(ids("(HO-GRANT-1), `HO-NOPE-7`: HO-GRANT-1's.", &known), ["HO-GRANT-1", "HO-NOPE-7", "HO-GRANT-1"]);
        assert_eq!(ids("ensure(Clause::HO_GRANT_1, x)", &known), ["HO-GRANT-1"]);
        assert_eq!(ids("Clause::HO_NOPE_7", &known), ["HO-NOPE-7"]);
        assert_eq!(ids("machine![HO_WANT_2]; MAX_SIZE_1", &known), ["HO-WANT-2"]);
        assert_eq!(ids("Clause::TABLE UTF-8 HO-GRANT-1-x", &known), [""; 0]);
    }
}
