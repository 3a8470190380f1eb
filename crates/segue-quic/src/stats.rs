//! What a node has done so far, for benches and for the curious.

use std::sync::atomic::{AtomicU64, Ordering};

macro_rules! stats {
    ($( $(#[doc = $doc:literal])+ $name:ident, )+) => {
        /// Counts since the node was opened.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        #[non_exhaustive]
        pub struct Stats { $( $(#[doc = $doc])+ pub $name: u64, )+ }

        /// The counts, as the tasks of a node keep them.
        #[derive(Debug, Default)]
        pub(crate) struct Counters { $( pub(crate) $name: Counter, )+ }

        impl Counters {
            /// The counts now.
            pub(crate) fn snapshot(&self) -> Stats {
                Stats { $( $name: self.$name.get(), )+ }
            }
        }
    };
}

stats! {
    /// Bursts of control bytes written: each is at most one flight.
    flights_tx,
    /// Bytes written to control streams.
    control_tx,
    /// Bytes read from control streams.
    control_rx,
    /// Bytes of blobs written to bulk streams, their first frames not counted.
    bulk_tx,
    /// Bytes of blobs read from bulk streams, their first frames not counted.
    bulk_rx,
    /// Chunks verified and stored, those found in the own store not counted.
    chunks_rx,
    /// Chunks found in the own store.
    chunks_found,
    /// Bytes of content read to be put into mailboxes.
    mailed_tx,
    /// Bytes of content that mailboxes brought, verified.
    mailed_rx,
    /// Batches given to the journal.
    batches,
    /// UDP datagrams sent, by links that are open and by links that ended.
    datagrams_tx,
    /// UDP datagrams received.
    datagrams_rx,
    /// UDP payload bytes sent.
    udp_tx,
    /// UDP payload bytes received.
    udp_rx,
    /// Links that were authenticated.
    links,
    /// Of these, those that went by way of a service.
    links_relayed,
    /// Links that ended.
    links_closed,
    /// Streams of packets that were passed on from one device to another.
    relays,
    /// Of these, those that ended.
    relays_closed,
    /// Bytes of packets that were passed on, with their lengths.
    relayed,
    /// Packets that weren't, for the device didn't take them as fast as they came.
    relay_dropped,
    /// Syncs of the journal, those of the opening included.
    syncs,
    /// Syncs of chunks that a batch waited for.
    chunk_syncs,
}

/// A count that only rises.
#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    /// Adds to it. Counts order nothing, so the cheapest ordering will do.
    pub(crate) fn add(&self, n: u64) {
        self.0.fetch_add(n, Ordering::Relaxed);
    }

    /// How much it is.
    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

impl Counters {
    /// Adds what a link that ended has moved.
    pub(crate) fn add_udp(&self, stats: &quinn::ConnectionStats) {
        self.datagrams_tx.add(stats.udp_tx.datagrams);
        self.datagrams_rx.add(stats.udp_rx.datagrams);
        self.udp_tx.add(stats.udp_tx.bytes);
        self.udp_rx.add(stats.udp_rx.bytes);
    }
}

impl Stats {
    /// Adds what an open link has moved so far.
    pub(crate) fn add_udp(&mut self, stats: &quinn::ConnectionStats) {
        self.datagrams_tx += stats.udp_tx.datagrams;
        self.datagrams_rx += stats.udp_rx.datagrams;
        self.udp_tx += stats.udp_tx.bytes;
        self.udp_rx += stats.udp_rx.bytes;
    }
}
