//! A device that is put out of the account.

use segue_proto::{Clause, Rules};
use segue_service::Quota;

use crate::util::{LOG, World};

const WALL: u64 = 1_700_000_000_000;

/// Three devices of one account that have exchanged a session, of which the first puts the third out and writes on; what
/// the third learns of that by the mailbox.
fn learns(rules: Rules) -> bool {
    let mut world = World::with_rules(3, Quota::default(), rules);
    world.devices[1].core.create_account(WALL, "one", None).unwrap();
    world.settle();
    for at in [2, 3] {
        let (now, first, new) = (world.now, world.devices[1].id, world.devices[at].id);
        let invite = world.devices[at].core.invite(now, WALL, "another", &[]).unwrap();
        world.devices[1].core.accept_link(now, &invite).unwrap();
        world.link(1, at);
        world.devices[1].core.confirm_link(now, WALL, new, true).unwrap();
        world.devices[at].core.confirm_link(now, WALL, first, true).unwrap();
        world.settle();
        world.unlink(at);
    }
    let session = world.session(&[]);
    world.write(1, session, 2, LOG, b"for all");
    for at in 1..=3 {
        world.visit(at);
        assert_eq!(world.root(at, session), world.root(1, session), "device {at}");
    }
    let third = world.devices[3].id;
    world.devices[1].core.revoke(WALL, third).unwrap();
    world.settle();
    world.write(1, session, 2, LOG, b"not for the third");
    world.visit(1);
    world.visit(2);
    assert_eq!(world.root(2, session), world.root(1, session), "the second reads on");
    world.link(3, 0);
    world.root(3, session) == world.root(1, session)
}

#[test]
fn service_key_1_service_key_3_what_is_put_after_a_revocation_is_not_for_the_revoked() {
    assert!(!learns(Rules::ALL));
    assert!(learns(Rules::without(Clause::SERVICE_KEY_1)), "it is invited");
    assert!(learns(Rules::without(Clause::SERVICE_KEY_3)), "it has the key");
}
