//! What a service gets of a session: a canary in the content is looked for in all that went by the wire between devices
//! and service, under its TLS, and in the service's store.

use std::path::Path;
use std::sync::Arc;

use segue_proto::Clause;
use segue_quic::{Builder, Node};
use segue_service::{Quota, Service, Store};

use crate::capture::{Heard, Relay, Secrets, found};
use crate::mailbox::Host;
use crate::util::*;

pub(crate) const CANARY: &[u8] = b"the canary sings";

/// What the file's content begins with, chunks of it, and more than one piece.
fn content() -> Vec<u8> {
    CANARY.repeat(20_000)
}

/// Whether these bytes stand in any file below a directory.
pub(crate) fn finds(dir: &Path, what: &[u8]) -> bool {
    std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).any(|path| match path.is_dir() {
        true => finds(&path, what),
        false => found(&[std::fs::read(path).unwrap()], what),
    })
}

/// A visit to the service over a wire that is listened to.
async fn visit(builder: Builder, host: &Node, act: impl AsyncFnOnce(&Node)) -> Heard {
    let (relay, secrets) = (Relay::to(host.local_addr().unwrap()).await, Arc::new(Secrets::default()));
    let node = builder.follow(true).introductions(false).key_log(secrets.clone()).open().await.unwrap();
    node.use_mailbox(relay.addr, host.device()).await.unwrap();
    within("the exchange", node.exchanged(host.device())).await.unwrap();
    act(&node).await;
    within("the exchange", node.exchanged(host.device())).await.unwrap();
    node.shutdown().await;
    relay.end(&secrets)
}

/// What two devices and their service said to one another while a session went from the one to the other, as each of the
/// two heard it; the directory holds all three.
async fn handed_over(dir: &Path, rules: impl Fn(Builder) -> Builder) -> [Heard; 2] {
    let store = Store::open(&dir.join("box")).unwrap();
    let host = Node::builder().state_dir(dir.join("host")).witness(dir.join("witness")).key(key(9)).listen(loopback());
    let host = host.accept_unknown(true).host_mailbox(Host(Service::new(store, Quota::default())));
    let host = host.open().await.unwrap();
    let mut session = None;
    let first = visit(rules(disk(1, dir)), &host, async |node| {
        let named = node.create_session("the canary sings", &[id(2)]).await.unwrap();
        node.write_view(named, "the canary sings").await.unwrap();
        node.write_bytes(named, "the canary sings.txt", content()).await.unwrap();
        session = Some(named);
    });
    let first = first.await;
    let second = visit(rules(disk(2, dir)), &host, async |node| {
        let file = node.read_file(session.unwrap(), "the canary sings.txt").await.unwrap();
        assert_eq!(file, content());
    });
    let second = second.await;
    host.shutdown().await;
    [first, second]
}

#[tokio::test]
async fn a_canary_is_found_on_the_devices_and_neither_on_the_wire_nor_at_the_service() {
    let dir = tempfile::tempdir().unwrap();
    let [first, second] = handed_over(dir.path(), |builder| builder).await;
    // The wire was read, and what carries the content, too: both tell who they are, and the content went up and came down.
    for (heard, device) in [(&first, id(1)), (&second, id(2))] {
        assert!(found(&heard.up, device.as_bytes()) && found(&heard.down, id(9).as_bytes()));
        assert!(!heard.finds(CANARY));
    }
    let long = |streams: &[Vec<u8>]| streams.iter().map(Vec::len).sum::<usize>() > content().len();
    assert!(long(&first.up) && long(&second.down));
    assert!(finds(&dir.path().join("state-1"), CANARY) && finds(&dir.path().join("state-2"), CANARY));
    assert!(!finds(&dir.path().join("box"), CANARY) && !finds(&dir.path().join("host"), CANARY));
}

#[tokio::test]
async fn the_canary_is_found_everywhere_if_nothing_is_sealed() {
    let dir = tempfile::tempdir().unwrap();
    let [first, second] = handed_over(dir.path(), |builder| builder.without(Clause::SERVICE_SEAL_1)).await;
    assert!(found(&first.up, CANARY) && found(&second.down, CANARY));
    assert!(finds(&dir.path().join("box"), CANARY));
}
