//! A primary and its secondaries: who is asked, who is told, and how a handoff that doesn't succeed says so.

use std::time::Duration;

use segue_quic::{Code, Event, HandoffError, Node, Outcome, SessionId, SessionRole, Token};

use crate::util::*;

/// The token of the next offer to a node.
async fn offered(node: &Node, session: SessionId) -> Token {
    event(node, "HandoffRequest", |event| match event {
        Event::HandoffRequest { token, session: it, .. } if it == session => Some(token),
        _ => None,
    })
    .await
}

/// A node that gives up soon.
async fn hasty(n: u8) -> Node {
    memory(n).handoff_timeout(Duration::from_millis(200)).open().await.unwrap()
}

fn is_definite(error: &HandoffError) -> bool {
    error.outcome() == Outcome::Definite && !error.is_pending()
}

/// A primary with three secondaries who hold the session.
async fn four() -> ([Node; 4], SessionId) {
    let mut nodes = Vec::new();
    for n in 1..=4 {
        nodes.push(memory(n).follow(true).open().await.unwrap());
    }
    let nodes: [Node; 4] = nodes.try_into().unwrap_or_else(|_| unreachable!());
    for (at, node) in nodes.iter().enumerate() {
        for other in &nodes[at + 1..] {
            link(node, other).await;
        }
    }
    let members: Vec<_> = nodes[1..].iter().map(Node::device).collect();
    let session = nodes[0].create_session("board", &members).await.unwrap();
    nodes[0].write_view(session, "page 1").await.unwrap();
    for secondary in &nodes[1..] {
        within("the session", secondary.follow(session, nodes[0].device())).await.unwrap();
    }
    (nodes, session)
}

/// Waits until every node holds the same ops.
async fn same(nodes: &[Node], session: SessionId) {
    within("equal roots", async {
        loop {
            let mut roots = Vec::new();
            for node in nodes {
                roots.push(node.session(session).await.unwrap().unwrap().root);
            }
            if roots.iter().all(|root| *root == roots[0]) {
                return;
            }
            tokio::task::yield_now().await;
        }
    })
    .await;
}

#[tokio::test]
async fn secondaries_contribute_while_a_handoff_runs_and_only_the_chosen_one_is_asked() {
    let (nodes, session) = four().await;
    let [primary, chosen, other, last] = &nodes;
    // They write before the offer is answered, while it is, and afterwards.
    let contribute = async {
        for round in 0..20 {
            for (at, node) in nodes.iter().enumerate() {
                node.append(session, "chat", format!("{at}-{round}")).await.unwrap();
            }
        }
    };
    let accept = async { chosen.accept_handoff(offered(chosen, session).await).await };
    let (given, taken, ()) = within("the handoff", async {
        tokio::join!(primary.initiate_handoff(session, chosen.device()), accept, contribute)
    })
    .await;
    let (given, taken) = (given.unwrap(), taken.unwrap());
    assert_eq!((given.record, given.peer), (taken.record, chosen.device()));
    for node in [other, last] {
        let owner = event(node, "the new owner", |event| match event {
            Event::HandoffRequest { .. } => panic!("a device that wasn't chosen was asked"),
            Event::HeadChanged { head, owner, .. } if head == given.record => Some(owner),
            _ => None,
        });
        assert_eq!(owner.await, Some(chosen.device()));
        assert!(node.requests().await.unwrap().is_empty());
    }
    same(&nodes, session).await;
    for node in &nodes {
        let mut said: Vec<_> = node.log(session, "chat").await.unwrap().into_iter().map(|entry| entry.body).collect();
        said.sort();
        said.dedup();
        assert_eq!(said.len(), 4 * 20, "nothing is lost, and nothing twice");
        let role = node.session(session).await.unwrap().unwrap().role;
        let owns = node.device() == chosen.device();
        assert_eq!(role == SessionRole::Primary, owns);
    }
    assert_eq!(chosen.view(session).await.unwrap().unwrap(), b"page 1");
}

