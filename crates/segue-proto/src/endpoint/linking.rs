//! Linking on this device: invitations, LINK and LINK_OK, and the links that are let in only for that.

use alloc::string::String;
use alloc::vec::Vec;

use super::Endpoint;
use super::account::{Live, hlc, short};
use crate::account::{Invite, Linking, Roster, Side, Step, check_code, keys, link_proof};
use crate::clause::Clause;
use crate::clock::Instant;
use crate::errors::UsageError;
use crate::event::{Event, LinkId, Role};
use crate::handoff::Peer;
use crate::journal::Lsn;
use crate::limits::{CONFIRM_TIMEOUT, INVITE_TTL, MAX_ROSTER};
use crate::link::Ready;
use crate::wire::text::check_name;
use crate::wire::{DeviceId, EntryKind, Exts, Hash, LinkMsg, LinkOk, List, Message, RosterEntry, RosterMsg, Text};
use crate::{Code, Violation};

/// Commands.
impl Endpoint {
    /// Invites a linked device to link this one, which is new and is to be called `name`. `hints` are addresses of this
    /// device, each as host and port. An older invitation is void from here on.
    ///
    /// Errors: `HasAccount`; `TooLarge` for a name of more than 64 characters or for more than 4 hints,
    /// `BadText` for a name that could deceive who reads it.
    pub fn invite(&mut self, now: Instant, wall_ms: u64, name: &str, hints: &[String]) -> Result<Invite, UsageError> {
        self.running()?;
        if self.account.roster.is_some() {
            return Err(UsageError::HasAccount);
        }
        short(name)?;
        let hints = hints.iter().map(|hint| Text::new(hint.as_str())).collect::<Option<Vec<_>>>();
        let hints = hints.and_then(List::new).ok_or(UsageError::TooLarge)?;
        let secret = self.fresh.nonce();
        self.account.invite = Some(Live { secret, name: name.into(), until: now.after(INVITE_TTL) });
        let expires = wall_ms / 1000 + INVITE_TTL / 1_000_000;
        Ok(Invite { secret, device: self.config.device, expires, hints })
    }

    /// Links the device that made an invitation, as soon as it has a link: dial it. [`Event::LinkCode`] and
    /// [`Event::LinkResolved`] follow. If this device has no account, it starts one once both users have confirmed, as its
    /// first device with the name `first`; without that name it is an error.
    ///
    /// Errors: `NoAccount`, `SelfTarget`, `Revoked`; `TooLarge` and `BadText` as of [`Endpoint::create_account`].
    pub fn accept_link(&mut self, now: Instant, invite: &Invite, first: Option<&str>) -> Result<(), UsageError> {
        self.running()?;
        if invite.device == self.config.device {
            return Err(UsageError::SelfTarget);
        }
        let name = match (self.own_roster(), first) {
            (Err(UsageError::NoAccount), Some(name)) => short(name).map(|_| name)?,
            (roster, _) if roster?.is_revoked(&invite.device) => return Err(UsageError::Revoked),
            _ => "",
        };
        let live = Live { secret: invite.secret, name: name.into(), until: now.after(INVITE_TTL) };
        self.account.scans.insert(invite.device, live);
        if let Some(link) = self.routes.get(&invite.device).copied() {
            self.ask_to_link(now, link, invite.device);
        }
        Ok(())
    }

    /// The user has compared the check codes and says yes or no.
    ///
    /// Errors: `NoLinking`.
    pub fn confirm_link(&mut self, now: Instant, wall_ms: u64, device: DeviceId, yes: bool) -> Result<(), UsageError> {
        self.running()?;
        let rules = self.config.rules;
        let linking = self.account.linking.get_mut(&device).ok_or(UsageError::NoLinking)?;
        let link = linking.link;
        if !yes {
            self.end_link(now, link, Code::LINK_DECLINED, None);
            return Ok(());
        }
        let step = linking.confirm(rules).ok_or(UsageError::NoLinking)?;
        linking.made = hlc(wall_ms);
        self.say_link(now, device, true);
        if step == Step::Sign {
            self.sign_link(now, device);
        }
        Ok(())
    }
}

/// Links.
impl Endpoint {
    /// Whether a device that isn't otherwise accepted is let in to link: it was dialled for that, or it dials while an
    /// invitation lives.
    pub(super) fn may_link(&self, now: Instant, id: LinkId, peer: &DeviceId) -> bool {
        let dialled = self.links.get(&id).is_some_and(|link| link.role == Role::Initiator);
        let strict = self.config.rules.keeps(Clause::ACCOUNT_INVITE_2);
        let live = |live: &Live| live.until > now || !strict;
        self.account.scans.get(peer).is_some_and(live) || !dialled && self.account.invite.as_ref().is_some_and(live)
    }

