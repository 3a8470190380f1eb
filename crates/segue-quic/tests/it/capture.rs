//! What goes over a wire between two nodes, recorded by a relay, and read with the secrets of their TLS (RFC 9001).
//!
//! Nothing is passed over: a packet that no secret opens, and a frame that isn't known, fail the test.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use rustls::KeyLog;
use rustls::crypto::ring::cipher_suite::TLS13_AES_256_GCM_SHA384;
use rustls::crypto::tls13::OkmBlock;
use rustls::quic::{Algorithm, HeaderProtectionKey, PacketKey};
use tokio::net::UdpSocket;
use tokio::task::JoinHandle;

use crate::util::loopback;

/// The connection ids that quinn draws.
const CID: usize = 8;

/// The length of a sample for header protection, and of the AEAD's tag.
const SAMPLE: usize = 16;

/// The secrets of the connections that a node has, as `SSLKEYLOGFILE` would hold them.
#[derive(Debug, Default)]
pub(crate) struct Secrets(Mutex<Vec<(String, Vec<u8>)>>);

impl KeyLog for Secrets {
    fn log(&self, label: &str, _client_random: &[u8], secret: &[u8]) {
        self.0.lock().unwrap().push((label.to_owned(), secret.to_vec()));
    }
}

/// A wire with an ear: it passes on the datagrams between one client and one server, and keeps them.
pub(crate) struct Relay {
    pub(crate) addr: SocketAddr,
    taken: Taken,
    task: JoinHandle<()>,
}

/// The datagrams that went by, in their order.
type Taken = Arc<Mutex<Vec<(Way, Vec<u8>)>>>;

/// From the client to the server, or back.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    Up,
    Down,
}

/// What the streams of all recorded connections carried, each one's bytes in order.
#[derive(Default)]
pub(crate) struct Heard {
    pub(crate) up: Vec<Vec<u8>>,
    pub(crate) down: Vec<Vec<u8>>,
}

impl Relay {
    pub(crate) async fn to(server: SocketAddr) -> Relay {
        let beside = SocketAddr::new(server.ip(), 0);
        let (near, far) = (UdpSocket::bind(loopback()).await.unwrap(), UdpSocket::bind(beside).await.unwrap());
        far.connect(server).await.unwrap();
        let (addr, taken) = (near.local_addr().unwrap(), Taken::default());
        let task = tokio::spawn(pass_on(near, far, taken.clone()));
        Relay { addr, taken, task }
    }

    /// Reads what went by.
    pub(crate) fn end(self, secrets: &Secrets) -> Heard {
        self.task.abort();
        let taken = std::mem::take(&mut *self.taken.lock().unwrap());
        let secrets = secrets.0.lock().unwrap();
        let read = |way, label: &str| {
            let mut keys: Vec<_> =
                secrets.iter().filter(|(of, _)| of == label).map(|(_, secret)| Keys::new(secret)).collect();
            let datagrams = taken.iter().filter(|(went, _)| *went == way);
            streams(&mut keys, datagrams.map(|(_, datagram)| datagram.as_slice()))
        };
        Heard { up: read(Way::Up, "CLIENT_TRAFFIC_SECRET_0"), down: read(Way::Down, "SERVER_TRAFFIC_SECRET_0") }
    }
}

impl Heard {
    /// Whether these bytes went either way.
    pub(crate) fn finds(&self, what: &[u8]) -> bool {
        found(&self.up, what) || found(&self.down, what)
    }
}

pub(crate) fn found(streams: &[Vec<u8>], what: &[u8]) -> bool {
    streams.iter().any(|bytes| bytes.windows(what.len()).any(|at| at == what))
}

async fn pass_on(near: UdpSocket, far: UdpSocket, taken: Taken) {
    let (mut up, mut down) = (vec![0; 65_536], vec![0; 65_536]);
    let mut client = None;
    loop {
        // A node that is gone is an error of the next call, and no end.
        tokio::select! {
            Ok((len, from)) = near.recv_from(&mut up) => {
                client = Some(from);
                taken.lock().unwrap().push((Way::Up, up[..len].to_vec()));
                let _ = far.send(&up[..len]).await;
            }
            Ok(len) = far.recv(&mut down) => {
                taken.lock().unwrap().push((Way::Down, down[..len].to_vec()));
                let _ = near.send_to(&down[..len], client.unwrap()).await;
            }
            else => {}
        }
    }
}

