//! Handoffs between two nodes: push, pull, reject, cancel, consent, takeover, close.

use std::time::Duration;

use segue_quic::{Code, Event, Policy, RequestKind};

use crate::util::*;

#[tokio::test]
async fn a_push_moves_files_and_view_and_ownership() {
    let (a, b) = pair().await;
    let session = a.create_session("trip", &[b.device()]).await.unwrap();
    let files = [("empty", 0), ("small.txt", 10), ("dir/one chunk", 65_536), ("dir/large", 300_001)];
    for (at, (path, len)) in files.iter().enumerate() {
        a.write_bytes(session, path, noise(*len, at as u8)).await.unwrap();
    }
    a.write_view(session, "page 3").await.unwrap();
    push(&a, &b, session).await;
    assert_moved(&a, &b, session).await;
    for (at, (path, len)) in files.iter().enumerate() {
        assert_eq!(b.read_file(session, path).await.unwrap(), noise(*len, at as u8), "{path}");
    }
    assert_eq!(b.view(session).await.unwrap().unwrap(), b"page 3");
    assert_eq!(a.files(session).await.unwrap(), b.files(session).await.unwrap());

    // And back: only what changed moves.
    b.write_view(session, "page 4").await.unwrap();
    b.write_bytes(session, "small.txt", "changed").await.unwrap();
    let before = a.stats().await.unwrap();
    push(&b, &a, session).await;
    assert_moved(&b, &a, session).await;
    assert_eq!(a.read_file(session, "small.txt").await.unwrap(), b"changed");
    assert_eq!(a.view(session).await.unwrap().unwrap(), b"page 4");
    let moved = a.stats().await.unwrap().bulk_rx - before.bulk_rx;
    assert!(moved < 10_000, "{moved} bytes moved for a changed line");
}

#[tokio::test]
async fn a_pull_asks_the_sources_application() {
    let (a, b) = pair().await;
    let session = a.create_session("trip", &[b.device()]).await.unwrap();
    a.write_bytes(session, "file", noise(200_000, 1)).await.unwrap();
    let accept = async {
        let token = event(&a, "RequestHandoff", |event| match event {
            Event::RequestHandoff { token, by, .. } => {
                assert_eq!(by, id(2));
                Some(token)
            }
            _ => None,
        })
        .await;
        assert_eq!(a.requests().await.unwrap()[0].kind, RequestKind::Wanted);
        a.accept_data(token).await.unwrap()
    };
    let (taken, given) = within("the pull", async { tokio::join!(b.request_handoff(session, id(1)), accept) }).await;
    assert_eq!(taken.unwrap().record, given.record);
    assert!(a.requests().await.unwrap().is_empty());
    assert_moved(&a, &b, session).await;
    assert_eq!(b.read_file(session, "file").await.unwrap(), noise(200_000, 1));
}

#[tokio::test]
async fn policy_answers_pulls_without_the_application() {
    for (policy, wanted) in [(Policy::Allow, Ok(())), (Policy::Deny, Err(Code::HO_DECLINED))] {
        let a = memory(1).pulls(policy).open().await.unwrap();
        let b = memory(2).open().await.unwrap();
        link(&b, &a).await;
        let session = a.create_session("trip", &[]).await.unwrap();
        let answer = within("the answer", b.request_handoff(session, id(1))).await;
        assert_eq!(answer.map(|_| ()).map_err(|error| error.code()), wanted);
        assert_eq!(is_primary(&a, session).await, policy == Policy::Deny);
    }
}

