//! What is taken from a session's box: letters of its devices, as if they came over a link.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use crate::clause::Clause;
use crate::clock::Instant;
use crate::endpoint::{Endpoint, Wish};
use crate::event::Event;
use crate::handoff::Session;
use crate::limits::{HANDOFF_TIMEOUT, MAX_ENVELOPE};
use crate::seal;
use crate::sync::{Inbound, says_lacks};
use crate::wire::codec::{Blob, decode};
use crate::wire::frame::Framer;
use crate::wire::hash::blob_id;
use crate::wire::{BoxId, DeviceId, Head, KeyId, Letter, Message, Sealed, SessionId};
use crate::{Code, Violation};

impl Endpoint {
    /// Takes the envelopes of a box in, in order: the number of the last letter of each device, and whether something was
    /// missing before them: a letter, or what the ops of one follow. An envelope that is no good is passed over, and reported.
    pub(super) fn take_envelopes(
        &mut self,
        now: Instant,
        service: DeviceId,
        of: BoxId,
        key: (SessionId, KeyId),
        envelopes: Vec<Blob<MAX_ENVELOPE>>,
    ) -> (BTreeMap<DeviceId, u64>, bool) {
        let known = self.mailboxes.book.fetched.get(&(service, of)).map(|fetched| fetched.counts.clone());
        let (mut counts, mut missing) = (known.unwrap_or_default(), false);
        for envelope in envelopes {
            let own = |mailbox: &mut super::Mailbox| mailbox.own.remove(&blob_id(&envelope));
            if self.mailboxes.used.get_mut(&service).is_some_and(own) {
                continue;
            }
            let taken = self.take_envelope(now, service, of, key, &envelope, (&mut counts, &mut missing));
            if let Err((peer, violation)) = taken {
                missing |= matches!(violation.clause, Clause::DATA_OP_1 | Clause::DATA_OP_4);
                let peer = peer.unwrap_or(service);
                self.out.event(Event::Violation { peer, session: Some(key.0), violation });
            }
        }
        (counts, missing)
    }

    fn take_envelope(
        &mut self,
        now: Instant,
        service: DeviceId,
        of: BoxId,
        (session, key): (SessionId, KeyId),
        envelope: &[u8],
        (counts, missing): (&mut BTreeMap<DeviceId, u64>, &mut bool),
    ) -> Result<(), (Option<DeviceId>, Violation)> {
        let rules = self.config.rules;
        let keys = self.mailboxes.book.keys.get(&session);
        let Some(held) = keys.and_then(|keys| keys.get(&key)) else { return Ok(()) };
        let nobody = |violation| (None, violation);
        let plain = seal::open(rules, &held.key, &of, envelope).map_err(nobody)?;
        let Sealed { letter, frames } = decode::<Sealed>(rules, &plain).map_err(nobody)?;
        let letter = letter.prove(rules, |letter: &Letter| letter.from).map_err(nobody)?;
        let Letter { from, count, .. } = *letter.body();
        let fits = letter.body().session == session && letter.body().to == of;
        let same = letter.body().frames == blob_id(&frames);
        let by = |violation| (Some(from), violation);
        rules.ensure(Clause::SERVICE_SIGN_1, fits && same, Code::SERVICE_ENVELOPE).map_err(by)?;
        self.may_write_to(&session, &from).map_err(by)?;
        self.seen.hear(from);
        let last = counts.entry(from).or_default();
        // Own letters are passed over while they are known for such, and not counted then.
        let lost = count > last.saturating_add(1) && from != self.config.device;
        *missing |= lost;
        *last = count.max(*last);
        if lost && rules.keeps(Clause::SERVICE_COUNT_1) {
            let violation = Violation::new(Code::SERVICE_LOST, Clause::SERVICE_COUNT_1);
            self.out.event(Event::Violation { peer: from, session: Some(session), violation });
        }
        self.take_frames(now, self.source(&service, &of), session, from, &frames).map_err(by)?;
        self.stage_awaited(now, session);
        Ok(())
    }

    /// Whether what a device put into a session's box counts (SERVICE-READ-1).
    fn may_write_to(&self, session: &SessionId, from: &DeviceId) -> Result<(), Violation> {
        let known = self.sessions.get(session).filter(|session| session.is_kept());
        let member = known.is_some_and(|session| session.chain().is_member(from));
        let counts = (member || self.vouches(from) || *from == self.config.device) && !self.is_revoked(from);
        self.config.rules.ensure(Clause::SERVICE_READ_1, counts, Code::SERVICE_ENVELOPE)
    }

    fn take_frames(
        &mut self,
        now: Instant,
        source: DeviceId,
        id: SessionId,
        from: DeviceId,
        frames: &[u8],
    ) -> Result<(), Violation> {
        let rules = self.config.rules;
        let (mut framer, mut strands) = (Framer::default(), Inbound::default());
        framer.push(frames);
        let other = Violation::new(Code::SERVICE_ENVELOPE, Clause::SERVICE_FRAME_1);
        while let Some(frame) = framer.next(rules)? {
            match Message::decode(rules, frame.number, &frame.payload)? {
                Some(Message::Head(head)) if head.session == id => self.take_head(now, from, head),
                Some(Message::Strand(strand)) if strand.session == id => {
                    self.hear_writers(now, id, &strand.ext)?;
                    strands.on_strand(rules, &strand)?;
                }
                Some(Message::Ops(ops)) => {
                    let ops = strands.on_ops(rules, ops)?;
                    self.take_ops(now, source, id, ops).unwrap_or(Ok(()))?;
                }
                Some(Message::Parts(parts)) if parts.session == id => {
                    self.take_parts(now, source, &parts).unwrap_or(Ok(()))?;
                }
                Some(Message::Snapshot(snapshot)) if snapshot.session == id => {
                    self.take_snapshot(now, (from, source), snapshot)?;
                }
                Some(Message::Holding(holding)) if holding.session == id => self.take_holding(now, source, holding)?,
                Some(Message::Mark(mark)) if mark.session == id => {
                    self.step(now, id, |session, ctx| session.name_as(&mark.name, ctx.fx));
                    if says_lacks(&mark.ext) && self.syncing.takes_back(from, id, mark.log, &mark.ext) {
                        self.lacks_content(now, from, id);
                    }
                }
                // As on a link: what may be skipped is.
                None if frame.number % 2 == 1 => {}
                _ => rules.ensure(Clause::SERVICE_FRAME_1, false, other.code)?,
            }
        }
        rules.ensure(Clause::SERVICE_FRAME_1, !framer.is_partial(), other.code)
    }

    /// A chain in a letter. With it begins a session that this device was invited to.
    fn take_head(&mut self, now: Instant, from: DeviceId, head: Head) {
        let kept = self.sessions.get(&head.session).is_some_and(Session::is_kept);
        if !kept && !self.wishes.contains_key(&head.session) {
            let deadline = now.after(HANDOFF_TIMEOUT);
            self.wishes.insert(head.session, Wish { id: None, from, deadline, req: 0 });
        }
        self.on_head(now, from, head);
    }
}
