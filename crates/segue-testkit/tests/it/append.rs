//! Ops that are written together: one batch of the journal, and few frames.

use segue_proto::data::{PartKind, named_part};
use segue_proto::limits::MAX_OP_BODY;
use segue_proto::wire::SessionId;
use segue_proto::{Event, Lsn, UsageError};
use segue_testkit::World;
use segue_testkit::device::{Command, LocalDevice};
use segue_testkit::flights::{PATIENCE, create};
use segue_testkit::world::Options;

const DELAY: u64 = 10_000;
const SYNC: u64 = 1_000;

/// Appends to the part "text" of the first device: what was answered, and the journal's batches.
fn append(
    world: &mut World<LocalDevice>,
    session: SessionId,
    kind: PartKind,
    bodies: Vec<Vec<u8>>,
) -> (Result<Lsn, UsageError>, usize) {
    let part = named_part(&session, kind, "text");
    let done = world.drive(0, |device, now| {
        let (done, out) = device.drive(now, |core| core.append(now, 1, session, part, kind.number(), bodies));
        ((done, out.batches.len()), out)
    });
    done.expect("the device is up")
}

/// The bodies of the part that a device holds.
fn held(world: &World<LocalDevice>, at: usize, session: SessionId) -> Vec<Vec<u8>> {
    let device = world.device(at).expect("the device is up");
    let state = device.endpoint().state(&session);
    let stream = state.and_then(|state| state.stream(&named_part(&session, PartKind::Opaque, "text")));
    stream.into_iter().flat_map(|stream| stream.arrived(0)).map(|op| op.body.to_vec()).collect()
}

fn pair() -> (World<LocalDevice>, SessionId) {
    let mut world = World::local(Options::calm(5, DELAY, SYNC));
    world.add(2, |_, _| {});
    world.link(0, 1);
    world.run_until_event(1, PATIENCE, |event| matches!(event, Event::LinkReady { .. }).then_some(()));
    let session = create(&mut world, 0, &[1]);
    let from = world.id(0);
    world.command(1, Command::Follow { session, from }).expect("a session to follow");
    world.run_for(1_000_000);
    (world, session)
}

#[test]
fn ops_that_are_written_together_are_one_batch_and_come_in_their_order() {
    let (mut world, session) = pair();
    let bodies: Vec<Vec<u8>> = (0_u8..64).map(|n| vec![n; 20]).collect();
    let (done, batches) = append(&mut world, session, PartKind::Opaque, bodies.clone());
    assert!(done.is_ok());
    assert_eq!(batches, 1);
    assert!(world.run_until(PATIENCE, |world| held(world, 1, session).len() == bodies.len()));
    assert_eq!(held(&world, 1, session), bodies);
    let frames = world.trace().iter().filter(|line| line.contains("OPS")).count();
    assert_eq!(frames, 1, "{}", world.trace().join("\n"));
}

#[test]
fn ops_before_the_one_that_fails_are_written() {
    let (mut world, session) = pair();
    let bodies = vec![vec![1], vec![2; MAX_OP_BODY + 1], vec![3]];
    let (done, batches) = append(&mut world, session, PartKind::Opaque, bodies);
    assert_eq!((done, batches), (Err(UsageError::TooLarge), 1));
    assert!(world.run_until(PATIENCE, |world| !held(world, 1, session).is_empty()));
    assert_eq!(held(&world, 1, session), [[1]]);
    // A part with values has no ops to append to.
    let (done, batches) = append(&mut world, session, PartKind::Register, vec![vec![1]]);
    assert_eq!((done, batches), (Err(UsageError::BadPart), 0));
}
