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

    /// Waits before the next try, as before dialling again and as long as the other side asks for; false, at once, if this
    /// code isn't one that time mends, or no time would be left.
    pub(crate) async fn again(&mut self, code: Code, told: Option<Duration>) -> bool {
        let Some(wait) = self.next(code, told) else { return false };
        sleep(wait).await;
        true
    }

    /// How long to wait before the next try, if there is to be one.
    pub(crate) fn next(&mut self, code: Code, told: Option<Duration>) -> Option<Duration> {
        if !code.is_mended_by_time() {
            return None;
        }
        let wait = pause(self.again, random()).max(told.unwrap_or_default());
        self.again += 1;
        // A try that can't be answered any more would end as if nobody had said why.
        (wait + LAST_TRY < self.left()).then_some(wait)
    }
}

/// The least time for a try. From: some round trips.
const LAST_TRY: Duration = Duration::from_millis(500);

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
    /// Pauses before the next try; while it does, which is from now on, cancelling the call ends it.
    ///
    /// # Errors
    /// It was cancelled, or a newer call took its place.
    pub(crate) fn pause(&self, wait: Duration) -> impl Future<Output = Result<(), Code>> {
        let call = &self.call;
        call.pauses.store(true, Ordering::SeqCst);
        async move {
            tokio::select! {
                biased;
                () = call.told.notified() => {}
                () = sleep(wait) => {}
            }
            // Under the lock, so that whoever cancels either stops this or finds a handoff under way.
            let _known = self.tries.known();
            call.pauses.store(false, Ordering::SeqCst);
            call.ended.get().map_or(Ok(()), |code| Err(*code))
        }
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
    const SECOND: Duration = Duration::from_secs(1);

    fn session() -> SessionId {
        SessionId::new([7; 16])
    }

    #[tokio::test(start_paused = true)]
    async fn what_time_mends_is_tried_again_and_nothing_else() {
        let mut backoff = Backoff::new(60 * SECOND);
        assert!(backoff.next(BUSY, None).is_some_and(|wait| wait < SECOND));
        assert_eq!(backoff.next(Code::HO_DECLINED, None), None);
        assert_eq!(Backoff::new(Duration::ZERO).next(BUSY, None), None);
        // A try that can't be answered in time isn't made.
        assert_eq!(Backoff::new(LAST_TRY).next(BUSY, None), None);
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_says_when_it_may_be_tried_again_is_not_asked_before() {
        let mut backoff = Backoff::new(60 * SECOND);
        assert_eq!(backoff.next(BUSY, Some(41 * SECOND)), Some(41 * SECOND));
        assert_eq!(backoff.next(BUSY, Some(60 * SECOND)), None);
        assert!(backoff.next(BUSY, Some(Duration::from_millis(1))).is_some_and(|wait| wait > Duration::from_millis(1)));
    }

    #[tokio::test(start_paused = true)]
    async fn a_call_that_was_cancelled_tries_no_more() {
        let tries = Tries::default();
        let trying = tries.begin(session());
        assert!(!tries.cancel(&session()), "it doesn't pause");
        drop(trying);
        let trying = tries.begin(session());
        {
            let mut pause = pin!(trying.pause(SECOND));
            assert!(poll_once(pause.as_mut()).await.is_none(), "it pauses");
            assert!(tries.cancel(&session()));
            // Its time has come as well.
            tokio::time::advance(SECOND).await;
            assert_eq!(pause.await, Err(Code::HO_CANCELLED));
        }
        // Also if it was cancelled while a try was under way.
        let trying = tries.begin(session());
        assert!(!tries.cancel(&session()));
        assert_eq!(trying.pause(SECOND).await, Err(Code::HO_CANCELLED));
    }

    #[tokio::test(start_paused = true)]
    async fn the_newest_call_of_a_session_alone_tries_again() {
        let tries = Tries::default();
        let older = tries.begin(session());
        let newer = tries.begin(session());
        assert_eq!(older.pause(SECOND).await, Err(Code::HO_SUPERSEDED));
        drop(older);
        assert_eq!(newer.pause(SECOND).await, Ok(()));
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
