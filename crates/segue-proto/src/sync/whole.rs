//! That no content is missing which the data names, or that some is after all: said in extensions of SINCE, and of the MARK
//! of a letter (SYNC-WHOLE-1).

use crate::wire::{Blob, Ext, Exts, List};

/// The extension of SINCE. It has no bytes.
const WHOLE: u32 = 1;

/// The extensions that say so.
pub fn whole() -> Exts {
    List::new(alloc::vec![Ext { id: WHOLE, bytes: Blob::default() }]).unwrap_or_default()
}

/// The extension of a letter's MARK. It has no bytes.
const LACKS: u32 = 1;

/// The extensions by which a letter says that content is missing after all.
pub fn lacks() -> Exts {
    List::new(alloc::vec![Ext { id: LACKS, bytes: Blob::default() }]).unwrap_or_default()
}

/// Whether a letter's MARK says so.
pub fn says_lacks(exts: &Exts) -> bool {
    exts.iter().any(|ext| ext.id == LACKS)
}

/// Whether a SINCE says so.
pub fn is_whole(exts: &Exts) -> bool {
    exts.iter().any(|ext| ext.id == WHOLE)
}
