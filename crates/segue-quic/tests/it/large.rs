//! A handoff of a large session of which little changed since the devices were linked last: what it sends and how long
//! it takes is a matter of what changed, not of what there is.
//!
//! Two sessions of files of one length, a small one and one many times its size, with the same number of them changed.
//! By default some megabytes; with `SEGUE_LARGE=full` 1 GiB in 10,000 files beside 16 MiB in 160, for which a release
//! build is meant. Times are printed, as ratios of the same round, and not gated.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use segue_quic::{Event, FileInfo, Node, Policy, SessionId};
use tempfile::TempDir;

use crate::util::*;

/// Files that change between two handoffs.
const CHANGED: usize = 10;

struct Size {
    small: usize,
    large: usize,
    len: usize,
    /// With one to warm up, twice: a device takes ten offers of a peer a minute.
    rounds: usize,
}

fn size() -> Size {
    match std::env::var("SEGUE_LARGE").as_deref() {
        // 10,000 files of 1 GiB in all.
        Ok("full") => Size { small: 160, large: 10_000, len: (1 << 30) / 10_000, rounds: 4 },
        _ => Size { small: 50, large: 500, len: 6_000, rounds: 1 },
    }
}

/// Where the target keeps its files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// In its store.
    Store,
    /// In a directory of its user's.
    Directory,
}

/// When the target's user accepts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum When {
    /// Once sync has brought what changed.
    Synced,
    /// As soon as the offer is there: it names a manifest that the target doesn't hold yet.
    AtOnce,
}

/// Two devices, and a session with so many files that both hold.
struct Pair {
    dir: TempDir,
    nodes: [Node; 2],
    session: SessionId,
    files: usize,
    len: usize,
    place: Place,
    /// Changes that were made.
    changes: usize,
}

/// What a handoff cost the source.
#[derive(Clone, Copy, Debug)]
struct Cost {
    control: u64,
    bulk: u64,
    udp: u64,
    took: Duration,
}

impl Pair {
    async fn new(files: usize, len: usize, place: Place) -> Pair {
        let dir = tempfile::tempdir().unwrap();
        let open = async |n| {
            disk(n, dir.path()).pulls(Policy::Allow).handoff_timeout(Duration::from_secs(600)).open().await.unwrap()
        };
        let nodes = [open(1).await, open(2).await];
        link(&nodes[0], &nodes[1]).await;
        std::fs::create_dir(dir.path().join("source")).unwrap();
        std::fs::create_dir(dir.path().join("target")).unwrap();
        let session = nodes[0].create_session("large", &[nodes[1].device()]).await.unwrap();
        let mut pair = Pair { dir, nodes, session, files, len, place, changes: 0 };
        pair.change(0..files).await;
        pair.nodes[0].write_view(session, "at the start").await.unwrap();
        pair.nodes[1].request_handoff(session, id(1)).await.unwrap();
        pair.come_back().await;
        pair
    }

    /// Writes other content into these files of the source's.
    async fn change(&mut self, files: impl Iterator<Item = usize>) {
        self.changes += 1;
        let changes = self.changes as u64;
        let of = |at: usize| (format!("{at}"), self.dir.path().join("source").join(at.to_string()));
        let named: Vec<(String, PathBuf)> = files
            .map(|at| {
                std::fs::write(of(at).1, content(self.len, at as u64, changes)).unwrap();
                of(at)
            })
            .collect();
        self.nodes[0].write_files(self.session, named).await.unwrap();
    }

    /// The session goes back to the source, and the target's files go where its user wants them.
    async fn come_back(&self) {
        within("the way back", self.nodes[0].request_handoff(self.session, id(2))).await.unwrap();
        if self.place == Place::Directory {
            for file in self.nodes[1].files(self.session).await.unwrap() {
                self.place_file(&file).await;
            }
        }
    }

    async fn place_file(&self, file: &FileInfo) {
        let dest = self.dir.path().join("target").join(&file.path);
        if self.nodes[1].blob_path(file.blob).await.unwrap().as_deref() != Some(Path::new(&dest)) {
            self.nodes[1].take_blob(file.blob, &dest).await.unwrap();
        }
    }

