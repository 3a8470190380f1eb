//! Chapter generations: which one a link runs at, and what it may carry then.

mod members;

use segue_proto::wire::{Decline, Exts, Hash, Hello, List, Message, PartId, Range, Ranges, WantMode};
use segue_proto::{Code, Generation, Role};
use segue_testkit::device::Command;

use super::scene::{TIMEOUT, alone, owning, take_grant, wanting};
use super::{Case, Part, refused, works};
use crate::lab::{Done, Lab, ensure};

const E: Part = Part::End;
const S: Part = Part::Source;
const T: Part = Part::Target;

pub(super) use members::CASES as MEMBERS;

pub(super) const CASES: &[Case] = &[
    works("generations/pick/with-1.4", &["GEN-PICK-1"], E, |lab| picks(lab, Generation::V1_4)),
    works("generations/pick/with-1.7", &["GEN-PICK-1"], E, |lab| picks(lab, Generation::V1_7)),
    works("generations/pick/with-2", &["GEN-PICK-1"], E, |lab| picks(lab, Generation::V2)),
    works("generations/pick/with-7", &["GEN-PICK-1"], E, |lab| picks(lab, Generation::V7)),
    works("generations/pick/with-a-later-one", &["GEN-PICK-1", "LINK-HELLO-2"], E, |lab| {
        let mut peer = alone(lab)?;
        peer.generation = 5;
        lab.connect(&peer)?;
        let (ready, own) = (lab.ready(peer.id)?, lab.generation);
        ensure(ready == own, &format!("a link of {own}"), ready)
    }),
    refused(
        "generations/floor/of-the-peer",
        &["GEN-FLOOR-1"],
        E,
        |lab| floors(lab, 0),
        |lab| {
            let mut peer = alone(lab)?;
            peer.floor = 4;
            let link = lab.link_up(Role::Responder, None);
            lab.prove(link)?;
            said(lab, &peer, link);
            lab.ends_with(link, Code::VER_BELOW_FLOOR)
        },
    )
    .until(Generation::V2),
    refused(
        "generations/floor/of-the-subject",
        &["GEN-FLOOR-1"],
        E,
        |lab| floors(lab, 0),
        |lab| {
            lab.setup.floor = lab.generation;
            let mut peer = alone(lab)?;
            peer.generation = lab.generation.number() - 1;
            let link = lab.link_up(Role::Responder, None);
            lab.prove(link)?;
            said(lab, &peer, link);
            lab.ends_with(link, Code::VER_BELOW_FLOOR)
        },
    )
    .since(Generation::V1_7),
    works("generations/floor/durable", &["GEN-ROLLBACK-1"], E, |lab| {
        lab.setup.floor = lab.generation;
        alone(lab)?;
        let set = lab.generation.number();
        lab.sync();
        lab.setup.floor = Generation::V1_4;
        lab.reboot()?;
        let hello = hello(lab)?;
        ensure(hello.floor == set, "the floor as it was set", hello.floor)
    })
    .since(Generation::V1_7),
    works("generations/floor/rises", &["GEN-ROLLBACK-1"], E, |lab| {
        alone(lab)?;
        lab.setup.floor = lab.generation;
        lab.reboot()?;
        let (hello, set) = (hello(lab)?, lab.generation.number());
        ensure(hello.floor == set, "the higher floor", hello.floor)
    }),
    refused(
        "generations/use/decline-on-1.4",
        &["GEN-USE-1"],
        E,
        |lab| declines(lab, Generation::V1_7, false),
        |lab| declines(lab, Generation::V1_4, true),
    )
    .since(Generation::V1_7),
    refused(
        "generations/use/decline-by-1.4",
        &["GEN-USE-1"],
        E,
        |lab| picks(lab, Generation::V7),
        |lab| declines(lab, Generation::V7, true),
    )
    .until(Generation::V1_4),
    refused(
        "generations/use/ranges-on-1.7",
        &["GEN-USE-1"],
        E,
        |lab| ranges(lab, Generation::V2, false),
        |lab| ranges(lab, Generation::V1_7, true),
    )
    .since(Generation::V2),
    refused(
        "generations/use/standing-want-on-1.7",
        &["GEN-USE-1"],
        S,
        |lab| pulls(lab, None),
        |lab| {
            let mut own = owning(lab)?;
            lab.link_down(own.link);
            own.peer.generation = Generation::V1_7.number().min(lab.generation.number());
            own.link = lab.connect(&own.peer)?;
            let mut want = own.want(lab);
            want.mode = WantMode::Standing.number();
            own.send_want(lab, 42, &want);
            lab.refuses(own.link, 42, Code::VER_NOT_PERMITTED)
        },
    ),
    works("generations/use/need-and-pick-are-wishes", &["GEN-USE-2"], S, |lab| pulls(lab, Some(PartId::new([5; 16])))),
    works("generations/use/want-without-pick-below-7", &["GEN-USE-2"], T, |lab| {
        let scene = wanting(lab)?;
        let empty = scene.want.need.is_empty() && scene.want.pick.is_empty();
        ensure(empty, "need and pick empty", format!("{:?}", scene.want))
    })
    .until(Generation::V2),
    works("generations/use/no-offer-on-1.4", &["GEN-USE-1", "GEN-PAIR-13"], S, |lab| {
        let mut own = owning(lab)?;
        lab.link_down(own.link);
        own.peer.generation = 1;
        own.link = lab.connect(&own.peer)?;
        lab.must(Command::Initiate { session: own.session, to: own.peer.id, timeout_us: TIMEOUT })?;
        lab.take(own.link, "a HAVE that announces data", |message| match message {
            Message::Have(have) if have.data.get().is_some() => Some(()),
            _ => None,
        })?;
        lab.none(own.link, "OFFER on a link of 1.4", |message| matches!(message, Message::Offer(_)))?;
        own.granted(lab).map(|_| ())
    }),
    works("generations/use/gets-whole-blobs-below-2", &["GEN-USE-1", "GEN-PAIR-10"], T, |lab| {
        let mut peer = alone(lab)?;
        peer.generation = 2;
        let link = lab.connect(&peer)?;
        let book = super::scene::session_of(lab, &peer);
        let scene = super::scene::pull(lab, peer, link, book)?;
        lab.none(scene.link, "RANGES", |message| matches!(message, Message::Ranges(_)))?;
        scene.succeeds(lab)
    }),
];

