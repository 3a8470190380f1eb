//! Cuts: what of a revoked device's strands stands, and what is set aside.

use segue_proto::Rules;
use segue_proto::data::{Part as DataPart, PartKind, actor_id};
use segue_proto::sync::{named, naming};
use segue_proto::wire::codec::decode;
use segue_proto::wire::{
    ActorId, Cut, CutTip, EntryKind, Exts, Hash, List, Message, Nonce, PartId, RosterEntry, Tip, Writer,
};
use segue_testkit::device::Command;

use super::revoke::last_of;
use super::scene::{Family, entry, links, links_another, take_entries};
use crate::cases::scene::{create, learn};
use crate::cases::sync::scene::{Fed, gather_all, since};
use crate::cases::{Case, Part, refused, works};
use crate::lab::{Done, Lab, ensure};
use crate::peer::Peer;
use crate::verdict::Fault;

const E: Part = Part::End;
const S: Part = Part::Source;
const ALL: &[&str] = &["create-account", "accept-link", "confirm-link", "revoke"];
const TAKES: &[&str] = &["create-account", "accept-link", "confirm-link", "revoke", "take-in"];

pub(super) const CASES: &[Case] = &[
    works("account/cut/names-what-is-held", &["ACCOUNT-CUT-1"], E, |lab| {
        let Scene { fed, second, .. } = written(lab, 3)?;
        lab.must(Command::Revoke { device: fed.peer.id })?;
        let (right, made) = (vec![diary_tip(&fed, 3)], revoke_of(&take_entries(lab, second)?, &fed));
        ensure(made == Some(right.clone()), &format!("a cut with {right:?}"), format!("{made:?}"))
    })
    .needs(ALL),
    works("account/cut/names-the-values", &["ACCOUNT-CUT-1"], E, |lab| {
        let Scene { fed, second, .. } = titled(lab)?;
        lab.must(Command::Revoke { device: fed.peer.id })?;
        let tip = fed.book.state.part(&fed.title()).and_then(|part| part.tip(&fed.book.actor()).cloned());
        let right = tip.map(|tip| vec![cut_tip(fed.title(), &tip)]);
        let made = revoke_of(&take_entries(lab, second)?, &fed);
        ensure(made == right, &format!("a cut with {right:?}"), format!("{made:?}"))
    })
    .needs(ALL),
    works("account/cut/ops-within-stand", &["ACCOUNT-CUT-2", "DATA-ASIDE-1"], E, |lab| {
        let Scene { mut fed, second, other, family } = written(lab, 1)?;
        // The other device had more of it, and says so.
        fed.write_diary(2);
        lab.send(second, revokes(&family, &other, &fed, vec![diary_tip(&fed, 3)]).whole());
        fed.link = second;
        send_from(lab, &fed, 1);
        fed.agrees(lab)
    })
    .needs(ALL),
    refused("account/cut/ops-of-a-third-device", &["DATA-ASIDE-1"], E, within, |lab| {
        let (fed, before, _) = passed_on(lab)?;
        stays(lab, &fed, before, 2)?;
        lab.alive(fed.link)
    })
    .needs(ALL),
    refused("account/cut/ops-of-an-unnamed-writer", &["DATA-ASIDE-1", "DATA-WRITER-1"], E, within, |lab| {
        let Scene { mut fed, second, .. } = written(lab, 1)?;
        lab.must(Command::Revoke { device: fed.peer.id })?;
        let before = fed.root(lab)?;
        fed.link = second;
        fed.book.write_as(ActorId::new([0x51; 32]));
        fed.write_diary(1);
        lab.send(fed.link, fed.strand(4, fed.book.actor(), 0));
        lab.send(fed.link, fed.strand(5, named_actor(&fed), 1));
        lab.send(fed.link, fed.ops(4, fed.book.actor(), 0, &[(named_actor(&fed), 5)]));
        stays(lab, &fed, before, 1)
    })
    .needs(ALL),
    works("account/cut/ops-that-a-member-read", &["DATA-ASIDE-1"], E, |lab| {
        let (mut fed, _, other) = passed_on(lab)?;
        // A member's op names them as read: whoever wrote it had taken them in.
        let (first, other) = (fed.book.actor(), Writer { device: other.id, nonce: OTHERS });
        fed.book.write_as(actor_id(&other.device, &other.nonce));
        fed.write_diary(1);
        let own = fed.book.actor();
        let strand = segue_proto::wire::Strand { ext: naming(vec![other]), ..fed.strand(7, own, 0) };
        lab.send(fed.link, strand);
        lab.send(fed.link, fed.ops(7, own, 0, &[(first, 1)]));
        fed.agrees(lab)?;
        is_aside(lab, &fed, 0)
    })
    .needs(ALL),
    refused("account/cut/value-past-it", &["DATA-ASIDE-2"], E, value_within, |lab| {
        let Scene { mut fed, second, .. } = titled(lab)?;
        lab.must(Command::Revoke { device: fed.peer.id })?;
        let before = fed.root(lab)?;
        fed.write_title(b"past the cut");
        fed.link = second;
        fed.send_parts(lab, &[fed.title()]);
        stays(lab, &fed, before, 1)
    })
    .needs(ALL),
    works("account/cut/value-beside-one-past-it", &["DATA-ASIDE-2"], E, |lab| {
        let Scene { mut fed, second, other, .. } = titled(lab)?;
        lab.must(Command::Revoke { device: fed.peer.id })?;
        // A value of a member, which had not read the one past the cut, is in the same copy.
        let mut right = fed.book.clone();
        let writer = Writer { device: other.id, nonce: OTHERS };
        right.write_as(actor_id(&writer.device, &writer.nonce));
        right.put(fed.title(), PartKind::Register, b"of a member".to_vec());
        fed.write_title(b"past the cut");
        let copy = right.state.part(&fed.title()).cloned();
        let merged = copy.map_or(Ok(false), |copy| fed.book.state.merge(Rules::ALL, &copy));
        merged.map_err(|why| Fault::fail("copies that merge", format!("{why:?}")))?;
        fed.link = second;
        let both = fed.book.state.part(&fed.title()).cloned().into_iter().collect::<Vec<_>>();
        let copies =
            both.iter().filter_map(|part| segue_proto::wire::Blob::new(segue_proto::wire::codec::encode(part)));
        let parts = List::new(copies.collect()).unwrap_or_default();
        lab.send(fed.link, segue_proto::wire::Parts { session: fed.session(), parts, ext: naming(vec![writer]) });
        fed.book = right;
        fed.agrees(lab)?;
        is_aside(lab, &fed, 1)
    })
    .needs(ALL),
    refused("account/cut/of-two-who-revoked", &["ACCOUNT-CUT-2"], E, within, |lab| {
        let Scene { fed, second, other, family } = written(lab, 3)?;
        lab.must(Command::Revoke { device: fed.peer.id })?;
        // The other one revoked it too, without knowing, and had less of it.
        lab.send(second, revokes(&family, &other, &fed, vec![diary_tip(&fed, 1)]).whole());
        is_aside(lab, &fed, 2)
    })
    .needs(ALL),
    works("account/cut/kept-over-a-restart", &["DATA-ASIDE-3"], E, |lab| {
        let (fed, before, _) = passed_on(lab)?;
        lab.reboot()?;
        stays(lab, &fed, before, 2)
    })
    .needs(ALL),
    works("account/cut/taken-in", &["DATA-ASIDE-3"], E, |lab| {
        let (fed, ..) = passed_on(lab)?;
        let (session, part, actor) = (fed.session(), fed.diary(), fed.book.actor());
        lab.must(Command::TakeIn { session, part, actor })?;
        is_aside(lab, &fed, 0)?;
        let (state, _) = gather_all(lab, fed.link, session)?;
        let stream = state.stream(&part);
        let vouched = stream.is_some_and(|stream| {
            let own = stream.tips().into_iter().find(|tip| tip.actor != actor);
            let op = own.and_then(|tip| stream.op(&tip.actor, tip.seq).map(|op| op.to_op()));
            stream.seq(&actor) == 5 && op.is_some_and(|op| op.deps == [(actor, 5)])
        });
        ensure(vouched, "the ops, and an op of the subject's that read them", "others")
    })
    .needs(TAKES),
    works("account/cut/writers-are-named", &["DATA-WRITER-1"], S, |lab| {
        let fed = crate::cases::sync::scene::fed(lab)?;
        since(lab, fed.link, fed.session(), Nonce::ZERO, 0);
        let session = fed.session();
        let (parts, writers) = lab.take(fed.link, "a PARTS", |message| match message {
            Message::Parts(parts) if parts.session == session => Some((parts.parts.clone(), writers_of(&parts.ext))),
            _ => None,
        })?;
        let copies = parts.iter().filter_map(|bytes| decode::<DataPart>(Rules::ALL, bytes).ok());
        let mut actors = copies.flat_map(|part| part.values.into_vec()).map(|value| value.op.actor);
        let named = |actor: &ActorId| {
            writers.iter().any(|it| it.device == lab.id() && actor_id(&it.device, &it.nonce) == *actor)
        };
        let right = actors.all(|actor| named(&actor)) && !writers.is_empty();
        ensure(right, "a PARTS that names its writer", format!("{writers:?}"))
    }),
];

