//! Dry runs: what they tell is what a handoff then moves, and they change nothing.

use std::time::Duration;

use segue_quic::{Ability, Code, Generation, HandoffError, HandoffPlan, Node, SessionId};

use crate::util::*;

const LONG: usize = 300_000;

/// A session of the first node, with a long file, a short one and a view, that the second is a member of.
async fn session_of(a: &Node, b: &Node) -> SessionId {
    let session = a.create_session("notes", &[b.device()]).await.unwrap();
    a.write_bytes(session, "film", noise(LONG, 1)).await.unwrap();
    a.write_bytes(session, "note", noise(100, 2)).await.unwrap();
    a.write_view(session, "page 1").await.unwrap();
    session
}

/// What would move to a device, once that is no more than this.
async fn settled(node: &Node, session: SessionId, to: &Node, most: u64) -> HandoffPlan {
    within("a plan that moves little", async {
        loop {
            let plan = node.plan_handoff(session, to.device()).await.unwrap();
            if plan.bytes <= most {
                return plan;
            }
            tokio::task::yield_now().await;
        }
    })
    .await
}

#[tokio::test]
async fn what_a_plan_tells_is_what_moves_and_it_changes_nothing() {
    let (a, b) = pair().await;
    let session = session_of(&a, &b).await;
    let before = (a.session(session).await.unwrap().unwrap(), a.stats().await.unwrap());
    let plan = a.plan_handoff(session, b.device()).await.unwrap();
    let after = (a.session(session).await.unwrap().unwrap(), a.stats().await.unwrap());
    assert_eq!(before.0.head, after.0.head);
    assert_eq!((before.0.role, before.0.root), (after.0.role, after.0.root));
    assert_eq!((before.1.batches, before.1.bulk_tx), (after.1.batches, after.1.bulk_tx));
    assert!(b.requests().await.unwrap().is_empty());

    assert_eq!(plan.refused, None);
    assert_eq!((plan.name.as_str(), plan.held, plan.consented), ("notes", 0, false));
    let paths: Vec<_> = plan.files.iter().map(|file| (file.path.as_str(), file.len, file.held)).collect();
    assert!(paths.contains(&("film", LONG as u64, false)) && paths.contains(&("note", 100, false)), "{paths:?}");
    let film = plan.files.iter().find(|file| file.path == "film").unwrap();
    assert_eq!(film.chunks.iter().map(|chunk| u64::from(chunk.len)).sum::<u64>(), LONG as u64);
    assert_eq!(plan.chunks(), film.chunks.len() as u64 + 2, "the chunks, their list and the short file");
    let of = |kind: segue_quic::PartKind| plan.parts.iter().find(|sum| sum.kind == kind.number()).map(|sum| sum.parts);
    assert_eq!((of(segue_quic::PartKind::Blob), of(segue_quic::PartKind::Exclusive)), (Some(2), Some(1)));
    let link = plan.link.unwrap();
    assert!(link.generation == Generation::V7 && link.round_trip > Duration::ZERO && link.rate() > 0, "{link:?}");
    assert!(plan.at_least.unwrap() >= link.round_trip * 5, "two for the handoff, three for what is fetched");
    assert!(plan.stays.is_empty() && link.lacks().is_empty(), "{plan:?}");

    // Of content and chunk lists exactly what was told is sent; values go in the manifest.
    push(&a, &b, session).await;
    let sent = a.stats().await.unwrap().bulk_tx - after.1.bulk_tx;
    let lists = plan.bytes - LONG as u64 - 100;
    assert!((LONG as u64 + 100..=plan.bytes + 4096).contains(&sent), "{sent} bytes, {lists} of lists and values");

    // All of it came from there, so nothing would go back.
    let back = b.plan_handoff(session, a.device()).await.unwrap();
    assert_eq!((back.refused.clone(), back.bytes, back.chunks()), (None, 0, 0), "{back:?}");
    assert!(back.held >= LONG as u64 + 100, "{back:?}");
}

