//! What a case demands of the subject.

use segue_proto::wire::{Bytes, DeviceId, Message, SessionId};
use segue_proto::{Code, Event, Generation, LinkId, Role, SessionRole};
use segue_testkit::device::{Command, Input, Reply, SessionState};
use segue_testkit::trace::describe;

use super::{Done, Lab};
use crate::peer::Peer;
use crate::verdict::Fault;

/// How long an answer may take in virtual time: an implementation may collect what it has to say behind a short timer.
/// Shorter than every timer of the spec.
pub const SOON: u64 = 250_000;

/// Links.
impl Lab<'_> {
    /// A transport connection on which a scripted peer and the subject prove themselves to each other; the subject
    /// was dialled, unless delivery is shaken.
    ///
    /// # Errors
    /// If the subject doesn't.
    pub fn connect(&mut self, peer: &Peer) -> Done<LinkId> {
        self.connect_as(peer, self.any_role(peer.id))
    }

    /// The same, with the subject in this role.
    ///
    /// # Errors
    /// If it doesn't prove itself, or ends the link.
    pub fn connect_as(&mut self, peer: &Peer, role: Role) -> Done<LinkId> {
        let expect = (role == Role::Initiator).then_some(peer.id);
        let link = self.link_up(role, expect);
        self.greet(peer, link)?;
        Ok(link)
    }

    /// The scripted peer says HELLO and AUTH as it should, and the subject has to.
    ///
    /// # Errors
    /// If the subject doesn't, or ends the link.
    pub fn greet(&mut self, peer: &Peer, link: LinkId) -> Done {
        let hello = peer.hello();
        if let Some(end) = self.ends.get_mut(&link) {
            end.peer = Some(peer.id);
        }
        let (binding, role) = self.channel(link);
        let auth = peer.auth(opposite(role), &hello, &binding);
        self.send(link, hello);
        self.send(link, auth);
        self.prove(link)?;
        self.stays(link)
    }

    /// The subject's HELLO and AUTH have come and are good.
    ///
    /// # Errors
    /// If they haven't or aren't.
    pub fn prove(&mut self, link: LinkId) -> Done {
        self.take(link, "HELLO as the first frame", |message| matches!(message, Message::Hello(_)).then_some(()))?;
        let auth = self.take(link, "AUTH as the second frame", |message| match message {
            Message::Auth(auth) => Some(auth.clone()),
            _ => None,
        })?;
        let Some(end) = self.ends.get(&link) else { return Err(self.fault("a link", "none")) };
        let hello = end.hello.clone().unwrap_or_default();
        let message = segue_proto::link::auth_message(end.role, &auth.key, &hello, &end.binding);
        let good = auth.key == self.id() && segue_proto::wire::verify_message(&auth.key, &message, &auth.sig);
        if good { Ok(()) } else { Err(self.fault("an AUTH signed for this channel by the subject", "another")) }
    }

    /// The link hasn't been ended by the subject.
    ///
    /// # Errors
    /// If it has.
    pub fn stays(&mut self, link: LinkId) -> Done {
        self.settle();
        let Some(end) = self.ends.get(&link) else { return Err(Fault::fail("a link", "none")) };
        match (&end.garbage, end.goaway, end.closed) {
            (Some(garbage), ..) => Err(Fault::fail("well-formed frames", garbage.clone())),
            (_, Some(code), _) => Err(self.fault("a link that goes on", &format!("GOAWAY {code:?}"))),
            (.., Some(code)) => Err(self.fault("a link that goes on", &format!("the link closed with {code:?}"))),
            _ => Ok(()),
        }
    }

    /// The subject ends the link with this code: in its GOAWAY, and closing the transport.
    ///
    /// # Errors
    /// If it doesn't, or gives another code.
    pub fn ends_with(&mut self, link: LinkId, code: Code) -> Done {
        self.settle();
        let Some(end) = self.ends.get(&link) else { return Err(Fault::fail("a link", "none")) };
        let (goaway, closed) = (end.goaway, end.closed);
        let expected = format!("GOAWAY {code:?}, and the link closed with it");
        match (goaway, closed) {
            (Some(said), Some(closed)) if said == code && closed == code => Ok(()),
            (Some(said), Some(closed)) => {
                Err(Fault::fail(expected, format!("GOAWAY {said:?}, closed with {closed:?}")))
            }
            (Some(said), None) => Err(Fault::fail(expected, format!("GOAWAY {said:?}, and the link stays"))),
            (None, Some(closed)) => {
                Err(Fault::fail(expected, format!("no GOAWAY, and the link closed with {closed:?}")))
            }
            (None, None) => Err(self.fault(&expected, "the link goes on")),
        }
    }

    /// The subject answers a PING: its link lives, and what was sent before it has been taken in.
    ///
    /// # Errors
    /// If it doesn't.
    pub fn alive(&mut self, link: LinkId) -> Done {
        let nonce = self.rng.bits() >> 8;
        self.send(link, segue_proto::wire::Ping { nonce, answer: false, ext: segue_proto::wire::Exts::empty() });
        self.take(link, "a PING that answers", |message| match message {
            Message::Ping(ping) if ping.answer && ping.nonce == nonce => Some(()),
            _ => None,
        })
    }
}

