//! Switches off one clause after another and prints after how many seeds which promise was seen broken:
//! `mutants COUNT [CLAUSE-PREFIX]`. Breaches that show without any clause switched off are left out.

use std::collections::{BTreeMap, BTreeSet};
use std::env::args;

use segue_proto::Clause;
use segue_testkit::{Kind, Promise, Scenario};

const KINDS: [(&str, Kind); 5] = [
    ("plain", Kind::PLAIN),
    ("takeovers", Kind::TAKEOVERS),
    ("restores", Kind::RESTORES),
    ("replays", Kind::REPLAYS),
    ("rot", Kind::ROT),
];

fn main() {
    let count: u64 = args().nth(1).and_then(|text| text.parse().ok()).unwrap_or(100);
    let prefix = args().nth(2).unwrap_or_default();
    let broken = |seed, kind, clause| -> BTreeSet<Promise> {
        let mut scenario = Scenario::draw(seed, kind);
        scenario.without = clause;
        scenario.run().breaches.iter().map(|breach| breach.promise).collect()
    };
    for (name, kind) in KINDS {
        let honest: Vec<BTreeSet<Promise>> = (0..count).map(|seed| broken(seed, kind, None)).collect();
        for (id, summary) in Clause::TABLE.iter().filter(|row| row.0.starts_with(&prefix)) {
            let mut found: BTreeMap<Promise, (u64, u64)> = BTreeMap::new();
            for (seed, known) in (0..count).zip(&honest) {
                for promise in broken(seed, kind, Clause::from_id(id)).difference(known) {
                    found.entry(*promise).or_insert((seed, 0)).1 += 1;
                }
            }
            let shown: Vec<String> =
                found.iter().map(|(promise, (first, times))| format!("{promise:?} {times}× from {first}")).collect();
            println!("{name:10} {id:18} {:40} {summary}", shown.join(", "));
        }
    }
}
