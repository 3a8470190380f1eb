//! Delegation: a service signs a session's next record, so that it is handed over while its owner is away.

use std::net::SocketAddr;

use segue_proto::wire::{DeviceId, SessionId};

use crate::error::Error;
use crate::node::Node;

impl Node {
    /// Has `service`, which hosts a mailbox and keeps custody, sign the session's next record from now on. This device
    /// stays the owner and writes; handoffs go by way of the service, to devices that this one may never meet, and a
    /// lease lets another device take over once this one has been silent for too long. The service learns the chain of
    /// records, and nothing of the data. Uses the service as mailbox, too, as [`Node::use_mailbox`] does.
    ///
    /// # Errors
    /// This device isn't the owner, or delegated already; the service didn't answer in time, or doesn't sign for others.
    pub async fn delegate(&self, session: SessionId, addr: SocketAddr, service: DeviceId) -> Result<(), Error> {
        self.use_mailbox(addr, service).await?;
        let limit = self.limit();
        let told = self.command("delegate the session", move |driver| {
            let now = driver.now();
            driver.core.delegate(now, session, service, limit)?;
            Ok(driver.waits.delegate(session))
        });
        let ended = told.await?.await.map_err(|_| Error::Stopped)?;
        ended.map(|_| ()).map_err(|code| Error::Delegation { session, service, code })
    }

    /// Asks the service that signs the session's next record to leave that to this device again, which owns it.
    ///
    /// # Errors
    /// This device isn't the owner, or nothing is delegated; the service didn't answer in time, or refused. After
    /// `HO_PENDING` it may still come about: [`crate::Event::Delegated`] tells.
    pub async fn reclaim(&self, session: SessionId) -> Result<(), Error> {
        let limit = self.limit();
        let view = self.session(session).await?;
        let service = view.and_then(|view| view.grantor).unwrap_or(self.device());
        let told = self.command("have the session signed here again", move |driver| {
            let now = driver.now();
            driver.core.reclaim(now, session, limit)?;
            Ok(driver.waits.delegate(session))
        });
        let ended = told.await?.await.map_err(|_| Error::Stopped)?;
        ended.map(|_| ()).map_err(|code| Error::Delegation { session, service, code })
    }
}
