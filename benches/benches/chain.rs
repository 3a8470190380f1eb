//! Chains of records: `cargo bench -p segue-benches --bench chain`.
//!
//! Taking a record in, at the end of short and of long chains; the suffix that a HEAD carries; the members. Signatures
//! are left out: records are assumed to be proven.

use std::hint::black_box;

use criterion::{BatchSize, BenchmarkId, Criterion, criterion_group, criterion_main};
use segue_proto::Rules;
use segue_proto::data::session_id;
use segue_proto::handoff::Chain;
use segue_proto::wire::{DeviceId, Genesis, Hash, Kind, List, Nonce, Proven, Record};

const DEVICES: [DeviceId; 2] = [DeviceId::new([1; 32]), DeviceId::new([2; 32])];

fn chains(c: &mut Criterion) {
    for len in [4, 64, 1_024] {
        let (chain, next) = chain(len);
        let mut group = c.benchmark_group("chain");
        group.bench_with_input(BenchmarkId::new("admit", len), &len, |b, _| {
            let fresh = || (chain.clone(), next.clone());
            b.iter_batched_ref(
                fresh,
                |(chain, next)| chain.admit(Rules::ALL, next.clone()).is_ok(),
                BatchSize::LargeInput,
            );
        });
        group.bench_with_input(BenchmarkId::new("suffix-of-one", len), &len, |b, _| {
            let parent = chain.head().body().parent;
            b.iter(|| black_box(&chain).suffix(&parent).len());
        });
        group.bench_with_input(BenchmarkId::new("is-member", len), &len, |b, _| {
            b.iter(|| black_box(&chain).is_member(&DEVICES[1]));
        });
        group.finish();
    }
}

/// A chain of so many records between two devices, and the one that would follow.
fn chain(len: usize) -> (Chain, Proven<Record>) {
    let nonce = Nonce::new([1; 16]);
    let genesis = Genesis { nonce, members: List::new(vec![DEVICES[1]]).unwrap_or_default() };
    let mut record = Record {
        kind: Kind::Genesis.number(),
        session: session_id(&DEVICES[0], &nonce),
        parent: Hash::ZERO,
        term: 0,
        n: 0,
        signer: DEVICES[0],
        owner: DEVICES[0],
        grantor: DEVICES[0],
        want: Hash::new([1; 32]),
        roster: Hash::ZERO,
        genesis: Some(genesis).into(),
    };
    let mut chain = Chain::start(Rules::ALL, Proven::assume(record.clone())).expect("a genesis starts a chain");
    for at in 1..=len {
        record = Record {
            kind: Kind::Grant.number(),
            parent: chain.head().id(),
            n: at as u64,
            signer: record.owner,
            owner: DEVICES[at % 2],
            grantor: DEVICES[at % 2],
            genesis: None.into(),
            ..record
        };
        if at < len {
            chain.admit(Rules::ALL, Proven::assume(record.clone())).expect("a grant follows");
        }
    }
    (chain, Proven::assume(record))
}

criterion_group!(benches, chains);
criterion_main!(benches);
