//! What the suite's end of a handshake sees of the other: the QUIC transport parameters, and what TLS was asked for.

use std::any::Any;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Buf;
use quinn::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use quinn_proto::crypto::{
    ClientConfig, ExportKeyingMaterialError, HeaderKey, KeyPair, Keys, PacketKey, ServerConfig, Session,
    UnsupportedVersion,
};
use quinn_proto::transport_parameters::TransportParameters;
use quinn_proto::{ConnectError, ConnectionId, Side, TransportError};

/// What was seen.
#[derive(Debug, Default)]
pub struct Seen {
    limits: Mutex<Option<Limits>>,
    name: Mutex<Option<String>>,
    offered: Mutex<Vec<Vec<u8>>>,
    resumed: AtomicBool,
    asked: AtomicBool,
}

/// What the subject permits before AUTH (RFC 9000, section 18.2).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// Its idle timeout in milliseconds; 0 means that it has none.
    pub idle_ms: u64,
    /// The bytes that it takes on all streams.
    pub data: u64,
    /// The bidirectional streams that it takes.
    pub bidirectional: u64,
    /// The unidirectional streams that it takes.
    pub unidirectional: u64,
}

impl Seen {
    /// What the subject permits.
    pub fn limits(&self) -> Option<Limits> {
        *lock(&self.limits)
    }

    /// The server name that it sent.
    pub fn name(&self) -> Option<String> {
        lock(&self.name).clone()
    }

    /// Whether it came back with a ticket.
    pub fn was_resumed(&self) -> bool {
        self.resumed.load(Ordering::SeqCst)
    }

    /// Whether it asked for a certificate.
    pub fn was_asked(&self) -> bool {
        self.asked.load(Ordering::SeqCst)
    }

    /// The protocols that it offered.
    pub fn offered(&self) -> Vec<Vec<u8>> {
        lock(&self.offered).clone()
    }

    pub(super) fn called(&self, name: Option<&str>, offered: Vec<Vec<u8>>) {
        *lock(&self.name) = name.map(Into::into);
        *lock(&self.offered) = offered;
    }

    pub(super) fn resumed(&self) {
        self.resumed.store(true, Ordering::SeqCst);
    }

    pub(super) fn asked_for_certificate(&self) {
        self.asked.store(true, Ordering::SeqCst);
    }

    fn permitted(&self, params: &TransportParameters) {
        let mut bytes = Vec::new();
        params.write(&mut bytes);
        *lock(&self.limits) = Some(Limits::read(&bytes));
    }
}

impl Limits {
    /// From the transport parameters as they stand in the handshake; what isn't there is 0.
    fn read(mut bytes: &[u8]) -> Limits {
        let mut limits = Limits::default();
        while let (Some(id), Some(len)) = (varint(&mut bytes), varint(&mut bytes)) {
            let Some((mut value, rest)) = usize::try_from(len).ok().and_then(|len| bytes.split_at_checked(len)) else {
                break;
            };
            bytes = rest;
            let field = match id {
                0x01 => &mut limits.idle_ms,
                0x04 => &mut limits.data,
                0x08 => &mut limits.bidirectional,
                0x09 => &mut limits.unidirectional,
                _ => continue,
            };
            *field = varint(&mut value).unwrap_or_default();
        }
        limits
    }
}

