//! What comes by way of a mailbox, or beside it, and what goes there, shown as a bar for as long as it does.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use segue_quic::{Event, Node, SessionId};

use crate::failure::Failure;
use crate::flow::{Flow, Way};
use crate::meter::Meter;
use crate::terminal::throughput;

/// How long nothing may come before the bar is taken away. From: longer than a mailbox's answers are apart.
const IDLE: Duration = Duration::from_secs(5);

/// What comes now.
#[derive(Default)]
pub(super) struct Incoming {
    flow: Option<Flow>,
    /// What came of each session.
    meters: BTreeMap<SessionId, Meter>,
    /// The last look, and what had come by then, in bytes.
    seen: Option<(Instant, u64)>,
    /// When something came last, or went.
    last: Option<Instant>,
}

impl Incoming {
    /// A mailbox says how much it has, or there is how much has come.
    pub(super) fn hear(&mut self, node: &Node, event: &Event) {
        let seen = self.seen;
        let begin = || {
            let (at, count) = seen.unwrap_or_else(|| (Instant::now(), 0));
            Flow::new(node, None, Way::In).counted_from(at, count)
        };
        let flow = self.flow.get_or_insert_with(begin);
        flow.mailed().hear(event);
        self.last = Some(Instant::now());
    }

    /// Shows what has come. While a handoff is `under_way` the bar stays.
    pub(super) async fn look(&mut self, node: &Node, under_way: bool) -> Result<(), Failure> {
        let stats = node.stats().await?;
        let (now, count) = (Instant::now(), stats.bulk_rx + stats.mailed_rx);
        let (at, before) = self.seen.replace((now, count)).unwrap_or((now, 0));
        if count != before {
            self.flow.get_or_insert_with(|| Flow::new(node, None, Way::In).counted_from(at, before));
            self.last = Some(now);
        } else if !under_way && self.last.is_some_and(|last| last.elapsed() >= IDLE || self.is_full()) {
            self.flow.take();
        }
        let Some(flow) = &mut self.flow else { return Ok(()) };
        flow.look().await?;
        let new = count - before;
        for (session, (done, _)) in flow.mailed().coming() {
            let meter = self.meters.entry(session).or_insert_with(|| Meter::new(at, done.saturating_sub(new)));
            meter.look(now, done);
        }
        Ok(())
    }

    fn is_full(&self) -> bool {
        self.flow.as_ref().is_some_and(Flow::is_full)
    }

    /// A session is here; what came of it, in words.
    pub(super) async fn end(&mut self, node: &Node, session: SessionId) -> Option<String> {
        self.look(node, true).await.ok()?;
        let told = self.flow.as_ref().and_then(|flow| flow.mailed().coming().remove(&session));
        let mut meter = self.meters.remove(&session)?;
        told.iter().for_each(|(_, total)| meter.look(Instant::now(), *total));
        self.flow.take();
        (meter.moved() > 0).then(|| throughput(meter.moved(), meter.took()))
    }
}
