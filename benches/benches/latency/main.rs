//! Handoffs over loopback QUIC beside a bare quinn exchange: `cargo bench -p segue-benches --bench latency`.
//!
//! ```text
//! cargo bench -p segue-benches --bench latency -- [latency] [durable] [incremental] [bulk] [multi] [--rounds N]
//! ```
//!
//! Without a name all tables are printed. Every round visits every row; a row's value in a round is the median of its
//! iterations there. Printed are the median, least and most over the rounds, and the paired ratio to the floor of the
//! same round. Tables:
//!
//! - *latency*: a warm link, nothing durable, and the target holds all data. `bare` sends the same bytes in the same flights over the same connection
//!   settings; `floor` also makes and verifies the signatures of the handoff; `segue` is two nodes in memory. The clock
//!   runs from the command to the source knowing, in a pull to the target knowing.
//! - *durable*: the same with stores on disk. The floor commits batches of the same size, as many as a handoff
//!   waits for up to where its clock stops, to the same kind of store.
//! - *incremental*: a session of 1,000 registers of 1,000 bytes, of which one is written and the session handed over by
//!   standing consent, nothing durable. `journal` sends the journal's records of that write and is answered; `signed`
//!   also makes and verifies the signatures of the handoff; `segue` runs from the write to the source knowing and the
//!   target showing what was written; `write` and `handoff` are the two calls of it, of which the first sends the write.
//!   The floor moves no ownership, merges nothing and keeps no history.
//! - *bulk*: 64 MB from memory to memory over a warm link, as one file and as 1,000. `bare` is one unidirectional
//!   stream, which its receiver reads into a buffer; `streams` is one such stream a file; `kept` is the same with a
//!   receiver that hashes what it reads, in pieces and whole, and keeps it; `segue` pulls a session that the target
//!   doesn't know: it verifies every chunk and every whole, keeps them, and owns the session.
//!
//! The runtime is tokio's current-thread one; `multi` repeats the tables named beside it on the multi-thread one, by
//! default the latency table. After every
//! handoff, outside the clock, both nodes must agree, just one is primary, and the other's write is refused.
//! Wall times are read, not gated: only figures of one run compare.

mod bare;
mod nodes;
mod table;

use std::future::Future;
use std::time::Duration;

use bare::{Bare, Stores};
use nodes::{Nodes, Place};
use segue_benches::Way;
use table::Table;
use tokio::runtime::{Builder, Runtime};

fn main() {
    let args: Vec<String> = std::env::args().skip(1).filter(|arg| arg != "--bench").collect();
    let rounds = args.iter().position(|arg| arg == "--rounds").and_then(|at| args.get(at + 1)?.parse().ok());
    let named = |name: &str| args.iter().any(|arg| arg == name);
    let any = ["latency", "durable", "incremental", "bulk", "multi"].into_iter().any(named);
    let rounds: usize = rounds.unwrap_or(ROUNDS);
    let offered = rounds.min(MAX_OFFERED);
    let single = || Builder::new_current_thread().enable_all().build();
    let multi = || Builder::new_multi_thread().worker_threads(2).enable_all().build();
    if !any || named("latency") {
        run(single(), latency("current-thread runtime, nothing durable", offered, Place::Memory));
    }
    if !any || named("multi") && !named("bulk") {
        run(multi(), latency("multi-thread runtime, nothing durable", offered, Place::Memory));
    }
    if !any || named("durable") {
        run(single(), latency("current-thread runtime, durable", offered, Place::Disk));
    }
    if !any || named("incremental") {
        run(single(), incremental("current-thread runtime, nothing durable", rounds));
    }
    if !any || named("bulk") {
        run(single(), bulk("current-thread runtime", rounds));
    }
    if named("bulk") && named("multi") {
        run(multi(), bulk("multi-thread runtime", rounds));
    }
}

fn run(runtime: std::io::Result<Runtime>, bench: impl Future<Output = ()>) {
    runtime.expect("the runtime starts").block_on(bench);
}

