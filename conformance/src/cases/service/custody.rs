//! A subject that keeps sessions in custody, and signs for their owners.

use segue_proto::wire::codec::Blob;
use segue_proto::wire::{
    Cas, DelegateMsg, DeviceId, Ext, Exts, Final, Freeze, Hash, Have, Held, Kind, List, Message, OfferMsg, Record,
    Renew, Signed, Want, WantMsg,
};
use segue_proto::{Code, Generation, LinkId, Rules};
use segue_testkit::device::Command;

use super::E;
use crate::cases::{Case, refused, works};
use crate::lab::{Done, Lab, ensure};
use crate::peer::{Book, Peer, head, offer, offer_msg};
use crate::verdict::Fault;

/// The command without which a subject keeps no custody.
const KEEPS: &[&str] = &["host-custody"];
const G: Generation = Generation::V7;
/// The lease that the subject gives, in microseconds.
const LEASE: u64 = 12_000_000;

pub(super) const CASES: &[Case] = &[
    works("service/custody/none-here", &["SERVICE-NONE-1"], E, |lab| {
        let (peer, link) = crate::cases::scene::linked(lab)?;
        let book = Book::create(&peer, &[], &mut lab.rng);
        let record = book.chain[0].clone();
        lab.send(link, Cas { req: 7, record, want: None.into(), tenure: Hash::ZERO, ext: Exts::empty() });
        lab.refuses(link, 7, Code::SERVICE_NONE)
    })
    .since(G),
    works("service/custody/none-here-for-a-known-session", &["SERVICE-NONE-1"], E, |lab| {
        let (peer, link) = crate::cases::scene::linked(lab)?;
        let mut book = Book::create(&peer, &[lab.id()], &mut lab.rng);
        let (record, to) = (book.chain[0].clone(), lab.id());
        lab.send(link, book.whole());
        lab.send(link, Cas { req: 7, record, want: None.into(), tenure: Hash::ZERO, ext: Exts::empty() });
        lab.refuses(link, 7, Code::SERVICE_NONE)?;
        let data = book.announce();
        lab.send(link, Freeze { req: 8, to, end: peer.sign(&book.end(&data)), ext: Exts::empty() });
        lab.refuses(link, 8, Code::SERVICE_NONE)
    })
    .since(G),
    works("service/custody/brought-and-delegated", &["SERVICE-CAS-3"], E, |lab| custody(lab).map(|_| ()))
        .needs(KEEPS)
        .since(G),
    refused("service/cas/not-the-head", &["SERVICE-CAS-1", "SERVICE-CAS-3"], E, works_at_all, |lab| {
        let mut it = custody(lab)?;
        let mut other = it.book.clone();
        other.chain.truncate(1);
        let record =
            it.owner.sign(&Record { roster: Hash::new([5; 32]), ..delegate(&other, &it.owner, lab.id(), it.tenure) });
        let req = it.req();
        lab.send(it.link, Cas { req, record, want: None.into(), tenure: Hash::ZERO, ext: Exts::empty() });
        lab.refuses(it.link, req, Code::HO_STALE_PARENT)?;
        it.answers(lab)
    })
    .needs(KEEPS)
    .since(G),
    works("service/cas/told-when-durable", &["SERVICE-CAS-2"], E, |lab| {
        let mut it = brought(lab)?;
        lab.syncs = false;
        let record = it.owner.sign(&delegate(&it.book, &it.owner, lab.id(), it.tenure));
        let req = it.req();
        lab.send(it.link, Cas { req, record, want: None.into(), tenure: Hash::ZERO, ext: Exts::empty() });
        let told = |message: &Message| matches!(message, Message::Cas(_) | Message::Head(_));
        lab.none(it.link, "CAS before the sync", told)?;
        lab.sync();
        it.cas(lab, req).map(|_| ())
    })
    .needs(KEEPS)
    .since(G),
    works("service/cas/over-a-restart", &["SERVICE-CAS-2", "SERVICE-TENURE-1"], E, |lab| {
        let mut it = custody(lab)?;
        lab.reboot()?;
        lab.must(Command::HostCustody { lease_us: LEASE })?;
        it.link = lab.connect(&it.owner)?;
        it.answers(lab)
    })
    .needs(KEEPS)
    .since(G),
    refused("service/grantor/not-delegated", &["SERVICE-GRANTOR-1"], E, works_at_all, |lab| {
        let mut it = brought(lab)?;
        let req = it.renew(lab, it.link);
        lab.refuses(it.link, req, Code::SVC_NOT_GRANTOR)
    })
    .needs(KEEPS)
    .since(G),
    refused("service/grantor/of-another-device", &["SERVICE-GRANTOR-2"], E, works_at_all, |lab| {
        let mut it = custody(lab)?;
        let (_, other) = it.target(lab, G)?;
        let req = it.renew(lab, other);
        lab.refuses(other, req, Code::HO_NOT_OWNER)?;
        it.answers(lab)
    })
    .needs(KEEPS)
    .since(G),
    refused(
        "service/grantor/of-an-older-head",
        &["SERVICE-GRANTOR-2", "SERVICE-GRANTOR-7", "SERVICE-CAS-1"],
        E,
        works_at_all,
        |lab| {
            let mut it = custody(lab)?;
            let (target, other) = it.target(lab, G)?;
            let end = it.freeze(lab, target.id);
            let want = it.want(lab, &target, Some(held(&end)));
            send_want(lab, other, 51, &target, &want);
            take_grant(lab, other)?;
            lab.skip(it.link);
            let (req, session, parent) = (it.req(), it.book.id, it.book.head());
            lab.send(it.link, DelegateMsg { req, session, parent, grantor: it.owner.id, ext: Exts::empty() });
            lab.refuses(it.link, req, Code::HO_STALE_PARENT)?;
            let renew = it.renew(lab, it.link);
            lab.refuses(it.link, renew, Code::HO_STALE_PARENT)
        },
    )
    .needs(KEEPS)
    .since(G),
    refused("service/grantor/of-a-stranger", &["HO-MEMBER-1"], E, works_at_all, |lab| {
        let it = custody(lab)?;
        let stranger = Peer::new(&mut lab.rng);
        let link = lab.connect(&stranger)?;
        let session = it.book.id;
        lab.send(link, Have { req: 9, session, head: Hash::ZERO, data: None.into(), ext: Exts::empty() });
        lab.refuses(link, 9, Code::HO_UNKNOWN_SESSION)
    })
    .needs(KEEPS)
    .since(G),
    works("service/grant/what-was-frozen", &["SERVICE-GRANTOR-4", "SERVICE-GRANTOR-5"], E, |lab| {
        let mut it = custody(lab)?;
        let (target, other) = it.target(lab, G)?;
        let end = it.freeze(lab, target.id);
        let want = it.want(lab, &target, None);
        send_want(lab, other, 51, &target, &want);
        let shown = lab.take(other, "FREEZE", |message| match message {
            Message::Freeze(freeze) => Some(freeze.clone()),
            _ => None,
        })?;
        ensure(shown.end.id() == it.owner.sign(&end).id(), "the FINAL that the owner left", format!("{shown:?}"))?;
        lab.none(other, "GRANT to a WANT that doesn't hold it", |message| matches!(message, Message::Grant(_)))?;
        let want = it.want(lab, &target, Some(held(&end)));
        send_want(lab, other, 52, &target, &want);
        let (grant, record) = take_grant(lab, other)?;
        let right = record.owner == target.id && record.grantor == lab.id() && record.signer == lab.id();
        let right = right && record.kind == Kind::Grant.number() && record.parent == it.book.head() && record.n == 2;
        ensure(
            right && grant.ops.is_empty() && grant.req == 52,
            "a grant to the target by the service",
            format!("{record:?}"),
        )
    })
    .needs(KEEPS)
    .since(G),
    refused("service/grant/to-another-device", &["SERVICE-GRANTOR-3"], E, works_at_all, |lab| {
        let mut it = custody(lab)?;
        let (target, other) = it.target(lab, G)?;
        let third = it.third.clone();
        let end = it.freeze(lab, third.id);
        let want = it.want(lab, &target, Some(held(&end)));
        send_want(lab, other, 51, &target, &want);
        lab.none(other, "GRANT", |message| matches!(message, Message::Grant(_)))
    })
    .needs(KEEPS)
    .since(G),
    works("service/grant/below-generation-7", &["SERVICE-GRANTOR-5"], E, |lab| {
        let mut it = custody(lab)?;
        let (target, other) = it.target(lab, Generation::V2)?;
        let end = it.freeze(lab, target.id);
        let want = it.want(lab, &target, None);
        send_want(lab, other, 51, &target, &want);
        let shown = lab.take(other, "HAVE with data", |message| match message {
            Message::Have(have) => have.data.get().cloned(),
            _ => None,
        })?;
        ensure(shown.root == end.root && shown.manifest == end.manifest, "FINAL's", format!("{shown:?}"))?;
        let want = it.want(lab, &target, Some(held(&end)));
        send_want(lab, other, 52, &target, &want);
        let (_, record) = take_grant(lab, other)?;
        ensure(record.grantor == target.id, "the target as grantor", format!("{record:?}"))
    })
    .needs(KEEPS)
    .since(G),
    works("service/grant/lost-then-resent", &["SERVICE-GRANTOR-6"], E, |lab| {
        let mut it = custody(lab)?;
        let (target, other) = it.target(lab, G)?;
        let end = it.freeze(lab, target.id);
        let want = it.want(lab, &target, Some(held(&end)));
        send_want(lab, other, 51, &target, &want);
        let (first, _) = take_grant(lab, other)?;
        lab.reboot()?;
        lab.must(Command::HostCustody { lease_us: LEASE })?;
        let other = lab.connect(&target)?;
        lab.send(other, Have { req: 0, ..it.book.have(None) });
        let (again, record) = take_grant(lab, other)?;
        ensure(again.record == first.record, "the same record", format!("{record:?}"))?;
        let ack = target.ack(first.record.id());
        lab.send(other, head(it.book.id, vec![first.record.clone()], Some(ack)));
        lab.skip(other);
        lab.send(other, Have { req: 0, ..it.book.have(None) });
        lab.none(other, "GRANT after it was acknowledged", |message| matches!(message, Message::Grant(_)))
    })
    .needs(KEEPS)
    .since(G),
    works("service/delegate/let-go-on", &["SERVICE-GRANTOR-2"], E, |lab| {
        let mut it = custody(lab)?;
        it.freeze(lab, it.third.id);
        let me = lab.id();
        let record = it.delegates(lab, me)?;
        let right = record.owner == it.owner.id && record.grantor == me && record.roster == it.tenure;
        ensure(right && record.kind == Kind::Delegate.number(), "a delegate for the owner", format!("{record:?}"))
    })
    .needs(KEEPS)
    .since(G),
    works("service/delegate/handed-back", &["SERVICE-GRANTOR-2"], E, |lab| {
        let mut it = custody(lab)?;
        let owner = it.owner.id;
        let record = it.delegates(lab, owner)?;
        ensure(record.owner == owner && record.grantor == owner, "owner and grantor the same", format!("{record:?}"))
    })
    .needs(KEEPS)
    .since(G),
    works("service/want/shown-to-the-owner", &["SERVICE-VIA-1", "SERVICE-SHOW-2"], E, |lab| {
        let mut it = custody(lab)?;
        let (target, other) = it.target(lab, G)?;
        let want = it.want(lab, &target, None);
        send_want(lab, other, 51, &target, &want);
        let shown = lab.take(it.link, "WANT", |message| match message {
            Message::Want(want) => Some(want.clone()),
            _ => None,
        })?;
        ensure(shown.want.id() == target.sign(&want).id(), "the target's WANT", format!("{shown:?}"))?;
        let (session, subject) = (it.book.id, shown.want.id());
        let code = Code::HO_DECLINED.into();
        let reason = Ext { id: 1, bytes: Blob::new(b"not now".to_vec()).unwrap_or_default() };
        let ext = Exts::new(vec![reason]).unwrap_or_default();
        lab.send(it.link, segue_proto::wire::Decline { session, subject, code, ext: ext.clone() });
        let came = lab.take(other, "DECLINE", |message| match message {
            Message::Decline(no) if no.subject == subject => Some(no.ext.clone()),
            _ => None,
        })?;
        ensure(came == ext, "the owner's reason", format!("{came:?}"))
    })
    .needs(KEEPS)
    .since(G),
    works("service/show/an-offer-with-its-extensions", &["SERVICE-SHOW-2"], E, |lab| {
        let mut it = custody(lab)?;
        let (target, other) = it.target(lab, G)?;
        // The service knows whom it can show it.
        let (session, head) = (it.book.id, it.book.head());
        lab.send(other, Have { req: 0, session, head, data: None.into(), ext: Exts::empty() });
        let data = it.book.announce();
        let body = offer(&it.owner, &it.book, target.id, &data, &mut lab.rng);
        let said = Ext { id: 1, bytes: Blob::new(vec![7; 16]).unwrap_or_default() };
        let ext = List::new(vec![said]).unwrap_or_default();
        let req = it.req();
        lab.send(it.link, OfferMsg { ext: ext.clone(), ..offer_msg(&it.owner, req, &body) });
        let shown = lab.take(other, "OFFER", |message| match message {
            Message::Offer(offer) => Some(offer.clone()),
            _ => None,
        })?;
        ensure(shown.offer.id() == it.owner.sign(&body).id(), "the owner's OFFER", format!("{shown:?}"))?;
        ensure(shown.ext == ext, "the extension with which it came", format!("{:?}", shown.ext))
    })
    .needs(KEEPS)
    .since(G),
    refused("service/tenure/of-another-store", &["SERVICE-TENURE-1"], E, works_at_all, |lab| {
        let mut it = brought(lab)?;
        it.tenure = Hash::new([9; 32]);
        it.delegate(lab)?;
        let req = it.renew(lab, it.link);
        lab.refuses(it.link, req, Code::STORE_ROLLED_BACK)
    })
    .needs(KEEPS)
    .since(G),
    refused("service/lease/not-before-it-ends", &["SERVICE-LEASE-1"], E, silent, |lab| {
        let mut it = custody(lab)?;
        it.answers(lab)?;
        let (target, other) = it.target(lab, G)?;
        lab.link_down(it.link);
        let want = it.want(lab, &target, None);
        send_want(lab, other, 51, &target, &want);
        lab.pass(LEASE - 2_000_000);
        lab.none(other, "CAS before the lease ended", |message| matches!(message, Message::Cas(_)))
    })
    .needs(KEEPS)
    .since(G),
    works("service/lease/silent-owner", &["SERVICE-LEASE-2"], E, silent).needs(KEEPS).since(G),
];

