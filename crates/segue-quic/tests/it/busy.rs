//! A service that has had too many requests: what it refuses for that is tried again.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use segue_proto::wire::{self, Exts, Message};
use segue_quic::{
    Code, Error, Event, HandoffError, Hash, Hosted, Instant, MailboxHost, Node, Pick, Said, SessionId, Token,
    UsageError,
};

use crate::delegate::Host;
use crate::util::*;

/// When it says that an OFFER may be made again.
const AFTER: Duration = Duration::from_secs(1);

/// Refuses the next OFFERs, WANTs, DISCOVERs, LOGINs and CAS, so many of them in all.
struct Busy(Host, Arc<AtomicUsize>);

impl MailboxHost for Busy {
    fn keeps_custody(&self) -> bool {
        self.0.keeps_custody()
    }

    fn was_put_back(&self, mark: u64) -> bool {
        self.0.was_put_back(mark)
    }

    fn begin(&mut self, now: Instant, me: segue_quic::DeviceId, tenure: Hash) -> Result<(), String> {
        self.0.begin(now, me, tenure)
    }

    fn next_timeout(&self) -> Option<Instant> {
        self.0.next_timeout()
    }

    fn handle(&mut self, now: Instant, came: Vec<Hosted>) -> Result<Said, String> {
        let mut refused = Vec::new();
        let mut rest = Vec::new();
        for hosted in came {
            let asked = match &hosted {
                Hosted::Request { ticket, message: Message::Discover(it), .. } => {
                    Some((*ticket, it.req, None, Code::LIMIT_REQUESTS))
                }
                Hosted::Request { ticket, message: Message::Login(it), .. } => {
                    Some((*ticket, it.req, None, Code::LIMIT_REQUESTS))
                }
                Hosted::Custody { ticket, message: Message::Offer(it), .. } => {
                    let session = it.offer.open(segue_proto::Rules::ALL).unwrap().session;
                    Some((*ticket, it.req, Some(session), Code::LIMIT_OFFERS))
                }
                Hosted::Custody { ticket, message: Message::Want(it), .. } => {
                    let session = it.want.open(segue_proto::Rules::ALL).unwrap().session;
                    Some((*ticket, it.req, Some(session), Code::LIMIT_REQUESTS))
                }
                Hosted::Custody { ticket, message: Message::Cas(it), .. } => {
                    let session = it.record.open(segue_proto::Rules::ALL).unwrap().session;
                    Some((*ticket, it.req, Some(session), Code::LIMIT_REQUESTS))
                }
                _ => None,
            };
            let left = |left: usize| left.checked_sub(1);
            match asked {
                Some((ticket, req, session, code))
                    if self.1.fetch_update(Ordering::SeqCst, Ordering::SeqCst, left).is_ok() =>
                {
                    let retry_after_ms = if code == Code::LIMIT_OFFERS { AFTER.as_millis() as u32 } else { 0 };
                    let (session, code) = (session.into(), code.into());
                    let error = wire::Error { req, session, code, definite: true, retry_after_ms, ext: Exts::empty() };
                    refused.push((ticket, error.into()));
                }
                _ => rest.push(hosted),
            }
        }
        let mut said = self.0.handle(now, rest)?;
        said.closes.extend(refused.iter().map(|(ticket, _)| *ticket));
        said.answers.extend(refused);
        Ok(said)
    }
}

