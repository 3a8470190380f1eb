//! Sessions whose members are of several generations: each link goes by its own pair, at the same time.

use segue_proto::limits::CHUNK;
use segue_proto::wire::hash::blob_id;
use segue_proto::wire::{Decline, Exts, Get, Hash, List, Message, Range, Ranges};
use segue_proto::{Code, Generation, LinkId, SessionRole};
use segue_testkit::device::{Command, Reply};

use crate::cases::scene::{Owning, TIMEOUT, alone, learn, owning};
use crate::cases::{Case, Part, refused, works};
use crate::lab::{Done, Lab, ensure};
use crate::peer::Peer;
use crate::verdict::Fault;

const S: Part = Part::Source;
const V1_7: Generation = Generation::V1_7;
const V2: Generation = Generation::V2;
const TRUSTS: &[&str] = &["trust"];

pub(in crate::cases) const CASES: &[Case] = &[
    works("generations/members/each-link-runs-at-its-own", &["GEN-PICK-1"], S, |lab| {
        let own = owning(lab)?;
        for generation in Generation::ALL {
            let (peer, _) = member(lab, generation)?;
            let (ready, lower) = (lab.ready(peer.id)?, generation.min(lab.generation));
            ensure(ready == lower, &format!("a link of {lower}"), ready)?;
        }
        // The first is as good as it was.
        own.granted(lab).map(|_| ())
    })
    .needs(TRUSTS),
    works("generations/members/all-learn-of-a-grant-to-1.4", &["HO-HEAD-6", "GEN-PAIR-1"], S, |lab| all_learn(lab, 0))
        .needs(TRUSTS),
    works("generations/members/all-learn-of-a-grant-to-7", &["HO-HEAD-6", "GEN-MEMBERS-2"], S, |lab| {
        all_learn(lab, Generation::ALL.len() - 1)
    })
    .needs(TRUSTS),
    works(
        "generations/members/offer-to-one-and-hint-to-another",
        &["GEN-MEMBERS-1", "GEN-PAIR-13", "HO-OFFER-3"],
        S,
        |lab| {
            let own = owning(lab)?;
            let (peer, link) = member(lab, Generation::V1_4)?;
            lab.must(Command::Initiate { session: own.session, to: own.peer.id, timeout_us: TIMEOUT })?;
            let offer = lab.take(own.link, "OFFER", |message| match message {
                Message::Offer(offer) => Some(offer.offer.id()),
                _ => None,
            })?;
            lab.must(Command::Initiate { session: own.session, to: peer.id, timeout_us: TIMEOUT })?;
            lab.take(link, "a HAVE that announces data", |message| match message {
                Message::Have(have) if have.data.get().is_some() => Some(()),
                _ => None,
            })?;
            lab.none(link, "OFFER on a link of 1.4", |message| matches!(message, Message::Offer(_)))?;
            lab.take(own.link, "a CANCEL of the first offer", |message| match message {
                Message::Cancel(cancel) if cancel.subject == offer => Some(()),
                _ => None,
            })
        },
    )
    .since(V1_7)
    .needs(TRUSTS),
    works("generations/members/an-offer-beside-a-member-of-1.4", &["GEN-MEMBERS-1", "HO-OFFER-1"], S, |lab| {
        let own = owning(lab)?;
        member(lab, Generation::V1_4)?;
        lab.must(Command::Initiate { session: own.session, to: own.peer.id, timeout_us: TIMEOUT })?;
        lab.take(own.link, "OFFER", |message| matches!(message, Message::Offer(_)).then_some(()))
    })
    .since(V1_7)
    .needs(TRUSTS),
    refused("generations/members/decline-on-1.4-beside-1.7", &["GEN-USE-1", "GEN-MEMBERS-3"], S, declines, |lab| {
        let own = owning(lab)?;
        let (_, link) = member(lab, Generation::V1_4)?;
        lab.send(link, decline(&own));
        lab.ends_with(link, Code::VER_NOT_PERMITTED)?;
        // It costs the other member nothing.
        lab.alive(own.link)?;
        own.granted(lab).map(|_| ())
    })
    .since(V1_7)
    .needs(TRUSTS),
    refused("generations/members/ranges-on-1.7-beside-2", &["GEN-USE-1", "GEN-MEMBERS-3"], S, ranges, |lab| {
        let (own, content) = with_file(lab)?;
        let (_, link) = member(lab, V1_7)?;
        lab.send(link, ask(&own, &content));
        lab.ends_with(link, Code::VER_NOT_PERMITTED)?;
        lab.alive(own.link)?;
        lab.send(own.link, ask(&own, &content));
        lab.stream(own.link, "a bulk stream with the range").map(|_| ())
    })
    .since(V2)
    .needs(TRUSTS),
    works("generations/members/whole-to-one-and-ranges-to-another", &["GEN-USE-1", "TRANSFER-SERVE-3"], S, |lab| {
        let (own, content) = with_file(lab)?;
        let (_, link) = member(lab, Generation::V1_4)?;
        let (blob, len) = (blob_id(&content), content.len() as u64);
        lab.send(link, Get { req: 71, session: own.session, blob, len, ext: Exts::empty() });
        lab.send(own.link, ask(&own, &content));
        let (_, whole) = lab.stream(link, "a bulk stream with the whole")?;
        let (_, range) = lab.stream(own.link, "a bulk stream with the range")?;
        ensure(whole == content && range == content[..CHUNK], "the bytes asked for on each link", "others")
    })
    .since(V2)
    .needs(TRUSTS),
];

