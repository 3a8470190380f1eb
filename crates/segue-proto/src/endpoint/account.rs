//! The account on this device: commands, what a changed roster means for links and sessions, and ROSTER.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::string::String;
use alloc::vec::Vec;

use super::{Endpoint, SignId};
use crate::account::{Linking, Roster, Standing, keys};
use crate::clause::Clause;
use crate::clock::Instant;
use crate::errors::UsageError;
use crate::event::{Event, LinkId};
use crate::journal::{Lsn, Write};
use crate::limits::{MAX_CUT_HEADS, MAX_ENTRIES, MAX_FRAME, MAX_NAME, MAX_ROSTER_HEADS};
use crate::wire::codec::encode;
use crate::wire::{
    Cut, CutHead, DeviceId, EntryKind, Exts, Founding, Hash, Hlc, Kind, List, Nonce, Proven, Record, RosterEntry,
    RosterMsg, SessionId, Sig, Signed, Text, id_of, signing_bytes,
};
use crate::{Code, Violation};

/// The account as this device knows it, and what is under way.
#[derive(Debug, Default)]
pub(super) struct Account {
    pub(super) roster: Option<Roster>,
    pub(super) invite: Option<Live>,
    /// Invitations that were read here, by the device that made them.
    pub(super) scans: BTreeMap<DeviceId, Live>,
    pub(super) linking: BTreeMap<DeviceId, Linking>,
    /// Links of devices that are let in only to link.
    pub(super) confined: BTreeSet<LinkId>,
    /// The pages of a roster on their way to this device, which is new.
    pub(super) coming: Vec<Proven<RosterEntry>>,
    /// The heads below which each linked device holds everything.
    pub(super) told: BTreeMap<DeviceId, Vec<Hash>>,
    signing: BTreeMap<SignId, RosterEntry>,
    /// The signature of the genesis that a linking waits for, if there is no account yet.
    founding: Option<SignId>,
    /// The genesis of an account that is written down with its first link.
    unwritten: Option<Write>,
    /// Revokes that are signed, and wait for others of the same device.
    revokes: Vec<Proven<RosterEntry>>,
}

/// An invitation that lives: one that was made here, or was read here.
#[derive(Clone, Debug)]
pub(super) struct Live {
    pub(super) secret: Nonce,
    /// What this device is to be called, if it belongs to no account yet.
    pub(super) name: String,
    pub(super) until: Instant,
}

/// Commands.
impl Endpoint {
    /// Starts an account with this device as its first. `wall_ms` is the wall clock in milliseconds, for display only.
    /// `recovery` is a key that may link and revoke and can't be revoked; its secret is the application's to keep. The
    /// account is there once [`Event::AccountCreated`] says so.
    ///
    /// Errors: `HasAccount`; `TooLarge` for a name of more than 64 characters, `BadText` for one that could deceive who reads it.
    pub fn create_account(&mut self, wall_ms: u64, name: &str, recovery: Option<DeviceId>) -> Result<(), UsageError> {
        self.running()?;
        if self.account.roster.is_some() || !self.account.signing.is_empty() {
            return Err(UsageError::HasAccount);
        }
        if recovery == Some(self.config.device) {
            return Err(UsageError::SelfTarget);
        }
        self.sign_genesis(short(name)?, hlc(wall_ms), recovery);
        Ok(())
    }

