//! Accounts with a service: under which one it lets this device in.

use std::mem;
use std::time::Duration;

use segue_proto::wire::{DeviceId, LoggedIn};
use segue_proto::{Asked, Code};

use crate::backoff::Backoff;
use crate::driver::dial::{pause, random};
use crate::driver::{Driver, Input};
use crate::error::Error;
use crate::node::Node;
use tokio::time::sleep;

/// Under which account a service lets this device in, and what holds there. It is the service's word.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Login {
    /// The account; none if the service demands none.
    pub account: Option<String>,
    /// Whether sessions may be handed over by way of the service.
    pub handoff: bool,
    /// After which time the device has to come with a token again; none if it need not.
    pub ends_in: Option<Duration>,
    /// The bytes that may still be put there.
    pub free: u64,
}

impl Node {
    /// Has the node log in at a service as each of its links begins, with a token of the service's identity provider
    /// (SERVICE-LOGIN-7). A service needs to see one once: it knows the device by its key from then on. The token goes to
    /// no other device, isn't written down, and stands in no log; tell it at every open. [`crate::Event::Login`] says how
    /// each login ended; after one that the service refused because it has too many requests, another follows by itself,
    /// after a while.
    ///
    /// # Errors
    /// The token has more than 8 KiB, the service is this device, or the node has stopped.
    pub async fn use_token(&self, service: DeviceId, token: impl AsRef<[u8]>) -> Result<(), Error> {
        let token = token.as_ref().to_vec();
        self.command("log in", move |driver| {
            let now = driver.now();
            driver.core.login(now, service, &token)
        })
        .await
    }

    /// As [`Node::use_token`], and waits for the service's answer, over the link that [`Node::use_mailbox`] makes, as long
    /// as for a handoff. With an empty token it asks under which account the service knows this device.
    ///
    /// # Errors
    /// As [`Node::use_token`]; the service doesn't let this device in, or doesn't answer.
    pub async fn login(&self, service: DeviceId, token: impl AsRef<[u8]>) -> Result<Login, Error> {
        let failed = |code| Error::Login { service, code };
        let mut backoff = Backoff::new(self.handoff_timeout());
        loop {
            let token = token.as_ref().to_vec();
            let told = self.command("log in", move |driver| {
                let now = driver.now();
                driver.core.login(now, service, &token)?;
                Ok(driver.waits.login(service))
            });
            let told = tokio::time::timeout(backoff.left(), told.await?).await;
            match told.map_err(|_| failed(Code::LINK_LOST))?.map_err(|_| Error::Stopped)? {
                Err(code) if backoff.again(code, self.retry_after(Asked::Login(service)).await).await => {}
                answer => return answer.map_err(failed),
            }
        }
    }
}

/// Logins that a service refused, one after the other, for what time mends.
#[derive(Debug, Default)]
pub(crate) struct LoginsRefused {
    times: u32,
    /// The next one is waited for.
    waits: bool,
}

/// The longest that is waited before a login, whatever a service asks for. From: guess.
const LONGEST: Duration = Duration::from_secs(3_600);

impl Driver {
    /// A login ended with this code that nobody waits for; none if it came to something, or somebody does. If time mends it,
    /// it is said again after a while.
    pub(crate) fn log_in_later(&mut self, service: DeviceId, code: Option<Code>) {
        if !code.is_some_and(Code::is_mended_by_time) {
            self.logins_refused.remove(&service);
            return;
        }
        let told = self.retry_after(Asked::Login(service)).unwrap_or_default().min(LONGEST);
        let refused = self.logins_refused.entry(service).or_default();
        let wait = pause(refused.times, random()).max(told);
        refused.times = refused.times.saturating_add(1);
        // A link that began meanwhile has logged in, too: one of them waits.
        if mem::replace(&mut refused.waits, true) {
            return;
        }
        let shared = self.shared.clone();
        self.tasks.spawn(async move {
            sleep(wait).await;
            shared.tell(Input::Call(Box::new(move |driver| driver.log_in_again(service)))).await;
        });
    }

    fn log_in_again(&mut self, service: DeviceId) {
        if let Some(refused) = self.logins_refused.get_mut(&service) {
            refused.waits = false;
            let now = self.now();
            self.core.log_in_again(now, service);
        }
    }
}

pub(crate) fn login(told: LoggedIn) -> Login {
    Login {
        account: Some(told.account.to_string()).filter(|name| !name.is_empty()),
        handoff: told.handoff,
        ends_in: (told.ttl_ms > 0).then(|| Duration::from_millis(told.ttl_ms)),
        free: told.free,
    }
}
