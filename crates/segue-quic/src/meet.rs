//! Direct links by a service's introduction: the other device is dialled at the addresses that it signed, and calls itself.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::time::Duration;

use segue_proto::limits::{MAX_DISCOVER, RELAY_PATIENCE};
use segue_proto::wire::DeviceId;
use segue_proto::{Code, Generation};
use tokio::sync::oneshot;

use crate::driver::link::NewLink;
use crate::driver::{Driver, Input, dial};
use crate::error::Error;
use crate::event::Event;
use crate::node::Node;
use crate::transport::HANDSHAKE_TIMEOUT;

/// How long a link is waited for. From: what a service's answers take, and a handshake.
const PATIENCE: Duration = HANDSHAKE_TIMEOUT;

/// The pause before devices that are apart are introduced again, doubled each time up to the longest. From: an
/// introduction a second for a service that passes on `MAX_INTRODUCTIONS` a minute would be too many.
const PAUSES: [Duration; 2] = [Duration::from_secs(2), Duration::from_secs(60)];

/// What is under way between this node and devices that it is introduced to.
#[derive(Default)]
pub(crate) struct Meets {
    /// Whether this node takes part.
    on: bool,
    /// The mailboxes that are used, and whom each may tell that this node is there.
    services: BTreeMap<DeviceId, Named>,
    /// Devices that are dialled: how many attempts are under way, and the connections that wait for the first to fail.
    dials: BTreeMap<DeviceId, Dials>,
    waits: Vec<(DeviceId, oneshot::Sender<Result<(), Code>>)>,
}

#[derive(Default)]
struct Named {
    devices: BTreeSet<DeviceId>,
    /// The application chose them.
    chosen: bool,
}

impl Named {
    /// Whom a service may tell now: whom the user named stays, and of the others who is known still, none that was revoked
    /// since.
    fn with(&self, chosen: Option<DeviceId>, known: &[DeviceId], service: DeviceId) -> BTreeSet<DeviceId> {
        let before = self.devices.iter().copied().filter(|device| self.chosen || known.contains(device));
        let by_itself = known.iter().copied().filter(|device| !self.chosen && *device != service);
        chosen.into_iter().chain(before).chain(by_itself).take(MAX_DISCOVER).collect()
    }
}

#[derive(Default)]
struct Dials {
    attempts: usize,
    spares: Vec<NewLink>,
    /// The service by which it is dialled if it isn't at its addresses.
    by: Option<DeviceId>,
}

impl Meets {
    /// A node that takes part in introductions, or doesn't.
    pub(crate) fn new(on: bool) -> Meets {
        Meets { on, ..Meets::default() }
    }

    /// A mailbox is used from now on.
    pub(crate) fn uses(&mut self, service: DeviceId) {
        self.services.entry(service).or_default();
    }

    /// It isn't any more.
    pub(crate) fn leaves(&mut self, service: &DeviceId) {
        self.services.remove(service);
    }

    /// The application named these to a service.
    pub(crate) fn named(&mut self, service: DeviceId, devices: &[DeviceId]) {
        if let Some(named) = self.services.get_mut(&service) {
            *named = Named { devices: devices.iter().copied().collect(), chosen: true };
        }
    }

    /// The mailboxes that are used.
    pub(crate) fn services(&self) -> impl Iterator<Item = DeviceId> {
        self.services.keys().copied()
    }

    /// Whether there is a service that may introduce this node.
    pub(crate) fn may_meet(&self) -> bool {
        self.on && !self.services.is_empty()
    }

    /// Ends what waits for a device.
    fn end(&mut self, device: DeviceId, result: Result<(), Code>) {
        for (_, tell) in self.waits.extract_if(.., |(of, _)| *of == device) {
            let _ = tell.send(result);
        }
    }
}

