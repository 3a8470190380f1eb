//! Who is there: what a service tells of devices that named one another.

use std::time::Duration;

use segue_proto::limits::MAX_DISCOVER;
use segue_proto::wire::DeviceId;
use segue_proto::{Asked, Code, Generation};

use crate::backoff::Backoff;
use crate::error::Error;
use crate::menu::{Offerable, members};
use crate::node::Node;

/// What a service tells of a device. It is the service's word alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Presence {
    /// The device.
    pub device: DeviceId,
    /// Whether it has a link with the service.
    pub online: bool,
    /// The generation of that link; none if it has none, or one of a generation that isn't known here.
    pub generation: Option<Generation>,
    /// How long ago its last link with the service ended; zero while it has one.
    pub ago: Duration,
}

impl Node {
    /// Asks a service which of these devices have a link with it, or when they had. It tells of those alone that named
    /// this device in their own latest call, and from now on tells those that are named here, and no others, of this one.
    /// Waits for the link with the service, which [`Node::use_mailbox`] makes, as long as for a handoff.
    ///
    /// # Errors
    /// There are more devices than [`MAX_DISCOVER`], the service doesn't answer, or answers that it is none. The node
    /// has stopped.
    pub async fn discover(&self, service: DeviceId, devices: &[DeviceId]) -> Result<Vec<Presence>, Error> {
        let failed = |code| Error::Discovery { service, code };
        let devices = devices.to_vec();
        let answer = async {
            self.linked(service).await?;
            let mut backoff = Backoff::new(self.handoff_timeout());
            loop {
                let devices = devices.clone();
                let told = self.command("ask who is there", move |driver| {
                    let now = driver.now();
                    let req = driver.core.discover(now, service, &devices)?;
                    driver.meets.named(service, &devices);
                    Ok(driver.waits.find(service, req))
                });
                match told.await?.await.map_err(|_| Error::Stopped)? {
                    Err(code) if backoff.again(code, self.retry_after(Asked::Presence(service)).await).await => {}
                    answer => return answer.map_err(failed),
                }
            }
        };
        let answer = tokio::time::timeout(self.handoff_timeout(), answer).await;
        let found = answer.map_err(|_| failed(Code::LINK_LOST))??;
        Ok(found.into_iter().map(presence).collect())
    }

    /// The devices that may learn of this one's presence as they stand by what is known here: those of the account and
    /// the members of the sessions, without revoked ones and this one; [`MAX_DISCOVER`] at most.
    ///
    /// # Errors
    /// The node has stopped.
    pub async fn known_devices(&self) -> Result<Vec<DeviceId>, Error> {
        let (linked, revoked) = self.account().await?.map(|it| (it.devices, it.revoked)).unwrap_or_default();
        let members = self.call(|driver| {
            let views = driver.core.sessions().into_iter().filter_map(|id| driver.core.session(&id));
            views.flat_map(|view| members(&view)).collect::<std::collections::BTreeSet<_>>()
        });
        let mut known: Vec<_> = linked.iter().map(|it| it.device).collect();
        known.extend(members.await?.into_iter().filter(|member| linked.iter().all(|it| it.device != *member)));
        known.retain(|device| *device != self.device() && revoked.iter().all(|it| it.device != *device));
        known.truncate(MAX_DISCOVER);
        Ok(known)
    }

    /// As [`Node::offerable`], with what a service tells of the devices: it is asked about all that are known here.
    ///
    /// # Errors
    /// As [`Node::discover`].
    pub async fn offerable_by(&self, service: DeviceId) -> Result<Vec<Offerable>, Error> {
        let found = self.discover(service, &self.known_devices().await?).await?;
        let mut sessions = self.offerable().await?;
        for candidate in sessions.iter_mut().flat_map(|session| &mut session.devices) {
            candidate.presence = found.iter().find(|it| it.device == candidate.device).copied();
        }
        Ok(sessions)
    }
}

fn presence(it: segue_proto::wire::Presence) -> Presence {
    Presence {
        device: it.device,
        online: it.generation > 0,
        generation: Generation::from_number(it.generation),
        ago: Duration::from_millis(it.ago_ms),
    }
}
