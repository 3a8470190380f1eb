//! An operator who changes, hides, repeats and mixes up what the mailbox holds, and devices that put what they may not.

use segue_proto::Clause;
use segue_service::{Page, Quota};

use crate::util::{LOG, REGISTER, World};

/// Device 1 wrote, device 2 comes while the operator meddles, and then once more while it doesn't.
fn meddled(meddler: impl Fn(Page) -> Page + Send + 'static) -> World {
    let mut world = World::new(2, Quota::default());
    let session = world.session(&[2]);
    world.link(1, 0);
    for at in 0..4u8 {
        world.write(1, session, 2, LOG, &[at]);
        world.write(1, session, 1, REGISTER, &[at]);
    }
    world.unlink(1);
    // The invitation is let through: without the key nothing of the rest is looked at.
    world.meddle(move |page| if page.last > 1 { meddler(page) } else { page });
    world.link(2, 0);
    world.unlink(2);
    world
}

fn session_of(world: &World) -> segue_proto::wire::SessionId {
    world.devices[1].core.sessions()[0]
}

#[test]
fn service_seal_2_a_changed_envelope_changes_nothing_and_is_reported() {
    for at in [0, 17, 41, 60] {
        let world = meddled(move |mut page| {
            page.envelopes.iter_mut().for_each(|envelope| envelope[at] ^= 1);
            page
        });
        assert!(world.broken(2).contains(&Clause::SERVICE_SEAL_2), "byte {at}: {:?}", world.broken(2));
        assert!(world.root(2, session_of(&world)).is_none(), "byte {at}");
    }
}

#[test]
fn service_seal_2_a_truncated_envelope_changes_nothing_and_is_reported() {
    for len in [0, 16, 40, 41, 100] {
        let world = meddled(move |mut page| {
            page.envelopes.iter_mut().for_each(|envelope| envelope.truncate(len));
            page
        });
        assert!(world.broken(2).contains(&Clause::SERVICE_SEAL_2), "{len} bytes");
        assert!(world.root(2, session_of(&world)).is_none(), "{len} bytes");
    }
}

#[test]
fn repeated_envelopes_change_nothing() {
    let mut world = meddled(|page| page);
    let session = session_of(&world);
    let root = world.root(2, session);
    assert_eq!(root, world.root(1, session));
    let again: Vec<_> = world.directory().seen.clone();
    let host = &mut world.directory().memory;
    for mut append in again {
        // Under another id, so that the box takes it: the operator needn't keep its own rules.
        append.by = segue_proto::wire::DeviceId::ZERO;
        let rules = segue_proto::Rules::without(Clause::SERVICE_HOST_1);
        segue_service::Directory::append(host, rules, &[append], &Quota::default()).unwrap()[0].unwrap();
    }
    world.link(2, 0);
    assert_eq!(world.root(2, session), root);
    assert!(!world.broken(2).iter().any(|clause| *clause != Clause::SERVICE_COUNT_1), "{:?}", world.broken(2));
}

#[test]
fn envelopes_in_another_order_lose_nothing_that_was_put_anew_and_are_reported() {
    let world = meddled(|mut page| {
        page.envelopes.reverse();
        page
    });
    let broken = world.broken(2);
    assert!(broken.contains(&Clause::SERVICE_COUNT_1), "{broken:?}");
}

#[test]
fn service_count_1_a_hidden_letter_is_reported() {
    let world = meddled(|mut page| {
        if page.envelopes.len() > 2 {
            // The operator closes the gap, so that the offsets say nothing.
            page.envelopes.remove(1);
            page.last -= 1;
        }
        page
    });
    assert!(world.broken(2).contains(&Clause::SERVICE_COUNT_1), "{:?}", world.broken(2));
}

#[test]
fn service_fetch_2_envelopes_that_were_not_asked_for_are_not_taken() {
    let world = meddled(|mut page| {
        page.first += 1;
        page.last += 1;
        page
    });
    assert!(world.broken(2).contains(&Clause::SERVICE_FETCH_2));
    assert!(world.root(2, session_of(&world)).is_none());
}

#[test]
fn service_read_1_a_letter_of_a_device_that_nobody_vouches_for_changes_nothing() {
    let mut world = World::new(3, Quota::default());
    // The third has the key, for the first vouches for it; the second doesn't.
    let stranger = world.devices[3].id;
    world.devices[2].core.distrust(stranger);
    let session = world.session(&[2]);
    world.write(1, session, 2, LOG, b"one");
    world.visit(1);
    world.visit(3);
    world.write(3, session, 2, LOG, b"two");
    world.visit(3);
    world.visit(2);
    assert_ne!(world.root(2, session), world.root(3, session));
    let broken = world.broken(2);
    assert_eq!((broken[0], broken[1]), (Clause::SERVICE_KEY_2, Clause::SERVICE_READ_1), "its invitation, its letters");
    world.visit(1);
    assert_eq!(world.root(1, session), world.root(3, session));
}
