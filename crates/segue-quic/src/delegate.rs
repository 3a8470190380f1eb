//! Delegation: a service signs a session's next record, so that it is handed over while its owner is away.

use std::net::SocketAddr;
use std::sync::Arc;

use segue_proto::wire::{DeviceId, SessionId};
use segue_proto::{Asked, Code, UsageError};

use crate::backoff::Backoff;
use crate::driver::Driver;
use crate::error::Error;
use crate::node::{Node, micros};
use crate::untold::Untold;

impl Node {
    /// Has `service`, which hosts a mailbox and keeps custody, sign the session's next record from now on. This device
    /// stays the owner and writes; handoffs go by way of the service, to devices that this one may never meet, and a
    /// lease lets another device take over once this one has been silent for too long. The service learns the chain of
    /// records, and nothing of the data. Uses the service as mailbox, too, as [`Node::use_mailbox`] does.
    ///
    /// While the service has had too many requests it is asked again after a while, until the time of
    /// [`crate::Builder::handoff_timeout`] has passed. [`crate::Event::Delegated`] tells once, of the end.
    ///
    /// # Errors
    /// This device isn't the owner, or delegated already; the service didn't answer in time, or doesn't sign for others.
    pub async fn delegate(&self, session: SessionId, addr: SocketAddr, service: DeviceId) -> Result<(), Error> {
        self.use_mailbox(addr, service).await?;
        self.regranted("delegate the session", session, service, move |driver, limit| {
            let now = driver.now();
            driver.core.delegate(now, session, service, limit)
        })
        .await
    }

    /// Asks the service that signs the session's next record to leave that to this device again, which owns it; as often as
    /// [`Node::delegate`] does.
    ///
    /// # Errors
    /// This device isn't the owner, or nothing is delegated; the service didn't answer in time, or refused. After
    /// `HO_PENDING` it may still come about: [`crate::Event::Delegated`] tells.
    pub async fn reclaim(&self, session: SessionId) -> Result<(), Error> {
        let view = self.session(session).await?;
        let service = view.and_then(|view| view.grantor).unwrap_or(self.device());
        self.regranted("have the session signed here again", session, service, move |driver, limit| {
            let now = driver.now();
            driver.core.reclaim(now, session, limit)
        })
        .await
    }

    /// Has another device sign the next record, within the time of a handoff; again, after a pause, while the service has
    /// had too many requests.
    async fn regranted(
        &self,
        what: &'static str,
        session: SessionId,
        service: DeviceId,
        start: impl Fn(&mut Driver, u64) -> Result<(), UsageError> + Clone + Send + 'static,
    ) -> Result<(), Error> {
        let mut backoff = Backoff::new(self.handoff_timeout());
        let untold = Untold::new(self.events());
        loop {
            let (start, limit, teller) = (start.clone(), micros(backoff.left()), Arc::downgrade(&untold));
            let told = self.command(what, move |driver| {
                start(driver, limit)?;
                if let Some(untold) = teller.upgrade() {
                    untold.forget();
                }
                Ok(driver.waits.delegate(session, teller))
            });
            let told = match told.await {
                Ok(told) => told.await.map_err(|_| Error::Stopped),
                Err(error) => Err(error),
            };
            let code = match told {
                Ok(Ok(_)) => return Ok(()),
                Ok(Err(code)) => code,
                Err(error) => {
                    untold.ends_with(hindrance(&error));
                    return Err(error);
                }
            };
            if !backoff.again(code, self.retry_after(Asked::Session(session)).await).await {
                return Err(Error::Delegation { session, service, code });
            }
        }
    }
}

/// The code of what hinders a try.
fn hindrance(error: &Error) -> Code {
    match error {
        Error::Usage { source, .. } => source.code(),
        // It may have been asked for.
        _ => Code::HO_PENDING,
    }
}
