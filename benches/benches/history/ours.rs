//! Two nodes in memory over loopback, with a document of `segue-crdt` each.

use std::collections::VecDeque;

use bytes::Bytes;
use segue_crdt::{Document, YrsText};
use segue_quic::{Node, SessionId};

use crate::Side;
use crate::data::Edit;

const PART: &str = "text";

pub(crate) struct Nodes {
    nodes: [Node; 2],
    session: SessionId,
    docs: [YrsText; 2],
    /// Flushed and not given to the node yet.
    flushed: [Vec<Vec<u8>>; 2],
    /// How many ops a device had made with each of its flushes.
    ops: [Vec<usize>; 2],
    /// How many ops of its part a device has read, own ones too.
    read: [usize; 2],
    /// Those of the other's that its document hasn't taken in, and how many have arrived and been taken in.
    arrived: [VecDeque<Bytes>; 2],
    came: [usize; 2],
    applied: [usize; 2],
}

impl Side for Nodes {
    async fn open() -> Self {
        let open = async || {
            let builder = Node::builder().in_memory().listen("127.0.0.1:0".parse().expect("an address"));
            builder.follow(true).open().await.expect("a node")
        };
        let nodes = [open().await, open().await];
        for (node, other) in [(0, 1), (1, 0)] {
            nodes[node].trust(nodes[other].device()).await.expect("a node");
        }
        let session = nodes[0].create_session("paper", &[nodes[1].device()]).await.expect("a session");
        let docs = [1, 2].map(|writer| YrsText::with_client(writer << 33 | 77, None).expect("opens"));
        let (flushed, ops, arrived) = Default::default();
        Nodes { nodes, session, docs, flushed, ops, read: [0; 2], arrived, came: [0; 2], applied: [0; 2] }
    }

    fn edit(&mut self, device: usize, edits: &[Edit]) {
        for (at, deleted, inserted) in edits {
            self.docs[device].delete(*at, *deleted).expect("inside");
            self.docs[device].insert(*at, inserted).expect("inside");
        }
        let before = self.flushed[device].len();
        self.flushed[device].extend(std::iter::from_fn(|| self.docs[device].flush()));
        let made = self.flushed[device].len() - before;
        let all = self.ops[device].last().copied().unwrap_or(0) + made;
        self.ops[device].push(all);
    }

    async fn send(&mut self, device: usize) {
        let ops = std::mem::take(&mut self.flushed[device]);
        if !ops.is_empty() {
            self.nodes[device].push_ops(self.session, PART, ops).await.expect("a write");
        }
    }

    async fn arrive(&mut self, device: usize, flushes: usize) {
        let wanted = self.made(1 - device, flushes);
        while self.came[device] < wanted {
            let page = self.nodes[device].ops(self.session, PART, self.read[device]).await.expect("a part");
            if page.ops.is_empty() {
                self.nodes[device].next_event().await.expect("a node");
            }
            self.read[device] = page.next;
            let others = page.ops.into_iter().filter(|op| !op.own).map(|op| op.body);
            let before = self.arrived[device].len();
            self.arrived[device].extend(others);
            self.came[device] += self.arrived[device].len() - before;
        }
    }

    fn apply(&mut self, device: usize, flushes: usize) {
        let wanted = self.made(1 - device, flushes);
        while self.applied[device] < wanted {
            let op = self.arrived[device].pop_front().expect("it has arrived");
            self.docs[device].apply(&op).expect("an honest op");
            self.applied[device] += 1;
        }
    }

    async fn rest(&mut self) {
        for node in &self.nodes {
            let behind = async || {
                let followers = node.followers(self.session).await.expect("a node");
                followers.iter().map(|(_, behind)| *behind).sum::<u64>()
            };
            while behind().await > 0 {
                tokio::task::yield_now().await;
            }
        }
    }

    async fn part(&mut self) {
        let [a, b] = &self.nodes;
        a.forget(b.device()).await.expect("a node");
        for node in &self.nodes {
            while !node.peers().await.expect("a node").is_empty() {
                tokio::task::yield_now().await;
            }
        }
    }

    async fn meet(&mut self) {
        let [a, b] = &self.nodes;
        a.connect(b.local_addr().expect("an address"), b.device()).await.expect("a node");
        a.linked(b.device()).await.expect("a link");
        b.linked(a.device()).await.expect("a link");
        // The first time the other device hears of the session.
        while b.session(self.session).await.expect("a node").is_none_or(|view| view.name.is_empty()) {
            tokio::task::yield_now().await;
        }
    }

    async fn bytes(&mut self) -> [u64; 2] {
        let mut sum = [0, 0];
        for node in &self.nodes {
            let stats = node.stats().await.expect("a node");
            sum = [sum[0] + stats.control_tx + stats.bulk_tx, sum[1] + stats.udp_tx];
        }
        sum
    }

    fn text(&mut self, device: usize) -> String {
        self.docs[device].text().expect("whole")
    }

    async fn close(self) {
        for node in &self.nodes {
            node.shutdown().await;
        }
    }
}

impl Nodes {
    /// The ops that a device made with its first flushes.
    fn made(&self, device: usize, flushes: usize) -> usize {
        flushes.checked_sub(1).map_or(0, |last| self.ops[device][last])
    }
}