#[tokio::test]
async fn a_rejection_brings_its_reason_to_the_primary_and_the_others_hear_nothing() {
    let (nodes, session) = four().await;
    let [primary, chosen, other, _] = &nodes;
    let reject = async { chosen.reject_handoff_with(offered(chosen, session).await, "in a call").await };
    let (answer, rejected) =
        within("the answer", async { tokio::join!(primary.initiate_handoff(session, chosen.device()), reject) }).await;
    rejected.unwrap();
    let error = answer.unwrap_err();
    let HandoffError::Refused { session: of, device, code, reason, .. } = &error else { panic!("{error}") };
    assert_eq!((*of, *device, *code), (session, chosen.device(), Code::HO_DECLINED));
    assert_eq!(reason.as_deref(), Some("in a call"));
    assert!(is_definite(&error) && error.to_string().contains("in a call"), "{error}");
    assert!(is_primary(primary, session).await);
    assert!(other.requests().await.unwrap().is_empty());
    // A token that was answered is no token any more.
    let token = Token::new([7; 32]);
    assert_eq!(chosen.reject_handoff(token).await, Err(HandoffError::UnknownRequest { token }));
    assert_eq!(chosen.accept_handoff(token).await, Err(HandoffError::UnknownRequest { token }));
}

#[tokio::test]
async fn another_choice_supersedes_the_first_whose_device_is_told() {
    let (nodes, session) = four().await;
    let [primary, first, second, _] = &nodes;
    let again = async {
        let token = offered(first, session).await;
        let accept = async { second.accept_handoff(offered(second, session).await).await };
        let (given, taken) = tokio::join!(primary.initiate_handoff(session, second.device()), accept);
        assert_eq!(given.unwrap().record, taken.unwrap().record);
        let withdrawn = event(first, "Withdrawn", |event| match event {
            Event::Withdrawn { token: it, code, .. } => Some((it, code)),
            _ => None,
        });
        assert_eq!(withdrawn.await, (token, Code::HO_SUPERSEDED));
    };
    let (answer, ()) =
        within("the end", async { tokio::join!(primary.initiate_handoff(session, first.device()), again) }).await;
    let error = answer.unwrap_err();
    assert_eq!(error, HandoffError::Superseded { session, device: first.device() });
    assert!(is_definite(&error));
}

#[tokio::test]
async fn what_can_be_known_at_the_call_is_said_at_the_call() {
    let (a, b) = pair().await;
    let session = a.create_session("trip", &[b.device(), id(4)]).await.unwrap();
    let none = SessionId::new([9; 16]);
    let unknown = a.initiate_handoff(none, b.device()).await.unwrap_err();
    assert_eq!(unknown, HandoffError::UnknownSession { session: none });
    let stranger = id(9);
    let nobody = a.initiate_handoff(session, stranger).await.unwrap_err();
    assert_eq!(nobody, HandoffError::UnknownDevice { session, device: stranger });
    let own = a.initiate_handoff(session, a.device()).await.unwrap_err();
    assert_eq!(own, HandoffError::ThisDevice { session, device: a.device() });
    let already = a.request_handoff(session, b.device()).await.unwrap_err();
    assert_eq!(already, HandoffError::AlreadyPrimary { session });
    push(&a, &b, session).await;
    let moved = a.initiate_handoff(session, b.device()).await.unwrap_err();
    assert_eq!(moved, HandoffError::NotPrimary { session, owner: Some(b.device()) });
    b.close(session).await.unwrap();
    let closed = b.initiate_handoff(session, a.device()).await.unwrap_err();
    assert_eq!(closed, HandoffError::Closed { session });
    for error in [unknown, nobody, own, already, moved, closed] {
        assert!(is_definite(&error), "{error}");
        let text = error.to_string();
        assert!(text.contains(&error_session(&error, session, none)) && text.contains(';'), "{text}");
    }
}

fn error_session(error: &HandoffError, session: SessionId, none: SessionId) -> String {
    let of = if matches!(error, HandoffError::UnknownSession { .. }) { none } else { session };
    of.to_string()
}

#[tokio::test]
async fn a_device_that_merely_called_here_is_no_member() {
    let a = memory(1).accept_unknown(true).open().await.unwrap();
    let stranger = segue_quic::Node::builder().in_memory().key(key(9)).trust(id(1)).open().await.unwrap();
    stranger.connect(a.local_addr().unwrap(), a.device()).await.unwrap();
    within("the link", a.linked(stranger.device())).await.unwrap();
    let session = a.create_session("trip", &[]).await.unwrap();
    let error = a.initiate_handoff(session, stranger.device()).await.unwrap_err();
    assert_eq!(error, HandoffError::NotMember { session, device: stranger.device() });
    assert!(is_definite(&error));
    assert_eq!(a.plan_handoff(session, stranger.device()).await.unwrap().refused, Some(error));
    assert!(is_primary(&a, session).await);
}