    /// Whether a message may come on this link (ACCOUNT-LINK-2).
    pub(super) fn confines(&self, link: LinkId, message: &Message) -> Result<(), Violation> {
        let links = matches!(message, Message::Link(_) | Message::LinkOk(_) | Message::Roster(_) | Message::Error(_));
        let confined = self.account.confined.contains(&link) && !links;
        self.config.rules.ensure(Clause::ACCOUNT_LINK_2, !confined, Code::WIRE_STATE)
    }

    /// A link is ready: an invitation that was read is answered.
    pub(super) fn ask_to_link(&mut self, now: Instant, link: LinkId, peer: DeviceId) {
        let Some(scan) = self.account.scans.remove(&peer) else { return };
        let mut linking = Linking::asked(link, scan.secret, now.after(CONFIRM_TIMEOUT));
        linking.own_name = scan.name;
        self.account.linking.insert(peer, linking);
        self.say_link(now, peer, false);
    }

    /// LINK: the other device proves that it knows the invitation, and says whether its user has confirmed.
    pub(super) fn on_link(&mut self, now: Instant, link: LinkId, from: DeviceId, message: LinkMsg) {
        if let Err(why) = self.take_link(now, link, from, message) {
            self.end_link(now, link, why.code, Some(why.clause));
        }
    }

    fn take_link(&mut self, now: Instant, link: LinkId, from: DeviceId, message: LinkMsg) -> Result<(), Violation> {
        let rules = self.config.rules;
        check_name(rules, &message.name)?;
        if self.account.linking.get(&from).is_none_or(|linking| linking.link != link) {
            return self.take_first_link(now, link, from, message);
        }
        self.check_proof(&from, &message)?;
        let Some(linking) = self.account.linking.get_mut(&from) else { return Ok(()) };
        match linking.on_link(rules, now, &message.name, message.confirmed) {
            Step::Wait => {}
            Step::Sign => self.sign_link(now, from),
            Step::Show => {
                let agreed = linking.agreed(rules);
                self.show_code(from);
                if agreed == Step::Sign {
                    self.sign_link(now, from);
                }
            }
        }
        Ok(())
    }

    /// The first LINK uses the invitation up (ACCOUNT-INVITE-1), unless it proves nothing.
    fn take_first_link(
        &mut self,
        now: Instant,
        link: LinkId,
        from: DeviceId,
        message: LinkMsg,
    ) -> Result<(), Violation> {
        let rules = self.config.rules;
        let used = Violation::new(Code::LINK_EXPIRED, Clause::ACCOUNT_INVITE_1);
        let live = self.account.invite.clone().ok_or(used)?;
        rules.ensure(Clause::ACCOUNT_INVITE_2, now < live.until, Code::LINK_EXPIRED)?;
        let name = String::from(&*message.name);
        self.account.linking.insert(from, Linking::invited(now, link, live.secret, name));
        if let Err(why) = self.check_proof(&from, &message) {
            self.account.linking.remove(&from);
            return Err(why);
        }
        if rules.keeps(Clause::ACCOUNT_INVITE_1) {
            self.account.invite = None;
            self.account.coming.clear();
        }
        // What this device is called travels with the linking from here on.
        if let Some(linking) = self.account.linking.get_mut(&from) {
            linking.own_name = live.name;
        }
        self.say_link(now, from, false);
        self.show_code(from);
        self.end_idle_confined(now);
        Ok(())
    }

    /// LINK_OK: the new device holds the account.
    pub(super) fn on_link_ok(&mut self, now: Instant, link: LinkId, from: DeviceId, message: &LinkOk) {
        let told = self.account.linking.get(&from).is_some_and(|linking| linking.link == link && linking.is_told());
        let account = self.account.roster.as_ref().map_or(Hash::ZERO, Roster::account);
        if told && message.account == account {
            self.account.linking.remove(&from);
            self.out.event(Event::LinkResolved { peer: from, result: Ok(account) });
            self.release_link(now, link, from);
        }
    }

