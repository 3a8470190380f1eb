//! Tokens of an identity provider: which ones count.

use ed25519_dalek::{Signer, SigningKey};
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use segue_service::{Claim, KeySet, Tokens};
use serde_json::{Value, json};

const ISSUER: &str = "https://example.org/id";
const AUDIENCE: &str = "segue";
/// Now, in seconds since 1970.
const NOW: u64 = 1_700_000_000;

/// The base64url of bytes, without padding.
fn base64url(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let group = |group: &[u8]| {
        let bits = group.iter().fold(0u32, |bits, byte| bits << 8 | u32::from(*byte)) << (8 * (3 - group.len()));
        let digit = |at: usize| char::from(DIGITS[(bits >> (18 - 6 * at) & 63) as usize]);
        (0..=group.len()).map(digit).collect::<String>()
    };
    bytes.chunks(3).map(group).collect()
}

fn ed(seed: u8) -> (EncodingKey, Value) {
    let key = SigningKey::from_bytes(&[seed; 32]);
    // RFC 8410: a private key is its seed behind these bytes.
    let der = [&hex("302e020100300506032b657004220420")[..], &[seed; 32]].concat();
    let x = base64url(key.verifying_key().as_bytes());
    (EncodingKey::from_ed_der(&der), json!({"kty": "OKP", "crv": "Ed25519", "kid": "ed", "x": x}))
}

fn hex(text: &str) -> Vec<u8> {
    text.as_bytes().chunks(2).map(|two| u8::from_str_radix(std::str::from_utf8(two).unwrap(), 16).unwrap()).collect()
}

/// The keys of the files, and the one of seed 1.
fn listed() -> Value {
    let mut set: Value = serde_json::from_str(include_str!("keys/keys.jwks")).unwrap();
    set["keys"].as_array_mut().unwrap().push(ed(1).1);
    set
}

fn keys() -> KeySet {
    KeySet::read(&listed().to_string(), ISSUER, AUDIENCE).unwrap()
}

fn claims() -> Value {
    json!({"sub": "alice", "iss": ISSUER, "aud": AUDIENCE, "exp": NOW + 3_600, "nbf": NOW - 10})
}

fn header(algorithm: Algorithm, kid: &str) -> Header {
    Header { kid: Some(kid.to_owned()), ..Header::new(algorithm) }
}

fn signed(claims: &Value) -> Vec<u8> {
    encode(&header(Algorithm::EdDSA, "ed"), claims, &ed(1).0).unwrap().into_bytes()
}

fn judged(token: &[u8]) -> Result<Claim, String> {
    keys().judge(token, NOW * 1_000)
}

/// The same claims, but for one of them.
fn with(name: &str, value: Value) -> Value {
    let mut claims = claims();
    claims[name] = value;
    claims
}

#[test]
fn a_token_of_each_algorithm_tells_its_account_and_its_end() {
    let rsa = EncodingKey::from_rsa_der(include_bytes!("keys/rsa.der"));
    let ec = EncodingKey::from_ec_der(include_bytes!("keys/ec.der"));
    // It lasts as long as it is taken: a minute more than it says, for clocks differ.
    let right = Ok(Claim { account: "alice".into(), until: (NOW + 3_660) * 1_000 });
    assert_eq!(judged(&signed(&claims())), right);
    assert_eq!(judged(encode(&header(Algorithm::RS256, "rsa"), &claims(), &rsa).unwrap().as_bytes()), right);
    assert_eq!(judged(encode(&header(Algorithm::ES256, "ec"), &claims(), &ec).unwrap().as_bytes()), right);
    assert_eq!(judged(&signed(&with("aud", json!(["other", AUDIENCE])))), right);
}

#[test]
fn a_token_counts_from_its_beginning_to_its_end_with_a_minute_to_spare() {
    let token = signed(&claims());
    let at = |seconds: u64| keys().judge(&token, seconds * 1_000).is_ok();
    assert_eq!((at(NOW - 71), at(NOW - 70)), (false, true));
    assert_eq!((at(NOW + 3_659), at(NOW + 3_660)), (true, false));
}

#[test]
fn a_token_for_others_or_of_others_counts_for_nothing() {
    for (name, value) in [
        ("aud", json!("other")),
        ("aud", json!([])),
        ("iss", json!("https://example.org/other")),
        ("iss", json!([ISSUER])),
        ("exp", json!("tomorrow")),
        ("sub", json!(7)),
        ("nbf", json!(NOW + 100)),
        ("exp", json!(NOW - 100)),
    ] {
        assert!(judged(&signed(&with(name, value.clone()))).is_err(), "{name} {value}");
    }
    for missing in ["sub", "iss", "aud", "exp"] {
        let mut claims = claims();
        claims.as_object_mut().unwrap().remove(missing);
        assert!(judged(&signed(&claims)).is_err(), "without {missing}");
    }
    let other = encode(&header(Algorithm::EdDSA, "ed"), &claims(), &ed(2).0).unwrap();
    assert!(judged(other.as_bytes()).is_err(), "of another key by the same name");
    let unknown = encode(&header(Algorithm::EdDSA, "new"), &claims(), &ed(1).0).unwrap();
    assert!(judged(unknown.as_bytes()).unwrap_err().contains("no key"), "of a key that isn't there");
    let nameless = encode(&Header::new(Algorithm::EdDSA), &claims(), &ed(1).0).unwrap();
    assert!(judged(nameless.as_bytes()).unwrap_err().contains("kid"));
}

