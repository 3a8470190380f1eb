//! What devices and a mailbox say to one another, and the signed bodies inside of envelopes.

use super::codec::{Blob, List, Text};
use super::ids::{BoxId, DeviceId, Hash, SessionId};
use super::messages::Exts;
use super::schema::wire;
use super::signed::{Signed, SignedBody};
use crate::clause::Rules;
use crate::limits::{MAX_ENVELOPE, MAX_ENVELOPES, MAX_WITHOUT};
use crate::seal::ContentKey;
use crate::{Violation, wire::text};

wire! {
    /// Puts an envelope into a box.
    pub struct Put {
        /// The request.
        req: u32,
        /// The box.
        to: BoxId,
        /// The envelope.
        envelope: Blob<MAX_ENVELOPE>,
        /// Extensions.
        ext: Exts,
    }

    /// The envelope is in the box, durably.
    pub struct PutOk {
        /// The request.
        req: u32,
        /// Its offset.
        offset: u64,
        /// Extensions.
        ext: Exts,
    }

    /// Asks for the envelopes of a box that follow an offset.
    pub struct Fetch {
        /// The request.
        req: u32,
        /// The box.
        of: BoxId,
        /// The offset; 0 asks for all.
        after: u64,
        /// Extensions.
        ext: Exts,
    }

    /// Asks to be told once envelopes of a box follow an offset.
    pub struct Watch {
        /// The request.
        req: u32,
        /// The box.
        of: BoxId,
        /// The offset.
        after: u64,
        /// Extensions.
        ext: Exts,
    }

    /// Envelopes of a box, in order.
    pub struct Envelopes {
        /// The request.
        req: u32,
        /// The offset of the first of them; 0 if there are none.
        first: u64,
        /// The offset of the last envelope in the box; 0 if it is empty.
        last: u64,
        /// The envelopes.
        envelopes: List<Blob<MAX_ENVELOPE>, MAX_ENVELOPES>,
        /// Extensions.
        ext: Exts,
    }

    /// A content key of a session, for a device that may read it.
    pub struct KeyMsg {
        /// The session.
        session: SessionId,
        /// The key's number: one more than that of the keys that its maker knew.
        epoch: u32,
        /// The key.
        key: ContentKey,
        /// The devices that its maker knew to be revoked, ascending; none of them was given it.
        without: List<DeviceId, MAX_WITHOUT>,
        /// Extensions.
        ext: Exts,
    }

    /// Says whose the frames in an envelope are.
    pub struct Letter {
        /// Who signs, and sends.
        from: DeviceId,
        /// The session.
        session: SessionId,
        /// The box that it is for.
        to: BoxId,
        /// The number of this letter among those of its sender in this box, from 1.
        count: u64,
        /// The BLAKE3 hash of the frames.
        frames: Hash,
    }

    /// What an envelope in a session's box holds, once it is open.
    pub struct Sealed {
        /// The letter.
        letter: Signed<Letter>,
        /// The frames, one behind the other.
        frames: Blob<MAX_ENVELOPE>,
    }

    /// What an envelope in the box of a file's content holds, once it is open.
    pub struct Piece {
        /// Where it starts in the content.
        offset: u64,
        /// The bytes.
        bytes: Blob<MAX_ENVELOPE>,
    }

    /// Gives a content key to a device, in an envelope for it alone.
    pub struct Invitation {
        /// Who signs, and invites.
        from: DeviceId,
        /// Who is invited.
        to: DeviceId,
        /// The session.
        session: SessionId,
        /// The session's name, to show to the user.
        name: Text<256>,
        /// The key's number.
        epoch: u32,
        /// The key.
        key: ContentKey,
        /// The devices that its maker knew to be revoked, ascending.
        without: List<DeviceId, MAX_WITHOUT>,
    }
}

impl SignedBody for Letter {
    const NAME: &'static str = "letter";
    const ID_CONTEXT: &'static str = "segue/1 letter";
    const SIG_CONTEXT: &'static str = "segue/1 sig letter";
    fn check(&self, _rules: Rules) -> Result<(), Violation> {
        Ok(())
    }
}

impl SignedBody for Invitation {
    const NAME: &'static str = "invitation";
    const ID_CONTEXT: &'static str = "segue/1 invitation";
    const SIG_CONTEXT: &'static str = "segue/1 sig invitation";
    fn check(&self, rules: Rules) -> Result<(), Violation> {
        text::check_name(rules, &self.name)
    }
}
