//! Clients that nobody wants: slow ones and hostile ones.
//!
//! A slow client connects, says its HELLO a byte a second, and connects anew when it is closed. A hostile one connects
//! once a second: every other time it says nothing but noise, and else it authenticates, puts [`FLOOD`] envelopes of
//! [`ENVELOPE`] bytes into boxes that it makes up, as fast as the stream takes them, and ends with noise.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use quinn::{Connection, Endpoint as Socket, RecvStream, SendStream};
use segue_proto::wire::codec::Blob;
use segue_proto::wire::{BoxId, Exts, Message, Put, sign_message};
use segue_proto::{Config, Continuity, Endpoint, Event, Instant, LinkId, Lsn, Role};
use segue_quic::bare::{self, Windows};
use segue_quic::{SigningKey, device_id};
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval};

pub(crate) struct Others {
    tasks: JoinSet<()>,
    did: Arc<Did>,
}

/// What they did, all together.
#[derive(Default)]
struct Did {
    slow: AtomicU64,
    noise: AtomicU64,
    floods: AtomicU64,
}

impl Others {
    /// So many of each kind; returns once each slow one is connected.
    pub(crate) async fn start(addr: SocketAddr, count: usize) -> Others {
        let socket = bare::endpoint(None, Windows::NODE).expect("a socket");
        let (mut tasks, did) = (JoinSet::new(), Arc::new(Did::default()));
        for number in 0..count {
            let first = dial(&socket, addr).await;
            tasks.spawn(slow(first, socket.clone(), addr, Arc::clone(&did)));
            tasks.spawn(hostile(socket.clone(), addr, number, Arc::clone(&did)));
        }
        Others { tasks, did }
    }

    /// Ends them; what they did.
    pub(crate) async fn stop(mut self) -> String {
        self.tasks.shutdown().await;
        let of = |count: &AtomicU64| count.load(Ordering::Relaxed);
        let Did { slow, noise, floods } = &*self.did;
        format!("beside {} slow bytes, {} links of noise, {} floods", of(slow), of(noise), of(floods))
    }
}

/// A connection and its control stream. None if it isn't taken.
async fn dial(socket: &Socket, addr: SocketAddr) -> Option<(Connection, SendStream, RecvStream)> {
    let connection = bare::connect(socket, addr).ok()?.await.ok()?;
    let (send, recv) = connection.open_bi().await.ok()?;
    Some((connection, send, recv))
}

async fn slow(first: Option<(Connection, SendStream, RecvStream)>, socket: Socket, addr: SocketAddr, did: Arc<Did>) {
    let (mut link, mut second) = (first, interval(Duration::from_secs(1)));
    second.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        // A frame of the longest kind, so that it isn't complete for long.
        for byte in [0x02, 0xff, 0xff, 0x03].into_iter().chain(std::iter::repeat(0)) {
            second.tick().await;
            let Some((_, send, _)) = &mut link else { break };
            if send.write_all(&[byte]).await.is_err() {
                break;
            }
            did.slow.fetch_add(1, Ordering::Relaxed);
        }
        link = dial(&socket, addr).await;
    }
}

async fn hostile(socket: Socket, addr: SocketAddr, number: usize, did: Arc<Did>) {
    let mut second = interval(Duration::from_secs(1));
    second.set_missed_tick_behavior(MissedTickBehavior::Delay);
    for time in number.. {
        second.tick().await;
        let Some((connection, mut send, mut recv)) = dial(&socket, addr).await else { continue };
        if time % 2 == 0 {
            did.noise.fetch_add(1, Ordering::Relaxed);
        } else if authenticate(&connection, &mut send, &mut recv, number).await.is_some() {
            did.floods.fetch_add(1, Ordering::Relaxed);
            // What it is answered is read, else the stream would stand still.
            let reader = tokio::spawn(async move { while let Ok(Some(_)) = recv.read_chunk(65_536, false).await {} });
            let mut sent = Ok(());
            for req in 0..FLOOD {
                let envelope = Blob::new(vec![number as u8; ENVELOPE]).unwrap_or_default();
                let to = BoxId::new([req as u8; 32]);
                let put = Message::Put(Put { req, to, envelope, ext: Exts::empty() });
                sent = sent.and(send.write_all(&put.to_frame()).await);
            }
            reader.abort();
        }
        let _ = send.write_all(&[0xa5; 4_096]).await;
        let _ = tokio::time::timeout(Duration::from_secs(1), connection.closed()).await;
    }
}

/// HELLO and AUTH, by the core.
async fn authenticate(
    connection: &Connection,
    send: &mut SendStream,
    recv: &mut RecvStream,
    number: usize,
) -> Option<()> {
    let mut secret = [66; 32];
    secret[..8].copy_from_slice(&number.to_be_bytes());
    let key = SigningKey::from_bytes(&secret);
    let config = Config { accept_unknown: true, ..Config::new(device_id(&key)) };
    let mut core = Endpoint::open(config, [], Lsn::default(), Continuity::Proven, secret, Instant::ZERO).ok()?;
    let mut binding = [0; 32];
    connection.export_keying_material(&mut binding, b"EXPORTER-segue-1", b"").ok()?;
    core.handle_link_up(Instant::ZERO, LINK, Role::Initiator, binding, None);
    loop {
        while let Some(request) = core.poll_sign() {
            core.handle_signed(Instant::ZERO, request.id, sign_message(&request.message, &key));
        }
        let mut out = Vec::new();
        core.poll_transmit(LINK, &mut out);
        send.write_all(&out).await.ok()?;
        while let Some(event) = core.poll_event() {
            match event {
                Event::LinkReady { .. } => return Some(()),
                Event::LinkClosed { .. } => return None,
                _ => {}
            }
        }
        let read = recv.read_chunk(65_536, true).await.ok()??;
        core.handle_bytes(Instant::ZERO, LINK, &read.bytes);
    }
}

const LINK: LinkId = LinkId(0);
/// Envelopes of a flood: more than a device may put in a burst.
const FLOOD: u32 = 400;
const ENVELOPE: usize = 1_024;