/// Messages and streams.
impl Lab<'_> {
    /// Takes the first message that `wanted` finds, from those not taken yet.
    ///
    /// # Errors
    /// If none comes soon.
    pub fn take<T>(&mut self, link: LinkId, what: &str, wanted: impl Fn(&Message) -> Option<T>) -> Done<T> {
        let deadline = self.now.after(SOON);
        loop {
            let inbox = self.ends.get_mut(&link).map(|end| &mut end.inbox);
            let found = inbox.and_then(|inbox| {
                let (at, found) = inbox.iter().enumerate().find_map(|(at, message)| Some((at, wanted(message)?)))?;
                inbox.remove(at);
                Some(found)
            });
            if let Some(found) = found {
                return Ok(found);
            }
            if !self.wake(deadline) {
                return Err(self.missing(link, what));
            }
        }
    }

    /// Whether no message that `unwanted` finds comes soon.
    ///
    /// # Errors
    /// If one comes.
    pub fn none(&mut self, link: LinkId, what: &str, unwanted: impl Fn(&Message) -> bool) -> Done {
        self.settle();
        let inbox = self.ends.get(&link).map(|end| &end.inbox);
        match inbox.and_then(|inbox| inbox.iter().find(|message| unwanted(message))) {
            Some(message) => Err(Fault::fail(format!("no {what}"), describe(message))),
            None => Ok(()),
        }
    }

    /// Forgets the messages that came and weren't taken.
    pub fn skip(&mut self, link: LinkId) {
        if let Some(end) = self.ends.get_mut(&link) {
            end.inbox.clear();
        }
    }

    /// Takes an ERROR with this request number and code. The link goes on.
    ///
    /// # Errors
    /// If another comes, or none.
    pub fn refuses(&mut self, link: LinkId, req: u32, code: Code) -> Done {
        self.refuses_in(link, req, code).map(|_| ())
    }

    /// The same; the session that the ERROR names.
    ///
    /// # Errors
    /// If another comes, or none.
    pub fn refuses_in(&mut self, link: LinkId, req: u32, code: Code) -> Done<Option<SessionId>> {
        let what = format!("ERROR {code:?} with req {req}");
        let error = self.take(link, &what, |message| match message {
            Message::Error(error) if error.req == req => Some(error.clone()),
            _ => None,
        })?;
        let came = Code::from(error.code);
        if came != code {
            return Err(Fault::fail(what, format!("ERROR {came:?}")));
        }
        let definite = code.outcome() == segue_proto::Outcome::Definite;
        if error.definite != definite {
            return Err(Fault::fail(format!("{what}, definite {definite}"), format!("definite {}", error.definite)));
        }
        self.stays(link)?;
        Ok(error.session.get().copied())
    }

    /// Takes the next whole bulk stream.
    ///
    /// # Errors
    /// If none comes soon.
    pub fn stream(&mut self, link: LinkId, what: &str) -> Done<(Bytes, Vec<u8>)> {
        let deadline = self.now.after(SOON);
        loop {
            if let Some(stream) = self.ends.get_mut(&link).and_then(|end| end.streams.pop_front()) {
                return Ok(stream);
            }
            if !self.wake(deadline) {
                return Err(self.missing(link, what));
            }
        }
    }

    /// How many whole bulk streams came and weren't taken.
    pub fn streams(&self, link: LinkId) -> usize {
        self.ends.get(&link).map_or(0, |end| end.streams.len())
    }

    /// Lets the subject say what it has to say soon.
    pub fn settle(&mut self) {
        let deadline = self.now.after(SOON);
        while self.wake(deadline) {}
    }

    fn missing(&self, link: LinkId, what: &str) -> Fault {
        let Some(end) = self.ends.get(&link) else { return Fault::fail(what, "no link") };
        if let Some(garbage) = &end.garbage {
            return Fault::fail(what, garbage.clone());
        }
        if let Some(code) = end.goaway.or(end.closed) {
            return Fault::fail(what, format!("the link was ended with {code:?}"));
        }
        let came: Vec<String> = end.inbox.iter().map(describe).collect();
        Fault::fail(what, if came.is_empty() { "nothing".into() } else { came.join("; ") })
    }

    fn fault(&self, expected: &str, came: &str) -> Fault {
        Fault::fail(expected, came)
    }
}