/// A session whose owner is linked with the subject, and brought it.
pub(super) struct Custody {
    pub(super) owner: Peer,
    pub(super) link: LinkId,
    third: Peer,
    members: Vec<Peer>,
    pub(super) book: Book,
    tenure: Hash,
    req: u32,
}

/// The subject keeps a session of which it isn't the grantor.
pub(super) fn brought(lab: &mut Lab) -> Done<Custody> {
    let peers: Vec<Peer> = (0..3).map(|_| Peer::new(&mut lab.rng)).collect();
    lab.setup.accept_unknown = true;
    lab.boot()?;
    lab.must(Command::HostCustody { lease_us: LEASE })?;
    let [owner, third, member] = <[Peer; 3]>::try_from(peers).map_err(|_| Fault::fail("three peers", "others"))?;
    let link = lab.connect(&owner)?;
    let mut book = Book::create(&owner, &[third.id, member.id], &mut lab.rng);
    book.write_exclusive(b"view 1");
    let mut it = Custody { owner, link, third, members: vec![member], book, tenure: Hash::ZERO, req: 40 };
    lab.send(link, it.book.whole());
    let record = it.book.chain[0].clone();
    let req = it.req();
    lab.send(link, Cas { req, record, want: None.into(), tenure: Hash::ZERO, ext: Exts::empty() });
    it.tenure = it.cas(lab, req)?.tenure;
    ensure(!it.tenure.is_zero(), "a tenure", "zero")?;
    Ok(it)
}

