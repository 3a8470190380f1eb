//! What a service is asked that keeps sessions in custody, and accounts: scripts that work, from which mutations stray.

use ed25519_dalek::Signer;

use super::{key, named};
use crate::jwt::{base64url, listed};

/// The first byte: all is brought and delegated, device 3 is a member, owners have leases.
const ALL: u8 = 0;
/// Says what follows of the head that is kept.
const HEAD: u8 = 1;
/// A signature is made.
const SIGN: [u8; 3] = [12, 0, 0];

pub(super) fn custody() -> Vec<(String, Vec<u8>)> {
    // A byte that chooses the action, one that chooses the device (0 is device 1), and the rest.
    let freeze = [3, 0, HEAD, 0, 1, 0];
    let want = [4, 1, HEAD, 0, HEAD, 2, 0, 255, 0];
    let renew = [6, 0, HEAD, 50];
    let (go_on, hand_back) = ([7, 0, HEAD, 1], [7, 0, HEAD, 0]);
    let offer = [8, 0, HEAD, 0, 1, 7, 255];
    let ack = [2, 1, 0, HEAD, 1];
    let scripts: [(&str, u8, Vec<&[u8]>); 9] = [
        ("granted", ALL, vec![&want, &freeze, &SIGN, &ack]),
        ("granted-after-the-freeze", ALL, vec![&freeze, &want, &SIGN, &ack, &[11, 0, 100]]),
        ("another-state", ALL, vec![&freeze, &[4, 1, HEAD, 255, HEAD, 2, 0, 255, 0], &want, &SIGN]),
        ("let-go-on", ALL, vec![&freeze, &go_on, &SIGN, &renew]),
        ("handed-back", ALL, vec![&hand_back, &SIGN, &want]),
        ("lease", ALL, vec![&renew, &[11, 0, 60], &want, &SIGN, &[2, 1, 0, HEAD, 1]]),
        ("offered", ALL, vec![&offer, &want, &freeze, &SIGN, &[9, 1, 0, 1]]),
        ("restarted", ALL, vec![&freeze, &[14, 0, 0, 0], &want, &freeze, &SIGN, &[14, 0, 0, 1], &hand_back]),
        ("undelegated", 2, vec![&want, &freeze, &[1, 0, HEAD, 0, 1], &freeze, &want, &SIGN]),
    ];
    scripts.into_iter().map(|(name, choices, steps)| (name.into(), [vec![choices], steps.concat()].concat())).collect()
}

pub(super) fn login() -> Vec<(String, Vec<u8>)> {
    // What the operator says: whether logins end, the terms of two accounts, whom it names and removes.
    let word = [1, 0, 100, 1, 3, 200, 0, 0, 0];
    let log_in = |who: u8, account: u8, until: u8| [0, who, 0, account, until, 0];
    let (one, other, brief, second) = (log_in(0, 0, 90), log_in(0, 1, 9), log_in(0, 0, 9), log_in(1, 0, 90));
    let third = log_in(2, 0, 90);
    let (put, watch, discover) = ([4, 0, 40], [5, 0], [6, 0]);
    let scripts: [Vec<&[u8]>; 5] = [
        vec![&word, &one, &put, &watch, &discover, &[3, 0]],
        vec![&word, &other, &discover, &watch, &[7, 0, 10], &put, &[3, 0], &one],
        vec![&word, &brief, &second, &third, &[7, 0, 10], &third],
        vec![&word, &one, &[8, 0, 1], &put, &[9, 0, 0, 0, 9, 0, 0, 9, 0, 0x22, 0x11], &put, &watch],
        vec![&word, &put, &[0, 0, 0, 0, 90, 3], &[0, 0, 15, 4, 0, 1, 2, 3], &[8, 0, 0], &watch],
    ];
    named("script", scripts.map(|steps| steps.concat()))
}

pub(super) fn jwt() -> Vec<(String, Vec<u8>)> {
    let parts = [r#"{"alg":"EdDSA","kid":"new"}"#, r#"{"sub":"alice","exp":1700000000}"#];
    let start = parts.map(|part| base64url(part.as_bytes())).join(".");
    let token = format!("{start}.{}", base64url(&key(1).sign(start.as_bytes()).to_bytes()));
    let mut inputs = vec![[&[0], token.as_bytes()].concat(), [&[1], listed().as_bytes()].concat()];
    let other = r#"{"keys":[{"kty":"RSA","kid":"r","n":"AQAB","e":"AQAB"},{"kty":"oct","kid":"s","k":"AA"}]}"#;
    inputs.push([&[1], other.as_bytes()].concat());
    // All is right; and then one thing isn't.
    let good: [u8; 13] = [2, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 0, 0];
    inputs.push(good.to_vec());
    for (at, value) in
        [(1, 2), (2, 2), (3, 3), (4, 3), (5, 2), (6, 3), (7, 2), (8, 3), (9, 2), (10, 0), (12, 3), (12, 8)]
    {
        let mut input = good.to_vec();
        input[at] = value;
        inputs.push(input);
    }
    named("token", inputs)
}
