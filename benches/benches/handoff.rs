//! Whole handoffs through two endpoints in memory: `cargo bench -p segue-benches --bench handoff`.
//!
//! From the command that starts it to the acknowledgement, every byte decoded, each way, with signatures and without;
//! `signatures` is as many of them as a handoff makes and verifies, so that the difference is seen twice. Throughput is
//! handoffs per second. Each sample starts from a session that has moved four times; `long` from one that has moved
//! 1,000 times.

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use ed25519_dalek::SigningKey;
use segue_benches::{Kernel, Signatures, Way, work};

fn handoffs(c: &mut Criterion) {
    let mut group = c.benchmark_group("handoff");
    group.throughput(Throughput::Elements(1));
    for (signatures, kind) in [(Signatures::Without, "kernel"), (Signatures::Real, "signed")] {
        for way in Way::ALL {
            group.bench_function(format!("{kind}/{}", way.name()), |b| {
                b.iter_batched_ref(|| ready(signatures, way, 2), |kernel| kernel.go(way), BatchSize::SmallInput);
            });
        }
    }
    group.bench_function("signatures/push-standing", |b| {
        let key = SigningKey::from_bytes(&[1; 32]);
        // Made: record, FINAL, acknowledgement. Verified: the three of the GRANT, and the acknowledgement.
        b.iter(|| work(&key, 3, 4));
    });
    group.sample_size(10);
    group.bench_function("long/push-standing", |b| {
        let way = Way::Consented;
        b.iter_batched_ref(|| ready(Signatures::Without, way, 1_000), |kernel| kernel.go(way), BatchSize::PerIteration);
    });
    group.finish();
}

fn ready(signatures: Signatures, way: Way, moves: usize) -> Kernel {
    let mut kernel = Kernel::new(signatures);
    (0..moves).for_each(|_| kernel.handoff(Way::Pulled));
    if way != Way::Accepted {
        kernel.write(b"cursor");
    }
    kernel.prepare(way);
    kernel
}

criterion_group!(benches, handoffs);
criterion_main!(benches);