fn picks(lab: &mut Lab, with: Generation) -> Done {
    let mut peer = alone(lab)?;
    peer.generation = with.number();
    let link = lab.connect(&peer)?;
    let (ready, lower) = (lab.ready(peer.id)?, with.min(lab.generation));
    ensure(ready == lower, &format!("a link of {lower}"), ready)?;
    lab.alive(link)
}

/// Both floors are just met.
fn floors(lab: &mut Lab, below: u8) -> Done {
    lab.setup.floor = lab.generation;
    let mut peer = alone(lab)?;
    peer.generation = lab.generation.number() - below;
    peer.floor = lab.generation.number();
    let link = lab.connect(&peer)?;
    lab.alive(link)
}

fn said(lab: &mut Lab, peer: &crate::peer::Peer, link: segue_proto::LinkId) {
    let (binding, role) = lab.channel(link);
    let hello = peer.hello();
    let auth = peer.auth(crate::lab::opposite(role), &hello, &binding);
    lab.send(link, hello);
    lab.send(link, auth);
}

fn hello(lab: &mut Lab) -> Done<Hello> {
    let link = lab.link_up(Role::Responder, None);
    lab.take(link, "HELLO", |message| match message {
        Message::Hello(hello) => Some(hello.clone()),
        _ => None,
    })
}

/// A DECLINE of nothing on a link with a peer of this generation.
fn declines(lab: &mut Lab, with: Generation, refused: bool) -> Done {
    let mut peer = alone(lab)?;
    peer.generation = with.number();
    let link = lab.connect(&peer)?;
    let session = segue_proto::wire::SessionId::new([3; 16]);
    let code = Code::HO_DECLINED.into();
    lab.send(link, Decline { session, subject: Hash::new([4; 32]), code, ext: Exts::empty() });
    if refused { lab.ends_with(link, Code::VER_NOT_PERMITTED) } else { lab.alive(link) }
}

fn ranges(lab: &mut Lab, with: Generation, refused: bool) -> Done {
    let mut own = owning(lab)?;
    lab.link_down(own.link);
    own.peer.generation = with.number();
    own.link = lab.connect(&own.peer)?;
    let len = u64::from(own.data.manifest_len);
    let ranges = List::new(vec![Range { offset: 0, len }]).unwrap_or_default();
    lab.send(
        own.link,
        Ranges { req: 51, session: own.session, blob: own.data.manifest, len, ranges, ext: Exts::empty() },
    );
    if refused {
        return lab.ends_with(own.link, Code::VER_NOT_PERMITTED);
    }
    lab.stream(own.link, "a bulk stream").map(|_| ())
}

fn pulls(lab: &mut Lab, pick: Option<PartId>) -> Done {
    let own = owning(lab)?;
    let mut want = own.want(lab);
    let parts: Vec<PartId> = pick.into_iter().collect();
    want.need = List::new(parts.clone()).unwrap_or_default();
    want.pick = List::new(parts).unwrap_or_default();
    own.send_want(lab, 42, &want);
    take_grant(lab, own.link).map(|_| ())
}
