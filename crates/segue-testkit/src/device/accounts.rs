//! The accounts that a service of a test demands, with tokens that are a list.

use segue_proto::Instant;
use segue_service::{Allowance, Claim, Policy, Tokens};

use super::AccountTerms;

/// The tokens that are valid: each with its account, and when it ends.
#[derive(Debug)]
struct Listed(Vec<(Vec<u8>, Claim)>);

impl Tokens for Listed {
    fn judge(&self, token: &[u8], unix_ms: u64) -> Result<Claim, String> {
        let known = self.0.iter().find(|(it, claim)| it == token && unix_ms < claim.until);
        known.map(|(_, claim)| claim.clone()).ok_or_else(|| "it isn't one that is valid".to_owned())
    }
}

/// What a service demands whose operator has these accounts.
pub(super) fn policy(now: Instant, accounts: Vec<AccountTerms>) -> Policy {
    let mut policy = Policy { ends_with_token: true, ..Policy::default() };
    let mut tokens = Vec::new();
    for AccountTerms { name, token, ttl_us, devices, no_handoff, bytes } in accounts {
        let usual = Allowance::default();
        let allowance = Allowance { handoff: !no_handoff, bytes: bytes.unwrap_or(usual.bytes), ..usual };
        policy.accounts.insert(name.clone(), allowance);
        policy.devices.extend(devices.into_iter().map(|device| (device, name.clone())));
        let until = ttl_us.map_or(u64::MAX, |ttl| now.after(ttl).micros() / 1_000);
        if !token.is_empty() {
            tokens.push((token, Claim { account: name, until }));
        }
    }
    policy.tokens = Some(Box::new(Listed(tokens)));
    policy
}
