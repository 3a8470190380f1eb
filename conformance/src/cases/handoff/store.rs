//! The subject's store: restored, failed.

use segue_proto::wire::Message;
use segue_proto::{Code, Event, SessionRole};
use segue_testkit::device::Command;

use crate::cases::scene::{TIMEOUT, ask, linked, owning, pull, take_head, wanting};
use crate::cases::{Case, Part, refused, works};
use crate::lab::{Done, Lab, ensure};

const S: Part = Part::Source;
const T: Part = Part::Target;

pub(super) const CASES: &[Case] = &[
    works("handoff/store/proven-owns-after-a-restart", &["HO-STORE-1", "HO-HEAD-1"], S, proven),
    refused("handoff/store/unproven-owns-nothing", &["HO-STORE-1"], S, proven, |lab| {
        let own = unproven(lab)?;
        lab.is(own.session, SessionRole::RolledBack)?;
        lab.must_not(Command::WriteExclusive { session: own.session, bytes: b"late".to_vec() })
    }),
    refused("handoff/store/unproven-grants-nothing", &["HO-STORE-1", "HO-WANT-6"], S, super::want::granted, |lab| {
        let own = unproven(lab)?;
        let link = lab.connect(&own.peer)?;
        let own = crate::cases::scene::Owning { link, ..own };
        let want = own.want(lab);
        own.send_want(lab, 42, &want);
        lab.refuses(own.link, 42, Code::HO_NOT_OWNER)?;
        lab.none(own.link, "GRANT", |message| matches!(message, Message::Grant(_)))
    }),
    refused("handoff/store/unproven-takes-nothing-over", &["HO-STORE-1", "HO-TAKE-1"], S, proven, |lab| {
        let own = unproven(lab)?;
        lab.must_not(Command::Takeover { session: own.session })
    })
    .needs(&["takeover"]),
    refused("handoff/store/unproven-through-restarts", &["HO-STORE-1"], S, proven, |lab| {
        let own = unproven(lab)?;
        lab.reboot()?;
        lab.is(own.session, SessionRole::RolledBack)
    }),
    works("handoff/store/unproven-shows-what-it-knows", &["HO-STORE-1", "HO-HAVE-1"], S, |lab| {
        let own = unproven(lab)?;
        let link = lab.connect(&own.peer)?;
        let (book, data) = ask(lab, link, own.session)?;
        ensure(book.head() == own.book.head(), "the chain as it was", format!("{:?}", book.head()))?;
        ensure(data.is_none(), "no manifest of a device that isn't primary", format!("{data:?}"))
    }),
    refused("handoff/store/what-it-cannot-have-written", &["SEC-STORE-1"], S, proven, |lab| {
        owning(lab)?;
        lab.crash();
        // Whatever an implementation keeps and however: this is of no form that it writes.
        lab.disk.overwrite(|value| value.fill(0xff));
        lab.boots_not(Code::STORE_CORRUPT)
    }),
    works("handoff/store/new-actor", &["HO-STORE-2"], T, |lab| {
        let scene = wanting(lab)?;
        let before = scene.want.actor;
        lab.disk.forget_witness();
        lab.reboot()?;
        let link = lab.connect(&scene.peer)?;
        let scene = pull(lab, scene.peer, link, scene.book)?;
        ensure(scene.want.actor != before, "a new actor", format!("{:?}", scene.want.actor))?;
        scene.succeeds(lab)
    }),
    works("handoff/store/same-actor-when-proven", &["HO-STORE-2", "DATA-OP-3"], T, |lab| {
        let scene = wanting(lab)?;
        let before = scene.want.actor;
        lab.reboot()?;
        let link = lab.connect(&scene.peer)?;
        let scene = pull(lab, scene.peer, link, scene.book)?;
        ensure(scene.want.actor == before, "the actor as it was", format!("{:?}", scene.want.actor))
    }),
    refused("handoff/store/old-grant-after-a-restore", &["HO-STORE-1", "HO-GRANT-5"], T, regranted, |lab| {
        let scene = wanting(lab)?;
        let backup = lab.disk.backup();
        scene.succeeds(lab)?;
        lab.crash();
        lab.disk.restore(&backup);
        lab.boot()?;
        lab.sync();
        let link = lab.connect(&scene.peer)?;
        let mut grant = scene.draft.seal();
        grant.req = 0;
        lab.send(link, grant);
        lab.refuses(link, 0, Code::HO_NO_CONSENT)?;
        lab.is(scene.book.id, SessionRole::Secondary)
    }),
    refused("handoff/store/known-grant-after-a-restore", &["HO-STORE-1", "HO-GRANT-9"], T, regranted, |lab| {
        let scene = wanting(lab)?;
        scene.succeeds(lab)?;
        lab.disk.forget_witness();
        lab.reboot()?;
        let link = lab.connect(&scene.peer)?;
        lab.skip(link);
        let mut grant = scene.draft.seal();
        grant.req = 0;
        lab.send(link, grant);
        let head = take_head(lab, link, scene.book.id)?;
        ensure(head.ack.get().is_none(), "no acknowledgement of an unproven store", "one")?;
        lab.is(scene.book.id, SessionRole::RolledBack)
    }),
    refused("handoff/store/failed-says-nothing-more", &["HO-STORE-3"], S, super::want::granted, |lab| {
        let own = owning(lab)?;
        lab.fail_store();
        lab.event("the event halted", |event| matches!(event, Event::Halted).then_some(()))?;
        let want = own.want(lab);
        own.send_want(lab, 42, &want);
        lab.none(own.link, "GRANT of a halted device", |message| matches!(message, Message::Grant(_)))?;
        lab.must_not(Command::WriteExclusive { session: own.session, bytes: b"late".to_vec() })
    }),
    refused("handoff/store/failed-sync-of-a-grant", &["HO-STORE-3", "HO-GRANT-1"], S, super::want::granted, |lab| {
        let own = owning(lab)?;
        lab.syncs = false;
        let want = own.want(lab);
        own.send_want(lab, 42, &want);
        lab.fail_store();
        lab.none(own.link, "GRANT that isn't durable", |message| matches!(message, Message::Grant(_)))
    }),
    refused("handoff/store/failed-sync-of-a-received-grant", &["HO-STORE-3", "HO-HEAD-4"], T, receives, |lab| {
        let scene = wanting(lab)?;
        lab.syncs = false;
        scene.grant(lab);
        lab.fail_store();
        lab.none(
            scene.link,
            "acknowledgement that isn't durable",
            |message| matches!(message, Message::Head(head) if head.ack.get().is_some()),
        )
    }),
];

fn proven(lab: &mut Lab) -> Done {
    let own = owning(lab)?;
    lab.reboot()?;
    lab.is(own.session, SessionRole::Primary)?;
    lab.must(Command::WriteExclusive { session: own.session, bytes: b"on".to_vec() }).map(|_| ())
}

/// The subject owns; then its store comes back without its mark.
fn unproven(lab: &mut Lab) -> Done<crate::cases::scene::Owning> {
    let own = owning(lab)?;
    lab.disk.forget_witness();
    lab.reboot()?;
    lab.sync();
    Ok(own)
}

/// A device with a restored store owns again once it has been granted anew.
fn regranted(lab: &mut Lab) -> Done {
    let (peer, link) = linked(lab)?;
    let book = crate::cases::scene::session_of(lab, &peer);
    lab.disk.forget_witness();
    lab.must(Command::Request { session: book.id, from: peer.id, timeout_us: TIMEOUT })?;
    lab.link_down(link);
    lab.reboot()?;
    let link = lab.connect(&peer)?;
    pull(lab, peer, link, book)?.succeeds(lab)
}

fn receives(lab: &mut Lab) -> Done {
    wanting(lab)?.succeeds(lab)
}
