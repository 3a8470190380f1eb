//! What a device sent and asked for: the counts by which transfers are judged.

use std::collections::BTreeMap;

use segue_proto::wire::{Hash, Message, Range};

use crate::device::ChunkOut;

/// Counts of one device, in bytes.
#[derive(Clone, Debug, Default)]
pub struct Traffic {
    /// What it sent on unidirectional streams.
    pub bulk: u64,
    /// What it asked for though it had verified it and still held it (TRANSFER-RESUME-1).
    pub asked_again: u64,
    /// The verified slices that it holds: where each starts and ends.
    held: BTreeMap<Hash, BTreeMap<u64, u64>>,
}

impl Traffic {
    pub(super) fn keep(&mut self, chunks: &[ChunkOut]) {
        for chunk in chunks {
            self.held.entry(chunk.blob).or_default().insert(chunk.offset, chunk.offset + chunk.bytes.len() as u64);
        }
    }

    pub(super) fn said(&mut self, message: &Message) {
        match message {
            Message::Get(get) => self.ask(&get.blob, &[Range { offset: 0, len: get.len }]),
            Message::Ranges(ranges) => self.ask(&ranges.blob, &ranges.ranges),
            _ => {}
        }
    }

    /// What wasn't synced is lost.
    pub(super) fn crashed(&mut self) {
        self.held.clear();
    }

    fn ask(&mut self, blob: &Hash, ranges: &[Range]) {
        let Some(held) = self.held.get(blob) else { return };
        for range in ranges {
            let end = range.offset.saturating_add(range.len);
            let both = held.iter().map(|(from, to)| (*to).min(end).saturating_sub((*from).max(range.offset)));
            self.asked_again += both.sum::<u64>();
        }
    }
}
