//! Bulk that arrives.

use std::collections::BTreeMap;

use segue_proto::transfer::Plan;
use segue_proto::wire::Message;
use segue_proto::wire::frame::Framer;
use segue_proto::wire::hash::blob_id;
use segue_proto::{BulkEnd, Clause, Incoming, Instant, LinkId, Unwanted};

use super::{LocalDevice, keep};
use crate::device::Outputs;

/// The unidirectional streams of a link.
#[derive(Default)]
pub(super) struct Streams {
    pub(super) sent: u64,
    incoming: BTreeMap<u64, Inflow>,
}

/// A stream that arrives.
enum Inflow {
    /// Its first frame isn't complete.
    Header(Framer),
    /// Its chunks arrive.
    Chunks { req: u32, incoming: Incoming, done: u32, buffer: Vec<u8> },
    /// Nothing of it is wanted.
    Ignored,
}

impl LocalDevice {
    pub(super) fn bulk(&mut self, now: Instant, link: LinkId, stream: u64, bytes: &[u8], fin: bool, out: &mut Outputs) {
        let Some(streams) = self.links.get_mut(&link) else { return };
        let inflow = streams.incoming.remove(&stream).unwrap_or_else(|| Inflow::Header(Framer::default()));
        let inflow = match inflow {
            Inflow::Header(framer) => self.open_stream(now, link, framer, bytes),
            Inflow::Chunks { req, incoming, done, mut buffer } => {
                buffer.extend_from_slice(bytes);
                Inflow::Chunks { req, incoming, done, buffer }
            }
            Inflow::Ignored => Inflow::Ignored,
        };
        let inflow = self.take_chunks(now, link, inflow, out);
        match inflow {
            Inflow::Chunks { req, incoming, done, buffer } if fin => {
                let whole = done == incoming.count && buffer.is_empty();
                let end = if whole { BulkEnd::Finished } else { BulkEnd::Lost };
                self.endpoint.handle_bulk_end(now, link, req, end);
            }
            _ if fin => {}
            inflow => {
                if let Some(streams) = self.links.get_mut(&link) {
                    streams.incoming.insert(stream, inflow);
                }
            }
        }
    }

    fn open_stream(&mut self, now: Instant, link: LinkId, mut framer: Framer, bytes: &[u8]) -> Inflow {
        framer.push(bytes);
        let frame = match framer.next(self.rules) {
            Ok(Some(frame)) => frame,
            Ok(None) => return Inflow::Header(framer),
            Err(violation) => {
                self.endpoint.close_link(now, link, violation.code);
                return Inflow::Ignored;
            }
        };
        let Ok(Some(Message::Bytes(header))) = Message::decode(self.rules, frame.number, &frame.payload) else {
            self.endpoint.close_link(now, link, segue_proto::Code::WIRE_STATE);
            return Inflow::Ignored;
        };
        match self.endpoint.handle_bulk(now, link, &header) {
            Ok(incoming) => Inflow::Chunks { req: header.req, incoming, done: 0, buffer: framer.into_rest() },
            Err(_) => Inflow::Ignored,
        }
    }

    /// Whether all of a blob is here and isn't what its id says, though each chunk is what its list says
    /// (TRANSFER-WHOLE-1).
    pub(super) fn is_another_whole(&self, plan: &Plan) -> bool {
        let listed = plan.chunks() > 1 && self.rules.keeps(Clause::TRANSFER_WHOLE_1);
        let whole = || self.blobs.read(&plan.blob(), 0, plan.len());
        listed && whole().is_some_and(|bytes| blob_id(&bytes) != plan.blob())
    }

    /// Verifies and keeps the chunks that are complete.
    fn take_chunks(&mut self, now: Instant, link: LinkId, inflow: Inflow, out: &mut Outputs) -> Inflow {
        let Inflow::Chunks { req, incoming, mut done, mut buffer } = inflow else { return inflow };
        while done < incoming.count {
            let index = incoming.first + done;
            let Some(chunk) = incoming.plan.chunk(index) else { break };
            let Some(bytes) = buffer.get(..chunk.len as usize) else { break };
            match incoming.plan.verify_chunk(self.rules, index, bytes) {
                Ok(verified) => {
                    keep(&mut self.blobs, out, incoming.plan.blob(), chunk.offset, bytes);
                    if self.is_another_whole(&incoming.plan) {
                        self.endpoint.handle_bulk_end(now, link, req, BulkEnd::Corrupt);
                        return Inflow::Ignored;
                    }
                    self.endpoint.handle_chunk(now, verified);
                }
                Err(_) => {
                    self.endpoint.handle_bulk_end(now, link, req, BulkEnd::Corrupt);
                    return Inflow::Ignored;
                }
            }
            buffer.drain(..chunk.len as usize);
            done += 1;
        }
        Inflow::Chunks { req, incoming, done, buffer }
    }

    pub(super) fn bulk_end(&mut self, now: Instant, link: LinkId, stream: u64, end: BulkEnd) {
        let streams = self.links.get_mut(&link);
        if let Some(Inflow::Chunks { req, .. }) = streams.and_then(|streams| streams.incoming.remove(&stream)) {
            self.endpoint.handle_bulk_end(now, link, req, end);
        }
    }

    /// Reads no more of the streams that answer a request which isn't wanted any more.
    pub(super) fn stop_reading(&mut self, now: Instant, Unwanted { link, req: of }: Unwanted) {
        let Some(streams) = self.links.get_mut(&link) else { return };
        let answers = |inflow: &&mut Inflow| matches!(inflow, Inflow::Chunks { req, .. } if *req == of);
        let answering: Vec<_> = streams.incoming.values_mut().filter(answers).collect();
        for _ in answering.into_iter().map(|inflow| *inflow = Inflow::Ignored) {
            self.endpoint.handle_bulk_end(now, link, of, BulkEnd::Lost);
        }
    }
}
