//! Histories that people typed, on two devices through partitions: two nodes over QUIC beside plain yrs over a plain
//! QUIC stream, which sends the very same flushes: `cargo bench -p segue-benches --bench history`.
//!
//! ```text
//! cargo bench -p segue-benches --bench history -- [paper] [friends] [--rounds N] [--most N]
//! ```
//!
//! - *paper*: one author, who changes devices now and then; *friends*: two people typing at once.
//! - Every keystroke is a flush, and so an op: nobody types two within 50 ms. *one by one* each is on its way before the
//!   next is typed, as at a typist's pace, which costs the most bytes; *together* up to 64 wait for each other, as
//!   after a while without a link, which is what the time is compared by.
//! - Links end at seeded points and are dialled again later; meanwhile both go on. What was sent within the last second
//!   before comes twice (MARK_DELAY). A second holds thousands of flushes here and a few of a typist's, so before a link
//!   ends it rests until that is acknowledged; the rest isn't timed.
//! - Bytes are those of the framing layer: of the nodes all that they write to streams, from the link's first frame to
//!   the acknowledgements; of plain yrs the updates, each behind its length, and a state vector a side when they meet.
//!   Both are counted from before the first link to the end. UDP bytes stand beside.
//! - Writers' ids are as long as each library draws them, and ascend, for the order of two inserts at one place is theirs.
//! - Nothing is durable on either side, for yrs keeps nothing. Both end with the text of the history, or the run fails.
//!
//! The bytes are gated, one by one and together; the times are printed, on the clock and on the processor, as ratios of
//! one round.

mod data;
mod ours;
mod plain;

use std::sync::LazyLock;
use std::time::{Duration, Instant};

use data::{Edit, History, Step};
use segue_testkit::Rng;
use tokio::runtime::Builder;

/// Two devices with a document each, and what is between them.
trait Side: Sized {
    /// Two devices without a link.
    async fn open() -> Self;
    /// A device edits, and flushes.
    fn edit(&mut self, device: usize, edits: &[Edit]);
    /// What a device flushed leaves, now or when there is a link again.
    async fn send(&mut self, device: usize);
    /// Waits until so many flushes of the other's have arrived at a device.
    async fn arrive(&mut self, device: usize, flushes: usize);
    /// A device's document takes in as many of them.
    fn apply(&mut self, device: usize, flushes: usize);
    /// Waits until what arrived a typist's second ago is acknowledged: here that second holds thousands of flushes.
    async fn rest(&mut self);
    /// The link ends.
    async fn part(&mut self);
    /// There is a link again.
    async fn meet(&mut self);
    /// The bytes sent, at the framing layer and by UDP.
    async fn bytes(&mut self) -> [u64; 2];
    /// The text of a device.
    fn text(&mut self, device: usize) -> String;
    /// Ends.
    async fn close(self);
}

fn main() {
    let args: Vec<String> = std::env::args().skip(1).filter(|arg| arg != "--bench").collect();
    let number = |name: &str| args.iter().position(|arg| arg == name).and_then(|at| args.get(at + 1)?.parse().ok());
    let (rounds, most) = (number("--rounds").unwrap_or(ROUNDS), number("--most").unwrap_or(usize::MAX));
    let named = |name: &str| args.iter().any(|arg| arg == name);
    let all = !named("paper") && !named("friends");
    let runtime = Builder::new_current_thread().enable_all().build().expect("the runtime starts");
    for (name, load) in [("paper", data::paper as fn(usize) -> History), ("friends", data::friends)] {
        if all || named(name) {
            let history = load(most);
            println!("\n{name}: {}, {} flushes, {} edits", history.source, history.steps.len(), history.edits());
            runtime.block_on(compare("one by one", &history, 1, 1));
            runtime.block_on(compare("together", &history, TOGETHER, rounds));
        }
    }
}