/// The subject is the grantor of a session whose owner is linked.
pub(super) fn custody(lab: &mut Lab) -> Done<Custody> {
    let mut it = brought(lab)?;
    it.delegate(lab)?;
    Ok(it)
}

/// The subject answers its owner: what must work beside every refusal.
fn works_at_all(lab: &mut Lab) -> Done {
    custody(lab)?.answers(lab)
}

/// An owner that had a lease is silent, and a member wants its session.
fn silent(lab: &mut Lab) -> Done {
    let mut it = custody(lab)?;
    it.answers(lab)?;
    let (target, other) = it.target(lab, G)?;
    lab.link_down(it.link);
    let want = it.want(lab, &target, None);
    send_want(lab, other, 51, &target, &want);
    lab.pass(LEASE + 1_000_000);
    let cas = take_cas(lab, other)?;
    let record = cas.record.open(Rules::ALL).map_err(|why| Fault::fail("a record", format!("{why:?}")))?;
    let right = record.kind == Kind::Takeover.number() && record.term == 1 && record.owner == target.id;
    let right = right && record.grantor == lab.id() && record.parent == it.book.head();
    let wants = cas.want.get().is_some_and(|it| it.id() == record.want && *it == target.sign(&want));
    ensure(right && wants, "a takeover for the one that wants it, with its WANT", format!("{record:?}"))
}

