//! A peer made of bare quinn and bare TLS, that does what a node wouldn't.
//!
//! It negotiates as the chapter transport asks: TRANSPORT-ALPN-1, TRANSPORT-BIND-1, TRANSPORT-STREAM-1.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use quinn::crypto::rustls::QuicClientConfig;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{ClientSessionStore, Resumption, Tls12ClientSessionValue, Tls13ClientSessionValue};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{DigitallySignedStruct, NamedGroup, SignatureScheme};
use segue_proto::data::{Entry, PartKind, named_part};
use segue_proto::transfer::ListBuilder;
use segue_proto::wire::{DeviceId, Hash, SessionId, sign_message};
use segue_proto::{Config, Continuity, Endpoint, Event, Instant, LinkId, Lsn, Role};
use segue_quic::{SigningKey, device_id};

/// Counts the tickets that a server sends.
#[derive(Debug, Default)]
pub(crate) struct Tickets(AtomicUsize);

impl Tickets {
    pub(crate) fn seen(&self) -> usize {
        self.0.load(Ordering::SeqCst)
    }
}

impl ClientSessionStore for Tickets {
    fn set_kx_hint(&self, _: ServerName<'static>, _: NamedGroup) {}
    fn kx_hint(&self, _: &ServerName<'_>) -> Option<NamedGroup> {
        None
    }
    fn set_tls12_session(&self, _: ServerName<'static>, _: Tls12ClientSessionValue) {}
    fn tls12_session(&self, _: &ServerName<'_>) -> Option<Tls12ClientSessionValue> {
        None
    }
    fn remove_tls12_session(&self, _: &ServerName<'static>) {}
    fn insert_tls13_ticket(&self, _: ServerName<'static>, _: Tls13ClientSessionValue) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
    fn take_tls13_ticket(&self, _: &ServerName<'static>) -> Option<Tls13ClientSessionValue> {
        None
    }
}

/// An endpoint that dials Segue nodes, and takes every ticket and all the early data that it can get.
pub(crate) fn client(tickets: Arc<Tickets>) -> quinn::Endpoint {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = rustls::ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Anyone))
        .with_no_client_auth();
    config.alpn_protocols = vec![b"segue/1".to_vec()];
    config.enable_early_data = true;
    config.resumption = Resumption::store(tickets);
    let config = quinn::ClientConfig::new(Arc::new(QuicClientConfig::try_from(config).unwrap()));
    let mut endpoint = quinn::Endpoint::client(([127, 0, 0, 1], 0).into()).unwrap();
    endpoint.set_default_client_config(config);
    endpoint
}

/// A link that goes through HELLO and AUTH by the core, and then does as its test likes.
pub(crate) struct RawLink {
    pub(crate) connection: quinn::Connection,
    pub(crate) send: quinn::SendStream,
    recv: quinn::RecvStream,
    core: Endpoint,
    key: SigningKey,
}

const LINK: LinkId = LinkId(0);

impl RawLink {
    /// A connection with its control stream, on which nothing was said.
    pub(crate) async fn dial(client: &quinn::Endpoint, addr: SocketAddr, key: SigningKey) -> RawLink {
        let connection = client.connect(addr, "segue.invalid").unwrap().await.unwrap();
        let (send, recv) = connection.open_bi().await.unwrap();
        let config = Config { accept_unknown: true, ..Config::new(device_id(&key)) };
        let core = Endpoint::open(config, [], Lsn::default(), Continuity::Proven, [7; 32], Instant::ZERO).unwrap();
        RawLink { connection, send, recv, core, key }
    }

    /// Goes on until the node is authenticated, and so are we.
    pub(crate) async fn authenticate(&mut self) {
        let mut binding = [0; 32];
        self.connection.export_keying_material(&mut binding, b"EXPORTER-segue-1", b"").unwrap();
        self.core.handle_link_up(Instant::ZERO, LINK, Role::Initiator, binding, None);
        loop {
            while let Some(request) = self.core.poll_sign() {
                let sig = sign_message(&request.message, &self.key);
                self.core.handle_signed(Instant::ZERO, request.id, sig);
            }
            let mut out = Vec::new();
            self.core.poll_transmit(LINK, &mut out);
            self.send.write_all(&out).await.unwrap();
            while let Some(event) = self.core.poll_event() {
                match event {
                    Event::LinkReady { .. } => return,
                    Event::LinkClosed { code, .. } => panic!("refused: {code}"),
                    _ => {}
                }
            }
            let read = self.recv.read_chunk(65_536, true).await.unwrap().expect("the node closed the stream");
            self.core.handle_bytes(Instant::ZERO, LINK, &read.bytes);
        }
    }

    /// Takes part in a session of the node and asks for it, until it owns it, and stops before it acknowledges the GRANT.
    /// The session has no content that would need bulk streams.
    pub(crate) async fn own(&mut self, session: SessionId, from: DeviceId) -> Hash {
        self.core.follow(Instant::ZERO, session, from).unwrap();
        self.exchange(|event| matches!(event, Event::Synced { .. }).then_some(())).await;
        self.core.request_handoff(Instant::ZERO, session, from, 60_000_000).unwrap();
        self.exchange(|event| match event {
            Event::Activated { record, .. } => Some(record),
            _ => None,
        })
        .await
    }

    /// Another connection with the node, by the same device; what it holds is durable at last.
    pub(crate) async fn again(mut self, client: &quinn::Endpoint, addr: SocketAddr) -> RawLink {
        self.core.handle_link_down(Instant::ZERO, LINK);
        while self.core.poll_event().is_some() {}
        let connection = client.connect(addr, "segue.invalid").unwrap().await.unwrap();
        let (send, recv) = connection.open_bi().await.unwrap();
        let mut link = RawLink { connection, send, recv, ..self };
        link.authenticate().await;
        link
    }

    /// Names these devices to the node, which hosts a mailbox, and waits for the answer.
    pub(crate) async fn discover(&mut self, service: DeviceId, devices: &[DeviceId]) {
        self.core.discover(Instant::ZERO, service, devices).unwrap();
        self.exchange(|event| matches!(event, Event::Found { .. }).then_some(())).await
    }

    /// Makes durable what waits for it, and talks for as long as the node does.
    pub(crate) async fn talk(&mut self) {
        self.exchange(|_| None::<()>).await
    }

    /// Makes a session with the node that has one file, which is long. The session, and the file's chunk list.
    pub(crate) async fn share(&mut self, with: DeviceId, path: &str, content: &[u8]) -> (SessionId, Vec<u8>) {
        self.core.create_session(Instant::ZERO, "shared", &[with]).unwrap();
        let created = |event| match event {
            Event::Created { session } => Some(session),
            _ => None,
        };
        let session = self.exchange(created).await;
        let mut list = ListBuilder::new(content.len() as u64);
        list.push(content);
        let (blob, list) = list.finish();
        let (list, bytes) = list.expect("a chunk list");
        let entry = Entry::file(path, false, content.len() as u64, blob, Some(list)).unwrap();
        let part = named_part(&session, PartKind::Blob, path);
        let (kind, body) = (PartKind::Blob.number(), entry.to_bytes());
        self.core.write(Instant::ZERO, 1, session, part, kind, body).unwrap();
        (session, bytes)
    }

    /// Talks until the node asks for a blob, and begins to answer: the stream, which brings these bytes of it.
    pub(crate) async fn begin_answer(&mut self, bytes: &[u8]) -> quinn::SendStream {
        let serve = self.until(|core| core.poll_serve()).await;
        let mut stream = self.connection.open_uni().await.unwrap();
        stream.write_all(&serve.header(&serve.ranges[0])).await.unwrap();
        stream.write_all(bytes).await.unwrap();
        stream
    }

    /// Goes on until an event is picked.
    async fn exchange<T>(&mut self, mut pick: impl FnMut(Event) -> Option<T>) -> T {
        self.until(|core| std::iter::from_fn(|| core.poll_event()).find_map(&mut pick)).await
    }

    /// Goes on until the core says what is looked for.
    async fn until<T>(&mut self, mut found: impl FnMut(&mut Endpoint) -> Option<T>) -> T {
        loop {
            while let Some(request) = self.core.poll_sign() {
                let sig = sign_message(&request.message, &self.key);
                self.core.handle_signed(Instant::ZERO, request.id, sig);
            }
            if let Some(found) = found(&mut self.core) {
                return found;
            }
            while self.core.poll_journal().is_some() {}
            self.core.handle_durable(Instant::ZERO, self.core.last_lsn());
            while let Some(search) = self.core.poll_search() {
                self.core.handle_searched(Instant::ZERO, search.session, search.plan.blob());
            }
            let mut out = Vec::new();
            self.core.poll_transmit(LINK, &mut out);
            self.send.write_all(&out).await.unwrap();
            if !out.is_empty() {
                continue;
            }
            // Some events wait for what was made durable just now.
            if let Some(found) = found(&mut self.core) {
                return found;
            }
            let read = self.recv.read_chunk(65_536, true).await.unwrap().expect("the node closed the stream");
            self.core.handle_bytes(Instant::ZERO, LINK, &read.bytes);
        }
    }

    /// Waits for the node to close the link; the code that it gives.
    pub(crate) async fn closed(&self) -> u64 {
        match self.connection.closed().await {
            quinn::ConnectionError::ApplicationClosed(close) => close.error_code.into_inner(),
            other => panic!("closed without a code: {other}"),
        }
    }
}

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
        Ok(HandshakeSignatureValid::assertion())
    }
    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }
    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ECDSA_NISTP256_SHA256, SignatureScheme::ED25519]
    }
}
