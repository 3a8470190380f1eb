//! A device in a process of its own, which does what its standard input says, a line a command, and tells on standard
//! output what was acknowledged.

use std::collections::BTreeSet;
use std::env::var;
use std::io::{BufRead, stdin};
use std::path::Path;
use std::sync::Arc;

use segue_quic::{Conflict, Error, Node, PartKind, Resolution, SessionId, UsageError, named_part};
use tokio::sync::{Mutex, mpsc};
use tokio::task::JoinSet;

use crate::util::*;

/// Names the device, its directory and its address.
pub(crate) const WORKER: &str = "SEGUE_TEST_WORKER";

/// Registers that all devices write.
pub(crate) const REGISTERS: u64 = 40;
/// Ops under way at once.
const FLIGHT: usize = 32;

/// A process of `three`, which starts this very test with a device to be; without one there is nothing to do.
#[test]
fn worker() {
    let Ok(told) = var(WORKER) else { return };
    let words: Vec<&str> = told.splitn(3, ' ').collect();
    let n = words[0].parse().unwrap();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let builder = disk(n, Path::new(words[2])).listen(words[1].parse().unwrap());
        let node = builder.follow(true).open().await.unwrap();
        serve(Worker { n, node, session: SessionId::new([0; 16]), paths: Arc::default() }).await;
    });
}

#[derive(Clone)]
struct Worker {
    n: u8,
    node: Node,
    session: SessionId,
    /// One op at a time looks whether a path is free, and takes it.
    paths: Arc<Mutex<()>>,
}

async fn serve(mut worker: Worker) {
    let (tell, mut lines) = mpsc::unbounded_channel();
    std::thread::spawn(move || stdin().lock().lines().map_while(Result::ok).try_for_each(|line| tell.send(line)));
    println!("ready");
    while let Some(line) = lines.recv().await {
        let words: Vec<&str> = line.split(' ').collect();
        let number = |at: usize| words[at].parse::<u64>().unwrap();
        match words[0] {
            "create" => {
                let session = worker.node.create_session("three", &[id(2), id(3)]).await.unwrap();
                worker.session = session;
                for name in 0..REGISTERS {
                    worker.node.write_register(session, &name.to_string(), "").await.unwrap();
                }
                println!("done {session}");
            }
            "join" => {
                worker.session = SessionId::from_hex(words[1]).unwrap();
                if worker.n != 1 && words.get(2) == Some(&"first") {
                    worker.node.follow(worker.session, id(1)).await.unwrap();
                }
                println!("done");
            }
            "connect" => {
                worker.node.connect(words[2].parse().unwrap(), id(number(1) as u8)).await.unwrap();
                println!("done");
            }
            "forget" => {
                worker.node.forget(id(number(1) as u8)).await.unwrap();
                println!("done");
            }
            "peers" => println!("done {}", worker.node.peers().await.unwrap().len()),
            "write" => {
                let write = write(worker.clone(), number(1), number(2), words[3] == "alone");
                write.await;
                println!("done");
            }
            "root" => {
                let view = worker.node.session(worker.session).await.unwrap();
                println!("done {}", view.map_or_else(String::new, |view| view.root.to_string()));
            }
            "dump" => {
                dump(&worker).await;
                println!("done");
            }
            other => panic!("{other:?}"),
        }
    }
}

/// Makes so many ops of all kinds, from a seed. `alone` says that no other device's ops come meanwhile.
async fn write(worker: Worker, count: u64, seed: u64, alone: bool) {
    let worker = Arc::new(worker);
    let mut running = JoinSet::new();
    for at in 0..count {
        let random = u64::from_be_bytes(noise_at(seed, at));
        let op = Op { name: format!("{}-{seed}-{at}", worker.n), random, alone };
        running.spawn(one(worker.clone(), op));
        if running.len() >= FLIGHT {
            running.join_next().await.unwrap().unwrap();
        }
    }
    while let Some(done) = running.join_next().await {
        done.unwrap();
    }
}

struct Op {
    /// What it writes; no two ops write the same.
    name: String,
    random: u64,
    alone: bool,
}

