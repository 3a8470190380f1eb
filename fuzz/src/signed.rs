//! Signed objects: record, FINAL, WANT, OFFER, entry of a roster.

use segue_proto::wire::codec::{decode, encode};
use segue_proto::wire::{DeviceId, Final, Offer, Record, RosterEntry, Sig, Signed, SignedBody, Want};
use segue_proto::{Clause, Rules};

use crate::input::Input;

/// An object: a byte that chooses its type, a key, a signature, and the body. A body that opens must encode to the same
/// bytes; a signature that verifies must not verify over any other body, nor any other signature over this one.
pub fn signed(data: &[u8]) {
    let mut input = Input::new(data);
    let kind = input.below(5);
    let (key, sig) = (DeviceId::new(input.array()), Sig::new(input.array()));
    let body = input.rest();
    match kind {
        0 => check::<Record>(key, sig, body),
        1 => check::<Final>(key, sig, body),
        2 => check::<Want>(key, sig, body),
        3 => check::<Offer>(key, sig, body),
        _ => check::<RosterEntry>(key, sig, body),
    }
}

fn check<T: SignedBody>(key: DeviceId, sig: Sig, body: &[u8]) {
    let Some(object) = Signed::<T>::from_parts(body.to_vec(), sig) else { return };
    let wire = encode(&object);
    let again: Result<Signed<T>, _> = decode(Rules::ALL, &wire);
    assert!(again.is_ok_and(|again| again == object), "an object survives its own encoding");
    let opened = object.open(Rules::ALL);
    if let Ok(opened) = &opened {
        assert_eq!(encode(opened), body, "one body, one encoding");
    }
    let proven = object.clone().prove(Rules::ALL, |_| key);
    assert!(opened.is_ok() || proven.is_err(), "what doesn't open isn't proven");
    if let Ok(proven) = proven {
        assert_eq!(proven.id(), object.id());
        let mut other = *sig.as_bytes();
        other[other.len() / 2] ^= 1;
        let forged = Signed::<T>::from_parts(body.to_vec(), Sig::new(other)).map(|it| it.prove(Rules::ALL, |_| key));
        let clause = forged.and_then(Result::err).map(|why| why.clause);
        assert_eq!(clause, Some(Clause::WIRE_SIGN_1), "a signature holds by itself only");
    }
}
