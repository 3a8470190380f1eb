//! Serving.

use std::fs::File;
use std::path::Path;

use segue_proto::wire::Hash;

use super::{MAX_READ, bound};
use crate::error::{During, StoreError};
use crate::files;

/// A blob that is held completely, open for reading.
#[derive(Debug)]
pub struct Source {
    blob: Hash,
    file: File,
    len: u64,
}

impl Source {
    pub(super) fn new(blob: Hash, file: File) -> Result<Self, StoreError> {
        let len = file.metadata().during(|| format!("opening blob {blob}"))?.len();
        Ok(Source { blob, file, len })
    }

    /// The length of the file, in bytes.
    #[expect(clippy::len_without_is_empty, reason = "the length of a blob; nobody asks whether one is empty")]
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Fills the buffer from an offset in bytes.
    ///
    /// # Errors
    /// [`StoreError::NotHeld`] if the file ends before, I/O errors.
    pub fn read_into(&self, offset: u64, buf: &mut [u8]) -> Result<(), StoreError> {
        let n = files::read_at(&self.file, offset, buf).during(|| format!("reading blob {}", self.blob))?;
        let short = || StoreError::NotHeld { blob: self.blob.to_string(), complete: false };
        if n == buf.len() { Ok(()) } else { Err(short()) }
    }

    /// Reads a range, offset and length in bytes.
    ///
    /// # Errors
    /// As [`read_into`](Source::read_into); [`StoreError::TooLarge`] above [`MAX_READ`].
    pub fn read(&self, offset: u64, len: u64) -> Result<Vec<u8>, StoreError> {
        bound("a range", len, MAX_READ)?;
        let mut buf = vec![0; len as usize];
        self.read_into(offset, &mut buf)?;
        Ok(buf)
    }

    /// Writes all of it to a new file, synced, if it is what its hash says.
    pub(super) fn copy_to(&self, path: &Path) -> Result<(), StoreError> {
        let during = || format!("writing {}", path.display());
        let to = File::create_new(path).during(during)?;
        let (mut hasher, mut buf) = (blake3::Hasher::new(), vec![0; COPY]);
        let mut offset = 0;
        while offset < self.len {
            let n = usize::try_from(self.len - offset).unwrap_or(COPY).min(COPY);
            self.read_into(offset, &mut buf[..n])?;
            hasher.update(&buf[..n]);
            files::write_at(&to, offset, &buf[..n]).during(during)?;
            offset += n as u64;
        }
        if hasher.finalize().as_bytes() != self.blob.as_bytes() {
            return Err(StoreError::corrupt(format!("the file of blob {} isn't what it was", self.blob)));
        }
        to.sync_data().during(during)
    }
}

/// The buffer of a copy, in bytes.
const COPY: usize = 1 << 20;