#[tokio::test]
async fn a_rejected_handoff_changes_nothing_and_says_so() {
    let (a, b) = pair().await;
    let session = a.create_session("trip", &[b.device()]).await.unwrap();
    let reject = async {
        let token = event(&b, "HandoffRequest", |event| match event {
            Event::HandoffRequest { token, name, .. } if name == "trip" => Some(token),
            _ => None,
        });
        b.reject_handoff(token.await).await.unwrap();
    };
    let (answer, ()) = within("the answer", async { tokio::join!(a.initiate_handoff(session, id(2)), reject) }).await;
    let error = answer.unwrap_err();
    assert_eq!((error.code(), error.is_pending()), (Code::HO_DECLINED, false));
    assert!(error.to_string().contains(&session.to_string()), "{error}");
    a.write_view(session, "still mine").await.unwrap();
    assert!(b.requests().await.unwrap().is_empty());
}

#[tokio::test]
async fn a_cancelled_offer_is_withdrawn() {
    let (a, b) = pair().await;
    let session = a.create_session("trip", &[b.device()]).await.unwrap();
    let cancel = async {
        let offered = event(&b, "HandoffRequest", |event| match event {
            Event::HandoffRequest { token, .. } => Some(token),
            _ => None,
        })
        .await;
        a.cancel_handoff(session).await.unwrap();
        let withdrawn = event(&b, "Withdrawn", |event| match event {
            Event::Withdrawn { token, .. } => Some(token),
            _ => None,
        });
        assert_eq!(withdrawn.await, offered);
        assert_eq!(b.accept_handoff(offered).await.unwrap_err().code(), Code::HO_TOKEN_BAD);
    };
    let (answer, ()) = within("the answer", async { tokio::join!(a.initiate_handoff(session, id(2)), cancel) }).await;
    assert_eq!(answer.unwrap_err().code(), Code::HO_CANCELLED);
    assert!(is_primary(&a, session).await);
}

#[tokio::test]
async fn a_request_that_is_withdrawn_is_over_once_its_owner_says_that_it_was_not_granted() {
    let a = memory(1).pulls(Policy::Ask).open().await.unwrap();
    let b = memory(2).open().await.unwrap();
    link(&a, &b).await;
    let session = a.create_session("trip", &[b.device()]).await.unwrap();
    let withdraw = async {
        event(&a, "RequestHandoff", |event| matches!(event, Event::RequestHandoff { .. }).then_some(())).await;
        b.cancel_handoff(session).await.unwrap();
    };
    let (answer, ()) =
        within("the answer", async { tokio::join!(b.request_handoff(session, a.device()), withdraw) }).await;
    // A GRANT may be on its way.
    assert!(answer.unwrap_err().is_pending());
    let over = event(&b, "HandoffResolved", |event| match event {
        Event::HandoffResolved { result, .. } => Some(result),
        _ => None,
    });
    assert_eq!(over.await, Err(Code::HO_CANCELLED));
    assert!(is_primary(&a, session).await && !is_primary(&b, session).await);
}

#[tokio::test]
async fn a_handoff_to_nobody_ends_at_its_deadline() {
    let a = memory(1).handoff_timeout(Duration::from_millis(50)).open().await.unwrap();
    let session = a.create_session("trip", &[id(2)]).await.unwrap();
    let error = within("the deadline", a.initiate_handoff(session, id(2))).await.unwrap_err();
    assert_eq!((error.code(), error.is_pending()), (Code::HO_TIMEOUT, false));
    assert!(is_primary(&a, session).await);
}

#[tokio::test]
async fn standing_consent_needs_no_accept() {
    let (a, b) = pair().await;
    let session = a.create_session("trip", &[b.device()]).await.unwrap();
    a.write_bytes(session, "file", noise(100_000, 1)).await.unwrap();
    push(&a, &b, session).await;
    // The old owner holds everything, and lets the new one hand it back at any time.
    a.consent(session, id(2), Duration::from_secs(600)).await.unwrap();
    let receipt = within("the handoff", b.initiate_handoff(session, id(1))).await.unwrap();
    assert_eq!(receipt.peer, id(1));
    assert_moved(&b, &a, session).await;
}

