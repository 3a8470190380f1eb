//! Hands a session over 1,000 times between two endpoints in memory, without signatures: what `instructions.sh` counts.
//!
//! `cargo run --release -p segue-benches --example kernel` prints the time per handoff. A hundred handoffs a session, so
//! that setting one up weighs little; `kernel long` lets one chain grow instead.

use std::time::{Duration, Instant};

use segue_benches::{Kernel, Signatures, Way};

fn main() {
    let per_session = if std::env::args().nth(1).is_some_and(|arg| arg == "long") { 1_000 } else { 100 };
    let (mut done, mut took) = (0, Duration::ZERO);
    while done < 1_000 {
        let mut kernel = Kernel::new(Signatures::Without);
        for _ in 0..per_session.min(1_000 - done) {
            let start = Instant::now();
            kernel.handoff(Way::Consented);
            took += start.elapsed();
            done += 1;
        }
        assert!(kernel.verify());
    }
    println!("{done} handoffs, consent included, {:.2} µs each", took.as_secs_f64() * 1e6 / f64::from(done));
}
