//! Times a disk: `measure DIR commits|groups|blobs|open N`. Run it under `strace -f -c -e trace=fsync,fdatasync` to
//! count the syncs from outside.

use std::path::Path;
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use segue_proto::wire::hash::blob_id;
use segue_proto::{Batch, Lsn, Write};
use segue_store::{Blobs, Hooks, Journal, Report, StoreError};

fn main() -> Result<(), StoreError> {
    let mut args = std::env::args().skip(1);
    let dir = args.next().unwrap_or_else(|| "measured".into());
    let what = args.next().unwrap_or_else(|| "commits".into());
    let n = args.next().and_then(|n| n.parse().ok()).unwrap_or(1_000);
    let dir = Path::new(&dir);
    match what.as_str() {
        "blobs" => blobs(dir, n),
        "open" => (0..n).try_for_each(|_| journal(dir, 0, 1)),
        "groups" => journal(dir, n, 64),
        _ => journal(dir, n, 1),
    }
}

/// Batches of 200 bytes, so many at a time.
fn journal(dir: &Path, batches: u64, at_once: u64) -> Result<(), StoreError> {
    let (send, reports) = channel();
    let hooks = Hooks::new(move |report| drop(send.send(report)));
    let began = Instant::now();
    let (journal, opened) = Journal::open(&dir.join("store"), &dir.join("witness"), hooks)?;
    println!("opened {:?} with {} entries in {:.1?}", opened.continuity, opened.entries.len(), began.elapsed());
    let before = journal.stats();
    let mut times: Vec<Duration> = Vec::new();
    let (mut lsn, end) = (opened.last.0, opened.last.0 + batches);
    while lsn < end {
        let began = Instant::now();
        for _ in 0..at_once {
            lsn += 1;
            let write = Write { key: (lsn % 10_000).to_be_bytes().to_vec(), value: Some(vec![lsn as u8; 200]) };
            drop(journal.submit(Batch { lsn: Lsn(lsn), writes: vec![write], after_chunks: false }));
        }
        while !matches!(reports.recv(), Ok(Report::Durable(durable)) if durable.0 == lsn) {}
        times.push(began.elapsed());
    }
    let after = journal.stats();
    times.sort();
    if let (Some(best), Some(worst)) = (times.first(), times.last()) {
        println!("per {at_once}: median {:.1?}, {best:.1?} to {worst:.1?}", times[times.len() / 2]);
        let syncs = after.syncs - before.syncs;
        println!("{} batches, {} commits, {syncs} syncs, {} growths", after.batches, after.commits, after.growths);
    }
    let began = Instant::now();
    journal.close();
    println!("closed in {:.1?}", began.elapsed());
    Ok(())
}

/// Small blobs, then one sync.
fn blobs(dir: &Path, n: u64) -> Result<(), StoreError> {
    let blobs = Blobs::open(&dir.join("store"))?;
    let began = Instant::now();
    for n in 0..n {
        let bytes = n.to_be_bytes().repeat(2_500);
        blobs.put(&blob_id(&bytes), &bytes)?;
    }
    blobs.sync()?;
    println!("{n} blobs of 20 kB durable in {:.1?}", began.elapsed());
    Ok(())
}
