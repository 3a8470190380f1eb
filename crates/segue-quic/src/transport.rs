//! QUIC as Segue uses it: sockets, windows, stream limits. Every value says where it comes from.
//!
//! What the chapter asks for: TRANSPORT-VERSION-1, TRANSPORT-STREAM-4, TRANSPORT-IDLE-1, TRANSPORT-LIMIT-1.

use std::io;
use std::net::{Ipv6Addr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

use quinn::{ClientConfig, Endpoint, EndpointConfig, IdleTimeout, ServerConfig, TransportConfig, VarInt};
use rustls::KeyLog;
use segue_proto::limits::{FETCH_WINDOW, IDLE, MAX_LINKS, MAX_PACKET};
use segue_proto::wire::hash::Hasher;
use segue_proto::{Clause, Code, Rules};
use socket2::{Domain, Protocol, Socket, Type};

use crate::bulk::BUFFER;
use crate::error::OpenError;
use crate::relay::Ways;
use crate::tls;

/// The socket's buffers. QUIC has no flow control below its own, so what arrives while the process sleeps must fit:
/// with the system's default a burst of 1 MB is lost in part (28 ms at worst), with 4 MiB it isn't (2 ms).
const SOCKET_BUFFER: usize = 4 << 20;

/// Flow control: what may be on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Windows {
    /// To be received on one stream, in bytes.
    pub stream: u32,
    /// To be received on all streams of an authenticated link, in bytes.
    pub link: u32,
    /// Sent on a link and not acknowledged, in bytes.
    pub send: u32,
}

impl Windows {
    /// Those of a node. A peer may cost 16 MiB (threat 22): what is received, 4 MiB; what the readers of its streams hold
    /// (`RECEIVE_BUDGET`), 8 MiB; what is sent, 2 MiB; what is read to be sent (`serve::SERVING`), 2 MiB. At 100 ms
    /// that is 20 MB/s each way. On loopback a stream of 2 MiB was the fastest, 256 KiB and 16 MiB were a fifth slower
    /// (`examples/windows.rs`).
    pub const NODE: Windows = Windows { stream: 2 << 20, link: 4 << 20, send: 2 << 20 };

    /// The windows of each of so many authenticated links. All peers together may cost 256 MiB (threat 22): 64 MiB for
    /// what is received, 32 MiB for what is sent, 32 MiB for what is read to be sent (`serve::SERVING_IN_ALL`). Readers
    /// hold what was asked for, so it is the application that decides from how many sources at once.
    pub(crate) fn shared_by(links: usize) -> Windows {
        let share = |all: usize, one: u32| u32::try_from(all / links.max(1)).unwrap_or(one).clamp(PREAUTH_WINDOW, one);
        let Windows { stream, link, send } = Windows::NODE;
        Windows { stream, link: share(64 << 20, link), send: share(32 << 20, send) }
    }
}

/// What the readers of a link's streams hold between them, received and not written yet: a buffer each, or, for moments, what
/// the slices of one that wasn't copied may hold (`bulk::content`). With less, those that wait for room could fill the
/// link's window with what they don't read, and starve those that have room. A chunk that is longer than a buffer counts
/// as one; own senders make such chunks from 16 GiB on.
pub(crate) const RECEIVE_BUDGET: usize = BULK_STREAMS as usize * BUFFER;

/// What a link may have in flight before its peer is authenticated: the control stream alone, and a little more than
/// the core takes (`MAX_PREAUTH`), so that it is the core that refuses.
const PREAUTH_WINDOW: u32 = 128 << 10;

/// Bulk streams that a peer may have open: one for each blob that a fetch keeps in flight. A blob of many ranges waits a
/// little. quinn sets memory aside for every stream that is permitted.
const BULK_STREAMS: u32 = FETCH_WINDOW as u32;

/// Handshakes under way that need no proof of address; beyond it a client is asked to retry with a token, which makes
/// forged addresses cost the forger, not this device. From: guess.
pub(crate) const UNVALIDATED_HANDSHAKES: usize = 32;

/// Handshakes under way at all; beyond it callers are refused. From: guess, a quarter of the links.
pub(crate) const MAX_HANDSHAKES: usize = 256;

/// The only version of QUIC that is spoken (TRANSPORT-VERSION-1).
const QUIC_VERSION: u32 = 1;

/// The time that TLS may take. From: threat 23.
pub(crate) const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);

