//! The first steps of tier B: a device that listens, a link in each direction, a session.

use segue_proto::wire::SessionId;
use segue_proto::{Event, Generation, Role, SessionRole};
use segue_testkit::device::{Command, Reply};

use super::{Blame, Step, Title, step};
use crate::attach::{Failure, Hello, Host, LineHost, Tier};
use crate::lab::{Done, ensure};
use crate::loopback::{Dialling, GUARD, Link, Loopback, Rig};
use crate::peer::Peer;
use crate::terminal::Terminal;
use crate::verdict::Fault;

/// What the steps know of one another.
pub(super) struct Walk<'a> {
    hello: &'a Hello,
    peer: Option<Peer>,
    link: Option<Link>,
}

impl Walk<'_> {
    fn offers(&self, command: &str) -> bool {
        self.hello.offers_in(Tier::B, command)
    }

    fn linked(&mut self) -> Done<(&Peer, &mut Link)> {
        self.peer.as_ref().zip(self.link.as_mut()).ok_or_else(|| Fault::unheard("a link", "there is none"))
    }
}

/// What is done in a step; what isn't declared, if there was nothing to do.
type Go = fn(&mut Walk<'_>, &mut Loopback<'_>) -> Done<Option<&'static str>>;

/// Walks with a device that is called, and then with one that calls.
pub(super) fn walk(
    host: &mut LineHost,
    hello: &Hello,
    generation: Generation,
    terminal: &mut Terminal,
) -> Result<(), (Title, Blame)> {
    for (role, steps) in [(Role::Responder, CALLED), (Role::Initiator, CALLS)] {
        let rig = Rig::new(GUARD).map_err(|why| (Title::NONE, Blame::Suite(why)))?;
        host.renew();
        let mut lo = Loopback::new(host, rig, generation, role, 1, "smoke");
        let mut walk = Walk { hello, peer: None, link: None };
        for Step { title, go } in steps {
            let done = go(&mut walk, &mut lo);
            let failure: Option<Failure> = lo.failure();
            title.tell(terminal, done, failure).map_err(|blame| (*title, blame))?;
        }
    }
    Ok(())
}

/// What all steps are about.
#[cfg(test)]
pub(super) fn titles() -> impl Iterator<Item = Title> {
    CALLED.iter().chain(CALLS).map(|step| step.title)
}

const CALLED: &[Step<Go>] = &[
    step("new", "a device starts, and names the address where it listens", &[], |walk, lo| {
        walk.peer = Some(lo.trusted()?);
        Ok(None)
    }),
    step("inspect", "it says what it keeps: nothing yet", &[], |_, lo| {
        let found = lo.state(SessionId::ZERO)?;
        ensure(found.is_none(), "no session on a new device", "one").map(|()| None)
    }),
    step("quic", "it takes a call: QUIC, TLS 1.3, and the protocol's ALPN", &[], |walk, lo| {
        walk.link = Some(lo.dial(&Dialling::default())?);
        Ok(None)
    }),
    step(
        "hello",
        "it says HELLO, and proves itself over the channel",
        &["wire/valid/hello.json", "wire/valid/auth.json", "link/valid/auth-responder.json"],
        |walk, _| {
            let (peer, link) = walk.linked()?;
            link.says(peer);
            link.proves().map(|_| None)
        },
    ),
    step("ping", "it takes the peer's proof, and answers PING", &["link/valid/auth-initiator.json"], |walk, _| {
        walk.linked()?.1.alive().map(|()| None)
    }),
    step("wait", "it tells that the link is ready", &["generations"], |walk, lo| {
        let (peer, own) = (walk.linked()?.0.id, lo.generation);
        let ready = lo.event("the event link-ready, in the answer to an input 'wait'", |event| match event {
            Event::LinkReady { peer: with, generation, .. } if *with == peer => Some(*generation),
            _ => None,
        })?;
        ensure(ready == own, &format!("a link of generation {own}"), ready).map(|()| None)
    }),
    step("create", "it creates a session, and is its primary", &["handoff/valid/session-id.json"], |walk, lo| {
        if !walk.offers("create") {
            return Ok(Some("create"));
        }
        let members = vec![walk.linked()?.0.id];
        let reply = lo.must(Command::Create { name: "notes".into(), members })?;
        let Reply::Session(session) = reply else {
            return Err(Fault::fail("'session' in the reply", format!("{reply:?}")));
        };
        lo.is(session, SessionRole::Primary).map(|()| None)
    }),
];

const CALLS: &[Step<Go>] =
    &[step("dial", "another device calls, and proves itself", &["link/valid/auth-initiator.json"], |walk, lo| {
        if !walk.offers("dial") {
            return Ok(Some("dial"));
        }
        lo.linked().map(|_| None)
    })];
