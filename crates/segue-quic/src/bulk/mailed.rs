//! Content by way of a mailbox: slices that are read to be put there, and chunks from there that are stored. The core
//! bounds both: one slice a mailbox, and TAKEN_WINDOW of chunks.

use segue_proto::{ContentRead, ContentWrite};
use tokio::task::spawn_blocking;

use super::Shared;
use crate::driver::Input;

/// Reads a slice of content or of a chunk list.
pub(crate) async fn read(request: ContentRead, shared: Shared) {
    let (storage, ContentRead { id, blob, len, offset, size, .. }) = (shared.storage.clone(), request);
    let read = spawn_blocking(move || {
        let source = storage.open(&blob, len)?;
        let mut buffer = vec![0; size];
        source.read_exact_at(offset, &mut buffer).ok()?;
        Some(buffer)
    });
    let bytes = read.await.ok().flatten();
    if bytes.is_none() {
        tracing::warn!(%blob, "content that is to be put into a mailbox isn't here, or has changed");
    }
    shared.tell(Input::ContentRead { id, bytes }).await;
}

/// Stores chunks, in order.
pub(crate) async fn write(chunks: Vec<ContentWrite>, shared: Shared) {
    let worker = shared.clone();
    let written = spawn_blocking(move || {
        for ContentWrite { id, plan, chunk, bytes, .. } in chunks {
            let input = match worker.storage.store(&plan, &[chunk], &bytes) {
                Ok(stored) => Input::ContentWritten { id, stored },
                Err(error) => Input::StoreFailed(error.to_string()),
            };
            let _ = worker.inbox.blocking_send(input);
        }
    });
    let _ = written.await;
}
