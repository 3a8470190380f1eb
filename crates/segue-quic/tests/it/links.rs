//! Links: who may have one, and that there is one.

use segue_quic::{Code, Event, Generation, HandoffError, Node};

use crate::util::*;

#[tokio::test]
async fn two_nodes_that_dial_each_other_keep_one_link() {
    let (a, b) = (memory(1).open().await.unwrap(), memory(2).open().await.unwrap());
    a.connect(b.local_addr().unwrap(), b.device()).await.unwrap();
    b.connect(a.local_addr().unwrap(), a.device()).await.unwrap();
    within("the links", async { tokio::try_join!(a.linked(b.device()), b.linked(a.device())) }).await.unwrap();
    // A handoff goes through whichever link stays, also while the other one goes.
    let session = a.create_session("trip", &[b.device()]).await.unwrap();
    push(&a, &b, session).await;
    push(&b, &a, session).await;
    for node in [&a, &b] {
        let stats = node.stats().await.unwrap();
        assert!(stats.links - stats.links_closed <= 1, "{stats:?}");
        assert_eq!(node.peers().await.unwrap().len(), 1);
    }
}

#[tokio::test]
async fn a_device_that_is_not_the_one_dialled_is_refused() {
    let (a, b) = (memory(1).open().await.unwrap(), memory(2).open().await.unwrap());
    a.connect(b.local_addr().unwrap(), id(3)).await.unwrap();
    assert_eq!(unlinked(&a).await, Code::AUTH_UNKNOWN_DEVICE);
    assert!(a.peers().await.unwrap().is_empty());
    // The right one is taken by the same node.
    a.forget(id(3)).await.unwrap();
    link(&a, &b).await;
}

#[tokio::test]
async fn a_device_that_nobody_vouches_for_is_refused_until_somebody_does() {
    let stranger = Node::builder().in_memory().key(key(9)).trust(id(1)).open().await.unwrap();
    let a = memory(1).open().await.unwrap();
    stranger.connect(a.local_addr().unwrap(), id(1)).await.unwrap();
    // The dialled side says no more than that it failed; its own application learns why.
    let code = event(&a, "Unlinked", |event| match event {
        Event::Unlinked { code, remote: false, .. } => Some(code),
        _ => None,
    });
    assert_eq!(code.await, Code::AUTH_UNKNOWN_DEVICE);
    let told = event(&stranger, "Unlinked", |event| match event {
        Event::Unlinked { code, remote: true, .. } => Some(code),
        _ => None,
    });
    assert_eq!(told.await, Code::AUTH_FAILED);
    a.trust(id(9)).await.unwrap();
    within("the link", stranger.linked(id(1))).await.unwrap();
}

#[tokio::test]
async fn a_link_comes_back_by_itself() {
    let dir = tempfile::tempdir().unwrap();
    let a = memory(1).open().await.unwrap();
    let b = disk(2, dir.path()).open().await.unwrap();
    let addr = b.local_addr().unwrap();
    link(&a, &b).await;
    b.shutdown().await;
    assert_eq!(unlinked(&a).await, Code::LINK_SHUTDOWN);
    let b = disk(2, dir.path()).listen(addr).open().await.unwrap();
    within("the link", b.linked(id(1))).await.unwrap();
    within("the link", a.linked(id(2))).await.unwrap();
}

#[tokio::test]
async fn a_node_has_no_more_links_than_it_was_set_up_for() {
    let a = memory(1).links(1).open().await.unwrap();
    let (b, c) = (memory(2).open().await.unwrap(), memory(3).open().await.unwrap());
    let addr = a.local_addr().unwrap();
    b.connect(addr, a.device()).await.unwrap();
    within("the link", b.linked(a.device())).await.unwrap();
    c.connect(addr, a.device()).await.unwrap();
    assert_eq!(unlinked(&c).await, Code::LINK_LOST);
    b.shutdown().await;
    within("the link", c.linked(a.device())).await.unwrap();
}

#[tokio::test]
async fn a_pair_speaks_the_lower_generation_and_keeps_its_floor() {
    let a = memory(1).open().await.unwrap();
    let b = memory(2).generation(Generation::V1_7).open().await.unwrap();
    a.connect(b.local_addr().unwrap(), id(2)).await.unwrap();
    let spoken = event(&a, "Linked", |event| match event {
        Event::Linked { generation, .. } => Some(generation),
        _ => None,
    });
    assert_eq!(spoken.await, Generation::V1_7);
    let session = a.create_session("trip", &[id(2)]).await.unwrap();
    a.write_bytes(session, "file", noise(300_000, 1)).await.unwrap();
    push(&a, &b, session).await;

    let c = memory(3).floor(Generation::V2).open().await.unwrap();
    c.connect(b.local_addr().unwrap(), id(2)).await.unwrap();
    assert_eq!(unlinked(&c).await, Code::VER_BELOW_FLOOR);
    let kept = c.create_session("kept", &[id(2)]).await.unwrap();
    let refused = c.plan_handoff(kept, id(2)).await.unwrap().refused;
    assert!(matches!(refused, Some(HandoffError::Offline { .. })), "{refused:?}");
}
