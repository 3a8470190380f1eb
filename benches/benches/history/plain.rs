//! Plain yrs over a plain stream of a bare QUIC connection with a node's settings: each update behind its length.

use std::collections::VecDeque;

use quinn::{Connection, Endpoint, RecvStream, SendStream};
use segue_quic::bare::{self, Windows};
use yrs::updates::decoder::Decode;
use yrs::updates::encoder::Encode;
use yrs::{Doc, GetString, ReadTxn, Text, TextRef, Transact, Update};

use crate::Side;
use crate::data::Edit;

pub(crate) struct Yrs {
    docs: [Doc; 2],
    texts: [TextRef; 2],
    /// Flushed and not sent: how many, and their frames.
    waiting: [(usize, Vec<u8>); 2],
    /// How many updates were sent, and have arrived and been taken in at the other device.
    sent: [usize; 2],
    came: [usize; 2],
    applied: [usize; 2],
    arrived: [VecDeque<Vec<u8>>; 2],
    /// Read, and no whole frame yet.
    rest: [Vec<u8>; 2],
    link: Option<Link>,
    bytes: u64,
    udp: u64,
}

struct Link {
    ends: [(SendStream, RecvStream); 2],
    connections: [Connection; 2],
    _endpoints: [Endpoint; 2],
}

impl Side for Yrs {
    async fn open() -> Self {
        let docs = [1, 2].map(|writer| Doc::with_client_id(writer << 51 | 77));
        let texts = docs.each_ref().map(|doc| doc.get_or_insert_text("text"));
        let (waiting, arrived, rest) = Default::default();
        let (sent, came, applied) = Default::default();
        Yrs { docs, texts, waiting, sent, came, applied, arrived, rest, link: None, bytes: 0, udp: 0 }
    }

    fn edit(&mut self, device: usize, edits: &[Edit]) {
        let mut txn = self.docs[device].transact_mut();
        for (at, deleted, inserted) in edits {
            // Each call looks for its place, also if it has nothing to do there.
            if *deleted > 0 {
                self.texts[device].remove_range(&mut txn, *at as u32, *deleted as u32);
            }
            if !inserted.is_empty() {
                self.texts[device].insert(&mut txn, *at as u32, inserted);
            }
        }
        txn.commit();
        let update = txn.encode_update_v1();
        drop(txn);
        let (count, frames) = &mut self.waiting[device];
        *count += 1;
        frame(&update, frames);
    }

    async fn send(&mut self, device: usize) {
        let Some(link) = &mut self.link else { return };
        let (count, frames) = std::mem::take(&mut self.waiting[device]);
        link.ends[device].0.write_all(&frames).await.expect("an open stream");
        self.bytes += frames.len() as u64;
        self.sent[device] += count;
    }

    async fn arrive(&mut self, device: usize, flushes: usize) {
        while self.came[device] < flushes {
            let update = self.receive(device).await;
            self.arrived[device].push_back(update);
            self.came[device] += 1;
        }
    }

    fn apply(&mut self, device: usize, flushes: usize) {
        while self.applied[device] < flushes {
            let update = self.arrived[device].pop_front().expect("it has arrived");
            let update = Update::decode_v1(&update).expect("an update");
            self.docs[device].transact_mut().apply_update(update).expect("an update that fits");
            self.applied[device] += 1;
        }
    }

    async fn rest(&mut self) {
        for device in 0..2 {
            self.arrive(device, self.sent[1 - device]).await;
        }
    }

    /// All that was sent has arrived before: so nothing need be sent twice.
    async fn part(&mut self) {
        if let Some(link) = self.link.take() {
            self.udp += udp(&link);
            link.connections[0].close(0u8.into(), b"");
        }
    }

    async fn meet(&mut self) {
        let mut link = connect().await;
        for device in 0..2 {
            let mut vector = Vec::new();
            frame(&self.docs[device].transact().state_vector().encode_v1(), &mut vector);
            link.ends[device].0.write_all(&vector).await.expect("an open stream");
            self.bytes += vector.len() as u64;
        }
        self.link = Some(link);
        for device in 0..2 {
            self.rest[device].clear();
            self.receive(device).await;
        }
        for device in 0..2 {
            self.send(device).await;
        }
    }

    async fn bytes(&mut self) -> [u64; 2] {
        [self.bytes, self.udp + self.link.as_ref().map_or(0, udp)]
    }

    fn text(&mut self, device: usize) -> String {
        self.texts[device].get_string(&self.docs[device].transact())
    }

    async fn close(self) {
        if let Some(link) = self.link {
            link.connections[0].close(0u8.into(), b"");
        }
    }
}

impl Yrs {
    /// The next frame that comes to a device.
    async fn receive(&mut self, device: usize) -> Vec<u8> {
        loop {
            if let Some(update) = unframe(&mut self.rest[device]) {
                return update;
            }
            let link = self.link.as_mut().expect("a link");
            let chunk = link.ends[device].1.read_chunk(64 << 10, true).await.expect("an open stream");
            self.rest[device].extend_from_slice(&chunk.expect("more").bytes);
        }
    }
}

/// Appends a frame: the length, seven bits a byte, and the content.
fn frame(content: &[u8], out: &mut Vec<u8>) {
    let mut len = content.len();
    while len >= 128 {
        out.push(len as u8 | 128);
        len >>= 7;
    }
    out.push(len as u8);
    out.extend_from_slice(content);
}

/// Takes the first frame away, if it is whole.
fn unframe(bytes: &mut Vec<u8>) -> Option<Vec<u8>> {
    let (mut len, mut at) = (0, 0);
    loop {
        let byte = *bytes.get(at)?;
        len |= usize::from(byte & 127) << (7 * at);
        at += 1;
        if byte < 128 {
            break;
        }
    }
    let content = bytes.get(at..at + len)?.to_vec();
    bytes.drain(..at + len);
    Some(content)
}

async fn connect() -> Link {
    let loopback = "127.0.0.1:0".parse().expect("an address");
    let server = bare::endpoint(Some(loopback), Windows::NODE).expect("a socket");
    let client = bare::endpoint(Some(loopback), Windows::NODE).expect("a socket");
    let dialling = bare::connect(&client, server.local_addr().expect("an address")).expect("a dial");
    let (near, far) = tokio::join!(dialling, async { server.accept().await.expect("a caller").await });
    let (near, far) = (near.expect("a link"), far.expect("a link"));
    bare::admit(&near, Windows::NODE);
    bare::admit(&far, Windows::NODE);
    let mut one = near.open_bi().await.expect("a stream");
    // A stream is there once something was written to it.
    one.0.write_all(&[0]).await.expect("an open stream");
    let mut two = far.accept_bi().await.expect("a stream");
    two.1.read_exact(&mut [0]).await.expect("an open stream");
    Link { ends: [one, two], connections: [near, far], _endpoints: [server, client] }
}

fn udp(link: &Link) -> u64 {
    link.connections.iter().map(|connection| connection.stats().udp_tx.bytes).sum()
}