/// Opens the socket and the endpoint over it; without an address to listen on, a client only.
///
/// `reset_secret` must be the same at every start of a device: only then can it tell a peer at once, by a stateless
/// reset, that it was killed. Otherwise the peer would find out by [`IDLE`].
pub(crate) fn endpoint(
    listen: Option<SocketAddr>,
    reset_secret: Hasher,
    windows: Windows,
    rules: Rules,
    key_log: &Arc<dyn KeyLog>,
) -> Result<Endpoint, OpenError> {
    let server = listen.is_some().then(|| server_config(windows, rules, key_log)).transpose()?;
    let socket = match listen {
        Some(addr) => bind(addr),
        // Without IPv6 the other family serves.
        None => bind((Ipv6Addr::UNSPECIFIED, 0).into()).or_else(|_| bind(([0, 0, 0, 0], 0).into())),
    };
    let socket = socket.map_err(|source| OpenError::Socket { addr: listen, source })?;
    let runtime = Arc::new(quinn::TokioRuntime);
    let config = endpoint_config(reset_secret, rules);
    let mut endpoint =
        Endpoint::new(config, server, socket, runtime).map_err(|source| OpenError::Socket { addr: listen, source })?;
    endpoint.set_default_client_config(client_config(windows, rules, key_log)?);
    Ok(endpoint)
}

/// Opens an endpoint over ways by services; it takes calls and makes them.
pub(crate) fn endpoint_over(
    ways: Arc<Ways>,
    reset_secret: Hasher,
    rules: Rules,
    key_log: &Arc<dyn KeyLog>,
) -> Result<Endpoint, OpenError> {
    let windows = Windows::NODE;
    let (mut server, mut client) = (server_config(windows, rules, key_log)?, client_config(windows, rules, key_log)?);
    // A way leads to one device.
    server.migration(false);
    server.transport_config(Arc::new(over_ways(transport(control(rules), windows, rules))));
    client.transport_config(Arc::new(over_ways(transport(0, windows, rules))));
    let config = endpoint_config(reset_secret, rules);
    let runtime = Arc::new(quinn::TokioRuntime);
    let mut endpoint = Endpoint::new_with_abstract_socket(config, Some(server), ways, runtime)
        .map_err(|source| OpenError::Socket { addr: None, source })?;
    endpoint.set_default_client_config(client);
    Ok(endpoint)
}

/// Packets are as long as they may be (SERVICE-RELAY-8): nothing on the way has room for less.
fn over_ways(mut config: TransportConfig) -> TransportConfig {
    config.initial_mtu(MAX_PACKET as u16).mtu_discovery_config(None);
    config
}

fn endpoint_config(reset_secret: Hasher, rules: Rules) -> EndpointConfig {
    let mut config = EndpointConfig::new(Arc::new(ResetKey(reset_secret)));
    // quinn's other generator marks its ids, which an observer could follow over the starts of a device.
    config.cid_generator(|| Box::new(quinn_proto::RandomConnectionIdGenerator::default()));
    // quinn would take drafts, too.
    if rules.keeps(Clause::TRANSPORT_VERSION_1) {
        config.supported_versions(vec![QUIC_VERSION]);
    }
    config
}

/// Gives a connection the limits of an authenticated peer with these windows.
pub(crate) fn widen(connection: &quinn::Connection, windows: Windows) {
    connection.set_receive_window(VarInt::from_u32(windows.link));
    connection.set_send_window(u64::from(windows.send));
    connection.set_max_concurrent_uni_streams(VarInt::from_u32(BULK_STREAMS));
}

/// The QUIC application close code of an error code.
pub(crate) fn close_code(code: Code) -> VarInt {
    VarInt::from_u32(u32::from(code.number()))
}

/// The error code that a connection ended with, and whether the other side chose it.
pub(crate) fn reason(error: &quinn::ConnectionError) -> (Code, bool) {
    match error {
        quinn::ConnectionError::ApplicationClosed(close) => {
            let number = u16::try_from(close.error_code.into_inner()).unwrap_or(Code::LINK_LOST.number());
            (Code::from_number(number), true)
        }
        quinn::ConnectionError::TimedOut => (Code::LIMIT_IDLE, false),
        quinn::ConnectionError::LocallyClosed => (Code::LINK_SHUTDOWN, false),
        _ => (Code::LINK_LOST, true),
    }
}