    /// Revokes a device of the account, for good. [`Event::DeviceRevoked`] follows; sessions that it owns are taken over.
    ///
    /// Errors: `NoAccount`, `UnknownDevice`, `SelfTarget`; `Revoked` if the device, or this one, already is.
    pub fn revoke(&mut self, wall_ms: u64, device: DeviceId) -> Result<(), UsageError> {
        self.running()?;
        let me = self.config.device;
        let roster = self.own_roster()?;
        if roster.is_revoked(&device) {
            return Err(UsageError::Revoked);
        }
        if device == me {
            return Err(UsageError::SelfTarget);
        }
        if !roster.is_member(&device) {
            return Err(UsageError::UnknownDevice);
        }
        let (account, parents) = (roster.account(), roster.parents(&me));
        let heads: List<CutHead, MAX_CUT_HEADS> = List::new(self.taken_by(&device)).unwrap_or_default();
        // One that is being made already says the same.
        let under_way = |entry: &RosterEntry| entry.kind == EntryKind::Revoke.number() && entry.device == device;
        if self.account.signing.values().any(under_way) {
            return Ok(());
        }
        for tips in self.ends_of(&device) {
            let cut = Cut { tips: List::new(tips).unwrap_or_default(), heads: heads.clone() };
            self.sign_entry(RosterEntry {
                kind: EntryKind::Revoke.number(),
                account,
                parents: List::new(parents.clone()).unwrap_or_default(),
                signer: me,
                device,
                name: Text::default(),
                made: hlc(wall_ms),
                genesis: None.into(),
                cut: Some(cut).into(),
            });
        }
        Ok(())
    }

    /// The roster of this device's account, if it has one.
    pub fn roster(&self) -> Option<&Roster> {
        self.account.roster.as_ref()
    }

    /// The roster, if this device may still sign for it.
    pub(super) fn own_roster(&self) -> Result<&Roster, UsageError> {
        let roster = self.account.roster.as_ref().ok_or(UsageError::NoAccount)?;
        if roster.is_member(&self.config.device) { Ok(roster) } else { Err(UsageError::Revoked) }
    }

    /// Asks for the signature of an entry.
    pub(super) fn sign_entry(&mut self, entry: RosterEntry) -> SignId {
        let id = id_of::<RosterEntry>(&encode(&entry));
        let sign = self.out.sign(signing_bytes::<RosterEntry>(id));
        self.account.signing.insert(sign, entry);
        sign
    }

    fn sign_genesis(&mut self, name: Text<256>, made: Hlc, recovery: Option<DeviceId>) -> SignId {
        let me = self.config.device;
        let founding = Founding { nonce: self.fresh.nonce(), recovery: recovery.into() };
        self.sign_entry(RosterEntry {
            kind: EntryKind::Genesis.number(),
            account: Hash::ZERO,
            parents: List::default(),
            signer: me,
            device: me,
            name,
            made,
            genesis: Some(founding).into(),
            cut: None.into(),
        })
    }

    /// Both users have confirmed, and this device has no account to link the other one with: it starts one now.
    pub(super) fn found_to_link(&mut self, name: &str, made: Hlc) {
        // Another linking waits for it, or the application does.
        if self.account.signing.is_empty() {
            let sign = self.sign_genesis(Text::new(name).unwrap_or_default(), made, None);
            self.account.founding = Some(sign);
        }
    }

    /// An entry is signed; false if it wasn't one that was asked for.
    pub(super) fn on_entry_signed(&mut self, now: Instant, id: SignId, sig: Sig) -> bool {
        let Some(entry) = self.account.signing.remove(&id) else { return false };
        let entry = Proven::own(entry, sig);
        let device = entry.body().device;
        if entry.body().kind == EntryKind::Genesis.number() {
            // Where the linking that it was for has ended meanwhile, there is still no account.
            let to_link = self.account.founding.take_if(|founding| *founding == id).is_some();
            let waiting = self.linkings_to_sign();
            if self.account.roster.is_none() && !(to_link && waiting.is_empty()) {
                self.found(now, entry, to_link);
            }
            waiting.into_iter().for_each(|device| self.sign_link(now, device));
            return true;
        }
        // The revokes of one device count together: a part of its cut would set aside what another part lets stand.
        let revoke = |entry: &RosterEntry| entry.kind == EntryKind::Revoke.number() && entry.device == device;
        let mut entries = alloc::vec![entry.clone()];
        if revoke(entry.body()) {
            self.account.revokes.push(entry.clone());
            if self.account.signing.values().any(revoke) {
                return true;
            }
            entries = self.account.revokes.extract_if(.., |entry| revoke(entry.body())).collect();
        }
        if let Err(violation) = self.take_entries(now, entries) {
            self.out.event(Event::Violation { peer: self.config.device, session: None, violation });
        } else if entry.body().kind == EntryKind::Link.number() {
            self.link_signed(now, device);
        }
        true
    }

