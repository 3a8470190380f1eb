//! The hashes of ops that are in a snapshot and that ops had read: beside those ops, in extensions.

use alloc::vec::Vec;

use crate::limits::MAX_EXT;
use crate::wire::codec::{Blob, decode, encode};
use crate::wire::{Ext, Exts, List, Tip};
use crate::{Rules, Violation};

/// The extension of OPS that holds them; it may come several times.
const KNOWN: u32 = 3;

/// As many of them as fit an extension: 74 bytes each at most.
const EACH: usize = 13;

/// As many of them as fit an OPS.
pub(super) const ROOM: usize = EACH * (MAX_EXT - 1);

/// The extensions that hold these, at most `ROOM` of them.
pub fn knowing(tips: &[Tip]) -> Exts {
    let ext = |tips: &[Tip]| {
        let tips: List<Tip, EACH> = List::new(tips.to_vec()).unwrap_or_default();
        Ext { id: KNOWN, bytes: Blob::new(encode(&tips)).unwrap_or_default() }
    };
    List::new(tips.chunks(EACH).map(ext).collect()).unwrap_or_default()
}

/// Those that a message holds.
///
/// Errors: an extension isn't a list of tips.
pub fn known(rules: Rules, exts: &Exts) -> Result<Vec<Tip>, Violation> {
    let mut tips = Vec::new();
    for ext in exts.iter().filter(|ext| ext.id == KNOWN) {
        tips.extend(decode::<List<Tip, EACH>>(rules, &ext.bytes)?.into_vec());
    }
    Ok(tips)
}
