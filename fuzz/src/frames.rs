//! Payloads of every message type.

use segue_proto::Rules;
use segue_proto::wire::frame::{self, Framer};
use segue_proto::wire::{Message, Signed, SignedBody};

/// A payload: the first byte chooses the type, the rest is decoded. What decodes must encode to the same frame, and
/// decode from it to the same message; so one message has one encoding.
pub fn frames(data: &[u8]) {
    let Some((kind, payload)) = data.split_first() else { return };
    let rows = Message::TABLE;
    let number = rows.get(usize::from(*kind) % (rows.len() + 1)).map_or(u64::from(*kind), |row| row.number);
    let Ok(Some(message)) = Message::decode(Rules::ALL, number, payload) else { return };
    let mut expected = Vec::new();
    frame::write(number, &mut expected, |out| out.extend_from_slice(payload));
    assert_eq!(message.to_frame(), expected, "one message, one encoding");
    assert_eq!(message.row().number, number);
    assert_eq!(Message::decode(Rules::ALL, number, payload), Ok(Some(message.clone())));
    if let Ok(Some(frame)) = deframe(&expected) {
        assert_eq!((frame.number, frame.payload.as_slice()), (number, payload));
    }
    open_inside(&message);
    assert!(!format!("{message:?}").is_empty());
}

fn deframe(bytes: &[u8]) -> Result<Option<frame::Frame>, segue_proto::Violation> {
    let mut framer = Framer::default();
    framer.push(bytes);
    framer.next(Rules::ALL)
}

/// The signed objects that a message carries are opened by its receiver.
fn open_inside(message: &Message) {
    match message {
        Message::Roster(roster) => roster.entries.iter().for_each(open),
        Message::Want(want) => open(&want.want),
        Message::Offer(offer) => open(&offer.offer),
        Message::Head(head) => head.records.iter().for_each(open),
        Message::Grant(grant) => {
            open(&grant.want);
            open(&grant.record);
            open(&grant.end);
        }
        _ => {}
    }
}

fn open<T: SignedBody>(signed: &Signed<T>) {
    let _ = signed.open(Rules::ALL);
    assert_eq!(signed.id(), segue_proto::wire::id_of::<T>(signed.body_bytes()));
}
