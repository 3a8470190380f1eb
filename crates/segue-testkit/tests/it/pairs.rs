//! All sixteen ordered pairs of generations, pulled and pushed.
//!
//! The cells of the table, by source and then target: GEN-PAIR-1, GEN-PAIR-2, GEN-PAIR-3, GEN-PAIR-4, GEN-PAIR-5, GEN-PAIR-6,
//! GEN-PAIR-7, GEN-PAIR-8, GEN-PAIR-9, GEN-PAIR-10, GEN-PAIR-11, GEN-PAIR-12, GEN-PAIR-13, GEN-PAIR-14, GEN-PAIR-15,
//! GEN-PAIR-16.

use segue_proto::{Event, Generation};
use segue_testkit::flights::PATIENCE;
use segue_testkit::{Options, Pair};

use crate::smoke::intact;

fn pairs() -> impl Iterator<Item = [Generation; 2]> {
    Generation::ALL.into_iter().flat_map(|source| Generation::ALL.into_iter().map(move |target| [source, target]))
}

fn pair(generations: [Generation; 2]) -> Pair {
    Pair::fresh(Options::calm(1, 1_000, 100), generations)
}

#[test]
fn every_pair_runs_at_the_lower_of_its_generations() {
    for generations in pairs() {
        let pair = pair(generations);
        let lower = generations[0].min(generations[1]);
        let ready = pair.world.events(0).iter().find_map(|(_, event)| match event {
            Event::LinkReady { generation, .. } => Some(*generation),
            _ => None,
        });
        assert_eq!(ready, Some(lower), "{generations:?}");
    }
}

#[test]
fn every_pair_pulls() {
    for generations in pairs() {
        let mut pair = pair(generations);
        assert!(pair.pull(0, 1), "{generations:?}\n{}", pair.world.trace().join("\n"));
        intact(&pair.world);
    }
}

/// With a device of 1.4 a push is a hint, and the other user pulls.
#[test]
fn every_pair_pushes_or_hints() {
    for generations in pairs() {
        let mut pair = pair(generations);
        let direct = generations.into_iter().all(|generation| generation >= Generation::V1_7);
        let done = if direct { pair.push(0, 1) } else { hinted(&mut pair) };
        assert!(done, "{generations:?}\n{}", pair.world.trace().join("\n"));
        intact(&pair.world);
    }
}

/// The source pushes, the target is told that there is something, and its user pulls.
fn hinted(pair: &mut Pair) -> bool {
    use segue_testkit::device::Command;
    let session = pair.session;
    let (to, from) = (pair.id(1), pair.id(0));
    let _ = pair.world.command(0, Command::Initiate { session, to, timeout_us: PATIENCE });
    let told = |event: &Event| matches!(event, Event::Available { .. }).then_some(());
    let told = pair.world.run_until_event(1, PATIENCE, told).is_some();
    let _ = pair.world.command(1, Command::Request { session, from, timeout_us: PATIENCE });
    told && pair.settle(1)
}