impl Custody {
    pub(super) fn req(&mut self) -> u32 {
        self.req += 1;
        self.req
    }

    /// The owner makes the subject the grantor.
    fn delegate(&mut self, lab: &mut Lab) -> Done {
        let record = self.owner.sign(&delegate(&self.book, &self.owner, lab.id(), self.tenure));
        let req = self.req();
        lab.send(
            self.link,
            Cas { req, record: record.clone(), want: None.into(), tenure: Hash::ZERO, ext: Exts::empty() },
        );
        self.cas(lab, req)?;
        self.book.chain.push(record);
        Ok(())
    }

    /// Takes the CAS that answers a request.
    fn cas(&self, lab: &mut Lab, req: u32) -> Done<Cas> {
        lab.take(self.link, &format!("CAS with req {req}"), |message| match message {
            Message::Cas(cas) if cas.req == req => Some(cas.clone()),
            _ => None,
        })
    }

    /// A device asks for a lease; the number of the request.
    fn renew(&mut self, lab: &mut Lab, link: LinkId) -> u32 {
        let (req, session, head) = (self.req(), self.book.id, self.book.head());
        lab.send(link, Renew { req, session, head, ttl: 60_000, ext: Exts::empty() });
        req
    }

    /// The owner is given a lease.
    pub(super) fn answers(&mut self, lab: &mut Lab) -> Done {
        let req = self.renew(lab, self.link);
        let ttl = lab.take(self.link, &format!("RENEW with req {req}"), |message| match message {
            Message::Renew(renew) if renew.req == req => Some(renew.ttl),
            _ => None,
        })?;
        ensure(u64::from(ttl) * 1_000 == LEASE, "the lease that the service gives", ttl)
    }

