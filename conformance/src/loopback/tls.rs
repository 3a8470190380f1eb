//! Both ends of a handshake, honest or not: protocols, certificates, tickets, early data, limits.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use quinn::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use quinn::{Endpoint, TransportConfig, VarInt};
use rcgen::{CertificateParams, KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384, PKCS_ED25519};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{
    ClientSessionMemoryCache, ClientSessionStore, ResolvesClientCert, Resumption, Tls12ClientSessionValue,
    Tls13ClientSessionValue,
};
use rustls::crypto::ring::{default_provider, sign::any_supported_type};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName, UnixTime};
use rustls::server::{ClientHello, ResolvesServerCert, ServerSessionMemoryCache, StoresServerSessions};
use rustls::sign::CertifiedKey;
use rustls::{DigitallySignedStruct, NamedGroup, SignatureScheme};

use super::seen::{Seen, WatchedClient, WatchedServer};
use crate::verdict::Fault;

/// The protocol of every generation.
pub const ALPN: &str = "segue/1";

/// What the suite does when it dials.
#[derive(Clone, Debug)]
pub struct Dialling {
    /// The protocols that it offers.
    pub alpn: Vec<&'static str>,
    /// The server name that it sends.
    pub name: &'static str,
    /// Where it keeps tickets, and whether it uses them.
    pub tickets: Arc<Tickets>,
    /// How many unidirectional streams it lets the subject open at a time.
    pub streams: u32,
    /// How many bytes it takes on a stream before they are read.
    pub window: u32,
}

impl Default for Dialling {
    fn default() -> Self {
        Dialling { alpn: vec![ALPN], name: "segue.invalid", tickets: Arc::default(), streams: 64, window: WINDOW }
    }
}

/// What the suite does when it is dialled.
#[derive(Clone, Debug)]
pub struct Answering {
    /// The certificate that it shows.
    pub certificate: Certificate,
    /// Whether it gives tickets, and takes early data with them.
    pub resumes: bool,
    /// How many unidirectional streams it lets the subject open at a time.
    pub streams: u32,
}

impl Default for Answering {
    fn default() -> Self {
        Answering { certificate: Certificate::Ordinary, resumes: false, streams: 64 }
    }
}

/// A certificate of the suite.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Certificate {
    /// As most make them.
    Ordinary,
    /// It was valid until the year 2000.
    Expired,
    /// It will be from the year 2090 on.
    NotYet,
    /// It is for another name.
    OtherName,
    /// It is an authority's own.
    Authority,
    /// Its key is one of Ed25519.
    Ed25519,
    /// Its key is one of P-384.
    P384,
    /// Its key isn't that of who shows it.
    Stolen,
}

/// Where tickets go that a responder gives, and from where they are used.
#[derive(Debug)]
pub struct Tickets {
    kept: ClientSessionMemoryCache,
    seen: AtomicUsize,
}

impl Default for Tickets {
    fn default() -> Self {
        Tickets { kept: ClientSessionMemoryCache::new(8), seen: AtomicUsize::new(0) }
    }
}

impl Tickets {
    /// How many came.
    pub fn seen(&self) -> usize {
        self.seen.load(Ordering::SeqCst)
    }
}

impl ClientSessionStore for Tickets {
    fn set_kx_hint(&self, name: ServerName<'static>, group: NamedGroup) {
        self.kept.set_kx_hint(name, group);
    }
    fn kx_hint(&self, name: &ServerName<'_>) -> Option<NamedGroup> {
        self.kept.kx_hint(name)
    }
    fn set_tls12_session(&self, _: ServerName<'static>, _: Tls12ClientSessionValue) {}
    fn tls12_session(&self, _: &ServerName<'_>) -> Option<Tls12ClientSessionValue> {
        None
    }
    fn remove_tls12_session(&self, _: &ServerName<'static>) {}
    fn insert_tls13_ticket(&self, name: ServerName<'static>, ticket: Tls13ClientSessionValue) {
        self.seen.fetch_add(1, Ordering::SeqCst);
        self.kept.insert_tls13_ticket(name, ticket);
    }
    fn take_tls13_ticket(&self, name: &ServerName<'static>) -> Option<Tls13ClientSessionValue> {
        self.kept.take_tls13_ticket(name)
    }
}

/// An endpoint that dials, and what it sees.
///
/// # Errors
/// If there is no socket to be had.
pub(super) fn dialling(how: &Dialling, to: SocketAddr) -> Result<(Endpoint, Arc<Seen>), Fault> {
    let seen = Arc::new(Seen::default());
    let mut config = rustls::ClientConfig::builder_with_provider(Arc::new(default_provider()))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(at_fault)?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Anyone))
        .with_client_cert_resolver(Arc::new(Asked(seen.clone())));
    config.alpn_protocols = how.alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
    config.resumption = Resumption::store(how.tickets.clone());
    config.enable_early_data = true;
    let inner = Arc::new(QuicClientConfig::try_from(config).map_err(at_fault)?);
    let mut config = quinn::ClientConfig::new(Arc::new(WatchedClient { inner, seen: seen.clone() }));
    config.transport_config(Arc::new(transport(how.streams, how.window)));
    let mut endpoint = Endpoint::client(from(to)).map_err(at_fault)?;
    endpoint.set_default_client_config(config);
    Ok((endpoint, seen))
}

