//! A line of text as cells of a terminal.

use std::borrow::Cow;

use unicode_segmentation::UnicodeSegmentation;
use unicode_width::UnicodeWidthStr;

/// Something that is shown, and moved over, as one: a grapheme, for the most part.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Cell<'a> {
    /// What is written to the terminal.
    pub(crate) shown: Cow<'a, str>,
    /// The column where it starts.
    pub(crate) column: usize,
    /// How many columns it takes, at least one.
    pub(crate) width: usize,
    /// The code point where it starts, from the line's first.
    pub(crate) at: usize,
    /// How many code points it has.
    pub(crate) len: usize,
}

/// The cells of a line, which may end in a line feed.
pub(crate) fn cells(line: &str) -> impl Iterator<Item = Cell<'_>> {
    let line = line.strip_suffix('\n').unwrap_or(line);
    let (mut column, mut at) = (0, 0);
    line.graphemes(true).map(move |grapheme| {
        let (shown, width) = show(grapheme, column);
        let cell = Cell { shown, column, width, at, len: grapheme.chars().count() };
        column += cell.width;
        at += cell.len;
        cell
    })
}

/// The column of a code point of a line; beyond its end, the column after it.
pub(crate) fn column_of(line: &str, at: usize) -> usize {
    let before = cells(line).take_while(|cell| cell.at + cell.len <= at).last();
    before.map_or(0, |cell| cell.column + cell.width)
}

/// The code point of a line at a column: the start of what is shown there, or the line's end.
pub(crate) fn at_column(line: &str, column: usize) -> usize {
    let before = cells(line).take_while(|cell| cell.column + cell.width <= column).last();
    before.map_or(0, |cell| cell.at + cell.len)
}

/// A name, or anything else that a peer chose, as one harmless line of at most `most` characters.
pub(crate) fn harmless(text: &str, most: usize) -> String {
    text.chars().take(most).map(|c| picture(c).unwrap_or(c)).collect()
}

fn show(grapheme: &str, column: usize) -> (Cow<'_, str>, usize) {
    if grapheme == "\t" {
        let width = TAB - column % TAB;
        return (" ".repeat(width).into(), width);
    }
    // The text is also other people's: nothing of it may steer the terminal, or turn what stands beside it around.
    if grapheme.chars().any(|c| picture(c).is_some()) {
        let first = grapheme.chars().find_map(picture).unwrap_or(STRANGE);
        return (first.to_string().into(), 1);
    }
    match grapheme.width() {
        // A mark without a letter.
        0 => (STRANGE.to_string().into(), 1),
        width => (grapheme.into(), width),
    }
}

/// What stands for a character that a terminal would obey instead of showing it.
fn picture(c: char) -> Option<char> {
    match c {
        '\0'..='\u{1f}' => char::from_u32(0x2400 + u32::from(c)),
        '\u{7f}' => Some('\u{2421}'),
        '\u{80}'..='\u{9f}' | '\u{2028}' | '\u{2029}' => Some(STRANGE),
        '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => Some(STRANGE),
        _ => None,
    }
}

const TAB: usize = 4;
const STRANGE: char = '\u{fffd}';

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wide_and_joined_characters_take_the_columns_that_a_terminal_gives_them() {
        let line = "a\té日👩‍🚀e\u{301}z\n";
        let columns: Vec<_> = cells(line).map(|cell| (cell.column, cell.width, cell.at)).collect();
        assert_eq!(columns, [(0, 1, 0), (1, 3, 1), (4, 1, 2), (5, 2, 3), (7, 2, 4), (9, 1, 7), (10, 1, 9)]);
        assert_eq!([0, 1, 2, 4, 7, 9, 10, 99].map(|at| column_of(line, at)), [0, 1, 4, 7, 9, 10, 11, 11]);
        assert_eq!([0, 2, 4, 6, 8, 11, 99].map(|column| at_column(line, column)), [0, 1, 2, 3, 4, 10, 10]);
    }

    #[test]
    fn nothing_steers_the_terminal() {
        let shown: String = cells("\u{1b}[2J\u{202e}x\u{9b}\r\u{301}").map(|cell| cell.shown.into_owned()).collect();
        assert!(!shown.chars().any(|c| c.is_control() || c == '\u{202e}'), "{shown:?}");
        assert_eq!(harmless("a\u{1b}b\ncdef", 5), "a␛b␊c");
    }
}
