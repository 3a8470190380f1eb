//! Tier B: the reference passes over QUIC, its mutants are noticed, and subjects that implement nothing pass nothing.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use segue_conformance::attach::{AdapterOptions, Hello, Hollow, Host, LineHost, LoopWire, Tier};
use segue_conformance::cases::{self, Case};
use segue_conformance::loopback::{GUARD, Rig, generation, play};
use segue_conformance::mutants::{Mutant, SOCKETS};
use segue_conformance::run;
use segue_conformance::spec;
use segue_conformance::verdict::Verdict;

fn host(mutant: Option<&str>) -> (LineHost, Hello) {
    let options = AdapterOptions { mutant: mutant.map(Into::into), quic: true, ..AdapterOptions::default() };
    let mut host = LineHost::new(Box::new(LoopWire::new(options)));
    let hello = host.hello().unwrap_or_default();
    (host, hello)
}

fn played(host: &mut LineHost, hello: &Hello, rig: &Rig, case: &Case) -> Option<run::Result> {
    let generation = generation(case, hello, &[])?;
    Some(play(host, rig, hello, case, generation, 1))
}

#[test]
fn the_reference_passes_every_case_over_quic() {
    let rig = Rig::new(GUARD).expect("a runtime");
    let (mut host, hello) = host(None);
    let mut failures = Vec::new();
    for case in cases::of(Tier::B) {
        let began = std::time::Instant::now();
        let Some(result) = played(&mut host, &hello, &rig, &case) else { continue };
        if began.elapsed().as_secs() > 0 {
            eprintln!("{} took {:?}", case.name, began.elapsed());
        }
        if result.verdict != Verdict::Pass {
            let reason = result.reason.map(|reason| {
                format!("expected {}\n  came {}\n    {}", reason.expected, reason.came, reason.text().join("\n    "))
            });
            failures.push(format!("{} {:?}: {}", case.name, result.verdict, reason.unwrap_or_default()));
        }
    }
    assert!(failures.is_empty(), "{} failed\n{}", failures.len(), failures.join("\n"));
}

#[test]
fn every_mutant_over_quic_is_killed_by_its_intended_case() {
    let (next, alive) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                while let Some(mutant) = SOCKETS.get(next.fetch_add(1, Ordering::SeqCst)) {
                    alive.lock().unwrap().extend(survives(mutant));
                }
            });
        }
    });
    let alive = alive.into_inner().unwrap();
    assert!(alive.is_empty(), "{} of {}\n{}", alive.len(), SOCKETS.len(), alive.join("\n"));
}

/// Why a mutant isn't killed, if it isn't. One that only says nothing where it had to refuse is inconclusive, which is no
/// certificate either; those of the transport's own requirements are caught in the act.
fn survives(mutant: &Mutant) -> Option<String> {
    let rig = Rig::new(SHORT).expect("a runtime");
    let (mut host, hello) = host(Some(mutant.clause));
    let Some(case) = cases::find(mutant.case) else { return Some(format!("no case {}", mutant.case)) };
    if !case.clauses.contains(&mutant.clause) {
        return Some(format!("{}: {} doesn't check it", mutant.clause, mutant.case));
    }
    let result = played(&mut host, &hello, &rig, &case)?;
    let why = result.reason.map_or(String::new(), |it| format!("expected {}, came {}", it.expected, it.came));
    let caught = mutant.clause.starts_with("TRANSPORT-") && mutant.clause != "TRANSPORT-STREAM-2";
    let killed = match result.verdict {
        Verdict::Fail => true,
        Verdict::Inconclusive => !caught && !why.contains("its twin"),
        Verdict::Pass | Verdict::Unsupported => false,
    };
    (!killed).then(|| format!("{} at {}: {:?}, {why}", mutant.clause, mutant.case, result.verdict))
}

#[test]
fn no_hollow_subject_passes_anything() {
    std::thread::scope(|scope| {
        for hollow in Hollow::ALL {
            scope.spawn(move || {
                let rig = Rig::new(SHORTER).expect("a runtime");
                let (mut host, hello) = host(Some(hollow.name()));
                for case in cases::of(Tier::B) {
                    let Some(result) = played(&mut host, &hello, &rig, &case) else { continue };
                    assert_ne!(result.verdict, Verdict::Pass, "{} passes {}", hollow.name(), case.name);
                }
            });
        }
    });
}

#[test]
fn there_are_sixty_misbehaviours_each_with_a_clause_and_a_code() {
    let cases = cases::of(Tier::B);
    let required = spec::ids();
    let mut names = std::collections::BTreeSet::new();
    for case in &cases {
        assert!(case.name.starts_with("transport/") && names.insert(case.name), "{}", case.name);
        assert!(!case.clauses.is_empty(), "{} is tied to no clause", case.name);
        let unknown = case.clauses.iter().find(|clause| !required.contains(**clause));
        assert_eq!(unknown, None, "{}", case.name);
    }
    let bad = cases.iter().filter(|case| case.is_negative()).count();
    assert!(bad >= 60, "{bad} misbehaviours");
    let transport = required.iter().filter(|id| id.starts_with("TRANSPORT-"));
    let checked = |id: &&String| cases.iter().any(|case| case.clauses.contains(&id.as_str()));
    let open: Vec<_> = transport.filter(|id| !checked(id)).collect();
    assert!(open.is_empty(), "no case checks {open:?}");
}

/// Patience where silence is expected behind a twin that works.
const SHORT: Duration = Duration::from_secs(8);
/// Patience with those of whom nothing is expected.
const SHORTER: Duration = Duration::from_millis(400);
