//! What is short doesn't wait for what is long (TRANSFER-ORDER-1, TRANSFER-ORDER-2), in virtual time.

use segue_proto::limits::MARK_DELAY;
use segue_proto::wire::SessionId;
use segue_proto::wire::hash::blob_id;
use segue_proto::{Clause, Event};
use segue_testkit::World;
use segue_testkit::device::{Command, LocalDevice};
use segue_testkit::flights::{PATIENCE, create};
use segue_testkit::world::Options;

const DELAY: u64 = 50_000;
const SYNC: u64 = 5_000;

/// The bytes of the long file, and those that the link carries in a second: it takes more than ten seconds.
const LONG: usize = 16 << 20;
const BANDWIDTH: u64 = 1_500_000;

#[test]
fn a_short_file_does_not_wait_for_a_long_one() {
    let (before, meanwhile, long) = arrivals(None);
    println!("short files after {before} and {meanwhile} µs, the long one after {long} µs");
    // A change is told, with a MARK a while later, and a request answered: three delays, and a sync at either end.
    let told = MARK_DELAY + 3 * DELAY + 4 * SYNC;
    assert!(before <= told, "{before}");
    assert!(meanwhile <= told, "{meanwhile}");
    assert!(long >= LONG as u64 * 1_000_000 / BANDWIDTH, "{long}");
    // It does if nothing is asked for until the long one is here.
    let (_, waits, _) = arrivals(Some(Clause::TRANSFER_ORDER_2));
    assert!(waits >= 5_000_000, "{waits}");
}

/// When a short file arrives that was written with a long one, and one that is written while that is on its way; and the
/// long one. Microseconds from when each was written.
fn arrivals(off: Option<Clause>) -> (u64, u64, u64) {
    let mut options = Options::calm(11, DELAY, SYNC);
    options.weather.bandwidth = BANDWIDTH;
    let mut world = World::local(options);
    world.add(2, |_, setup| setup.without = off);
    world.link(0, 1);
    world.run_until_event(1, PATIENCE, |event| matches!(event, Event::LinkReady { .. }).then_some(()));
    let session = create(&mut world, 0, &[1]);
    let from = world.id(0);
    world.command(1, Command::Follow { session, from }).expect("a session to follow");
    world.run_for(1_000_000);
    let start = world.now();
    let mut long = vec![0; LONG];
    long.iter_mut().step_by(4096).zip(1_u8..=255).for_each(|(byte, value)| *byte = value);
    write(&mut world, session, "film", long);
    write(&mut world, session, "note", b"with it".to_vec());
    let before = held(&mut world, session, "note", b"with it").since(start);
    world.run_for(1_000_000);
    let middle = world.now();
    write(&mut world, session, "second note", b"meanwhile".to_vec());
    let meanwhile = held(&mut world, session, "second note", b"meanwhile").since(middle);
    let all = |world: &mut World<LocalDevice>| world.session(1, session).is_some_and(|it| !it.files["film"].is_zero());
    assert!(world.run_until(PATIENCE, all), "the long file");
    (before, meanwhile, world.now().since(start))
}

fn write(world: &mut World<LocalDevice>, session: SessionId, path: &str, content: Vec<u8>) {
    world.command(0, Command::WriteFile { session, path: path.into(), content }).expect("a file that is written");
}

fn held(world: &mut World<LocalDevice>, session: SessionId, path: &str, content: &[u8]) -> segue_proto::Instant {
    let hash = blob_id(content);
    let held =
        |world: &mut World<LocalDevice>| world.session(1, session).is_some_and(|it| it.files.get(path) == Some(&hash));
    assert!(world.run_until(PATIENCE, held), "{path}");
    world.now()
}