/// The application's side.
impl Lab<'_> {
    /// Takes the first event that `wanted` finds.
    ///
    /// # Errors
    /// If none comes soon.
    pub fn event<T>(&mut self, what: &str, wanted: impl Fn(&Event) -> Option<T>) -> Done<T> {
        let deadline = self.now.after(SOON);
        loop {
            let found = self.events.iter().enumerate().find_map(|(at, event)| Some((at, wanted(event)?)));
            if let Some((at, found)) = found {
                self.events.remove(at);
                return Ok(found);
            }
            if !self.wake(deadline) {
                let told: Vec<String> = self.events.iter().rev().take(3).map(|event| format!("{event:?}")).collect();
                return Err(Fault::fail(what, if told.is_empty() { "no event".into() } else { told.join("; ") }));
            }
        }
    }

    /// Whether no event that `unwanted` finds has come.
    ///
    /// # Errors
    /// If one has.
    pub fn no_event(&mut self, what: &str, unwanted: impl Fn(&Event) -> bool) -> Done {
        self.settle();
        match self.events.iter().find(|event| unwanted(event)) {
            Some(event) => Err(Fault::fail(format!("no {what}"), format!("{event:?}"))),
            None => Ok(()),
        }
    }

    /// Which devices the subject's operator had to wake since this was asked last.
    pub fn take_woken(&mut self) -> Vec<DeviceId> {
        self.settle();
        std::mem::take(&mut self.woken)
    }

    /// The application asks for something, and gets it.
    ///
    /// # Errors
    /// If the subject refuses.
    pub fn must(&mut self, command: Command) -> Done<Reply> {
        let what = super::brief(&command);
        self.command(command)
            .map_err(|refusal| Fault::fail(what, format!("refused with {:?}: {}", refusal.code, refusal.text)))
    }

    /// The application asks for something, and is refused.
    ///
    /// # Errors
    /// If the subject does it.
    pub fn must_not(&mut self, command: Command) -> Done {
        let what = super::brief(&command);
        match self.command(command) {
            Ok(reply) => Err(Fault::fail(format!("a refusal of {what}"), format!("{reply:?}"))),
            Err(_) => Ok(()),
        }
    }

    /// What the subject says of a session that it must know.
    ///
    /// # Errors
    /// If it doesn't.
    pub fn known(&mut self, session: SessionId) -> Done<SessionState> {
        self.state(session).ok_or_else(|| Fault::fail("a session that the subject knows", "it doesn't"))
    }

    /// The subject says that it has this role in a session.
    ///
    /// # Errors
    /// If it says another.
    pub fn is(&mut self, session: SessionId, role: SessionRole) -> Done {
        let found = self.state(session).map(|state| state.role);
        if found == Some(role) {
            return Ok(());
        }
        let came = found.map_or("an unknown session".into(), |role| format!("{role:?}"));
        Err(Fault::fail(format!("a subject that is {role:?}"), came))
    }

    /// The subject's disk failed.
    pub fn fail_store(&mut self) {
        self.note("the subject's disk fails");
        self.input(Input::StoreFailed);
    }

    /// What the subject says of the generation of its link with a peer.
    ///
    /// # Errors
    /// If it doesn't say that the link is ready.
    pub fn ready(&mut self, peer: DeviceId) -> Done<Generation> {
        self.event("the event link-ready", |event| match event {
            Event::LinkReady { peer: at, generation, .. } if *at == peer => Some(*generation),
            _ => None,
        })
    }
}

/// The role at the other end.
pub const fn opposite(role: Role) -> Role {
    match role {
        Role::Initiator => Role::Responder,
        Role::Responder => Role::Initiator,
    }
}

/// Demands that something holds.
///
/// # Errors
/// If it doesn't.
pub fn ensure(holds: bool, expected: &str, came: impl std::fmt::Display) -> Done {
    if holds { Ok(()) } else { Err(Fault::fail(expected, came.to_string())) }
}
