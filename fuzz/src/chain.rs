//! A chain of records that need no signatures, so that the fuzzer gets past them.

use segue_proto::Rules;
use segue_proto::data::{actor_id, session_id};
use segue_proto::handoff::Chain;
use segue_proto::wire::codec::decode;
use segue_proto::wire::{DeviceId, Genesis, Hash, Kind, List, Nonce, Proven, Record, SessionId};

use crate::input::Input;
use crate::seeds::device;

/// Records, each of fields that the bytes choose, or whole bodies. A chain takes in what follows, and only that; its
/// head is the highest and never falls; the order in which records come doesn't matter to it; its suffixes join up.
pub fn chain(data: &[u8]) {
    let mut input = Input::new(data);
    let nonce = Nonce::new([8; 16]);
    let session = session_id(&device(1), &nonce);
    let Ok(mut chain) = Chain::start(Rules::ALL, Proven::assume(genesis(session, nonce))) else { return };
    let mut admitted: Vec<Proven<Record>> = Vec::new();
    let mut known = vec![chain.head().clone()];
    while !input.is_empty() && admitted.len() < 64 {
        let Some(record) = next(&mut input, session, &known) else { continue };
        let record = Proven::assume(record);
        let (before, would) = (rank(&chain), chain.admits(Rules::ALL, &record));
        let is_new = chain.get(&record.id()).is_none();
        let outcome = chain.admit(Rules::ALL, record.clone());
        assert!(!is_new || outcome.is_ok() == would.is_ok(), "admits says what admit does");
        assert!(rank(&chain) >= before, "a head never falls");
        if let Ok(admitted_as) = outcome
            && admitted_as.new
        {
            check_follows(&chain, &record);
            assert_eq!(admitted_as.head, chain.head().id() == record.id());
            known.push(record.clone());
            admitted.push(record);
        }
    }
    check_suffixes(&chain, &known);
    check_order(session, nonce, &chain, admitted);
}

/// Term, then the takeover that opened it, then number; of two equals the smaller id.
fn rank(chain: &Chain) -> (u64, Hash, u64) {
    let head = chain.head().body();
    let suffix = chain.suffix(&Hash::ZERO);
    let opener = suffix.iter().rev().find(|record| record.body().kind == Kind::Takeover.number());
    (head.term, opener.map_or(Hash::ZERO, |record| record.id()), head.n)
}

fn check_follows(chain: &Chain, record: &Proven<Record>) {
    let body = record.body();
    let Some(parent) = chain.get(&body.parent).map(Proven::body) else { panic!("a record without its parent") };
    let takeover = body.kind == Kind::Takeover.number();
    assert_eq!(body.n, parent.n + 1);
    assert_eq!(body.term, parent.term + u64::from(takeover));
    assert!(takeover || body.signer == parent.grantor, "only the grantor signs");
    // A grantor that isn't the owner does, for a device that wanted the session, when the owner's lease has run out.
    let by_lease = body.signer == parent.grantor && parent.grantor != parent.owner && body.owner != body.signer;
    assert!(
        !takeover || chain.is_member(&body.signer) || by_lease,
        "only a member takes over, or a service by a lease"
    );
    assert_ne!(parent.kind, Kind::Close.number(), "nothing follows a close");
}

fn check_suffixes(chain: &Chain, known: &[Proven<Record>]) {
    let whole = chain.suffix(&Hash::ZERO);
    assert!(whole.windows(2).all(|pair| pair[1].body().parent == pair[0].id()));
    assert_eq!(whole.last().map(|last| last.id()), Some(chain.head().id()));
    for record in known {
        let suffix = chain.suffix(&record.id());
        let leads = chain.leads_to_head(&record.id());
        let expected = if leads { whole.len() - 1 - record.body().n as usize } else { whole.len() };
        assert_eq!(suffix.len(), expected);
    }
}

/// The same records, the last first as far as parents permit, give the same head.
fn check_order(session: SessionId, nonce: Nonce, chain: &Chain, mut left: Vec<Proven<Record>>) {
    let Ok(mut other) = Chain::start(Rules::ALL, Proven::assume(genesis(session, nonce))) else { return };
    left.reverse();
    while !left.is_empty() {
        let before = left.len();
        left.retain(|record| other.admit(Rules::ALL, record.clone()).is_err());
        assert!(left.len() < before, "what one order takes in, another does");
    }
    assert_eq!(other.head().id(), chain.head().id(), "the head hangs on what is known, not on its order");
}

fn next(input: &mut Input<'_>, session: SessionId, known: &[Proven<Record>]) -> Option<Record> {
    if input.byte() == 255 {
        let len = usize::from(input.short());
        return decode(Rules::ALL, input.take(len)).ok();
    }
    let parent = input.pick(known)?;
    let kind = 1 + input.below(4) as u8;
    let odd = input.byte();
    let signer = if odd & 1 == 0 { parent.body().grantor } else { cast(input) };
    let closes = kind == Kind::Close.number() && odd & 2 == 0;
    let owner = if closes { DeviceId::ZERO } else { cast(input) };
    let takeover = u64::from(kind == Kind::Takeover.number());
    let (owner, signer) = if takeover == 1 && odd & 2 == 0 { (signer, signer) } else { (owner, signer) };
    let off = |bit: u8| u64::from(odd & bit != 0);
    Some(Record {
        kind,
        session: if odd & 4 == 0 { session } else { SessionId::ZERO },
        parent: parent.id(),
        term: (parent.body().term + takeover).wrapping_sub(off(8)),
        n: (parent.body().n + 1).wrapping_add(off(16)),
        signer,
        owner: if kind == Kind::Delegate.number() && odd & 2 == 0 { parent.body().owner } else { owner },
        grantor: if odd & 32 == 0 { owner } else { cast(input) },
        want: if closes { Hash::ZERO } else { want(kind, parent, input) },
        roster: Hash::ZERO,
        genesis: None.into(),
    })
}

fn want(kind: u8, parent: &Proven<Record>, input: &mut Input<'_>) -> Hash {
    if kind == Kind::Delegate.number() { parent.body().want } else { Hash::new([input.byte() | 1; 32]) }
}

fn cast(input: &mut Input<'_>) -> DeviceId {
    device(1 + input.below(3) as u8)
}

fn genesis(session: SessionId, nonce: Nonce) -> Record {
    let me = device(1);
    let members = List::new(vec![device(2)]).unwrap_or_default();
    Record::genesis(session, me, actor_id(&me, &nonce), Genesis { nonce, members })
}
