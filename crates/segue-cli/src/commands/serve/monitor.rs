//! Whether a service is well, and what it does, over HTTP on a port of this computer alone.

use std::fmt::Write;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;

use segue_quic::Node;
use segue_service::Counts;
use tiny_http::{Header, Request, Response, Server};
use tokio::runtime::Handle;

use crate::failure::Failure;

/// What the service did since it started, as its thread tells it.
#[derive(Debug, Default)]
pub(super) struct Did {
    put: AtomicU64,
    refused: AtomicU64,
    given: AtomicU64,
    locked_out: AtomicU64,
    sets: AtomicU64,
    signed: AtomicU64,
    woken: AtomicU64,
    not_woken: AtomicU64,
}

impl Did {
    /// After each batch: the counts of its service, how often the directory changed a session, the records signed now.
    pub(super) fn tell(&self, counts: Counts, sets: u64, signed: usize) {
        self.put.store(counts.put, Ordering::Relaxed);
        self.refused.store(counts.refused, Ordering::Relaxed);
        self.given.store(counts.given, Ordering::Relaxed);
        self.locked_out.store(counts.locked_out, Ordering::Relaxed);
        self.sets.store(sets, Ordering::Relaxed);
        self.signed.fetch_add(signed as u64, Ordering::Relaxed);
    }

    /// A device is to be woken.
    pub(super) fn wakes(&self) {
        self.woken.fetch_add(1, Ordering::Relaxed);
    }

    /// It couldn't be.
    pub(super) fn fails_to_wake(&self) {
        self.not_woken.fetch_add(1, Ordering::Relaxed);
    }
}

/// The port, and the thread that answers there until this is dropped.
pub(super) struct Monitor {
    server: Arc<Server>,
    addr: SocketAddr,
    thread: Option<JoinHandle<()>>,
}

impl Monitor {
    /// Answers at this address from now on.
    pub(super) fn open(addr: SocketAddr, node: &Node, did: Arc<Did>) -> Result<Monitor, Failure> {
        let server = Server::http(addr).map_err(|error| {
            Failure::failed(format!("can't tell metrics at {addr}: {error}; choose another --metrics"))
        })?;
        let (server, node, runtime) = (Arc::new(server), node.clone(), Handle::current());
        let addr = server.server_addr().to_ip().unwrap_or(addr);
        let asked = Arc::clone(&server);
        let thread = std::thread::spawn(move || {
            for request in asked.incoming_requests() {
                answer(request, &node, &runtime, &did);
            }
        });
        Ok(Monitor { server, addr, thread: Some(thread) })
    }

    /// Where it answers.
    pub(super) fn addr(&self) -> SocketAddr {
        self.addr
    }
}

impl Drop for Monitor {
    fn drop(&mut self) {
        self.server.unblock();
        self.thread.take().map(JoinHandle::join);
    }
}

fn answer(request: Request, node: &Node, runtime: &Handle, did: &Did) {
    let seen = runtime.block_on(async { Some((node.stats().await.ok()?, node.peers().await.ok()?.len() as u64)) });
    let (code, text) = match (request.url(), seen) {
        ("/health", Some(_)) => (200, "well\n".to_owned()),
        ("/health" | "/metrics", None) => (503, "the node has stopped\n".to_owned()),
        ("/metrics", Some((stats, linked))) => (200, metrics(&stats, linked, did)),
        _ => (404, "ask for /health or /metrics\n".to_owned()),
    };
    let kind = Header::from_bytes("Content-Type", "text/plain; version=0.0.4; charset=utf-8");
    let response = kind.into_iter().fold(Response::from_string(text).with_status_code(code), Response::with_header);
    // Who asked may be gone.
    let _ = request.respond(response);
}

/// Prometheus's text format.
fn metrics(stats: &segue_quic::Stats, linked: u64, did: &Did) -> String {
    let of = |count: &AtomicU64| count.load(Ordering::Relaxed);
    let rows = [
        ("segue_devices_linked", "gauge", "Devices that have a link now.", linked),
        ("segue_links_total", "counter", "Links that were authenticated.", stats.links),
        ("segue_links_closed_total", "counter", "Links that ended.", stats.links_closed),
        ("segue_envelopes_put_total", "counter", "Envelopes that were put.", of(&did.put)),
        ("segue_envelopes_refused_total", "counter", "Envelopes refused: no room, or too fast.", of(&did.refused)),
        ("segue_envelopes_given_total", "counter", "Envelopes that were given out.", of(&did.given)),
        ("segue_requests_locked_out_total", "counter", "Requests of devices under no account.", of(&did.locked_out)),
        ("segue_session_changes", "gauge", "Changes of sessions in custody, of all time.", of(&did.sets)),
        ("segue_records_signed_total", "counter", "Records signed for owners that delegated.", of(&did.signed)),
        (
            "segue_relays_open",
            "gauge",
            "Streams of packets that are passed on now.",
            stats.relays - stats.relays_closed,
        ),
        ("segue_relayed_bytes_total", "counter", "Bytes of packets that were passed on.", stats.relayed),
        ("segue_relay_packets_dropped_total", "counter", "Packets that a device didn't take.", stats.relay_dropped),
        ("segue_wakes_total", "counter", "Devices that were to be woken.", of(&did.woken)),
        ("segue_wakes_failed_total", "counter", "Those for which --wake-with failed.", of(&did.not_woken)),
        ("segue_udp_received_bytes_total", "counter", "UDP payload received by links that ended.", stats.udp_rx),
        ("segue_udp_sent_bytes_total", "counter", "UDP payload sent by links that ended.", stats.udp_tx),
        ("segue_journal_syncs_total", "counter", "Syncs of the node's journal.", stats.syncs),
    ];
    let mut text = String::new();
    for (name, kind, help, value) in rows {
        // Writing into a string doesn't fail.
        let _ = write!(text, "# HELP {name} {help}\n# TYPE {name} {kind}\n{name} {value}\n");
    }
    text
}
