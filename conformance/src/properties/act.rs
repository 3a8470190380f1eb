//! What is done in sequences: one table of acts.

use segue_testkit::{Rng, Span};

use super::sequence::Who;

/// Something that a user or an accident does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Act {
    /// The exclusive value is written.
    Write,
    /// The file `notes.txt` is written; the number is its length in bytes.
    File,
    /// The file `photo.raw` is written; the number is its length in bytes.
    Photo,
    /// The file `notes.txt` is removed.
    Remove,
    /// The session is handed to the other device; the number is the deadline.
    Initiate,
    /// The handoff under way is withdrawn.
    Cancel,
    /// The session is asked for from the other device; the number is the deadline.
    Request,
    /// The device consents to own if the other hands over; the number says for how long.
    Consent,
    /// The session is taken over.
    Takeover,
    /// The device loses power; the number says for how long.
    Crash,
    /// The device loses power as it writes to its journal next, before anything leaves.
    StrikeWriting,
    /// The same, after what needs no sync has left.
    StrikeWritten,
    /// The device loses power as its next sync ends, before what waited for it leaves.
    StrikeSynced,
    /// The same, after it has left.
    StrikeSent,
    /// The device's disk fails.
    FailStore,
    /// The links of the two devices die.
    Cut,
    /// The two devices are separated; the number says for how long.
    Partition,
    /// The device's disk is copied.
    BackUp,
    /// The device loses power and starts again from the copy.
    Restore,
}

/// A row: act, letter in a token, words, the command that it takes, whether there is another device.
type Row = (Act, char, &'static str, Option<&'static str>, bool);

const TABLE: &[Row] = &[
    (Act::Write, 'w', "writes the exclusive value", Some("write-exclusive"), false),
    (Act::File, 'f', "writes notes.txt", Some("write-file"), false),
    (Act::Photo, 'g', "writes photo.raw", Some("write-file"), false),
    (Act::Remove, 'd', "removes notes.txt", Some("remove"), false),
    (Act::Initiate, 'i', "hands over to", Some("initiate"), true),
    (Act::Cancel, 'c', "withdraws its handoff", Some("cancel"), false),
    (Act::Request, 'r', "asks for the session from", Some("request"), true),
    (Act::Consent, 's', "consents to own, if given by", Some("consent"), true),
    (Act::Takeover, 't', "takes the session over", Some("takeover"), false),
    (Act::Crash, 'k', "loses power", None, false),
    (Act::StrikeWriting, 'x', "loses power as it writes next, and says nothing", None, false),
    (Act::StrikeWritten, 'y', "loses power as it has written next, and said what needs no sync", None, false),
    (Act::StrikeSynced, 'z', "loses power as its next sync ends, and says nothing", None, false),
    (Act::StrikeSent, 'v', "loses power as its next sync has ended, and what waited is said", None, false),
    (Act::FailStore, 'e', "has a disk that fails", None, false),
    (Act::Cut, 'l', "loses its links with", None, true),
    (Act::Partition, 'p', "is separated from", None, true),
    (Act::BackUp, 'b', "is backed up", None, false),
    (Act::Restore, 'u', "is put back to its backup", None, false),
];

impl Act {
    /// The act of this letter.
    pub fn from_letter(letter: char) -> Option<Act> {
        TABLE.iter().find(|row| row.1 == letter).map(|row| row.0)
    }

    /// Its letter in a token.
    pub fn letter(self) -> char {
        self.row().map_or('?', |row| row.1)
    }

    /// What a device does, in words.
    pub fn words(self) -> &'static str {
        self.row().map_or("?", |row| row.2)
    }

    /// The command of the adapter protocol that it takes, if any.
    pub fn command(self) -> Option<&'static str> {
        self.row()?.3
    }

    /// Whether it names another device.
    pub fn has_other(self) -> bool {
        self.row().is_some_and(|row| row.4)
    }

    /// The number that it has unless the token says another, and what others may be drawn.
    pub const fn number(self) -> Option<(u32, &'static [Span])> {
        match self {
            Act::File => Some((20, &[Span(0, 4_000)])),
            // Some of more than a chunk.
            Act::Photo => Some((400, &[Span(1, 4_000), Span(60_000, 140_000)])),
            Act::Initiate | Act::Request => Some((10_000, &[Span(1, 200), Span(500, 15_000)])),
            Act::Consent => Some((20_000, &[Span(100, 20_000)])),
            Act::Crash => Some((50, &[Span(0, 500), Span(500, 12_000)])),
            Act::Partition => Some((5_000, &[Span(10, 1_000), Span(1_000, 30_000)])),
            _ => None,
        }
    }

    /// The unit of its number.
    pub const fn unit(self) -> &'static str {
        match self {
            Act::File | Act::Photo => "bytes",
            _ => "ms",
        }
    }

    /// Draws who does it, and with whom.
    pub(super) fn draw(self, rng: &mut Rng) -> (Who, Who) {
        let anybody = |rng: &mut Rng| *rng.pick(&Who::ALL).unwrap_or(&Who::Owner);
        let other = |rng: &mut Rng| if rng.chance(700) { Who::Next } else { Who::Third };
        match self {
            Act::Write | Act::Cancel if rng.chance(850) => (Who::Owner, Who::Owner),
            Act::Initiate if rng.chance(850) => (Who::Owner, other(rng)),
            Act::Request | Act::Consent if rng.chance(850) => (other(rng), Who::Owner),
            _ => (anybody(rng), anybody(rng)),
        }
    }

    fn row(self) -> Option<&'static Row> {
        TABLE.iter().find(|row| row.0 == self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_act_has_a_letter_of_its_own() {
        for row in TABLE {
            assert_eq!(Act::from_letter(row.1), Some(row.0));
            assert_eq!(row.0.letter(), row.1);
        }
    }
}
