//! Carrying out what the core says.

use std::time::Duration;

use segue_proto::wire::{DeviceId, sign_message};
use segue_proto::{Asked, Code, Event as Said, Generation, Instant, LinkId, Lsn, seal};

use super::Driver;
use super::link::Link;
use super::waits::{Change, End};
use crate::bulk::{mailed, receive, search, serve};
use crate::event::Event;
use crate::node::{Request, RequestKind};
use crate::transport::{self, Windows};

impl Driver {
    /// Polls the core until it has nothing more to say, or until somebody else is to run before the next signature is
    /// made.
    pub(super) fn flush(&mut self) {
        self.next = None;
        loop {
            let mut again = self.flush_journal();
            again |= self.flush_bulk();
            self.flush_hosted();
            self.flush_relays();
            self.flush_links();
            // Events first: that a link is there must be heard before that it goes.
            let mut heard = false;
            while let Some(event) = self.core.poll_event() {
                heard = true;
                self.hear(event);
            }
            again |= self.flush_closes();
            // A signature takes longer than all else here. The application that owns a session now needn't wait for the
            // acknowledgement to be signed.
            self.yields = heard && self.core.has_to_sign();
            if self.yields {
                break;
            }
            again |= self.flush_signatures();
            if !again {
                break;
            }
        }
        // Whatever the core had to say of them, it has said.
        self.ended.clear();
        self.settle_given();
    }

    /// A request that this device granted has no handoff in the core: it is over when the session says so.
    fn settle_given(&mut self) {
        let core = &self.core;
        self.waits.settle_granted(|session, record| core.grant_fate(session, record));
        for (session, peer) in self.waits.given() {
            let view = self.core.session(&session);
            let (owner, pending) = view.as_ref().map_or((None, None), |view| (view.owner, view.pending));
            let me = self.core.device();
            if pending.is_none() && owner != Some(me) {
                let result = match view {
                    Some(view) if owner == Some(peer) => Ok(view.head),
                    Some(view) if view.closed => Err(Code::HO_CLOSED),
                    _ => Err(Code::HO_SUPERSEDED),
                };
                self.waits.gave(session, peer, result);
            }
        }
    }

    fn flush_signatures(&mut self) -> bool {
        let mut again = false;
        while let Some(request) = self.core.poll_sign() {
            let sig = sign_message(&request.message, &self.key);
            let now = self.now();
            self.core.handle_signed(now, request.id, sig);
            again = true;
        }
        while let Some(request) = self.core.poll_unwrap() {
            let plain = seal::unwrap(&self.key, &request.wrapped);
            let now = self.now();
            self.core.handle_unwrapped(now, request.id, plain);
            again = true;
        }
        again
    }

    fn flush_hosted(&mut self) {
        while let Some(hosted) = self.core.poll_hosted() {
            // A host that ended has said why: the node halts.
            if let Some(host) = &self.host {
                let _ = host.send(hosted);
            }
        }
    }

    fn flush_journal(&mut self) -> bool {
        while !self.log.is_full() && !self.halted {
            let Some(batch) = self.core.poll_journal() else { break };
            self.shared.counters.batches.add(1);
            if let Err(text) = self.log.submit(batch) {
                self.halt(text);
                return true;
            }
        }
        let Some(lsn) = self.log.take_memory() else { return false };
        let now = self.now();
        self.durable(now, lsn);
        true
    }

    /// Batches are durable.
    pub(super) fn durable(&mut self, now: Instant, upto: Lsn) {
        self.core.handle_durable(now, upto);
        // What was exchanged before it was asked for is told once the last batch is durable.
        if self.core.last_lsn() == self.core.durable_lsn() {
            for mailbox in self.waits.exchanging() {
                if self.core.is_exchanged(&mailbox) {
                    self.waits.exchanged(mailbox);
                }
            }
        }
        self.waits.reached(upto);
    }

