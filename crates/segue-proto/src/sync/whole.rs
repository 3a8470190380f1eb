//! That no content is missing which the data names: said in an extension of SINCE (SYNC-WHOLE-1).

use crate::wire::{Blob, Ext, Exts, List};

/// The extension of SINCE. It has no bytes.
const WHOLE: u32 = 1;

/// The extensions that say so.
pub fn whole() -> Exts {
    List::new(alloc::vec![Ext { id: WHOLE, bytes: Blob::default() }]).unwrap_or_default()
}

/// Whether a SINCE says so.
pub fn is_whole(exts: &Exts) -> bool {
    exts.iter().any(|ext| ext.id == WHOLE)
}
