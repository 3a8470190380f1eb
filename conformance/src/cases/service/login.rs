//! Accounts: a subject that demands them of those that use its mailbox, and one that logs in.

use segue_proto::limits::{MAX_TOKEN, QUOTA_DELAY};
use segue_proto::wire::{Blob, Cas, Discover, Error, Exts, Fetch, Hash, LoggedIn, Login, Message, Text, Watch};
use segue_proto::{Code, Event, Generation, LinkId};
use segue_testkit::device::{AccountTerms, Command};

use super::E;
use super::custody::{Custody, brought, custody, send_want};
use super::host::{another, varint};
use super::scene::{Asker, BOX, HOSTS, Mailbox, hosting};
use crate::cases::{Case, refused, works};
use crate::lab::{Done, Lab, ensure};
use crate::peer::Peer;

const G: Generation = Generation::V7;
/// The commands without which a subject demands no accounts.
const DEMANDS: &[&str] = &["host-mailbox", "demand-accounts"];
/// The same, for one that keeps custody.
const DEMANDS_AND_KEEPS: &[&str] = &["host-custody", "demand-accounts"];
/// The commands without which a subject logs in nowhere.
const LOGS_IN: &[&str] = &["login", "use-mailbox", "write"];
/// The token that is valid for an account.
const TOKEN: &[u8] = b"a token for alice";

