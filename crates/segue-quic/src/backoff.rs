//! Trying again what was refused only because it came too often.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use segue_proto::Code;
use segue_proto::wire::SessionId;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep};

use crate::driver::dial::{pause, random};

/// How often it was tried again, and until when anything is tried at all.
pub(crate) struct Backoff {
    again: u32,
    until: Instant,
}

impl Backoff {
    pub(crate) fn new(limit: Duration) -> Backoff {
        Backoff { again: 0, until: Instant::now() + limit }
    }

    /// What is left of the time, in which a further try may run.
    pub(crate) fn left(&self) -> Duration {
        self.until.saturating_duration_since(Instant::now())
    }

    /// Waits before the next try, as before dialling again; false, at once, if this code isn't one that time mends, or no
    /// time is left.
    pub(crate) async fn again(&mut self, code: Code) -> bool {
        let Some(wait) = self.next(code) else { return false };
        sleep(wait).await;
        true
    }

    fn next(&mut self, code: Code) -> Option<Duration> {
        if !matches!(code, Code::LIMIT_REQUESTS | Code::LIMIT_OFFERS) {
            return None;
        }
        let wait = pause(self.again, random());
        self.again += 1;
        (wait < self.left()).then_some(wait)
    }
}

/// The calls that hand a session over, or ask for it: the newest of each session.
#[derive(Debug, Default)]
pub(crate) struct Tries(Mutex<BTreeMap<SessionId, Arc<Call>>>);

#[derive(Debug, Default)]
struct Call {
    /// Whether it pauses before its next try, so that nothing is under way elsewhere.
    pauses: AtomicBool,
    /// Why it may not try again.
    ended: OnceLock<Code>,
    told: Notify,
}

impl Call {
    fn end(&self, code: Code) {
        let _ = self.ended.set(code);
        self.told.notify_one();
    }
}

/// A call, from its first try until it returns or is dropped.
pub(crate) struct Trying<'a> {
    tries: &'a Tries,
    session: SessionId,
    call: Arc<Call>,
}

/// What comes after a try that failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// Another try.
    Try,
    /// None: the failure stands.
    Fail,
    /// None: it was cancelled, or a newer call took its place.
    Ended(Code),
}

impl Tries {
    /// A call begins; an older one of the session tries no more.
    pub(crate) fn begin(&self, session: SessionId) -> Trying<'_> {
        let call = Arc::new(Call::default());
        if let Some(older) = self.known().insert(session, call.clone()) {
            older.end(Code::HO_SUPERSEDED);
        }
        Trying { tries: self, session, call }
    }

    /// Has the session's call try no more; true if it paused, so that this ends it.
    pub(crate) fn cancel(&self, session: &SessionId) -> bool {
        let known = self.known();
        let Some(call) = known.get(session) else { return false };
        call.end(Code::HO_CANCELLED);
        call.pauses.load(Ordering::SeqCst)
    }

    fn known(&self) -> MutexGuard<'_, BTreeMap<SessionId, Arc<Call>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Trying<'_> {
    /// After a try that failed with this code: pauses, if time mends that.
    pub(crate) async fn next(&self, backoff: &mut Backoff, code: Code) -> Next {
        let Some(wait) = backoff.next(code) else { return Next::Fail };
        let (session, call) = (self.session, &self.call);
        tracing::debug!(%session, code = code.name(), ?wait, "tried again after a while");
        call.pauses.store(true, Ordering::SeqCst);
        tokio::select! {
            biased;
            () = call.told.notified() => {}
            () = sleep(wait) => {}
        }
        // Under the lock, so that whoever cancels either stops this or finds a handoff under way.
        let _known = self.tries.known();
        call.pauses.store(false, Ordering::SeqCst);
        call.ended.get().map_or(Next::Try, |code| Next::Ended(*code))
    }
}

impl Drop for Trying<'_> {
    fn drop(&mut self) {
        let mut known = self.tries.known();
        if known.get(&self.session).is_some_and(|call| Arc::ptr_eq(call, &self.call)) {
            known.remove(&self.session);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;

    use super::*;

    const BUSY: Code = Code::LIMIT_OFFERS;

    fn session() -> SessionId {
        SessionId::new([7; 16])
    }

    #[tokio::test(start_paused = true)]
    async fn what_time_mends_is_tried_again_and_nothing_else() {
        let tries = Tries::default();
        let trying = tries.begin(session());
        let mut backoff = Backoff::new(Duration::from_secs(60));
        assert_eq!(trying.next(&mut backoff, BUSY).await, Next::Try);
        assert_eq!(trying.next(&mut backoff, Code::HO_DECLINED).await, Next::Fail);
        assert_eq!(trying.next(&mut Backoff::new(Duration::ZERO), BUSY).await, Next::Fail);
        assert!(!tries.cancel(&session()), "it doesn't pause");
    }

    #[tokio::test(start_paused = true)]
    async fn a_call_that_was_cancelled_tries_no_more() {
        let tries = Tries::default();
        let trying = tries.begin(session());
        let mut backoff = Backoff::new(Duration::from_secs(60));
        {
            let mut next = pin!(trying.next(&mut backoff, BUSY));
            assert!(poll_once(next.as_mut()).await.is_none(), "it pauses");
            assert!(tries.cancel(&session()));
            // Its time has come as well.
            tokio::time::advance(Duration::from_secs(60)).await;
            assert_eq!(next.await, Next::Ended(Code::HO_CANCELLED));
        }
        // Also if it was cancelled while a try was under way.
        let (trying, mut backoff) = (tries.begin(session()), Backoff::new(Duration::from_secs(60)));
        assert!(!tries.cancel(&session()));
        assert_eq!(trying.next(&mut backoff, BUSY).await, Next::Ended(Code::HO_CANCELLED));
    }

    #[tokio::test(start_paused = true)]
    async fn the_newest_call_of_a_session_alone_tries_again() {
        let tries = Tries::default();
        let older = tries.begin(session());
        let newer = tries.begin(session());
        let mut backoff = Backoff::new(Duration::from_secs(60));
        assert_eq!(older.next(&mut backoff, BUSY).await, Next::Ended(Code::HO_SUPERSEDED));
        drop(older);
        assert_eq!(newer.next(&mut backoff, BUSY).await, Next::Try);
        // A call that was dropped leaves nothing that could be cancelled in the place of another.
        drop(newer);
        assert!(tries.known().is_empty());
    }

    /// Polls once.
    async fn poll_once<F: Future>(mut future: std::pin::Pin<&mut F>) -> Option<F::Output> {
        std::future::poll_fn(|cx| match future.as_mut().poll(cx) {
            std::task::Poll::Ready(done) => std::task::Poll::Ready(Some(done)),
            std::task::Poll::Pending => std::task::Poll::Ready(None),
        })
        .await
    }
}
