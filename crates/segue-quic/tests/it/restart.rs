//! Nodes that die: what was durable goes on, what was verified isn't sent again.

use std::sync::Arc;
use std::time::Duration;

use segue_quic::{DeviceId, Event, HandoffError, Node, Policy, SessionId};

use crate::raw::{RawLink, client};
use crate::util::*;

const MB: usize = 1 << 20;
/// Content of 128 chunks.
const LEN: usize = 8 * MB;
const CHUNKS: u64 = 128;

/// A source with content behind a gate, its session, and a target that is in the middle of fetching it.
struct Half {
    dir: tempfile::TempDir,
    gate: Arc<Gate>,
    source: Node,
    target: Node,
    session: SessionId,
}

async fn half_way() -> Half {
    let dir = tempfile::tempdir().unwrap();
    let (gate, entry) = Gate::new("big", noise(LEN, 3), LEN / 2);
    let source = open_source(&dir, &gate).await;
    let target = disk(2, dir.path()).open().await.unwrap();
    link(&source, &target).await;
    let session = source.create_session("trip", &[target.device()]).await.unwrap();
    source.put_entry(session, entry).await.unwrap();
    source.write_view(session, "page 3").await.unwrap();
    offer(&source, target.device(), session);
    accept(&target).await;
    event(&target, "half of the content", |event| match event {
        Event::Progress { done, .. } if done >= LEN as u64 / 4 => Some(()),
        _ => None,
    })
    .await;
    Half { dir, gate, source, target, session }
}

async fn open_source(dir: &tempfile::TempDir, gate: &Arc<Gate>) -> Node {
    disk(1, dir.path()).blob_source(Arc::new(Gated(gate.clone()))).open().await.unwrap()
}

/// Starts a handoff whose end nobody waits for.
fn offer(source: &Node, to: DeviceId, session: SessionId) {
    let source = source.clone();
    tokio::spawn(async move { drop(source.initiate_handoff(session, to).await) });
}

/// Accepts the next offer, and doesn't wait for the end.
async fn accept(target: &Node) {
    let token = event(target, "HandoffRequest", |event| match event {
        Event::HandoffRequest { token, .. } => Some(token),
        _ => None,
    })
    .await;
    let target = target.clone();
    tokio::spawn(async move { drop(target.accept_handoff(token).await) });
}

/// The end, in which nothing was sent twice: `first` is how many chunks the target had when the other life began.
async fn finish(source: &Node, target: &Node, session: SessionId, first: u64) {
    let (given, taken) = within("the handoff", async {
        let given = event(source, "the source's end", |event| match event {
            Event::HandoffResolved { result, .. } => result.ok(),
            _ => None,
        });
        let taken = event(target, "the target's end", |event| match event {
            Event::HandoffResolved { result, .. } => result.ok(),
            _ => None,
        });
        tokio::join!(given, taken)
    })
    .await;
    assert_eq!(given, taken);
    assert_moved(source, target, session).await;
    assert_eq!(target.read_file(session, "big").await.unwrap(), noise(LEN, 3));
    assert_eq!(target.view(session).await.unwrap().unwrap(), b"page 3");
    assert!(first >= CHUNKS / 4);
}

#[tokio::test]
async fn a_target_that_was_killed_goes_on_where_it_was() {
    let Half { dir, gate, source, target, session } = half_way().await;
    let first = target.stats().await.unwrap().chunks_rx;
    target.abort().await;
    gate.open_wide();
    let target = disk(2, dir.path()).open().await.unwrap();
    link(&target, &source).await;
    // The source's offer still stands, and is made again over the new link.
    accept(&target).await;
    finish(&source, &target, session, first).await;
    let stats = target.stats().await.unwrap();
    // The chunk list is a chunk too, and so is the manifest, which isn't asked for if sync brings all of it first. What is
    // searched for once more is found again.
    assert!(stats.chunks_rx + first <= CHUNKS + 2, "{first} were verified before, {stats:?}");
    assert!(stats.chunks_found >= first, "{first} were verified before, {stats:?}");
}

#[tokio::test]
async fn a_source_that_was_killed_is_asked_for_the_rest_only() {
    let Half { dir, gate, source, target, session } = half_way().await;
    let ((), ()) = tokio::join!(source.abort(), async { gate.open_wide() });
    drop(source);
    // What was on its way is stored by now, or lost with its link.
    event(&target, "the end of the link", |event| matches!(event, Event::Unlinked { .. }).then_some(())).await;
    let source = open_source(&dir, &gate).await;
    assert!(is_primary(&source, session).await);
    link(&source, &target).await;
    offer(&source, target.device(), session);
    accept(&target).await;
    finish(&source, &target, session, CHUNKS / 4).await;
    let stats = target.stats().await.unwrap();
    // Those that were stored as their link died, untold, were found.
    assert!(stats.chunks_rx <= CHUNKS + 2, "no chunk was stored twice: {stats:?}");
}

