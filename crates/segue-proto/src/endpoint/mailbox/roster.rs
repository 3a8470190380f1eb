//! Entries of the roster by way of a mailbox: in the inbox of each device of the account, for it alone.

use alloc::vec::Vec;

use super::{Ask, Signing};
use crate::clause::Clause;
use crate::clock::Instant;
use crate::endpoint::Endpoint;
use crate::endpoint::account::paged;
use crate::event::Event;
use crate::journal::Lsn;
use crate::limits::{MAX_ENVELOPE, MAX_ROSTER_HEADS};
use crate::seal;
use crate::wire::codec::{Blob, decode, encode};
use crate::wire::frame::Framer;
use crate::wire::hash::blob_id;
use crate::wire::{DeviceId, Exts, Hash, Letter, Message, Put, Sealed, SessionId, Sig, Signed, id_of, signing_bytes};
use crate::{Code, Violation};

/// What a device is being told of the roster.
#[derive(Debug)]
pub(super) struct Telling {
    /// The heads below which it has everything then.
    heads: Vec<Hash>,
    /// The letters that aren't answered yet.
    left: usize,
    failed: bool,
}

/// The entries in a letter: an envelope, less all heads and the other fields.
const ROOM: usize = MAX_ENVELOPE - MAX_ROSTER_HEADS * 32 - 1_024;

impl Endpoint {
    /// The devices of the account that may lack entries, as far as this mailbox was told.
    pub(super) fn untold(&self, service: &DeviceId) -> Vec<DeviceId> {
        let Ok(roster) = self.own_roster() else { return Vec::new() };
        if !self.config.rules.keeps(Clause::SERVICE_ROSTER_1) {
            return Vec::new();
        }
        let heads = roster.heads();
        let told = |device: &DeviceId| self.mailboxes.book.roster.get(&(*service, *device)) == Some(&heads);
        let me = self.config.device;
        let members = roster.standing().members.keys().copied();
        members.filter(|device| *device != me && device != service && !told(device)).collect()
    }

    pub(super) fn pump_roster(&mut self, service: DeviceId) {
        for to in self.untold(&service) {
            let Some(mailbox) = self.mailboxes.used.get(&service) else { return };
            if mailbox.is_full() || mailbox.rests.is_some() {
                return;
            }
            if !mailbox.telling.contains_key(&to) {
                self.notify(service, to);
            }
        }
    }

    /// Asks for the signatures of letters with what a device may lack (SERVICE-ROSTER-1).
    fn notify(&mut self, service: DeviceId, to: DeviceId) {
        let Ok(roster) = self.own_roster() else { return };
        let told = self.mailboxes.book.roster.get(&(service, to)).map(Vec::as_slice).unwrap_or_default();
        let lacking = roster.lacking(told.iter()).into_iter().map(|entry| entry.signed().clone()).collect();
        let (heads, pages) = (roster.heads(), paged(lacking, ROOM));
        let last = pages.len().saturating_sub(1);
        let pages: Vec<_> =
            pages.into_iter().enumerate().map(|(at, page)| self.roster_page(roster, page, at != last)).collect();
        let (from, left) = (self.config.device, pages.len());
        for page in pages {
            let frames = Message::from(page).to_frame();
            let (session, to_box) = (SessionId::ZERO, seal::inbox(&to));
            let letter = Letter { from, session, to: to_box, count: 0, frames: blob_id(&frames) };
            let sign = self.out.sign(signing_bytes::<Letter>(id_of::<Letter>(&encode(&letter))));
            self.mailboxes.signing.insert(sign, Signing::Roster { service, to, letter, frames });
        }
        if let Some(mailbox) = self.mailboxes.used.get_mut(&service) {
            mailbox.telling.insert(to, Telling { heads, left, failed: false });
            mailbox.told = false;
        }
        if left == 0 {
            // The heads are others, and nothing is new below them.
            self.told_page(service, to, true);
        }
    }

