//! What a name may hold.

use crate::clause::{Clause, Rules};
use crate::limits::MAX_NAME;
use crate::{Code, Violation};

/// Checks a name that is shown to a user or written to a log.
pub fn check_name(rules: Rules, name: &str) -> Result<(), Violation> {
    let good = name.chars().count() <= MAX_NAME && name.chars().all(is_plain);
    rules.ensure(Clause::WIRE_STRING_1, good, Code::WIRE_STRING)
}

/// Replaces what a name may not hold, and cuts it to length.
pub fn clean_name(name: &str) -> alloc::string::String {
    name.chars().filter(|c| is_plain(*c)).take(MAX_NAME).collect()
}

/// Neither a control character nor one that changes the direction of the text around it.
pub(crate) fn is_plain(c: char) -> bool {
    !c.is_control()
        && !matches!(c, '\u{061c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
}