/// An endpoint that is dialled, and what it sees.
///
/// # Errors
/// If there is no socket to be had.
pub(crate) fn answering(how: &Answering) -> Result<(Endpoint, Arc<Seen>), Fault> {
    let seen = Arc::new(Seen::default());
    let shown = Arc::new(Shown { key: how.certificate.make()?, seen: seen.clone() });
    let mut config = rustls::ServerConfig::builder_with_provider(Arc::new(default_provider()))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(at_fault)?
        .with_no_client_auth()
        .with_cert_resolver(shown);
    config.alpn_protocols = vec![ALPN.as_bytes().to_vec()];
    config.send_tls13_tickets = if how.resumes { 2 } else { 0 };
    config.max_early_data_size = if how.resumes { u32::MAX } else { 0 };
    config.session_storage = Arc::new(Given { kept: ServerSessionMemoryCache::new(8), seen: seen.clone() });
    let inner = Arc::new(QuicServerConfig::try_from(config).map_err(at_fault)?);
    let mut config = quinn::ServerConfig::with_crypto(Arc::new(WatchedServer { inner, seen: seen.clone() }));
    config.transport_config(Arc::new(transport(how.streams, WINDOW)));
    Ok((Endpoint::server(config, LOOPBACK).map_err(at_fault)?, seen))
}

/// The suite's end permits what a subject may try, and times nothing out: how long a silence is, is the subject's to say.
fn transport(streams: u32, window: u32) -> TransportConfig {
    let mut config = TransportConfig::default();
    config
        .max_concurrent_uni_streams(VarInt::from_u32(streams))
        .max_concurrent_bidi_streams(VarInt::from_u32(4))
        .stream_receive_window(VarInt::from_u32(window))
        .max_idle_timeout(None);
    config
}

impl Certificate {
    fn make(self) -> Result<Arc<CertifiedKey>, Fault> {
        let algorithm = match self {
            Certificate::Ed25519 => &PKCS_ED25519,
            Certificate::P384 => &PKCS_ECDSA_P384_SHA384,
            _ => &PKCS_ECDSA_P256_SHA256,
        };
        let key = KeyPair::generate_for(algorithm).map_err(at_fault)?;
        let name = if self == Certificate::OtherName { "example.org" } else { "segue.invalid" };
        let mut params = CertificateParams::new([name.to_string()]).map_err(at_fault)?;
        match self {
            Certificate::Expired => params.not_after = rcgen::date_time_ymd(2000, 1, 1),
            Certificate::NotYet => params.not_before = rcgen::date_time_ymd(2090, 1, 1),
            Certificate::Authority => params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained),
            _ => {}
        }
        let cert = params.self_signed(&key).map_err(at_fault)?;
        let holder = match self {
            Certificate::Stolen => KeyPair::generate_for(algorithm).map_err(at_fault)?,
            _ => key,
        };
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(holder.serialize_der()));
        let key = any_supported_type(&key).map_err(at_fault)?;
        Ok(Arc::new(CertifiedKey::new(vec![cert.der().clone()], key)))
    }
}

/// From where somebody there can be called.
pub(super) fn from(to: SocketAddr) -> SocketAddr {
    let ip = match to.ip() {
        ip if ip.is_loopback() => ip,
        IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    SocketAddr::new(ip, 0)
}

fn at_fault(error: impl std::fmt::Display) -> Fault {
    Fault::unheard("an end of the suite's own", error.to_string())
}

/// Shows its certificate to everybody, and notes what a caller asks for.
#[derive(Debug)]
struct Shown {
    key: Arc<CertifiedKey>,
    seen: Arc<Seen>,
}

impl ResolvesServerCert for Shown {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let offered = hello.alpn().into_iter().flatten().map(<[u8]>::to_vec).collect();
        self.seen.called(hello.server_name(), offered);
        Some(self.key.clone())
    }
}

/// Notes whether a certificate is asked for; has none.
#[derive(Debug)]
struct Asked(Arc<Seen>);

impl ResolvesClientCert for Asked {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        self.0.asked_for_certificate();
        None
    }

    fn has_certs(&self) -> bool {
        true
    }
}

/// Keeps sessions, and notes whether somebody comes back with a ticket.
#[derive(Debug)]
struct Given {
    kept: Arc<ServerSessionMemoryCache>,
    seen: Arc<Seen>,
}

impl StoresServerSessions for Given {
    fn put(&self, key: Vec<u8>, value: Vec<u8>) -> bool {
        self.kept.put(key, value)
    }

    fn get(&self, key: &[u8]) -> Option<Vec<u8>> {
        self.seen.resumed();
        self.kept.get(key)
    }

    fn take(&self, key: &[u8]) -> Option<Vec<u8>> {
        self.seen.resumed();
        self.kept.take(key)
    }

    fn can_cache(&self) -> bool {
        true
    }
}

/// Takes any certificate whose key signed the handshake.
#[derive(Debug)]
struct Anyone;

impl ServerCertVerifier for Anyone {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Err(rustls::Error::General("Segue speaks TLS 1.3 only".into()))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = default_provider().signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, cert, dss, &algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        default_provider().signature_verification_algorithms.supported_schemes()
    }
}

/// Room for the longest bulk stream that is left unread for a while.
const WINDOW: u32 = 1 << 20;
/// Where the suite's own ends are.
const LOOPBACK: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);
