//! Types a history into one device and sends each keystroke to another: this crate beside plain yrs, in one run.
//!
//! `cargo run --release -p segue-crdt --example keystrokes -- automerge-paper.json.gz`

use std::io::Read;
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use segue_crdt::{Document, YrsText};
use yrs::updates::decoder::Decode;
use yrs::{Doc, GetString, Text, Transact, Update};

type Edit = (u32, u32, String);

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let path = std::env::args().nth(1).ok_or("name a history")?;
    let mut text = String::new();
    flate2::read::GzDecoder::new(std::fs::File::open(path)?).read_to_string(&mut text)?;
    let json: serde_json::Value = serde_json::from_str(&text)?;
    let patches = json["txns"].as_array().into_iter().flatten().flat_map(|txn| txn["patches"].as_array());
    let edits: Vec<Edit> = patches.flatten().map(edit).collect::<Option<_>>().ok_or("no history")?;
    let end = json["endContent"].as_str().ok_or("no history")?;

    let (bytes, took) = plain(&edits, end)?;
    report("plain yrs", edits.len(), bytes, took, (bytes, took));
    for watched in [false, true] {
        let own = through_documents(&edits, end, watched)?;
        report(if watched { "watched" } else { "unwatched" }, edits.len(), own.0, own.1, (bytes, took));
    }
    Ok(())
}

fn report(name: &str, edits: usize, bytes: usize, took: Duration, plain: (usize, Duration)) {
    println!(
        "{name:>9}: {edits} edits, {bytes} bytes ({:.1} an edit, {:.2} of plain), {took:.2?} ({:.2} of plain)",
        bytes as f64 / edits as f64,
        bytes as f64 / plain.0 as f64,
        took.as_secs_f64() / plain.1.as_secs_f64(),
    );
}

fn plain(edits: &[Edit], end: &str) -> Result<(usize, Duration), Box<dyn std::error::Error>> {
    let docs = [Doc::new(), Doc::new()];
    let texts = docs.each_ref().map(|doc| doc.get_or_insert_text("text"));
    let (start, mut bytes) = (spent(), 0);
    for (at, deleted, inserted) in edits {
        let mut txn = docs[0].transact_mut();
        // Each call looks for its place, also if it has nothing to do there.
        if *deleted > 0 {
            texts[0].remove_range(&mut txn, *at, *deleted);
        }
        if !inserted.is_empty() {
            texts[0].insert(&mut txn, *at, inserted);
        }
        txn.commit();
        let update = txn.encode_update_v1();
        drop(txn);
        bytes += update.len();
        docs[1].transact_mut().apply_update(Update::decode_v1(&update)?)?;
    }
    let took = spent() - start;
    assert_eq!(texts[1].get_string(&docs[1].transact()), end);
    Ok((bytes, took))
}

fn through_documents(
    edits: &[Edit],
    end: &str,
    watched: bool,
) -> Result<(usize, Duration), Box<dyn std::error::Error>> {
    let [mut a, mut b] = [YrsText::open(None)?, YrsText::open(None)?];
    if watched {
        a.watch()?;
        b.watch()?;
    }
    let (start, mut bytes) = (spent(), 0);
    for (at, deleted, inserted) in edits {
        a.delete(*at as usize, *deleted as usize)?;
        a.insert(*at as usize, inserted)?;
        while let Some(op) = a.flush() {
            bytes += op.len();
            b.apply(&op)?;
        }
        b.patches();
    }
    let took = spent() - start;
    assert_eq!(b.text()?, end);
    Ok((bytes, took))
}

/// The time that this thread ran, where Linux tells it: a busy machine's clock compares nothing.
fn spent() -> Duration {
    static START: LazyLock<Instant> = LazyLock::new(Instant::now);
    let told = std::fs::read_to_string("/proc/thread-self/schedstat").ok();
    let nanos = told.and_then(|told| told.split_whitespace().next()?.parse().ok());
    nanos.map_or_else(|| START.elapsed(), Duration::from_nanos)
}

fn edit(patch: &serde_json::Value) -> Option<Edit> {
    let number = |index: usize| u32::try_from(patch[index].as_u64()?).ok();
    Some((number(0)?, number(1)?, patch[2].as_str()?.into()))
}