    /// The account is there. If it is there for a link, it is written down with that, so that a crash leaves both or neither.
    fn found(&mut self, now: Instant, genesis: Proven<RosterEntry>, to_link: bool) {
        let account = genesis.id();
        let write = keys::put(&genesis);
        let Ok(roster) = Roster::start(self.config.rules, genesis) else { return };
        self.account.roster = Some(roster);
        // A device that has an account makes no invitation (ACCOUNT-LINK-6).
        self.account.invite = None;
        self.end_idle_confined(now);
        if to_link {
            self.account.unwritten = Some(write);
            return;
        }
        let lsn = self.commit(alloc::vec![write], false);
        self.out.event_after(lsn, self.durable, Event::AccountCreated { account });
    }

    /// The heads of the sessions that a device took over, as far as they fit.
    fn taken_by(&self, device: &DeviceId) -> Vec<CutHead> {
        let takes = |record: &Proven<Record>| is_takeover(record) && record.body().signer == *device;
        let taken = self.sessions.iter().filter(|(_, session)| session.chain().records().any(takes));
        let heads = taken.map(|(id, session)| CutHead { session: *id, record: session.head().id() });
        heads.take(MAX_CUT_HEADS).collect()
    }
}

/// Who is trusted.
impl Endpoint {
    /// Whether a device may learn of every session: the application vouches for it, or the account does.
    pub(super) fn vouches(&self, device: &DeviceId) -> bool {
        let linked = self.account.roster.as_ref().is_some_and(|roster| roster.is_member(device));
        let linked = linked && self.config.rules.keeps(Clause::ACCOUNT_TRUST_1);
        (self.trusted.contains(device) || linked) && !self.is_revoked(device)
    }

    /// Whether a device's key is revoked.
    pub(super) fn is_revoked(&self, device: &DeviceId) -> bool {
        self.account.roster.as_ref().is_some_and(|roster| roster.is_revoked(device))
    }

    /// Refuses what names a revoked device (ACCOUNT-REVOKE-3).
    pub(super) fn not_revoked(&self, device: &DeviceId) -> Result<(), UsageError> {
        let refused = self.is_revoked(device) && self.config.rules.keeps(Clause::ACCOUNT_REVOKE_3);
        if refused { Err(UsageError::Revoked) } else { Ok(()) }
    }

    /// How many of these records, each the parent of the next, may be admitted: none from a takeover on whose signer or
    /// owner is revoked and that no cut covers, unless a device that isn't revoked took over behind it
    /// (ACCOUNT-REVOKE-5).
    pub(super) fn admissible(&self, session: SessionId, records: &[Proven<Record>]) -> Result<(), (usize, Violation)> {
        let Some(roster) = &self.account.roster else { return Ok(()) };
        let known = self.sessions.get(&session).map(|session| session.chain());
        for (at, record) in records.iter().enumerate() {
            let fresh = known.is_none_or(|chain| chain.get(&record.id()).is_none());
            let revoked = revoked_in(roster, record).filter(|_| fresh && is_takeover(record));
            let Some(revoked) = revoked else { continue };
            let behind = records.get(at..).unwrap_or_default();
            let in_cut = |cut: &Cut| {
                cut.heads.iter().any(|head| head.session == session && behind.iter().any(|r| r.id() == head.record))
            };
            let overtaken = behind.iter().any(|r| is_takeover(r) && revoked_in(roster, r).is_none());
            let stands = overtaken || roster.cut_covers(&revoked, in_cut);
            self.config
                .rules
                .ensure(Clause::ACCOUNT_REVOKE_5, stands, Code::AUTH_REVOKED)
                .map_err(|violation| (at, violation))?;
        }
        Ok(())
    }