/// The keys of one way of a connection. They change after some packets; both phases' are kept.
struct Keys {
    secret: Vec<u8>,
    header: Box<dyn HeaderProtectionKey>,
    packet: Vec<Box<dyn PacketKey>>,
    largest: u64,
}

impl Keys {
    fn new(secret: &[u8]) -> Keys {
        let mut key = [0; 32];
        expand(secret, "quic hp", &mut key);
        let header = algorithm().header_protection_key(key.into());
        Keys { packet: vec![packet_key(secret)], secret: secret.to_vec(), header, largest: 0 }
    }

    /// Opens a packet with a short header; none if it isn't of this connection.
    fn open(&mut self, packet: &[u8]) -> Option<Vec<u8>> {
        let mut packet = packet.to_vec();
        let (header, sample) = packet.split_at_mut_checked(1 + CID + 4)?;
        let (first, rest) = header.split_at_mut(1);
        self.header.decrypt_in_place(sample.get(..SAMPLE)?, &mut first[0], &mut rest[CID..]).ok()?;
        let (phase, len) = (usize::from(first[0] >> 2 & 1), usize::from(first[0] & 3) + 1);
        let short = rest[CID..CID + len].iter().fold(0, |number, byte| number << 8 | u64::from(*byte));
        let number = whole_number(self.largest, short, 8 * len as u32);
        let (head, sealed) = packet.split_at(1 + CID + len);
        let at = (0..self.packet.len() + 1).rev().find(|at| at % 2 == phase)?;
        if at == self.packet.len() {
            let mut next = vec![0; self.secret.len()];
            expand(&self.secret, "quic ku", &mut next);
            let opened = opened(&*packet_key(&next), number, head, sealed)?;
            self.packet.push(packet_key(&next));
            self.secret = next;
            self.largest = self.largest.max(number);
            return Some(opened);
        }
        let opened = opened(&*self.packet[at], number, head, sealed)?;
        self.largest = self.largest.max(number);
        Some(opened)
    }
}

fn opened(key: &dyn PacketKey, number: u64, head: &[u8], sealed: &[u8]) -> Option<Vec<u8>> {
    let mut payload = sealed.to_vec();
    Some(key.decrypt_in_place(number, head, &mut payload).ok()?.to_vec())
}

fn algorithm() -> &'static dyn Algorithm {
    TLS13_AES_256_GCM_SHA384.tls13().and_then(|suite| suite.quic).unwrap()
}

fn packet_key(secret: &[u8]) -> Box<dyn PacketKey> {
    let (mut key, mut iv) = ([0; 32], [0; 12]);
    expand(secret, "quic key", &mut key);
    expand(secret, "quic iv", &mut iv);
    algorithm().packet_key(key.into(), iv.into())
}

/// HKDF-Expand-Label of TLS 1.3, with an empty context.
fn expand(secret: &[u8], label: &str, out: &mut [u8]) {
    assert_eq!(secret.len(), 48, "both sides put AES-256-GCM with SHA-384 first");
    let hkdf = TLS13_AES_256_GCM_SHA384.tls13().unwrap().hkdf_provider;
    let (len, label) = (u16::try_from(out.len()).unwrap().to_be_bytes(), format!("tls13 {label}"));
    let info = [&len, &[label.len() as u8][..], label.as_bytes(), &[0]];
    hkdf.expander_for_okm(&OkmBlock::new(secret)).expand_slice(&info, out).unwrap();
}

/// RFC 9000, appendix A.3.
fn whole_number(largest: u64, short: u64, bits: u32) -> u64 {
    let (expected, window) = (largest + 1, 1 << bits);
    let candidate = expected & !(window - 1) | short;
    if candidate + window / 2 <= expected {
        candidate + window
    } else if candidate > expected + window / 2 && candidate >= window {
        candidate - window
    } else {
        candidate
    }
}