    fn flush_bulk(&mut self) -> bool {
        let (mut searches, mut again) = (Vec::new(), false);
        while let Some(search) = self.core.poll_search() {
            if !search.old.is_empty() || self.shared.storage.may_hold(&search.plan.blob()) {
                searches.push(search);
            } else {
                let now = self.now();
                self.core.handle_searched(now, search.session, search.plan.blob());
                again = true;
            }
        }
        if !searches.is_empty() {
            self.tasks.spawn(search::search(searches, self.shared.clone()));
        }
        while let Some(request) = self.core.poll_content_read() {
            self.shared.counters.mailed_tx.add(request.size as u64);
            self.tasks.spawn(mailed::read(request, self.shared.clone()));
        }
        let chunks: Vec<_> = std::iter::from_fn(|| self.core.poll_content_write()).collect();
        if !chunks.is_empty() {
            self.shared.counters.mailed_rx.add(chunks.iter().map(|chunk| chunk.bytes.len() as u64).sum());
            self.tasks.spawn(mailed::write(chunks, self.shared.clone()));
        }
        while let Some(unwanted) = self.core.poll_unwanted() {
            if let Some(link) = self.links.get_mut(&unwanted.link) {
                link.reading.stop(unwanted.req);
            }
        }
        while let Some(request) = self.core.poll_serve() {
            let Some(link) = self.links.get(&request.link) else { continue };
            let meta = self.core.meta(&request.blob);
            let task = serve::serve(request, meta, link.connection.clone(), link.serving.clone(), self.shared.clone());
            self.tasks.spawn(task);
        }
        again
    }

    fn flush_links(&mut self) {
        let waiting: Vec<LinkId> = self.core.waiting_links().collect();
        for id in waiting {
            let Some(link) = self.links.get_mut(&id) else { continue };
            // What a peer doesn't read stays in the core, which ends the link when it is too much (LINK-QUEUE-1).
            if link.is_drained() && self.core.poll_transmit(id, link.buffer()) {
                self.shared.counters.flights_tx.add(1);
                link.write(&self.shared.counters);
            }
        }
    }

    fn flush_closes(&mut self) -> bool {
        let mut again = false;
        while let Some((id, code)) = self.core.poll_close() {
            again = true;
            let Some(mut link) = self.links.remove(&id) else { continue };
            self.core.poll_transmit(id, link.buffer());
            let peer = link.peer.or(link.dialled);
            self.close(link, code);
            let now = self.now();
            self.core.handle_link_down(now, id);
            if self.stopping.is_none() {
                self.redial(peer);
            }
        }
        again
    }

    fn close(&mut self, link: Link, code: Code) {
        let counters = self.shared.counters.clone();
        let closing = link.close(code);
        self.closings.spawn(async move { counters.add_udp(&closing.await) });
    }

    /// Why a linking ended. If the last frame didn't arrive, the close code of the transport says so all the same; none
    /// but a link of a linking ends with one of these.
    fn linking_end(&self, code: Code) -> Code {
        let said = self.ended.values().filter_map(|ended| ended.end).map(|(code, _)| code);
        let mut definite = said.filter(|code| matches!(*code, Code::LINK_DECLINED | Code::LINK_EXPIRED));
        definite.next().filter(|_| code == Code::LINK_LOST).unwrap_or(code)
    }