/// A further device of this generation that the subject trusts, linked.
fn member(lab: &mut Lab, generation: Generation) -> Done<(Peer, LinkId)> {
    let mut peer = Peer::new(&mut lab.rng);
    peer.generation = generation.number();
    lab.must(Command::Trust { device: peer.id })?;
    let link = lab.connect(&peer)?;
    Ok((peer, link))
}

/// A member is granted to, and those of all other generations learn of it.
fn all_learn(lab: &mut Lab, target: usize) -> Done {
    let (own, others) = session_of_all(lab, target)?;
    let grant = own.granted(lab)?;
    others.iter().for_each(|link| lab.skip(*link));
    own.acknowledge(lab, &grant);
    for link in others {
        lab.take(link, "a HEAD with the new record", |message| match message {
            Message::Head(head) if head.records.iter().any(|it| it.id() == grant.record.id()) => Some(()),
            _ => None,
        })?;
    }
    lab.is(own.session, SessionRole::Secondary)
}

/// A session that the subject owns, with a linked member of each generation. One of them knows all there is.
fn session_of_all(lab: &mut Lab, target: usize) -> Done<(Owning, Vec<LinkId>)> {
    let first = alone(lab)?;
    let mut peers = vec![first];
    for _ in 1..Generation::ALL.len() {
        let peer = Peer::new(&mut lab.rng);
        lab.must(Command::Trust { device: peer.id })?;
        peers.push(peer);
    }
    let members = peers.iter().map(|peer| peer.id).collect();
    let Reply::Session(session) = lab.must(Command::Create { name: "notes".into(), members })? else {
        return Err(Fault::fail("the id of the session being created", "another answer"));
    };
    lab.must(Command::WriteExclusive { session, bytes: b"cursor 1".to_vec() })?;
    let mut links = Vec::new();
    for (peer, generation) in peers.iter_mut().zip(Generation::ALL) {
        peer.generation = generation.number();
        links.push(lab.connect(peer)?);
    }
    let (peer, link) = (peers.swap_remove(target), links.remove(target));
    let (book, data, manifest) = learn(lab, link, session)?;
    Ok((Owning { peer, link, session, book, data, manifest }, links))
}

/// The subject owns a session with a file of three chunks and a bit, which the peer may ask for.
fn with_file(lab: &mut Lab) -> Done<(Owning, Vec<u8>)> {
    let own = owning(lab)?;
    let content = lab.rng.bytes(3 * CHUNK + 1);
    lab.must(Command::WriteFile { session: own.session, path: "film".into(), content: content.clone() })?;
    Ok((own, content))
}

/// A request for the first chunk.
fn ask(own: &Owning, content: &[u8]) -> Ranges {
    let ranges = List::new(vec![Range { offset: 0, len: CHUNK as u64 }]).unwrap_or_default();
    let (blob, len) = (blob_id(content), content.len() as u64);
    Ranges { req: 72, session: own.session, blob, len, ranges, ext: Exts::empty() }
}

/// Two members, one of 1.4: the other's link carries RANGES.
fn ranges(lab: &mut Lab) -> Done {
    let (own, content) = with_file(lab)?;
    member(lab, Generation::V1_4)?;
    lab.send(own.link, ask(&own, &content));
    lab.stream(own.link, "a bulk stream with the range").map(|_| ())
}

/// A DECLINE of nothing, which changes nothing.
fn decline(own: &Owning) -> Decline {
    let (session, subject) = (own.session, Hash::new([9; 32]));
    Decline { session, subject, code: Code::HO_DECLINED.into(), ext: Exts::empty() }
}

/// Two members, one of 1.4: the other's link carries DECLINE.
fn declines(lab: &mut Lab) -> Done {
    let own = owning(lab)?;
    member(lab, Generation::V1_4)?;
    lab.send(own.link, decline(&own));
    lab.alive(own.link)
}
