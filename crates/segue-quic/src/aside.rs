//! What revoked devices wrote past their cuts: listed, and taken in if the user says so.

use segue_proto::SetAside;
use segue_proto::wire::{ActorId, PartId, SessionId};

use crate::error::Error;
use crate::files::wall_ms;
use crate::node::Node;

impl Node {
    /// What is set aside of a session, by part, writer and number (DATA-ASIDE-3): ops and values of revoked devices past
    /// their cuts. It is kept, and no part of the data. [`crate::Event::SetAside`] tells of more.
    ///
    /// # Errors
    /// [`Error::Stopped`].
    pub async fn set_aside(&self, session: SessionId) -> Result<Vec<SetAside>, Error> {
        self.call(move |driver| driver.core.set_aside(&session)).await
    }

    /// Takes in what is set aside of a writer in a part, and waits until that is durable: ops become part of the data on
    /// every device; a value is written as this device's own, in the place of those that are there.
    ///
    /// # Errors
    /// `BadPart` if nothing is set aside there, or it isn't well formed; `NotOwner` and its like if the part is exclusive
    /// and this device isn't primary; `UnknownSession`, `Closed`; [`Error::Stopped`].
    pub async fn take_in(&self, session: SessionId, part: PartId, writer: ActorId) -> Result<(), Error> {
        let written = self.command("take in what is set aside", move |driver| {
            let now = driver.now();
            let lsn = driver.core.take_in(now, wall_ms(), session, part, writer)?;
            Ok(driver.waits.durable(lsn))
        });
        written.await?.await.unwrap_or(Err(Error::Stopped))
    }
}