    /// A link of a device that is linked now carries everything.
    fn release_link(&mut self, now: Instant, link: LinkId, peer: DeviceId) {
        self.account.confined.remove(&link);
        let Some(Ready { generation, .. }) = self.links.get(&link).and_then(|link| link.ready()) else { return };
        self.peers.insert(peer, Peer { generation, heard: now, trusted: self.vouches(&peer) });
        self.mailboxes.linked(peer, generation);
        self.log_in(now, peer);
        self.greet_peer(now, peer);
    }

    /// A link ends, and with it the linking on it.
    pub(super) fn linking_over(&mut self, id: LinkId, code: Code) {
        let found = self.account.linking.iter().find(|(_, linking)| linking.link == id).map(|(peer, _)| *peer);
        if let Some(peer) = found {
            let told = self.account.linking.remove(&peer).is_some_and(|linking| linking.is_told());
            self.account.coming.clear();
            // Once the new device was told, it may have the account, whatever ended the link.
            let code = if told { Code::LINK_LOST } else { code };
            self.out.event(Event::LinkResolved { peer, result: Err(code) });
        }
    }

    pub(super) fn time_linking(&mut self, now: Instant) {
        let rules = self.config.rules;
        if rules.keeps(Clause::ACCOUNT_INVITE_2) && self.account.invite.as_ref().is_some_and(|live| live.until <= now) {
            self.account.invite = None;
            self.end_idle_confined(now);
        }
        let late: Vec<_> = self.account.scans.iter().filter(|(_, scan)| scan.until <= now).map(|(d, _)| *d).collect();
        for peer in late {
            self.account.scans.remove(&peer);
            self.out.event(Event::LinkResolved { peer, result: Err(Code::LINK_EXPIRED) });
        }
        let late: Vec<_> = self
            .account
            .linking
            .values()
            .filter(|linking| linking.deadline <= now)
            .map(|linking| linking.link)
            .collect();
        for link in late.into_iter().filter(|_| rules.keeps(Clause::ACCOUNT_LINK_7)) {
            self.end_link(now, link, Code::LINK_EXPIRED, Some(Clause::ACCOUNT_LINK_7));
        }
    }

    pub(super) fn next_linking(&self) -> Option<Instant> {
        let invite = self.account.invite.as_ref().map(|live| live.until);
        let scans = self.account.scans.values().map(|scan| scan.until);
        let linking = self.account.linking.values().map(|linking| linking.deadline);
        scans.chain(linking).chain(invite).min()
    }

    /// Links that were let in for an invitation that lives no more.
    pub(super) fn end_idle_confined(&mut self, now: Instant) {
        let busy = |link: &LinkId| self.account.linking.values().any(|linking| linking.link == *link);
        let idle: Vec<_> = self.account.confined.iter().copied().filter(|link| !busy(link)).collect();
        for link in idle {
            self.end_link(now, link, Code::LINK_EXPIRED, Some(Clause::ACCOUNT_LINK_2));
        }
    }
}

/// Steps.
impl Endpoint {
    /// The keys of both sides: the linked one's, the new one's.
    fn sides(&self, linking: &Linking, peer: &DeviceId) -> (DeviceId, DeviceId) {
        match linking.side {
            Side::Linked => (self.config.device, *peer),
            Side::New => (*peer, self.config.device),
        }
    }

    fn check_proof(&self, from: &DeviceId, message: &LinkMsg) -> Result<(), Violation> {
        let good = self.account.linking.get(from).is_some_and(|linking| {
            let (linked, new) = self.sides(linking, from);
            let binding = self.links.get(&linking.link).map_or([0; 32], |link| *link.binding());
            let by_new = linking.side == Side::Linked;
            message.proof == link_proof(by_new, &linking.secret, &binding, &linked, &new)
        });
        self.config.rules.ensure(Clause::ACCOUNT_LINK_1, good, Code::LINK_CHANNEL)
    }

    /// Says LINK: the proof, this device's name, and what its user said.
    fn say_link(&mut self, now: Instant, to: DeviceId, confirmed: bool) {
        let Some(linking) = self.account.linking.get(&to) else { return };
        let (linked, new) = self.sides(linking, &to);
        let Some(binding) = self.links.get(&linking.link).map(|link| *link.binding()) else { return };
        let proof = link_proof(linking.side == Side::New, &linking.secret, &binding, &linked, &new);
        let standing = self.account.roster.as_ref().map(Roster::standing);
        let own = standing.and_then(|standing| standing.members.get(&self.config.device));
        let name = own.map_or(linking.own_name.as_str(), |member| &member.name);
        let message = LinkMsg { proof, name: Text::new(name).unwrap_or_default(), confirmed, ext: Exts::empty() };
        self.send(now, to, Lsn::default(), &message.into());
    }