fn bind(addr: SocketAddr) -> io::Result<UdpSocket> {
    let socket = Socket::new(Domain::for_address(addr), Type::DGRAM, Some(Protocol::UDP))?;
    if addr.is_ipv6() && addr.ip().is_unspecified() {
        // One socket for both families; where the system can't, it serves IPv6.
        let _ = socket.set_only_v6(false);
    }
    // A system that caps the buffers lower gives what it can; the link is slower then, not wrong.
    let _ = socket.set_recv_buffer_size(SOCKET_BUFFER);
    let _ = socket.set_send_buffer_size(SOCKET_BUFFER);
    socket.bind(&addr.into())?;
    socket.set_nonblocking(true)?;
    Ok(socket.into())
}

/// Makes the tokens of stateless resets.
struct ResetKey(Hasher);

impl quinn::crypto::HmacKey for ResetKey {
    fn sign(&self, data: &[u8], signature_out: &mut [u8]) {
        let hash = self.0.clone().bytes(data).finish();
        let len = signature_out.len().min(hash.as_bytes().len());
        signature_out[..len].copy_from_slice(&hash.as_bytes()[..len]);
    }

    fn signature_len(&self) -> usize {
        32
    }

    fn verify(&self, data: &[u8], signature: &[u8]) -> Result<(), quinn::crypto::CryptoError> {
        // Tokens are compared by their receiver; quinn never verifies one by this key.
        if self.0.clone().bytes(data).finish().as_bytes() == signature {
            Ok(())
        } else {
            Err(quinn::crypto::CryptoError)
        }
    }
}

fn server_config(windows: Windows, rules: Rules, key_log: &Arc<dyn KeyLog>) -> Result<ServerConfig, OpenError> {
    let mut config = ServerConfig::with_crypto(Arc::new(tls::server(rules, key_log)?));
    config.transport_config(Arc::new(transport(control(rules), windows, rules)));
    // quinn's defaults are 65,536 handshakes that nobody accepted yet, with 10 MiB each and 100 MiB in all.
    config.max_incoming(MAX_LINKS);
    config.incoming_buffer_size(16 << 10);
    config.incoming_buffer_size_total(4 << 20);
    // Address tokens for later connections would let an observer link them.
    let mut tokens = quinn::ValidationTokenConfig::default();
    tokens.sent(0);
    config.validation_token_config(tokens);
    Ok(config)
}

/// The bidirectional streams that an initiator may open: the control stream.
fn control(rules: Rules) -> u32 {
    if rules.keeps(Clause::TRANSPORT_STREAM_1) { 1 } else { 100 }
}

fn client_config(windows: Windows, rules: Rules, key_log: &Arc<dyn KeyLog>) -> Result<ClientConfig, OpenError> {
    let mut config = ClientConfig::new(Arc::new(tls::client(rules, key_log)?));
    config.transport_config(Arc::new(transport(0, windows, rules)));
    config.token_store(Arc::new(quinn::NoneTokenStore));
    Ok(config)
}

/// `control` is how many bidirectional streams the other side may open: the initiator's one. MTU discovery and segmentation offload keep quinn's
/// defaults: up to 1,452 bytes, where 64 KiB of segments always fit; without the offload bulk is four times slower.
fn transport(control: u32, windows: Windows, rules: Rules) -> TransportConfig {
    let bulk = if rules.keeps(Clause::TRANSPORT_STREAM_4) { 0 } else { BULK_STREAMS };
    let credit = if rules.keeps(Clause::TRANSPORT_LIMIT_1) { PREAUTH_WINDOW } else { windows.link };
    let idle = if rules.keeps(Clause::TRANSPORT_IDLE_1) { IDLE } else { IDLE / 10 };
    let mut config = TransportConfig::default();
    config
        .max_concurrent_bidi_streams(VarInt::from_u32(control))
        .max_concurrent_uni_streams(VarInt::from_u32(bulk))
        .stream_receive_window(VarInt::from_u32(windows.stream))
        .receive_window(VarInt::from_u32(credit))
        .send_window(u64::from(PREAUTH_WINDOW))
        .max_idle_timeout(IdleTimeout::try_from(Duration::from_micros(idle)).ok())
        // The core sends its own PING, which also proves that the other side's core lives.
        .keep_alive_interval(None)
        // A stream goes out whole before the next: their packets would take turns, to nobody's gain.
        .send_fairness(false)
        .datagram_receive_buffer_size(None);
    config
}