    /// Takes entries into the roster, writes them down, and does what follows from them.
    pub(super) fn take_entries(&mut self, now: Instant, entries: Vec<Proven<RosterEntry>>) -> Result<(), Violation> {
        let rules = self.config.rules;
        let Some(roster) = &mut self.account.roster else {
            return Err(Violation::new(Code::ACCOUNT_OTHER, Clause::ACCOUNT_ROSTER_3));
        };
        let before = roster.standing().clone();
        let (mut writes, mut outcome) = (Vec::new(), Ok(()));
        for entry in entries {
            match roster.add(rules, entry) {
                Ok(added) => writes.extend(added.entries.iter().map(keys::put)),
                Err(violation) => outcome = Err(violation),
            }
        }
        if writes.is_empty() {
            return outcome;
        }
        let (account, after) = (roster.account(), roster.standing().clone());
        let genesis = self.account.unwritten.take();
        let begun = genesis.is_some();
        writes.splice(0..0, genesis);
        let lsn = self.commit(writes, false);
        if begun {
            self.out.event_after(lsn, self.durable, Event::AccountCreated { account });
        }
        self.tell_changes(lsn, &before, &after);
        self.cut_sessions(now);
        for device in after.revoked.keys().filter(|device| !before.revoked.contains_key(device)) {
            self.shut_out(now, *device);
        }
        let trusted: Vec<_> = self.peers.keys().map(|peer| (*peer, self.vouches(peer))).collect();
        let mut gained = false;
        for (peer, trusted) in trusted {
            if let Some(peer) = self.peers.get_mut(&peer) {
                gained |= trusted && !peer.trusted;
                peer.trusted = trusted;
            }
        }
        if gained {
            let ids: Vec<_> = self.sessions.keys().copied().collect();
            ids.into_iter().for_each(|id| self.sync_session(now, id));
        }
        self.push_roster(now);
        self.pump_mailboxes(now);
        outcome
    }

    /// Tells the user who was linked and revoked (ACCOUNT-TELL-1).
    fn tell_changes(&mut self, lsn: Lsn, before: &Standing, after: &Standing) {
        if !self.config.rules.keeps(Clause::ACCOUNT_TELL_1) {
            return;
        }
        for (device, member) in after.members.iter().filter(|(device, _)| !before.members.contains_key(device)) {
            let event = Event::DeviceLinked { device: *device, name: member.name.clone(), by: member.by };
            self.out.event_after(lsn, self.durable, event);
        }
        for (device, revoked) in after.revoked.iter().filter(|(device, _)| !before.revoked.contains_key(device)) {
            self.out.event_after(lsn, self.durable, Event::DeviceRevoked { device: *device, by: revoked.by });
        }
    }

    /// A device was revoked: it has no links any more, waits for no grant, and owns nothing that this device can help.
    fn shut_out(&mut self, now: Instant, device: DeviceId) {
        if device == self.config.device {
            return;
        }
        let rules = self.config.rules;
        if rules.keeps(Clause::ACCOUNT_REVOKE_3) {
            let ids: Vec<_> = self.sessions.keys().copied().collect();
            for id in ids {
                self.step(now, id, |session, ctx| session.on_revoked(ctx, device));
            }
        }
        self.account.scans.remove(&device);
        if rules.keeps(Clause::ACCOUNT_REVOKE_2) {
            // The revoked device hears why, on its way out: it is authenticated, so nothing is given away.
            self.push_roster_to(now, device, &[]);
            let links: Vec<_> = self.links_of(&device);
            for link in links {
                self.end_link(now, link, Code::AUTH_REVOKED, Some(Clause::ACCOUNT_REVOKE_2));
            }
        }
        self.syncing.forget(&device);
        self.succeed(now, &device);
    }

