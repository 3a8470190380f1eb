//! Runs many seeds and prints what was broken: `sweep KIND FIRST COUNT [CLAUSE]`, with KIND `plain`, `takeovers`,
//! `restores`, `replays` or `rot`. `sweep KIND SEED 1` prints the trace of one seed.

use std::collections::BTreeMap;
use std::env::args;

use segue_proto::Clause;
use segue_testkit::{Kind, Scenario};

fn main() {
    let args: Vec<String> = args().skip(1).collect();
    let kind = match args.first().map(String::as_str) {
        Some("takeovers") => Kind::TAKEOVERS,
        Some("restores") => Kind::RESTORES,
        Some("replays") => Kind::REPLAYS,
        Some("rot") => Kind::ROT,
        _ => Kind::PLAIN,
    };
    let number = |at: usize, default: u64| args.get(at).and_then(|text| text.parse().ok()).unwrap_or(default);
    let (first, count) = (number(1, 0), number(2, 100));
    let without = args.get(3).and_then(|id| Clause::from_id(id));
    let (mut found, mut activations) = (BTreeMap::<String, (u64, u64)>::new(), 0);
    for seed in first..first + count {
        let mut scenario = Scenario::draw(seed, kind);
        scenario.without = without;
        let outcome = scenario.run();
        activations += outcome.activations;
        if count == 1 {
            println!("{:#?}\n{}", scenario.steps, outcome.trace.join("\n"));
            outcome.breaches.iter().for_each(|breach| println!("{breach}"));
        }
        for breach in outcome.breaches {
            let what: String = breach.what.chars().map(|c| if c.is_ascii_digit() { '#' } else { c }).collect();
            let what = what.split(' ').filter(|word| !word.contains('#')).collect::<Vec<_>>().join(" ");
            let entry = found.entry(format!("{:?} {what}", breach.promise)).or_insert((0, seed));
            entry.0 += 1;
        }
    }
    println!("{count} seeds, {activations} activations");
    found.iter().for_each(|(what, (times, seed))| println!("{times} times, first in seed {seed}: {what}"));
}