async fn latency(title: &str, rounds: usize, place: Place) {
    let mut bare = Bare::open(false).await;
    let mut stores = (place == Place::Disk).then(Stores::open);
    let mut nodes = Vec::new();
    for _ in 0..ITERATIONS {
        nodes.push(Nodes::open(place).await);
    }
    let mut tables: Vec<(Way, Table)> = Way::ALL.map(|way| (way, Table::new(&ROWS))).into();
    for round in 0..=rounds {
        for (way, table) in &mut tables {
            let plan = bare::plan(*way);
            let mut samples: [Vec<Duration>; 3] = Default::default();
            for at in 0..ITERATIONS {
                // A peer may make ten offers a minute, so that each iteration is by nodes of its own.
                let nodes = &mut nodes[if *way == Way::Accepted { at } else { 0 }];
                samples[0].push(bare.exchange(&plan, false, None).await);
                samples[1].push(bare.exchange(&plan, true, stores.as_mut()).await);
                samples[2].push(nodes.handoff(*way).await);
            }
            // The first round warms up.
            if round > 0 {
                table.push(samples.map(median));
            }
        }
    }
    println!("\n{title}, {rounds} rounds");
    for (way, table) in &tables {
        table.print(way.name(), 1);
    }
    for nodes in &nodes {
        nodes.close().await;
    }
}

async fn incremental(title: &str, rounds: usize) {
    let mut bare = Bare::open(false).await;
    let mut nodes = Nodes::open(Place::Memory).await;
    nodes.fill(REGISTERS, REGISTER).await;
    let plan = bare::answered(RECORDS);
    let mut table = Table::new(&["journal", "signed", "segue", "write", "handoff"]);
    for round in 0..=rounds {
        let mut samples: [Vec<Duration>; 5] = Default::default();
        for at in 0..ITERATIONS {
            samples[0].push(bare.exchange(&plan, false, None).await);
            samples[1].push(bare.exchange(&plan, true, None).await);
            let mut value = noise(REGISTER);
            value[..8].copy_from_slice(&(round * ITERATIONS + at).to_be_bytes());
            let [all, write, handoff] = nodes.change(at % REGISTERS, value).await;
            samples[2].push(all);
            samples[3].push(write);
            samples[4].push(handoff);
        }
        if round > 0 {
            table.push(samples.map(median));
        }
    }
    println!("\n1 MB, 0.1 % changed, {title}, {rounds} rounds");
    table.print("incremental", 0);
    nodes.close().await;
}

async fn bulk(title: &str, rounds: usize) {
    let whole = bytes::Bytes::from(noise(BULK));
    let warm = [bytes::Bytes::from(noise(WARM)).slice(1..)];
    println!("\n64 MB, memory to memory, {title}, {rounds} rounds");
    for count in [1, 1_000] {
        let files: Vec<_> = (0..count).map(|at| whole.slice(at * BULK / count..(at + 1) * BULK / count)).collect();
        let mut bare = Bare::open(false).await;
        let mut keeping = Bare::open(true).await;
        let mut table = Table::new(&["bare", "streams", "kept", "segue"]);
        for round in 0..=rounds {
            // As over a node's link, something goes before what is measured; and no row is always first.
            let mut sample = [Duration::ZERO; 4];
            for row in (0..4).map(|row| (row + round) % 4) {
                sample[row] = match row {
                    0 => bare.bulk_after(&warm, std::slice::from_ref(&whole)).await,
                    1 => bare.bulk_after(&warm, &files).await,
                    2 => keeping.bulk_after(&warm, &files).await,
                    _ => nodes::bulk(&warm, &files).await,
                };
            }
            if round > 0 {
                table.push(sample);
            }
        }
        table.print(if count == 1 { "one file" } else { "1,000 files" }, 0);
        table.print_throughput(BULK);
    }
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times.get(times.len() / 2).copied().unwrap_or_default()
}

/// Bytes that don't repeat, so that no chunk is found twice.
fn noise(len: usize) -> Vec<u8> {
    segue_testkit::Rng::new(1, "bulk").bytes(len)
}

/// From: performance measurements want at least 15 paired rounds.
const ROUNDS: usize = 15;
/// The most rounds in which offers are made: each node then makes ten, and a peer takes so many a minute.
const MAX_OFFERED: usize = 19;
/// Handoffs a round and row. From: guess; enough for a median.
const ITERATIONS: usize = 20;
/// Registers of the incremental session, and their bytes: 1 MB, of which one is 0.1 %.
const REGISTERS: usize = 1_000;
const REGISTER: usize = 1_000;
/// The journal's records of a write to one of them: its bytes, with keys, op and place in the log.
const RECORDS: usize = 1_281;
const BULK: usize = 64_000_000;
/// What goes over a link before the clock starts: windows and congestion control have found their places by then.
const WARM: usize = BULK;
const ROWS: [&str; 3] = ["bare", "floor", "segue"];