    /// A member links, at this generation.
    pub(super) fn target(&mut self, lab: &mut Lab, generation: Generation) -> Done<(Peer, LinkId)> {
        let mut peer = self.members.pop().ok_or_else(|| Fault::fail("a member", "none left"))?;
        peer.generation = generation.number();
        let link = lab.connect(&peer)?;
        Ok((peer, link))
    }

    /// The owner stops writing, for this device; its FINAL.
    fn freeze(&mut self, lab: &mut Lab, to: DeviceId) -> Final {
        let data = self.book.announce();
        let end = Final {
            session: self.book.id,
            parent: self.book.head(),
            root: data.root,
            exclusive: self.book.state.exclusive_root(),
            manifest: data.manifest,
            manifest_len: data.manifest_len,
        };
        let (req, end_signed) = (self.req(), self.owner.sign(&end));
        lab.send(self.link, Freeze { req, to, end: end_signed, ext: Exts::empty() });
        end
    }

    pub(super) fn want(&self, lab: &mut Lab, target: &Peer, have: Option<Held>) -> Want {
        target.want(&mut lab.rng, self.book.id, self.book.head(), have)
    }

    /// The owner asks for a record that names this grantor.
    pub(super) fn delegates(&mut self, lab: &mut Lab, grantor: DeviceId) -> Done<Record> {
        let (req, session, parent) = (self.req(), self.book.id, self.book.head());
        lab.send(self.link, DelegateMsg { req, session, parent, grantor, ext: Exts::empty() });
        let record = self.cas(lab, req)?.record;
        let record = record.prove(Rules::ALL, |record: &Record| record.signer);
        let record = record.map_err(|why| Fault::fail("a record that verifies", format!("{why:?}")))?.body().clone();
        let right = record.signer == lab.id() && record.parent == parent;
        ensure(right, "a record of the service behind the head", format!("{record:?}"))?;
        Ok(record)
    }
}

/// A delegate of the owner behind the last record.
fn delegate(book: &Book, owner: &Peer, service: DeviceId, tenure: Hash) -> Record {
    let want = book.last().map_or(Hash::ZERO, |last| last.want);
    let record = book.next(owner, owner.id);
    Record { kind: Kind::Delegate.number(), grantor: service, want, roster: tenure, ..record }
}

fn held(end: &Final) -> Held {
    Held { root: end.root, manifest: end.manifest }
}

pub(super) fn send_want(lab: &mut Lab, link: LinkId, req: u32, target: &Peer, want: &Want) {
    let want: Signed<Want> = target.sign(want);
    lab.send(link, WantMsg { req, want, ext: Exts::empty() });
}

fn take_grant(lab: &mut Lab, link: LinkId) -> Done<(segue_proto::wire::Grant, Record)> {
    let grant = crate::cases::scene::take_grant(lab, link)?;
    let record = grant.record.clone().prove(Rules::ALL, |record: &Record| record.signer);
    let record = record.map_err(|why| Fault::fail("a record that verifies", format!("{why:?}")))?;
    Ok((grant, record.body().clone()))
}

fn take_cas(lab: &mut Lab, link: LinkId) -> Done<Cas> {
    lab.take(link, "CAS", |message| match message {
        Message::Cas(cas) => Some(cas.clone()),
        _ => None,
    })
}