    pub(super) fn notice_signed(
        &mut self,
        now: Instant,
        service: DeviceId,
        to: DeviceId,
        letter: Letter,
        frames: Vec<u8>,
        sig: Sig,
    ) {
        let (Some(letter), Some(frames)) = (Signed::from_parts(encode(&letter), sig), Blob::new(frames)) else {
            return;
        };
        let plain = encode(&Sealed { letter, frames });
        let envelope = seal::wrap_notice(&to, self.fresh.secret(), &plain).and_then(Blob::new);
        let Some(envelope) = envelope else {
            // No key of the curve, so nobody's: there is no one to tell.
            return self.told_page(service, to, true);
        };
        let req = self.fresh.request();
        let Some(mailbox) = self.mailboxes.used.get_mut(&service) else { return };
        mailbox.asks.insert(req, Ask::Roster(to));
        // As over a link, an entry leaves after it is durable (ACCOUNT-ROSTER-4).
        let hold = if self.config.rules.keeps(Clause::ACCOUNT_ROSTER_4) { self.last } else { Lsn::default() };
        let put = Put { req, to: seal::inbox(&to), envelope, ext: Exts::empty() };
        self.send(now, service, hold, &put.into());
    }

    /// A letter with entries is in a device's inbox, or was refused.
    pub(super) fn told_page(&mut self, service: DeviceId, to: DeviceId, put: bool) {
        let Some(mailbox) = self.mailboxes.used.get_mut(&service) else { return };
        let Some(telling) = mailbox.telling.get_mut(&to) else { return };
        telling.left = telling.left.saturating_sub(1);
        telling.failed |= !put;
        if telling.left > 0 {
            return;
        }
        let told = mailbox.telling.remove(&to).filter(|telling| !telling.failed);
        let write = told.map(|telling| self.mailboxes.book.keep_roster(service, to, telling.heads));
        self.commit(write.into_iter().collect(), false);
    }

    /// A letter of the inbox was opened, or couldn't be.
    pub(super) fn on_notice(&mut self, now: Instant, service: DeviceId, plain: Option<Vec<u8>>) {
        if let Err((peer, violation)) = self.take_notice(now, service, plain) {
            self.out.event(Event::Violation { peer: peer.unwrap_or(service), session: None, violation });
        }
    }

    fn take_notice(
        &mut self,
        now: Instant,
        service: DeviceId,
        plain: Option<Vec<u8>>,
    ) -> Result<(), (Option<DeviceId>, Violation)> {
        let rules = self.config.rules;
        let nobody = |violation| (None, violation);
        let plain = plain.ok_or(nobody(Violation::new(Code::SERVICE_ENVELOPE, Clause::SERVICE_INVITE_1)))?;
        let Sealed { letter, frames } = decode::<Sealed>(rules, &plain).map_err(nobody)?;
        let letter = letter.prove(rules, |letter: &Letter| letter.from).map_err(nobody)?;
        let Letter { from, session, to, frames: hash, .. } = *letter.body();
        let by = |violation| (Some(from), violation);
        let fits = session.is_zero() && to == seal::inbox(&self.config.device) && hash == blob_id(&frames);
        rules.ensure(Clause::SERVICE_SIGN_1, fits, Code::SERVICE_ENVELOPE).map_err(by)?;
        let member = self.own_roster().is_ok_and(|roster| roster.is_member(&from));
        rules.ensure(Clause::SERVICE_ROSTER_2, member, Code::ACCOUNT_OTHER).map_err(by)?;
        let mut framer = Framer::default();
        framer.push(&frames);
        while let Some(frame) = framer.next(rules).map_err(by)? {
            match Message::decode(rules, frame.number, &frame.payload).map_err(by)? {
                Some(Message::Roster(roster)) => {
                    let entries = self.prove_entries(roster.entries.into_vec()).map_err(by)?;
                    self.take_entries(now, entries).map_err(by)?;
                    self.knows_roster(service, from, roster.heads.into_vec());
                }
                None if frame.number % 2 == 1 => {}
                _ => rules.ensure(Clause::SERVICE_FRAME_1, false, Code::SERVICE_ENVELOPE).map_err(by)?,
            }
        }
        Ok(())
    }

    /// A device has these heads, so it needn't be told of what is below them.
    fn knows_roster(&mut self, service: DeviceId, device: DeviceId, mut heads: Vec<Hash>) {
        let Some(roster) = &self.account.roster else { return };
        heads.retain(|head| roster.has(head));
        let write = self.mailboxes.book.keep_roster(service, device, heads);
        self.commit(alloc::vec![write], false);
    }
}
