//! A chain answers from its indexes what its records say.

use std::cmp::Reverse;

use proptest::prelude::*;
use segue_proto::data::session_id;
use segue_proto::handoff::Chain;
use segue_proto::limits::{MAX_CHAIN, MAX_RECORDS};
use segue_proto::wire::{DeviceId, Genesis, Hash, Kind, List, Nonce, Proven, Record};
use segue_proto::{Clause, Code, Rules, Violation};

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

/// What a record is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    /// A grant, after which its new owner signs; or whoever signs now still does.
    Grant { keeps: bool },
    /// A member takes over.
    Takeover,
    /// The service is to sign, or no longer.
    Delegate,
}

const SERVICE: u8 = 50;

/// A record behind `parent`, that concerns device `to`.
fn next(parent: &Record, id: Hash, step: Step, to: u8, salt: u8) -> Record {
    let want = Hash::new([salt.max(1); 32]);
    let plain = Record { parent: id, n: parent.n + 1, signer: parent.grantor, genesis: None.into(), ..parent.clone() };
    match step {
        Step::Grant { keeps } => {
            let grantor = if keeps { parent.grantor } else { device(to) };
            Record { kind: Kind::Grant.number(), owner: device(to), grantor, want, ..plain }
        }
        Step::Takeover => {
            let (kind, term, by) = (Kind::Takeover.number(), parent.term + 1, device(to % 3));
            Record { kind, term, signer: by, owner: by, grantor: by, want, ..plain }
        }
        Step::Delegate => {
            let grantor = if parent.grantor == device(SERVICE) { parent.owner } else { device(SERVICE) };
            Record { kind: Kind::Delegate.number(), grantor, roster: Hash::new([salt + 100; 32]), ..plain }
        }
    }
}

/// Term, takeover that opened it, number, and id: of two records the one with the higher is higher.
fn rank(chain: &Chain, record: &Proven<Record>) -> (u64, Hash, u64, Reverse<Hash>) {
    let opens = |record: &&Proven<Record>| record.body().kind == Kind::Takeover.number();
    let opener = back(chain, record).into_iter().find(opens).map_or(Hash::ZERO, Proven::id);
    (record.body().term, opener, record.body().n, Reverse(record.id()))
}

/// A record and those before it, newest first.
fn back<'a>(chain: &'a Chain, record: &'a Proven<Record>) -> Vec<&'a Proven<Record>> {
    std::iter::successors(Some(record), |record| chain.get(&record.body().parent)).collect()
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
    let highest = all.iter().copied().max_by_key(|record| rank(chain, record)).map(Proven::id);
    assert_eq!(Some(chain.head().id()), highest);
    let opener = rank(chain, chain.head()).1;
    assert_eq!(chain.opener().map(Proven::id), Some(opener).filter(|opener| !opener.is_zero()));
    let serves = |record: &&Proven<Record>| record.body().grantor == device(SERVICE);
    assert_eq!(chain.is_service(&device(SERVICE)), all.iter().any(serves));
    // Only a service signs for others, unless a grant left that to whoever owned before.
    let serves = |record: &&Proven<Record>| record.body().grantor == device(0) && record.body().owner != device(0);
    assert_eq!(chain.is_service(&device(0)), all.iter().any(serves));
    let grantor = chain.head().body().grantor;
    let named = |record: &&Proven<Record>| {
        let body = record.body();
        body.kind == Kind::Delegate.number() && body.grantor == grantor && body.signer != grantor
    };
    let tenure = back(chain, chain.head()).into_iter().find(named).map(|record| record.body().roster);
    assert_eq!(chain.tenure(), tenure);
    for record in &all {
        let (id, body) = (record.id(), record.body());
        let mut path: Vec<_> = back(chain, record).into_iter().map(Proven::id).collect();
        path.reverse();
        assert!(chain.path(&id).into_iter().map(Proven::id).eq(path));
        let mut children: Vec<_> = chain.children(&id).map(Proven::id).collect();
        children.sort_unstable();
        assert!(children.into_iter().eq(all.iter().filter(|child| child.body().parent == id).map(|child| child.id())));
        let next = line.iter().skip_while(|known| **known != id).nth(1).copied();
        assert_eq!(chain.next_to_head(&id).map(Proven::id), next);
        for other in &all {
            assert_eq!(chain.is_above(&id, &other.id()), rank(chain, record) > rank(chain, other));
        }
        assert!(!chain.is_above(&id, &Hash::ZERO) && !chain.is_above(&Hash::ZERO, &id));
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

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        5 => prop::bool::weighted(0.2).prop_map(|keeps| Step::Grant { keeps }),
        3 => Just(Step::Takeover),
        2 => Just(Step::Delegate),
    ]
}

