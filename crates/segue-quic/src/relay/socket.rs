//! A socket whose datagrams go over streams to services.

use std::collections::{BTreeMap, VecDeque};
use std::io::{self, IoSliceMut};
use std::net::{Ipv6Addr, SocketAddr};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use quinn::udp::{RecvMeta, Transmit};
use quinn::{AsyncUdpSocket, UdpPoller};
use segue_proto::limits::{MAX_RELAYS, RELAY_BUFFER};
use segue_proto::wire::DeviceId;
use segue_proto::wire::hash::Hasher;

use super::way::{Held, Way};

/// The ways to devices, by the addresses that stand for them, and what came by them.
#[derive(Debug, Default)]
pub(crate) struct Ways {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    ways: BTreeMap<SocketAddr, Arc<Way>>,
    arrived: VecDeque<(Arc<Way>, Vec<u8>)>,
    /// Who waits for something to arrive.
    waker: Option<Waker>,
}

/// Datagrams that are handed over for sending at once. From: guess.
const SEGMENTS: usize = 16;

impl Ways {
    /// The way to a device by a service, and whether it is new; none if the service has as many as it may.
    pub(super) fn open(&self, service: DeviceId, device: DeviceId) -> Option<(Arc<Way>, bool)> {
        let (addr, mut state) = (address(service, device), self.lock());
        if let Some(way) = state.ways.get(&addr) {
            return Some((way.clone(), false));
        }
        if state.ways.values().filter(|way| way.service == service).count() >= MAX_RELAYS {
            return None;
        }
        let way = Arc::new(Way::new(service, device, addr));
        state.ways.insert(addr, way.clone());
        Some((way, true))
    }

    /// The way that an address stands for.
    fn at(&self, addr: &SocketAddr) -> Option<Arc<Way>> {
        self.lock().ways.get(addr).cloned()
    }

    /// Holds the way that an address stands for, for a link over it.
    pub(crate) fn hold(&self, addr: &SocketAddr) -> Option<Held> {
        self.at(addr).map(Held::new)
    }

    /// A way is no more.
    pub(super) fn close(&self, way: &Arc<Way>) {
        let mut state = self.lock();
        if state.ways.get(&way.addr).is_some_and(|other| Arc::ptr_eq(other, way)) {
            state.ways.remove(&way.addr);
        }
    }

    /// A packet came by a way. It is dropped if as many wait as may.
    pub(super) fn deliver(&self, way: &Arc<Way>, packet: &[u8]) {
        let mut state = self.lock();
        if !way.holds(packet.len(), RELAY_BUFFER) {
            return;
        }
        state.arrived.push_back((way.clone(), packet.to_vec()));
        let waker = state.waker.take();
        drop(state);
        waker.into_iter().for_each(Waker::wake);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The address that stands for a device by way of a service: one of those that no network has (fc00::/7).
fn address(service: DeviceId, device: DeviceId) -> SocketAddr {
    let hash = Hasher::new("segue/1 relayed address").bytes(service.as_bytes()).bytes(device.as_bytes()).finish();
    let mut ip = [0xfd; 16];
    ip.iter_mut().skip(1).zip(hash.as_bytes()).for_each(|(to, from)| *to = *from);
    (Ipv6Addr::from(ip), 1).into()
}

impl AsyncUdpSocket for Ways {
    fn create_io_poller(self: Arc<Self>) -> Pin<Box<dyn UdpPoller>> {
        Box::pin(Always)
    }

    fn try_send(&self, transmit: &Transmit) -> io::Result<()> {
        // To a way that is no more all is lost, as to a host that went away.
        if let Some(way) = self.at(&transmit.destination) {
            let size = transmit.segment_size.unwrap_or(transmit.contents.len()).max(1);
            transmit.contents.chunks(size).for_each(|packet| way.send(packet));
        }
        Ok(())
    }

    fn poll_recv(
        &self,
        cx: &mut Context<'_>,
        bufs: &mut [IoSliceMut<'_>],
        meta: &mut [RecvMeta],
    ) -> Poll<io::Result<usize>> {
        let (mut state, mut count) = (self.lock(), 0);
        for (buf, meta) in bufs.iter_mut().zip(meta) {
            let Some((way, packet)) = state.arrived.pop_front() else { break };
            way.gave(packet.len());
            let len = packet.len().min(buf.len());
            buf[..len].copy_from_slice(&packet[..len]);
            *meta = RecvMeta { addr: way.addr, len, stride: len, ..RecvMeta::default() };
            count += 1;
        }
        if count > 0 {
            return Poll::Ready(Ok(count));
        }
        state.waker = Some(cx.waker().clone());
        Poll::Pending
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok((Ipv6Addr::UNSPECIFIED, 1).into())
    }

    fn max_transmit_segments(&self) -> usize {
        SEGMENTS
    }

    fn may_fragment(&self) -> bool {
        false
    }
}

/// What doesn't fit is dropped, so there is nothing to wait for.
#[derive(Debug)]
struct Always;

impl UdpPoller for Always {
    fn poll_writable(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
