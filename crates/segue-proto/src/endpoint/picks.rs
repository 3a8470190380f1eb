//! What the user picks of a session's content, and what is left with others (spec section 7.15).

use alloc::collections::BTreeSet;
use alloc::string::String;
use alloc::vec::Vec;

use super::Endpoint;
use crate::clause::Clause;
use crate::clock::Instant;
use crate::data::{Entry, Pick};
use crate::errors::UsageError;
use crate::handoff::Holdings;
use crate::journal::Lsn;
use crate::limits::{MAX_PICK, MAX_SESSIONS};
use crate::wire::{DeviceId, PartId, SessionId};

/// Content that a session's data names and that isn't here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeldElsewhere {
    /// The part that names it.
    pub part: PartId,
    /// Its entry.
    pub entry: Entry,
    /// The devices that are known to have had it, ascending.
    pub holders: Vec<DeviceId>,
    /// Whether it is left out. Else it comes as soon as a device is met that has it.
    pub left_out: bool,
}

impl Endpoint {
    /// From now on this device gets the content that is picked, of handoffs and of sync, and leaves out the rest until
    /// more is picked or [`Endpoint::fetch_content`] asks for it. What is here stays. It is durable for a session that
    /// this device takes part in; for one that isn't known yet it counts once the session comes to be known.
    ///
    /// The LSN behind it. Errors: `TooLarge` if that is said of too many sessions that aren't known.
    pub fn pick(&mut self, now: Instant, session: SessionId, pick: Pick) -> Result<Lsn, UsageError> {
        self.running()?;
        if !self.sessions.contains_key(&session) {
            if self.picks.len() >= MAX_SESSIONS && !self.picks.contains_key(&session) {
                return Err(UsageError::TooLarge);
            }
            self.picks.insert(session, pick);
            return Ok(Lsn::default());
        }
        let same = self.picked(&session) == pick;
        self.command(now, session, |session, ctx| {
            session.holdings.set_pick(pick);
            if session.is_kept() {
                ctx.fx.writes.push(session.holdings.put_pick());
            }
            Ok(())
        })?;
        self.stop_unwanted(now, session);
        if self.config.rules.keeps(Clause::HO_PICK_6) {
            self.fetch_wanted(now, session);
        }
        if !same {
            self.mail_lack(now, session);
        }
        self.tell_whole(now, session);
        Ok(self.last)
    }

    /// From now on what comes to be known of sessions that others made has these folders picked, unless
    /// [`Endpoint::pick`] said otherwise before; without folders, all is. Not journaled; tell it at every open.
    ///
    /// Errors: `TooLarge` if the folders are more than a pick has ids (MAX_PICK).
    pub fn pick_usually(&mut self, folders: Vec<String>) -> Result<(), UsageError> {
        if folders.len() > MAX_PICK {
            return Err(UsageError::TooLarge);
        }
        self.usual = folders;
        Ok(())
    }

    /// In the next handoff of a session, or the one that runs, this device takes this alone of its content along, and until
    /// that is over, however it ends, puts no other of it into mailboxes. One that ended with a code that time mends
    /// ([`Code::is_mended_by_time`](crate::Code::is_mended_by_time)) isn't over: the next one is another try, unless
    /// [`Endpoint::end_tries`] is called. The rest stays behind: it is named as ever, is here, and is served to whoever asks
    /// for it. The next owner gets it later, unless its user picked what it has.
    ///
    /// A target that has an OFFER, and may still be granted to, is told of it at once.
    ///
    /// Errors: [`UsageError::UnknownSession`].
    pub fn take_along(&mut self, now: Instant, session: SessionId, pick: Pick) -> Result<(), UsageError> {
        self.command(now, session, |session, ctx| {
            let before = session.holdings.partial();
            session.holdings.take_along(pick);
            if session.holdings.partial() != before {
                session.offer_anew(ctx);
            }
            Ok(())
        })?;
        self.put_other_content(now);
        Ok(())
    }

    /// No other try follows of a handoff of this session that ended with a code that time mends. If none runs, what was
    /// chosen to go along in one from this device is forgotten, and an OFFER that was accepted here is put to the user again
    /// when it is said again (HO-OFFER-6). Whoever tries nothing again calls this as a handoff ends so.
    pub fn end_tries(&mut self, now: Instant, id: SessionId) {
        self.sessions.get_mut(&id).into_iter().for_each(|session| session.end_tries());
        self.end_choice(now, id);
    }

    /// If no handoff from this device runs, what was chosen to go along in one is forgotten.
    pub(super) fn end_choice(&mut self, now: Instant, id: SessionId) {
        let session = self.sessions.get_mut(&id).filter(|session| session.handing_over().is_none());
        if session.is_some_and(|session| session.holdings.end_handoff()) {
            self.put_other_content(now);
        }
    }

    /// What is picked of a session that comes to be known.
    pub(super) fn pick_of_new(&mut self, session: &SessionId) -> Pick {
        let usual = || Pick::new(self.usual.iter().map(|folder| Pick::folder(session, folder)));
        self.picks.remove(session).or_else(usual).unwrap_or_default()
    }

    /// Gets the content of files that were left out, from whoever has it; that is forgotten as this device is closed.
    /// How many contents it asks for.
    ///
    /// Errors: [`UsageError::UnknownSession`].
    pub fn fetch_content(&mut self, now: Instant, session: SessionId, paths: &[&str]) -> Result<usize, UsageError> {
        let paths: BTreeSet<_> = paths.iter().copied().collect();
        let asked = self.command(now, session, |session, _| Ok(session.holdings.want_content(&paths)))?;
        self.fetch_wanted(now, session);
        self.mail_lack(now, session);
        Ok(asked)
    }

    /// What is picked of a session's content here.
    pub fn picked(&self, session: &SessionId) -> Pick {
        let known = self.sessions.get(session).map(|session| session.holdings.picked());
        known.or(self.picks.get(session)).cloned().unwrap_or_default()
    }

    /// The content that a session's data names and that isn't here, with the devices that are known to have had it:
    /// the writer, and the owner before. In no order.
    pub fn held_elsewhere(&self, session: &SessionId) -> Vec<HeldElsewhere> {
        let Some(session) = self.sessions.get(session) else { return Vec::new() };
        let (Some(state), me) = (session.holdings.state(), self.config.device) else { return Vec::new() };
        let before = session.owner_before();
        let mut lacking = Vec::new();
        for part in state.parts() {
            for value in part.values.iter() {
                let entry = Entry::open(self.config.rules, &value.op.body).ok().filter(|_| part.is_blob());
                let Some(entry) = entry.filter(|entry| session.holdings.lacks(&entry.blob)) else { continue };
                let writer = state.writer(&value.op.actor).map(|writer| writer.device);
                let holders: BTreeSet<_> = writer.into_iter().chain(before).filter(|device| *device != me).collect();
                let left_out = session.holdings.leaves_out(&entry.blob);
                lacking.push(HeldElsewhere {
                    part: part.part,
                    entry,
                    holders: holders.into_iter().collect(),
                    left_out,
                });
            }
        }
        lacking
    }

    /// Asks for what is wanted and isn't here: one device at once, and the others in turn while it is lacking.
    pub(super) fn fetch_wanted(&mut self, now: Instant, session: SessionId) {
        self.retry_later(now);
        if let Some(peer) = self.heard_from(&session).first().copied() {
            self.fetch_missing(now, session, peer);
        }
    }
}
