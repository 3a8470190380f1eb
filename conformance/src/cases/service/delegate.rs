//! A subject whose session is delegated: as the owner, and as the target, by way of a scripted service.

use segue_proto::wire::{
    Cas, DelegateMsg, Exts, Final, Freeze, Grant, Hash, Have, Held, Kind, List, Message, Nonce, Record, Renew, Signed,
    Since, Want, WantMsg,
};
use segue_proto::{Code, Event, Generation, LinkId, Policy, Role, Rules, SessionRole};
use segue_testkit::device::Command;

use super::E;
use crate::cases::scene::{TIMEOUT, create, session_of};
use crate::cases::{Case, refused, works};
use crate::lab::{Done, Lab, ensure};
use crate::peer::{Book, Peer, head, nothing};
use crate::verdict::Fault;

/// The commands without which a subject delegates nothing.
const GIVES: &[&str] = &["delegate", "use-mailbox"];
const G: Generation = Generation::V7;
const TENURE: Hash = Hash::new([0x7e; 32]);

pub(super) const CASES: &[Case] = &[
    works("service/delegate/asks-first", &["SERVICE-DELEGATE-1"], E, |lab| {
        let it = leaning(lab)?;
        lab.is(it.session, SessionRole::Primary)
    })
    .needs(GIVES)
    .since(G),
    refused("service/delegate/service-refuses", &["SERVICE-DELEGATE-1"], E, works_at_all, |lab| {
        let (session, service, link, _) = owner(lab)?;
        let asked = asks_custody(lab, link, session, service.id)?;
        let answer = segue_proto::service::custody::refusal(session, asked.req, Code::SERVICE_NONE);
        lab.send(link, answer);
        lab.event("the event delegated with SERVICE_NONE", |event| match event {
            Event::Delegated { result: Err(code), .. } if *code == Code::SERVICE_NONE => Some(()),
            _ => None,
        })?;
        let state = lab.known(session)?;
        ensure(state.n == 0 && state.role == SessionRole::Primary, "its genesis as head", state.n)
    })
    .needs(GIVES)
    .since(G),
    refused("service/look/data-by-the-grantor", &["SERVICE-LOOK-1"], E, works_at_all, |lab| {
        let it = leaning(lab)?;
        let (session, log) = (it.session, Nonce::ZERO);
        lab.send(it.link, Since { session, log, at: 0, own: Nonce::new([3; 16]), ext: Exts::empty() });
        let data = |message: &Message| matches!(message, Message::Parts(_) | Message::Strand(_) | Message::Key(_));
        lab.none(it.link, "data for the grantor", data)?;
        lab.send(it.link, Have { req: 77, session, head: it.book.head(), data: nothing(), ext: Exts::empty() });
        let have = lab.take(it.link, "HAVE", |message| match message {
            Message::Have(have) if have.req == 0 && have.head == it.book.head() => Some(have.clone()),
            _ => None,
        })?;
        ensure(have.data.is_empty(), "a HAVE without data", format!("{have:?}"))
    })
    .needs(GIVES)
    .since(G),
    works("service/renew/again-after-a-third", &["SERVICE-RENEW-1"], E, |lab| {
        let it = leaning(lab)?;
        let first = it.renewed(lab, 9_000)?;
        lab.skip(it.link);
        lab.pass(3_100_000);
        let again = it.take_renew(lab)?;
        ensure(again.req != first.req && again.head == it.book.head(), "another request", format!("{again:?}"))
    })
    .needs(GIVES)
    .since(G),
    works("service/freeze/for-a-member-that-wants-it", &["SERVICE-VIA-1", "SERVICE-FREEZE-1"], E, |lab| {
        let it = leaning(lab)?;
        let want = it.pass_on_want(lab);
        let freeze = it.take_freeze(lab)?;
        let end = freeze.end.clone().prove(Rules::ALL, |_: &Final| lab.id());
        let end = end.map_err(|why| Fault::fail("a FINAL that the subject signed", format!("{why:?}")))?;
        let right = freeze.to == it.member.id && end.body().parent == it.book.head() && want.body_bytes().len() > 1;
        ensure(right, "a FREEZE for the target under the head", format!("{freeze:?}"))?;
        lab.is(it.session, SessionRole::Releasing)?;
        lab.must_not(Command::WriteExclusive { session: it.session, bytes: b"view 2".to_vec() })?;
        lab.reboot()?;
        lab.is(it.session, SessionRole::Releasing)?;
        lab.must_not(Command::WriteExclusive { session: it.session, bytes: b"view 2".to_vec() })
    })
    .needs(GIVES)
    .since(G),
    works("service/freeze/leaves-when-durable", &["SERVICE-FREEZE-2"], E, |lab| {
        let it = leaning(lab)?;
        lab.syncs = false;
        it.pass_on_want(lab);
        lab.none(it.link, "FREEZE before the sync", |message| matches!(message, Message::Freeze(_)))?;
        lab.sync();
        it.take_freeze(lab).map(|_| ())
    })
    .needs(GIVES)
    .since(G),
    refused("service/freeze/denied-by-policy", &["SERVICE-FREEZE-3", "HO-WANT-5"], E, works_at_all, |lab| {
        lab.setup.pulls = Policy::Deny;
        let it = leaning(lab)?;
        let want = it.pass_on_want(lab);
        lab.take(it.link, "DECLINE", |message| match message {
            Message::Decline(no) if no.subject == want.id() => Some(()),
            _ => None,
        })?;
        lab.none(it.link, "FREEZE", |message| matches!(message, Message::Freeze(_)))?;
        lab.is(it.session, SessionRole::Primary)
    })
    .needs(GIVES)
    .since(G),
    works("service/freeze/let-go-on", &["SERVICE-FREEZE-1"], E, |lab| {
        let mut it = leaning(lab)?;
        it.pass_on_want(lab);
        it.take_freeze(lab)?;
        let record = Record { signer: it.service.id, roster: TENURE, ..it.delegate(lab.id(), it.service.id) };
        it.book.chain.push(it.service.sign(&record));
        lab.send(it.link, head(it.session, it.book.chain[2..].to_vec(), None));
        lab.is(it.session, SessionRole::Primary)?;
        lab.must(Command::WriteExclusive { session: it.session, bytes: b"view 2".to_vec() }).map(|_| ())
    })
    .needs(GIVES)
    .since(G),
    works("service/freeze/handed-over", &["SERVICE-FREEZE-1", "HO-WRITE-2"], E, |lab| {
        let mut it = leaning(lab)?;
        let want = it.pass_on_want(lab);
        it.take_freeze(lab)?;
        let mut record = it.book.next(&it.service, it.member.id);
        (record.grantor, record.want) = (it.service.id, want.id());
        it.book.chain.push(it.service.sign(&record));
        lab.send(it.link, head(it.session, it.book.chain[2..].to_vec(), None));
        lab.is(it.session, SessionRole::Secondary)?;
        let copies = lab.known(it.session)?.copies;
        ensure(copies == 0, "no copies: the new owner has what it left", copies)
    })
    .needs(GIVES)
    .since(G),
    works("service/reclaim/asks-by-delegate", &["SERVICE-GRANTOR-2"], E, |lab| {
        let mut it = leaning(lab)?;
        lab.must(Command::Reclaim { session: it.session, timeout_us: TIMEOUT })?;
        let (me, head_id) = (lab.id(), it.book.head());
        let ask = lab.take(it.link, "DELEGATE", |message| match message {
            Message::Delegate(ask) => Some(ask.clone()),
            _ => None,
        })?;
        let DelegateMsg { parent, grantor, .. } = ask;
        ensure(parent == head_id && grantor == me, "the head, and itself as grantor", format!("{grantor:?}"))?;
        let record = Record { signer: it.service.id, ..it.delegate(me, me) };
        let signed = it.service.sign(&record);
        it.book.chain.push(signed.clone());
        lab.send(it.link, Cas { req: ask.req, record: signed, want: None.into(), tenure: TENURE, ext: Exts::empty() });
        lab.event("the event delegated", |event| match event {
            Event::Delegated { result: Ok(grantor), .. } if *grantor == me => Some(()),
            _ => None,
        })?;
        lab.is(it.session, SessionRole::Primary)
    })
    .needs(&["delegate", "reclaim", "use-mailbox"])
    .since(G),
    works("service/want/goes-to-the-grantor", &["SERVICE-WANT-1", "SERVICE-HELD-1"], E, receives)
        .needs(&["request", "follow"])
        .since(G),
    works("service/show/linked-before-it-was-known", &["SERVICE-SHOW-1"], E, |lab| {
        let (owner, service) = (Peer::new(&mut lab.rng), Peer::new(&mut lab.rng));
        lab.setup.trusted.push(owner.id);
        lab.setup.follow = true;
        lab.boot()?;
        lab.must(Command::UseMailbox { mailbox: service.id })?;
        let mailbox = lab.connect_as(&service, Role::Initiator)?;
        let link = lab.connect(&owner)?;
        let mut book = session_of(lab, &owner);
        lab.must(Command::Follow { session: book.id, from: owner.id })?;
        lab.send(link, book.whole());
        lab.is(book.id, SessionRole::Secondary)?;
        let shown = |message: &Message| matches!(message, Message::Have(_) | Message::Head(_));
        lab.none(mailbox, "HAVE or HEAD for a device that isn't its grantor", shown)?;
        book.chain.push(owner.sign(&delegate_to(&book, &owner, service.id)));
        lab.send(link, book.whole());
        lab.take(mailbox, "HAVE with the head that names the service", |message| match message {
            Message::Have(have) if have.session == book.id && have.head == book.head() => Some(()),
            Message::Head(head) if head.records.last().is_some_and(|last| last.id() == book.head()) => Some(()),
            _ => None,
        })
    })
    .needs(&["follow", "use-mailbox"])
    .since(G),
    refused("service/held/other-exclusive-parts", &["SERVICE-HELD-1"], E, receives, |lab| {
        let it = seeking(lab)?;
        let end = Final { exclusive: Hash::new([6; 32]), root: Hash::new([6; 32]), ..it.end() };
        it.show_final(lab, &end);
        let named = |message: &Message| matches!(message, Message::Want(want) if want.want.open(Rules::ALL).is_ok_and(|want| want.have.get().is_some_and(|have| have.manifest == end.manifest)));
        lab.none(it.link, "WANT that names a FINAL that isn't held", named)
    })
    .needs(&["request", "follow"])
    .since(G),
    works("service/take/by-the-lease", &["SERVICE-TAKE-1"], E, takes).needs(&["request", "follow"]).since(G),
    refused("service/take/for-another-want", &["SERVICE-TAKE-1"], E, takes, |lab| {
        let it = seeking(lab)?;
        let mut record = it.takeover(lab);
        record.want = Hash::new([9; 32]);
        let signed: Signed<Want> = it.signed.clone();
        lab.send(it.link, Cas {
            req: 88,
            record: it.service.sign(&record),
            want: Some(signed).into(),
            tenure: TENURE,
            ext: Exts::empty(),
        });
        lab.refuses(it.link, 88, Code::HO_NO_CONSENT)?;
        lab.is(it.book.id, SessionRole::Secondary)
    })
    .needs(&["request", "follow"])
    .since(G),
    works("service/fork/two-records-of-the-service", &["SERVICE-FORK-1"], E, |lab| {
        let mut it = leaning(lab)?;
        let record = Record { signer: it.service.id, roster: TENURE, ..it.delegate(lab.id(), it.service.id) };
        let other = Record { roster: Hash::new([1; 32]), ..record.clone() };
        it.book.chain.push(it.service.sign(&record));
        lab.send(it.link, head(it.session, it.book.chain[2..].to_vec(), None));
        lab.send(it.link, head(it.session, vec![it.service.sign(&other)], None));
        reported(lab)
    })
    .needs(GIVES)
    .since(G),
    works("service/fork/an-older-head", &["SERVICE-FORK-1"], E, |lab| {
        let mut it = leaning(lab)?;
        let record = Record { signer: it.service.id, roster: TENURE, ..it.delegate(lab.id(), it.service.id) };
        it.book.chain.push(it.service.sign(&record));
        lab.send(it.link, head(it.session, it.book.chain[2..].to_vec(), None));
        let parent = it.book.chain[1].id();
        lab.send(it.link, Have { req: 0, session: it.session, head: parent, data: nothing(), ext: Exts::empty() });
        reported(lab)
    })
    .needs(GIVES)
    .since(G),
];

