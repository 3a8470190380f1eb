//! Varints, and frames cut out of a stream.

use segue_proto::Rules;
use segue_proto::limits::MAX_FRAME;
use segue_proto::wire::codec::varint;
use segue_proto::wire::frame::{Frame, Framer, write_varint};

use crate::input::Input;

/// A stream: two bytes seed the cuts, the rest is the stream. However it is cut, the same frames come out and the same
/// violation; a varint that is read is written back as it was; the framer never holds more than what it was given.
pub fn framer(data: &[u8]) {
    let mut input = Input::new(data);
    let cuts = input.short();
    let stream = input.rest();
    check_varint(stream);
    let whole = split(stream, stream.len().max(1));
    let mut cut = u32::from(cuts) | 1;
    let mut next = move || {
        cut = cut.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (cut >> 24) as usize % 7 + 1
    };
    assert_eq!(split_by(stream, &mut next), whole, "the cuts don't matter");
    assert_eq!(split(stream, 1), whole, "the cuts don't matter");
}

fn check_varint(bytes: &[u8]) {
    if let Ok(Some((value, len))) = varint(Rules::ALL, bytes) {
        let mut again = Vec::new();
        write_varint(value, &mut again);
        assert_eq!(Some(again.as_slice()), bytes.get(..len), "a number has one encoding");
    }
}

type Split = (Vec<Frame>, Option<segue_proto::Violation>);

fn split(stream: &[u8], piece: usize) -> Split {
    split_by(stream, &mut || piece)
}

fn split_by(mut stream: &[u8], piece: &mut dyn FnMut() -> usize) -> Split {
    let (mut framer, mut frames) = (Framer::default(), Vec::new());
    let (mut given, mut taken) = (0, 0);
    while !stream.is_empty() {
        let (now, later) = stream.split_at(piece().min(stream.len()));
        stream = later;
        given += now.len();
        framer.push(now);
        loop {
            match framer.next(Rules::ALL) {
                Ok(Some(frame)) => {
                    assert!(frame.payload.len() <= MAX_FRAME);
                    taken += frame.payload.len();
                    frames.push(frame);
                }
                Ok(None) => break,
                Err(why) => return (frames, Some(why)),
            }
        }
    }
    assert!(framer.into_rest().len() + taken <= given, "nothing is made up");
    (frames, None)
}
