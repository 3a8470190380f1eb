//! Compaction: what all devices hold in a snapshot goes, and readers go on from it.

use segue_quic::{Error, Event, Hash, Node, Ops, SessionId, UsageError};

use crate::util::*;

async fn root(node: &Node, session: SessionId) -> Hash {
    node.session(session).await.unwrap().unwrap().root
}

async fn same(a: &Node, b: &Node, session: SessionId) {
    within("equal roots", async {
        while root(a, session).await != root(b, session).await {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

async fn compacted(nodes: [&Node; 2]) {
    for node in nodes {
        event(node, "the compaction", |event| matches!(event, Event::Compacted { .. }).then_some(())).await;
    }
}

fn bodies(page: &Ops) -> Vec<Vec<u8>> {
    page.ops.iter().map(|op| op.body.to_vec()).collect()
}

/// Two devices that keep a session of the first together.
async fn together() -> (Node, Node, SessionId) {
    let (a, b) = (memory(1).open().await.unwrap(), memory(2).open().await.unwrap());
    link(&a, &b).await;
    let session = a.create_session("notes", &[b.device()]).await.unwrap();
    within("the session", b.follow(session, a.device())).await.unwrap();
    (a, b, session)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_text_gives_way_to_its_snapshot_and_readers_go_on_from_it() {
    let (a, b, session) = together().await;
    let ops = |from: u32, to: u32| (from..to).map(|at| at.to_be_bytes().to_vec()).collect::<Vec<_>>();
    a.push_ops(session, "text", ops(0, 100)).await.unwrap();
    same(&a, &b, session).await;
    let before = root(&a, session).await;
    let page = b.ops(session, "text", 0).await.unwrap();
    assert_eq!((page.snapshot.is_none(), page.ops.len(), page.next), (true, 100, 100));
    // One that leaves an op out would lose it.
    let early = a.snapshot_part(session, "text", 99, 7, "ninety-nine").await;
    assert!(matches!(early, Err(Error::Usage { source: UsageError::Busy, .. })), "{early:?}");
    a.snapshot_part(session, "text", 100, 7, "a hundred").await.unwrap();
    compacted([&a, &b]).await;
    assert_eq!([root(&a, session).await, root(&b, session).await], [before; 2]);
    a.push_op(session, "text", "behind").await.unwrap();
    same(&a, &b, session).await;
    // Who had read all goes on; who hadn't begins with the snapshot.
    let on = b.ops(session, "text", 100).await.unwrap();
    assert_eq!((on.snapshot.is_none(), bodies(&on)), (true, vec![b"behind".to_vec()]));
    for from in [0, 40, 99] {
        let anew = b.ops(session, "text", from).await.unwrap();
        let snapshot = anew.snapshot.as_ref().map(|snapshot| (snapshot.format, &snapshot.bytes[..]));
        assert_eq!((snapshot, bodies(&anew)), (Some((7, &b"a hundred"[..])), vec![b"behind".to_vec()]));
        assert_eq!(b.ops(session, "text", anew.next).await.unwrap().ops, []);
    }
    // A device that joins gets no op that is in the snapshot.
    let c = memory(3).open().await.unwrap();
    link(&a, &c).await;
    within("the session", c.follow(session, a.device())).await.unwrap();
    same(&a, &c, session).await;
    let theirs = c.ops(session, "text", 0).await.unwrap();
    assert_eq!((theirs.snapshot.map(|snapshot| snapshot.bytes), theirs.ops.len()), (Some("a hundred".into()), 1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_long_log_is_compacted_by_its_primary_without_being_asked() {
    let (a, b, session) = together().await;
    for at in 0..=segue_quic::COMPACT_AFTER {
        let writer = if at % 64 == 1 { &b } else { &a };
        writer.append(session, "chat", format!("entry {at}")).await.unwrap();
    }
    compacted([&a, &b]).await;
    same(&a, &b, session).await;
    let (log, other) = (a.log(session, "chat").await.unwrap(), b.log(session, "chat").await.unwrap());
    let all = |log: &[segue_quic::Delivered]| log.iter().map(|entry| entry.body.clone()).collect::<Vec<_>>();
    assert_eq!(log.len(), segue_quic::COMPACT_AFTER + 1);
    assert_eq!(all(&log), all(&other));
    // By hand it goes for what came since.
    b.append(session, "chat", "since").await.unwrap();
    same(&a, &b, session).await;
    assert_eq!(b.compact(session).await.unwrap(), 1);
    compacted([&a, &b]).await;
    assert_eq!(b.compact(session).await.unwrap(), 0);
    assert_eq!(a.log(session, "chat").await.unwrap().len(), segue_quic::COMPACT_AFTER + 2);
}
