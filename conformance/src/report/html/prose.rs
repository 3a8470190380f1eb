//! The specification's words: the little Markdown that its requirements use.

use maud::{Markup, html};

/// A requirement's text.
pub(super) fn prose(text: &str) -> Markup {
    let mut rest = text;
    let mut parts: Vec<Markup> = Vec::new();
    while let Some((part, after)) = next(rest) {
        parts.push(part);
        rest = after;
    }
    html! { @for part in parts { (part) } }
}

/// The next piece of a text, and what follows it.
fn next(text: &str) -> Option<(Markup, &str)> {
    let first = text.chars().next()?;
    let span = match first {
        '`' => enclosed(text, "`").map(|(inner, rest)| (html! { code { (inner) } }, rest)),
        '*' if text.starts_with("**") => {
            enclosed(text, "**").map(|(inner, rest)| (html! { b { (prose(inner)) } }, rest))
        }
        '*' => enclosed(text, "*").map(|(inner, rest)| (html! { em { (prose(inner)) } }, rest)),
        '[' => link(text),
        _ => None,
    };
    if span.is_some() {
        return span;
    }
    let end = text[first.len_utf8()..].find(['`', '*', '[']).map_or(text.len(), |at| at + first.len_utf8());
    let (words, rest) = text.split_at(end);
    Some((html! { (words) }, rest))
}

fn enclosed<'a>(text: &'a str, mark: &str) -> Option<(&'a str, &'a str)> {
    let (inner, rest) = text.strip_prefix(mark)?.split_once(mark)?;
    (!inner.is_empty() && inner.trim() == inner).then_some((inner, rest))
}

/// A link to another chapter: its words, as the chapter isn't on the page.
fn link(text: &str) -> Option<(Markup, &str)> {
    let (words, rest) = text.strip_prefix('[')?.split_once("](")?;
    let (_, rest) = rest.split_once(')')?;
    (!words.contains('[')).then(|| (html! { (words) }, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str) -> String {
        prose(text).into_string()
    }

    #[test]
    fn code_stress_and_links_are_shown_and_all_else_is_escaped() {
        assert_eq!(
            shown("refuses with `HO_CHAIN` *all* of [it](07-x.md)."),
            "refuses with <code>HO_CHAIN</code> <em>all</em> of it."
        );
        assert_eq!(shown("**a `b`** <c> & d"), "<b>a <code>b</code></b> &lt;c&gt; &amp; d");
    }

    #[test]
    fn marks_that_enclose_nothing_are_words() {
        for text in ["a * b", "`", "[x", "2 * 3 ** 4", "a ‖ [b]", ""] {
            assert_eq!(shown(text), text);
        }
    }
}
