//! Devices that are never online together.

use segue_proto::data::{Entry, ListRef};
use segue_proto::limits::{MAX_FRAME, MAX_MAILED, TAKEN_WINDOW};
use segue_proto::transfer::{chunk_list, lengths};
use segue_proto::wire::PartId;
use segue_proto::wire::hash::blob_id;
use segue_proto::{Clause, ContentWrite, Event, Rules};
use segue_service::{Page, Quota};

use crate::util::{FILE, Hostile, LOG, OPAQUE, REGISTER, World};

#[test]
fn two_devices_that_never_meet_converge_on_every_kind() {
    let mut world = World::new(2, Quota::default());
    let session = world.session(&[2]);
    world.write(1, session, 1, REGISTER, b"a title");
    world.write(1, session, 2, LOG, b"first line");
    world.write(1, session, 3, OPAQUE, b"\x01\x02");
    world.write(1, session, 4, 5, b"exclusive");
    world.visit(1);
    world.visit(2);
    assert_eq!(world.root(2, session), world.root(1, session));
    assert_eq!(world.devices[2].core.session(&session).unwrap().name, "notes");
    world.write(2, session, 1, REGISTER, b"a better title");
    world.write(2, session, 2, LOG, b"second line");
    for _ in 0..500 {
        world.write(2, session, 3, OPAQUE, &[7; 300]);
    }
    world.visit(2);
    world.visit(1);
    assert_eq!(world.root(2, session), world.root(1, session));
    assert!(world.broken(1).is_empty() && world.broken(2).is_empty(), "{:?} {:?}", world.broken(1), world.broken(2));
}

#[test]
fn a_log_gives_way_to_its_snapshot_by_the_mailbox_alone() {
    let mut world = World::new(3, Quota::default());
    let (session, part) = (world.session(&[2, 3]), PartId::new([2; 16]));
    for at in 0..20 {
        world.write(1, session, 2, LOG, format!("line {at}").as_bytes());
    }
    [1, 2, 3].into_iter().for_each(|at| world.visit(at));
    let kept = |world: &World| {
        let kept = |at: usize| world.devices[at].core.state(&session)?.stream(&part).map(|stream| stream.len());
        [1, 2, 3].map(|at| kept(at).expect("a log"))
    };
    let root = world.root(1, session);
    world.devices[1].core.compact(world.now, session, part, None).unwrap();
    world.settle();
    [1, 2].into_iter().for_each(|at| world.visit(at));
    assert_eq!(kept(&world), [20; 3], "the third doesn't hold it yet");
    [3, 1, 2].into_iter().for_each(|at| world.visit(at));
    assert_eq!(kept(&world), [0; 3]);
    assert_eq!([2, 3].map(|at| world.root(at, session)), [root; 2]);
}

#[test]
fn what_is_typed_while_both_watch_arrives_at_once() {
    let mut world = World::new(2, Quota::default());
    let session = world.session(&[2]);
    world.link(1, 0);
    world.link(2, 0);
    for at in 0..20u8 {
        world.write(1 + usize::from(at % 2), session, 2, LOG, &[at]);
        assert_eq!(world.root(1, session), world.root(2, session), "after op {at}");
    }
    let exchanged = |event: &Event| matches!(event, Event::Exchanged { .. });
    assert!(world.devices[2].events.iter().any(exchanged));
}

#[test]
fn nothing_is_put_twice_and_a_restart_goes_on() {
    let mut world = World::new(3, Quota::default());
    let session = world.session(&[2, 3]);
    world.write(1, session, 2, LOG, b"one");
    world.visit(1);
    world.visit(2);
    let put = world.service.counts().put;
    for at in [1, 2, 1, 2] {
        world.restart(at);
        world.visit(at);
    }
    assert_eq!(world.service.counts().put, put, "what came from the mailbox, and what is there, isn't put again");
    world.write(2, session, 2, LOG, b"two");
    world.restart(2);
    world.visit(2);
    // The third invites nobody anew: 1 and 2 did.
    world.visit(3);
    world.visit(1);
    assert_eq!(world.root(3, session), world.root(1, session));
    assert_eq!(world.root(2, session), world.root(1, session));
}

#[test]
fn a_mailbox_that_is_left_is_given_nothing_more() {
    let mut world = World::new(2, Quota::default());
    let session = world.session(&[2]);
    world.link(1, 0);
    world.write(1, session, 2, LOG, b"one");
    let (host, put) = (world.devices[0].id, world.service.counts().put);
    assert!(world.devices[1].core.is_exchanged(&host));
    world.devices[1].core.leave_mailbox(&host);
    world.write(1, session, 2, LOG, b"two");
    world.wait(60);
    assert_eq!(world.service.counts().put, put);
    assert!(!world.devices[1].core.is_exchanged(&host));
    // It uses it again from its next start on.
    world.restart(1);
    world.visit(1);
    world.visit(2);
    assert_eq!(world.root(2, session), world.root(1, session));
}

