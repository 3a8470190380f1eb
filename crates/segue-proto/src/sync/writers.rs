//! Who writes as an actor: named beside what the actor wrote, in an extension.

use alloc::vec::Vec;

use crate::limits::MAX_NAMED;
use crate::wire::codec::{Blob, decode, encode};
use crate::wire::{Ext, Exts, List, Writer};
use crate::{Rules, Violation};

/// The extension of STRAND and PARTS that names writers.
const WRITERS: u32 = 1;

/// The extensions that name these writers, at most MAX_NAMED of them.
pub fn naming(writers: Vec<Writer>) -> Exts {
    if writers.is_empty() {
        return Exts::empty();
    }
    let writers: List<Writer, MAX_NAMED> = List::new(writers).unwrap_or_default();
    let bytes = Blob::new(encode(&writers)).unwrap_or_default();
    List::new(alloc::vec![Ext { id: WRITERS, bytes }]).unwrap_or_default()
}

/// The writers that a message names.
///
/// Errors: the extension isn't a list of writers.
pub fn named(rules: Rules, exts: &Exts) -> Result<Vec<Writer>, Violation> {
    let Some(ext) = exts.iter().find(|ext| ext.id == WRITERS) else { return Ok(Vec::new()) };
    decode::<List<Writer, MAX_NAMED>>(rules, &ext.bytes).map(List::into_vec)
}