/// The subject told its user that the service forks.
fn reported(lab: &mut Lab) -> Done {
    lab.event("the event violation with SVC_EQUIVOCATION", |event| match event {
        Event::Violation { violation, .. } if violation.code == Code::SVC_EQUIVOCATION => Some(()),
        _ => None,
    })
}

/// The subject owns a session that it delegated to a service.
struct Leaning {
    session: segue_proto::wire::SessionId,
    service: Peer,
    link: LinkId,
    /// A member that isn't linked.
    member: Peer,
    book: Book,
}

/// The subject owns a session, and a service is linked that it uses as mailbox.
fn owner(lab: &mut Lab) -> Done<(segue_proto::wire::SessionId, Peer, LinkId, Peer)> {
    let (service, member) = (Peer::new(&mut lab.rng), Peer::new(&mut lab.rng));
    lab.boot()?;
    let session = create(lab, &member)?;
    lab.must(Command::WriteExclusive { session, bytes: b"view 1".to_vec() })?;
    lab.must(Command::UseMailbox { mailbox: service.id })?;
    let link = lab.connect_as(&service, Role::Initiator)?;
    Ok((session, service, link, member))
}

/// The subject is told to delegate: it asks the service to take its chain.
fn asks_custody(
    lab: &mut Lab,
    link: LinkId,
    session: segue_proto::wire::SessionId,
    service: segue_proto::wire::DeviceId,
) -> Done<Cas> {
    lab.must(Command::Delegate { session, service, timeout_us: TIMEOUT })?;
    lab.take(link, "CAS", |message| match message {
        Message::Cas(cas) => Some(cas.clone()),
        _ => None,
    })
}