/// A file that is longer than MAX_MAILED goes over links alone.
#[test]
fn what_is_too_long_for_a_mailbox_is_told() {
    let mut world = World::new(2, Quota::default());
    let session = world.session(&[2]);
    world.link(1, 0);
    for (part, path, len) in [(1, "whole", MAX_MAILED), (2, "over", MAX_MAILED + 1)] {
        let list = ListRef { hash: blob_id(path.as_bytes()), len: 200_000 };
        let entry = Entry::file(path, false, len, blob_id(&[part]), Some(list)).unwrap();
        world.write(1, session, part, FILE, &entry.to_bytes());
    }
    let host = world.devices[0].id;
    let left = world.devices[1].core.not_mailed(&host, &session);
    assert_eq!(left.iter().map(|entry| entry.path.to_string()).collect::<Vec<_>>(), ["over"]);
}

#[test]
fn many_values_and_large_parts_take_several_letters() {
    let mut world = World::new(2, Quota::default());
    let session = world.session(&[2]);
    for part in 0..40 {
        world.write(1, session, part, REGISTER, &[part; 16_000]);
    }
    world.visit(1);
    world.visit(2);
    assert_eq!(world.root(2, session), world.root(1, session));
}

#[test]
fn keys_also_travel_over_links() {
    let mut world = World::new(2, Quota::default());
    let session = world.session(&[2]);
    world.write(1, session, 2, LOG, b"one");
    world.link(1, 2);
    world.unlink(1);
    assert_eq!(world.root(2, session), world.root(1, session));
    world.write(1, session, 2, LOG, b"two");
    world.visit(1);
    world.write(2, session, 2, LOG, b"three");
    world.visit(2);
    world.visit(1);
    assert_eq!(world.root(2, session), world.root(1, session));
}

#[test]
fn a_mailbox_that_lost_everything_is_given_it_again() {
    let mut world = World::new(3, Quota::default());
    let session = world.session(&[2, 3]);
    world.write(1, session, 2, LOG, b"one");
    world.visit(1);
    world.visit(2);
    *world.directory() = Default::default();
    world.visit(2);
    assert!(world.broken(2).contains(&Clause::SERVICE_BACK_1));
    world.write(2, session, 2, LOG, b"two");
    world.visit(2);
    world.visit(1);
    assert_eq!(world.root(2, session), world.root(1, session));
}

#[test]
fn a_writer_that_never_saw_its_letter_in_the_box_learns_that_it_was_lost() {
    let mut world = World::new(2, Quota::default());
    let session = world.session(&[2]);
    world.write(1, session, 2, LOG, b"one");
    world.visit(1);
    let memory = world.directory().memory.clone();
    world.write(1, session, 2, LOG, b"two");
    // Of the second letter PUT_OK tells, and nothing else.
    world.meddle(|page| if page.last > 1 { Page { last: 1, ..Page::default() } } else { page });
    let put = world.service.counts().put;
    world.link(1, 0);
    assert_eq!(world.service.counts().put, put + 1);
    world.restart(1);
    *world.directory() = Hostile { memory, ..Hostile::default() };
    world.visit(1);
    assert!(world.broken(1).contains(&Clause::SERVICE_BACK_1));
    world.visit(2);
    assert_eq!(world.root(2, session), world.root(1, session));
}

/// Whether the directory's memory holds these bytes anywhere.
fn finds(world: &mut World, canary: &[u8]) -> bool {
    world.directory().seen.iter().any(|append| append.envelope.windows(canary.len()).any(|bytes| bytes == canary))
}

fn canary(rules: Rules) -> bool {
    let mut world = World::with_rules(2, Quota::default(), rules);
    let session = world.session(&[2]);
    world.write(1, session, 1, REGISTER, b"the canary sings");
    world.write(1, session, 2, LOG, b"the canary sings");
    world.visit(1);
    world.visit(2);
    assert_eq!(world.root(2, session), world.root(1, session));
    finds(&mut world, b"the canary sings")
}

#[test]
fn service_seal_1_what_a_session_holds_is_not_found_in_the_mailbox() {
    assert!(!canary(Rules::ALL));
    assert!(canary(Rules::without(Clause::SERVICE_SEAL_1)), "the search finds what isn't sealed");
}

#[test]
fn content_that_is_lost_while_another_loss_is_told_is_told_of_too() {
    let mut world = World::new(2, Quota::default());
    let session = world.session(&[2]);
    let blobs = ["one", "two"].map(|path| {
        let (blob, part) = (blob_id(path.as_bytes()), path.as_bytes()[0]);
        let entry = Entry::file(path, false, path.len() as u64, blob, None).unwrap();
        world.write(1, session, part, FILE, &entry.to_bytes());
        blob
    });
    world.link(1, 0);
    let put = world.service.counts().put;
    // Nobody answers before the second.
    blobs.into_iter().for_each(|blob| world.devices[1].core.handle_lost(world.now, session, blob));
    world.settle();
    assert_eq!(world.service.counts().put, put + 2);
}