#[tokio::test]
async fn what_a_service_refuses_for_having_too_much_to_do_is_tried_again() {
    let dir = tempfile::tempdir().unwrap();
    let refuses = Arc::new(AtomicUsize::new(0));
    let two = || refuses.store(2, Ordering::SeqCst);
    // The delegation is refused, too.
    two();
    let (host, a, b, session) = delegated(dir.path(), &refuses).await;
    assert_eq!(refuses.load(Ordering::SeqCst), 0);
    two();
    push(&a, &b, session).await;
    assert_eq!(refuses.load(Ordering::SeqCst), 0);
    two();
    within("who is there", a.discover(host.device(), &[b.device()])).await.unwrap();
    assert_eq!(refuses.load(Ordering::SeqCst), 0);
    two();
    within("the login", a.login(host.device(), "")).await.unwrap();
    assert_eq!(refuses.load(Ordering::SeqCst), 0);
    // Nobody waits for these.
    two();
    a.use_token(host.device(), "").await.unwrap();
    let logged_in = |event| matches!(event, Event::Login { result: Ok(_), .. }).then_some(());
    event(&a, "the first login", logged_in).await;
    event(&a, "the login after two that were refused", logged_in).await;
    assert_eq!(refuses.load(Ordering::SeqCst), 0);
    // While it waits it can be given up.
    refuses.store(usize::MAX, Ordering::SeqCst);
    let given_up = async {
        while b.cancel_handoff(session).await.is_err() {
            tokio::task::yield_now().await;
        }
    };
    let (ended, ()) =
        within("the end", async { tokio::join!(b.initiate_handoff(session, a.device()), given_up) }).await;
    assert!(matches!(ended, Err(HandoffError::Withdrawn { .. })), "{ended:?}");
    assert!(is_primary(&b, session).await);
    // Taken, and then not handed on.
    assert_eq!(ends(&b).await, [Ok(()), Err(Code::HO_CANCELLED)]);
}

#[tokio::test]
async fn a_handoff_is_resolved_once_however_often_it_was_tried() {
    let dir = tempfile::tempdir().unwrap();
    let refuses = Arc::new(AtomicUsize::new(0));
    let (host, a, b, session) = delegated(dir.path(), &refuses).await;
    // Else it is named as the handoff begins, so that it can be woken, and that is refused, too.
    within("who is there", a.discover(host.device(), &[b.device()])).await.unwrap();
    refuses.store(2, Ordering::SeqCst);
    push(&a, &b, session).await;
    assert_eq!(refuses.load(Ordering::SeqCst), 0);
    let told = told(&a).await;
    let deferred = |event: &Event| match event {
        // By itself it would try sooner.
        Event::HandoffDeferred { code, wait, .. } => Some((*code, *wait > AFTER / 2)),
        _ => None,
    };
    assert_eq!(told.iter().filter_map(deferred).collect::<Vec<_>>(), [(Code::LIMIT_OFFERS, true); 2]);
    assert_eq!(told.iter().filter_map(end).collect::<Vec<_>>(), [Ok(())]);
    drop(host);
}

/// The token of what a node is offered.
async fn offered(node: &Node) -> Token {
    let token = |event| match event {
        Event::HandoffRequest { token, .. } => Some(token),
        _ => None,
    };
    event(node, "the offer", token).await
}

#[tokio::test]
async fn an_acceptance_that_is_not_passed_on_is_tried_again() {
    let dir = tempfile::tempdir().unwrap();
    let refuses = Arc::new(AtomicUsize::new(0));
    let (host, a, b, session) = delegated(dir.path(), &refuses).await;
    let accept = async {
        let token = offered(&b).await;
        refuses.store(2, Ordering::SeqCst);
        b.accept_handoff(token).await
    };
    let (given, taken) =
        within("the handoff", async { tokio::join!(a.initiate_handoff(session, b.device()), accept) }).await;
    assert_eq!(given.unwrap().record, taken.unwrap().record);
    assert_eq!(refuses.load(Ordering::SeqCst), 0);
    assert!(is_primary(&b, session).await);
    // Its user was asked nothing.
    let (at_a, at_b) = (told(&a).await, told(&b).await);
    assert!(!at_a.iter().any(|event| matches!(event, Event::RequestHandoff { .. })), "{at_a:?}");
    assert_eq!(at_b.iter().filter_map(end).collect::<Vec<_>>(), [Ok(())]);
    drop(host);
}

