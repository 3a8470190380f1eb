//! Chains of records: which record is the head, and which records aren't taken in.

mod byhand;

use segue_proto::handoff::Chain;
use segue_proto::wire::{DeviceId, Hash, Kind, List, Nonce, Record, Signed};
use segue_proto::{Rules, Violation};

use crate::json::Json;
use crate::vectors::cast::{Device, LAPTOP, PHONE, STRANGER, Story, TABLET, story};
use crate::vectors::form::{Book, Vector, bytes};
use crate::vectors::wire::signed;

/// Adds the vectors.
pub(crate) fn add(book: &mut Book) {
    let story = story();
    order(book, &story);
    steps(book, &story);
    fields(book, &story);
    genesis(book, &story);
}

/// The records that came before.
type Before<'a> = &'a [&'a Signed<Record>];

/// The clause that is broken, and the error code.
type Broken = (&'static str, &'static str);

/// Records as they come in, and the head that they give.
fn order(book: &mut Book, story: &Story) {
    let delegate = Signed::sign(&story.delegate_body(), &PHONE.key());
    let by_laptop = Signed::sign(&story.takeover_body(LAPTOP, &story.genesis, 1), &LAPTOP.key());
    let by_tablet = Signed::sign(&story.takeover_body(TABLET, &story.genesis, 1), &TABLET.key());
    let late = Signed::sign(&story.takeover_body(TABLET, &delegate, 3), &TABLET.key());
    let close = Signed::sign(&story.close_body(LAPTOP, &by_laptop, 1, 2), &LAPTOP.key());
    let other = Record { owner: TABLET.id(), grantor: TABLET.id(), ..story.grant_body() };
    let other = Signed::sign(&other, &LAPTOP.key());
    let lease = Signed::sign(&lease_body(story, &delegate), &TABLET.key());
    let grant = &story.record;
    let genesis = &story.genesis;
    for (name, what, records) in [
        ("head-n", "In one term the greater n wins.", vec![genesis, grant, &delegate]),
        (
            "head-term",
            "A takeover opens a term, which wins over a longer chain.",
            vec![genesis, grant, &delegate, &by_laptop],
        ),
        ("head-term-first", "The same in another order of arrival.", vec![genesis, &by_laptop, grant, &delegate]),
        ("head-opener", "Of two takeovers in one term the greater id wins.", vec![genesis, &by_laptop, &by_tablet]),
        ("head-opener-n", "It wins over a greater n.", vec![genesis, grant, &delegate, &late, &by_laptop, &by_tablet]),
        (
            "head-opener-close",
            "What follows a takeover counts by that takeover's id, so a close behind the greater one is the head.",
            vec![genesis, &by_tablet, &by_laptop, &close],
        ),
        (
            "head-equivocation",
            "Of two records by one key with one parent in one term the smaller id wins.",
            vec![genesis, grant, &other],
        ),
        (
            "head-lease",
            "A grantor that isn't the owner takes over for the target of a WANT.",
            vec![genesis, grant, &delegate, &lease],
        ),
        ("head-again", "A record that comes again changes nothing.", vec![genesis, grant, genesis, grant]),
    ] {
        accepted(book, name, what, &records);
    }
}

/// The tablet, to which the phone delegated, makes the laptop the owner.
fn lease_body(story: &Story, delegate: &Signed<Record>) -> Record {
    Record { owner: LAPTOP.id(), want: Hash::new([0x55; 32]), ..story.takeover_body(TABLET, delegate, 3) }
}

/// A record that doesn't follow from its parent.
fn steps(book: &mut Book, story: &Story) {
    let genesis = &story.genesis;
    let grant = |change: &dyn Fn(&mut Record)| {
        let mut body = story.grant_body();
        change(&mut body);
        body
    };
    let takeover = |change: &dyn Fn(&mut Record)| {
        let mut body = story.takeover_body(PHONE, genesis, 1);
        change(&mut body);
        body
    };
    let close = Signed::sign(&story.close_body(LAPTOP, genesis, 0, 1), &LAPTOP.key());
    let mut after = story.close_body(LAPTOP, &close, 0, 2);
    after.kind = Kind::Close.number();
    let closed = [genesis, &close];
    let delegate = Signed::sign(&story.delegate_body(), &PHONE.key());
    let granted = [genesis, &story.record];
    let delegated = [genesis, &story.record, &delegate];
    let plain = [genesis];
    let chain = |clause| (clause, "HO_CHAIN");
    let cases: Vec<(&str, &str, Before<'_>, Record, Device, Broken)> = vec![
        (
            "parent-unknown",
            "A record whose parent isn't known.",
            &plain,
            grant(&|r| r.parent = Hash::new([7; 32])),
            LAPTOP,
            chain("HO-CHAIN-1"),
        ),
        (
            "session-other",
            "A record of another session.",
            &plain,
            grant(&|r| r.session = segue_proto::wire::SessionId::new([7; 16])),
            LAPTOP,
            chain("HO-CHAIN-1"),
        ),
        (
            "signer-owner-not-grantor",
            "A grant by a member that isn't the parent's grantor.",
            &plain,
            grant(&|r| r.signer = PHONE.id()),
            PHONE,
            chain("HO-CHAIN-2"),
        ),
        (
            "signer-stranger",
            "A grant by a device that has no part in the session.",
            &plain,
            grant(&|r| r.signer = STRANGER.id()),
            STRANGER,
            chain("HO-CHAIN-2"),
        ),
        ("n-same", "A grant with its parent's n.", &plain, grant(&|r| r.n = 0), LAPTOP, chain("HO-CHAIN-3")),
        ("n-skips", "A grant whose n rises by two.", &plain, grant(&|r| r.n = 2), LAPTOP, chain("HO-CHAIN-3")),
        ("term-grant", "A grant in a term of its own.", &plain, grant(&|r| r.term = 1), LAPTOP, chain("HO-CHAIN-4")),
        (
            "term-takeover-same",
            "A takeover in its parent's term.",
            &plain,
            takeover(&|r| r.term = 0),
            PHONE,
            chain("HO-CHAIN-4"),
        ),
        (
            "term-takeover-skips",
            "A takeover whose term rises by two.",
            &plain,
            takeover(&|r| r.term = 2),
            PHONE,
            chain("HO-CHAIN-4"),
        ),
        (
            "takeover-stranger",
            "A takeover by a device that is no member.",
            &plain,
            story.takeover_body(STRANGER, genesis, 1),
            STRANGER,
            chain("HO-CHAIN-5"),
        ),
        (
            "takeover-for-another",
            "A takeover that makes another device the owner.",
            &plain,
            takeover(&|r| r.owner = TABLET.id()),
            PHONE,
            chain("HO-CHAIN-5"),
        ),
        (
            "takeover-grantor",
            "A takeover that makes another device the grantor.",
            &plain,
            takeover(&|r| r.grantor = TABLET.id()),
            PHONE,
            chain("HO-CHAIN-5"),
        ),
        (
            "lease-same-owner",
            "A takeover by the grantor for the old owner.",
            &delegated,
            Record { owner: PHONE.id(), ..lease_body(story, &delegate) },
            TABLET,
            chain("HO-CHAIN-5"),
        ),
        (
            "lease-third-grantor",
            "A takeover by the grantor that names a third device as grantor.",
            &delegated,
            Record { grantor: PHONE.id(), ..lease_body(story, &delegate) },
            TABLET,
            chain("HO-CHAIN-5"),
        ),
        (
            "lease-not-delegated",
            "A takeover for another device by a grantor that is the owner.",
            &granted,
            Record {
                owner: TABLET.id(),
                grantor: PHONE.id(),
                want: Hash::new([0x55; 32]),
                ..story.takeover_body(PHONE, &story.record, 2)
            },
            PHONE,
            chain("HO-CHAIN-5"),
        ),
        ("after-close", "A record behind a close.", &closed, after, LAPTOP, ("HO-CHAIN-6", "HO_CLOSED")),
        (
            "takeover-after-close",
            "A takeover behind a close.",
            &closed,
            story.takeover_body(PHONE, &close, 2),
            PHONE,
            ("HO-CHAIN-6", "HO_CLOSED"),
        ),
    ];
    for (name, what, before, body, by, broken) in cases {
        refused(book, &format!("chain-{name}"), what, before, &Signed::sign(&body, &by.key()), broken);
    }
    let forged = Signed::sign(&story.grant_body(), &PHONE.key());
    refused(
        book,
        "chain-signature",
        "A grant that its signer didn't sign.",
        &plain,
        &forged,
        ("WIRE-SIGN-1", "AUTH_SIGNATURE"),
    );
}

/// A record whose fields don't fit its kind.
fn fields(book: &mut Book, story: &Story) {
    let genesis = &story.genesis;
    let grant = |change: &dyn Fn(&mut Record)| {
        let mut body = story.grant_body();
        change(&mut body);
        (body, LAPTOP)
    };
    let delegate = |change: &dyn Fn(&mut Record)| {
        let mut body = story.delegate_body();
        change(&mut body);
        (body, PHONE)
    };
    let close = |change: &dyn Fn(&mut Record)| {
        let mut body = story.close_body(LAPTOP, genesis, 0, 1);
        change(&mut body);
        (body, LAPTOP)
    };
    let nobody = DeviceId::ZERO;
    let second = story.genesis_body().genesis;
    let mut takeover = story.takeover_body(PHONE, genesis, 1);
    takeover.want = Hash::ZERO;
    let plain = [genesis];
    let granted = [genesis, &story.record];
    let cases: Vec<(&str, &str, Before<'_>, (Record, Device))> = vec![
        (
            "grant-no-owner",
            "A grant without an owner.",
            &plain,
            grant(&|r| (r.owner, r.grantor) = (nobody, LAPTOP.id())),
        ),
        ("grant-no-want", "A grant that answers no WANT.", &plain, grant(&|r| r.want = Hash::ZERO)),
        (
            "grant-other-grantor",
            "A grant with a grantor that is neither the owner nor the parent's.",
            &plain,
            grant(&|r| r.grantor = TABLET.id()),
        ),
        ("grant-genesis", "A grant with what only a genesis has.", &plain, grant(&|r| r.genesis = second.clone())),
        ("delegate-owner", "A delegate that changes the owner.", &granted, delegate(&|r| r.owner = TABLET.id())),
        ("delegate-no-grantor", "A delegate without a grantor.", &granted, delegate(&|r| r.grantor = nobody)),
        (
            "delegate-want",
            "A delegate with another `want` than its parent.",
            &granted,
            delegate(&|r| r.want = Hash::new([7; 32])),
        ),
        ("takeover-no-actor", "A takeover that names no actor.", &plain, (takeover, PHONE)),
        ("close-owner", "A close that names an owner.", &plain, close(&|r| r.owner = LAPTOP.id())),
        ("close-grantor", "A close that names a grantor.", &plain, close(&|r| r.grantor = LAPTOP.id())),
        ("close-want", "A close that names a WANT.", &plain, close(&|r| r.want = Hash::new([7; 32]))),
    ];
    for (name, what, before, (body, by)) in cases {
        let record = Signed::sign(&body, &by.key());
        refused(book, &format!("fields-{name}"), what, before, &record, ("HO-CHAIN-8", "HO_CHAIN"));
    }
}

/// A first record that starts no chain.
fn genesis(book: &mut Book, story: &Story) {
    let genesis = |change: &dyn Fn(&mut Record)| {
        let mut body = story.genesis_body();
        change(&mut body);
        body
    };
    let other_nonce = genesis(&|r| {
        let members = r.genesis.get().map(|genesis| genesis.members.clone()).unwrap_or_default();
        r.genesis = Some(segue_proto::wire::Genesis { nonce: Nonce::new([0x11; 16]), members }).into();
    });
    let chain = |clause| (clause, "HO_CHAIN");
    for (name, what, body, by, broken) in [
        ("session", "A genesis whose session is bound to another nonce.", other_nonce, LAPTOP, chain("HO-CHAIN-7")),
        (
            "creator",
            "A genesis by another device than the session is bound to.",
            genesis(&|r| {
                (r.signer, r.owner, r.grantor) = (PHONE.id(), PHONE.id(), PHONE.id());
            }),
            PHONE,
            chain("HO-CHAIN-7"),
        ),
        ("owner", "A genesis for another owner.", genesis(&|r| r.owner = PHONE.id()), LAPTOP, chain("HO-CHAIN-8")),
        (
            "parent",
            "A genesis with a parent.",
            genesis(&|r| r.parent = Hash::new([7; 32])),
            LAPTOP,
            chain("HO-CHAIN-8"),
        ),
        (
            "no-members",
            "A genesis without nonce and members.",
            genesis(&|r| r.genesis = List::empty()),
            LAPTOP,
            chain("HO-CHAIN-8"),
        ),
        ("no-actor", "A genesis that names no actor.", genesis(&|r| r.want = Hash::ZERO), LAPTOP, chain("HO-CHAIN-8")),
        ("n", "A genesis with n 1.", genesis(&|r| r.n = 1), LAPTOP, chain("HO-CHAIN-3")),
        ("term", "A genesis in term 1.", genesis(&|r| r.term = 1), LAPTOP, chain("HO-CHAIN-4")),
    ] {
        refused(book, &format!("genesis-{name}"), what, &[], &Signed::sign(&body, &by.key()), broken);
    }
    let what = "A chain that starts with something else than a genesis.";
    refused(book, "genesis-missing", what, &[], &story.record, chain("HO-CHAIN-1"));
}

fn accepted(book: &mut Book, name: &str, what: &str, records: &[&Signed<Record>]) {
    let chain = byhand::chain(records);
    let ids = Json::list(records.iter().map(|record| bytes(record.id().as_bytes())));
    let mut vector = Vector::valid("handoff", "chain", name, what)
        .clause("HO-HEAD-1")
        .input("records", Json::list(records.iter().map(|record| signed(record))))
        .step("ids", ids);
    let core = core(records).ok();
    match chain {
        Ok(head) => {
            vector = vector
                .step("opener", bytes(head.opener.as_bytes()))
                .expect("head", bytes(head.id.as_bytes()))
                .expect("term", head.body.term)
                .expect("n", head.body.n)
                .expect("owner", bytes(head.body.owner.as_bytes()));
            book.same(&vector, "the head", core, Some(head.id));
        }
        Err(error) => book.same(&vector, "the chain", Ok(()), Err(error)),
    }
    book.add(if name.starts_with("head-term") { vector.shown() } else { vector });
}

/// `before` is taken in, and then `last` isn't.
fn refused(book: &mut Book, name: &str, what: &str, before: &[&Signed<Record>], last: &Signed<Record>, broken: Broken) {
    let records: Vec<&Signed<Record>> = before.iter().copied().chain([last]).collect();
    let mut vector = Vector::invalid("handoff", "chain", name, what, broken);
    if before.is_empty() {
        // What a first record lacks may also be seen as a matter of its kind.
        vector = vector.clause("HO-CHAIN-8");
    }
    let vector = vector
        .input("records", Json::list(records.iter().map(|record| signed(record))))
        .expect("refused", records.len() as u64 - 1);
    book.same(&vector, "the error", Some(broken), byhand::chain(&records).err());
    book.refuse(vector, core(&records));
}

/// The head by the core.
fn core(records: &[&Signed<Record>]) -> Result<Hash, Violation> {
    let (first, rest) = records.split_first().expect("a chain has records");
    let prove = |record: &&Signed<Record>| (*record).clone().prove(Rules::ALL, |body| body.signer);
    let mut chain = Chain::start(Rules::ALL, prove(first)?)?;
    for record in rest {
        chain.admit(Rules::ALL, prove(record)?)?;
    }
    Ok(chain.head().id())
}