async fn one(worker: Arc<Worker>, op: Op) {
    let Op { name, random, alone } = op;
    let (node, session) = (&worker.node, worker.session);
    match random % 20 {
        0..=5 => {
            node.push_op(session, "text", name.as_str()).await.unwrap();
            println!("ack op {name}");
        }
        6..=10 => {
            node.append(session, "chat", name.as_str()).await.unwrap();
            println!("ack log {name}");
        }
        11..=15 => add(&worker, &(random / 20 % REGISTERS).to_string(), &name).await,
        // A path that others write too; once it has a file, it is theirs.
        16 if alone => {
            let path = format!("shared/{}", random / 20 % 64);
            let _taken = worker.paths.lock().await;
            if node.files(session).await.unwrap().iter().all(|file| file.path != path) {
                node.write_bytes(session, &path, name.clone()).await.unwrap();
                println!("ack file {name}");
            }
        }
        17 if worker.n == 1 => {
            node.write_view(session, random.to_be_bytes()).await.unwrap();
            println!("ack view {name}");
        }
        _ => {
            // Some of more than a chunk.
            let len = if random / 20 % 16 == 0 { 70_000 } else { 0 };
            let content = [name.as_bytes(), &vec![b' '; len]].concat();
            node.write_bytes(session, &format!("own/{name}"), content).await.unwrap();
            println!("ack file {name}");
        }
    }
}

/// Adds to the set that a register is, whatever others add meanwhile: what is replaced is just what was read.
async fn add(worker: &Worker, register: &str, name: &str) {
    let session = worker.session;
    loop {
        let held = worker.node.register(session, register).await.unwrap().expect("a register");
        let versions: Vec<_> = [held.shown].into_iter().chain(held.conflicts).collect();
        let mut set: BTreeSet<String> = BTreeSet::from([name.to_owned()]);
        versions.iter().for_each(|version| set.extend(names(version)));
        let part = named_part(&session, PartKind::Register, register);
        let seen = Conflict { session, part, path: None, versions };
        let value = set.into_iter().collect::<Vec<_>>().join(",");
        match worker.node.resolve(&seen, Resolution::Put(value.into_bytes())).await {
            Ok(()) => return println!("ack register {name}"),
            Err(Error::Usage { source: UsageError::Conflicted, .. }) => {}
            Err(error) => panic!("{error}"),
        }
    }
}

fn names(version: &segue_quic::Version) -> Vec<String> {
    let segue_quic::Content::Value(value) = &version.content else { return Vec::new() };
    let text = String::from_utf8(value.clone()).unwrap();
    text.split(',').filter(|name| !name.is_empty()).map(str::to_owned).collect()
}

/// Tells everything that the session holds.
async fn dump(worker: &Worker) {
    let (node, session) = (&worker.node, worker.session);
    for name in 0..REGISTERS {
        let held = node.register(session, &name.to_string()).await.unwrap().expect("a register");
        for version in [held.shown].iter().chain(&held.conflicts) {
            names(version).iter().for_each(|name| println!("has register {name}"));
        }
    }
    for entry in node.log(session, "chat").await.unwrap() {
        println!("has log {}", String::from_utf8_lossy(&entry.body));
    }
    let mut at = 0;
    loop {
        let page = node.ops(session, "text", at).await.unwrap();
        if page.ops.is_empty() {
            break;
        }
        at = page.next;
        page.ops.iter().for_each(|op| println!("has op {}", String::from_utf8_lossy(&op.body)));
    }
    let shown = node.files(session).await.unwrap().into_iter().filter(|file| !file.is_dir);
    let listed = node.conflicts(session).await.unwrap();
    println!("conflicts {}", listed.len());
    let versions = listed.iter().filter(|conflict| conflict.path.is_some()).flat_map(|conflict| &conflict.versions);
    let contents: BTreeSet<_> =
        shown.map(|file| (file.blob, file.len)).chain(versions.map(|version| (version.hash, version.len))).collect();
    for (blob, len) in contents {
        let content = within("the content", async {
            loop {
                match node.read_blob(blob, len).await {
                    Ok(content) => return content,
                    Err(_) => tokio::task::yield_now().await,
                }
            }
        });
        println!("has file {}", String::from_utf8_lossy(&content.await).trim_end());
    }
    let view = node.view(session).await.unwrap();
    println!("view {view:?}");
}

fn noise_at(seed: u64, at: u64) -> [u8; 8] {
    let input = [seed.to_be_bytes(), at.to_be_bytes()].concat();
    let hash = segue_proto::wire::hash::blob_id(&input);
    hash.as_bytes()[..8].try_into().unwrap()
}