#[tokio::test]
async fn a_call_that_is_dropped_or_that_another_takes_the_place_of_is_resolved_too() {
    let dir = tempfile::tempdir().unwrap();
    let refuses = Arc::new(AtomicUsize::new(0));
    let (host, a, b, session) = delegated(dir.path(), &refuses).await;
    refuses.store(usize::MAX, Ordering::SeqCst);
    let mut told = Vec::new();
    let mut deferred = |event| {
        told.extend(end(&event));
        matches!(event, Event::HandoffDeferred { .. }).then_some(())
    };
    let newer = async {
        event(&a, "a refusal", &mut deferred).await;
        let newer = a.initiate_handoff(session, b.device());
        tokio::select! {
            ended = newer => panic!("{ended:?}"),
            () = event(&a, "another refusal", &mut deferred) => {}
        }
    };
    let (older, ()) = within("the end", async { tokio::join!(a.initiate_handoff(session, b.device()), newer) }).await;
    assert!(matches!(older, Err(HandoffError::Superseded { .. })), "{older:?}");
    told.extend(ends(&a).await);
    told.sort_by_key(|end| end.map_err(Code::number));
    assert_eq!(told, [Err(Code::LIMIT_OFFERS), Err(Code::HO_SUPERSEDED)]);
    drop(host);
}

#[tokio::test]
async fn a_refusal_that_outlasts_the_time_is_what_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let refuses = Arc::new(AtomicUsize::new(0));
    let (host, _, b, _) = delegated(dir.path(), &refuses).await;
    let short = memory(3).handoff_timeout(2 * AFTER).introductions(false).open().await.unwrap();
    short.use_mailbox(host.local_addr().unwrap(), host.device()).await.unwrap();
    let session = short.create_session("other", &[b.device()]).await.unwrap();
    within("the delegate", short.delegate(session, host.local_addr().unwrap(), host.device())).await.unwrap();
    refuses.store(usize::MAX, Ordering::SeqCst);
    let ended = within("the end", short.initiate_handoff(session, b.device())).await;
    let Err(HandoffError::Refused { code: Code::LIMIT_OFFERS, retry_after: Some(left), .. }) = ended else {
        panic!("{ended:?}")
    };
    assert!(left <= AFTER);
    assert_eq!(ends(&short).await, [Err(Code::LIMIT_OFFERS)]);
}

/// A busy host, and two devices that use it, of which the first owns a session that the host signs for.
async fn delegated(dir: &Path, refuses: &Arc<AtomicUsize>) -> (Node, Node, Node, SessionId) {
    let host = Node::builder().state_dir(dir.join("host")).witness(dir.join("witness")).key(key(9));
    let host = host.listen(loopback()).accept_unknown(true);
    let host = host.host_mailbox(Busy(Host::open(dir, Duration::ZERO), refuses.clone())).open().await.unwrap();
    let open = async |n| {
        let node = memory(n).follow(true).introductions(false).open().await.unwrap();
        node.use_mailbox(host.local_addr().unwrap(), host.device()).await.unwrap();
        within("the exchange", node.exchanged(host.device())).await.unwrap();
        node
    };
    let (a, b) = (open(1).await, open(2).await);
    let session = a.create_session("notes", &[b.device()]).await.unwrap();
    within("the delegate", a.delegate(session, host.local_addr().unwrap(), host.device())).await.unwrap();
    within("the exchange", a.exchanged(host.device())).await.unwrap();
    (host, a, b, session)
}