    /// The sessions that a revoked device owns: their users are told, and the device that revoked it takes them over
    /// if it may (ACCOUNT-REVOKE-4).
    pub(super) fn succeed(&mut self, now: Instant, device: &DeviceId) {
        let me = self.config.device;
        let names = |record: &Record| record.owner == *device || record.grantor == *device;
        let owned = self.sessions.iter().filter(|(_, session)| session.is_kept() && names(session.head().body()));
        let owned: Vec<_> = owned.map(|(id, _)| *id).collect();
        let roster = self.account.roster.as_ref();
        let mine = roster.is_some_and(|roster| roster.standing().revoked.get(device).is_some_and(|by| by.by == me));
        for session in owned {
            self.out.event_after(self.last, self.durable, Event::OwnerRevoked { session, owner: *device });
            if mine && self.config.rules.keeps(Clause::ACCOUNT_REVOKE_4) {
                // Not a member, or a store that isn't proven: then the event is all there is.
                let _ = self.takeover(now, session);
            }
        }
    }

    /// The head of a session changed: somebody who didn't know better may have granted it to a revoked device.
    pub(super) fn succeed_if_revoked(&mut self, now: Instant, id: SessionId) {
        let head = self.sessions.get(&id).map(|session| session.head().body());
        let Some(head) = head.filter(|head| head.kind == Kind::Grant.number()) else { return };
        let owner = head.owner;
        if owner != self.config.device && self.is_revoked(&owner) {
            self.succeed(now, &owner);
        }
    }

    /// What a revocation entails and a crash may have cut off.
    pub(super) fn resume_revocations(&mut self, now: Instant) {
        let (me, standing) = (self.config.device, self.account.roster.as_ref().map(Roster::standing));
        let revoked = standing.into_iter().flat_map(|standing| standing.revoked.keys()).copied();
        let revoked: Vec<_> = revoked.filter(|device| *device != me).collect();
        for device in revoked {
            self.succeed(now, &device);
        }
    }

    fn links_of(&self, device: &DeviceId) -> Vec<LinkId> {
        let of = |link: &LinkId| {
            self.links.get(link).and_then(|link| link.ready()).is_some_and(|ready| ready.peer == *device)
        };
        self.links.ids().into_iter().filter(of).collect()
    }
}

/// ROSTER.
impl Endpoint {
    /// A device of the account has a link: it is told the heads (ACCOUNT-ROSTER-1).
    pub(super) fn greet_account(&mut self, now: Instant, peer: DeviceId) {
        self.account.told.insert(peer, Vec::new());
        let Ok(roster) = self.own_roster() else { return };
        if roster.is_member(&peer) && self.config.rules.keeps(Clause::ACCOUNT_ROSTER_1) {
            let message = self.roster_page(roster, Vec::new(), false);
            self.send(now, peer, self.last, &message.into());
        }
    }

    /// ROSTER of a device of the account: its entries are taken in, and it is sent what it lacks.
    pub(super) fn on_roster(&mut self, now: Instant, from: DeviceId, message: RosterMsg) {
        let RosterMsg { account, heads, entries, more, .. } = message;
        let of_account = self.own_roster().is_ok_and(|own| own.account() == account && own.is_member(&from));
        let done = self
            .config
            .rules
            .ensure(Clause::ACCOUNT_ROSTER_3, of_account, Code::ACCOUNT_OTHER)
            .and_then(|()| self.prove_entries(entries.into_vec()))
            .and_then(|entries| self.take_entries(now, entries));
        if let Err(why) = done {
            return self.refuse_for(now, from, 0, None, why);
        }
        if !more {
            self.push_roster_to(now, from, &heads);
        }
    }