/// The nonces of the revoked device and of another as writers.
const OWN: Nonce = Nonce::new([0x61; 16]);
const OTHERS: Nonce = Nonce::new([0x62; 16]);

/// A session of the subject's into which a device of its account has written; another device is linked too.
struct Scene {
    fed: Fed,
    second: segue_proto::LinkId,
    other: Peer,
    family: Family,
}

fn shared(lab: &mut Lab) -> Done<Scene> {
    let (peer, link, family) = links(lab)?;
    let (other, second, entries) = links_another(lab, family.account)?;
    let session = create(lab, &peer)?;
    lab.must(Command::WriteExclusive { session, bytes: b"cursor 1".to_vec() })?;
    let (mut book, _, manifest) = learn(lab, link, session)?;
    book.hold(&manifest);
    book.write_as(actor_id(&peer.id, &OWN));
    let family = Family { account: family.account, entries };
    Ok(Scene { fed: Fed { peer, link, book, own: None }, second, other, family })
}

/// It wrote so many entries of the log.
fn written(lab: &mut Lab, count: u8) -> Done<Scene> {
    let mut scene = shared(lab)?;
    scene.fed.write_diary(count);
    send_from(lab, &scene.fed, 0);
    scene.fed.agrees(lab)?;
    Ok(scene)
}