#[tokio::test]
async fn a_takeover_fences_the_old_owner() {
    let (a, b) = pair().await;
    let session = a.create_session("trip", &[b.device()]).await.unwrap();
    push(&a, &b, session).await;
    a.takeover(session).await.unwrap();
    let owner = event(&b, "Fenced", |event| match event {
        Event::Fenced { owner, .. } => Some(owner),
        _ => None,
    });
    assert_eq!(owner.await, Some(id(1)));
    assert_moved(&b, &a, session).await;
}

#[tokio::test]
async fn a_closed_session_stays_closed() {
    let (a, b) = pair().await;
    let session = a.create_session("trip", &[b.device()]).await.unwrap();
    push(&a, &b, session).await;
    b.close(session).await.unwrap();
    assert!(b.session(session).await.unwrap().unwrap().closed);
    let error = b.initiate_handoff(session, id(1)).await.unwrap_err();
    assert_eq!(error.code(), Code::HO_CLOSED, "{error}");
}

#[tokio::test]
async fn a_file_that_changed_is_unavailable_not_wrong() {
    let dir = tempfile::tempdir().unwrap();
    let (a, b) = pair().await;
    let path = dir.path().join("file");
    std::fs::write(&path, noise(400_000, 1)).unwrap();
    let session = a.create_session("trip", &[b.device()]).await.unwrap();
    a.write_file(session, "file", &path).await.unwrap();
    std::fs::write(&path, b"shorter").unwrap();
    let accept = async {
        let token = event(&b, "HandoffRequest", |event| match event {
            Event::HandoffRequest { token, .. } => Some(token),
            _ => None,
        });
        b.accept_handoff(token.await).await
    };
    let (given, taken) = within("the end", async { tokio::join!(a.initiate_handoff(session, id(2)), accept) }).await;
    assert_eq!(taken.unwrap_err().code(), Code::DATA_UNAVAILABLE);
    assert!(!given.unwrap_err().is_pending());
    assert!(is_primary(&a, session).await);

    // Written again, it moves.
    a.write_file(session, "file", &path).await.unwrap();
    push(&a, &b, session).await;
    assert_eq!(b.read_file(session, "file").await.unwrap(), b"shorter");
}

#[tokio::test]
async fn an_application_serves_blobs_of_its_own() {
    let (gate, entry) = Gate::new("big", noise(1 << 20, 5), usize::MAX);
    let a = memory(1).blob_source(std::sync::Arc::new(Gated(gate))).open().await.unwrap();
    let b = memory(2).open().await.unwrap();
    link(&a, &b).await;
    let session = a.create_session("trip", &[b.device()]).await.unwrap();
    a.put_entry(session, entry).await.unwrap();
    push(&a, &b, session).await;
    assert_eq!(b.read_file(session, "big").await.unwrap(), noise(1 << 20, 5));
}

#[tokio::test]
async fn a_session_goes_on_to_a_third_device_with_its_chunk_lists() {
    let (a, b) = pair().await;
    let c = memory(3).open().await.unwrap();
    link(&b, &c).await;
    let session = a.create_session("trip", &[b.device()]).await.unwrap();
    a.write_bytes(session, "file", noise(300_000, 1)).await.unwrap();
    push(&a, &b, session).await;
    a.shutdown().await;
    push(&b, &c, session).await;
    assert_moved(&b, &c, session).await;
    assert_eq!(c.read_file(session, "file").await.unwrap(), noise(300_000, 1));
}

#[tokio::test]
async fn writing_what_is_there_already_returns() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("notes");
    std::fs::write(&file, "same").unwrap();
    for node in [memory(1), disk(1, dir.path())] {
        let node = node.open().await.unwrap();
        let session = node.create_session("notes", &[]).await.unwrap();
        for _ in 0..2 {
            within("the same file", node.write_file(session, "notes", &file)).await.unwrap();
            within("the same bytes", node.write_bytes(session, "bytes", "same")).await.unwrap();
            within("nothing", node.put_entries(session, Vec::new())).await.unwrap();
        }
        node.shutdown().await;
    }
}