/// The subject delegated a session to a service.
fn leaning(lab: &mut Lab) -> Done<Leaning> {
    let (session, service, link, member) = owner(lab)?;
    let asked = asks_custody(lab, link, session, service.id)?;
    let signed = |message: &Message| matches!(message, Message::Head(head) if head.records.len() > 1);
    lab.none(link, "delegate before the service has the chain", signed)?;
    lab.skip(link);
    let mut book = Book::of(session, vec![asked.record.clone()], &mut lab.rng);
    lab.send(link, Cas { tenure: TENURE, ..asked });
    let told = crate::cases::scene::take_head(lab, link, session)?;
    book.chain.extend(told.records.into_vec());
    let record = book.last().ok_or_else(|| Fault::fail("a delegate", "nothing"))?;
    let right = record.kind == Kind::Delegate.number() && record.grantor == service.id && record.owner == lab.id();
    let right = right && record.roster == TENURE && record.n == 1 && record.signer == lab.id();
    ensure(right, "a delegate that names the service and its tenure", format!("{record:?}"))?;
    Ok(Leaning { session, service, link, member, book })
}

fn works_at_all(lab: &mut Lab) -> Done {
    leaning(lab).map(|_| ())
}

impl Leaning {
    /// A delegate behind the last record.
    fn delegate(&self, owner: segue_proto::wire::DeviceId, grantor: segue_proto::wire::DeviceId) -> Record {
        let want = self.book.last().map_or(Hash::ZERO, |last| last.want);
        Record { kind: Kind::Delegate.number(), grantor, want, ..self.book.next(&self.service, owner) }
    }