/// A number of RFC 9000, section 16.
fn varint(bytes: &mut &[u8]) -> Option<u64> {
    let first = *bytes.first()?;
    let len = 1usize << (first >> 6);
    if bytes.len() < len {
        return None;
    }
    let mut value = u64::from(first & 0x3f);
    for at in 1..len {
        value = value << 8 | u64::from(*bytes.get(at)?);
    }
    bytes.advance(len);
    Some(value)
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A dialling end that notes what it sees.
pub(super) struct WatchedClient {
    pub(super) inner: Arc<QuicClientConfig>,
    pub(super) seen: Arc<Seen>,
}

impl ClientConfig for WatchedClient {
    fn start_session(
        self: Arc<Self>,
        version: u32,
        server_name: &str,
        params: &TransportParameters,
    ) -> Result<Box<dyn Session>, ConnectError> {
        let inner = self.inner.clone().start_session(version, server_name, params)?;
        Ok(Box::new(Watched { inner, seen: self.seen.clone() }))
    }
}

/// An end that is dialled, and notes what it sees.
pub(super) struct WatchedServer {
    pub(super) inner: Arc<QuicServerConfig>,
    pub(super) seen: Arc<Seen>,
}

impl ServerConfig for WatchedServer {
    fn initial_keys(&self, version: u32, dst_cid: &ConnectionId) -> Result<Keys, UnsupportedVersion> {
        self.inner.initial_keys(version, dst_cid)
    }

    fn retry_tag(&self, version: u32, orig_dst_cid: &ConnectionId, packet: &[u8]) -> [u8; 16] {
        self.inner.retry_tag(version, orig_dst_cid, packet)
    }

    fn start_session(self: Arc<Self>, version: u32, params: &TransportParameters) -> Box<dyn Session> {
        let inner = ServerConfig::start_session(self.inner.clone(), version, params);
        Box::new(Watched { inner, seen: self.seen.clone() })
    }
}

/// A session that is passed through.
struct Watched {
    inner: Box<dyn Session>,
    seen: Arc<Seen>,
}

impl Session for Watched {
    fn initial_keys(&self, dst_cid: &ConnectionId, side: Side) -> Keys {
        self.inner.initial_keys(dst_cid, side)
    }

    fn handshake_data(&self) -> Option<Box<dyn Any>> {
        self.inner.handshake_data()
    }

    fn peer_identity(&self) -> Option<Box<dyn Any>> {
        self.inner.peer_identity()
    }

    fn early_crypto(&self) -> Option<(Box<dyn HeaderKey>, Box<dyn PacketKey>)> {
        self.inner.early_crypto()
    }

    fn early_data_accepted(&self) -> Option<bool> {
        self.inner.early_data_accepted()
    }

    fn is_handshaking(&self) -> bool {
        self.inner.is_handshaking()
    }

    fn read_handshake(&mut self, buf: &[u8]) -> Result<bool, TransportError> {
        self.inner.read_handshake(buf)
    }

    fn transport_parameters(&self) -> Result<Option<TransportParameters>, TransportError> {
        let params = self.inner.transport_parameters()?;
        params.iter().for_each(|params| self.seen.permitted(params));
        Ok(params)
    }

    fn write_handshake(&mut self, buf: &mut Vec<u8>) -> Option<Keys> {
        self.inner.write_handshake(buf)
    }

    fn next_1rtt_keys(&mut self) -> Option<KeyPair<Box<dyn PacketKey>>> {
        self.inner.next_1rtt_keys()
    }

    fn is_valid_retry(&self, orig_dst_cid: &ConnectionId, header: &[u8], payload: &[u8]) -> bool {
        self.inner.is_valid_retry(orig_dst_cid, header, payload)
    }

    fn export_keying_material(
        &self,
        output: &mut [u8],
        label: &[u8],
        context: &[u8],
    ) -> Result<(), ExportKeyingMaterialError> {
        self.inner.export_keying_material(output, label, context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_read_from_transport_parameters() {
        let bytes = [0x01, 4, 0x80, 0, 0xaf, 0xc8, 0x40, 0x99, 1, 7, 0x04, 4, 0x80, 2, 0, 0, 0x08, 1, 1, 0x09, 1, 0];
        let limits = Limits { idle_ms: 45_000, data: 131_072, bidirectional: 1, unidirectional: 0 };
        assert_eq!(Limits::read(&bytes), limits);
        assert_eq!(Limits::read(&bytes[..3]), Limits::default());
    }
}
