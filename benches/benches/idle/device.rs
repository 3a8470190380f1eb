//! A device that links, and then does nothing but keep its link alive.

use std::net::SocketAddr;
use std::time::{Duration, Instant as Clock};

use quinn::{Connection, Endpoint as Socket, RecvStream, SendStream};
use segue_proto::limits::KEEPALIVE;
use segue_proto::wire::sign_message;
use segue_proto::{Config, Continuity, Endpoint, Event, Instant, LinkId, Lsn, Role};
use segue_quic::bare;
use segue_quic::{SigningKey, device_id};

use crate::{Kind, PING};

pub(crate) struct Device {
    connection: Connection,
}

const LINK: LinkId = LinkId(0);

impl Device {
    /// A connection, a control stream, and what is said on it first.
    pub(crate) async fn open(socket: Socket, addr: SocketAddr, kind: Kind, number: usize) -> Device {
        let connection = bare::connect(&socket, addr).expect("a dial").await.expect("a connection");
        let (mut send, mut recv) = connection.open_bi().await.expect("a stream");
        match kind {
            Kind::Bare => {
                send.write_all(b"hello").await.expect("an open stream");
                recv.read_exact(&mut [0; 5]).await.expect("an open stream");
                tokio::spawn(async move {
                    let mut ping = PING;
                    while send.write_all(&ping).await.is_ok() && recv.read_exact(&mut ping).await.is_ok() {
                        tokio::time::sleep(Duration::from_micros(KEEPALIVE)).await;
                    }
                });
            }
            Kind::Node => {
                let mut talk = Talk::new(&connection, send, recv, number);
                talk.until_ready().await;
                tokio::spawn(async move { while talk.step().await.is_some() {} });
            }
        }
        Device { connection }
    }

    pub(crate) fn is_lost(&self) -> bool {
        self.connection.close_reason().is_some()
    }
}

/// The core of a device, and its control stream.
struct Talk {
    core: Endpoint,
    key: SigningKey,
    send: SendStream,
    recv: RecvStream,
    began: Clock,
    ready: bool,
}

impl Talk {
    fn new(connection: &Connection, send: SendStream, recv: RecvStream, number: usize) -> Talk {
        let mut secret = [1; 32];
        secret[..8].copy_from_slice(&number.to_be_bytes());
        let key = SigningKey::from_bytes(&secret);
        let config = Config { accept_unknown: true, ..Config::new(device_id(&key)) };
        let opened = Endpoint::open(config, [], Lsn::default(), Continuity::Proven, secret, Instant::ZERO);
        let mut core = opened.expect("a new device");
        let mut binding = [0; 32];
        connection.export_keying_material(&mut binding, b"EXPORTER-segue-1", b"").expect("TLS 1.3");
        core.handle_link_up(Instant::ZERO, LINK, Role::Initiator, binding, None);
        Talk { core, key, send, recv, began: Clock::now(), ready: false }
    }

    fn now(&self) -> Instant {
        Instant::from_micros(self.began.elapsed().as_micros() as u64)
    }

    async fn until_ready(&mut self) {
        while !self.ready {
            self.step().await.expect("the node takes the device");
        }
    }

    /// Does what is to be done, and waits for what comes next, but for the link being ready. None once it is over.
    async fn step(&mut self) -> Option<()> {
        while let Some(request) = self.core.poll_sign() {
            let sig = sign_message(&request.message, &self.key);
            self.core.handle_signed(self.now(), request.id, sig);
        }
        while self.core.poll_journal().is_some() {}
        self.core.handle_durable(self.now(), self.core.last_lsn());
        let mut out = Vec::new();
        self.core.poll_transmit(LINK, &mut out);
        if !out.is_empty() {
            self.send.write_all(&out).await.ok()?;
        }
        while let Some(event) = self.core.poll_event() {
            if matches!(event, Event::LinkReady { .. }) {
                self.ready = true;
                return Some(());
            }
        }
        if self.core.poll_close().is_some() {
            return None;
        }
        let wait = self.core.poll_timeout().map_or(u64::MAX >> 20, |at| at.since(self.now()));
        tokio::select! {
            read = self.recv.read_chunk(4_096, true) => {
                let read = read.ok()??;
                self.core.handle_bytes(self.now(), LINK, &read.bytes);
            }
            () = tokio::time::sleep(Duration::from_micros(wait)) => self.core.handle_timeout(self.now()),
        }
        Some(())
    }
}