    /// Some files change while there is no link; then the source hands over as the devices meet again.
    async fn round(&mut self, round: usize, when: When) -> Cost {
        let [a, b] = self.nodes.clone();
        a.forget(b.device()).await.unwrap();
        within("the end of the link", async {
            while !(a.peers().await.unwrap().is_empty() && b.peers().await.unwrap().is_empty()) {
                tokio::task::yield_now().await;
            }
        })
        .await;
        let (step, files) = (self.files / CHANGED, self.files);
        self.change((0..CHANGED).map(|at| (at * step + round) % files)).await;
        let before = a.stats().await.unwrap();
        let start = Instant::now();
        let root = a.session(self.session).await.unwrap().unwrap().root;
        let accept = async {
            let (mut token, mut synced) = (None, when == When::AtOnce);
            while token.is_none() || !synced {
                match b.next_event().await.unwrap() {
                    Event::HandoffRequest { token: asks, .. } => token = Some(asks),
                    Event::Data { root: held, .. } => synced |= held == root,
                    _ => {}
                }
            }
            b.accept_handoff(token.unwrap()).await.unwrap();
        };
        let give = async {
            a.connect(b.local_addr().unwrap(), b.device()).await.unwrap();
            a.initiate_handoff(self.session, b.device()).await.unwrap();
        };
        within("the handoff", async { tokio::join!(give, accept) }).await;
        let took = start.elapsed();
        let after = a.stats().await.unwrap();
        assert_moved(&a, &b, self.session).await;
        assert_eq!(a.files(self.session).await.unwrap(), b.files(self.session).await.unwrap());
        let changed = b.read_file(self.session, &round.to_string()).await.unwrap();
        assert!(changed == content(self.len, round as u64, self.changes as u64));
        self.come_back().await;
        Cost {
            control: after.control_tx - before.control_tx,
            bulk: after.bulk_tx - before.bulk_tx,
            udp: after.udp_tx - before.udp_tx,
            took,
        }
    }

    async fn close(self) {
        for node in &self.nodes {
            node.shutdown().await;
        }
    }
}

#[tokio::test]
async fn a_handoff_costs_what_changed_and_not_what_there_is() {
    for place in [Place::Store, Place::Directory] {
        let Size { small, large, len, rounds } = size();
        let mut pairs = [Pair::new(small, len, place).await, Pair::new(large, len, place).await];
        for when in [When::Synced, When::AtOnce] {
            println!("{place:?}, {when:?}: {CHANGED} files of {len} bytes changed, {rounds} rounds");
            compare(&mut pairs, rounds, when).await;
        }
        for pair in pairs {
            pair.close().await;
        }
    }
}

async fn compare(pairs: &mut [Pair; 2], rounds: usize, when: When) {
    let mut costs: [Vec<Cost>; 2] = Default::default();
    // The first round warms up: what was just put into a directory is read once more.
    for round in 0..=rounds {
        for (pair, costs) in pairs.iter_mut().zip(&mut costs) {
            let cost = pair.round(round, when).await;
            costs.extend((round > 0).then_some(cost));
        }
    }
    for (pair, costs) in pairs.iter().zip(&costs) {
        let most = |of: fn(&Cost) -> u64| costs.iter().map(of).max().unwrap();
        let (control, bulk, udp) = (most(|cost| cost.control), most(|cost| cost.bulk), most(|cost| cost.udp));
        let times = costs.iter().map(|cost| cost.took.as_secs_f64() * 1e3).collect();
        let (sent, all) = (control + bulk, (pair.files * pair.len) as f64);
        let part = sent as f64 / all * 100.0;
        println!(
            "{:>6} files: {control} control + {bulk} bulk bytes sent, {part:.3} % of the session ({udp} of UDP); {} ms",
            pair.files,
            spread(times)
        );
        let manifest = if when == When::AtOnce { pair.files as u64 * ENTRY } else { 0 };
        let budget = (CHANGED * pair.len) as u64 + OVERHEAD + manifest;
        assert!(sent <= budget, "{sent} bytes for {CHANGED} files of {}, more than {budget}", pair.len);
    }
    let took = |cost: &Cost| cost.took.as_secs_f64();
    let ratios = costs[0].iter().zip(&costs[1]).map(|(small, large)| took(large) / took(small));
    println!("  time, large to small: {}", spread(ratios.collect()));
}

/// What a file takes in a manifest, at most, with the short names that it has here.
const ENTRY: u64 = 330;

/// The most that a handoff sends besides the content that changed: entries, chunk lists, records. An entry takes some
/// 300 bytes.
const OVERHEAD: u64 = 16_384;

/// The median, with the least and the most.
fn spread(mut values: Vec<f64>) -> String {
    values.sort_by(f64::total_cmp);
    format!("{:.2} ({:.2}–{:.2})", values[values.len() / 2], values[0], values[values.len() - 1])
}

/// Bytes that no other file and no other change has.
fn content(len: usize, file: u64, change: u64) -> Vec<u8> {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&file.to_be_bytes()).update(&change.to_be_bytes());
    let mut out = vec![0; len];
    hasher.finalize_xof().fill(&mut out);
    out
}
