//! TLS as a pipe: it encrypts, and its exporter binds the proof of identity, which is in band.
//!
//! Certificates are drawn at every start and nobody looks into them: who the peer is, AUTH proves over the exporter
//! (LINK-AUTH-2), in the same way on every transport. Tickets and early data are off, because a resumed or replayed
//! connection would be one whose peer proved nothing.
//!
//! What the chapter asks for: TRANSPORT-ALPN-1, TRANSPORT-CERT-1, TRANSPORT-TICKET-1, TRANSPORT-EARLY-1, TRANSPORT-BIND-1.

use std::sync::Arc;

use quinn::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use rustls::client::Resumption;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms, ring, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName, UnixTime};
use rustls::server::{NoServerSessionStorage, ServerSessionMemoryCache};
use rustls::{DigitallySignedStruct, KeyLog, SignatureScheme};
use segue_proto::{Clause, Rules};

use crate::error::OpenError;

/// The application protocol.
pub(crate) const ALPN: &[u8] = b"segue/1";

/// The name that every client sends; reserved, so that it names nobody.
pub(crate) const SERVER_NAME: &str = "segue.invalid";

/// The exporter's label; its context is empty.
const EXPORTER_LABEL: &[u8] = b"EXPORTER-segue-1";

/// The server's side, with a certificate of its own.
pub(crate) fn server(rules: Rules, key_log: &Arc<dyn KeyLog>) -> Result<QuicServerConfig, OpenError> {
    let certified = rcgen::generate_simple_self_signed([SERVER_NAME.to_owned()]).map_err(OpenError::tls)?;
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(certified.signing_key.serialize_der()));
    let mut config = rustls::ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(OpenError::tls)?
        .with_no_client_auth()
        .with_single_cert(vec![certified.cert.der().clone()], key)
        .map_err(OpenError::tls)?;
    config.alpn_protocols = vec![ALPN.to_vec()];
    config.send_tls13_tickets = 0;
    config.max_early_data_size = 0;
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.key_log = key_log.clone();
    if !rules.keeps(Clause::TRANSPORT_ALPN_1) {
        config.alpn_protocols.push(b"h3".to_vec());
    }
    if !(rules.keeps(Clause::TRANSPORT_TICKET_1) && rules.keeps(Clause::TRANSPORT_EARLY_1)) {
        config.send_tls13_tickets = 1;
        config.session_storage = ServerSessionMemoryCache::new(8);
    }
    if !rules.keeps(Clause::TRANSPORT_EARLY_1) {
        config.max_early_data_size = u32::MAX;
    }
    QuicServerConfig::try_from(config).map_err(OpenError::tls)
}

/// The client's side.
pub(crate) fn client(rules: Rules, key_log: &Arc<dyn KeyLog>) -> Result<QuicClientConfig, OpenError> {
    let provider = ring::default_provider();
    let verifier = Arc::new(AnyCertificate(provider.signature_verification_algorithms, rules));
    let mut config =
        client_base(provider)?.dangerous().with_custom_certificate_verifier(verifier).with_no_client_auth();
    config.alpn_protocols = vec![ALPN.to_vec()];
    config.resumption = Resumption::disabled();
    config.enable_early_data = false;
    config.key_log = key_log.clone();
    QuicClientConfig::try_from(config).map_err(OpenError::tls)
}

fn client_base(
    provider: CryptoProvider,
) -> Result<rustls::ConfigBuilder<rustls::ClientConfig, rustls::WantsVerifier>, OpenError> {
    rustls::ClientConfig::builder_with_provider(Arc::new(provider))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(OpenError::tls)
}

/// What AUTH signs so that it holds on this connection only; none if the connection has no keys any more.
pub(crate) fn binding(rules: Rules, connection: &quinn::Connection) -> Option<[u8; 32]> {
    let label = if rules.keeps(Clause::TRANSPORT_BIND_1) { EXPORTER_LABEL } else { ALPN };
    let mut out = [0; 32];
    connection.export_keying_material(&mut out, label, b"").ok()?;
    Some(out)
}

/// Takes any certificate, but makes its holder sign the handshake.
#[derive(Debug)]
struct AnyCertificate(WebPkiSupportedAlgorithms, Rules);

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Err(rustls::Error::General("Segue speaks TLS 1.3 only".into()))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        if !self.1.keeps(Clause::TRANSPORT_CERT_1) {
            return Ok(HandshakeSignatureValid::assertion());
        }
        verify_tls13_signature(message, cert, dss, &self.0)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_schemes()
    }
}
