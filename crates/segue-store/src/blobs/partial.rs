//! Receiving.

use std::fs::{File, OpenOptions};
use std::sync::Arc;

use segue_proto::wire::Hash;

use super::{Blobs, bound};
use crate::error::{During, StoreError};
use crate::files;

/// A blob that is being received. Several may be open for one blob; they share the file.
#[derive(Debug)]
pub struct Partial {
    blobs: Arc<Blobs>,
    blob: Hash,
    len: u64,
    file: Arc<File>,
}

impl Blobs {
    /// Opens the partial file of a blob of `len` bytes for writing, or begins one. A blob that is complete already may
    /// be received again; its old file stays until the new one is complete and synced.
    ///
    /// # Errors
    /// I/O errors; [`StoreError::Halted`] after a failed sync.
    pub fn partial(self: &Arc<Self>, blob: &Hash, len: u64) -> Result<Partial, StoreError> {
        self.make_room()?;
        if self.lock().done.contains_key(blob) {
            // It gets its name first, and the new one a file of its own.
            self.sync()?;
        }
        let mut index = self.lock();
        let open = index.parts.get(blob).and_then(std::sync::Weak::upgrade);
        let file = match open {
            Some(file) => file,
            None => {
                let path = self.part_path(blob);
                let during = || format!("opening {}", path.display());
                let mut options = OpenOptions::new();
                let file = options.read(true).write(true).create(true).truncate(false).open(&path).during(during)?;
                if file.metadata().during(during)?.len() > len {
                    file.set_len(len).during(during)?;
                }
                Arc::new(file)
            }
        };
        index.parts.insert(*blob, Arc::downgrade(&file));
        index.dirs.insert(self.part.clone());
        Ok(Partial { blobs: Arc::clone(self), blob: *blob, len, file })
    }

    /// Keeps a small blob whole: a manifest, a chunk list, a short file. The same as writing its one chunk to a
    /// [`Partial`] and completing it, so it is durable after the next [`sync`](Blobs::sync).
    ///
    /// # Errors
    /// As [`partial`](Blobs::partial) and [`Partial::write`].
    pub fn put(self: &Arc<Self>, blob: &Hash, bytes: &[u8]) -> Result<(), StoreError> {
        let partial = self.partial(blob, bytes.len() as u64)?;
        partial.write(0, bytes)?;
        partial.complete()
    }
}

impl Partial {
    /// Writes a verified chunk at its offset, in bytes. It is durable after the next [`Blobs::sync`] that begins once
    /// this has returned.
    ///
    /// # Errors
    /// [`StoreError::TooLarge`] past the blob's end, I/O errors.
    pub fn write(&self, offset: u64, bytes: &[u8]) -> Result<(), StoreError> {
        bound("the end of a chunk", offset.saturating_add(bytes.len() as u64), self.len)?;
        files::write_at(&self.file, offset, bytes).during(|| format!("writing blob {}", self.blob))?;
        // Only now: a sync that took the mark before the bytes are there would miss them.
        self.blobs.lock().dirty.insert(self.blob, Arc::clone(&self.file));
        Ok(())
    }

    /// Shows what was written from `from` bytes on, in order and in pieces; what never was shows as zeros.
    ///
    /// # Errors
    /// I/O errors.
    pub fn show(&self, from: u64, show: &mut dyn FnMut(&[u8])) -> Result<(), StoreError> {
        let (mut offset, mut buffer) = (from, vec![0; PIECE]);
        loop {
            let read =
                files::read_at(&self.file, offset, &mut buffer).during(|| format!("reading blob {}", self.blob))?;
            if read == 0 {
                return Ok(());
            }
            show(&buffer[..read]);
            offset += read as u64;
        }
    }

    /// Says that every chunk was written. The blob is complete at once, and durable after the next [`Blobs::sync`].
    ///
    /// # Errors
    /// [`StoreError::NotHeld`] if the file is shorter than the blob.
    pub fn complete(self) -> Result<(), StoreError> {
        let len = self.file.metadata().during(|| format!("completing blob {}", self.blob))?.len();
        if len != self.len {
            return Err(StoreError::NotHeld { blob: self.blob.to_string(), complete: false });
        }
        let mut index = self.blobs.lock();
        // Also if nothing was written now: the bytes may be from before a crash, and not synced.
        index.dirty.insert(self.blob, self.file);
        index.done.insert(self.blob, len);
        Ok(())
    }
}

/// What is shown at once, in bytes: enough for a hash to be at full speed.
const PIECE: usize = 256 << 10;
