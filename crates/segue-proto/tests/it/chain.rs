//! A chain answers from its indexes what its records say.

use proptest::prelude::*;
use segue_proto::Rules;
use segue_proto::data::session_id;
use segue_proto::handoff::Chain;
use segue_proto::wire::{DeviceId, Genesis, Hash, Kind, List, Nonce, Proven, Record};

fn device(number: u8) -> DeviceId {
    DeviceId::new([number + 1; 32])
}

fn genesis() -> Record {
    Record {
        kind: Kind::Genesis.number(),
        session: session_id(&device(0), &Nonce::ZERO),
        parent: Hash::ZERO,
        term: 0,
        n: 0,
        signer: device(0),
        owner: device(0),
        grantor: device(0),
        want: Hash::new([1; 32]),
        roster: Hash::ZERO,
        genesis: Some(Genesis { nonce: Nonce::ZERO, members: List::new(vec![device(1), device(2)]).unwrap() }).into(),
    }
}

/// A record behind `parent`: by a member that takes over, or a grant to `to`.
fn next(parent: &Record, id: Hash, takes: bool, to: u8, salt: u8) -> Record {
    let (kind, signer) = if takes { (Kind::Takeover, device(to % 3)) } else { (Kind::Grant, parent.grantor) };
    Record {
        kind: kind.number(),
        parent: id,
        term: parent.term + u64::from(takes),
        n: parent.n + 1,
        signer,
        owner: if takes { signer } else { device(to) },
        grantor: if takes { signer } else { device(to) },
        want: Hash::new([salt.max(1); 32]),
        genesis: None.into(),
        ..parent.clone()
    }
}

fn check(chain: &Chain) {
    let all: Vec<_> = chain.records().collect();
    let behind = |record: &&Proven<Record>| chain.get(&record.body().parent);
    let mut line: Vec<_> = std::iter::successors(Some(chain.head()), behind).map(Proven::id).collect();
    line.reverse();
    assert!(chain.line().iter().map(|record| record.id()).eq(line.iter().copied()));
    let mut members: Vec<_> = all.iter().map(|record| record.body().owner).collect();
    members.extend([device(1), device(2)]);
    members.sort_unstable();
    members.dedup();
    assert_eq!(chain.members(), members);
    assert!(members.iter().all(|member| chain.is_member(member)) && !chain.is_member(&device(99)));
    assert!(all.iter().all(|record| chain.is_grantor(&record.body().grantor)) && !chain.is_grantor(&device(99)));
    for record in &all {
        let (id, body) = (record.id(), record.body());
        assert_eq!(chain.leads_to_head(&id), line.contains(&id));
        let after = line.iter().skip_while(|known| **known != id).skip(1).copied().collect::<Vec<_>>();
        let expected = if line.contains(&id) { after } else { line.clone() };
        assert!(chain.suffix(&id).iter().map(|record| record.id()).eq(expected));
        let continues = |child: &&Proven<Record>| child.body().parent == id && child.body().signer == body.grantor;
        assert_eq!(chain.continued(&id), all.iter().copied().any(|child| continues(&child)));
    }
    assert!(!chain.leads_to_head(&Hash::ZERO));
    assert_eq!(chain.suffix(&Hash::ZERO).len(), line.len());
}

proptest! {
    /// Grants and takeovers behind any record: many branches, and heads that change between them.
    #[test]
    fn indexes_say_what_the_records_say(
        steps in prop::collection::vec((any::<prop::sample::Index>(), prop::bool::weighted(0.3), 0..4u8, 0..4u8), 0..24)
    ) {
        let mut chain = Chain::start(Rules::ALL, Proven::assume(genesis())).unwrap();
        for (at, takes, to, salt) in steps {
            let known: Vec<_> = chain.records().map(|record| (record.id(), record.body().clone())).collect();
            let (id, parent) = at.get(&known);
            let record = Proven::assume(next(parent, *id, takes, to, salt));
            let same = |(_, other): &&(Hash, Record)| {
                other.parent == *id && other.signer == record.body().signer && other.term == record.body().term
            };
            let (expected, new) = (known.iter().find(same).map(|(id, _)| *id), chain.get(&record.id()).is_none());
            let admitted = chain.admit(Rules::ALL, record).unwrap();
            prop_assert_eq!(admitted.new, new);
            prop_assert_eq!(admitted.rival, expected.filter(|_| new));
            check(&chain);
        }
    }
}