impl Node {
    /// Has a mailbox that this node uses introduce it to a device that uses it, too, and waits until the two have a link
    /// of their own. Each is told, sealed by the other, where it listens; both dial. Whoever answers there has to prove
    /// the device's key. The mailbox tells the device that this one is there, as [`Node::discover`] does.
    ///
    /// Handoffs do this by themselves while there is no link; what they move goes by the mailbox until there is one.
    ///
    /// # Errors
    /// [`Error::Introduction`]: no mailbox is used, or linked; the device isn't there, didn't name this one, takes no
    /// part or can't be reached; `SVC_TARGET_MISMATCH` if another is at its address. [`Error::Usage`] for a device that is
    /// neither trusted nor a member of a session. The node has stopped.
    pub async fn introduce(&self, device: DeviceId) -> Result<(), Error> {
        let failed = |code| Error::Introduction { device, code };
        let services = self.call(move |driver| {
            if driver.is_linked(&device) {
                return None;
            }
            let now = driver.now();
            driver.core.expect_link(now, device);
            let on = driver.meets.on;
            Some(driver.meets.services.keys().copied().filter(|_| on).collect::<Vec<_>>())
        });
        let Some(services) = services.await? else { return Ok(()) };
        let mut last = Err(failed(Code::SERVICE_NONE));
        for service in services {
            let met = tokio::time::timeout(PATIENCE, self.introduce_by(service, device)).await;
            last = met.unwrap_or(Err(failed(Code::LINK_LOST)));
            if last.is_ok() {
                break;
            }
        }
        last
    }

    async fn introduce_by(&self, service: DeviceId, device: DeviceId) -> Result<(), Error> {
        let failed = |code| Error::Introduction { device, code };
        self.linked(service).await?;
        let found = self.call(move |driver| driver.show_up(service, Some(device))).await?;
        if let Some(found) = found {
            found.await.map_err(|_| Error::Stopped)?.map_err(failed)?;
        }
        let told = self.command("meet the device", move |driver| {
            let now = driver.now();
            let (tell, told) = oneshot::channel();
            match driver.is_linked(&device) {
                true => drop(tell.send(Ok(()))),
                false => {
                    driver.refresh_addresses(service);
                    driver.core.introduce(now, service, device)?;
                    driver.meets.waits.retain(|(_, tell)| !tell.is_closed());
                    driver.meets.waits.push((device, tell));
                }
            }
            Ok(told)
        });
        told.await?.await.map_err(|_| Error::Stopped)?.map_err(failed)
    }

    /// Introduces this node to a device whenever the two have no direct link, with growing pauses, until the future is
    /// dropped or the node stops.
    pub async fn keep_introduced(&self, device: DeviceId) {
        let [mut pause, longest] = PAUSES;
        let mut ends = self.tap(1, move |event| matches!(event, Event::Unlinked { peer, .. } if *peer == Some(device)));
        loop {
            match self.introduce(device).await {
                Ok(()) if self.is_relayed(device).await => {
                    tracing::info!(%device, "a link by way of a service");
                    self.introduce_again(device).await;
                }
                Ok(()) => {
                    tracing::info!(%device, "a direct link");
                    pause = PAUSES[0];
                    if ends.recv().await.is_none() {
                        return;
                    }
                }
                Err(Error::Stopped) => return,
                Err(error) => tracing::info!(%error, "no direct link; what is handed over goes by the mailbox"),
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(longest);
        }
    }
}

impl Node {
    /// Whether the link with a device, if there is one, goes by way of a service.
    async fn is_relayed(&self, device: DeviceId) -> bool {
        self.link_info(device).await.is_ok_and(|link| link.is_some_and(|link| link.relayed))
    }

    /// Introduces this node to a device with which it has a link by way of a service: a direct one may be had by now, and
    /// takes its place.
    async fn introduce_again(&self, device: DeviceId) {
        let asked = self.call(move |driver| {
            let now = driver.now();
            let services: Vec<_> = driver.meets.services.keys().copied().filter(|_| driver.meets.on).collect();
            // One answer will do; what none answers is told to nobody.
            services.into_iter().any(|service| {
                driver.refresh_addresses(service);
                driver.core.introduce(now, service, device).is_ok()
            })
        });
        let asked = asked.await.unwrap_or(false);
        tracing::debug!(%device, asked, "introduced again");
    }
}

impl Driver {
    /// Lets a mailbox tell the devices that may be met that this one is there, if it takes part in introductions, and one
    /// that the user chose, unless that was said before. The answer to wait for, if it is asked.
    pub(crate) fn show_up(
        &mut self,
        service: DeviceId,
        chosen: Option<DeviceId>,
    ) -> Option<oneshot::Receiver<Result<Vec<segue_proto::wire::Presence>, Code>>> {
        let quiet = !self.meets.on && chosen.is_none();
        if quiet || self.generation_with(&service) < Some(Generation::V7) {
            return None;
        }
        let known = if self.meets.on { self.core.acquaintances() } else { Vec::new() };
        let named = self.meets.services.get_mut(&service)?;
        let all = named.with(chosen, &known, service);
        if all == named.devices {
            return None;
        }
        let devices: Vec<_> = all.iter().copied().collect();
        let req = self.core.discover(self.now(), service, &devices).ok()?;
        if let Some(named) = self.meets.services.get_mut(&service) {
            named.devices = all;
        }
        Some(self.waits.find(service, req))
    }

