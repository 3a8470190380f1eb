//! Nodes that know a service's address alone, and are introduced by it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use segue_quic::{Builder, Code, Error, Event, Node, SessionId, Stats};

use crate::delegate::serve;
use crate::util::*;

/// One of two devices in memory that trust one another, and nobody else.
fn of_two(n: u8) -> Builder {
    Node::builder().in_memory().key(key(n)).listen(loopback()).trust(id(3 - n))
}

/// A device that uses the service, and takes part in what it hears of.
pub(crate) async fn open(builder: Builder, host: &Node) -> Node {
    open_at(builder, host, host.local_addr().unwrap()).await
}

/// The same, with the service at this address.
pub(crate) async fn open_at(builder: Builder, host: &Node, addr: SocketAddr) -> Node {
    let node = builder.follow(true).open().await.unwrap();
    node.use_mailbox(addr, host.device()).await.unwrap();
    within("the exchange", node.exchanged(host.device())).await.unwrap();
    node
}

pub(crate) async fn holds(node: &Node, session: SessionId, path: &str, content: &[u8]) {
    let whole = async {
        while node.read_file(session, path).await.ok().as_deref() != Some(content) {
            event(node, "content", |event| matches!(event, Event::Data { .. } | Event::Changed { .. }).then_some(()))
                .await;
        }
    };
    within("the content", whole).await;
}

pub(crate) async fn stats(node: &Node) -> Stats {
    node.stats().await.unwrap()
}

pub(crate) async fn end(nodes: [Node; 3]) {
    for node in nodes {
        node.shutdown().await;
    }
}

pub(crate) const LEN: usize = 4 << 20;

#[tokio::test]
async fn two_nodes_are_introduced_and_content_goes_between_them_and_not_into_the_service() {
    let dir = tempfile::tempdir().unwrap();
    let host = serve(dir.path(), Duration::ZERO).await;
    let (one, two) = (open(of_two(1), &host).await, open(of_two(2), &host).await);
    within("the introduction", one.introduce(two.device())).await.unwrap();
    within("the link", two.linked(one.device())).await.unwrap();
    let session = one.create_session("notes", &[two.device()]).await.unwrap();
    let content = noise(LEN, 1);
    one.write_bytes(session, "film", content.clone()).await.unwrap();
    holds(&two, session, "film", &content).await;
    within("the exchange", one.exchanged(host.device())).await.unwrap();
    push(&one, &two, session).await;
    within("the exchange", two.exchanged(host.device())).await.unwrap();
    let (one_did, two_did) = (stats(&one).await, stats(&two).await);
    assert!(two_did.bulk_rx >= LEN as u64, "{two_did:?}");
    assert_eq!((one_did.mailed_tx, two_did.mailed_tx, two_did.mailed_rx), (0, 0, 0), "no content by the service");
    let told = within("the introduction", one.introduce(two.device())).await;
    assert!(told.is_ok(), "who has a link needs none: {told:?}");
    end([one, two, host]).await;
}

#[tokio::test]
async fn one_that_takes_no_part_gets_everything_by_the_mailbox() {
    let dir = tempfile::tempdir().unwrap();
    let host = serve(dir.path(), Duration::ZERO).await;
    let (one, two) = (open(of_two(1), &host).await, open(of_two(2).introductions(false), &host).await);
    let refused = within("the introduction", one.introduce(two.device())).await.unwrap_err();
    let away = matches!(refused, Error::Introduction { code: Code::SERVICE_AWAY, .. });
    assert!(away && refused.to_string().contains("uses the same mailbox"), "{refused}");
    let session = one.create_session("notes", &[two.device()]).await.unwrap();
    let content = noise(300_000, 2);
    one.write_bytes(session, "film", content.clone()).await.unwrap();
    holds(&two, session, "film", &content).await;
    assert_eq!(stats(&two).await.bulk_rx, 0);
    end([one, two, host]).await;
}

#[tokio::test]
async fn a_service_that_wakes_nobody_says_so_and_who_has_a_link_needs_no_waking() {
    let dir = tempfile::tempdir().unwrap();
    let host = serve(dir.path(), Duration::ZERO).await;
    let (one, two) = (open(of_two(1), &host).await, open(of_two(2), &host).await);
    let refused = within("the answer", one.wake(host.device(), two.device())).await.unwrap_err();
    let none = matches!(refused, Error::Wake { code: Code::SERVICE_NONE, .. });
    assert!(none && refused.to_string().contains("--wake-with"), "{refused}");
    let stranger = within("the answer", one.wake(host.device(), id(3))).await.unwrap_err();
    assert!(matches!(stranger, Error::Usage { .. }), "{stranger}");
    within("the introduction", one.introduce(two.device())).await.unwrap();
    within("the answer", one.wake(host.device(), two.device())).await.unwrap();
    end([one, two, host]).await;
}

