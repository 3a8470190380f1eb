//! The plain handoffs, in a calm world.

use segue_proto::data::PartKind;
use segue_proto::wire::Receipt;
use segue_proto::{Event, Generation, Rules, SessionRole};
use segue_testkit::device::{Command, Reply};
use segue_testkit::flights::{PATIENCE, UNIT};
use segue_testkit::{Options, Pair, Promise, World};

fn fresh() -> Pair {
    Pair::fresh(Options::calm(1, 1_000, 100), [Generation::V7; 2])
}

/// Panics with the trace if anything was broken.
pub(crate) fn intact<D: segue_testkit::Device>(world: &World<D>) {
    let breaches: Vec<String> = world.breaches().iter().map(ToString::to_string).collect();
    assert!(breaches.is_empty(), "{}\n\n{}", world.trace().join("\n"), breaches.join("\n"));
}

#[test]
fn a_session_is_pulled_with_its_files_and_its_exclusive_value() {
    let mut pair = fresh();
    assert!(pair.pull(0, 1), "{}", pair.world.trace().join("\n"));
    let state = pair.world.session(1, pair.session).unwrap();
    assert_eq!(state.role, SessionRole::Primary);
    assert_eq!(state.exclusive.as_deref(), Some(&b"cursor at 1"[..]));
    assert_eq!(state.files["notes"].as_bytes(), blake3::hash(b"one").as_bytes());
    assert_eq!(pair.world.session(0, pair.session).unwrap().role, SessionRole::Secondary);
    intact(&pair.world);
}

#[test]
fn a_session_is_pushed_and_handed_back() {
    let mut pair = fresh();
    assert!(pair.push(0, 1), "{}", pair.world.trace().join("\n"));
    let session = pair.session;
    pair.world.command(1, Command::WriteExclusive { session, bytes: b"cursor at 2".to_vec() }).unwrap();
    assert!(pair.push(1, 0), "{}", pair.world.trace().join("\n"));
    assert_eq!(pair.world.session(0, session).unwrap().exclusive.as_deref(), Some(&b"cursor at 2"[..]));
    intact(&pair.world);
}

#[test]
fn a_receipt_tells_of_all_that_moved() {
    let mut pair = fresh();
    let session = pair.session;
    assert!(pair.push(0, 1), "{}", pair.world.trace().join("\n"));
    // What is exclusive goes in the GRANT, though it was written after the manifest.
    pair.world.command(1, Command::WriteExclusive { session, bytes: b"page 2".to_vec() }).unwrap();
    assert!(pair.push(1, 0), "{}", pair.world.trace().join("\n"));
    let record = pair.world.session(0, session).unwrap().head;
    for at in 0..2 {
        let given = pair.world.command(at, Command::Receipt { session, record });
        let Ok(Reply::Receipt(bytes)) = given else { panic!("a receipt of {at}, not {given:?}") };
        let handed = Receipt::verify(Rules::ALL, &bytes).unwrap();
        let kinds: Vec<_> = handed.moved.iter().map(|tally| (tally.kind, tally.parts)).collect();
        assert_eq!(kinds, [(PartKind::Blob.number(), 1), (PartKind::Exclusive.number(), 1)], "{at}");
        assert!(handed.left.is_empty(), "{at}: {:?}", handed.left);
    }
}

#[test]
fn a_file_of_many_chunks_arrives() {
    let mut pair = fresh();
    let (session, content) = (pair.session, vec![7; 1_000_000]);
    let hash = blake3::hash(&content);
    pair.world.command(0, Command::WriteFile { session, path: "big".into(), content }).unwrap();
    assert!(pair.push(0, 1), "{}", pair.world.trace().join("\n"));
    assert_eq!(pair.world.session(1, session).unwrap().files["big"].as_bytes(), hash.as_bytes());
    intact(&pair.world);
}

#[test]
fn who_asks_for_signatures_is_told_whether_one_is_to_make() {
    let mut pair = fresh();
    let asked = pair.world.drive(0, |device, now| {
        device.drive(now, |core| {
            let before = core.has_to_sign();
            core.create_session(now, "notes", &[]).map(|_| (before, core.has_to_sign()))
        })
    });
    assert_eq!(asked, Some(Ok((false, true))));
}

#[test]
fn a_secondary_may_not_write() {
    let mut pair = fresh();
    assert!(pair.pull(0, 1));
    let write = Command::WriteExclusive { session: pair.session, bytes: vec![1] };
    assert!(pair.world.command(0, write).is_err());
    intact(&pair.world);
}

#[test]
fn a_rejected_offer_leaves_the_source_primary() {
    let mut pair = fresh();
    pair.world.set_users(segue_testkit::Users { reject: 1000, ..segue_testkit::Users::ABSENT });
    let initiate = Command::Initiate { session: pair.session, to: pair.id(1), timeout_us: PATIENCE };
    pair.world.command(0, initiate).unwrap();
    let result = pair.world.run_until_event(0, PATIENCE, |event| match event {
        Event::HandoffResolved { result, .. } => Some(*result),
        _ => None,
    });
    assert_eq!(result, Some(Err(segue_proto::Code::HO_DECLINED)));
    assert_eq!(pair.world.primaries(pair.session), [0]);
    intact(&pair.world);
}

#[test]
fn a_grant_whose_source_crashed_after_the_sync_arrives_all_the_same() {
    let mut pair = Pair::new(UNIT, 100);
    let request = Command::Request { session: pair.session, from: pair.id(0), timeout_us: PATIENCE };
    pair.world.command(1, request).unwrap();
    let session = pair.session;
    let let_go = |world: &mut World<_>| world.session(0, session).is_some_and(|state| state.pending.is_some());
    assert!(pair.world.run_until(PATIENCE, let_go));
    pair.world.run_for(UNIT / 2);
    pair.world.crash(0);
    assert!(pair.settle(1), "{}", pair.world.trace().join("\n"));
    intact(&pair.world);
}

#[test]
fn a_store_that_fails_halts_its_device() {
    let mut pair = fresh();
    pair.world.fail_store(0);
    let write = Command::WriteExclusive { session: pair.session, bytes: vec![1] };
    assert_eq!(pair.world.command(0, write).unwrap_err().code, segue_proto::Code::STORE_IO);
    assert!(pair.pull(0, 1), "the device came back\n{}", pair.world.trace().join("\n"));
    intact(&pair.world);
}

#[test]
fn a_restored_backup_owns_nothing() {
    let mut pair = fresh();
    pair.world.back_up(0);
    let session = pair.session;
    pair.world.command(0, Command::WriteExclusive { session, bytes: b"later".to_vec() }).unwrap();
    pair.world.run_for(PATIENCE);
    pair.world.restore(0);
    pair.world.run_for(PATIENCE);
    assert_eq!(pair.world.session(0, session).unwrap().role, SessionRole::RolledBack);
    assert!(pair.world.command(0, Command::WriteExclusive { session, bytes: vec![1] }).is_err());
    assert!(!pair.world.breaches().iter().any(|breach| breach.promise == Promise::S1));
}