#[tokio::test]
async fn what_goes_along_is_chosen_for_all_tries_of_a_handoff() {
    const PHOTO: usize = 300_000;
    let (dir, refuses) = (tempfile::tempdir().unwrap(), Arc::new(AtomicUsize::new(0)));
    let (host, a, b, session) = delegated(dir.path(), &refuses).await;
    a.take_along(session, Pick::types(["letters"])).await.unwrap();
    a.write_bytes(session, "letters/first", b"a letter".to_vec()).await.unwrap();
    a.write_bytes(session, "photos/beach", vec![7; PHOTO]).await.unwrap();
    refuses.store(1, Ordering::SeqCst);
    let pauses = async {
        event(&a, "the pause", |event| matches!(event, Event::HandoffDeferred { .. }).then_some(())).await;
        within("the exchange", a.exchanged(host.device())).await.unwrap();
        assert!(a.stats().await.unwrap().mailed_tx < PHOTO as u64, "the photo went to the mailbox during the pause");
    };
    tokio::join!(push(&a, &b, session), pauses);
    // Once that is over, the rest may go.
    within("the photo", async {
        while a.stats().await.unwrap().mailed_tx < PHOTO as u64 {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

#[tokio::test]
async fn an_acceptance_that_waits_for_its_next_try_ends_when_the_owner_cancels() {
    let dir = tempfile::tempdir().unwrap();
    let refuses = Arc::new(AtomicUsize::new(0));
    let (host, a, b, session) = delegated(dir.path(), &refuses).await;
    let accept = async {
        let token = offered(&b).await;
        refuses.store(usize::MAX, Ordering::SeqCst);
        let cancel = async {
            event(&b, "a refusal", |event| matches!(event, Event::HandoffDeferred { .. }).then_some(())).await;
            a.cancel_handoff(session).await.unwrap();
        };
        tokio::join!(b.accept_handoff(token), cancel).0
    };
    let (given, taken) =
        within("the end", async { tokio::join!(a.initiate_handoff(session, b.device()), accept) }).await;
    assert!(matches!(given, Err(HandoffError::Withdrawn { .. })), "{given:?}");
    assert!(matches!(taken, Err(HandoffError::Withdrawn { .. })), "{taken:?}");
    assert_eq!(ends(&b).await, [Err(Code::HO_CANCELLED)]);
    assert!(is_primary(&a, session).await);
    drop(host);
}

#[tokio::test]
async fn an_offer_is_put_to_the_user_again_once_nobody_tries_to_accept_it() {
    let dir = tempfile::tempdir().unwrap();
    let refuses = Arc::new(AtomicUsize::new(0));
    let (host, a, b, session) = delegated(dir.path(), &refuses).await;
    a.write_bytes(session, "letters/first", b"a letter".to_vec()).await.unwrap();
    let accept = async {
        let token = offered(&b).await;
        refuses.store(usize::MAX, Ordering::SeqCst);
        tokio::select! {
            ended = b.accept_handoff(token) => panic!("{ended:?}"),
            () = event(&b, "a refusal", |event| matches!(event, Event::HandoffDeferred { .. }).then_some(())) => {}
        }
        refuses.store(0, Ordering::SeqCst);
        // The OFFER is said again.
        a.take_along(session, Pick::types(["letters"])).await.unwrap();
        assert_eq!(offered(&b).await, token);
        b.accept_handoff(token).await
    };
    let (given, taken) =
        within("the handoff", async { tokio::join!(a.initiate_handoff(session, b.device()), accept) }).await;
    assert_eq!(given.unwrap().record, taken.unwrap().record);
    drop(host);
}

#[tokio::test]
async fn a_delegation_that_cant_be_tried_again_is_told_with_what_hinders_it() {
    let dir = tempfile::tempdir().unwrap();
    let refuses = Arc::new(AtomicUsize::new(0));
    let (host, a, b, _) = delegated(dir.path(), &refuses).await;
    let session = a.create_session("other", &[b.device()]).await.unwrap();
    refuses.store(usize::MAX, Ordering::SeqCst);
    let close = async {
        while refuses.load(Ordering::SeqCst) == usize::MAX {
            tokio::task::yield_now().await;
        }
        a.close(session).await.unwrap();
    };
    let delegated = a.delegate(session, host.local_addr().unwrap(), host.device());
    let (ended, ()) = within("the end", async { tokio::join!(delegated, close) }).await;
    assert!(matches!(ended, Err(Error::Usage { source: UsageError::Closed, .. })), "{ended:?}");
    let ends = told(&a).await.into_iter().filter_map(|event| match event {
        Event::Delegated { session: of, result } if of == session => Some(result),
        _ => None,
    });
    assert_eq!(ends.collect::<Vec<_>>(), [Err(Code::HO_CLOSED)]);
}

/// Ends the node; all that it told and nobody read.
async fn told(node: &Node) -> Vec<Event> {
    node.shutdown().await;
    let mut told = Vec::new();
    while let Some(event) = node.next_event().await {
        told.push(event);
    }
    told
}

/// How handoffs ended, as the events of a node tell, which ends.
async fn ends(node: &Node) -> Vec<Result<(), Code>> {
    told(node).await.iter().filter_map(end).collect()
}

fn end(event: &Event) -> Option<Result<(), Code>> {
    match event {
        Event::HandoffResolved { result, .. } => Some(result.map(|_| ())),
        _ => None,
    }
}