    fn hear(&mut self, event: Said) {
        let event = match event {
            Said::LinkReady { link, peer, generation } => self.linked(link, peer, generation),
            Said::LinkClosed { link, peer, code, clause, remote } => {
                self.shared.counters.links_closed.add(1);
                let ended = self.ended.remove(&link);
                let dialled = match &ended {
                    Some(ended) => ended.dialled,
                    None => self.links.get(&link).and_then(|link| link.dialled),
                };
                // The close code of the transport says more than that it ended.
                let end = ended.and_then(|ended| ended.end).filter(|_| code == Code::LINK_LOST);
                let (code, remote) = end.unwrap_or((code, remote));
                match clause {
                    // Who went away broke no rule. All others may be strangers, and knock as often as they like.
                    Some(clause) if code != Code::LIMIT_IDLE => {
                        let peer = peer.or(dialled).map(tracing::field::display);
                        tracing::info!(link = link.0, peer, %code, %clause, "a link ended, as a rule was broken");
                    }
                    _ => tracing::debug!(link = link.0, %code, remote, "a link ended"),
                }
                if let (None, Some(device)) = (peer, dialled) {
                    self.not_there(device, code);
                }
                if let Some(peer) = peer.filter(|peer| !self.has_other_link(peer, link)) {
                    self.waits.unlinked(peer);
                }
                Event::Unlinked { peer: peer.or(dialled), code, clause, remote }
            }
            Said::Created { session } => return self.waits.changed(Change::Created, session),
            Said::HandoffRequest { token, session, from, name } => {
                let kind = RequestKind::Offered { name: name.clone() };
                self.requests.insert(token, Request { token, session, peer: from, kind });
                Event::HandoffRequest { token, session, from, name }
            }
            Said::RequestHandoff { token, session, by } => {
                self.requests.insert(token, Request { token, session, peer: by, kind: RequestKind::Wanted });
                Event::RequestHandoff { token, session, by }
            }
            Said::Withdrawn { token, session, code } => {
                self.requests.remove(&token);
                Event::Withdrawn { token, session, code }
            }
            Said::Activated { session, record } => {
                self.waits.changed(Change::Activated, session);
                self.settle_session(session);
                Event::Activated { session, record }
            }
            Said::HandoffResolved { id, session, peer, result, reason } => {
                let teller = self.waits.teller(&id, session, &result);
                let retry_after = self.retry_after(Asked::Session(session));
                let end = End { result, reason: reason.clone(), retry_after };
                self.waits.resolved(id, session, end, self.is_linked(&peer));
                let event = Event::HandoffResolved { id, session, peer, result, reason };
                match teller {
                    Some(teller) => return teller.withhold(event),
                    None => event,
                }
            }
            Said::HandoffPending { id, session, peer } => {
                let end = End { result: Err(Code::HO_PENDING), reason: None, retry_after: None };
                self.waits.resolved(id, session, end, self.is_linked(&peer));
                Event::HandoffPending { id, session, peer }
            }
            Said::AccountCreated { account } => return self.waits.founded(account),
            Said::LinkCode { peer, name, code } => Event::LinkCode { peer, name, code },
            Said::LinkResolved { peer, result } => {
                let result = result.map_err(|code| self.linking_end(code));
                self.waits.link_over(peer, result);
                Event::LinkResolved { peer, result }
            }
            Said::DeviceLinked { device, name, by } => Event::DeviceLinked { device, name, by },
            Said::DeviceRevoked { device, by } => {
                self.waits.revoked(device);
                self.keepers.forget(&device);
                Event::DeviceRevoked { device, by }
            }
            Said::OwnerRevoked { session, owner } => Event::OwnerRevoked { session, owner },
            Said::Delegated { session, result } => {
                let teller = self.waits.delegated(session, result);
                let event = Event::Delegated { session, result };
                match teller {
                    Some(teller) => return teller.withhold(event),
                    None => event,
                }
            }
            Said::Closed { session } => {
                self.waits.changed(Change::Closed, session);
                Event::Closed { session }
            }
            Said::Available { session, from } => Event::Available { session, from },
            Said::StoodBy { session, bytes, ended } => Event::StoodBy { session, bytes, ended },
            Said::Told { session, from, name } => Event::Told { session, from, name },
            Said::Changed { session, parts } => {
                self.settle_parts(session, &parts);
                self.compact_logs(session, &parts);
                Event::Changed { session, parts }
            }
            Said::Reread { session, parts } => {
                self.settle_parts(session, &parts);
                Event::Reread { session, parts }
            }
            Said::Compacted { session } => Event::Compacted { session },
            Said::SetAside { session, parts } => Event::SetAside { session, parts },
            Said::Synced { session, peer } => {
                self.waits.caught_up(session, peer);
                self.settle_session(session);
                Event::Synced { session, peer }
            }
            Said::Found { service, req, found } => return self.waits.found(service, req, found),
            Said::Login { service, result } => {
                let result = result.map(crate::login::login);
                let awaited = self.waits.logged_in(service, &result);
                self.log_in_later(service, result.as_ref().err().copied().filter(|_| !awaited));
                Event::Login { service, result }
            }
            Said::Introduced { service, peer, addresses } => return self.introduced(service, peer, addresses),
            Said::NotIntroduced { peer, code, .. } => return self.not_introduced(peer, code),
            Said::Woken { service, device, code } => return self.waits.woken(service, device, code),
            Said::Exchanged { mailbox } => {
                // Sessions came, and with them devices that may learn that this one is there.
                self.show_up(mailbox, None);
                self.waits.exchanged(mailbox);
                Event::Exchanged { mailbox }
            }
            Said::Progress { session, done, total } => Event::Progress { session, done, total },
            Said::Mailed { session, mailbox, done, total } => Event::Mailed { session, mailbox, done, total },
            Said::Full { mailbox } => Event::Full { mailbox },
            Said::Data { session, root } => {
                // A strategy may have waited for content.
                self.settle_session(session);
                Event::Data { session, root }
            }
            Said::WritesResumed { session, waited_us } => {
                self.waits.resumed(session);
                Event::WritesResumed { session, waited: Duration::from_micros(waited_us) }
            }
            Said::HeadChanged { session, head, owner } => {
                if owner.is_some_and(|owner| owner != self.core.device()) {
                    self.waits.lost(session, owner);
                }
                Event::HeadChanged { session, head, owner }
            }
            Said::Fenced { session, head, owner, copies } => Event::Fenced { session, head, owner, copies },
            Said::Equivocation { session, key, records } => Event::Equivocation { session, key, records },
            Said::Refused { peer, session, code } => {
                if let Some(session) = session.filter(|_| SECRET.contains(&code)) {
                    self.waits.not_followed(session, peer, code);
                }
                Event::Refused { peer, session, code, clause: None }
            }
            Said::Violation { peer, session, violation } => {
                tracing::info!(%peer, %violation, "a message was refused");
                Event::Refused { peer, session, code: violation.code, clause: Some(violation.clause) }
            }
            Said::Halted => return self.halt("the core was halted".to_owned()),
        };
        self.events.push(event);
    }

