//! A device of the core meets a peer made by hand: what does it make of the peer's frames?

use segue_proto::wire::codec::encode;
use segue_proto::wire::frame::Framer;
use segue_proto::wire::{Auth, Hello, List, Message, Nonce, Sig, sign_message};
use segue_proto::{Config, Continuity, Endpoint, Event, Generation, Instant, LinkId, Lsn, Role, Rules};

use super::byhand;
use super::cast::{LAPTOP, PHONE};

/// How a link stands once all frames were read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Met {
    /// The peer isn't authenticated yet.
    Waiting,
    /// The link runs at this generation.
    Ready(Generation),
    /// The link ended; the peer was told this code.
    Ended(&'static str),
}

/// The phone, dialled over a link with this channel binding, gets these bytes.
pub(crate) fn meet(generation: Generation, floor: Generation, binding: [u8; 32], bytes: &[u8]) -> Met {
    let now = Instant::ZERO;
    let config = Config { generation, floor, accept_unknown: true, ..Config::new(PHONE.id()) };
    let mut phone =
        Endpoint::open(config, [], Lsn::default(), Continuity::Proven, [0x70; 32], now).expect("a new store opens");
    phone.trust(LAPTOP.id());
    phone.handle_link_up(now, LINK, Role::Responder, binding, None);
    while let Some(batch) = phone.poll_journal() {
        phone.handle_durable(now, batch.lsn);
    }
    while let Some(request) = phone.poll_sign() {
        phone.handle_signed(now, request.id, sign_message(&request.message, &PHONE.key()));
    }
    phone.handle_bytes(now, LINK, bytes);
    let mut met = Met::Waiting;
    while let Some(event) = phone.poll_event() {
        match event {
            Event::LinkReady { generation, .. } => met = Met::Ready(generation),
            Event::LinkClosed { .. } => met = Met::Ended(told(&mut phone)),
            _ => {}
        }
    }
    met
}

/// HELLO and AUTH of a laptop that dials.
pub(crate) fn greeting(generation: u8, floor: u8, binding: [u8; 32]) -> Vec<u8> {
    let hello = Hello { generation, floor, boot: Nonce::new([0x51; 16]), ext: List::empty() };
    let key = LAPTOP.id();
    let hashed = [&[0], key.as_bytes().as_slice(), &encode(&hello), &binding].concat();
    let message = [b"segue/1 sig auth".as_slice(), &byhand::hash("segue/1 auth", &hashed)].concat();
    let auth = Auth { key, sig: Sig::new(byhand::sign_bytes(&message, &LAPTOP.secret)), ext: List::empty() };
    [Message::from(hello).to_frame(), Message::from(auth).to_frame()].concat()
}

/// The code in the last GOAWAY that the device sent.
fn told(device: &mut Endpoint) -> &'static str {
    let mut bytes = Vec::new();
    while device.poll_transmit(LINK, &mut bytes) {}
    let mut framer = Framer::default();
    framer.push(&bytes);
    let mut code = "nothing";
    while let Ok(Some(frame)) = framer.next(Rules::ALL) {
        if let Ok(Some(Message::Goaway(goaway))) = Message::decode(Rules::ALL, frame.number, &frame.payload) {
            code = segue_proto::Code::from(goaway.code).name();
        }
    }
    code
}

const LINK: LinkId = LinkId(1);
