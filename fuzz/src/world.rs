//! Honest devices in a world where bytes decide what goes wrong.

use segue_proto::{Generation, Policy};
use segue_testkit::scenario::{Action, Scenario, Step};
use segue_testkit::world::Options;

use crate::input::Input;

/// A run of the testkit: a seed for its weather, the devices, and the steps of their users. The oracle must find
/// nothing broken, once the faults have ended.
pub fn world(data: &[u8]) {
    let mut input = Input::new(data);
    let seed = u64::from(input.short());
    let options = if input.flag() { Options::draw(seed) } else { Options::calm(seed, 10_000, 1_000) };
    let generations: Vec<_> =
        (0..2 + input.below(2)).map(|_| Generation::ALL[3 - input.below(Generation::ALL.len())]).collect();
    let pulls = if input.flag() { Policy::Allow } else { Policy::Ask };
    let mut steps = Vec::new();
    while !input.is_empty() && steps.len() < 24 {
        steps.push(step(&mut input, generations.len()));
    }
    let outcome = Scenario { options, generations, pulls, steps, without: None }.run();
    let breaches: String = outcome.breaches.iter().map(|it| format!("{it}\n")).collect();
    assert!(breaches.is_empty(), "{breaches}{}", outcome.trace.join("\n"));
}

fn step(input: &mut Input<'_>, devices: usize) -> Step {
    let action = match input.below(12) {
        0 | 1 => Action::WriteExclusive,
        2 => Action::WriteFile { len: usize::from(input.short()) * 2 },
        3 => Action::Remove,
        4 | 5 => Action::Initiate { timeout: timeout(input) },
        6 => Action::Cancel,
        7 => Action::Request { timeout: timeout(input) },
        8 => Action::Consent,
        9 => Action::Takeover,
        10 => Action::Crash,
        _ => Action::Partition { len: timeout(input) },
    };
    let pause = u64::from(input.short()) * 100;
    Step { pause, device: input.below(devices), other: 1 + input.below(devices - 1), action }
}

fn timeout(input: &mut Input<'_>) -> u64 {
    500_000 + u64::from(input.byte()) * 60_000
}
