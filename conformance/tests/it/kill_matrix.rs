//! Every mutant is killed by its intended case, and no null subject passes anything.

use std::collections::BTreeSet;

use segue_conformance::attach::{AdapterOptions, Host, LineHost, LoopWire, Null};
use segue_conformance::cases::{Case, all};
use segue_conformance::mutants::{Mutant, TABLE};
use segue_conformance::pairs::Cell;
use segue_conformance::report::exclusions;
use segue_conformance::report::kills::kills;
use segue_conformance::run::{applies, run};
use segue_conformance::spec;
use segue_conformance::verdict::Verdict;
use segue_proto::Generation;

fn find(name: &str) -> Option<Case> {
    all().into_iter().find(|case| case.name == name)
}

/// Whether a case notices a mutant at some generation.
fn notices(host: &mut dyn Host, case: &Case) -> bool {
    let hello = host.hello().unwrap_or_default();
    Generation::ALL
        .into_iter()
        .filter(|generation| applies(case, &hello, *generation))
        .any(|generation| run(host, &hello, case, generation, 1).verdict == Verdict::Fail)
}

#[test]
fn every_mutant_is_killed_by_its_intended_case() {
    let mut alive = Vec::new();
    for mutant in TABLE {
        if mutant.switch().is_none() {
            alive.push(format!("{}: the reference can't do without {}", mutant.clause, mutant.without));
        } else if !checks(mutant.case).contains(&mutant.clause.to_string()) {
            alive.push(format!("{}: {} doesn't check it, or isn't there", mutant.clause, mutant.case));
        } else if !kills(mutant) {
            alive.push(format!("{} survives {}", mutant.clause, mutant.case));
        }
    }
    assert!(alive.is_empty(), "{} of {}\n{}", alive.len(), TABLE.len(), alive.join("\n"));
}

/// The clauses that a case or pair checks.
fn checks(name: &str) -> Vec<String> {
    let case = find(name).map(|case| case.clauses.iter().map(|clause| (*clause).to_string()).collect());
    let pair = || Cell::all().into_iter().find(|cell| cell.name() == name).map(|cell| vec![cell.clause()]);
    case.or_else(pair).unwrap_or_default()
}

/// The numbers that the suite promises of itself: every clause is classified, and of the MUSTs that can be observed so
/// many are tested, and the test seen failing on a mutant.
#[test]
fn the_clauses_are_classified_and_the_musts_are_backed_by_mutants() {
    let excluded = exclusions();
    let tested: BTreeSet<String> = all()
        .iter()
        .flat_map(|case| case.clauses.iter().map(|clause| (*clause).to_string()))
        .chain(Cell::all().iter().map(Cell::clause))
        .collect();
    let known = |id: &str| tested.contains(id) || excluded.contains_key(id);
    let open: Vec<&str> = spec::requirements().iter().map(|it| it.id).filter(|id| !known(id)).collect();
    assert!(open.is_empty(), "neither tested nor excluded: {open:?}");
    let both: Vec<&String> = excluded.keys().filter(|id| tested.contains(*id)).collect();
    assert!(both.is_empty(), "excluded, though a case checks them: {both:?}");
    let observable = spec::requirements().into_iter().filter(|it| it.is_must() && !excluded.contains_key(it.id));
    let (backed, bare): (Vec<&str>, Vec<&str>) =
        observable.map(|it| it.id).partition(|id| tested.contains(*id) && Mutant::find(id).is_some());
    let (of, mutants) = (backed.len() + bare.len(), TABLE.len());
    let share = backed.len() * 100 / of;
    println!("{mutants} mutants; {} of {of} observable MUSTs tested and backed by a mutant: {share} %", backed.len());
    assert!(share >= 85, "{share} %; without a mutant: {bare:?}");
    assert!(mutants >= 100, "{mutants}");
    let names: BTreeSet<&str> = TABLE.iter().map(|mutant| mutant.clause).collect();
    assert_eq!(names.len(), mutants, "two mutants of one name");
}

#[test]
fn a_mutant_is_killed_over_the_line_protocol_too() {
    for mutant in TABLE.iter().step_by(6) {
        let options = AdapterOptions { mutant: Some(mutant.clause.into()), ..AdapterOptions::default() };
        let mut host = LineHost::new(Box::new(LoopWire::new(options)));
        let case = find(mutant.case);
        assert!(case.is_none_or(|case| notices(&mut host, &case)), "{mutant:?}");
    }
}

#[test]
fn no_null_subject_passes_anything() {
    for null in Null::ALL {
        let options = AdapterOptions { mutant: Some(null.name().into()), ..AdapterOptions::default() };
        let mut host = LineHost::new(Box::new(LoopWire::new(options)));
        let Ok(hello) = host.hello() else { continue };
        for case in all() {
            for generation in Generation::ALL.into_iter().filter(|generation| applies(&case, &hello, *generation)) {
                let result = run(&mut host, &hello, &case, generation, 1);
                assert_ne!(result.verdict, Verdict::Pass, "{} passes {} at {generation}", null.name(), case.name);
            }
        }
    }
}
