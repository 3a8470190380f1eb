//! A service that has had too many requests: what it refuses for that is tried again.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use segue_proto::wire::{Error, Exts, Message};
use segue_quic::{Code, Hash, Hosted, Instant, MailboxHost, Node, Said};

use crate::delegate::Host;
use crate::util::*;

/// Refuses the next OFFERs, DISCOVERs and LOGINs, so many of them in all.
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
                _ => None,
            };
            let left = |left: usize| left.checked_sub(1);
            match asked {
                Some((ticket, req, session, code))
                    if self.1.fetch_update(Ordering::SeqCst, Ordering::SeqCst, left).is_ok() =>
                {
                    let (session, code) = (session.into(), code.into());
                    let error = Error { req, session, code, definite: true, retry_after_ms: 0, ext: Exts::empty() };
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
    let host = Node::builder().state_dir(dir.path().join("host")).witness(dir.path().join("witness")).key(key(9));
    let host = host.listen(loopback()).accept_unknown(true);
    let host = host.host_mailbox(Busy(Host::open(dir.path(), Duration::ZERO), refuses.clone())).open().await.unwrap();
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
    let two = || refuses.store(2, Ordering::SeqCst);
    two();
    push(&a, &b, session).await;
    assert_eq!(refuses.load(Ordering::SeqCst), 0);
    two();
    within("who is there", a.discover(host.device(), &[b.device()])).await.unwrap();
    assert_eq!(refuses.load(Ordering::SeqCst), 0);
    two();
    within("the login", a.login(host.device(), "")).await.unwrap();
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
    assert!(ended.is_err());
    assert!(is_primary(&b, session).await);
}
