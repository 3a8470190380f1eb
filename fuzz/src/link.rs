//! Raw bytes of a control stream, before and after AUTH.

use segue_proto::{Continuity, Role};

use crate::endpoint::foe::Foe;
use crate::endpoint::rig::{Quirks, Rig};
use crate::input::Input;

/// A byte of choices (the role; whether the peer authenticates first), one of quirks, one of cuts, and raw bytes, cut
/// into pieces. The endpoint must hold what [`crate::endpoint()`] says, whatever the bytes.
pub fn link(data: &[u8]) {
    let mut input = Input::new(data);
    let choices = input.byte();
    let mut rig = Rig::new(Quirks::of(input.byte()));
    let mut foe = Foe::new(rig.session());
    rig.trust_foe();
    let role = if choices & 1 == 0 { Role::Responder } else { Role::Initiator };
    rig.link(role, choices & 2 == 0, &foe, 0);
    rig.settle(&mut foe);
    let link = rig.some_link(&mut Input::new(&[]));
    let piece = usize::from(input.byte()) * 4 + 1;
    while !input.is_empty() {
        let bytes = input.take(piece);
        rig.bytes(link, bytes);
        rig.settle(&mut foe);
        rig.sync(1);
    }
    rig.pass(60_000_000);
    rig.settle(&mut foe);
    rig.reopen(Continuity::Proven, &mut foe);
}
