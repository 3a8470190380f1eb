//! Links by way of a service, for devices neither of which can dial the other (spec sections 9.16 and 13.4).
//!
//! Their packets go over a stream to the service and one to the other device. QUIC runs over a socket of such ways, so that
//! the link is like any other.

mod pass;
mod pipe;
mod socket;
mod stream;
mod way;

use std::net::SocketAddr;
use std::sync::Arc;

use quinn::{Connection, RecvStream};
use segue_proto::wire::{DeviceId, Relay};
use segue_proto::{Code, LinkId, Passing, Relaying, Ticket};
use tokio::sync::oneshot;

use crate::bulk::Shared;
use crate::driver::link::{Link, NewLink};
use crate::driver::{Driver, Input, dial};
use crate::transport;
pub(crate) use pass::Pace;
pub(crate) use socket::Ways;
use stream::Packets;
pub(crate) use way::{Held, Way};

/// What becomes of a stream that begins with RELAY.
pub(crate) enum Begun {
    /// It brings packets by a way.
    Taken(Arc<Way>, Arc<Ways>),
    /// It is passed on over this connection.
    Passed(Ticket, Connection, Relay),
}

/// Who waits to hear what becomes of a stream.
pub(crate) type Reply = oneshot::Sender<Result<Begun, Code>>;

/// A node's own side of it.
pub(crate) struct Relayed {
    /// QUIC over the ways; none of a node that has no links so.
    pub(crate) endpoint: Option<(quinn::Endpoint, Arc<Ways>)>,
    /// Streams of which the mailbox that this node hosts hasn't said what becomes of them.
    asked: Vec<(Ticket, Reply)>,
}

impl Relayed {
    pub(crate) fn new(endpoint: Option<(quinn::Endpoint, Arc<Ways>)>) -> Relayed {
        Relayed { endpoint, asked: Vec::new() }
    }
}

/// Reads a stream that began with RELAY to its end.
pub(crate) async fn receive(
    link: LinkId,
    (mut stream, relay, rest): (RecvStream, Relay, Vec<u8>),
    pace: Arc<Pace>,
    shared: Shared,
) {
    let (reply, answer) = oneshot::channel();
    shared.tell(Input::Relay { link, relay, reply }).await;
    match answer.await {
        Ok(Ok(Begun::Taken(way, ways))) => way.read(Packets::new(stream, rest), shared, ways).await,
        Ok(Ok(Begun::Passed(ticket, to, first))) => {
            // It outlives the link, to say how that ended.
            tokio::spawn(pass::Pass { ticket, packets: Packets::new(stream, rest), to, first, pace, shared }.run());
        }
        Ok(Err(code)) => drop(stream.stop(shared.stop_code(code))),
        Err(_) => {}
    }
}

impl Driver {
    /// A stream begins with RELAY.
    pub(crate) fn relay_begins(&mut self, link: LinkId, relay: Relay, reply: Reply) {
        let result = match self.core.handle_relay(link, relay) {
            Ok(Relaying::Asked(ticket)) => return self.relayed.asked.push((ticket, reply)),
            Ok(Relaying::Taken { service, from }) => self.way(service, from),
            Err(violation) => {
                tracing::debug!(link = link.0, %violation, "no packets are taken");
                Err(violation.code)
            }
        };
        let _ = reply.send(result.map(|(way, ways)| Begun::Taken(way, ways)));
    }

    /// What becomes of the streams of which the hosted mailbox has said it.
    pub(crate) fn flush_relays(&mut self) {
        while let Some((ticket, result)) = self.core.poll_relay() {
            let place = self.relayed.asked.iter().position(|(of, _)| *of == ticket);
            let begun = result.and_then(|Passing { link, first }| {
                let to = self.links.get(&link).ok_or(Code::SERVICE_AWAY)?;
                Ok(Begun::Passed(ticket, to.connection.clone(), first))
            });
            let passed = begun.is_ok();
            let told = place.map(|place| self.relayed.asked.swap_remove(place).1.send(begun));
            if passed && !matches!(told, Some(Ok(()))) {
                self.core.handle_relay_end(ticket);
            }
        }
    }

    /// The way to a device by a service.
    fn way(&mut self, service: DeviceId, device: DeviceId) -> Result<(Arc<Way>, Arc<Ways>), Code> {
        let (_, ways) = self.relayed.endpoint.as_ref().ok_or(Code::SERVICE_NONE)?;
        let ways = ways.clone();
        let link = self.links.values().find(|link| link.peer == Some(service)).ok_or(Code::LINK_LOST)?;
        let (way, new) = ways.open(service, device).ok_or(Code::LIMIT_REQUESTS)?;
        if new {
            let (connection, shared, way) = (link.connection.clone(), self.shared.clone(), way.clone());
            let ways = ways.clone();
            self.tasks.spawn(async move {
                way.clone().run(connection, shared).await;
                ways.close(&way);
            });
        }
        Ok((way, ways))
    }

    /// A way is no more: the links over it end at once.
    pub(crate) fn way_ended(&mut self, addr: SocketAddr, code: Code) {
        let over = |link: &&mut Link| link.relay.as_ref().is_some_and(|held| held.way().addr == addr);
        for link in self.links.values_mut().filter(over) {
            link.end = link.end.or(Some((Code::LINK_LOST, true)));
            link.connection.close(transport::close_code(Code::LINK_LOST), code.name().as_bytes());
        }
    }

    /// Dials a device by way of a service.
    pub(crate) fn dial_by(&mut self, service: DeviceId, device: DeviceId) -> Result<(), Code> {
        let (way, _) = self.way(service, device)?;
        let (endpoint, _) = self.relayed.endpoint.as_ref().ok_or(Code::SERVICE_NONE)?;
        let (endpoint, shared) = (endpoint.clone(), self.shared.clone());
        self.tasks.spawn(async move {
            let result = tokio::select! {
                dialled = dial::dial(endpoint, way.addr, device, shared.rules) => dialled,
                code = way.ended() => Err(code),
            };
            let result = result.map(|link| NewLink { relay: Some(Held::new(way)), ..link });
            shared.tell(Input::Met { device, result }).await;
        });
        Ok(())
    }
}
