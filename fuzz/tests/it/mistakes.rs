//! Services with one mistake each: the targets that watch a service notice them, from their corpus and its mutations.

use std::panic::{AssertUnwindSafe, catch_unwind};

use segue_fuzz::{custody_by, login_by};
use segue_proto::{Clause, Rules};
use segue_testkit::Rng;

use crate::replay::{corpus, mutate};

#[test]
fn a_service_that_leaves_a_clause_of_custody_out_is_noticed() {
    let left_out = [
        Clause::HO_MEMBER_1,
        Clause::SERVICE_GRANTOR_3,
        Clause::SERVICE_GRANTOR_4,
        Clause::SERVICE_GRANTOR_7,
        Clause::SERVICE_LEASE_1,
        Clause::SERVICE_TENURE_1,
    ];
    let noticed = |clause: &Clause| is_noticed("custody", |input| custody_by(Rules::without(*clause), input));
    let missed: Vec<_> = left_out.into_iter().filter(|clause| !noticed(clause)).collect();
    assert!(missed.is_empty(), "{missed:?}");
}

#[test]
fn a_service_that_leaves_a_clause_of_logins_out_is_noticed() {
    let left_out = [
        Clause::SERVICE_LOGIN_1,
        Clause::SERVICE_LOGIN_2,
        Clause::SERVICE_LOGIN_3,
        Clause::SERVICE_LOGIN_5,
        Clause::SERVICE_LOGIN_6,
    ];
    let noticed = |clause: &Clause| is_noticed("login", |input| login_by(Rules::without(*clause), input));
    let missed: Vec<_> = left_out.into_iter().filter(|clause| !noticed(clause)).collect();
    assert!(missed.is_empty(), "{missed:?}");
}

fn is_noticed(target: &str, run: impl Fn(&[u8])) -> bool {
    let (corpus, mut rng) = (corpus(target), Rng::new(1, target));
    let fails = |input: &[u8]| catch_unwind(AssertUnwindSafe(|| run(input))).is_err();
    corpus.iter().any(|(_, seed)| fails(seed))
        || (0..MUTATIONS).any(|_| {
            let other = rng.pick(&corpus).map_or(&[][..], |(_, other)| other);
            corpus.iter().any(|(_, seed)| fails(&mutate(seed, other, &mut rng)))
        })
}

/// Of each seed.
const MUTATIONS: u32 = 500;
