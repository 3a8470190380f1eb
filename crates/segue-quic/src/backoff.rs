//! Trying again what was refused only because it came too often.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
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

/// The sessions whose handoffs wait for their next try.
#[derive(Debug, Default)]
pub(crate) struct Waiting(Mutex<BTreeMap<SessionId, Arc<Notify>>>);

impl Waiting {
    /// As [`Backoff::again`]; false, too, if the handoff is cancelled meanwhile.
    pub(crate) async fn again(&self, session: SessionId, backoff: &mut Backoff, code: Code) -> bool {
        let Some(wait) = backoff.next(code) else { return false };
        let cancelled = Arc::new(Notify::new());
        self.known().insert(session, cancelled.clone());
        tracing::debug!(%session, code = code.name(), ?wait, "tried again after a while");
        let again = tokio::select! {
            () = sleep(wait) => true,
            () = cancelled.notified() => false,
        };
        self.known().remove(&session);
        again
    }

    /// Gives up a handoff that waits; false if none does.
    pub(crate) fn cancel(&self, session: &SessionId) -> bool {
        self.known().remove(session).is_some_and(|waits| {
            waits.notify_one();
            true
        })
    }

    fn known(&self) -> std::sync::MutexGuard<'_, BTreeMap<SessionId, Arc<Notify>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