#[tokio::test]
async fn a_device_that_was_restarted_still_knows_what_came_from_there() {
    let dir = tempfile::tempdir().unwrap();
    let a = memory(1).open().await.unwrap();
    let b = disk(2, dir.path()).open().await.unwrap();
    link(&a, &b).await;
    let session = session_of(&a, &b).await;
    push(&a, &b, session).await;
    b.shutdown().await;
    drop(b);
    let b = disk(2, dir.path()).open().await.unwrap();
    // Nothing is known of a link that isn't there, and so nothing of the time.
    let alone = b.plan_handoff(session, a.device()).await.unwrap();
    assert!(matches!(alone.refused, Some(HandoffError::Offline { .. })), "{alone:?}");
    assert_eq!((alone.link, alone.at_least), (None, None));
    link(&a, &b).await;
    let back = settled(&b, session, &a, 0).await;
    assert_eq!((back.refused.clone(), back.chunks()), (None, 0), "{back:?}");
    assert!(back.held >= LONG as u64 + 100 && back.at_least.is_some(), "{back:?}");
    // What was written since is on this device alone.
    b.write_bytes(session, "note", noise(100, 3)).await.unwrap();
    let back = b.plan_handoff(session, a.device()).await.unwrap();
    let moving: Vec<_> = back.files.iter().filter(|file| !file.held).map(|file| file.path.as_str()).collect();
    assert_eq!(moving, ["note"], "{back:?}");
}

#[tokio::test]
async fn what_sync_brought_there_does_not_move_again() {
    let a = memory(1).open().await.unwrap();
    let b = memory(2).follow(true).open().await.unwrap();
    link(&a, &b).await;
    let session = session_of(&a, &b).await;
    within("the session", b.follow(session, a.device())).await.unwrap();
    let plan = settled(&a, session, &b, 0).await;
    assert!(plan.held >= LONG as u64 + 100 && plan.files.iter().all(|file| file.held), "{plan:?}");
    a.append(session, "chat", "hello").await.unwrap();
    settled(&a, session, &b, 0).await;
}

#[tokio::test]
async fn a_plan_says_what_the_handoff_would_be_refused_for() {
    let (a, b) = pair().await;
    let session = session_of(&a, &b).await;
    let refused = async |node: &Node, session, to| node.plan_handoff(session, to).await.unwrap().refused;
    // Each of these ends the call itself, so the two can be compared.
    let unknown = SessionId::new([9; 16]);
    for (node, session, to) in [(&a, unknown, b.device()), (&a, session, id(9)), (&a, session, a.device())] {
        let told = refused(node, session, to).await.unwrap();
        assert_eq!(node.initiate_handoff(session, to).await, Err(told));
    }
    push(&a, &b, session).await;
    let told = refused(&a, session, b.device()).await.unwrap();
    assert!(matches!(told, HandoffError::NotPrimary { owner, .. } if owner == Some(b.device())), "{told}");
    assert_eq!(a.initiate_handoff(session, b.device()).await, Err(told));
    // A device of the account without a link is waited for; a plan says that it isn't there.
    let told = refused(&b, session, id(3)).await.unwrap();
    assert_eq!((told.code(), told.is_pending()), (Code::HO_TIMEOUT, false), "{told}");
    assert!(matches!(told, HandoffError::Offline { .. }), "{told}");
    b.forget(a.device()).await.unwrap();
}

#[tokio::test]
async fn a_plan_says_what_an_older_device_lacks_and_that_one_has_consented() {
    let a = memory(1).open().await.unwrap();
    let (b, c) = (memory(2).generation(Generation::V1_7).open().await.unwrap(), memory(3).open().await.unwrap());
    link(&a, &b).await;
    link(&a, &c).await;
    let session = a.create_session("notes", &[b.device(), c.device()]).await.unwrap();
    let plan = a.plan_handoff(session, b.device()).await.unwrap();
    assert_eq!(plan.link.unwrap().lacks(), [Ability::Resuming, Ability::Consent, Ability::Choice, Ability::Service]);
    within("the session", c.follow(session, a.device())).await.unwrap();
    c.consent(session, a.device(), Duration::from_secs(60)).await.unwrap();
    within("the consent", async {
        while !a.plan_handoff(session, c.device()).await.unwrap().consented {
            tokio::task::yield_now().await;
        }
    })
    .await;
}
