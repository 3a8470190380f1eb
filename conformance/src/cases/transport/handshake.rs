//! Protocols, certificates, tickets, early data, and the channel binding.

use segue_proto::Code;

use super::Sign::{Close as Closed, Handshake};
use super::{BOTH, Case, DIALLED, DIALS, linked, refused, works};
use crate::lab::{Done, ensure, opposite};
use crate::loopback::{Answering, Certificate, Close, Dialling, LABEL, Link, Loopback, is_reserved};
use crate::peer::Peer;
use crate::verdict::Fault;

/// A version that is reserved, QUIC version 2 (RFC 9369), and a draft of version 1.
const OTHER_VERSIONS: [u32; 3] = [0x1a2a_3a4a, 0x6b33_43cf, 0xff00_001d];
/// TLS' alert no_application_protocol, as a code of QUIC.
const NO_PROTOCOL: u16 = 0x178;
/// TLS' alert decrypt_error: a signature doesn't verify.
const DECRYPT_ERROR: u16 = 0x133;
const AUTH_FAILED: super::Sign = Closed(Code::AUTH_FAILED);

pub(super) const CASES: &[Case] = &[
    works("transport/version/another", &["TRANSPORT-VERSION-1"], DIALLED, |lo| {
        linked(lo)?;
        let mut answers = false;
        for version in OTHER_VERSIONS {
            let listed = match lo.names(version) {
                // It answers others, and this one never: it isn't slow, it speaks it.
                Err(fault) if fault.unheard && answers => return Err(Fault::fail(fault.expected, fault.came)),
                listed => listed?,
            };
            answers = true;
            let others = listed.iter().any(|it| *it != 1 && !is_reserved(*it));
            let expected = "Version Negotiation with version 1 in it and no other";
            ensure(listed.contains(&1) && !others, expected, format!("{listed:x?}"))?;
        }
        Ok(())
    })
    .outside(),
    works("transport/version/offered", &["TRANSPORT-VERSION-1"], DIALS, |lo| {
        let peer = lo.trusted()?;
        let offered = lo.offers_version(peer.id)?;
        ensure(offered == Some(1), "a first packet of version 1", format!("{offered:x?}"))
    }),
    refused("transport/alpn/another", &["TRANSPORT-ALPN-1"], DIALLED, Handshake(NO_PROTOCOL), linked, |lo, code| {
        offers(lo, vec!["h3"], code)
    })
    .outside(),
    refused(
        "transport/alpn/of-a-generation",
        &["TRANSPORT-ALPN-1"],
        DIALLED,
        Handshake(NO_PROTOCOL),
        linked,
        |lo, code| offers(lo, vec!["segue/1.4", "segue/2", "segue"], code),
    )
    .outside(),
    refused("transport/alpn/none", &["TRANSPORT-ALPN-1"], DIALLED, Handshake(NO_PROTOCOL), linked, |lo, code| {
        offers(lo, Vec::new(), code)
    })
    .outside(),
    works("transport/alpn/offered", &["TRANSPORT-ALPN-1"], DIALS, |lo| {
        let (_, link) = lo.linked()?;
        let offered = link.seen.offered();
        ensure(offered == [b"segue/1".to_vec()], "segue/1 offered, and nothing else", format!("{offered:?}"))
    }),
    works("transport/alpn/among-others", &["TRANSPORT-ALPN-1"], DIALLED, |lo| {
        let peer = lo.trusted()?;
        let mut link = lo.dial(&Dialling { alpn: vec!["h3", "segue/1"], ..Dialling::default() })?;
        link.greet(&peer)
    })
    .outside(),
    works("transport/cert/expired", &["TRANSPORT-CERT-1"], DIALS, |lo| shows(lo, Certificate::Expired)),
    works("transport/cert/not-valid-yet", &["TRANSPORT-CERT-1"], DIALS, |lo| shows(lo, Certificate::NotYet)),
    works("transport/cert/of-another-name", &["TRANSPORT-CERT-1"], DIALS, |lo| shows(lo, Certificate::OtherName)),
    works("transport/cert/of-an-authority", &["TRANSPORT-CERT-1"], DIALS, |lo| shows(lo, Certificate::Authority)),
    works("transport/cert/with-an-ed25519-key", &["TRANSPORT-CERT-1"], DIALS, |lo| shows(lo, Certificate::Ed25519)),
    works("transport/cert/with-a-p384-key", &["TRANSPORT-CERT-1"], DIALS, |lo| shows(lo, Certificate::P384)),
    refused(
        "transport/cert/of-another-key",
        &["TRANSPORT-CERT-1"],
        DIALS,
        Handshake(DECRYPT_ERROR),
        linked,
        |lo, code| {
            let peer = lo.trusted()?;
            let listener = lo.listener(&Answering { certificate: Certificate::Stolen, ..Answering::default() })?;
            let tried = lo.try_called(&listener, peer.id)?;
            fails(tried, code)
        },
    ),
    works("transport/cert/none-is-asked-for", &["TRANSPORT-CERT-1"], DIALLED, |lo| {
        let (_, link) = lo.linked()?;
        ensure(!link.seen.was_asked(), "no request for a certificate", "one")
    })
    .outside(),
    works("transport/cert/another-at-each-start", &["TRANSPORT-CERT-1"], DIALLED, |lo| {
        let peer = lo.trusted()?;
        let first = certificate(lo, &peer)?;
        let again = certificate(lo, &peer)?;
        ensure(first == again && first.is_some(), "one certificate as long as it runs", "two")?;
        lo.boot()?;
        let later = certificate(lo, &peer)?;
        ensure(first != later, "another certificate after a restart", "the same")
    })
    .should(),
    works("transport/cert/without-identity", &["TRANSPORT-CERT-1"], DIALLED, |lo| {
        let peer = lo.trusted()?;
        let shown = certificate(lo, &peer)?.unwrap_or_default();
        let id = lo.id();
        let bytes = id.as_bytes().as_slice();
        let text = id.to_string();
        let named = [bytes, text.as_bytes()].into_iter().any(|name| shown.windows(name.len()).any(|part| part == name));
        ensure(!named && !shown.is_empty(), "a certificate without the device's key", "one with it")
    })
    .outside(),
    works("transport/cert/server-name", &["TRANSPORT-CERT-1"], DIALS, |lo| {
        let (_, link) = lo.linked()?;
        let name = link.seen.name();
        ensure(name.as_deref() == Some("segue.invalid"), "the server name segue.invalid", format!("{name:?}"))
    }),
    works("transport/ticket/none-is-given", &["TRANSPORT-TICKET-1"], DIALLED, |lo| {
        let peer = lo.trusted()?;
        let how = Dialling::default();
        for _ in 0..2 {
            lo.dial(&how)?.greet(&peer)?;
        }
        ensure(how.tickets.seen() == 0, "no ticket", how.tickets.seen())
    })
    .outside(),
    works("transport/ticket/not-used", &["TRANSPORT-TICKET-1"], DIALS, |lo| {
        let link = comes_back(lo)?;
        ensure(!link.seen.was_resumed(), "a full handshake", "a session that is resumed")
    }),
    works("transport/early/none-is-sent", &["TRANSPORT-EARLY-1"], DIALS, |lo| {
        let link = comes_back(lo)?;
        ensure(!link.early, "a control stream after the handshake", "one in early data")
    }),
    works("transport/early/none-is-accepted", &["TRANSPORT-EARLY-1"], DIALLED, |lo| {
        let peer = lo.trusted()?;
        let how = Dialling::default();
        lo.dial(&how)?.greet(&peer)?;
        let accepted = lo.dial_early(&how)?;
        ensure(!accepted, "early data that isn't accepted", "it is")?;
        lo.dial(&Dialling::default())?.greet(&peer)
    })
    .outside(),
    works("transport/bind/exporter", &["TRANSPORT-BIND-1", "LINK-AUTH-2"], BOTH, linked).outside(),
    refused("transport/bind/another-label", &["TRANSPORT-BIND-1"], BOTH, AUTH_FAILED, linked, |lo, code| {
        binds(lo, code, |link| link.exported("EXPORTER-segue-2", b""))
    })
    .outside(),
    refused("transport/bind/with-a-context", &["TRANSPORT-BIND-1"], BOTH, AUTH_FAILED, linked, |lo, code| {
        binds(lo, code, |link| link.exported(LABEL, b"segue"))
    })
    .outside(),
    refused("transport/bind/of-zeros", &["TRANSPORT-BIND-1"], BOTH, AUTH_FAILED, linked, |lo, code| {
        binds(lo, code, |_| Ok([0; 32]))
    })
    .outside(),
    refused(
        "transport/bind/of-another-connection",
        &["TRANSPORT-BIND-1", "LINK-AUTH-2"],
        BOTH,
        AUTH_FAILED,
        linked,
        |lo, code| {
            let peer = lo.trusted()?;
            let other = lo.connect(&peer)?;
            let mut link = lo.connect(&peer)?;
            let hello = peer.hello();
            link.send(hello.clone());
            link.send(peer.auth(opposite(link.role), &hello, &other.binding));
            link.ends_with(code)
        },
    )
    .outside(),
    refused("transport/bind/replayed", &["TRANSPORT-BIND-1", "LINK-AUTH-2"], BOTH, AUTH_FAILED, linked, |lo, code| {
        let peer = lo.trusted()?;
        let mut first = lo.connect(&peer)?;
        first.greet(&peer)?;
        let (hello, auth) = (peer.hello(), first.auth(&peer, &peer.hello()));
        first.close(Code::LINK_SHUTDOWN);
        let mut again = lo.connect(&peer)?;
        again.send(hello);
        again.send(auth);
        again.ends_with(code)
    })
    .outside(),
];