/// However much there is, no more of it is asked for while TAKEN_WINDOW bytes wait to be stored.
#[test]
fn no_more_content_is_taken_than_may_wait_to_be_stored() {
    let mut world = World::new(2, Quota::default());
    let session = world.session(&[2]);
    let pieces = (0..3 * TAKEN_WINDOW as u32 / 32).map(|at| *blob_id(&at.to_be_bytes()).as_bytes());
    let content = pieces.flatten().collect::<Vec<u8>>();
    let (blob, list) = chunk_list(&content);
    let (list, listed) = list.unwrap();
    let entry = Entry::file("long", false, content.len() as u64, blob, Some(list.clone())).unwrap();
    world.write(1, session, 1, FILE, &entry.to_bytes());
    world.link(1, 0);
    let put = |world: &mut World| {
        let core = &mut world.devices[1].core;
        let Some(read) = core.poll_content_read() else { return false };
        let from = if read.blob == blob { &content } else { &listed };
        let start = read.offset as usize;
        core.handle_content_read(world.now, read.id, from.get(start..start + read.size).map(<[u8]>::to_vec));
        world.settle();
        true
    };
    while put(&mut world) {}
    world.unlink(1);
    world.link(2, 0);
    let (mut taken, mut most) = (0, 0);
    loop {
        let waiting = take(&mut world);
        let bytes: usize = waiting.iter().map(|write| write.bytes.len()).sum();
        (taken, most) = (taken + bytes, most.max(bytes));
        if waiting.is_empty() {
            break;
        }
        for write in waiting {
            world.devices[2].core.handle_content_written(world.now, write.id, true);
        }
    }
    assert_eq!(taken, content.len() + listed.len());
    // The last answer brings less than a frame, and completes a chunk of which there was less than the longest.
    let beyond = MAX_FRAME + lengths(content.len() as u64).unwrap().longest as usize;
    assert!((TAKEN_WINDOW..TAKEN_WINDOW + beyond).contains(&most), "{most}");
}

/// Device 2 takes what it can of a mailbox, and stores nothing: what waits for that.
fn take(world: &mut World) -> Vec<ContentWrite> {
    let mut waiting = Vec::new();
    loop {
        let before = waiting.len();
        world.settle();
        let core = &mut world.devices[2].core;
        let searches: Vec<_> = std::iter::from_fn(|| core.poll_search()).collect();
        searches.iter().for_each(|it| core.handle_searched(world.now, it.session, it.plan.blob()));
        waiting.extend(std::iter::from_fn(|| core.poll_content_write()));
        if searches.is_empty() && waiting.len() == before {
            return waiting;
        }
    }
}

#[test]
fn service_back_1_what_others_put_into_a_box_that_shrank_is_put_again_by_who_took_it() {
    let mut world = World::new(3, Quota::default());
    let session = world.session(&[2, 3]);
    [1, 2, 3].into_iter().for_each(|at| world.visit(at));
    let before = world.directory().memory.clone();
    world.write(1, session, 2, LOG, b"of one that doesn't come again");
    world.visit(1);
    world.visit(2);
    world.directory().memory = before;
    world.visit(2);
    world.visit(3);
    assert_eq!(world.root(3, session), world.root(1, session));
}

#[test]
fn service_back_1_a_box_that_shrank_and_grew_again_is_filled_as_a_letter_shows_it() {
    let mut world = World::new(2, Quota::default());
    let session = world.session(&[2]);
    [1, 2, 1].into_iter().for_each(|at| world.visit(at));
    let before = world.directory().memory.clone();
    for at in 0..3 {
        world.write(2, session, 2, LOG, &[at]);
        world.visit(2);
    }
    world.directory().memory = before;
    for at in 3..7 {
        world.write(1, session, 2, LOG, &[at]);
        world.visit(1);
    }
    // The offset up to which it fetched is below the last: that alone tells it nothing.
    world.visit(2);
    world.visit(1);
    assert!(world.broken(2).contains(&Clause::SERVICE_COUNT_1), "{:?}", world.broken(2));
    assert_eq!(world.root(1, session), world.root(2, session));
}

#[test]
fn service_back_1_a_box_that_shrank_and_grew_again_is_read_anew_as_ops_that_follow_nothing_show_it() {
    let mut world = World::new(2, Quota::default());
    let session = world.session(&[2]);
    [1, 2, 1].into_iter().for_each(|at| world.visit(at));
    let before = world.directory().memory.clone();
    world.write(2, session, 2, LOG, b"one");
    let unaware = world.devices[2].journal.clone();
    world.visit(2);
    world.visit(1);
    // The service forgets the letter, and its writer that it was put: the next has its number, and its place.
    world.directory().memory = before;
    world.devices[2].journal = unaware;
    world.restart(2);
    world.write(2, session, 2, LOG, b"two");
    world.visit(2);
    world.visit(1);
    assert_ne!(world.root(1, session), world.root(2, session), "nothing shows it yet");
    world.write(2, session, 2, LOG, b"three");
    world.visit(2);
    world.visit(1);
    assert!(!world.broken(1).contains(&Clause::SERVICE_COUNT_1), "{:?}", world.broken(1));
    assert_eq!(world.root(1, session), world.root(2, session));
}