    fn take_renew(&self, lab: &mut Lab) -> Done<Renew> {
        lab.take(self.link, "RENEW", |message| match message {
            Message::Renew(renew) if renew.session == self.session => Some(renew.clone()),
            _ => None,
        })
    }

    /// The service gives the lease that it is asked for.
    fn renewed(&self, lab: &mut Lab, ttl: u32) -> Done<Renew> {
        let asked = self.take_renew(lab)?;
        lab.send(self.link, Renew { ttl, ..asked.clone() });
        Ok(asked)
    }

    /// The service passes a WANT of the member on.
    fn pass_on_want(&self, lab: &mut Lab) -> Signed<Want> {
        let want = self.member.want(&mut lab.rng, self.session, self.book.head(), None);
        let want = self.member.sign(&want);
        lab.send(self.link, WantMsg { req: 61, want: want.clone(), ext: Exts::empty() });
        want
    }

    fn take_freeze(&self, lab: &mut Lab) -> Done<Freeze> {
        lab.take(self.link, "FREEZE", |message| match message {
            Message::Freeze(freeze) => Some(freeze.clone()),
            _ => None,
        })
    }
}

/// The subject wants a delegated session whose owner isn't linked: its WANT has come to the service.
struct Seeking {
    owner: Peer,
    service: Peer,
    link: LinkId,
    book: Book,
    signed: Signed<Want>,
}

