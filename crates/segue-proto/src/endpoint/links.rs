//! The life of links: up, authenticated, replaced, down.

use alloc::vec::Vec;

use super::Endpoint;
use crate::clause::Clause;
use crate::clock::Instant;
use crate::event::{Event, LinkId, Role};
use crate::handoff::Peer;
use crate::link::{Link, Ready, Received};
use crate::wire::DeviceId;
use crate::{Code, Violation};

impl Endpoint {
    /// A link is there. `binding` is its channel binding: the same 32 bytes at both ends and at no other link's.
    /// `expect` is the device that was dialled.
    pub fn handle_link_up(
        &mut self,
        now: Instant,
        link: LinkId,
        role: Role,
        binding: [u8; 32],
        expect: Option<DeviceId>,
    ) {
        self.bring_up(now, link, (role, false), binding, expect);
    }

    /// A link is there that goes by way of a service, with the device that RELAY names; all else as for
    /// [`Endpoint::handle_link_up`]. It gives way to a direct one (LINK-DUP-3).
    pub fn handle_relayed_link_up(
        &mut self,
        now: Instant,
        link: LinkId,
        role: Role,
        binding: [u8; 32],
        device: DeviceId,
    ) {
        self.bring_up(now, link, (role, true), binding, Some(device));
    }

    fn bring_up(
        &mut self,
        now: Instant,
        link: LinkId,
        (role, relayed): (Role, bool),
        binding: [u8; 32],
        expect: Option<DeviceId>,
    ) {
        if self.links.get(&link).is_some() {
            return;
        }
        if self.links.len() >= self.config.links {
            self.out.closes.push_back((link, Code::LIMIT_ROOM));
            return;
        }
        let boot = if self.config.rules.keeps(Clause::LINK_HELLO_3) { self.boot } else { self.fresh.nonce() };
        let mut new = Link::new(role, binding, expect, &self.config, boot, now);
        new.relayed = relayed;
        let sign = self.out.sign(new.auth_message(&self.config.device));
        self.auths.insert(sign, link);
        self.links.insert(link, new);
    }