    /// For how long this isn't to be asked for again, if whoever refused it said so.
    pub(crate) fn retry_after(&self, asked: Asked) -> Option<Duration> {
        let left = self.core.retry_after(self.now(), asked);
        (left > 0).then(|| Duration::from_micros(left))
    }

    fn has_other_link(&self, peer: &DeviceId, link: LinkId) -> bool {
        self.links.iter().any(|(id, other)| *id != link && other.peer.as_ref() == Some(peer))
    }

    fn linked(&mut self, id: LinkId, peer: DeviceId, generation: Generation) -> Event {
        self.shared.counters.links.add(1);
        self.told_time = None;
        self.tell_time();
        // Its transport may have ended meanwhile.
        let mut relayed = false;
        if let Some(link) = self.links.get_mut(&id) {
            link.peer = Some(peer);
            relayed = link.relay.is_some();
            let accept = receive::accept(id, link.connection.clone(), self.shared.clone());
            link.acceptor = Some(self.tasks.spawn(accept));
            match relayed {
                true => self.shared.counters.links_relayed.add(1),
                false => self.keepers.linked(&peer),
            }
            self.waits.is_linked(peer);
            self.is_met(peer, relayed);
            self.greet_service(peer);
            self.admit(id);
        }
        Event::Linked { peer, generation, relayed }
    }

    /// Gives a link its windows; of many links each has less.
    fn admit(&self, id: LinkId) {
        let ready = || self.links.iter().filter(|(_, link)| link.peer.is_some());
        let count = ready().count();
        let windows = Windows::shared_by(count);
        let all = windows != Windows::shared_by(count.saturating_sub(1));
        for (_, link) in ready().filter(|(other, _)| **other == id || all) {
            transport::widen(&link.connection, windows);
        }
    }
}

/// What a device says of a session that it doesn't know, or that isn't the other's business.
const SECRET: [Code; 3] = [Code::HO_UNKNOWN_SESSION, Code::HO_NOT_MEMBER, Code::AUTH_REVOKED];