    /// A mailbox has a link: it is told anew whom it may tell of this device, and where that can be dialled.
    pub(crate) fn greet_service(&mut self, service: DeviceId) {
        let Some(named) = self.meets.services.get_mut(&service) else { return };
        if !named.chosen {
            named.devices.clear();
        }
        if self.meets.on {
            self.refresh_addresses(service);
            self.show_up(service, None);
        }
    }

    /// Tells the core where this node can be dialled.
    fn refresh_addresses(&mut self, service: DeviceId) {
        let bound = self.endpoint.local_addr().ok().filter(|_| self.listens);
        let link = self.links.values().find(|link| link.peer == Some(service));
        let near = link.and_then(|link| link.connection.local_ip());
        let addresses = bound.map(|bound| addresses(bound, near)).unwrap_or_default();
        self.core.meet_at(Some(&addresses));
    }

    /// A device was introduced: it is dialled at all its addresses at once, and the first that answers is tried first.
    pub(crate) fn introduced(&mut self, service: DeviceId, device: DeviceId, addresses: Vec<SocketAddr>) {
        let by = Some(service).filter(|service| self.core.dials_by(service, &device));
        let dials = self.meets.dials.entry(device).or_default();
        // One attempt at a time: what it leads to is known soon.
        if dials.attempts > 0 {
            return;
        }
        (dials.attempts, dials.by) = (addresses.len(), by);
        let nowhere = addresses.is_empty() && !self.listens;
        for addr in addresses {
            let (endpoint, shared) = (self.endpoint.clone(), self.shared.clone());
            self.tasks.spawn(async move {
                let result = dial::dial(endpoint, addr, device, shared.rules).await;
                shared.tell(Input::Met { device, result }).await;
            });
        }
        match by {
            Some(_) if nowhere => self.dial_by_service(device),
            Some(_) => self.dial_by_service_later(device),
            None => {}
        }
    }

    /// Dials a device by way of the service if it has no link in a moment (RELAY_PATIENCE).
    fn dial_by_service_later(&mut self, device: DeviceId) {
        let shared = self.shared.clone();
        self.tasks.spawn(async move {
            tokio::time::sleep(Duration::from_micros(RELAY_PATIENCE)).await;
            shared.tell(Input::Call(Box::new(move |driver| driver.dial_by_service(device)))).await;
        });
    }

    /// Dials a device that was introduced by way of the service, once, unless it has a link meanwhile.
    fn dial_by_service(&mut self, device: DeviceId) {
        let linked = self.is_linked(&device);
        let Some(dials) = self.meets.dials.get_mut(&device) else { return };
        let Some(service) = dials.by.take().filter(|_| !linked) else { return };
        dials.attempts += 1;
        if let Err(code) = self.dial_by(service, device) {
            self.met(device, Err(code));
        }
    }

    /// An attempt to dial a device that was introduced ended.
    pub(crate) fn met(&mut self, device: DeviceId, result: Result<NewLink, Code>) {
        let relayed = result.as_ref().is_ok_and(|link| link.relay.is_some());
        let linked = if relayed { self.is_linked(&device) } else { self.is_linked_directly(&device) };
        // A direct one doesn't wait for one that it would take the place of.
        let trying = self.is_dialling(&device, !relayed);
        let Some(dials) = self.meets.dials.get_mut(&device) else { return };
        dials.attempts = dials.attempts.saturating_sub(1);
        match result {
            // A second connection would take the place of the first.
            Ok(_) if linked => {}
            Ok(link) if trying => dials.spares.push(link),
            Ok(link) => self.link_up(link),
            Err(code) => self.not_there(device, code),
        }
    }