    /// Puts the check code to the user.
    fn show_code(&mut self, peer: DeviceId) {
        let Some(linking) = self.account.linking.get(&peer) else { return };
        let (linked, new) = self.sides(linking, &peer);
        let Some(link) = self.links.get(&linking.link) else { return };
        let code = check_code(&linking.secret, link.binding(), &linked, &new);
        self.out.event(Event::LinkCode { peer, name: linking.name.clone(), code });
    }

    /// The devices with which all is confirmed, and whose link is still to be signed.
    pub(super) fn linkings_to_sign(&self) -> Vec<DeviceId> {
        let signing = self.account.linking.iter().filter(|(_, linking)| linking.is_signing());
        signing.map(|(device, _)| *device).collect()
    }

    /// Both users have confirmed: the link is signed, unless it was before and its end was lost.
    pub(super) fn sign_link(&mut self, now: Instant, device: DeviceId) {
        let me = self.config.device;
        let Some(linking) = self.account.linking.get(&device) else { return };
        if self.account.roster.is_none() {
            let (name, made) = (linking.own_name.clone(), linking.made);
            return self.found_to_link(&name, made);
        }
        let Ok(roster) = self.own_roster() else { return };
        if roster.is_member(&device) {
            return self.link_signed(now, device);
        }
        let entry = RosterEntry {
            kind: EntryKind::Link.number(),
            account: roster.account(),
            parents: List::new(roster.parents(&me)).unwrap_or_default(),
            signer: me,
            device,
            name: Text::new(linking.name.as_str()).unwrap_or_default(),
            made: linking.made,
            genesis: None.into(),
            cut: None.into(),
        };
        self.sign_entry(entry);
    }

    /// The link is in the roster: the new device is sent the whole of it.
    pub(super) fn link_signed(&mut self, now: Instant, device: DeviceId) {
        if let Some(linking) = self.account.linking.get_mut(&device) {
            linking.told();
            self.account.told.insert(device, Vec::new());
            self.push_roster_to(now, device, &[]);
        }
    }

    /// ROSTER while this device is being linked; false if it isn't.
    pub(super) fn on_roster_for_new(
        &mut self,
        now: Instant,
        link: LinkId,
        from: DeviceId,
        message: &RosterMsg,
    ) -> bool {
        let linking = self.account.linking.get(&from);
        if linking.is_none_or(|linking| linking.side != Side::New || linking.link != link) {
            return false;
        }
        if let Err(why) = self.take_account(now, link, from, message) {
            self.end_link(now, link, why.code, Some(why.clause));
        }
        true
    }

    /// The account, page by page; with the last page this device belongs to it.
    fn take_account(
        &mut self,
        now: Instant,
        link: LinkId,
        from: DeviceId,
        message: &RosterMsg,
    ) -> Result<(), Violation> {
        let rules = self.config.rules;
        let confirmed = self.account.linking.get(&from).is_some_and(Linking::is_confirmed);
        rules.ensure(Clause::ACCOUNT_LINK_4, confirmed, Code::LINK_DECLINED)?;
        let entries = self.prove_entries(message.entries.to_vec())?;
        if self.account.coming.len() + entries.len() > MAX_ROSTER {
            return Err(Violation::new(Code::LIMIT_ROOM, Clause::ACCOUNT_ENTRY_2));
        }
        self.account.coming.extend(entries);
        if message.more {
            return Ok(());
        }
        let roster = Roster::from_entries(rules, core::mem::take(&mut self.account.coming))?;
        let both = roster.is_member(&from) && roster.is_member(&self.config.device);
        let whole = both && roster.account() == message.account && self.account.roster.is_none();
        rules.ensure(Clause::ACCOUNT_LINK_6, whole, Code::ACCOUNT_ENTRY)?;
        let (account, heads) = (roster.account(), roster.heads());
        let writes = roster.entries().map(keys::put).collect();
        self.account.roster = Some(roster);
        self.account.linking.remove(&from);
        self.account.told.insert(from, heads);
        let lsn = self.commit(writes, false);
        let held = if rules.keeps(Clause::ACCOUNT_LINK_5) { lsn } else { Lsn::default() };
        self.send(now, from, held, &LinkOk { account, ext: Exts::empty() }.into());
        self.out.event_after(lsn, self.durable, Event::LinkResolved { peer: from, result: Ok(account) });
        self.release_link(now, link, from);
        Ok(())
    }
}