fn seeking(lab: &mut Lab) -> Done<Seeking> {
    let (owner, service) = (Peer::new(&mut lab.rng), Peer::new(&mut lab.rng));
    lab.setup.trusted.push(owner.id);
    lab.setup.follow = true;
    lab.boot()?;
    let link = lab.connect(&owner)?;
    let mut book = session_of(lab, &owner);
    book.state = Book::of(book.id, Vec::new(), &mut lab.rng).state;
    lab.must(Command::Follow { session: book.id, from: owner.id })?;
    let asked = lab.take(link, "HAVE", |message| match message {
        Message::Have(have) if have.req != 0 => Some(have.req),
        _ => None,
    })?;
    ensure(asked != 0, "a request", asked)?;
    book.chain.push(owner.sign(&delegate_to(&book, &owner, service.id)));
    lab.send(link, book.whole());
    lab.is(book.id, SessionRole::Secondary)?;
    lab.link_down(link);
    let link = lab.connect(&service)?;
    lab.must(Command::Request { session: book.id, from: owner.id, timeout_us: TIMEOUT })?;
    let (want, signed) = take_want(lab, link)?;
    ensure(want.parent == book.head(), "a WANT under the head", format!("{:?}", want.parent))?;
    Ok(Seeking { owner, service, link, book, signed })
}

/// The delegate by which an owner has a service sign.
fn delegate_to(book: &Book, owner: &Peer, service: segue_proto::wire::DeviceId) -> Record {
    let want = book.last().map_or(Hash::ZERO, |last| last.want);
    Record { kind: Kind::Delegate.number(), grantor: service, want, roster: TENURE, ..book.next(owner, owner.id) }
}

fn take_want(lab: &mut Lab, link: LinkId) -> Done<(Want, Signed<Want>)> {
    let signed = lab.take(link, "WANT", |message| match message {
        Message::Want(want) => Some(want.want.clone()),
        _ => None,
    })?;
    let want = signed.clone().prove(Rules::ALL, |want: &Want| want.target);
    Ok((want.map_err(|why| Fault::fail("a WANT that verifies", format!("{why:?}")))?.body().clone(), signed))
}

impl Seeking {
    /// What the owner left.
    fn end(&self) -> Final {
        let data = self.book.clone().announce();
        Final {
            session: self.book.id,
            parent: self.book.head(),
            root: data.root,
            exclusive: self.book.state.exclusive_root(),
            manifest: Hash::new([0x3a; 32]),
            manifest_len: data.manifest_len,
        }
    }

    fn show_final(&self, lab: &mut Lab, end: &Final) {
        let to = lab.id();
        lab.send(self.link, Freeze { req: 0, to, end: self.owner.sign(end), ext: Exts::empty() });
    }

    /// The service's takeover for the subject.
    fn takeover(&self, lab: &Lab) -> Record {
        let mut record = self.book.takeover(&self.service);
        (record.owner, record.grantor, record.want) = (lab.id(), self.service.id, self.signed.id());
        record
    }
}

/// The subject is shown what the owner left, wants it, and is granted it by the service.
fn receives(lab: &mut Lab) -> Done {
    let it = seeking(lab)?;
    let end = it.end();
    it.show_final(lab, &end);
    let (want, signed) = take_want(lab, it.link)?;
    let held = Held { root: end.root, manifest: end.manifest };
    ensure(want.have.get() == Some(&held), "a WANT that says that it holds that", format!("{:?}", want.have))?;
    let mut record = it.book.next(&it.service, lab.id());
    (record.grantor, record.want) = (it.service.id, signed.id());
    let record = it.service.sign(&record);
    let (end, ops, ext) = (it.owner.sign(&end), List::empty(), Exts::empty());
    lab.send(it.link, Grant { req: 0, want: signed, record: record.clone(), end, ops, parts: List::empty(), ext });
    lab.is(it.book.id, SessionRole::Primary)?;
    acknowledged(lab, it.link, record.id())
}

/// The owner is silent past its lease, and the service makes the subject the owner.
fn takes(lab: &mut Lab) -> Done {
    let it = seeking(lab)?;
    let record = it.service.sign(&it.takeover(lab));
    let (want, tenure) = (Some(it.signed.clone()).into(), TENURE);
    lab.send(it.link, Cas { req: 0, record: record.clone(), want, tenure, ext: Exts::empty() });
    lab.is(it.book.id, SessionRole::Primary)?;
    acknowledged(lab, it.link, record.id())
}

fn acknowledged(lab: &mut Lab, link: LinkId, record: Hash) -> Done {
    lab.take(link, "HEAD with the acknowledgement", |message| match message {
        Message::Head(head) => head.ack.get().filter(|ack| ack.record == record).map(|_| ()),
        _ => None,
    })
}
