//! A GRANT: the checks of it, and its acknowledgement.

use crate::clause::Clause;
use crate::data::Pick;
use crate::handoff::effects::{Ctx, SignFor};
use crate::handoff::holdings::Holdings;
use crate::handoff::proven::{ProvenGrant, ack_message};
use crate::handoff::session::Session;
use crate::wire::{Ack, DeviceId, Hash, Sig};
use crate::{Code, Violation};

impl<H: Holdings> Session<H> {
    /// A GRANT.
    pub fn on_grant(&mut self, ctx: &mut Ctx<'_>, from: DeviceId, grant: ProvenGrant) {
        let id = grant.record.id();
        // The record may have come before its GRANT, told by another device.
        let heard = self.chain.get(&id).is_some();
        let claimed = self.claim.as_ref().is_some_and(|want| want.id() == grant.want.id());
        if heard && (claimed || self.head().id() != id) {
            return self.on_known_grant(ctx, from, id);
        }
        if let Err(violation) = self.judge_grant(ctx, &grant) {
            return ctx.refuse_for(from, grant.req, self.id(), violation);
        }
        let before = self.head().id();
        let source = self.chain.get(&grant.record.body().parent).map_or(from, |parent| parent.body().owner);
        self.keep(ctx.fx);
        match self.admit(ctx, grant.record) {
            Ok(true) => {}
            Ok(false) if heard => {}
            Ok(false) => return self.send_head(ctx, from, &before, None),
            Err(violation) => return ctx.refuse_for(from, grant.req, self.id(), violation),
        }
        let picked = Pick::new(grant.want.body().pick.iter().copied()).unwrap_or_default();
        let writes = self.holdings.adopt(grant.end.body(), &grant.inline, source, picked);
        ctx.fx.writes.extend(writes);
        self.keep_receipt(ctx, id, &grant.want, &grant.end);
        self.own_by(ctx, grant.want);
        self.activate(ctx, id);
    }

    /// The checks of a GRANT, in the order of the handoff chapter.
    pub(super) fn judge_grant(&mut self, ctx: &Ctx<'_>, grant: &ProvenGrant) -> Result<(), Violation> {
        let rules = ctx.rules;
        let (want, record, end) = (grant.want.body(), grant.record.body(), grant.end.body());
        let mine = want.target == self.me && record.owner == self.me && record.want == grant.want.id();
        let present = want.actor == self.actor.id && want.parent == record.parent;
        rules.ensure(Clause::HO_GRANT_5, mine && present, Code::HO_NO_CONSENT)?;
        if self.chain.get(&grant.record.id()).is_none() {
            self.chain.admits(rules, &grant.record)?;
        }
        let fits = end.parent == record.parent && end.session == self.id();
        rules.ensure(Clause::HO_GRANT_6, fits, Code::HO_FINAL)?;
        // What of the content was to be here, the own WANT said.
        let pick = Pick::new(want.pick.iter().copied()).unwrap_or_default();
        self.holdings.check(rules, (want.have.get(), &pick), end, &grant.inline)
    }

    pub(in crate::handoff) fn on_known_grant(&mut self, ctx: &mut Ctx<'_>, from: DeviceId, id: Hash) {
        if !ctx.rules.keeps(Clause::HO_GRANT_9) {
            return;
        }
        if self.chain.leads_to_head(&id) {
            let entitled = self.chain.get(&id).is_some_and(|record| self.is_entitled(ctx.rules, record));
            if self.head().id() == id && entitled {
                return self.acknowledge(ctx, id);
            }
        }
        let parent = self.chain.get(&id).map_or(Hash::ZERO, |record| record.body().parent);
        self.send_head(ctx, from, &parent, None);
    }

    pub(super) fn acknowledge(&mut self, ctx: &mut Ctx<'_>, record: Hash) {
        ctx.fx.signs.push((SignFor::Ack(record), ack_message(&record)));
    }

    /// The acknowledgement is signed: it leaves once the record is durable (HO-HEAD-4).
    pub(in crate::handoff) fn on_ack_signed(&mut self, ctx: &mut Ctx<'_>, record: Hash, sig: Sig) {
        let Some(known) = self.chain.get(&record) else { return };
        let to = known.body().signer;
        let parent = known.body().parent;
        let head = self.head().id();
        if head == record {
            self.send_head(ctx, to, &parent, Some(Ack { record, sig }));
            self.tell_members(ctx, Some(to));
        } else {
            // A later record of the own hand says it as well.
            self.send_head(ctx, to, &parent, None);
        }
    }
}
