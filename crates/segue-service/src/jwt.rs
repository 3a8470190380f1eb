//! Tokens that are JSON Web Tokens (RFC 7519), signed with a key of a set that the operator has of an identity provider.

use std::collections::BTreeMap;
use std::fmt;

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD as URL_SAFE_NO_PAD;
use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, KeyAlgorithm, KeyOperations, PublicKeyUse};
use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode, decode_header};
use serde::Deserialize;

use crate::accounts::{Claim, Tokens};

/// The keys by which an identity provider signs tokens for this service. No network is asked for them.
pub struct KeySet {
    keys: BTreeMap<String, Key>,
    issuer: String,
    audience: String,
}

/// A key, and the one algorithm that it is for: a token doesn't choose.
struct Key {
    algorithm: Algorithm,
    key: DecodingKey,
}

/// What counts of a token.
#[derive(Deserialize)]
struct Claims {
    sub: String,
    /// One issuer, and not a list.
    #[serde(rename = "iss")]
    _iss: String,
    exp: f64,
    nbf: Option<f64>,
}

/// Why a set of keys can't be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeySetError(String);

impl fmt::Display for KeySetError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for KeySetError {}

impl fmt::Debug for KeySet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let KeySet { keys, issuer, audience } = self;
        write!(f, "keys {:?} of {issuer} for {audience}", keys.keys())
    }
}

impl KeySet {
    /// Reads a JSON Web Key Set (RFC 7517): those of its keys that are for signatures by EdDSA with Ed25519, by ES256 or
    /// by RS256, each with a `kid` of its own. Other keys are left out, symmetric ones above all, and those whose `use` or
    /// `key_ops` says that they aren't for verifying signatures. Tokens count that `issuer` issued for `audience`.
    ///
    /// # Errors
    /// It isn't a set of keys, names one `kid` twice, has a key for EdDSA of another length than Ed25519's, or one whose `use`
    /// and `key_ops` contradict each other, or holds no key of these.
    pub fn read(json: &str, issuer: &str, audience: &str) -> Result<KeySet, KeySetError> {
        let wrong = |why: &str| KeySetError(why.to_owned());
        let set: serde_json::Value =
            serde_json::from_str(json).map_err(|why| KeySetError(format!("it isn't JSON: {why}")))?;
        let listed = set.get("keys").and_then(serde_json::Value::as_array);
        let listed = listed.ok_or_else(|| wrong("it isn't a key set: it has no list \"keys\""))?;
        let (mut keys, mut others) = (BTreeMap::new(), Vec::new());
        for jwk in listed {
            // A provider's set may hold keys of any kind: those that aren't understood are none of these.
            let Ok(jwk) = serde_json::from_value::<Jwk>(jwk.clone()) else { continue };
            let Some((kid, key)) = usable(&jwk) else { continue };
            if let AlgorithmParameters::OctetKeyPair(pair) = &jwk.algorithm
                && URL_SAFE_NO_PAD.decode(&pair.x).map_or(0, |x| x.len()) != ED25519_KEY
            {
                let why = format!("its key {kid:?} for EdDSA has an x that isn't {ED25519_KEY} bytes in base64url");
                return Err(KeySetError(why));
            }
            let signs = jwk.common.public_key_use.as_ref().map(|it| *it == PublicKeyUse::Signature);
            let verifies = jwk.common.key_operations.as_ref().map(|ops| ops.contains(&KeyOperations::Verify));
            match (signs, verifies) {
                (Some(true), Some(false)) => {
                    let why =
                        format!("its key {kid:?} is for signatures by its use, but its key_ops don't have verify");
                    return Err(KeySetError(why));
                }
                (Some(false), _) | (_, Some(false)) => {
                    others.push(format!("{kid:?}"));
                    continue;
                }
                _ => {}
            }
            if keys.insert(kid.clone(), key).is_some() {
                return Err(KeySetError(format!("two of its keys have the kid {kid:?}")));
            }
        }
        if keys.is_empty() {
            let why = "it holds no key for EdDSA, ES256 or RS256 with a kid";
            let beside = match &others[..] {
                [] => String::new(),
                others => format!(": by use or key_ops, {} isn't for verifying signatures", others.join(", ")),
            };
            return Err(KeySetError(format!("{why}{beside}")));
        }
        Ok(KeySet { keys, issuer: issuer.to_owned(), audience: audience.to_owned() })
    }

