//! Devices on which nothing runs: a service has them woken as a session is handed over to them.

use segue_proto::wire::DeviceId;
use segue_proto::{Asked, Code};
use tokio::task::JoinSet;

use crate::backoff::Backoff;
use crate::error::Error;
use crate::node::Node;

impl Node {
    /// Asks a service to have a device woken on which nothing runs, if that has no link with this one or the service. The
    /// two have to have named one another there; this one is named on the way, the other one did so when it was there
    /// ([`Node::discover`]). That it ends well says that the device is there, or that the service uses its way for it, and
    /// not that it comes. Waits for the link with the service, which [`Node::use_mailbox`] makes, as long as for a handoff.
    ///
    /// [`Node::initiate_handoff`] does this by itself, once, at each mailbox that is used.
    ///
    /// # Errors
    /// [`Error::Wake`]: the service wakes nobody, the two didn't name one another there, it woke the device too often, or
    /// doesn't answer. [`Error::Usage`] for a device that is neither trusted nor a member of a session, and for a service
    /// whose link is below generation 7. The node has stopped.
    pub async fn wake(&self, service: DeviceId, device: DeviceId) -> Result<(), Error> {
        let failed = |code| Error::Wake { service, device, code };
        let answer = async {
            let mut backoff = Backoff::new(self.handoff_timeout());
            loop {
                self.linked(service).await?;
                match self.ask_to_wake(service, device).await? {
                    Err(code) if backoff.again(code, self.retry_after(Asked::Wake(service)).await).await => {}
                    answer => return answer.map_err(failed),
                }
            }
        };
        tokio::time::timeout(self.handoff_timeout(), answer).await.map_err(|_| failed(Code::LINK_LOST))?
    }

    async fn ask_to_wake(&self, service: DeviceId, device: DeviceId) -> Result<Result<(), Code>, Error> {
        let told = self.command("have the device woken", move |driver| {
            if driver.is_linked(&device) {
                return Ok(None);
            }
            let now = driver.now();
            // The service takes what comes over a link in its order.
            drop(driver.show_up(service, Some(device)));
            driver.core.wake(now, service, device)?;
            Ok(Some(driver.waits.wake(service, device)))
        });
        match told.await? {
            Some(told) => told.await.map_err(|_| Error::Stopped),
            None => Ok(Ok(())),
        }
    }

    /// Has a device woken by each mailbox that is used, unless it has a link with this one.
    pub(crate) async fn have_woken(&self, device: DeviceId) {
        let services = self.call(move |driver| match driver.is_linked(&device) {
            true => Vec::new(),
            false => driver.meets.services().filter(|service| *service != device).collect(),
        });
        let mut asked = JoinSet::new();
        for service in services.await.unwrap_or_default() {
            let node = self.clone();
            asked.spawn(async move { (service, node.wake(service, device).await) });
        }
        while let Some(answer) = asked.join_next().await {
            match answer {
                Ok((service, Ok(()))) => tracing::info!(%service, %device, "it is there, or is being woken"),
                Ok((_, Err(error))) => tracing::info!(%error, "nobody is woken"),
                Err(_) => {}
            }
        }
    }
}
