//! That no content is missing which the data names, or that some is after all: said in extensions of SINCE, and of the MARK
//! of a letter (SYNC-WHOLE-1).

use crate::Rules;
use crate::wire::codec::{Blob, decode, encode};
use crate::wire::{Ext, Exts, List, Nonce};

/// The extension of SINCE. Its bytes are the number of the last lack that its sender told of, or none.
const WHOLE: u32 = 1;

/// The extension of a letter's MARK. Its bytes are the number of the lack, or none.
const LACKS: u32 = 1;

/// The extensions by which a SINCE says that nothing is missing, whatever lacks up to this number were told of.
pub fn whole(lacks: u64) -> Exts {
    numbered(WHOLE, lacks)
}

/// The extensions by which a letter says that content is missing after all, for the lack with this number.
pub fn lacks(number: u64) -> Exts {
    numbered(LACKS, number)
}

/// Whether a SINCE says so.
pub fn is_whole(exts: &Exts) -> bool {
    exts.iter().any(|ext| ext.id == WHOLE)
}

/// Whether a letter's MARK says so.
pub fn says_lacks(exts: &Exts) -> bool {
    exts.iter().any(|ext| ext.id == LACKS)
}

/// The number beside either.
fn number(exts: &Exts) -> Option<u64> {
    let said = exts.iter().find(|ext| ext.id == WHOLE || ext.id == LACKS)?;
    decode(Rules::ALL, &said.bytes).ok()
}

fn numbered(id: u32, number: u64) -> Exts {
    let bytes = Blob::new(encode(&number)).unwrap_or_default();
    List::new(alloc::vec![Ext { id, bytes }]).unwrap_or_default()
}

/// What a device last said of a session's content, by SINCEs over links and by letters, whichever is read first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Word {
    /// The log of the sender under which its numbers count.
    log: Option<Nonce>,
    /// The highest lack that was told of.
    lacks: u64,
    /// It said to lack nothing, though it had told of the lacks up to this one.
    whole: Option<u64>,
}

impl Word {
    /// A SINCE with these extensions; `log` is the sender's own. Whether its sender lacks nothing, as far as is known here:
    /// a letter may have told of a lack that came later.
    pub fn on_since(&mut self, log: Nonce, exts: &Exts) -> bool {
        self.follow(log);
        let upto = number(exts).unwrap_or(0);
        let stale = number(exts).is_some_and(|upto| upto < self.lacks);
        self.whole = (is_whole(exts) && !stale).then_some(upto);
        self.whole.is_some()
    }

    /// The MARK of a letter with these extensions, which say that content is missing. Whether that takes back what its
    /// sender said: it may have had that content before it said to lack nothing.
    pub fn on_letter(&mut self, log: Nonce, exts: &Exts) -> bool {
        self.follow(log);
        let number = number(exts);
        self.lacks = self.lacks.max(number.unwrap_or(0));
        let stale = self.whole.zip(number).is_some_and(|(upto, number)| number <= upto);
        if !stale {
            self.whole = None;
        }
        !stale
    }

    /// Numbers of another log say nothing.
    fn follow(&mut self, log: Nonce) {
        if self.log != Some(log) {
            *self = Word { log: Some(log), ..Word::default() };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOG: Nonce = Nonce::new([1; 16]);

    #[test]
    fn the_fresher_word_stands_in_whatever_order_the_two_are_read() {
        let mut word = Word::default();
        assert!(word.on_since(LOG, &whole(0)));
        assert!(word.on_letter(LOG, &lacks(1)), "a lack that came later");
        assert!(!word.on_since(LOG, &whole(0)), "said before, and read late");
        assert!(word.on_since(LOG, &whole(1)));
        assert!(!word.on_letter(LOG, &lacks(1)), "what was lacking is there");
        assert!(word.on_letter(LOG, &lacks(2)));
        assert!(!word.on_since(LOG, &Exts::empty()));
    }

    #[test]
    fn without_an_order_to_tell_by_content_is_taken_to_be_lacking() {
        let other = Nonce::new([2; 16]);
        let bare: Exts = List::new(alloc::vec![Ext { id: LACKS, bytes: Blob::default() }]).unwrap_or_default();
        let mut word = Word::default();
        assert!(word.on_since(LOG, &whole(7)));
        assert!(word.on_letter(LOG, &bare), "a letter without a number");
        assert!(word.on_since(LOG, &whole(7)));
        assert!(word.on_letter(other, &lacks(1)), "a letter under another log");
        assert!(word.on_since(LOG, &whole(7)));
        assert!(word.on_since(LOG, &bare), "a SINCE without a number is taken by its word");
        assert!(word.on_letter(LOG, &lacks(1)));
    }
}