/// It wrote the register.
fn titled(lab: &mut Lab) -> Done<Scene> {
    let mut scene = shared(lab)?;
    scene.fed.write_title(b"a title");
    send_title(lab, &scene.fed);
    scene.fed.agrees(lab)?;
    Ok(scene)
}

fn send_title(lab: &mut Lab, fed: &Fed) {
    let copy = fed.book.state.part(&fed.title()).into_iter();
    let copy = copy.filter_map(|part| segue_proto::wire::Blob::new(segue_proto::wire::codec::encode(part))).collect();
    let parts = List::new(copy).unwrap_or_default();
    lab.send(fed.link, segue_proto::wire::Parts { session: fed.session(), parts, ext: naming(vec![writer(fed)]) });
}

fn writer(fed: &Fed) -> Writer {
    Writer { device: fed.peer.id, nonce: OWN }
}

fn named_actor(fed: &Fed) -> ActorId {
    actor_id(&fed.peer.id, &OWN)
}

/// The revoked device's entries behind `after`, with its name.
fn send_from(lab: &mut Lab, fed: &Fed, after: u64) {
    let actor = named_actor(fed);
    let strand = segue_proto::wire::Strand { ext: naming(vec![writer(fed)]), ..fed.strand(1, actor, after) };
    lab.send(fed.link, strand);
    lab.send(fed.link, fed.ops(1, actor, after, &[]));
}

/// The subject revokes the device when it has three of its entries; a third device passes on two more. The root before.
fn passed_on(lab: &mut Lab) -> Done<(Fed, Hash, Peer)> {
    let Scene { mut fed, second, other, .. } = written(lab, 3)?;
    lab.must(Command::Revoke { device: fed.peer.id })?;
    let before = fed.root(lab)?;
    fed.write_diary(2);
    fed.link = second;
    send_from(lab, &fed, 3);
    Ok((fed, before, other))
}

/// The twin: what a device that isn't revoked wrote comes by a third device, and is taken in.
fn within(lab: &mut Lab) -> Done {
    let Scene { mut fed, second, .. } = written(lab, 3)?;
    fed.write_diary(2);
    fed.link = second;
    send_from(lab, &fed, 3);
    fed.agrees(lab)?;
    is_aside(lab, &fed, 0)
}

fn value_within(lab: &mut Lab) -> Done {
    let Scene { mut fed, second, .. } = titled(lab)?;
    fed.write_title(b"another");
    fed.link = second;
    fed.send_parts(lab, &[fed.title()]);
    fed.agrees(lab)?;
    is_aside(lab, &fed, 0)
}

/// The subject's data is as it was, and it shows what it set aside.
fn stays(lab: &mut Lab, fed: &Fed, before: Hash, aside: u64) -> Done {
    let root = fed.root(lab)?;
    ensure(root == before, "data as it was", format!("another root, {root:?}"))?;
    is_aside(lab, fed, aside)
}

fn is_aside(lab: &mut Lab, fed: &Fed, aside: u64) -> Done {
    let found = lab.known(fed.session())?.aside;
    ensure(found == Some(aside), &format!("{aside} set aside"), format!("{found:?}"))
}

fn cut_tip(part: PartId, tip: &Tip) -> CutTip {
    CutTip { part, actor: tip.actor, seq: tip.seq, hash: tip.hash }
}

/// The end of the revoked device's strand of the log after so many entries.
fn diary_tip(fed: &Fed, seq: u64) -> CutTip {
    let actor = named_actor(fed);
    let stream = fed.book.state.stream(&fed.diary());
    let hash = stream.and_then(|stream| stream.hash(&actor, seq)).unwrap_or(Hash::ZERO);
    CutTip { part: fed.diary(), actor, seq, hash }
}

/// The tips of the revoke of the scene's device among these entries.
fn revoke_of(entries: &[RosterEntry], fed: &Fed) -> Option<Vec<CutTip>> {
    let revoke = |entry: &&RosterEntry| entry.kind == EntryKind::Revoke.number() && entry.device == fed.peer.id;
    entries.iter().find(revoke)?.cut.get().map(|cut| cut.tips.to_vec())
}

/// The family with a revoke of the scene's device by another, which doesn't know of the subject's.
fn revokes(family: &Family, by: &Peer, fed: &Fed, tips: Vec<CutTip>) -> Family {
    let mut family = family.clone();
    let mut body = entry(EntryKind::Revoke, family.account, &[last_of(&family)], by, fed.peer.id);
    body.cut = Some(Cut { tips: List::new(tips).unwrap_or_default(), heads: List::empty() }).into();
    family.entries.push(by.sign(&body));
    family
}

fn writers_of(ext: &Exts) -> Vec<Writer> {
    named(Rules::ALL, ext).unwrap_or_default()
}