#[test]
fn no_token_chooses_how_it_is_verified() {
    let unsigned = |alg: &str| {
        let header = json!({"alg": alg, "typ": "JWT", "kid": "rsa"}).to_string();
        format!("{}.{}.", base64url(header.as_bytes()), base64url(claims().to_string().as_bytes()))
    };
    for alg in ["none", "None", "EdDSA", "RS256"] {
        assert!(judged(unsigned(alg).as_bytes()).is_err(), "{alg} without a signature");
    }
    // The public key as the secret of an HMAC.
    let set = listed();
    let public = set["keys"][0]["n"].as_str().unwrap();
    for kid in ["rsa", "ed"] {
        let secret = EncodingKey::from_secret(public.as_bytes());
        let token = encode(&header(Algorithm::HS256, kid), &claims(), &secret).unwrap();
        assert!(judged(token.as_bytes()).is_err(), "HS256 by the name of {kid}");
    }
    // Another algorithm that the same key could be used with.
    let rsa = EncodingKey::from_rsa_der(include_bytes!("keys/rsa.der"));
    for algorithm in [Algorithm::RS384, Algorithm::RS512, Algorithm::PS256] {
        let token = encode(&header(algorithm, "rsa"), &claims(), &rsa).unwrap();
        assert!(judged(token.as_bytes()).is_err(), "{algorithm:?}");
    }
    let right = signed(&claims());
    for cut in [0, 1, right.len() / 2, right.len() - 1] {
        assert!(judged(&right[..cut]).is_err());
    }
    assert!(judged(&[0xff; 40]).is_err());
}

#[test]
fn a_token_that_demands_what_isnt_understood_counts_for_nothing() {
    // RFC 7515, section 4.1.11: who doesn't understand what a header names as critical refuses the token.
    let with = |header: Value| {
        let signed = encode(&self::header(Algorithm::EdDSA, "ed"), &claims(), &ed(1).0).unwrap();
        let body = signed.split('.').nth(1).unwrap();
        let start = format!("{}.{body}", base64url(header.to_string().as_bytes()));
        let signature = SigningKey::from_bytes(&[1; 32]).sign(start.as_bytes()).to_bytes();
        judged(format!("{start}.{}", base64url(&signature)).as_bytes())
    };
    let plain = json!({"alg": "EdDSA", "kid": "ed", "bound": true});
    assert!(with(plain.clone()).is_ok());
    for critical in [json!(["bound"]), json!(["exp"]), json!(["b64"]), json!([]), json!(7), Value::Null] {
        let mut header = plain.clone();
        header["crit"] = critical;
        let why = with(header.clone()).expect_err("a token that demands something");
        assert!(why.contains("crit"), "{header}: {why}");
    }
}

#[test]
fn a_key_that_isnt_for_verifying_signatures_is_named_and_not_used() {
    let read = |keys: Value| KeySet::read(&json!({ "keys": keys }).to_string(), ISSUER, AUDIENCE);
    let with = |fields: Value| {
        let mut key = ed(1).1;
        fields.as_object().unwrap().iter().for_each(|(name, value)| key[name] = value.clone());
        key
    };
    for fine in [json!({"key_ops": ["verify"]}), json!({"key_ops": ["sign", "verify"], "use": "sig"})] {
        assert_eq!(read(json!([with(fine.clone())])).unwrap().len(), 1, "{fine}");
    }
    for bad in
        [json!({"key_ops": ["encrypt"]}), json!({"key_ops": ["sign"]}), json!({"key_ops": []}), json!({"use": "enc"})]
    {
        let why = read(json!([with(bad.clone())])).unwrap_err().to_string();
        assert!(why.contains("\"ed\"") && why.contains("verif"), "{bad}: {why}");
        // Beside one that is.
        let mut other = ed(2).1;
        other["kid"] = json!("other");
        let set = read(json!([with(bad.clone()), other])).unwrap();
        assert!(set.judge(&signed(&claims()), NOW * 1_000).is_err(), "{bad}");
    }
    // What contradicts itself is a mistake of the operator's.
    let why = read(json!([with(json!({"use": "sig", "key_ops": ["sign"]})), ed(2).1])).unwrap_err().to_string();
    assert!(why.contains("\"ed\"") && why.contains("key_ops"), "{why}");
}

#[test]
fn a_key_set_is_read_as_far_as_its_keys_are_for_signatures() {
    let read = |keys: Value| KeySet::read(&json!({ "keys": keys }).to_string(), ISSUER, AUDIENCE);
    let ed = ed(1).1;
    let with = |name: &str, value: Value| {
        let mut key = ed.clone();
        key[name] = value;
        key
    };
    assert_eq!(keys().len(), 3);
    let secret = json!({"kty": "oct", "kid": "s", "k": "c2VjcmV0"});
    let strange = json!({"kty": "OKP", "crv": "X448", "kid": "x", "x": "AA"});
    assert_eq!(read(json!([ed, secret, strange])).unwrap().len(), 1);
    let short = read(json!([with("x", json!("AAAA"))])).unwrap_err().to_string();
    assert!(short.contains("isn't 32 bytes"), "{short}");
    let refused =
        [json!([]), json!([secret]), json!([with("use", json!("enc"))]), json!([with("alg", json!("ES256"))])];
    for bad in refused {
        assert!(read(bad.clone()).is_err(), "{bad}");
    }
    assert!(read(json!([ed, ed])).unwrap_err().to_string().contains("kid"));
    for bad in ["", "{}", "[]", "{\"keys\": 1}"] {
        assert!(KeySet::read(bad, ISSUER, AUDIENCE).is_err(), "{bad}");
    }
    assert!(!format!("{:?}", keys()).contains("0pbrP31roXJlAkw445H"), "keys are told by name");
}