    /// Verifies the entries that aren't known yet; the others are left out.
    pub(super) fn prove_entries(
        &self,
        entries: Vec<Signed<RosterEntry>>,
    ) -> Result<Vec<Proven<RosterEntry>>, Violation> {
        let roster = self.account.roster.as_ref();
        let fresh = entries.into_iter().filter(|entry| roster.is_none_or(|roster| !roster.has(&entry.id())));
        fresh.map(|entry| entry.prove(self.config.rules, |entry| entry.signer)).collect()
    }

    /// Every linked device of the account is sent what it lacks, at once (ACCOUNT-ROSTER-2).
    fn push_roster(&mut self, now: Instant) {
        let peers: Vec<_> = self.routes.keys().copied().collect();
        for peer in peers {
            let member = self.account.roster.as_ref().is_some_and(|roster| roster.is_member(&peer));
            if member && self.account.told.contains_key(&peer) {
                self.push_roster_to(now, peer, &[]);
            }
        }
    }

    /// A device is sent the entries that it lacks; `heads` are those that it says it has.
    pub(super) fn push_roster_to(&mut self, now: Instant, to: DeviceId, heads: &[Hash]) {
        let rules = self.config.rules;
        let Some(roster) = self.account.roster.as_ref().filter(|_| rules.keeps(Clause::ACCOUNT_ROSTER_2)) else {
            return;
        };
        let told = self.account.told.get(&to).map(Vec::as_slice).unwrap_or_default();
        let lacking: Vec<_> =
            roster.lacking(told.iter().chain(heads)).into_iter().map(|e| e.signed().clone()).collect();
        let own_heads = roster.heads();
        let pages = paged(lacking, ROOM);
        let last = pages.len().saturating_sub(1);
        let pages: Vec<_> =
            pages.into_iter().enumerate().map(|(at, page)| self.roster_page(roster, page, at != last)).collect();
        // Held until what this device says it knows is durable (ACCOUNT-ROSTER-4).
        let lsn = if rules.keeps(Clause::ACCOUNT_ROSTER_4) { self.last } else { Lsn::default() };
        for page in pages {
            self.send(now, to, lsn, &page.into());
        }
        self.account.told.insert(to, own_heads);
    }

    pub(super) fn roster_page(&self, roster: &Roster, entries: Vec<Signed<RosterEntry>>, more: bool) -> RosterMsg {
        let mut heads = roster.heads();
        heads.truncate(MAX_ROSTER_HEADS);
        RosterMsg {
            account: roster.account(),
            heads: List::new(heads).unwrap_or_default(),
            entries: List::new(entries).unwrap_or_default(),
            more,
            ext: Exts::empty(),
        }
    }
}

/// Entries, in pages that hold so many bytes of them; no page if there are none.
pub(super) fn paged(entries: Vec<Signed<RosterEntry>>, room: usize) -> Vec<Vec<Signed<RosterEntry>>> {
    let mut pages: Vec<Vec<Signed<RosterEntry>>> = Vec::new();
    let mut size = 0;
    for entry in entries {
        let len = entry.body_bytes().len() + 66;
        match pages.last_mut() {
            Some(page) if page.len() < MAX_ENTRIES && size + len <= room => page.push(entry),
            _ => {
                size = 0;
                pages.push(alloc::vec![entry]);
            }
        }
        size += len;
    }
    pages
}

/// What of a frame is left for entries beside all heads and the other fields.
const ROOM: usize = MAX_FRAME - MAX_ROSTER_HEADS * 32 - 256;

/// The revoked device by which, or for which, a record was made.
fn revoked_in(roster: &Roster, record: &Proven<Record>) -> Option<DeviceId> {
    let Record { signer, owner, .. } = *record.body();
    [signer, owner].into_iter().find(|device| roster.is_revoked(device))
}

fn is_takeover(record: &Proven<Record>) -> bool {
    record.body().kind == Kind::Takeover.number()
}

