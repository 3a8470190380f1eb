//! The reference passes every case.

use segue_conformance::attach::{Host, LocalHost};
use segue_conformance::run::{applies, run};
use segue_conformance::verdict::Verdict;
use segue_proto::Generation;

#[test]
fn the_reference_passes_every_case() {
    let mut host = LocalHost::new();
    let hello = host.hello().unwrap_or_default();
    let mut failures = Vec::new();
    let mut ran = 0;
    for case in segue_conformance::cases::all() {
        for generation in Generation::ALL {
            if applies(&case, &hello, generation) {
                ran += 1;
                let result = run(&mut host, &hello, &case, generation, 1);
                if result.verdict != Verdict::Pass {
                    let reason = result.reason.map(|reason| {
                        format!(
                            "expected {}\n  came {}\n    {}",
                            reason.expected,
                            reason.came,
                            reason.text().join("\n    ")
                        )
                    });
                    failures.push(format!("{} at {generation}: {}", case.name, reason.unwrap_or_default()));
                }
            }
        }
    }
    let total = failures.len();
    assert!(failures.is_empty(), "{total} of {ran} failed\n{}", failures.join("\n"));
}
