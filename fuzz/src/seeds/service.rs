//! Envelopes and what they hold, puts and fetches, and scripts of devices with an operator.

use segue_proto::Rules;
use segue_proto::seal;
use segue_proto::wire::codec::{Blob, encode};
use segue_proto::wire::hash::blob_id;
use segue_proto::wire::{Address, Introduction, Invitation, Letter, List, Nonce, Piece, Sealed, Signed, Text};

use super::{device, key, named};
use crate::service::{KEY, SESSION};

pub(super) fn seeds() -> Vec<(String, Vec<u8>)> {
    let to = KEY.session_box(&SESSION);
    let frames = vec![0xbb, 0x7d, 0];
    let letter = Letter { from: device(1), session: SESSION, to, count: 1, frames: blob_id(&frames) };
    let letter = Signed::sign(&letter, &key(1));
    let sealed = encode(&Sealed { letter, frames: Blob::new(frames).unwrap_or_default() });
    let piece = encode(&Piece { offset: 0, bytes: Blob::new(b"a film".to_vec()).unwrap_or_default() });
    let (name, without) = (Text::new("notes").unwrap_or_default(), List::empty());
    let body = Invitation { from: device(2), to: device(1), session: SESSION, name, epoch: 0, key: KEY, without };
    let invitation = encode(&Signed::sign(&body, &key(2)));
    let there = ["192.0.2.7:4433", "[2001:db8::7]:4433", "224.0.0.251:1"]
        .map(|at| at.parse::<std::net::SocketAddr>().map(Address::from));
    let addresses = List::new(there.into_iter().flatten().collect::<Vec<_>>()).unwrap_or_default();
    let (nonce, answers) = (Nonce::new([6; 16]), None.into());
    let body = Introduction { from: device(2), to: device(1), nonce, answers, addresses };
    let introduction = encode(&Signed::sign(&body, &key(2)));
    let objects = [
        seal::seal(Rules::ALL, &KEY, &to, &[7; 24], &sealed),
        seal::seal_piece(Rules::ALL, &KEY, &to, &piece),
        seal::wrap(&device(1), [8; 32], &invitation).unwrap_or_default(),
        seal::wrap_notice(&device(1), [9; 32], &sealed).unwrap_or_default(),
        sealed,
        invitation,
        seal::wrap_introduction(Rules::ALL, &device(1), [10; 32], &introduction).unwrap_or_default(),
        introduction,
    ];
    let scripts: [&[u8]; 6] = [
        &[1, 0, 0, 1, 9, 3, 0, 1, 1, 9, 3, 1, 0, 2, 60, 4, 0, 2, 0, 2, 0, 0, 3, 0, 2, 1, 4, 0],
        &[1, 2, 1, 0, 255, 1, 2, 0, 0, 255, 2, 2, 1, 0, 255, 3, 2, 3, 2, 2, 0, 16, 0],
        // Both write, and come online in turn.
        &[2, 0, 0, 0, 3, 40, 0, 0, 7, 0, 4, 1, 7, 1, 0, 1, 4, 0, 7],
        // A long file, an operator who changes, hides and repeats.
        &[2, 0, 3, 250, 0, 0, 1, 0, 7, 0, 4, 0, 5, 4, 8, 2, 3, 36, 1, 7, 1, 0, 0, 5, 2, 5, 6, 1, 7],
        &[2, 0, 0, 0, 7, 1, 5, 5, 1, 13, 14, 15, 0, 1, 7, 1, 1, 0, 4, 1, 4, 0, 7],
        &[2, 0, 7, 1, 7, 0, 0, 1, 0, 0, 3, 0, 9, 1, 3, 0, 200, 0, 1, 1, 1],
    ];
    let objects = objects.into_iter().map(|bytes| [&[0], bytes.as_slice()].concat());
    named("service", objects.chain(scripts.map(Vec::from)))
}