pub(super) const CASES: &[Case] = &[
    works("service/login/none-here", &["SERVICE-NONE-1"], E, |lab| {
        let (peer, link) = crate::cases::scene::linked(lab)?;
        let mut asker = Asker::at(peer, link);
        let req = asker.login(lab, b"");
        lab.refuses(link, req, Code::SERVICE_NONE)
    })
    .since(G),
    works("service/login/demanded-of-none", &["SERVICE-LOGIN-1"], E, |lab| {
        let mut asker = hosting(lab, Command::HOST)?;
        let told = asker.logs_in(lab, TOKEN)?;
        ensure(told.account.is_empty() && told.ttl_ms == 0, "no account, for good", format!("{told:?}"))?;
        asker.puts(lab, BOX, b"one").map(|_| ())
    })
    .needs(HOSTS)
    .since(G),
    refused("service/login/demanded", &["SERVICE-LOGIN-1"], E, let_in, |lab| {
        let mut asker = demanding(lab, vec![alice()])?;
        asker.is_locked_out(lab)?;
        let req = asker.login(lab, b"");
        lab.refuses(asker.link, req, Code::SVC_LOGIN)?;
        asker.logs_in(lab, TOKEN)?;
        let offset = asker.puts(lab, BOX, b"one")?;
        ensure(offset == 1, "nothing put before", offset)
    })
    .needs(DEMANDS)
    .since(G),
    works("service/login/by-token", &["SERVICE-LOGIN-2", "SERVICE-LOGIN-3"], E, let_in).needs(DEMANDS).since(G),
    works("service/login/by-the-operators-word", &["SERVICE-LOGIN-1"], E, |lab| {
        let mut asker = hosting(lab, Command::HOST)?;
        let devices = vec![asker.peer.id];
        lab.must(Command::DemandAccounts { accounts: vec![AccountTerms { devices, ..alice() }] })?;
        asker.puts(lab, BOX, b"one")?;
        let told = asker.logs_in(lab, b"")?;
        ensure(&*told.account == "alice", "its account", format!("{told:?}"))?;
        another(lab)?.is_locked_out(lab)
    })
    .needs(DEMANDS)
    .since(G),
    refused("service/login/token-that-is-none", &["SERVICE-LOGIN-2"], E, let_in, |lab| {
        let mut asker = demanding(lab, vec![alice()])?;
        for token in [b"another token".as_slice(), &TOKEN[1..], &[0xff; MAX_TOKEN]] {
            let req = asker.login(lab, token);
            lab.refuses(asker.link, req, Code::SVC_TOKEN)?;
            asker.is_locked_out(lab)?;
        }
        Ok(())
    })
    .needs(DEMANDS)
    .since(G),
    refused("service/login/token-of-another-account", &["SERVICE-LOGIN-2"], E, let_in, |lab| {
        let mut asker = demanding(lab, vec![alice(), bob()])?;
        asker.logs_in(lab, TOKEN)?;
        let req = asker.login(lab, b"a token for bob");
        lab.refuses(asker.link, req, Code::SVC_TOKEN)?;
        asker.puts(lab, BOX, b"one")?;
        let told = asker.logs_in(lab, b"")?;
        ensure(&*told.account == "alice", "the account that it was under", format!("{told:?}"))
    })
    .needs(DEMANDS)
    .since(G),
    works("service/login/kept-over-a-restart", &["SERVICE-LOGIN-3"], E, |lab| {
        let mut asker = demanding(lab, vec![alice()])?;
        asker.logs_in(lab, TOKEN)?;
        asker.reboot(lab, Command::HOST)?;
        lab.must(Command::DemandAccounts { accounts: vec![alice()] })?;
        asker.puts(lab, BOX, b"one")?;
        let told = asker.logs_in(lab, b"")?;
        ensure(&*told.account == "alice", "the account that it was under", format!("{told:?}"))
    })
    .needs(DEMANDS)
    .since(G),
    works("service/login/told-when-durable", &["SERVICE-LOGIN-3"], E, |lab| {
        let mut asker = demanding(lab, vec![alice()])?;
        lab.syncs = false;
        let req = asker.login(lab, TOKEN);
        lab.none(asker.link, "LOGGED_IN before the sync", |message| matches!(message, Message::LoggedIn(_)))?;
        lab.sync();
        asker.logged_in(lab, req).map(|_| ())
    })
    .needs(DEMANDS)
    .since(G),
    works("service/login/ends-in-mid-link", &["SERVICE-LOGIN-1", "SERVICE-LOGIN-2"], E, |lab| {
        let mut asker = demanding(lab, vec![AccountTerms { ttl_us: Some(TTL), ..alice() }])?;
        let told = asker.logs_in(lab, TOKEN)?;
        let left = told.ttl_ms.saturating_mul(1_000);
        ensure((1..=TTL).contains(&left), "the time that the login lasts", format!("{told:?}"))?;
        let watch = asker.watch(lab, BOX, 0);
        lab.pass(TTL + 1_000_000);
        asker.is_locked_out(lab)?;
        lab.refuses(asker.link, watch, Code::SVC_LOGIN)?;
        let req = asker.login(lab, TOKEN);
        lab.refuses(asker.link, req, Code::SVC_TOKEN)
    })
    .needs(DEMANDS)
    .since(G),
    works("service/login/handed-back-without", &["SERVICE-LOGIN-4"], E, |lab| {
        let mut it = custody(lab)?;
        lab.must(Command::DemandAccounts { accounts: vec![alice()] })?;
        it.is_locked_out(lab)?;
        hands_back(lab, it)
    })
    .needs(DEMANDS_AND_KEEPS)
    .since(G),
    works("service/login/handed-back-though-off", &["SERVICE-LOGIN-4"], E, |lab| {
        let it = custody(lab)?;
        let devices = vec![it.owner.id];
        lab.must(Command::DemandAccounts { accounts: vec![AccountTerms { devices, no_handoff: true, ..alice() }] })?;
        hands_back(lab, it)
    })
    .needs(DEMANDS_AND_KEEPS)
    .since(G),
    works("service/login/handoff-off", &["SERVICE-LOGIN-5"], E, |lab| {
        let mut asker = demanding(lab, vec![AccountTerms { no_handoff: true, ..alice() }])?;
        let told = asker.logs_in(lab, TOKEN)?;
        ensure(!told.handoff, "that handing over is off", format!("{told:?}"))?;
        asker.puts(lab, BOX, b"one")?;
        asker.fetches(lab, BOX, 0)?;
        let req = asker.discover_nobody(lab);
        lab.refuses(asker.link, req, Code::SVC_FEATURE)?;
        let req = asker.wake(lab, asker.peer.id);
        lab.refuses(asker.link, req, Code::SVC_FEATURE)
    })
    .needs(DEMANDS)
    .since(G),
    refused(
        "service/login/no-want-where-off",
        &["SERVICE-LOGIN-5"],
        E,
        |lab| custody(lab)?.answers(lab),
        |lab| {
            let mut it = custody(lab)?;
            let (target, other) = it.target(lab, G)?;
            let devices = vec![target.id, it.owner.id];
            lab.must(Command::DemandAccounts {
                accounts: vec![AccountTerms { devices, no_handoff: true, ..alice() }],
            })?;
            let want = it.want(lab, &target, None);
            send_want(lab, other, 51, &target, &want);
            lab.refuses(other, 51, Code::SVC_FEATURE)?;
            lab.none(it.link, "WANT that is shown", |message| matches!(message, Message::Want(_)))
        },
    )
    .needs(DEMANDS_AND_KEEPS)
    .since(G),
    refused(
        "service/login/not-brought-without",
        &["SERVICE-LOGIN-1"],
        E,
        |lab| brought(lab).map(|_| ()),
        |lab| {
            let mut it = brought(lab)?;
            lab.must(Command::DemandAccounts { accounts: vec![alice()] })?;
            it.is_locked_out(lab)
        },
    )
    .needs(DEMANDS_AND_KEEPS)
    .since(G),
    refused("service/login/shared-room", &["SERVICE-LOGIN-6"], E, let_in, |lab| {
        let mut one = demanding(lab, vec![AccountTerms { bytes: Some(4_000), ..alice() }, bob()])?;
        let (mut two, mut third) = (another(lab)?, another(lab)?);
        one.logs_in(lab, TOKEN)?;
        one.puts(lab, BOX, &[1; 3_000])?;
        let told = two.logs_in(lab, TOKEN)?;
        ensure(told.free < 1_000, "what the account has left", format!("{told:?}"))?;
        two.refused(lab, BOX, &[2; 3_000], Code::LIMIT_QUOTA)?;
        third.logs_in(lab, b"a token for bob")?;
        third.puts(lab, BOX, &[3; 3_000]).map(|_| ())
    })
    .needs(DEMANDS)
    .since(G),
    refused("service/login/token-too-long", &["WIRE-CAP-1"], E, let_in, |lab| {
        let mut asker = demanding(lab, vec![alice()])?;
        let (req, len) = (asker.req(), MAX_TOKEN + 1);
        let body: Vec<u8> = [varint(req as usize), varint(len), vec![b'a'; len], vec![0]].concat();
        lab.send_raw(asker.link, &[varint(0x7c), varint(body.len()), body].concat());
        lab.ends_with(asker.link, Code::WIRE_LIMIT)
    })
    .needs(DEMANDS)
    .since(G),
    works("service/login/first-of-all", &["SERVICE-LOGIN-7", "SERVICE-PEER-1"], E, |lab| {
        let (mut it, req) = logging_in(lab)?;
        lab.send(it.link, welcome(req));
        lab.event("the event login, with what LOGGED_IN tells", |event| match event {
            Event::Login { service, result: Ok(told) } if *service == it.peer.id => {
                (&*told.account == "alice" && told.handoff && told.ttl_ms == 60_000 && told.free == 4_096).then_some(())
            }
            _ => None,
        })?;
        it.serve(lab)?;
        it.unlink(lab);
        it.relink(lab)?;
        first_is_login(lab, it.link).map(|_| ())
    })
    .needs(LOGS_IN)
    .since(G),
    works("service/login/told-to-log-in", &["SERVICE-LOGIN-8", "SERVICE-PUT-3"], E, |lab| {
        lab.boot()?;
        let mut it = Mailbox::used(lab)?;
        let asked = |message: &Message| match message {
            Message::Put(it) => Some(it.req),
            Message::Fetch(it) => Some(it.req),
            Message::Watch(it) => Some(it.req),
            _ => None,
        };
        let req = lab.take(it.link, "PUT, FETCH or WATCH", asked)?;
        let code = Code::SVC_LOGIN.into();
        let no = Error { req, session: None.into(), code, definite: true, retry_after_ms: 0, ext: Exts::empty() };
        lab.send(it.link, no);
        lab.event("the event login, with SVC_LOGIN", |event| match event {
            Event::Login { service, result: Err(Code::SVC_LOGIN) } if *service == it.peer.id => Some(()),
            _ => None,
        })?;
        lab.skip(it.link);
        for _ in 0..8 {
            lab.pass(QUOTA_DELAY / 4);
            lab.alive(it.link)?;
            lab.none(it.link, "request", |message| asked(message).is_some())?;
        }
        lab.must(Command::Login { service: it.peer.id, token: TOKEN.to_vec() })?;
        let req = login(lab, it.link)?.req;
        lab.send(it.link, welcome(req));
        ensure(it.step(lab), "a request, now that it is let in", "none")?;
        it.serve(lab)
    })
    .needs(LOGS_IN)
    .since(G),
    works("service/login/token-for-one-service", &["SERVICE-LOGIN-9"], E, |lab| {
        let other = Peer::new(&mut lab.rng);
        lab.setup.trusted.push(other.id);
        let (_, req) = logging_in(lab)?;
        ensure(req != 0, "a request", req)?;
        let link = lab.connect(&other)?;
        lab.none(link, "LOGIN", |message| matches!(message, Message::Login(_)))
    })
    .needs(LOGS_IN)
    .since(G),
];

