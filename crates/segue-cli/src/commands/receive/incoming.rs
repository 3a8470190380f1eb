//! What comes by way of a mailbox, or beside it, and what goes there, shown as a bar for as long as it does.

use std::time::{Duration, Instant};

use segue_quic::{Event, Node};

use crate::failure::Failure;
use crate::flow::{Flow, Way};

/// How long nothing may come before the bar is taken away. From: longer than a mailbox's answers are apart.
const IDLE: Duration = Duration::from_secs(5);

/// What comes now.
#[derive(Default)]
pub(super) struct Incoming {
    flow: Option<Flow>,
    /// The last look, and what had come by then, in bytes.
    seen: Option<(Instant, u64)>,
    /// When something came last, or went.
    last: Option<Instant>,
}

impl Incoming {
    /// A mailbox says how much it has.
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
        } else if !under_way && self.last.is_some_and(|last| last.elapsed() >= IDLE) {
            self.flow.take().map(|flow| flow.finish());
        }
        match &mut self.flow {
            Some(flow) => flow.look().await.map(|_| ()),
            None => Ok(()),
        }
    }

    /// The bar is taken away; what came while it was shown, in words.
    pub(super) async fn end(&mut self, node: &Node) -> Option<String> {
        self.look(node, true).await.ok()?;
        self.flow.take()?.finish()
    }
}
