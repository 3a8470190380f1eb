//! HEAD: what other devices know of the chain, and what that ends here.

use alloc::string::String;
use alloc::vec::Vec;

use super::effects::Ctx;
use super::holdings::Holdings;
use super::session::{ProvenAck, Session, SessionRole};
use crate::clause::{Clause, Rules};
use crate::event::Event;
use crate::limits::MAX_SHOWN;
use crate::wire::codec::{Blob, decode, encode};
use crate::wire::text::clean_name;
use crate::wire::{Ack, DeviceId, Ext, Exts, Hash, Have, List, Proven, Record, Text};

/// The extension of HAVE that gives the session's name.
const NAME: u32 = 1;

/// The extensions of a HAVE that tells a reader of a session with this name (HO-HEAD-8).
pub(super) fn naming(name: &str) -> Exts {
    let name: Text<256> = Text::new(name).unwrap_or_default();
    let bytes = Blob::new(encode(&name)).unwrap_or_default();
    List::new(alloc::vec![Ext { id: NAME, bytes }]).unwrap_or_default()
}

/// The name that a HAVE gives; empty if it gives none that may be shown.
pub fn named(rules: Rules, exts: &Exts) -> String {
    let found = exts.iter().find(|ext| ext.id == NAME);
    let name = found.and_then(|ext| decode::<Text<256>>(rules, &ext.bytes).ok());
    clean_name(&name.unwrap_or_default())
}

impl<H: Holdings> Session<H> {
    /// A chain suffix of a peer, its signatures verified, and perhaps an acknowledgement.
    pub fn on_head(
        &mut self,
        ctx: &mut Ctx<'_>,
        from: DeviceId,
        records: Vec<Proven<Record>>,
        more: bool,
        ack: Option<ProvenAck>,
    ) {
        let before = self.head().clone();
        let (was, granted) = (self.role(ctx.rules), self.source.granted_record());
        let theirs = records.last().map(Proven::id);
        for record in records {
            if let Err(violation) = self.admit(ctx, record) {
                ctx.event(Event::Violation { peer: from, session: Some(self.id()), violation });
                break;
            }
        }
        self.settle_by(ctx, theirs, ack);
        if let Some(theirs) = theirs.filter(|_| !more) {
            self.watch_grantor(ctx, from, theirs);
        }
        if self.head().id() != before.id() {
            self.on_new_head(ctx, &before, was, granted);
        }
        let Some(theirs) = theirs.filter(|_| !more) else { return };
        let told = self.peer_heads.insert(from, theirs) == Some(theirs);
        let lower = theirs != self.head().id() && self.chain.get(&theirs).is_some();
        let answers = lower && !told && self.may_know(ctx, &from) && ctx.rules.keeps(Clause::HO_HEAD_2);
        if answers && self.is_shown_first(from, theirs) {
            self.send_head(ctx, from, &theirs, None);
        }
    }

    /// HAVE with a request number: the chain, and what can be fetched here.
    pub fn answer_have(&mut self, ctx: &mut Ctx<'_>, from: DeviceId, have: &Have) {
        if !ctx.rules.keeps(Clause::HO_HAVE_1) {
            return;
        }
        self.peer_heads.insert(from, have.head);
        self.send_head_if_lacking(ctx, from);
        let primary = self.role(ctx.rules) == SessionRole::Primary && self.may_read(ctx, &from);
        if !primary || self.send_announcement(ctx, from).is_err() {
            let nothing = self.have(0, None);
            ctx.send(from, nothing);
        }
    }

    /// The head that a peer says it has: it is told what it lacks, or asked for what this device lacks.
    pub fn on_peer_head(&mut self, ctx: &mut Ctx<'_>, from: DeviceId, have: &Have) {
        let told = self.peer_heads.insert(from, have.head) == Some(have.head);
        self.watch_grantor(ctx, from, have.head);
        let news = have.head != self.head().id() && !told && self.may_know(ctx, &from);
        if !news || !self.is_shown_first(from, have.head) {
            return;
        }
        if self.chain.get(&have.head).is_some() {
            if ctx.rules.keeps(Clause::HO_HEAD_2) {
                self.send_head(ctx, from, &have.head, None);
            }
        } else if !have.head.is_zero() {
            let req = ctx.fresh.request();
            let ask = self.have(req, None);
            ctx.send(from, ask);
        }
    }

    /// Whether a peer shows a head for the first time on its link. Two devices of which one may not admit what the other
    /// keeps would answer each other for ever otherwise.
    fn is_shown_first(&mut self, from: DeviceId, head: Hash) -> bool {
        let shown = self.shown.entry(from).or_default();
        if shown.len() >= MAX_SHOWN {
            shown.clear();
        }
        shown.insert(head)
    }

    /// Forgets which heads peers showed, which a model would tell worlds apart by.
    #[cfg(feature = "testing")]
    pub fn forget_shown(&mut self) {
        self.shown.clear();
    }

    /// Says that the head changed.
    pub(super) fn head_event(&mut self, ctx: &mut Ctx<'_>) {
        ctx.event(Event::HeadChanged { session: self.id(), head: self.head().id(), owner: self.owner() });
    }

    /// Whether what came acknowledges the GRANT that waits (HO-HEAD-3).
    fn settle_by(&mut self, ctx: &mut Ctx<'_>, theirs: Option<Hash>, ack: Option<ProvenAck>) {
        let Some(record) = self.source.granted_record() else { return };
        let owner = self.chain.get(&record).map(|record| record.body().owner);
        let signed = ack.is_some_and(|ack| ack.record == record && Some(ack.by) == owner);
        let informed = !ctx.rules.keeps(Clause::HO_HEAD_3) && theirs == Some(record);
        if let Some(ack) = ack.filter(|_| signed) {
            self.acknowledge_receipt(ctx, Ack { record, sig: ack.sig });
        }
        if signed || informed || self.chain.continued(&record) {
            self.settle(ctx);
        }
    }

    /// The record under which this device wrote last, if the new head doesn't stand on that: it was primary, or was
    /// handing over what the new head passes by.
    fn lost_ownership(&self, before: &Proven<Record>, was: SessionRole, granted: Option<Hash>) -> Option<Hash> {
        match (was, granted) {
            // It left its FINAL to the grantor, and the new head stands on that.
            (SessionRole::Releasing, None) if self.released_under(&before.id()) => None,
            (SessionRole::Primary, _) | (SessionRole::Releasing, None) => Some(before.id()),
            (SessionRole::Releasing, Some(grant)) if !self.chain.leads_to_head(&grant) => Some(before.body().parent),
            _ => None,
        }
    }

    fn on_new_head(&mut self, ctx: &mut Ctx<'_>, before: &Proven<Record>, was: SessionRole, granted: Option<Hash>) {
        self.head_event(ctx);
        let writes = self.holdings.forget_claims();
        ctx.fx.writes.extend(writes);
        let lost = self.lost_ownership(before, was, granted).filter(|_| self.role(Rules::ALL) != SessionRole::Primary);
        self.source_fenced(ctx);
        self.target_overtaken(ctx);
        self.delegate_overtaken(ctx);
        if let Some(record) = lost {
            let (writes, copies) = match ctx.rules.keeps(Clause::HO_WRITE_2) {
                true => self.holdings.copy_aside(&record),
                false => (Vec::new(), 0),
            };
            ctx.fx.writes.extend(writes);
            ctx.event(Event::Fenced { session: self.id(), head: self.head().id(), owner: self.owner(), copies });
        }
        if self.owner().is_none() {
            ctx.event(Event::Closed { session: self.id() });
        }
    }
}