pub(super) fn short(name: &str) -> Result<Text<256>, UsageError> {
    if !name.chars().all(crate::wire::text::is_plain) {
        return Err(UsageError::BadText);
    }
    Text::new(name).filter(|_| name.chars().count() <= MAX_NAME).ok_or(UsageError::TooLarge)
}

pub(super) fn hlc(wall_ms: u64) -> Hlc {
    Hlc::new((wall_ms << 16).to_be_bytes())
}

/// The account's entries from the journal, and back to where the device stood.
pub(super) fn restore(rules: crate::Rules, entries: Vec<Vec<u8>>) -> Result<Option<Roster>, Violation> {
    if entries.is_empty() {
        return Ok(None);
    }
    let count = entries.len();
    let read = |bytes: Vec<u8>| {
        let signed: Signed<RosterEntry> = crate::wire::codec::decode(crate::Rules::ALL, &bytes)?;
        Proven::journaled(signed)
    };
    let entries = entries.into_iter().map(read).collect::<Result<Vec<_>, _>>()?;
    let roster = Roster::from_entries(rules, entries)?;
    let whole = roster.len() == count;
    let missing = Violation::new(Code::ACCOUNT_ENTRY, Clause::ACCOUNT_ENTRY_2);
    if whole { Ok(Some(roster)) } else { Err(missing) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Rules;
    use crate::limits::MAX_PARENTS;
    use crate::wire::Message;
    use crate::wire::frame::Framer;

    /// Links, as long as they get.
    fn links(count: usize) -> Vec<Signed<RosterEntry>> {
        let link = |n: usize| RosterEntry {
            kind: EntryKind::Link.number(),
            account: Hash::new([1; 32]),
            parents: List::new((0..MAX_PARENTS as u8).map(|at| Hash::new([at; 32])).collect()).expect("parents"),
            signer: DeviceId::new([2; 32]),
            device: DeviceId::new([3; 32]),
            name: Text::new(alloc::format!("{n:0>256}")).expect("a name"),
            made: Hlc::ZERO,
            genesis: None.into(),
            cut: None.into(),
        };
        (0..count).map(|n| Proven::assume(link(n)).signed().clone()).collect()
    }

    #[test]
    fn a_page_has_so_many_bytes_and_entries() {
        let sizes = |count, room| paged(links(count), room).iter().map(Vec::len).collect::<Vec<_>>();
        let each = encode(&links(1)).len() - encode(&links(0)).len();
        assert_eq!(sizes(7, 3 * each), [3, 3, 1]);
        assert_eq!(sizes(7, 3 * each - 1), [2, 2, 2, 1]);
        assert_eq!(sizes(2, 1), [1, 1], "one, however long it is");
        assert_eq!(sizes(0, 1), []);
        assert_eq!(sizes(MAX_ENTRIES + 1, usize::MAX), [MAX_ENTRIES, 1]);
        let in_order: Vec<_> = paged(links(7), 3 * each).concat();
        assert_eq!(in_order, links(7));
    }

    /// ROSTER of as many heads as it holds, and as many entries as there is room for beside them.
    #[test]
    fn a_page_fits_a_frame() {
        let page = paged(links(MAX_ENTRIES), ROOM).remove(0);
        let heads = (0..MAX_ROSTER_HEADS).map(|at| Hash::new([at as u8; 32])).collect();
        let each = encode(&links(1)).len() - encode(&links(0)).len();
        let full = |entries: &[Signed<RosterEntry>]| {
            let heads = List::new(Vec::clone(&heads)).expect("heads");
            let entries = List::new(entries.to_vec()).expect("entries");
            let roster = RosterMsg { account: Hash::ZERO, heads, entries, more: true, ext: Exts::empty() };
            let mut framer = Framer::default();
            framer.push(&Message::from(roster).to_frame());
            framer.next(Rules::ALL).map(|frame| frame.expect("a frame").payload.len())
        };
        let len = full(&page).expect("a frame that is short enough");
        assert!(len + each > MAX_FRAME - 256, "{len} bytes leave room for another");
    }
}
