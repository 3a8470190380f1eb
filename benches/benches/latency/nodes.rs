//! Two nodes over loopback.

use std::time::{Duration, Instant};

use bytes::Bytes;
use segue_benches::Way;
use segue_quic::{Event, Node, Policy, SessionId, SessionRole};
use tempfile::TempDir;

/// Where the nodes keep what they must not forget.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    Memory,
    Disk,
}

/// Two linked nodes, and a session that goes to and fro.
pub(crate) struct Nodes {
    nodes: [Node; 2],
    session: SessionId,
    owner: usize,
    _dir: Option<TempDir>,
}

impl Nodes {
    pub(crate) async fn open(place: Place) -> Nodes {
        let dir = (place == Place::Disk).then(|| tempfile::tempdir().expect("a directory"));
        let nodes = pair(dir.as_ref()).await;
        nodes.iter().for_each(|node| drop(tokio::spawn(accept_everything(node.clone()))));
        let session = nodes[0].create_session("notes", &[nodes[1].device()]).await.expect("a session");
        nodes[0].write_view(session, "cursor").await.expect("a write");
        let mut nodes = Nodes { nodes, session, owner: 0, _dir: dir };
        nodes.handoff(Way::Pulled).await;
        nodes.handoff(Way::Pulled).await;
        nodes
    }

    /// One handoff to the other node, timed; all around it isn't.
    pub(crate) async fn handoff(&mut self, way: Way) -> Duration {
        let (source, target) = (&self.nodes[self.owner], &self.nodes[1 - self.owner]);
        if way == Way::Consented {
            consent(source, target, self.session).await;
        }
        let start = Instant::now();
        let receipt = match way {
            Way::Consented | Way::Accepted => source.initiate_handoff(self.session, target.device()).await,
            Way::Pulled => target.request_handoff(self.session, source.device()).await,
        };
        let took = start.elapsed();
        receipt.unwrap_or_else(|error| panic!("{}: {error}", way.name()));
        self.owner = 1 - self.owner;
        self.verify().await;
        took
    }

    /// Writes registers of so many bytes, and waits until both nodes hold them.
    pub(crate) async fn fill(&self, count: usize, len: usize) {
        let (owner, other) = (&self.nodes[self.owner], &self.nodes[1 - self.owner]);
        for at in 0..count {
            owner.write_register(self.session, &at.to_string(), vec![7; len]).await.expect("a write");
        }
        shows(other, self.session, count - 1, &vec![7; len]).await;
    }

    /// Writes a register at the source and hands the session over, which the target consented to. The time of all, up to
    /// the target showing what was written; of the write; and of the handoff.
    pub(crate) async fn change(&mut self, register: usize, value: Vec<u8>) -> [Duration; 3] {
        let (source, target) = (&self.nodes[self.owner], &self.nodes[1 - self.owner]);
        consent(source, target, self.session).await;
        let start = Instant::now();
        source.write_register(self.session, &register.to_string(), value.clone()).await.expect("a write");
        let written = start.elapsed();
        source.initiate_handoff(self.session, target.device()).await.expect("a handoff");
        let resolved = start.elapsed();
        shows(target, self.session, register, &value).await;
        let all = start.elapsed();
        self.owner = 1 - self.owner;
        self.verify().await;
        [all, written, resolved - written]
    }

    /// Both agree, just one is primary, and the other may not write.
    async fn verify(&self) {
        let (owner, other) = (&self.nodes[self.owner], &self.nodes[1 - self.owner]);
        loop {
            let views = (owner.session(self.session).await, other.session(self.session).await);
            let (Ok(Some(mine)), Ok(Some(theirs))) = views else { panic!("both know the session") };
            assert_eq!(mine.role, SessionRole::Primary);
            assert_ne!(theirs.role, SessionRole::Primary);
            // After a pull the acknowledgement is still on its way.
            if theirs.pending.is_none() {
                assert_eq!((mine.head, mine.root), (theirs.head, theirs.root));
                break;
            }
            tokio::task::yield_now().await;
        }
        assert!(other.write_view(self.session, "stale").await.is_err(), "a stale epoch is refused");
    }

    pub(crate) async fn close(&self) {
        for node in &self.nodes {
            node.shutdown().await;
        }
    }
}

/// The clock from a pull of an unknown session to its target owning it, with all its data. The link is warm: another
/// session went over it before.
pub(crate) async fn bulk(warm: &[Bytes], files: &[Bytes]) -> Duration {
    let nodes = pair(None).await;
    pull(&nodes, "warm", warm).await;
    let took = pull(&nodes, "bulk", files).await;
    for node in &nodes {
        node.shutdown().await;
    }
    took
}

async fn pull([source, target]: &[Node; 2], name: &str, files: &[Bytes]) -> Duration {
    let session = source.create_session(name, &[target.device()]).await.expect("a session");
    for (at, file) in files.iter().enumerate() {
        source.write_bytes(session, &at.to_string(), file.clone()).await.expect("a write");
    }
    let start = Instant::now();
    target.request_handoff(session, source.device()).await.expect("a handoff");
    let took = start.elapsed();
    let held = target.files(session).await.expect("a node");
    assert_eq!(held.len(), files.len());
    for info in held {
        let at: usize = info.path.parse().expect("a number");
        let content = target.read_blob(info.blob, info.len).await.expect("a file");
        assert!(content == files[at], "{name}/{at} isn't what it was");
    }
    took
}

async fn pair(dir: Option<&TempDir>) -> [Node; 2] {
    let open = async |name: &str| {
        let builder = Node::builder().listen("127.0.0.1:0".parse().expect("an address")).pulls(Policy::Allow);
        let builder = match dir {
            Some(dir) => builder.state_dir(dir.path().join(name)).witness(dir.path().join(format!("{name}.witness"))),
            None => builder.in_memory(),
        };
        builder.open().await.expect("a node")
    };
    let nodes = [open("first").await, open("second").await];
    for (node, other) in [(0, 1), (1, 0)] {
        nodes[node].trust(nodes[other].device()).await.expect("a node");
    }
    nodes[0].connect(nodes[1].local_addr().expect("an address"), nodes[1].device()).await.expect("a node");
    nodes[0].linked(nodes[1].device()).await.expect("a link");
    nodes[1].linked(nodes[0].device()).await.expect("a link");
    nodes
}

/// Waits until a node's register has this value.
async fn shows(node: &Node, session: SessionId, register: usize, value: &[u8]) {
    loop {
        let held = node.register(session, &register.to_string()).await.expect("a node");
        if held.is_some_and(|held| held.value() == value) {
            return;
        }
        tokio::task::yield_now().await;
    }
}

/// A standing WANT, waited for until the source has read it.
async fn consent(source: &Node, target: &Node, session: SessionId) {
    let before = source.stats().await.expect("a node").control_rx;
    target.consent(session, source.device(), Duration::from_secs(60)).await.expect("a consent");
    while source.stats().await.expect("a node").control_rx == before {
        tokio::task::yield_now().await;
    }
}

/// What an application's user would do.
async fn accept_everything(node: Node) {
    while let Some(event) = node.next_event().await {
        if let Event::HandoffRequest { token, .. } = event {
            let node = node.clone();
            tokio::spawn(async move { node.accept_handoff(token).await });
        }
    }
}
