//! Handing blobs out to where their user wants them.

use std::fs;
use std::io::{self, ErrorKind};
use std::path::Path;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicU64, Ordering};

use segue_proto::wire::Hash;

use super::{Blobs, remove_if_there};
use crate::error::{During, StoreError};

impl Blobs {
    /// Moves a complete blob out of the store to `dest`, in one step: who looks there sees the old file or the new one
    /// whole. `dest` is linked as the blob's source from then on. Where a rename can't do it (another file system, or
    /// the blob lies in a linked file), the bytes are [copied](Blobs::copy_into).
    ///
    /// The caller answers for `dest`: it must have been resolved inside the directory that the user chose.
    ///
    /// # Errors
    /// [`StoreError::NotHeld`]; [`StoreError::Corrupt`] if a file that had to be copied isn't what its hash says;
    /// I/O errors.
    pub fn take_into(&self, blob: &Hash, dest: &Path) -> Result<(), StoreError> {
        // Not while a sync renames.
        let _syncing = self.syncing.lock().unwrap_or_else(PoisonError::into_inner);
        let done = self.lock().done.contains_key(blob);
        let held = if done { self.part_path(blob) } else { self.full_path(blob) };
        match fs::rename(&held, dest) {
            Ok(()) => {}
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::CrossesDevices) => {
                self.copy_into(blob, dest)?;
                remove_if_there(&held)?;
            }
            Err(error) => return Err(error).during(|| format!("moving a blob to {}", dest.display())),
        }
        self.link_external(blob, dest)?;
        let mut index = self.lock();
        index.parts.remove(blob);
        index.done.remove(blob);
        index.dirs.extend(held.parent().map(Path::to_path_buf));
        index.outside.extend(dest.parent().map(Path::to_path_buf));
        Ok(())
    }

    /// Copies a complete blob to `dest`, in one step, checked against its hash and synced. The caller answers for
    /// `dest`, as for [`take_into`](Blobs::take_into).
    ///
    /// # Errors
    /// As [`take_into`](Blobs::take_into).
    pub fn copy_into(&self, blob: &Hash, dest: &Path) -> Result<(), StoreError> {
        let during = || format!("copying a blob to {}", dest.display());
        let source = self.source(blob)?;
        let dir = dest.parent().ok_or_else(|| io::Error::from(ErrorKind::InvalidInput)).during(during)?;
        // Two copies may go to one directory at once, and a killed one leaves its draft.
        let turn = DRAFTS.fetch_add(1, Ordering::Relaxed);
        let draft = dir.join(format!(".segue-{}-{turn}", std::process::id()));
        let copied = source.copy_to(&draft).and_then(|()| fs::rename(&draft, dest).during(during));
        if copied.is_err() {
            // The first error is the one to tell.
            let _ = fs::remove_file(&draft);
        } else {
            self.lock().outside.insert(dir.to_path_buf());
        }
        copied
    }
}

static DRAFTS: AtomicU64 = AtomicU64::new(0);
