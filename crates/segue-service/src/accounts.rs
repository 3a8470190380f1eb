//! Accounts: under which one a device is, and what holds for it (spec section 9.14).

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use segue_proto::limits::{ACCOUNT_BYTES, ACCOUNT_DEVICES, ACCOUNT_ENVELOPES};
use segue_proto::wire::hash::blob_id;
use segue_proto::wire::text::check_name;
use segue_proto::wire::{DeviceId, Message};
use segue_proto::{Clause, Code, Rules};

use crate::directory::{Binding, Directory, Failed, Share};
use crate::quota::Quota;

/// What an operator demands of devices. It may be replaced at any time: what it says counts from the next request on.
#[derive(Debug, Default)]
pub struct Policy {
    /// What holds for accounts that aren't named.
    pub usual: Allowance,
    /// What holds for others, by name.
    pub accounts: BTreeMap<String, Allowance>,
    /// The devices that are under an account by the operator's word.
    pub devices: BTreeMap<DeviceId, String>,
    /// The devices that are let in under none, whatever they come with.
    pub removed: BTreeSet<DeviceId>,
    /// Who judges tokens; without it none is valid.
    pub tokens: Option<Box<dyn Tokens>>,
    /// Whether a device that a token let in is under the account only until the token ends.
    pub ends_with_token: bool,
}

/// What holds for an account.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Allowance {
    /// Whether sessions may be handed over by way of the service.
    pub handoff: bool,
    /// The bytes that its devices may put.
    pub bytes: u64,
    /// The envelopes that its devices may put.
    pub envelopes: u64,
    /// The devices that tokens bring under it.
    pub devices: usize,
}

impl Default for Allowance {
    fn default() -> Self {
        Allowance { handoff: true, bytes: ACCOUNT_BYTES, envelopes: ACCOUNT_ENVELOPES, devices: ACCOUNT_DEVICES }
    }
}

/// Judges the tokens that devices come with.
pub trait Tokens: Send + fmt::Debug {
    /// The account that a token is for, at so many milliseconds since 1970.
    ///
    /// # Errors
    /// It isn't valid: why, for the operator's log. That names nothing of the token but its fields in clear.
    fn judge(&self, token: &[u8], unix_ms: u64) -> Result<Claim, String>;
}

/// What a token says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    /// The account.
    pub account: String,
    /// When it ends, in milliseconds since 1970.
    pub until: u64,
}

/// A device, as far as accounts go.
#[derive(Clone, Debug)]
pub(crate) struct Standing {
    /// What counts against whom: the account, or the device if there are no accounts.
    pub(crate) payer: DeviceId,
    /// The share that the payer has.
    pub(crate) share: Share,
    /// Whether it may put and fetch.
    pub(crate) may: Result<(), Code>,
    /// Whether it may begin to hand over.
    pub(crate) may_hand_over: Result<(), Code>,
    /// The account and when its login ends, in milliseconds since 1970, 0 for never.
    pub(crate) account: Option<Binding>,
}

impl Standing {
    /// A device of a service that lets every one in.
    fn open(device: DeviceId, quota: &Quota) -> Standing {
        let share = Share { bytes: quota.device_bytes, envelopes: quota.device_envelopes };
        Standing { payer: device, share, may: Ok(()), may_hand_over: Ok(()), account: None }
    }

    /// Whether a message is taken: none begins anything for a device that is under no account (SERVICE-LOGIN-1), or one
    /// for which handing over is switched off (SERVICE-LOGIN-5); what goes on in custody is taken (SERVICE-LOGIN-4).
    pub(crate) fn takes(&self, rules: Rules, message: &Message) -> Result<(), Code> {
        match message {
            Message::Put(_) | Message::Fetch(_) | Message::Watch(_) => self.may,
            Message::Discover(_)
            | Message::Introduce(_)
            | Message::Relay(_)
            | Message::Wake(_)
            | Message::Want(_)
            | Message::Offer(_)
            | Message::Cas(_) => self.may_hand_over,
            Message::Login(_) => Ok(()),
            _ if !rules.keeps(Clause::SERVICE_LOGIN_4) => self.may_hand_over,
            _ => Ok(()),
        }
    }
}

/// Which device is under which account.
#[derive(Debug)]
pub(crate) struct Accounts {
    policy: Policy,
    /// The bindings of devices that have a link.
    bound: BTreeMap<DeviceId, Option<Binding>>,
}

impl Accounts {
    pub(crate) fn new(policy: Policy) -> Accounts {
        Accounts { policy, bound: BTreeMap::new() }
    }

    /// Another policy from now on. Devices that it removes need a place of their account no longer.
    pub(crate) fn set_policy(&mut self, policy: Policy, directory: &mut impl Directory) -> Result<(), Failed> {
        for device in &policy.removed {
            if directory.bound(device)?.is_some() {
                directory.unbind(device)?;
            }
            self.bound.remove(device);
        }
        self.policy = policy;
        Ok(())
    }

    pub(crate) fn gone(&mut self, device: &DeviceId) {
        self.bound.remove(device);
    }

