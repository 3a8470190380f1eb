//! The gap that a user sees, who goes on working while a session moves (HO-GRANT-12, HO-PACE-1, HO-WANT-9).

use segue_testkit::Way;
use segue_testkit::device::Command;
use segue_testkit::load::{Busy, Load, Seen};
use segue_testkit::world::Options;

const DELAY: u64 = 50_000;
const SYNC: u64 = 5_000;

/// 100 ms there and back, a gigabit, and disks that sync in 5 ms.
fn world(seed: u64) -> Options {
    let mut options = Options::calm(seed, DELAY, SYNC);
    options.weather.bandwidth = 125_000_000;
    options
}

/// The session moves in every way while its user works: first to a device that knows nothing of it.
fn ways(load: Load, files: u32, len: usize) -> Vec<(Way, Seen)> {
    let mut busy = Busy::new(world(7), load, files, len);
    busy.work(0, 1_000_000);
    let mut seen = Vec::new();
    for (at, way) in [Way::Accepted, Way::Pulled, Way::Consented].into_iter().enumerate() {
        let (source, target) = (at % 2, 1 - at % 2);
        if way == Way::Consented {
            let (session, to) = (busy.session, busy.world.id(source));
            let consented = busy.world.command(target, Command::Consent { session, to, ttl_us: 60_000_000 });
            assert!(consented.is_ok(), "{consented:?}");
        }
        busy.work(source, 1_000_000);
        seen.push((way, busy.hand_over(way, source, target).expect("a handoff")));
    }
    busy.world.run_for(2_000_000);
    busy.world.check_settled();
    assert!(busy.world.breaches().is_empty(), "{:?}", busy.world.breaches());
    seen
}

#[test]
fn the_gap_is_a_delay_and_a_sync_whatever_the_size_of_the_session() {
    let small = ways(Load::BUSY, 1, 1 << 20);
    let large = ways(Load::BUSY, 64, 16 << 20);
    for ((way, small), (_, large)) in small.into_iter().zip(large) {
        println!("{way:?}: 1 MiB {small:?}, 1 GiB {large:?}");
        for seen in [small, large] {
            assert!((DELAY + SYNC..=DELAY + SYNC + 10_000).contains(&seen.gap), "{way:?}: {seen:?}");
            assert_eq!(seen.waited, 0, "{way:?}");
        }
        assert!(small.gap.abs_diff(large.gap) <= SYNC, "{way:?}");
        if way == Way::Consented {
            assert!(small.took <= DELAY + 3 * SYNC && large.took <= DELAY + 3 * SYNC, "{way:?}");
        }
    }
}

#[test]
fn what_a_grant_has_no_room_for_waits_and_the_wait_is_told() {
    // 64 exclusive parts of 1 KiB: what changes between two manifests doesn't go inline.
    let wide = Load { parts: 64, ..Load::BUSY };
    let mut waited = 0;
    for (way, seen) in ways(wide, 1, 1 << 20) {
        println!("{way:?}: {seen:?}");
        assert!((DELAY + SYNC..=DELAY + SYNC + 10_000).contains(&seen.gap), "{way:?}: {seen:?}");
        waited += seen.waited;
    }
    assert!((1..1_000_000).contains(&waited), "writes waited {waited} µs");
}
