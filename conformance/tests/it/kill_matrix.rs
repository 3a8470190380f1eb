//! Every mutant is killed by its intended case, and no null subject passes anything.

use segue_conformance::attach::{AdapterOptions, Host, LineHost, LocalHost, LoopWire, Null};
use segue_conformance::cases::{Case, all};
use segue_conformance::mutants::TABLE;
use segue_conformance::run::{applies, run};
use segue_conformance::verdict::Verdict;
use segue_proto::{Clause, Generation};

fn find(name: &str) -> Option<Case> {
    all().into_iter().find(|case| case.name == name)
}

/// Whether a case notices a mutant at some generation.
fn kills(host: &mut dyn Host, case: &Case) -> bool {
    let hello = host.hello().unwrap_or_default();
    Generation::ALL
        .into_iter()
        .filter(|generation| applies(case, &hello, *generation))
        .any(|generation| run(host, &hello, case, generation, 1).verdict == Verdict::Fail)
}

#[test]
fn every_mutant_is_killed_by_its_intended_case() {
    assert!(TABLE.len() >= 25);
    let mut alive = Vec::new();
    for mutant in TABLE {
        let Some(clause) = Clause::from_id(mutant.clause) else {
            alive.push(format!("{}: no such clause", mutant.clause));
            continue;
        };
        let Some(case) = find(mutant.case) else {
            alive.push(format!("{}: no case {}", mutant.clause, mutant.case));
            continue;
        };
        if !case.clauses.contains(&mutant.clause) {
            alive.push(format!("{}: {} doesn't check it", mutant.clause, mutant.case));
        }
        if !kills(&mut LocalHost::mutant(clause), &case) {
            alive.push(format!("{} survives {}", mutant.clause, mutant.case));
        }
    }
    assert!(alive.is_empty(), "{} of {}\n{}", alive.len(), TABLE.len(), alive.join("\n"));
}

#[test]
fn a_mutant_is_killed_over_the_line_protocol_too() {
    for mutant in TABLE.iter().step_by(6) {
        let options = AdapterOptions { mutant: Some(mutant.clause.into()), ..AdapterOptions::default() };
        let mut host = LineHost::new(Box::new(LoopWire::new(options)));
        let case = find(mutant.case);
        assert!(case.is_some_and(|case| kills(&mut host, &case)), "{mutant:?}");
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
