//! Nodes that are never online together, and a node that hosts their mailbox.

use segue_quic::{Builder, Event, Hosted, Instant, MailboxHost, Node, Said, SessionId};
use segue_service::{Quota, Service, Store};

use crate::util::*;

pub(crate) struct Host(pub(crate) Service<Store>);

impl MailboxHost for Host {
    fn handle(&mut self, now: Instant, came: Vec<Hosted>) -> Result<Said, String> {
        let given = self.0.handle(now, came).map_err(|failed| failed.to_string())?;
        Ok(Said { answers: given.answers, ..Said::default() })
    }
}

/// A host on a directory. The devices neither trust it nor does it trust them.
async fn serve(dir: &std::path::Path) -> Node {
    let store = Store::open(&dir.join("box")).unwrap();
    let host = Host(Service::new(store, Quota::default()));
    let builder =
        Node::builder().state_dir(dir.join("host")).witness(dir.join("witness")).key(key(9)).listen(loopback());
    builder.accept_unknown(true).host_mailbox(host).open().await.unwrap()
}

/// A device comes online, exchanges everything with the mailbox, does something, exchanges that, and goes.
async fn visit<T>(builder: Builder, host: &Node, act: impl AsyncFnOnce(&Node) -> T) -> T {
    let node = builder.follow(true).open().await.unwrap();
    node.use_mailbox(host.local_addr().unwrap(), host.device()).await.unwrap();
    within("the exchange", node.exchanged(host.device())).await.unwrap();
    let done = act(&node).await;
    within("the exchange", node.exchanged(host.device())).await.unwrap();
    node.shutdown().await;
    done
}

/// Longer than many chunks.
fn long() -> Vec<u8> {
    (0..1_000_001u32).map(|at| (at % 253) as u8).collect()
}

async fn root(node: &Node, session: SessionId) -> segue_quic::Hash {
    node.session(session).await.unwrap().unwrap().root
}

#[tokio::test]
async fn devices_that_are_never_online_together_converge_while_the_host_is_killed_in_between() {
    let dir = tempfile::tempdir().unwrap();
    let host = serve(dir.path()).await;
    let (session, first) = visit(disk(1, dir.path()), &host, async |node| {
        let session = node.create_session("notes", &[id(2)]).await.unwrap();
        node.write_view(session, "line 7").await.unwrap();
        node.write_bytes(session, "a.txt", "content").await.unwrap();
        node.write_bytes(session, "long", long()).await.unwrap();
        (session, root(node, session).await)
    })
    .await;
    host.abort().await;
    let host = serve(dir.path()).await;
    let second = visit(disk(2, dir.path()), &host, async |node| {
        assert_eq!(root(node, session).await, first);
        assert_eq!(node.read_file(session, "a.txt").await.unwrap(), b"content");
        assert_eq!(node.read_file(session, "long").await.unwrap(), long());
        assert_eq!(node.view(session).await.unwrap().as_deref(), Some(b"line 7".as_slice()));
        node.write_bytes(session, "b.txt", "more").await.unwrap();
        root(node, session).await
    })
    .await;
    host.abort().await;
    let host = serve(dir.path()).await;
    let third = visit(disk(1, dir.path()), &host, async |node| {
        assert_eq!(node.read_file(session, "b.txt").await.unwrap(), b"more");
        root(node, session).await
    })
    .await;
    assert_ne!(first, second);
    assert_eq!(second, third);
    host.shutdown().await;
}

struct Panics;

impl MailboxHost for Panics {
    fn handle(&mut self, _: Instant, _: Vec<Hosted>) -> Result<Said, String> {
        panic!("a page that nobody wrote")
    }
}

#[tokio::test]
async fn a_host_that_panics_halts_its_node_and_says_why() {
    let dir = tempfile::tempdir().unwrap();
    let host = disk(9, dir.path()).accept_unknown(true).host_mailbox(Panics).open().await.unwrap();
    let device = memory(1).follow(true).open().await.unwrap();
    device.use_mailbox(host.local_addr().unwrap(), host.device()).await.unwrap();
    let halted = |event| if let Event::Halted { text } = event { Some(text) } else { None };
    let text = event(&host, "the halt", halted).await;
    assert!(text.contains("STORE_CORRUPT"), "{text}");
    within("the end", host.shutdown()).await;
}
