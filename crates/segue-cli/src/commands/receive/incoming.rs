//! What comes by way of a mailbox, or beside it, shown as a bar for as long as it does.

use std::time::Duration;

use segue_quic::Node;
use tokio::time::Instant;

use crate::failure::Failure;
use crate::flow::{Flow, Way};

/// How long nothing may come before the bar is taken away. From: longer than a mailbox's answers are apart.
const IDLE: Duration = Duration::from_secs(5);

/// What comes now.
#[derive(Default)]
pub(super) struct Incoming {
    flow: Option<Flow>,
    /// What had come at the last look, in bytes, and when something came last.
    seen: u64,
    last: Option<Instant>,
}

impl Incoming {
    /// Shows what has come. While a handoff is `under_way` the bar stays.
    pub(super) async fn look(&mut self, node: &Node, under_way: bool) -> Result<(), Failure> {
        let stats = node.stats().await?;
        let count = stats.bulk_rx + stats.mailed_rx;
        if count != self.seen {
            let before = self.seen;
            self.flow.get_or_insert_with(|| Flow::new(node, None, Way::In).counted_from(before));
            (self.seen, self.last) = (count, Some(Instant::now()));
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
        self.flow.take().map(|flow| flow.finish())
    }
}
