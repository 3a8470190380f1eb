//! What a handoff costs, counted: flights, syncs, bytes, batches, signatures and allocations.
//!
//! `counts.txt` holds the figures. Any difference fails, in allocations one of more than 5 %; whoever means it runs
//! `SEGUE_COUNTS=write cargo test -p segue-benches` and commits the file.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::PathBuf;

use segue_benches::{Kernel, Signatures, Way};
use segue_testkit::{Flights, flights};

use crate::alloc::allocations;

/// How far allocations may be off, in percent: a collection may grow at another moment.
const SLACK: u64 = 5;

#[test]
fn a_handoff_costs_what_it_cost() {
    let measured: BTreeMap<String, u64> = Way::ALL.into_iter().flat_map(count).collect();
    let text = measured.iter().fold(HEAD.to_owned(), |mut text, (name, value)| {
        let _ = writeln!(text, "{name} {value}");
        text
    });
    println!("{text}");
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("counts.txt");
    if std::env::var("SEGUE_COUNTS").is_ok_and(|what| what == "write") {
        std::fs::write(&path, &text).expect("counts.txt can be written");
    }
    let committed = parse(&std::fs::read_to_string(&path).expect("counts.txt is there"));
    let names = |of: &BTreeMap<String, u64>| of.keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(&measured), names(&committed), "other counts than counts.txt has");
    let off: Vec<String> = measured
        .iter()
        .map(|(name, now)| (name, *now, committed[name]))
        .filter(|(name, now, then)| !agrees(name, *now, *then))
        .map(|(name, now, then)| format!("{name}: {now}, was {then}"))
        .collect();
    assert!(off.is_empty(), "SEGUE_COUNTS=write if it is meant:\n{}", off.join("\n"));
}

#[test]
fn the_budgets_of_flights_and_syncs_are_kept() {
    let counted = [flights::Way::Consented, flights::Way::Accepted, flights::Way::Pulled].map(Flights::count);
    assert_eq!(counted.map(|it| (it.to_active, it.to_resolved)), [(1, 2), (3, 4), (2, 3)]);
    assert_eq!(counted.map(|it| (it.syncs_to_active, it.syncs_to_resolved)), [(1, 2); 3]);
}

/// What a device does to take over a session that it doesn't know grows with the session's parts, not with their square.
#[test]
fn a_first_pull_costs_each_part_the_same() {
    let [few, many] = [100, 1_000].map(|registers| {
        let mut kernel = Kernel::filled(Signatures::Real, registers);
        let allocated = allocations(|| kernel.handoff(Way::Pulled));
        assert!(kernel.verify());
        allocated
    });
    println!("allocations of a first pull: {few} with 100 parts, {many} with 1,000");
    assert!(many <= few * 11, "{many} is more than eleven times {few}");
}

/// The fourth handoff of a session, after a write that sync told the target of.
fn count(way: Way) -> Vec<(String, u64)> {
    let mut kernel = Kernel::new(Signatures::Real);
    kernel.handoff(Way::Pulled);
    kernel.handoff(Way::Pulled);
    if way != Way::Accepted {
        kernel.write(b"cursor at 2");
    }
    kernel.prepare(way);
    kernel.start_counting();
    let allocated = allocations(|| kernel.go(way));
    assert!(kernel.verify());
    let counts = kernel.counts();
    let simulated = Flights::count(match way {
        Way::Consented => flights::Way::Consented,
        Way::Accepted => flights::Way::Accepted,
        Way::Pulled => flights::Way::Pulled,
    });
    let rows = [
        ("flights-to-active", simulated.to_active),
        ("flights-to-resolved", simulated.to_resolved),
        ("syncs-to-active", simulated.syncs_to_active),
        ("syncs-to-resolved", simulated.syncs_to_resolved),
        ("flights", counts.flights.len() as u64),
        ("control-bytes", counts.control() as u64),
        ("bulk-bytes", counts.bulk as u64),
        ("batches", counts.batches.len() as u64),
        ("journal-bytes", counts.batches.iter().map(|batch| batch.1 as u64).sum()),
        ("syncs", counts.syncs as u64),
        ("signatures", counts.signatures as u64),
        ("allocations", allocated),
    ];
    rows.into_iter().map(|(row, value)| (format!("{} {row}", way.name()), value)).collect()
}

fn agrees(name: &str, now: u64, then: u64) -> bool {
    now == then || name.ends_with("allocations") && now.abs_diff(then) * 100 <= then * SLACK
}

fn parse(text: &str) -> BTreeMap<String, u64> {
    let row = |line: &str| {
        let (name, value) = line.rsplit_once(' ')?;
        Some((name.to_owned(), value.parse().ok()?))
    };
    text.lines().filter(|line| !line.starts_with('#')).filter_map(row).collect()
}

const HEAD: &str = "\
# What one handoff costs, from the command that starts it to the acknowledgement. Bytes are those of the framing layer.
# The target holds all data: sync told it of the last write before.
# Checked by `cargo test -p segue-benches`, written by it with SEGUE_COUNTS=write.
";
