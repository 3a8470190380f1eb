//! Searching: which chunks of a blob the device holds already. They are read and verified like any others.

use segue_proto::Search;
use segue_proto::transfer::Verified;
use tokio::task::spawn_blocking;

use super::Shared;
use crate::driver::Input;

/// Chunks that are told at once.
const BURST: usize = 256;

/// Searches for several blobs, one after the other.
pub(crate) async fn search(searches: Vec<Search>, shared: Shared) {
    let worker = shared.clone();
    let searched = spawn_blocking(move || {
        for Search { session, plan, old } in searches {
            if worker.inbox.is_closed() {
                return;
            }
            let mut found = Vec::new();
            let looked = worker.storage.find(worker.rules, &plan, &old, |chunk| {
                found.push(chunk);
                if found.len() >= BURST {
                    tell(&worker, std::mem::take(&mut found));
                }
            });
            // A file that can't be read holds nothing; what is missing is asked for.
            if let Err(error) = looked {
                tracing::warn!(blob = %plan.blob(), %error, "searching for a blob");
            }
            tell(&worker, found);
            let _ = worker.inbox.blocking_send(Input::Searched { session, blob: plan.blob() });
        }
    });
    let _ = searched.await;
}

fn tell(shared: &Shared, found: Vec<Verified>) {
    if !found.is_empty() {
        shared.counters.chunks_found.add(found.len() as u64);
        let _ = shared.inbox.blocking_send(Input::Found(found));
    }
}