    /// Whether a link that was dialled for a device, directly or by any way, isn't authenticated yet.
    fn is_dialling(&self, device: &DeviceId, directly: bool) -> bool {
        let dialled = self.links.values().filter(|link| link.peer.is_none() && link.dialled.as_ref() == Some(device));
        dialled.filter(|link| link.relay.is_none() || !directly).count() > 0
    }

    /// A device isn't at one of the addresses at which it was introduced: if no other is left, it isn't met. It may call
    /// itself, unless this node takes no calls.
    pub(crate) fn not_there(&mut self, device: DeviceId, code: Code) {
        let Some(dials) = self.meets.dials.get_mut(&device) else { return };
        if let Some(spare) = dials.spares.pop() {
            return self.link_up(spare);
        }
        if dials.attempts > 0 || self.is_dialling(&device, false) {
            return;
        }
        if let Some(dials) = self.meets.dials.get(&device)
            && dials.by.is_some()
        {
            return self.dial_by_service(device);
        }
        self.meets.dials.remove(&device);
        if !self.listens || code == Code::SVC_TARGET_MISMATCH {
            self.meets.end(device, Err(code));
        }
    }

    /// A device has a link. One by way of a service ends no attempt to dial it directly.
    pub(crate) fn is_met(&mut self, device: DeviceId, relayed: bool) {
        if !relayed || self.meets.dials.get(&device).is_some_and(|dials| dials.attempts == 0) {
            self.meets.dials.remove(&device);
        }
        self.meets.end(device, Ok(()));
    }

    /// Nothing came of an introduction.
    pub(crate) fn not_introduced(&mut self, device: DeviceId, code: Code) {
        self.meets.end(device, Err(code));
    }
}

/// Where a socket that is bound so can be dialled; `near` is the own address of the link with the service.
fn addresses(bound: SocketAddr, near: Option<IpAddr>) -> Vec<SocketAddr> {
    if !bound.ip().is_unspecified() {
        return vec![bound];
    }
    // Nothing is sent: the system says from where it would be.
    let from = |local: IpAddr, to: IpAddr| {
        let socket = UdpSocket::bind((local, 0)).ok()?;
        socket.connect((to, 9)).ok()?;
        Some(socket.local_addr().ok()?.ip())
    };
    let v4 = from(Ipv4Addr::UNSPECIFIED.into(), Ipv4Addr::new(192, 0, 2, 1).into());
    let v6 = from(Ipv6Addr::UNSPECIFIED.into(), Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1).into());
    let v6 = v6.filter(|_| bound.is_ipv6());
    let mut all: Vec<_> = [near, v4, v6].into_iter().flatten().map(|ip| ip.to_canonical()).collect();
    all.dedup();
    all.into_iter().map(|ip| SocketAddr::new(ip, bound.port())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_is_told_no_more_of_a_device_that_was_revoked() {
        let device = |of: u8| DeviceId::new([of; 32]);
        let devices = |of: &[u8]| of.iter().map(|of| device(*of)).collect::<Vec<_>>();
        let told = |named: &Named| named.devices.iter().copied().collect::<Vec<_>>();
        let (service, mut named) = (device(9), Named::default());
        named.devices = named.with(None, &devices(&[1, 2, 9]), service);
        assert_eq!(told(&named), devices(&[1, 2]));
        // The second was revoked, so it isn't known any more; and a third is.
        named.devices = named.with(None, &devices(&[1, 3, 9]), service);
        assert_eq!(told(&named), devices(&[1, 3]));
    }

    #[test]
    fn a_socket_that_is_bound_to_an_address_is_there_and_nowhere_else() {
        let bound: SocketAddr = "192.0.2.7:4433".parse().expect("an address");
        assert_eq!(addresses(bound, Some([127, 0, 0, 1].into())), [bound]);
    }

    #[test]
    fn a_socket_that_is_bound_to_all_is_where_the_service_is_linked_first() {
        let near: IpAddr = "::ffff:127.0.0.1".parse().expect("an address");
        let told = addresses(([0, 0, 0, 0], 4433).into(), Some(near));
        assert_eq!(told.first(), Some(&([127, 0, 0, 1], 4433).into()));
        assert!(told.iter().all(|at| at.port() == 4433 && !at.ip().is_unspecified()), "{told:?}");
    }
}