fn offers(lo: &mut Loopback, alpn: Vec<&'static str>, code: Code) -> Done {
    lo.trusted()?;
    let tried = lo.try_dial(&Dialling { alpn, ..Dialling::default() })?;
    fails(tried, code)
}

/// The handshake failed at the subject, with this code.
fn fails(tried: Result<Link, Close>, code: Code) -> Done {
    let expected = format!("a handshake that fails with {:#05x}", code.number());
    match tried {
        Ok(_) => Err(Fault::fail(expected, "a connection")),
        Err(Close::Transport(number)) if number == u64::from(code.number()) => Ok(()),
        Err(close) => Err(Fault::fail(expected, format!("{close:?}"))),
    }
}

fn shows(lo: &mut Loopback, certificate: Certificate) -> Done {
    let peer = lo.trusted()?;
    let listener = lo.listener(&Answering { certificate, ..Answering::default() })?;
    lo.called(&listener, peer.id)?.greet(&peer)
}

/// The certificate that the subject shows on a link that comes to be.
fn certificate(lo: &mut Loopback, peer: &Peer) -> Done<Option<Vec<u8>>> {
    let mut link = lo.dial(&Dialling::default())?;
    link.greet(peer)?;
    let identity = link.connection.peer_identity();
    let chain = identity.and_then(|it| it.downcast::<Vec<rustls::pki_types::CertificateDer<'static>>>().ok());
    Ok(chain.and_then(|chain| chain.first().map(|certificate| certificate.to_vec())))
}

/// The subject dials somebody who gives tickets and takes early data, and dials again.
fn comes_back(lo: &mut Loopback) -> Done<Link> {
    let peer = lo.trusted()?;
    let listener = lo.listener(&Answering { resumes: true, ..Answering::default() })?;
    let mut first = lo.called(&listener, peer.id)?;
    first.greet(&peer)?;
    first.close(Code::LINK_SHUTDOWN);
    let mut second = lo.called(&listener, peer.id)?;
    second.greet(&peer)?;
    Ok(second)
}

/// AUTH over what isn't the channel binding.
fn binds(lo: &mut Loopback, code: Code, binding: fn(&Link) -> Done<[u8; 32]>) -> Done {
    let peer = lo.trusted()?;
    let mut link = lo.connect(&peer)?;
    let (hello, binding) = (peer.hello(), binding(&link)?);
    link.send(hello.clone());
    link.send(peer.auth(opposite(link.role), &hello, &binding));
    link.ends_with(code)
}
