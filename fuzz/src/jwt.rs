//! Tokens that are JSON Web Tokens, and the key sets by which they are judged.

use std::sync::OnceLock;

use ed25519_dalek::Signer;
use segue_service::{Claim, KeySet, Tokens};

use crate::input::Input;
use crate::seeds::key;

/// A byte that chooses one of three, and then: bytes of a token; bytes of a key set; or choices of what a token says, who
/// signs it and how, which is then judged at a time that the bytes choose.
///
/// A token counts if it is signed by the key that it names, by that key's algorithm, for this service and by this issuer,
/// demands nothing, and has begun and not ended; and then for the account and the end that it names. No other does.
pub fn jwt(data: &[u8]) {
    let mut input = Input::new(data);
    match input.below(3) {
        0 => {
            let judged = keys().judge(input.rest(), NOW * 1_000);
            assert!(judged.is_err_and(|why| !why.is_empty()), "nobody can have signed it");
        }
        1 => key_set(input.rest()),
        _ => token(&mut input),
    }
}

/// What can be read as a key set has keys, and takes no token that none of them signed.
fn key_set(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    match KeySet::read(&text, ISSUER, AUDIENCE) {
        Ok(set) => {
            assert!(!set.is_empty() && set.len() <= text.len());
            let forged = [base64url(br#"{"alg":"none","kid":"ed"}"#), base64url(b"{}"), String::new()].join(".");
            assert!(set.judge(forged.as_bytes(), NOW * 1_000).is_err());
        }
        Err(why) => assert!(!why.to_string().is_empty()),
    }
}

/// A token by its fields, each of which is right or wrong in one of several ways.
fn token(input: &mut Input<'_>) {
    let mut right = true;
    let mut choose = |input: &mut Input<'_>, good: &[&str], bad: &[&str]| -> String {
        let at = input.below(good.len() + bad.len());
        right &= at < good.len();
        good.get(at).or(bad.get(at.wrapping_sub(good.len()))).copied().unwrap_or_default().to_owned()
    };
    let header = [
        choose(
            input,
            &[r#""alg":"EdDSA""#],
            &[r#""alg":"none""#, r#""alg":"RS256""#, r#""alg":"HS256""#, r#""alg":"ES256""#],
        ),
        choose(input, &[r#""kid":"ed""#], &["", r#""kid":"new""#, r#""kid":7"#, r#""kid":"ec""#]),
        choose(
            input,
            &["", r#""typ":"JWT""#, r#""bound":true"#],
            &[r#""crit":["bound"]"#, r#""crit":null"#, r#""crit":[]"#],
        ),
    ];
    let account = *input.pick(&["alice", "bob", "\u{e9}", ""]).unwrap_or(&"alice");
    let sub = format!(r#""sub":"{account}""#);
    let claims = [
        choose(input, &[&sub], &["", r#""sub":7"#, r#""sub":["alice"]"#]),
        choose(
            input,
            &[&member("iss", ISSUER)],
            &["", r#""iss":"https://example.org/other""#, r#""iss":["https://example.org/id"]"#],
        ),
        choose(
            input,
            &[&member("aud", AUDIENCE), r#""aud":["other","segue"]"#],
            &["", r#""aud":"other""#, r#""aud":[]"#],
        ),
        choose(input, &[&exp(NOW)], &["", r#""exp":"tomorrow""#, r#""exp":-1"#, r#""exp":null"#, r#""exp":1e999"#]),
        choose(input, &["", &format!(r#""nbf":{NOW}"#)], &[r#""nbf":"today""#, r#""nbf":[]"#]),
    ];
    let begins = !claims[4].is_empty();
    // Around its beginning and its end, to the millisecond.
    let base = if input.flag() { NOW - LEEWAY } else { NOW + LEEWAY };
    let at = base * 1_000 + u64::from(input.byte()) - 128;
    let signed = [json(&header), json(&claims)].map(|part| base64url(part.as_bytes())).join(".");
    let (token, genuine) = signed_somehow(input, &signed);
    let lasts = at < (NOW + LEEWAY) * 1_000 && (!begins || at >= (NOW - LEEWAY) * 1_000);
    let expected = Claim { account: account.to_owned(), until: (NOW + LEEWAY) * 1_000 };
    match keys().judge(token.as_bytes(), at) {
        Ok(claim) => {
            assert!(right && genuine && lasts, "a token that doesn't count is taken: {token}");
            assert_eq!(claim, expected);
        }
        Err(why) => assert!(!(right && genuine && lasts), "{why}: {token}"),
    }
}

/// The token with a signature, and whether that is the right one.
fn signed_somehow(input: &mut Input<'_>, signed: &str) -> (String, bool) {
    let by = |number: u8, what: &str| base64url(&key(number).sign(what.as_bytes()).to_bytes());
    match input.below(9) {
        0..3 => (format!("{signed}.{}", by(1, signed)), true),
        3 => (format!("{signed}.{}", by(2, signed)), false),
        4 => (format!("{signed}.{}", by(1, &signed[1..])), false),
        5 => (format!("{signed}."), false),
        6 => (signed.to_owned(), false),
        7 => (format!("{signed}.{}.", by(1, signed)), false),
        _ => {
            let mut token = format!("{signed}.{}", by(1, signed)).into_bytes();
            // The last digit of a signature carries bits that say nothing.
            let at = usize::from(input.short()) % (token.len() - 1);
            let before = std::mem::replace(&mut token[at], b"AZaz09-_"[input.below(8)]);
            let same = before == token[at];
            (String::from_utf8(token).expect("ASCII"), same)
        }
    }
}

fn json(members: &[String]) -> String {
    let members: Vec<_> = members.iter().filter(|member| !member.is_empty()).map(String::as_str).collect();
    format!("{{{}}}", members.join(","))
}

fn member(name: &str, value: &str) -> String {
    format!(r#""{name}":"{value}""#)
}

fn exp(at: u64) -> String {
    format!(r#""exp":{at}"#)
}

/// One key, of device 1 of the cast.
fn keys() -> &'static KeySet {
    static KEYS: OnceLock<KeySet> = OnceLock::new();
    KEYS.get_or_init(|| KeySet::read(&listed(), ISSUER, AUDIENCE).expect("a good set"))
}

/// The set, as an identity provider publishes it.
pub(crate) fn listed() -> String {
    let x = base64url(key(1).verifying_key().as_bytes());
    format!(r#"{{"keys":[{{"kty":"OKP","crv":"Ed25519","kid":"ed","use":"sig","x":"{x}"}}]}}"#)
}

/// The base64url of bytes, without padding.
pub(crate) fn base64url(bytes: &[u8]) -> String {
    let digit = |bits: u32| {
        let at = (bits & 63) as u8;
        char::from(match at {
            0..26 => b'A' + at,
            26..52 => b'a' + at - 26,
            52..62 => b'0' + at - 52,
            62 => b'-',
            _ => b'_',
        })
    };
    let group = |group: &[u8]| {
        let bits = group.iter().fold(0u32, |bits, byte| bits << 8 | u32::from(*byte)) << (8 * (3 - group.len()));
        (0..=group.len()).map(|at| digit(bits >> (18 - 6 * at))).collect::<String>()
    };
    bytes.chunks(3).map(group).collect()
}

const ISSUER: &str = "https://example.org/id";
const AUDIENCE: &str = "segue";
/// When tokens begin and end, in seconds since 1970.
const NOW: u64 = 1_700_000_000;
/// By how much a service's clock may differ from that, in seconds.
const LEEWAY: u64 = 60;