/// How long a token is valid, in microseconds.
const TTL: u64 = 20_000_000;

fn alice() -> AccountTerms {
    AccountTerms { name: "alice".into(), token: TOKEN.to_vec(), ..AccountTerms::default() }
}

fn bob() -> AccountTerms {
    AccountTerms { name: "bob".into(), token: b"a token for bob".to_vec(), ..AccountTerms::default() }
}

/// The subject hosts a mailbox that demands these accounts, and a device is linked.
fn demanding(lab: &mut Lab, accounts: Vec<AccountTerms>) -> Done<Asker> {
    let asker = hosting(lab, Command::HOST)?;
    lab.must(Command::DemandAccounts { accounts })?;
    Ok(asker)
}

/// The service goes on answering the owner, and gives it the session back.
fn hands_back(lab: &mut Lab, mut it: Custody) -> Done {
    it.answers(lab)?;
    let owner = it.owner.id;
    let record = it.delegates(lab, owner)?;
    ensure(record.owner == owner && record.grantor == owner, "its owner's again", format!("{record:?}"))
}

/// A token lets a device in, on this link and on later ones.
fn let_in(lab: &mut Lab) -> Done {
    let mut asker = demanding(lab, vec![alice()])?;
    let told = asker.logs_in(lab, TOKEN)?;
    ensure(&*told.account == "alice", "its account", format!("{told:?}"))?;
    asker.puts(lab, BOX, b"one")?;
    lab.link_down(asker.link);
    asker.link = lab.connect(&asker.peer)?;
    asker.puts(lab, BOX, b"two").map(|_| ())
}