async fn compare(title: &str, history: &History, together: usize, rounds: usize) {
    let mut costs = Vec::new();
    for round in 0..rounds as u64 {
        // Each comes first as often as the other.
        let (own, plain);
        if round % 2 == 0 {
            own = play::<ours::Nodes>(history, together, round).await;
            plain = play::<plain::Yrs>(history, together, round).await;
        } else {
            plain = play::<plain::Yrs>(history, together, round).await;
            own = play::<ours::Nodes>(history, together, round).await;
        }
        costs.push((own, plain));
    }
    let of = |ratio: fn(&Cost) -> f64| costs.iter().map(|(own, plain)| ratio(own) / ratio(plain)).collect::<Vec<_>>();
    println!("{title}, {rounds} rounds, {} partitions in the first", costs[0].0.partitions);
    for (name, cost) in [("segue", &costs[0].0), ("plain yrs", &costs[0].1)] {
        let each = cost.bytes as f64 / history.steps.len() as f64;
        let (bytes, udp, clock, processor) = (cost.bytes, cost.udp, cost.clock, cost.processor);
        println!("{name:>10}: {bytes} bytes ({each:.1} a flush), {udp} of UDP, {clock:.2?}, processor {processor:.2?}");
    }
    println!("    ratios: bytes {}, UDP {}", spread(of(|cost| cost.bytes as f64)), spread(of(|cost| cost.udp as f64)));
    println!(
        "            time {}, on the processor {}",
        spread(of(|cost| cost.clock.as_secs_f64())),
        spread(of(|cost| cost.processor.as_secs_f64()))
    );
    for (own, plain) in &costs {
        let budget = plain.bytes * BYTES / 100;
        assert!(own.bytes <= budget, "{title}: {} bytes, more than {budget}", own.bytes);
    }
}

/// What a run cost.
#[derive(Clone, Copy, Debug)]
struct Cost {
    bytes: u64,
    udp: u64,
    clock: Duration,
    processor: Duration,
    partitions: usize,
}

/// Plays a history, with so many flushes that wait for each other and partitions from a seed.
async fn play<S: Side>(history: &History, together: usize, seed: u64) -> Cost {
    let mut side = S::open().await;
    let mut rng = Rng::new(seed, "partitions");
    let [online, offline] = [ONLINE, OFFLINE].map(|part| history.steps.len() as u64 / part);
    let (mut idle, mut idled) = (Duration::ZERO, Duration::ZERO);
    let (start, worked) = (Instant::now(), spent());
    side.meet().await;
    let (mut linked, mut partitions, mut turn) = (true, 0, rng.below(online));
    let (mut flushed, mut applied, mut waiting) = ([0, 0], [0, 0], [0, 0]);
    for Step { device, needs, edits } in &history.steps {
        let (device, other) = (*device, 1 - *device);
        let reads = *needs > applied[device];
        turn = turn.saturating_sub(1);
        if linked && turn == 0 && !reads {
            let (rest, rested) = (Instant::now(), spent());
            side.rest().await;
            (idle, idled) = (idle + rest.elapsed(), idled + (spent() - rested));
            side.part().await;
            (linked, partitions, turn) = (false, partitions + 1, rng.below(offline));
        } else if !linked && (turn == 0 || reads) {
            // Who has to read what the other wrote waits for the link.
            side.meet().await;
            (linked, turn) = (true, rng.below(online));
        }
        if reads {
            side.send(other).await;
            waiting[other] = 0;
            side.arrive(device, *needs).await;
            side.apply(device, *needs);
            applied[device] = *needs;
        }
        side.edit(device, edits);
        flushed[device] += 1;
        waiting[device] += 1;
        if waiting[device] >= together {
            side.send(device).await;
            waiting[device] = 0;
            if together == 1 && linked {
                side.arrive(other, flushed[device]).await;
            }
        }
    }
    if !linked {
        side.meet().await;
    }
    for (device, made) in flushed.iter().copied().enumerate() {
        side.send(device).await;
        side.arrive(1 - device, made).await;
        side.apply(1 - device, made);
    }
    let (clock, processor) = (start.elapsed() - idle, spent() - worked - idled);
    for device in 0..2 {
        let text = side.text(device);
        let same = text.bytes().zip(history.end.bytes()).take_while(|(a, b)| a == b).count();
        assert!(text == history.end, "device {device} ends with another text, from {same} of {} on", text.len());
    }
    let [bytes, udp] = side.bytes().await;
    side.close().await;
    Cost { bytes, udp, clock, processor, partitions }
}

/// The time that this thread ran, where Linux tells it: both sides run on one thread alone.
fn spent() -> Duration {
    static START: LazyLock<Instant> = LazyLock::new(Instant::now);
    let told = std::fs::read_to_string("/proc/thread-self/schedstat").ok();
    let nanos = told.and_then(|told| told.split_whitespace().next()?.parse().ok());
    nanos.map_or_else(|| START.elapsed(), Duration::from_nanos)
}

/// The median, with the least and the most.
fn spread(mut values: Vec<f64>) -> String {
    values.sort_by(f64::total_cmp);
    format!("{:.2} ({:.2}–{:.2})", values[values.len() / 2], values[0], values[values.len() - 1])
}

/// The budget of bytes, in hundredths of plain yrs.
const BYTES: u64 = 130;
/// The flushes that are handed over at once.
const TOGETHER: usize = 64;
/// Into how many parts a history falls at least: as many flushes are made with a link at most, and without.
const ONLINE: u64 = 6;
const OFFLINE: u64 = 25;
const ROUNDS: usize = 5;