    /// Under which account a device is, if it is under one, though its login may have ended.
    fn binding(&mut self, device: &DeviceId, directory: &impl Directory) -> Result<Option<Binding>, Failed> {
        if self.policy.removed.contains(device) {
            return Ok(None);
        }
        if let Some(account) = self.policy.devices.get(device) {
            return Ok(Some(Binding { account: account.clone(), until: 0 }));
        }
        if let Some(known) = self.bound.get(device) {
            return Ok(known.clone());
        }
        let binding = directory.bound(device)?;
        self.bound.insert(*device, binding.clone());
        Ok(binding)
    }

    fn allowance(&self, account: &str) -> Allowance {
        self.policy.accounts.get(account).copied().unwrap_or(self.policy.usual)
    }

    fn standing(
        &mut self,
        rules: Rules,
        wall: u64,
        device: DeviceId,
        quota: &Quota,
        directory: &impl Directory,
    ) -> Result<Standing, Failed> {
        let binding = self.binding(&device, directory)?.filter(|it| it.lasts(wall));
        let Some(binding) = binding else {
            let may = if rules.keeps(Clause::SERVICE_LOGIN_1) { Err(Code::SVC_LOGIN) } else { Ok(()) };
            return Ok(Standing { may, may_hand_over: may, ..Standing::open(device, quota) });
        };
        let Allowance { handoff, bytes, envelopes, .. } = self.allowance(&binding.account);
        let off = !handoff && rules.keeps(Clause::SERVICE_LOGIN_5);
        Ok(Standing {
            payer: if rules.keeps(Clause::SERVICE_LOGIN_6) { payer(&binding.account) } else { device },
            share: Share { bytes, envelopes },
            may: Ok(()),
            may_hand_over: if off { Err(Code::SVC_FEATURE) } else { Ok(()) },
            account: Some(binding),
        })
    }

    /// A device comes with a token (SERVICE-LOGIN-2). What is durable when this returns stays (SERVICE-LOGIN-3).
    fn bring(
        &mut self,
        rules: Rules,
        wall: u64,
        device: DeviceId,
        token: &[u8],
        directory: &mut impl Directory,
    ) -> Result<Result<(), (Code, String)>, Failed> {
        let invalid = |why: &str| Ok(Err((Code::SVC_TOKEN, why.to_owned())));
        let judged = match &self.policy.tokens {
            Some(tokens) => tokens.judge(token, wall),
            None => Err("the service takes no tokens".to_owned()),
        };
        let claim = match judged {
            Ok(claim) => claim,
            Err(_) if !rules.keeps(Clause::SERVICE_LOGIN_2) => Claim { account: "any".into(), until: u64::MAX },
            Err(why) => return invalid(&why),
        };
        if claim.account.is_empty() || check_name(Rules::ALL, &claim.account).is_err() {
            return invalid("the account's name isn't one");
        }
        if self.policy.removed.contains(&device) {
            return invalid("the device was removed");
        }
        // A login that ended stands in no other's way.
        let before = self.binding(&device, directory)?.filter(|it| it.lasts(wall));
        if before.as_ref().is_some_and(|before| before.account != claim.account) {
            return invalid("the device is under another account");
        }
        if self.policy.devices.contains_key(&device) {
            return Ok(Ok(()));
        }
        let until = if self.policy.ends_with_token { claim.until } else { 0 };
        let binding = Binding { account: claim.account, until };
        if before.as_ref() == Some(&binding) {
            return Ok(Ok(()));
        }
        let most = self.allowance(&binding.account).devices;
        if rules.keeps(Clause::SERVICE_LOGIN_3) && !directory.bind(&device, &binding, most, wall)? {
            return Ok(Err((Code::LIMIT_QUOTA, "the account has as many devices as it may".to_owned())));
        }
        self.bound.insert(device, Some(binding));
        Ok(Ok(()))
    }
}

/// Accounts, or none: then every device is let in.
#[derive(Debug, Default)]
pub(crate) struct Gate {
    accounts: Option<Accounts>,
}

impl Gate {
    pub(crate) fn set_policy(&mut self, policy: Policy, directory: &mut impl Directory) -> Result<(), Failed> {
        self.accounts.get_or_insert_with(|| Accounts::new(Policy::default())).set_policy(policy, directory)
    }

    pub(crate) fn gone(&mut self, device: &DeviceId) {
        self.accounts.iter_mut().for_each(|accounts| accounts.gone(device));
    }

    pub(crate) fn standing(
        &mut self,
        rules: Rules,
        wall: u64,
        device: DeviceId,
        quota: &Quota,
        directory: &impl Directory,
    ) -> Result<Standing, Failed> {
        match &mut self.accounts {
            Some(accounts) => accounts.standing(rules, wall, device, quota, directory),
            None => Ok(Standing::open(device, quota)),
        }
    }

    /// A device logs in. Why its token isn't taken, if it isn't.
    pub(crate) fn bring(
        &mut self,
        rules: Rules,
        wall: u64,
        device: DeviceId,
        token: &[u8],
        directory: &mut impl Directory,
    ) -> Result<Result<(), (Code, String)>, Failed> {
        match &mut self.accounts {
            Some(accounts) if !token.is_empty() => accounts.bring(rules, wall, device, token, directory),
            _ => Ok(Ok(())),
        }
    }
}

/// What stands for an account where something is counted: no device has such a key, but by chance.
fn payer(account: &str) -> DeviceId {
    DeviceId::new(*blob_id(&[b"segue service account ", account.as_bytes()].concat()).as_bytes())
}