/// The subject has a token for the mailbox that it uses, and has just linked it; the number of its LOGIN.
fn logging_in(lab: &mut Lab) -> Done<(Mailbox, u32)> {
    lab.boot()?;
    let peer = Peer::new(&mut lab.rng);
    lab.must(Command::Login { service: peer.id, token: TOKEN.to_vec() })?;
    let it = Mailbox::link(lab, peer, std::collections::BTreeMap::new())?;
    let req = first_is_login(lab, it.link)?;
    Ok((it, req))
}

/// The first message after AUTH on a link is LOGIN with the token; its number.
fn first_is_login(lab: &mut Lab, link: LinkId) -> Done<u32> {
    let first = lab.take(link, "LOGIN with the token", |message| Some(message.clone()))?;
    match first {
        Message::Login(Login { req, token, .. }) if *token == *TOKEN => Ok(req),
        other => Err(crate::verdict::Fault::fail("LOGIN with the token", format!("{other:?}"))),
    }
}

fn login(lab: &mut Lab, link: LinkId) -> Done<Login> {
    lab.take(link, "LOGIN", |message| match message {
        Message::Login(it) => Some(it.clone()),
        _ => None,
    })
}

fn welcome(req: u32) -> LoggedIn {
    let account = Text::new("alice").unwrap_or_default();
    LoggedIn { req, account, handoff: true, ttl_ms: 60_000, free: 4_096, ext: Exts::empty() }
}

impl Asker {
    /// Asks to be let in; the number of the request.
    fn login(&mut self, lab: &mut Lab, token: &[u8]) -> u32 {
        let req = self.req();
        let token = Blob::new(token.to_vec()).unwrap_or_default();
        lab.send(self.link, Login { req, token, ext: Exts::empty() });
        req
    }

    /// Takes the LOGGED_IN that answers a request.
    fn logged_in(&self, lab: &mut Lab, req: u32) -> Done<LoggedIn> {
        lab.take(self.link, &format!("LOGGED_IN with req {req}"), |message| match message {
            Message::LoggedIn(it) if it.req == req => Some(it.clone()),
            _ => None,
        })
    }

    fn logs_in(&mut self, lab: &mut Lab, token: &[u8]) -> Done<LoggedIn> {
        let req = self.login(lab, token);
        self.logged_in(lab, req)
    }

    fn discover_nobody(&mut self, lab: &mut Lab) -> u32 {
        let req = self.req();
        lab.send(self.link, Discover { req, devices: Default::default(), ext: Exts::empty() });
        req
    }

    /// Whatever it asks for begins nothing.
    fn is_locked_out(&mut self, lab: &mut Lab) -> Done {
        self.refused(lab, BOX, b"locked out", Code::SVC_LOGIN)?;
        let (fetch, watch) = (self.req(), self.req());
        lab.send(self.link, Fetch { req: fetch, of: BOX, after: 0, ext: Exts::empty() });
        lab.refuses(self.link, fetch, Code::SVC_LOGIN)?;
        lab.send(self.link, Watch { req: watch, of: BOX, after: 0, ext: Exts::empty() });
        lab.refuses(self.link, watch, Code::SVC_LOGIN)?;
        let discover = self.discover_nobody(lab);
        lab.refuses(self.link, discover, Code::SVC_LOGIN)?;
        let wake = self.wake(lab, self.peer.id);
        lab.refuses(self.link, wake, Code::SVC_LOGIN)
    }
}

impl Custody {
    /// The owner may bring and begin nothing.
    fn is_locked_out(&mut self, lab: &mut Lab) -> Done {
        let (req, record) = (self.req(), self.book.chain[0].clone());
        lab.send(self.link, Cas { req, record, want: None.into(), tenure: Hash::ZERO, ext: Exts::empty() });
        lab.refuses(self.link, req, Code::SVC_LOGIN)
    }
}
