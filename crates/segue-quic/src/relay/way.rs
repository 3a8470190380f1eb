//! A way to a device by a service: a stream of packets each way.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use quinn::{Connection, SendStream};
use segue_proto::Code;
use segue_proto::limits::RELAY_BUFFER;
use segue_proto::wire::{DeviceId, Exts, Message, Relay};
use tokio::sync::watch;
use tokio::time::timeout;

use super::pipe::Pipe;
use super::stream::{Packets, how_stopped};
use crate::bulk::Shared;
use crate::driver::Input;
use crate::transport::{self, HANDSHAKE_TIMEOUT};

/// How long a way outlives the last link over it, so that its last packets go out. From: as a link that ends lingers, twice.
const LINGER: Duration = Duration::from_secs(1);

/// A way.
#[derive(Debug)]
pub(crate) struct Way {
    pub(crate) service: DeviceId,
    pub(crate) device: DeviceId,
    /// Stands for the device.
    pub(crate) addr: SocketAddr,
    out: Pipe,
    /// The bytes that came and nobody has taken.
    waiting: AtomicUsize,
    /// The links over it.
    links: watch::Sender<usize>,
    end: watch::Sender<Option<Code>>,
}

impl Way {
    pub(super) fn new(service: DeviceId, device: DeviceId, addr: SocketAddr) -> Way {
        let (links, end) = (watch::Sender::new(0), watch::Sender::new(None));
        Way { service, device, addr, out: Pipe::default(), waiting: AtomicUsize::new(0), links, end }
    }

    /// Sends a packet, unless there is no room for it.
    pub(super) fn send(&self, packet: &[u8]) {
        self.out.push(packet, RELAY_BUFFER);
    }

    /// Whether there is room for a packet that came; it is held from now on.
    pub(super) fn holds(&self, len: usize, most: usize) -> bool {
        let room = |held: usize| Some(held + len).filter(|held| *held <= most);
        self.waiting.fetch_update(Ordering::Relaxed, Ordering::Relaxed, room).is_ok()
    }

    /// A packet that came was taken.
    pub(super) fn gave(&self, len: usize) {
        self.waiting.fetch_sub(len, Ordering::Relaxed);
    }

    /// The way is no more; the first code counts.
    pub(super) fn end(&self, code: Code) {
        self.end.send_if_modified(|end| end.is_none() && end.replace(code).is_none());
    }

    /// Waits until it is no more; why.
    pub(super) async fn ended(&self) -> Code {
        let mut end = self.end.subscribe();
        let ended = end.wait_for(Option::is_some).await;
        ended.ok().and_then(|end| *end).unwrap_or(Code::LINK_LOST)
    }

    /// Waits until no link goes over it any more, or none came to be in time.
    async fn unused(&self) {
        let mut links = self.links.subscribe();
        let _ = timeout(HANDSHAKE_TIMEOUT, links.wait_for(|links| *links > 0)).await;
        loop {
            let _ = links.wait_for(|links| *links == 0).await;
            if timeout(LINGER, links.wait_for(|links| *links > 0)).await.is_err() {
                return;
            }
        }
    }

    /// Sends what is to go by the way, over a stream of its own, until one end or the service ends it.
    pub(super) async fn run(self: Arc<Self>, connection: Connection, shared: Shared) {
        let code = tokio::select! {
            code = self.write(&connection) => code,
            code = self.ended() => code,
        };
        self.end(code);
        shared.tell(Input::WayEnded { addr: self.addr, code }).await;
    }

    async fn write(&self, connection: &Connection) -> Code {
        let Ok(mut stream) = connection.open_uni().await else { return Code::LINK_LOST };
        let first = Message::from(Relay { device: self.device, ext: Exts::empty() }).to_frame();
        let stopped = stream.stopped();
        let written = tokio::select! {
            written = self.write_packets(&mut stream, &first) => written,
            stopped = stopped => Err(how_stopped(&stopped)),
            code = self.ended() => Err(code),
            () = self.unused() => Ok(()),
        };
        match written {
            Ok(()) => {
                let _ = stream.finish();
                Code::LINK_SHUTDOWN
            }
            Err(code) => {
                let _ = stream.reset(transport::close_code(code));
                code
            }
        }
    }

    async fn write_packets(&self, stream: &mut SendStream, first: &[u8]) -> Result<(), Code> {
        stream.write_all(first).await.map_err(|_| Code::LINK_LOST)?;
        while let Some(packets) = self.out.take().await {
            stream.write_all(&packets).await.map_err(|error| super::stream::how_failed(&error))?;
        }
        Ok(())
    }

    /// Takes the packets that come by the way over a stream.
    pub(super) async fn read(self: Arc<Self>, mut packets: Packets, shared: Shared, ways: Arc<super::Ways>) {
        let end = loop {
            let read = tokio::select! {
                read = packets.read(shared.rules, |packet| ways.deliver(&self, packet)) => read,
                code = self.ended() => {
                    packets.stop(shared.stop_code(code));
                    return;
                }
            };
            if let Err(end) = read {
                break end;
            }
        };
        packets.stop(shared.stop_code(end.code()));
        self.end(end.code());
    }
}

/// A link's hold on the way that it goes over.
#[derive(Debug)]
pub(crate) struct Held(Arc<Way>);

impl Held {
    pub(super) fn new(way: Arc<Way>) -> Held {
        way.links.send_modify(|links| *links += 1);
        Held(way)
    }

    /// The way.
    pub(crate) fn way(&self) -> &Way {
        &self.0
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.0.links.send_modify(|links| *links = links.saturating_sub(1));
    }
}
