//! The subject stands by: it gets what an owner has, and says nothing of it.

use segue_proto::limits::{CHUNK, STANDBY_PAUSE};
use segue_proto::wire::hash::blob_id;
use segue_proto::wire::{Have, Message};
use segue_proto::{Event, Generation, LinkId};
use segue_testkit::device::Command;

use crate::cases::scene::{asked, linked, serve_all, take_request};
use crate::cases::{Case, Part, works};
use crate::lab::{Done, Lab, ensure};
use crate::peer::{Book, Peer, offer, offer_msg};

const T: Part = Part::Target;
const V2: Generation = Generation::V2;

pub(super) const CASES: &[Case] = &[
    works("handoff/standby/fetches-and-says-nothing", &["HO-STANDBY-1", "HO-STANDBY-2"], T, |lab| {
        let scene = standing_by(lab, PLENTY)?;
        let bytes = scene.stood_by(lab)?;
        ensure(bytes >= scene.content.len() as u64, "an event with the bytes that were asked for", bytes)?;
        scene.says_nothing(lab)
    })
    .since(V2)
    .needs(STAND_BY),
    works("handoff/standby/an-offer-is-put-to-the-user", &["HO-STANDBY-2", "HO-OFFER-5"], T, |lab| {
        let mut scene = standing_by(lab, PLENTY)?;
        scene.stood_by(lab)?;
        let data = scene.book.announce();
        let body = offer(&scene.peer, &scene.book, lab.id(), &data, &mut lab.rng);
        lab.send(scene.link, offer_msg(&scene.peer, 71, &body));
        let token = asked(lab, scene.book.id)?;
        scene.says_nothing(lab)?;
        lab.must(Command::Accept { token })?;
        // Nothing of the content is asked for again.
        let blob = blob_id(&scene.content);
        while let Ok(asked) = take_request(lab, scene.link) {
            ensure(asked.blob != blob, "no request for content that is held", format!("{:?}", asked.blob))?;
            for range in &asked.ranges {
                let stream = crate::cases::scene::slice(&scene.book, &asked, range);
                stream.into_iter().for_each(|stream| lab.send_bulk(scene.link, stream));
            }
        }
        crate::cases::scene::take_want(lab, scene.link).map(|_| ())
    })
    .since(V2)
    .needs(STAND_BY),
    works("handoff/standby/no-more-than-its-limit", &["HO-STANDBY-1"], T, |lab| {
        let scene = standing_by(lab, CHUNK as u64)?;
        let blob = blob_id(&scene.content);
        while let Ok(asked) = take_request(lab, scene.link) {
            ensure(asked.blob != blob, "no request for more than the limit", format!("{:?}", asked.ranges))?;
            for range in &asked.ranges {
                let stream = crate::cases::scene::slice(&scene.book, &asked, range);
                stream.into_iter().for_each(|stream| lab.send_bulk(scene.link, stream));
            }
        }
        let ended = |event: &Event| match event {
            Event::StoodBy { bytes, ended: true, .. } => Some(*bytes),
            _ => None,
        };
        let bytes = lab.event("the event stood-by that says that it has ended", ended)?;
        ensure(bytes <= CHUNK as u64, "no more bytes than the limit", bytes)?;
        lab.pass(3 * STANDBY_PAUSE);
        lab.none(scene.link, "HAVE that asks once more", |message| asks(message).is_some())
    })
    .since(V2)
    .needs(STAND_BY),
    works("handoff/standby/off-by-default", &["HO-STANDBY-1", "HO-HAVE-2"], T, |lab| {
        let scene = told(lab)?;
        let mut book = scene.book.clone();
        let data = book.announce();
        lab.send(scene.link, book.have(Some(data)));
        ensure(take_request(lab, scene.link).is_err(), "no request for what nobody wants", "one")
    })
    .since(V2),
    works("handoff/standby/asks-again-after-a-pause", &["HO-STANDBY-1"], T, |lab| {
        let mut scene = standing_by(lab, PLENTY)?;
        scene.stood_by(lab)?;
        lab.skip(scene.link);
        scene.book.write_file("later", b"written later");
        lab.none(scene.link, "HAVE that asks before the pause is over", |message| asks(message).is_some())?;
        lab.pass(STANDBY_PAUSE);
        lab.take(scene.link, "a HAVE that asks", asks)?;
        let data = scene.book.announce();
        lab.send(scene.link, scene.book.have(Some(data)));
        let next = take_request(lab, scene.link)?;
        ensure(next.blob != blob_id(&scene.content), "a request for what is new", format!("{:?}", next.blob))
    })
    .since(V2)
    .needs(STAND_BY),
];

const STAND_BY: &[&str] = &["stand-by"];

/// More than the session has.
const PLENTY: u64 = 1 << 24;

/// A linked peer owns a session, of which the subject knows the chain alone.
struct Scene {
    peer: Peer,
    link: LinkId,
    book: Book,
    content: Vec<u8>,
}

fn told(lab: &mut Lab) -> Done<Scene> {
    let (peer, link) = linked(lab)?;
    let members = [lab.id()];
    let mut book = Book::create(&peer, &members, &mut lab.rng);
    let content = lab.rng.bytes(3 * CHUNK + 1);
    book.write_file("film", &content);
    lab.send(link, book.whole());
    lab.skip(link);
    Ok(Scene { peer, link, book, content })
}

fn standing_by(lab: &mut Lab, limit: u64) -> Done<Scene> {
    let mut scene = told(lab)?;
    lab.must(Command::StandBy { session: scene.book.id, limit })?;
    lab.take(scene.link, "a HAVE that asks", asks)?;
    let data = scene.book.announce();
    lab.send(scene.link, scene.book.have(Some(data)));
    Ok(scene)
}

fn asks(message: &Message) -> Option<Have> {
    match message {
        Message::Have(have) if have.req != 0 => Some(have.clone()),
        _ => None,
    }
}

impl Scene {
    /// Everything is served; the subject holds it. The bytes that it asked for.
    fn stood_by(&self, lab: &mut Lab) -> Done<u64> {
        serve_all(lab, self.link, &self.book)?;
        lab.event("the event stood-by", |event| match event {
            Event::StoodBy { bytes, ended: false, .. } => Some(*bytes),
            _ => None,
        })
    }

    fn says_nothing(&self, lab: &mut Lab) -> Done {
        lab.none(self.link, "WANT that no user wishes", |message| matches!(message, Message::Want(_)))
    }
}
