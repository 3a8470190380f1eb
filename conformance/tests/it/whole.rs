//! Pairs, lists and names.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::rc::Rc;

use segue_conformance::attach::{AdapterOptions, Host, LineHost, LoopWire};
use segue_conformance::cases;
use segue_conformance::pairs::{Cell, Shared, play};
use segue_conformance::report::exclusions;
use segue_conformance::spec;

fn shared() -> Shared {
    let host: Box<dyn Host> = Box::new(LineHost::new(Box::new(LoopWire::new(AdapterOptions::default()))));
    Rc::new(RefCell::new(host))
}

#[test]
fn every_pair_does_what_the_table_says() {
    let hosts = [shared(), shared()];
    let faults: Vec<String> = Cell::all()
        .into_iter()
        .filter_map(|cell| {
            let found = play(&hosts, cell, 1, 1);
            let (seed, reason) = found.fault?;
            Some(format!("{} seed {seed}: {}\n  {}", cell.name(), reason.came, reason.text().join("\n  ")))
        })
        .collect();
    assert!(faults.is_empty(), "{} cells\n{}", faults.len(), faults.join("\n"));
}

#[test]
fn a_pair_plays_alike_when_played_again() {
    let cell = Cell::all()[0];
    assert_eq!(play(&[shared(), shared()], cell, 7, 1), play(&[shared(), shared()], cell, 7, 1));
}

#[test]
fn names_are_unique_and_every_clause_is_one_of_the_spec() {
    let all = cases::all();
    let names: BTreeSet<&str> = all.iter().map(|case| case.name).collect();
    assert_eq!(names.len(), all.len());
    assert!(all.len() >= 100, "{}", all.len());
    let required = spec::ids();
    for case in &all {
        assert!(!case.clauses.is_empty(), "{}", case.name);
        for clause in case.clauses {
            assert!(required.contains(*clause), "{} checks {clause}, which the spec doesn't have", case.name);
        }
    }
    for clause in exclusions().keys() {
        assert!(required.contains(clause), "{clause} is excluded, and the spec doesn't have it");
    }
}
