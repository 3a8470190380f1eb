//! A call that hands a session over, or asks for it: one try after the other, until it ends.

use std::sync::Arc;

use segue_proto::wire::{DeviceId, SessionId};
use segue_proto::{Code, HandoffId};

use super::{Meet, Node, Receipt, micros};
use crate::backoff::Backoff;
use crate::driver::Driver;
use crate::event::Event;
use crate::handoff_error::{HandoffError, LinkWas};
use crate::untold::Untold;

impl Node {
    /// Starts a handoff within what is left of its time, in microseconds; and again, which `start` is told, after a pause,
    /// while a peer has had too many requests.
    pub(super) async fn tried(
        &self,
        session: SessionId,
        peer: DeviceId,
        meet: Meet,
        start: impl Fn(&mut Driver, u64, bool) -> Result<HandoffId, HandoffError> + Clone + Send + 'static,
    ) -> Result<Receipt, HandoffError> {
        let (trying, mut backoff) = (self.inner.tries.begin(session), Backoff::new(self.inner.timeout));
        let untold = Untold::new(self.inner.events.clone());
        let (mut again, mut wake) = (false, meet == Meet::Wake);
        loop {
            let (start, limit) = (start.clone(), micros(backoff.left()));
            let failed = match self
                .handoff((session, peer), (meet, &mut wake), &untold, move |d| start(d, limit, again))
                .await
            {
                Err(failed) => failed,
                ended => return ended,
            };
            let code = failed.code();
            let Some(wait) = backoff.next(code, failed.retry_after()) else {
                untold.ends_with(code);
                self.tries_are_over(session).await;
                return Err(failed);
            };
            tracing::debug!(%session, code = code.name(), ?wait, "tried again after a while");
            again = true;
            let pause = trying.pause(wait);
            self.inner.events.push(Event::HandoffDeferred { session, peer, code, wait });
            if let Err(code) = pause.await {
                untold.ends_with(code);
                // A newer call's tries go on.
                if code != Code::HO_SUPERSEDED {
                    self.tries_are_over(session).await;
                }
                return Err(HandoffError::end(code, session, peer, None, LinkWas::There));
            }
        }
    }

    /// A handoff isn't tried again: what was to last over all its tries is forgotten.
    async fn tries_are_over(&self, session: SessionId) {
        let ended = self.call(move |driver| {
            let now = driver.now();
            driver.core.end_tries(now, session);
        });
        // A node that has stopped has forgotten it.
        let _ = ended.await;
    }

    async fn handoff(
        &self,
        (session, peer): (SessionId, DeviceId),
        (meet, wake): (Meet, &mut bool),
        untold: &Arc<Untold>,
        start: impl FnOnce(&mut Driver) -> Result<HandoffId, HandoffError> + Send + 'static,
    ) -> Result<Receipt, HandoffError> {
        let untold = Arc::downgrade(untold);
        let started = self.call(move |driver| {
            let id = start(driver)?;
            if let Some(untold) = untold.upgrade() {
                untold.forget();
            }
            let linked = driver.is_linked(&peer);
            Ok(driver.waits.handoff(id, (session, peer), linked, untold))
        });
        let mut told = started.await.map_err(|_| HandoffError::Stopped)??;
        tracing::debug!(%session, %peer, "a handoff runs");
        let meets = move |driver: &mut Driver| driver.meets.may_meet() && !driver.is_linked(&peer);
        let mailed = if meet == Meet::Wait { Ok(false) } else { self.call(meets).await };
        let meeting = async {
            if mailed.is_ok_and(|mailed| mailed) {
                self.keep_introduced(peer).await;
            }
        };
        let waking = async {
            if *wake {
                self.have_woken(peer).await;
                *wake = false;
            }
        };
        let reached = async { tokio::join!(meeting, waking) };
        tokio::select! {
            ended = &mut told => return ended.unwrap_or(Err(HandoffError::Stopped)),
            ((), ()) = reached => {}
        }
        told.await.unwrap_or(Err(HandoffError::Stopped))
    }
}