#[tokio::test]
async fn a_device_that_no_link_can_come_to_is_offline_at_once() {
    let a = segue_quic::Node::builder().in_memory().key(key(1)).open().await.unwrap();
    let session = a.create_session("trip", &[id(2)]).await.unwrap();
    let offline = HandoffError::Offline { session, device: id(2) };
    assert_eq!(a.initiate_handoff(session, id(2)).await, Err(offline.clone()));
    assert!(is_definite(&offline));
    // One that is dialled, or may call, has until the deadline.
    let b = hasty(1).await;
    let session = b.create_session("trip", &[id(2)]).await.unwrap();
    let error = within("the deadline", b.initiate_handoff(session, id(2))).await.unwrap_err();
    assert_eq!(error, HandoffError::Offline { session, device: id(2) });
}

#[tokio::test]
async fn a_user_who_says_nothing_is_told_from_a_link_that_was_lost() {
    let (a, b) = (hasty(1).await, memory(2).open().await.unwrap());
    link(&a, &b).await;
    let session = a.create_session("trip", &[b.device()]).await.unwrap();
    let silent = within("the deadline", a.initiate_handoff(session, b.device())).await.unwrap_err();
    assert_eq!(silent, HandoffError::TimedOut { session, device: b.device() });
    assert!(is_definite(&silent) && is_primary(&a, session).await);
    a.write_view(session, "still mine").await.unwrap();
    // Long enough for the loss of a link to be heard of on a busy machine.
    let a = memory(3).handoff_timeout(Duration::from_secs(4)).open().await.unwrap();
    link(&a, &b).await;
    let session = a.create_session("trip", &[b.device()]).await.unwrap();
    let lose = async {
        offered(&b, session).await;
        b.shutdown().await;
    };
    let (lost, ()) =
        within("the deadline", async { tokio::join!(a.initiate_handoff(session, b.device()), lose) }).await;
    let lost = lost.unwrap_err();
    assert_eq!(lost, HandoffError::LinkLost { session, device: id(2) });
    assert!(is_definite(&lost));
    assert!(is_primary(&a, session).await);
    a.write_view(session, "still mine").await.unwrap();
}

#[tokio::test]
async fn a_withdrawn_handoff_says_so_on_both_sides() {
    let (a, b) = pair().await;
    let session = a.create_session("trip", &[b.device()]).await.unwrap();
    let cancel = async {
        let token = offered(&b, session).await;
        a.cancel_handoff(session).await.unwrap();
        event(&b, "Withdrawn", |event| matches!(event, Event::Withdrawn { .. }).then_some(())).await;
        assert_eq!(b.accept_handoff(token).await, Err(HandoffError::UnknownRequest { token }));
    };
    let (answer, ()) = within("the end", async { tokio::join!(a.initiate_handoff(session, id(2)), cancel) }).await;
    let error = answer.unwrap_err();
    assert_eq!(error, HandoffError::Withdrawn { session, device: id(2) });
    assert!(is_definite(&error));
}

#[tokio::test]
async fn a_store_that_fails_under_a_handoff_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let (a, b) = (memory(1).open().await.unwrap(), disk(2, dir.path()).open().await.unwrap());
    link(&a, &b).await;
    let session = a.create_session("trip", &[b.device()]).await.unwrap();
    a.write_bytes(session, "file", noise(300_000, 1)).await.unwrap();
    // Where blobs are kept there is a file from now on, so that none can be written.
    let blobs = dir.path().join("state-2/blobs");
    std::fs::remove_dir_all(&blobs).unwrap();
    std::fs::write(&blobs, "no directory").unwrap();
    let accept = async { b.accept_handoff(offered(&b, session).await).await };
    let start = async { a.initiate_handoff(session, b.device()).await };
    let taken = within("the end", async {
        tokio::select! {
            taken = accept => taken,
            given = start => panic!("the source ended first: {given:?}"),
        }
    })
    .await;
    let error = taken.unwrap_err();
    assert_eq!(error, HandoffError::Storage { code: Code::STORE_IO });
    assert!(error.is_pending(), "what was signed before isn't known: {error}");
    assert!(is_primary(&a, session).await);
}

#[tokio::test]
async fn a_node_that_stops_leaves_its_callers_with_an_open_question() {
    let (a, b) = pair().await;
    let session = a.create_session("trip", &[b.device()]).await.unwrap();
    let stop = async {
        offered(&b, session).await;
        a.abort().await;
    };
    let (answer, ()) = within("the end", async { tokio::join!(a.initiate_handoff(session, id(2)), stop) }).await;
    assert_eq!(answer, Err(HandoffError::Stopped));
    assert!(HandoffError::Stopped.is_pending());
}