    /// How many keys there are.
    pub fn len(&self) -> usize {
        self.keys.len()
    }

    /// Whether there is none; there always is.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }
}

impl Tokens for KeySet {
    fn judge(&self, token: &[u8], unix_ms: u64) -> Result<Claim, String> {
        let token = std::str::from_utf8(token).map_err(|_| "it isn't text")?;
        let header = decode_header(token).map_err(|why| format!("it isn't a signed token: {why}"))?;
        if demands(token) {
            return Err("its header demands what isn't understood here (crit)".to_owned());
        }
        let kid = header.kid.ok_or("it names no key (kid)")?;
        let key = self.keys.get(&kid).ok_or_else(|| format!("the key set has no key {kid:?}"))?;
        let mut validation = Validation::new(key.algorithm);
        // The times are checked below, by the service's clock.
        (validation.validate_exp, validation.validate_nbf) = (false, false);
        validation.set_required_spec_claims(&["exp", "sub", "iss", "aud"]);
        validation.set_issuer(&[&self.issuer]);
        validation.set_audience(&[&self.audience]);
        let claims = decode::<Claims>(token, &key.key, &validation).map_err(|why| why.to_string())?.claims;
        let (until, from) = (millis(claims.exp), claims.nbf.map_or(0, millis));
        if unix_ms >= until.saturating_add(LEEWAY_MS) {
            return Err("it expired".to_owned());
        }
        if from > unix_ms.saturating_add(LEEWAY_MS) {
            return Err("it isn't valid yet".to_owned());
        }
        Ok(Claim { account: claims.sub, until: until.saturating_add(LEEWAY_MS) })
    }
}

/// A key that tokens may be signed with, and its name.
fn usable(jwk: &Jwk) -> Option<(String, Key)> {
    let (algorithm, named) = match &jwk.algorithm {
        AlgorithmParameters::OctetKeyPair(it) if it.curve == EllipticCurve::Ed25519 => {
            (Algorithm::EdDSA, KeyAlgorithm::EdDSA)
        }
        AlgorithmParameters::EllipticCurve(it) if it.curve == EllipticCurve::P256 => {
            (Algorithm::ES256, KeyAlgorithm::ES256)
        }
        AlgorithmParameters::RSA(_) => (Algorithm::RS256, KeyAlgorithm::RS256),
        _ => return None,
    };
    let fits = jwk.common.key_algorithm.is_none_or(|it| it == named);
    let key = DecodingKey::from_jwk(jwk).ok().filter(|_| fits)?;
    Some((jwk.common.key_id.clone()?, Key { algorithm, key }))
}

/// Whether a token's header names extensions that have to be understood (RFC 7515, section 4.1.11): none is here. One that
/// can't be read demands anything.
fn demands(token: &str) -> bool {
    let header = token.split('.').next().unwrap_or_default();
    let header = URL_SAFE_NO_PAD.decode(header).ok();
    let header = header.and_then(|json| serde_json::from_slice::<BTreeMap<String, serde_json::Value>>(&json).ok());
    header.is_none_or(|header| header.contains_key("crit"))
}

/// A NumericDate in milliseconds; what doesn't fit is the nearest that does.
fn millis(seconds: f64) -> u64 {
    (seconds * 1_000.0) as u64
}

/// The length of a public key of Ed25519, in bytes. From: RFC 8032, section 5.1.5.
const ED25519_KEY: usize = 32;

/// By how much the clocks of service and identity provider may differ. From: usual among verifiers.
const LEEWAY_MS: u64 = 60_000;
