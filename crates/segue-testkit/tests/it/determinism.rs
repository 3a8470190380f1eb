//! The same seed gives the same trace, to the byte.

use segue_testkit::{Kind, Scenario};

#[test]
fn the_same_seed_gives_the_same_trace_and_another_seed_another() {
    for seed in 0..20 {
        let run = || Scenario::draw(seed, Kind::RESTORES).run();
        let (first, second) = (run(), run());
        assert_eq!(first.trace, second.trace);
        assert_eq!(first.trace_hash, second.trace_hash);
    }
    let hash = |seed| Scenario::draw(seed, Kind::PLAIN).run().trace_hash;
    assert_ne!(hash(1), hash(2));
}
