//! Nodes that never meet, and one that signs for them, over QUIC.

use std::path::Path;
use std::time::{Duration, Instant as Clock};

use segue_quic::{Builder, DeviceId, Event, Hash, Hosted, Instant, MailboxHost, Node, Said, SessionId, SessionRole};
use segue_service::{Directory, Given, Quota, Service, Store, Terms};

use crate::util::*;

pub(crate) struct Host(Service<Store>, Duration);

impl Host {
    pub(crate) fn open(dir: &Path, lease: Duration) -> Host {
        Host(Service::new(Store::open(&dir.join("box")).unwrap(), Quota::default()), lease)
    }
}

impl MailboxHost for Host {
    fn keeps_custody(&self) -> bool {
        true
    }

    fn was_put_back(&self, mark: u64) -> bool {
        self.0.directory().sets().unwrap() < mark
    }

    fn begin(&mut self, now: Instant, me: DeviceId, tenure: Hash) -> Result<(), String> {
        let lease = self.1.as_micros() as u64;
        self.0.keep_custody(now, Terms { me, tenure, lease }).map_err(|failed| failed.to_string())
    }

    fn next_timeout(&self) -> Option<Instant> {
        self.0.next_timeout()
    }

    fn handle(&mut self, now: Instant, came: Vec<Hosted>) -> Result<Said, String> {
        let Given { answers, tells, signs, closes, .. } =
            self.0.handle(now, came).map_err(|failed| failed.to_string())?;
        Ok(Said { answers, tells, signs, closes, mark: self.0.directory().sets().unwrap() })
    }
}

/// A service on a directory, with leases.
pub(crate) async fn serve(dir: &Path, lease: Duration) -> Node {
    let host = Host::open(dir, lease);
    let builder =
        Node::builder().state_dir(dir.join("host")).witness(dir.join("witness")).key(key(9)).listen(loopback());
    builder.accept_unknown(true).host_mailbox(host).open().await.unwrap()
}

/// A device that uses the service, and lets members have its sessions.
async fn open(builder: Builder, host: &Node) -> Node {
    // Without introductions they never meet, though they are at the service at the same time.
    let builder = builder.follow(true).pulls(segue_quic::Policy::Allow).introductions(false);
    let node = builder.open().await.unwrap();
    node.use_mailbox(host.local_addr().unwrap(), host.device()).await.unwrap();
    within("the exchange", node.exchanged(host.device())).await.unwrap();
    node
}

/// Device 1 made a session and delegated it; device 2 holds it. They never meet.
async fn delegated(dir: &Path, host: &Node) -> (Node, Node, SessionId) {
    let one = open(disk(1, dir), host).await;
    let session = one.create_session("notes", &[id(2)]).await.unwrap();
    one.write_view(session, "line 7").await.unwrap();
    within("the delegate", one.delegate(session, host.local_addr().unwrap(), host.device())).await.unwrap();
    within("the exchange", one.exchanged(host.device())).await.unwrap();
    let two = open(disk(2, dir), host).await;
    assert_eq!(two.session(session).await.unwrap().unwrap().grantor, Some(host.device()));
    (one, two, session)
}

async fn role(node: &Node, session: SessionId) -> SessionRole {
    node.session(session).await.unwrap().unwrap().role
}

#[tokio::test]
async fn two_nodes_that_never_meet_hand_a_session_over_and_back_though_the_service_is_killed() {
    let dir = tempfile::tempdir().unwrap();
    let host = serve(dir.path(), Duration::ZERO).await;
    let (one, two, session) = delegated(dir.path(), &host).await;
    within("the handoff", two.request_handoff(session, one.device())).await.unwrap();
    assert_eq!(role(&two, session).await, SessionRole::Primary);
    assert_eq!(two.view(session).await.unwrap().as_deref(), Some(b"line 7".as_slice()));
    two.write_view(session, "line 8").await.unwrap();
    one.shutdown().await;
    two.shutdown().await;
    host.abort().await;
    let host = serve(dir.path(), Duration::ZERO).await;
    let two = open(disk(2, dir.path()), &host).await;
    let one = open(disk(1, dir.path()), &host).await;
    within("the handoff back", one.request_handoff(session, two.device())).await.unwrap();
    assert_eq!(role(&one, session).await, SessionRole::Primary);
    assert_eq!(one.view(session).await.unwrap().as_deref(), Some(b"line 8".as_slice()));
    within("the reclaim", one.reclaim(session)).await.unwrap();
    assert_eq!(one.session(session).await.unwrap().unwrap().grantor, Some(one.device()));
    one.shutdown().await;
    two.shutdown().await;
    host.shutdown().await;
}

#[tokio::test]
async fn service_lease_2_a_killed_primary_is_replaced_within_its_lease_and_a_second() {
    let (dir, lease) = (tempfile::tempdir().unwrap(), Duration::from_secs(3));
    let host = serve(dir.path(), lease).await;
    let (one, two, session) = delegated(dir.path(), &host).await;
    two.consent(session, one.device(), Duration::from_secs(600)).await.unwrap();
    one.write_view(session, "line 9").await.unwrap();
    within("the exchange", one.exchanged(host.device())).await.unwrap();
    one.abort().await;
    let killed = Clock::now();
    let activated = event(&two, "Activated", |event| match event {
        Event::Activated { session: it, .. } if it == session => Some(()),
        _ => None,
    });
    activated.await;
    let took = killed.elapsed();
    println!("another device owns {took:?} after the primary was killed; the lease is {lease:?}");
    // The margin beyond a second is for a loaded machine: what is exact is counted in the simulation.
    assert!(took < lease + Duration::from_secs(5), "{took:?}");
    two.write_view(session, "line 10").await.unwrap();
    within("the exchange", two.exchanged(host.device())).await.unwrap();
    let one = open(disk(1, dir.path()), &host).await;
    assert_eq!(role(&one, session).await, SessionRole::Secondary);
    assert_eq!(one.view(session).await.unwrap().as_deref(), Some(b"line 10".as_slice()));
    one.shutdown().await;
    two.shutdown().await;
    host.shutdown().await;
}

#[tokio::test]
async fn service_tenure_1_a_service_whose_box_alone_was_put_back_signs_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let host = serve(dir.path(), Duration::ZERO).await;
    let (one, two, session) = delegated(dir.path(), &host).await;
    let copy = dir.path().join("copy.redb");
    one.shutdown().await;
    host.shutdown().await;
    std::fs::copy(dir.path().join("box/mailbox.redb"), &copy).unwrap();
    two.shutdown().await;
    let host = serve(dir.path(), Duration::ZERO).await;
    let one = open(disk(1, dir.path()), &host).await;
    let two = open(disk(2, dir.path()), &host).await;
    within("the handoff", two.request_handoff(session, one.device())).await.unwrap();
    one.shutdown().await;
    two.shutdown().await;
    host.shutdown().await;
    std::fs::copy(&copy, dir.path().join("box/mailbox.redb")).unwrap();
    let host = serve(dir.path(), Duration::ZERO).await;
    let two = open(disk(2, dir.path()), &host).await;
    let one = open(disk(1, dir.path()), &host).await;
    let refused = within("the refusal", one.request_handoff(session, two.device())).await.unwrap_err();
    assert_eq!(refused.code(), segue_quic::Code::STORE_ROLLED_BACK);
    one.shutdown().await;
    two.shutdown().await;
    host.shutdown().await;
}