#[tokio::test]
async fn sessions_and_view_survive_and_a_moved_session_stays_moved() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("file");
    std::fs::write(&path, noise(200_000, 9)).unwrap();
    let (a, b) = (disk(1, dir.path()).open().await.unwrap(), disk(2, dir.path()).open().await.unwrap());
    let session = a.create_session("trip", &[b.device()]).await.unwrap();
    a.write_file(session, "file", &path).await.unwrap();
    a.write_view(session, "page 3").await.unwrap();
    a.shutdown().await;
    assert!(a.next_event().await.is_none());
    assert!(a.sessions().await.is_err(), "calls to a node that has stopped fail");
    drop(a);

    // The file is linked still, and its chunk list is made again.
    let a = disk(1, dir.path()).open().await.unwrap();
    assert_eq!(a.view(session).await.unwrap().unwrap(), b"page 3");
    link(&b, &a).await;
    push(&a, &b, session).await;
    assert_eq!(b.read_file(session, "file").await.unwrap(), noise(200_000, 9));

    let ((), ()) = tokio::join!(a.abort(), b.abort());
    let (a, b) = (disk(1, dir.path()).open().await.unwrap(), disk(2, dir.path()).open().await.unwrap());
    assert_moved(&a, &b, session).await;
    link(&a, &b).await;
    push(&b, &a, session).await;
    assert_moved(&b, &a, session).await;
}

/// A GRANT is durable and sent, and its target never says that it has it.
#[tokio::test]
async fn a_grant_that_was_not_acknowledged_is_found_after_a_restart_and_resolved() {
    let dir = tempfile::tempdir().unwrap();
    let open = || disk(1, dir.path()).pulls(Policy::Allow).handoff_timeout(Duration::from_millis(300));
    let a = open().open().await.unwrap();
    let session = a.create_session("trip", &[id(2)]).await.unwrap();
    // An empty session's manifest would have to be fetched; what is written comes by sync.
    a.write_view(session, "page 3").await.unwrap();
    let client = client(Arc::default());
    let mut b = RawLink::dial(&client, a.local_addr().unwrap(), key(2)).await;
    b.authenticate().await;
    let record = within("the GRANT", b.own(session, id(1))).await;
    a.abort().await;
    drop(a);

    let a = open().open().await.unwrap();
    let found = a.pending_handoffs().await.unwrap();
    let [pending] = found[..] else { panic!("{found:?}") };
    assert_eq!((pending.session, pending.to, pending.record), (session, id(2), record));
    assert!(!is_primary(&a, session).await);
    let busy = a.initiate_handoff(session, id(3)).await;
    assert_eq!(busy, Err(HandoffError::Busy { session, with: Some(id(2)) }));
    assert_eq!(a.plan_handoff(session, id(3)).await.unwrap().refused, busy.err());
    let waited = within("the deadline", a.await_handoff(&pending)).await;
    assert_eq!(waited, Err(HandoffError::Pending { session, device: id(2) }));

    // The target comes back: it is told again, and its acknowledgement resolves the handoff.
    let addr = a.local_addr().unwrap();
    let mut b = within("the link", b.again(&client, addr)).await;
    let resolved = async {
        let resolved = event(&a, "HandoffResolved", |event| match event {
            Event::HandoffResolved { id, session: of, result, .. } => Some((id, of, result)),
            _ => None,
        });
        let (id, of, result) = resolved.await;
        assert_eq!((Some(id), of, result), (pending.id, session, Ok(record)));
    };
    within("the acknowledgement", async {
        tokio::select! {
            () = b.talk() => {}
            () = resolved => {}
        }
    })
    .await;
    assert_eq!(a.pending_handoffs().await.unwrap(), []);
    let receipt = a.await_handoff(&pending).await.unwrap();
    assert_eq!((receipt.record, receipt.peer), (record, id(2)));
    assert_eq!(a.session(session).await.unwrap().unwrap().owner, Some(id(2)));
}

#[tokio::test]
async fn one_state_directory_has_one_node() {
    let dir = tempfile::tempdir().unwrap();
    let a = disk(1, dir.path()).open().await.unwrap();
    let Err(error) = disk(1, dir.path()).open().await else { panic!("opened twice") };
    assert!(error.to_string().contains("state-1"), "{error}");
    a.shutdown().await;
    disk(1, dir.path()).open().await.unwrap();
}

#[tokio::test]
async fn a_peer_that_vanished_without_a_word_is_noticed_when_it_is_back() {
    let dir = tempfile::tempdir().unwrap();
    let a = memory(1).open().await.unwrap();
    // A runtime that is dropped takes its node with it, and nothing is sent: as if the process were killed.
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let builder = disk(2, dir.path());
    let b = runtime.spawn(async move { builder.open().await.unwrap() }).await.unwrap();
    let addr = b.local_addr().unwrap();
    link(&a, &b).await;
    let session = a.create_session("trip", &[b.device()]).await.unwrap();
    drop(b);
    tokio::task::spawn_blocking(move || drop(runtime)).await.unwrap();

    // Its address answers what belongs to the old link with a stateless reset, and the link is made anew.
    let b = disk(2, dir.path()).listen(addr).open().await.unwrap();
    push(&a, &b, session).await;
    assert_moved(&a, &b, session).await;
}
