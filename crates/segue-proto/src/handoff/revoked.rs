//! A device is revoked: nothing in a session waits for it any more.

use super::effects::Ctx;
use super::holdings::Holdings;
use super::session::Session;
use crate::Code;
use crate::event::Event;
use crate::wire::DeviceId;

impl<H: Holdings> Session<H> {
    /// Its WANT is void, and what was being handed to it isn't (ACCOUNT-REVOKE-3). A GRANT that is in the journal stands:
    /// a takeover is the way back. What is frozen for it is asked back.
    pub fn on_revoked(&mut self, ctx: &mut Ctx<'_>, device: DeviceId) {
        if let Some(live) = self.wants.remove(&device) {
            let (token, session) = (live.want.id(), self.id());
            ctx.event(Event::Withdrawn { token, session, code: Code::AUTH_REVOKED });
        }
        self.drop_handoff_to(ctx, &device, Code::AUTH_REVOKED);
        if self.delegate.frozen_for(&self.head().id()) == Some(device) {
            self.thaw(ctx);
        }
    }
}