    /// Bytes of a link's control stream, in order, cut anywhere.
    pub fn handle_bytes(&mut self, now: Instant, link: LinkId, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let rules = self.config.rules;
            match self.links.with(&link, |machine| machine.push(rules, now, bytes)) {
                None => return,
                Some(Ok(taken)) => bytes = bytes.get(taken..).unwrap_or_default(),
                Some(Err(violation)) => return self.end_link(now, link, violation.code, Some(violation.clause)),
            }
            self.note_heard(link, now);
            self.read_frames(now, link);
        }
    }

    fn read_frames(&mut self, now: Instant, link: LinkId) {
        loop {
            let config = &self.config;
            match self.links.with(&link, |machine| machine.next(config, now)).unwrap_or(Ok(None)) {
                Ok(None) => return,
                Ok(Some(Received::Nothing)) => {}
                Ok(Some(Received::Authenticated(ready))) => self.on_authenticated(now, link, ready),
                Ok(Some(Received::Message(ready, message))) => self.on_message(now, link, ready.peer, message),
                Ok(Some(Received::Goaway(code))) => return self.on_goaway(now, link, code),
                Err(violation) => {
                    let expect = self.links.get(&link).and_then(|link| link.expect);
                    let Violation { code, clause } = self.mismatch(expect, violation);
                    return self.end_link(now, link, code, Some(clause));
                }
            }
        }
    }

    /// A link's transport is gone.
    pub fn handle_link_down(&mut self, now: Instant, link: LinkId) {
        let Some(old) = self.links.get(&link) else { return };
        let told = old.is_closing();
        let peer = self.forget_link(now, link);
        self.links.remove(&link);
        if !told {
            self.out.event(Event::LinkClosed { link, peer, code: Code::LINK_LOST, clause: None, remote: false });
        }
    }

    /// Ends a link in good order.
    pub fn close_link(&mut self, now: Instant, link: LinkId, code: Code) {
        self.end_link(now, link, code, None);
    }

    /// Ends all links in good order.
    pub fn shutdown(&mut self, now: Instant) {
        self.links.ids().into_iter().for_each(|link| self.end_link(now, link, Code::LINK_SHUTDOWN, None));
    }

    pub(super) fn time_links(&mut self, now: Instant) {
        for id in self.links.due(now) {
            let nonce = self.fresh.number();
            let rules = self.config.rules;
            let outcome = self.links.with(&id, |link| link.on_timeout(rules, now, nonce)).unwrap_or(Ok(()));
            if let Err(violation) = outcome {
                self.end_link(now, id, violation.code, Some(violation.clause));
            }
        }
    }

    /// Says good-bye on a link and has its transport closed. Before authentication all failures look alike.
    pub(super) fn end_link(&mut self, now: Instant, id: LinkId, code: Code, clause: Option<Clause>) {
        if self.links.get(&id).is_none_or(Link::is_closing) {
            return;
        }
        let said = match code {
            code if !self.config.rules.keeps(Clause::LINK_AUTH_6) => code,
            Code::AUTH_BINDING | Code::AUTH_UNKNOWN_DEVICE | Code::SVC_TARGET_MISMATCH => Code::AUTH_FAILED,
            Code::AUTH_REVOKED if !self.routes.values().any(|route| *route == id) => Code::AUTH_FAILED,
            other => other,
        };
        let durable = self.durable;
        self.links.with(&id, |link| link.goaway(durable, said));
        self.linking_over(id, code);
        self.out.closes.push_back((id, said));
        let peer = self.forget_link(now, id);
        self.out.event(Event::LinkClosed { link: id, peer, code, clause, remote: false });
        if code == Code::VER_NOT_PERMITTED && !self.config.rules.keeps(Clause::GEN_MEMBERS_3) {
            self.links.ids().into_iter().for_each(|other| self.end_link(now, other, code, clause));
        }
    }

    fn on_goaway(&mut self, now: Instant, id: LinkId, code: Code) {
        let durable = self.durable;
        let answers = self.config.rules.keeps(Clause::LINK_GOAWAY_1);
        let answered = self.links.with(&id, |link| answers.then(|| link.goaway(durable, Code::LINK_SHUTDOWN)));
        if answered.is_none() {
            return;
        }
        self.linking_over(id, code);
        self.out.closes.push_back((id, Code::LINK_SHUTDOWN));
        let peer = self.forget_link(now, id);
        self.out.event(Event::LinkClosed { link: id, peer, code, clause: None, remote: true });
    }

    /// The other side proved its key: is it one to talk to, and over this link?
    fn on_authenticated(&mut self, now: Instant, id: LinkId, ready: Ready) {
        let Ready { peer, generation, .. } = ready;
        let accepted = self.config.accept_unknown
            || self.vouches(&peer)
            || self.is_mailbox(&peer)
            || self.is_grantor(&peer)
            || self.sessions.values().any(|session| session.is_kept() && session.chain().is_member(&peer));
        let to_link = self.may_link(now, id, &peer);
        let revoked = self.is_revoked(&peer);
        let rules = self.config.rules;
        let judged = rules
            .ensure(Clause::ACCOUNT_REVOKE_1, !revoked, Code::AUTH_REVOKED)
            .and_then(|()| rules.ensure(Clause::LINK_AUTH_3, accepted || to_link, Code::AUTH_UNKNOWN_DEVICE));
        if let Err(Violation { code, clause }) = judged {
            return self.end_link(now, id, code, Some(clause));
        }
        if let Some(loser) = self.duplicate(id, &ready) {
            self.end_link(now, loser, Code::LINK_REPLACED, None);
            if loser == id {
                return;
            }
        }
        self.routes.insert(peer, id);
        self.out.event(Event::LinkReady { link: id, peer, generation });
        if accepted {
            self.peers.insert(peer, Peer { generation, heard: now, trusted: self.vouches(&peer) });
            self.mailboxes.linked(peer, generation);
            self.meeting_linked(&peer);
            self.level_peers();
            self.log_in(now, peer);
            self.greet_account(now, peer);
            self.greet_peer(now, peer);
            self.pump_mailbox(now, peer);
        } else {
            self.account.confined.insert(id);
        }
        self.ask_to_link(now, id, peer);
    }

    /// Which of two links of one device goes, if there are two.
    fn duplicate(&self, new: LinkId, ready: &Ready) -> Option<LinkId> {
        let old = self.routes.get(&ready.peer).copied()?;
        let (old_link, new_link) = (self.links.get(&old)?, self.links.get(&new)?);
        let rules = self.config.rules;
        let same_boot = old_link.ready().is_some_and(|known| known.boot == ready.boot);
        if !same_boot && rules.keeps(Clause::LINK_DUP_2) {
            return Some(old);
        }
        if old_link.relayed != new_link.relayed && rules.keeps(Clause::LINK_DUP_3) {
            return Some(if new_link.relayed { new } else { old });
        }
        if old_link.role == new_link.role {
            return Some(old);
        }
        // The smaller initiator's link stays.
        let own_is_smaller = (self.config.device < ready.peer) == rules.keeps(Clause::LINK_DUP_1);
        let keep_initiated = if own_is_smaller { Role::Initiator } else { Role::Responder };
        Some(if new_link.role == keep_initiated { old } else { new })
    }

    /// Whatever waits for a device's link goes on.
    pub(super) fn greet_peer(&mut self, now: Instant, peer: DeviceId) {
        let ids: alloc::vec::Vec<_> = self.sessions.keys().copied().collect();
        for id in ids {
            self.step(now, id, |session, ctx| session.on_peer(ctx, peer));
        }
        self.ask_wishes(now, peer);
        self.sync_with(now, peer);
        self.resume_fetches(now, peer);
        self.time_standbys(now);
    }

    /// A device that doesn't keep GEN-MEMBERS-1 speaks to each as to the oldest.
    fn level_peers(&mut self) {
        let oldest = self.peers.values().map(|peer| peer.generation).min();
        if let Some(oldest) = oldest.filter(|_| !self.config.rules.keeps(Clause::GEN_MEMBERS_1)) {
            self.peers.values_mut().for_each(|peer| peer.generation = oldest);
        }
    }

    fn note_heard(&mut self, link: LinkId, now: Instant) {
        let Some(machine) = self.links.get(&link) else { return };
        let heard = machine.heard().max(now);
        let Some(peer) = machine.ready().map(|ready| ready.peer) else { return };
        if self.routes.get(&peer) == Some(&link)
            && let Some(peer) = self.peers.get_mut(&peer)
        {
            peer.heard = heard;
        }
    }

    /// Takes a link out of the routes; the device that it led to.
    fn forget_link(&mut self, now: Instant, id: LinkId) -> Option<DeviceId> {
        self.auths.retain(|_, link| *link != id);
        self.linking_over(id, Code::LINK_LOST);
        self.account.confined.remove(&id);
        self.serving.link_gone(id);
        self.out.serves.retain(|serve| serve.link != id);
        self.out.unwanted.retain(|unwanted| unwanted.link != id);
        let peer = self.routes.iter().find(|(_, link)| **link == id).map(|(peer, _)| *peer);
        if let Some(peer) = peer {
            self.routes.remove(&peer);
            self.peers.remove(&peer);
            self.syncing.link_gone(&peer);
            self.sessions.values_mut().for_each(|session| session.holdings.forget_pieces(&peer));
            self.mailbox_down(&peer);
            self.account.told.remove(&peer);
            self.pause_fetches(now, peer);
            self.put_content_again(now);
            self.resume_writes(now);
        }
        peer
    }

    /// Writes that waited for a device that is gone wait no more.
    fn resume_writes(&mut self, now: Instant) {
        let waiting: Vec<_> =
            self.sessions.iter().filter(|(_, session)| session.has_waiting()).map(|(id, _)| *id).collect();
        for session in waiting {
            self.step(now, session, |_, _| ());
        }
    }
}