/// Two devices, their service, and content at the first that is read through a gate, which lets half of it pass.
struct Gated3 {
    one: Node,
    two: Node,
    host: Node,
    gate: Arc<Gate>,
    entry: segue_proto::data::Entry,
    content: Vec<u8>,
}

async fn gated(dir: &std::path::Path) -> Gated3 {
    let host = serve(dir, Duration::ZERO).await;
    let content = noise(LEN, 3);
    let (gate, entry) = Gate::new("film", content.clone(), LEN / 2);
    let one = open(of_two(1).blob_source(Arc::new(Gated(gate.clone()))), &host).await;
    let two = open(of_two(2), &host).await;
    Gated3 { one, two, host, gate, entry, content }
}

impl Gated3 {
    async fn session(&self) -> SessionId {
        let session = self.one.create_session("notes", &[self.two.device()]).await.unwrap();
        self.one.put_entry(session, self.entry.clone()).await.unwrap();
        session
    }
}

/// Half of the content is here.
pub(crate) async fn half(node: &Node, of: fn(&Stats) -> u64) {
    let half = async {
        while of(&stats(node).await) < LEN as u64 / 4 {
            tokio::task::yield_now().await;
        }
    };
    within("half of the content", half).await;
}

#[tokio::test]
async fn content_goes_on_by_the_mailbox_when_the_direct_link_ends() {
    let dir = tempfile::tempdir().unwrap();
    let it = gated(dir.path()).await;
    let (one, two) = (&it.one, &it.two);
    within("the introduction", one.introduce(two.device())).await.unwrap();
    let session = it.session().await;
    half(two, |stats| stats.bulk_rx).await;
    assert_eq!(stats(one).await.mailed_tx, 0, "there is a link");
    two.forget(one.device()).await.unwrap();
    it.gate.open_wide();
    holds(two, session, "film", &it.content).await;
    let (one_did, two_did) = (stats(one).await, stats(two).await);
    assert!(one_did.mailed_tx > 0 && two_did.mailed_rx > 0, "{one_did:?} {two_did:?}");
    assert!((1..LEN as u64).contains(&two_did.bulk_rx), "{two_did:?}");
    end([it.one, it.two, it.host]).await;
}

#[tokio::test]
async fn content_goes_on_by_the_direct_link_when_it_comes_up() {
    let dir = tempfile::tempdir().unwrap();
    let it = gated(dir.path()).await;
    let (one, two) = (&it.one, &it.two);
    let session = it.session().await;
    half(two, |stats| stats.mailed_rx).await;
    within("the introduction", one.introduce(two.device())).await.unwrap();
    within("the link", two.linked(one.device())).await.unwrap();
    it.gate.open_wide();
    holds(two, session, "film", &it.content).await;
    let (one_did, two_did) = (stats(one).await, stats(two).await);
    assert!(two_did.bulk_rx > 0 && one_did.mailed_tx < LEN as u64, "{one_did:?} {two_did:?}");
    end([it.one, it.two, it.host]).await;
}

/// Two devices that are linked hold the same content, none of which the service has.
async fn held_by_two(host: &Node, one: &Node, two: &Node) -> (SessionId, Vec<u8>) {
    within("the introduction", one.introduce(two.device())).await.unwrap();
    within("the link", two.linked(one.device())).await.unwrap();
    let session = one.create_session("notes", &[two.device()]).await.unwrap();
    let content = noise(300_000, 4);
    one.write_bytes(session, "film", content.clone()).await.unwrap();
    holds(two, session, "film", &content).await;
    within("the exchange", one.exchanged(host.device())).await.unwrap();
    within("the exchange", two.exchanged(host.device())).await.unwrap();
    assert_eq!((stats(one).await.mailed_tx, stats(two).await.mailed_tx), (0, 0));
    (session, content)
}

#[tokio::test]
async fn who_comes_later_finds_content_in_the_mailbox_that_all_others_held() {
    let dir = tempfile::tempdir().unwrap();
    let host = serve(dir.path(), Duration::ZERO).await;
    let (one, two) = (open(of_two(1), &host).await, open(of_two(2), &host).await);
    let (session, content) = held_by_two(&host, &one, &two).await;
    let three = open(Node::builder().in_memory().key(key(3)).trust(id(1)).introductions(false), &host).await;
    one.trust(three.device()).await.unwrap();
    // It looks again whom to invite, and nothing of the session changes.
    one.use_mailbox(host.local_addr().unwrap(), host.device()).await.unwrap();
    holds(&three, session, "film", &content).await;
    assert_eq!(stats(&three).await.bulk_rx, 0, "nobody links it");
    three.shutdown().await;
    end([one, two, host]).await;
}
