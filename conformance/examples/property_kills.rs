//! Which properties catch which mutants: `cargo run --release -p segue-conformance --example property_kills -- [CLAUSE]…`.
//!
//! Of all mutants, which takes minutes, or of the clauses that are named. Each line is a mutant and a token for each
//! property that catches it, to be shown again by `segue certify --replay TOKEN`. For whoever adds a property.

use std::cell::RefCell;
use std::process::ExitCode;
use std::rc::Rc;

use segue_conformance::attach::LocalHost;
use segue_conformance::mutants::TABLE;
use segue_conformance::pairs::Shared;
use segue_conformance::properties::{ALL, search, token};
use segue_proto::{Clause, Generation};

/// Sequences that a property tries. From: each mutant that the suite's tests name is caught within 40.
const SEQUENCES: u32 = 40;

fn main() -> ExitCode {
    let named: Vec<String> = std::env::args().skip(1).collect();
    if let Some(unknown) = named.iter().find(|name| !TABLE.iter().any(|mutant| mutant.clause == *name)) {
        eprintln!("{unknown} is no clause that a mutant breaks; `segue adapter --list-mutants` lists them");
        return ExitCode::from(2);
    }
    let wanted = |clause: &str| named.is_empty() || named.iter().any(|name| name == clause);
    for mutant in TABLE.iter().filter(|mutant| wanted(mutant.clause)) {
        let Some(clause) = Clause::from_id(mutant.clause) else { continue };
        let host = || -> Shared { Rc::new(RefCell::new(Box::new(LocalHost::mutant(clause)))) };
        let hosts = [host(), host()];
        let hello = hosts[0].borrow_mut().hello().unwrap_or_default();
        let caught = ALL.iter().filter_map(|property| {
            let failure = search(&hosts, &hello, property, Generation::V7, 1, SEQUENCES)?;
            Some(token::write(property, &failure.sequence))
        });
        println!("{clause}: {}", caught.collect::<Vec<_>>().join(" "));
    }
    ExitCode::SUCCESS
}
