//! Linking: from an invitation that was read to a device that belongs to the account.
//!
//! ```text
//! linked: Asked ── LINK ──▶ Shown ── both users confirmed ──▶ Signing ── signed ──▶ Told ── LINK_OK ──▶ over
//! new:                      Shown ── own user confirmed, ROSTER ─────────────────────────────────────▶ over
//! ```
//!
//! Only this file assigns the machine's state.

use alloc::string::String;

use crate::clause::{Clause, Rules};
use crate::clock::Instant;
use crate::event::LinkId;
use crate::limits::CONFIRM_TIMEOUT;
use crate::wire::hash::Hasher;
use crate::wire::{DeviceId, Hash, Hlc, Nonce};

/// Which device this one is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    /// It belongs to the account, and read the invitation.
    Linked,
    /// It joins, and made the invitation.
    New,
}

/// What is to be done next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// Nothing.
    Wait,
    /// Put the check code to the user.
    Show,
    /// Sign the link: both users have confirmed.
    Sign,
}

/// A linking that is under way.
#[derive(Clone, Debug)]
pub(crate) struct Linking {
    pub(crate) link: LinkId,
    pub(crate) side: Side,
    pub(crate) secret: Nonce,
    /// The other device's name, once it is known.
    pub(crate) name: String,
    /// What this device is to be called, if it belongs to no account yet.
    pub(crate) own_name: String,
    /// When the own user confirmed, for display.
    pub(crate) made: Hlc,
    pub(crate) deadline: Instant,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Asked,
    Shown { own: bool, theirs: bool },
    Signing,
    Told,
}

impl Linking {
    /// This device, which is linked, said LINK first.
    pub(crate) fn asked(link: LinkId, secret: Nonce, deadline: Instant) -> Linking {
        Linking::new(link, Side::Linked, secret, deadline, State::Asked)
    }

    /// This device, which is new, took a LINK whose proof is right.
    pub(crate) fn invited(now: Instant, link: LinkId, secret: Nonce, name: String) -> Linking {
        let deadline = now.after(CONFIRM_TIMEOUT);
        let shown = State::Shown { own: false, theirs: false };
        Linking { name, ..Linking::new(link, Side::New, secret, deadline, shown) }
    }

    fn new(link: LinkId, side: Side, secret: Nonce, deadline: Instant, state: State) -> Linking {
        let (name, own_name, made) = (String::new(), String::new(), Hlc::new([0; 8]));
        Linking { link, side, secret, name, own_name, made, deadline, state }
    }

    /// A LINK whose proof is right.
    pub(crate) fn on_link(&mut self, rules: Rules, now: Instant, name: &str, confirmed: bool) -> Step {
        match self.state {
            State::Asked => {
                self.name = name.into();
                self.deadline = now.after(CONFIRM_TIMEOUT);
                self.state = State::Shown { own: false, theirs: confirmed };
                Step::Show
            }
            State::Shown { own, theirs } => {
                self.state = State::Shown { own, theirs: theirs || confirmed };
                self.agreed(rules)
            }
            State::Signing | State::Told => Step::Wait,
        }
    }

    /// The own user confirms; none if nothing waits for that.
    pub(crate) fn confirm(&mut self, rules: Rules) -> Option<Step> {
        let State::Shown { own: false, theirs } = self.state else { return None };
        self.state = State::Shown { own: true, theirs };
        Some(self.agreed(rules))
    }

    /// Whether both users have confirmed, and this device is to sign.
    pub(crate) fn is_signing(&self) -> bool {
        self.state == State::Signing
    }

    /// The link is signed, and goes to the new device.
    pub(crate) fn told(&mut self) {
        self.state = State::Told;
    }

    /// Whether the new device may have taken the account, or may yet.
    pub(crate) fn is_told(&self) -> bool {
        self.state == State::Told
    }

    /// Whether the own user has confirmed (ACCOUNT-LINK-4).
    pub(crate) fn is_confirmed(&self) -> bool {
        !matches!(self.state, State::Asked | State::Shown { own: false, .. })
    }

    /// The linked device signs once both users have confirmed (ACCOUNT-LINK-3).
    pub(crate) fn agreed(&mut self, rules: Rules) -> Step {
        let State::Shown { own, theirs } = self.state else { return Step::Wait };
        let both = own && theirs || !rules.keeps(Clause::ACCOUNT_LINK_3);
        if self.side == Side::New || !both {
            return Step::Wait;
        }
        self.state = State::Signing;
        Step::Sign
    }
}

/// What LINK proves: that its sender knows the invitation's secret, at the end of this channel and no other (ACCOUNT-LINK-1).
pub fn link_proof(from_new: bool, secret: &Nonce, binding: &[u8; 32], linked: &DeviceId, new: &DeviceId) -> Hash {
    let hasher = Hasher::new("segue/1 link proof").bytes(&[u8::from(from_new)]);
    hasher.bytes(secret.as_bytes()).bytes(binding).bytes(linked.as_bytes()).bytes(new.as_bytes()).finish()
}

/// The check code that both devices show: six decimal digits, below 1,000,000.
pub fn check_code(secret: &Nonce, binding: &[u8; 32], linked: &DeviceId, new: &DeviceId) -> u32 {
    let hasher = Hasher::new("segue/1 link code").bytes(secret.as_bytes()).bytes(binding);
    let hash = hasher.bytes(linked.as_bytes()).bytes(new.as_bytes()).finish();
    let number = u64::from_be_bytes(*hash.as_bytes().first_chunk().unwrap_or(&[0; 8]));
    u32::try_from(number % 1_000_000).unwrap_or(0)
}