/// HO-HEAD-2: a chain goes in as few pages as hold it, in its order.
#[test]
fn a_chain_goes_in_pages() {
    let mut chain = Chain::start(Rules::ALL, Proven::assume(genesis())).unwrap();
    for at in 0..300_u32 {
        let (id, head) = (chain.head().id(), chain.head().body().clone());
        let record = next(&head, id, Step::Grant { keeps: false }, (at % 4) as u8, 1);
        chain.admit(Rules::ALL, Proven::assume(record)).unwrap();
    }
    let ids: Vec<_> = chain.line().iter().map(|record| record.id()).collect();
    let len = |record: &segue_proto::wire::Signed<Record>| record.body_bytes().len() + 66;
    for (from, rest) in [(Hash::ZERO, &ids[..]), (ids[100], &ids[101..]), (ids[299], &ids[300..])] {
        for room in [1, 1_000, 10_000, 1_000_000] {
            let pages = chain.pages(&from, room);
            assert!(pages.iter().flatten().map(|record| record.id()).eq(rest.iter().copied()), "{room} bytes");
            for (page, more) in pages.iter().zip(&pages[1..]) {
                let size: usize = page.iter().map(len).sum();
                assert!(size <= room || page.len() <= 1, "{size} bytes in {room}");
                let full = size + more.first().map_or(0, len) > room;
                assert!(full || page.len() == MAX_RECORDS, "{} records", page.len());
            }
            assert!(pages.iter().all(|page| page.len() <= MAX_RECORDS));
        }
    }
    let behind_all = chain.pages(&ids[300], 1_000);
    assert_eq!(behind_all.iter().map(Vec::len).collect::<Vec<_>>(), [0], "one page at least");
}

#[test]
fn a_chain_has_so_many_records() {
    let mut chain = Chain::start(Rules::ALL, Proven::assume(genesis())).unwrap();
    let behind = |chain: &Chain, to| {
        let (id, head) = (chain.head().id(), chain.head().body().clone());
        Proven::assume(next(&head, id, Step::Grant { keeps: false }, to, 1))
    };
    for at in 1..MAX_CHAIN {
        let record = behind(&chain, (at % 4) as u8);
        assert!(chain.admit(Rules::ALL, record).unwrap().new, "{at}");
    }
    assert_eq!(chain.records().count(), MAX_CHAIN);
    let full = Violation::new(Code::LIMIT_ROOM, Clause::HO_CHAIN_1);
    let more = behind(&chain, 0);
    assert_eq!(chain.admit(Rules::ALL, more).unwrap_err(), full);
    let known = chain.head().clone();
    assert!(!chain.admit(Rules::ALL, known).unwrap().new);
}

proptest! {
    /// Grants, delegates and takeovers behind any record: many branches, and heads that change between them.
    #[test]
    fn indexes_say_what_the_records_say(
        steps in prop::collection::vec((any::<prop::sample::Index>(), step(), 0..4u8, 0..4u8), 0..24)
    ) {
        let mut chain = Chain::start(Rules::ALL, Proven::assume(genesis())).unwrap();
        for (at, step, to, salt) in steps {
            let known: Vec<_> = chain.records().map(|record| (record.id(), record.body().clone())).collect();
            let (id, parent) = at.get(&known);
            let record = Proven::assume(next(parent, *id, step, to, salt));
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