/// The bytes of the streams that these datagrams carry, by connection and stream.
fn streams<'a>(keys: &mut [Keys], datagrams: impl Iterator<Item = &'a [u8]>) -> Vec<Vec<u8>> {
    let mut found = BTreeMap::<(usize, u64), Vec<u8>>::new();
    for packet in datagrams.filter_map(short_packet) {
        let opened = keys.iter_mut().enumerate().find_map(|(of, keys)| Some((of, keys.open(packet)?)));
        let (of, payload) = opened.unwrap_or_else(|| panic!("no secret opens a packet of {} bytes", packet.len()));
        let mut frames = Reader(&payload);
        while !frames.0.is_empty() {
            if let Some((stream, offset, bytes)) = frames.frame() {
                let stream = found.entry((of, stream)).or_default();
                stream.resize(stream.len().max(offset + bytes.len()), 0);
                stream[offset..offset + bytes.len()].copy_from_slice(bytes);
            }
        }
    }
    found.into_values().collect()
}

/// The packet with a short header of a datagram, which is the last; those before it hold the handshake alone.
fn short_packet(mut datagram: &[u8]) -> Option<&[u8]> {
    while *datagram.first()? & 0x80 != 0 {
        let (kind, mut header) = (datagram[0] >> 4 & 3, Reader(&datagram[5..]));
        for _ in ["destination", "source"] {
            let len = header.take(1)[0];
            header.take(len.into());
        }
        assert!(
            kind == 0 || kind == 2,
            "neither Initial nor Handshake: early data is off, and nobody is asked to retry"
        );
        if kind == 0 {
            header.bytes();
        }
        header.bytes();
        datagram = header.0;
    }
    Some(datagram)
}

/// Reads the frames of a packet.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, len: usize) -> &'a [u8] {
        let (taken, rest) = self.0.split_at(len);
        self.0 = rest;
        taken
    }

    fn number(&mut self) -> u64 {
        let first = self.take(1)[0];
        let rest = self.take((1 << (first >> 6)) - 1);
        rest.iter().fold(u64::from(first & 0x3f), |number, byte| number << 8 | u64::from(*byte))
    }

    fn numbers(&mut self, count: u64) {
        for _ in 0..count {
            self.number();
        }
    }

    fn bytes(&mut self) -> &'a [u8] {
        let len = self.number();
        self.take(len as usize)
    }

    /// The next frame; of STREAM its stream, offset and data (RFC 9000, section 19).
    fn frame(&mut self) -> Option<(u64, usize, &'a [u8])> {
        match self.number() {
            // PADDING, PING, HANDSHAKE_DONE, and quinn's IMMEDIATE_ACK
            0x00 | 0x01 | 0x1e | 0x1f => {}
            ack @ (0x02 | 0x03) => {
                self.numbers(2);
                let ranges = self.number();
                self.numbers(1 + 2 * ranges + if ack == 0x03 { 3 } else { 0 });
            }
            // RESET_STREAM
            0x04 => self.numbers(3),
            // STOP_SENDING, MAX_STREAM_DATA, STREAM_DATA_BLOCKED
            0x05 | 0x11 | 0x15 => self.numbers(2),
            // CRYPTO
            0x06 => {
                self.number();
                self.bytes();
            }
            // MAX_DATA, MAX_STREAMS, DATA_BLOCKED, STREAMS_BLOCKED, RETIRE_CONNECTION_ID
            0x10 | 0x12..=0x14 | 0x16 | 0x17 | 0x19 => self.numbers(1),
            // NEW_CONNECTION_ID
            0x18 => {
                self.numbers(2);
                let len = self.take(1)[0];
                self.take(usize::from(len) + 16);
            }
            // PATH_CHALLENGE, PATH_RESPONSE
            0x1a | 0x1b => {
                self.take(8);
            }
            close @ (0x1c | 0x1d) => {
                self.numbers(if close == 0x1c { 2 } else { 1 });
                self.bytes();
            }
            kind @ 0x08..=0x0f => {
                let stream = self.number();
                let offset = if kind & 4 != 0 { self.number() } else { 0 };
                let bytes = if kind & 2 != 0 { self.bytes() } else { std::mem::take(&mut self.0) };
                return Some((stream, offset as usize, bytes));
            }
            kind => panic!("a frame of kind {kind:#x}"),
        }
        None
    }
}
