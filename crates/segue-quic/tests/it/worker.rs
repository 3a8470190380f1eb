//! A device in a process of its own, which does what its standard input says, a line a command, and tells on standard
//! output what was acknowledged.

use std::collections::BTreeSet;
use std::env::var;
use std::io::{BufRead, stdin};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use segue_quic::{Conflict, Content, Error, Node, PartKind, Policy, Resolution, SessionId, SessionRole, UsageError};
use segue_quic::{Version, named_part};
use tokio::sync::{Mutex, Notify, mpsc};
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::util::*;

/// Names the device, its directory and its address.
pub(crate) const WORKER: &str = "SEGUE_TEST_WORKER";

/// Registers that all devices write.
pub(crate) const REGISTERS: u64 = 40;
/// Registers and paths that all devices write in a round, each at most once and without having seen another's value.
pub(crate) const BLIND: u64 = 4;
/// How long a round waits for what was asked for in it.
const GIVE_UP: Duration = Duration::from_secs(10);
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
        let node = builder.follow(true).pulls(Policy::Allow).open().await.unwrap();
        let (paths, view, given_up) = Default::default();
        serve(Worker { n, node, session: SessionId::new([0; 16]), paths, view, given_up }).await;
    });
}

#[derive(Clone)]
struct Worker {
    n: u8,
    node: Node,
    session: SessionId,
    /// One op at a time looks whether a path is free, and takes it.
    paths: Arc<Mutex<()>>,
    /// One op at a time reads the view state, and writes the next.
    view: Arc<Mutex<()>>,
    /// Nobody asks for the session any more.
    given_up: Arc<AtomicBool>,
}

async fn serve(mut worker: Worker) {
    let (tell, mut lines) = mpsc::unbounded_channel();
    std::thread::spawn(move || stdin().lock().lines().map_while(Result::ok).try_for_each(|line| tell.send(line)));
    // It may outlast the ops beside which it began.
    let mut pulls = JoinSet::new();
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
                for place in places(number(1)) {
                    worker.node.write_register(session, &place, "").await.unwrap();
                    worker.node.write_bytes(session, &place, "unwritten").await.unwrap();
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
                let (alone, begun) = (words[3] == "alone", Arc::new(Notify::new()));
                if !alone {
                    pulls.spawn(pull(worker.clone(), begun.clone()));
                }
                write(worker.clone(), number(1), number(2), alone, (number(4), &begun)).await;
                println!("done");
            }
            "rest" => {
                // A request may wait for longer than a round takes, as for an owner that was killed: then it is withdrawn, and
                // has to end at once.
                let ended = async { while pulls.join_next().await.is_some() {} };
                if timeout(GIVE_UP, ended).await.is_err() {
                    worker.given_up.store(true, Ordering::Relaxed);
                    while !pulls.is_empty() {
                        // One that wasn't begun yet ends by itself, or is withdrawn with the next that ends.
                        let _ = worker.node.cancel_handoff(worker.session).await;
                        pulls.join_next().await;
                    }
                    worker.given_up.store(false, Ordering::Relaxed);
                }
                println!("done");
            }
            "state" => println!("done {}", state(&worker).await),
            "dump" => {
                dump(&worker, number(1)).await;
                println!("done");
            }
            other => panic!("{other:?}"),
        }
    }
}

/// Asks whoever owns the session for it once it is told to, unless this device owns; some times, as the owner may be away,
/// be killed, or have handed over to another by then.
async fn pull(worker: Worker, begun: Arc<Notify>) {
    begun.notified().await;
    for _ in 0..8 {
        let owner = worker.node.session(worker.session).await.unwrap().and_then(|view| view.owner);
        let Some(owner) = owner.filter(|owner| *owner != id(worker.n)) else { return };
        if worker.given_up.load(Ordering::Relaxed) {
            return;
        }
        let _ = worker.node.request_handoff(worker.session, owner).await;
    }
}

/// The root, and who owns by which record, as far as this device knows; whether a handoff is under way.
async fn state(worker: &Worker) -> String {
    let Some(view) = worker.node.session(worker.session).await.unwrap() else { return String::new() };
    let owns = if view.role == SessionRole::Primary { format!(" {} owns", worker.n) } else { String::new() };
    format!("{} {} {} {}{owns}", view.root, view.head, view.n, view.pending.is_some())
}

/// Where the devices write blindly in so many rounds.
fn places(rounds: u64) -> impl Iterator<Item = String> {
    (0..rounds).flat_map(|round| (0..BLIND).map(move |at| place(round, at)))
}

fn place(round: u64, at: u64) -> String {
    format!("blind/{round}-{at}")
}

/// Makes so many ops of all kinds, from a seed, after those that are blind. `alone` says that no other device's ops come
/// meanwhile; at one of the ops something else begins.
async fn write(worker: Worker, count: u64, seed: u64, alone: bool, (begins, begun): (u64, &Notify)) {
    let worker = Arc::new(worker);
    for at in 0..BLIND {
        blind(&worker, &place(seed - 1, at), &format!("b{}-{}-{at}", worker.n, seed - 1)).await;
    }
    let mut running = JoinSet::new();
    for at in 0..count {
        if at == begins {
            begun.notify_one();
        }
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
        17 => count_on(&worker).await,
        _ => {
            // Some of more than a chunk.
            let len = if random / 20 % 16 == 0 { 70_000 } else { 0 };
            let content = [name.as_bytes(), &vec![b' '; len]].concat();
            node.write_bytes(session, &format!("own/{name}"), content).await.unwrap();
            println!("ack file {name}");
        }
    }
}

/// Writes a register and a path of which nothing but the first value is known here. It is refused if another device's is.
async fn blind(worker: &Worker, place: &str, name: &str) {
    let session = worker.session;
    let Some(held) = worker.node.register(session, place).await.unwrap() else { return };
    if held.shown.content != Content::Value(Vec::new()) || !held.conflicts.is_empty() {
        return;
    }
    // What was seen is told by writer and number, and those are the same of the register and of the file.
    for (kind, path, what) in
        [(PartKind::Register, None, "blind"), (PartKind::Blob, Some(place.to_owned()), "file blind")]
    {
        let (part, versions) = (named_part(&session, kind, place), vec![held.shown.clone()]);
        match worker.node.resolve(&Conflict { session, part, path, versions }, Resolution::Put(name.into())).await {
            Ok(()) => println!("ack {what} {name}"),
            Err(Error::Usage { source: UsageError::Conflicted | UsageError::UnknownSession, .. }) => {}
            Err(error) => panic!("{error}"),
        }
    }
}

/// The owner counts on in the view state. What it has written counts if it owned by one record all the while.
async fn count_on(worker: &Worker) {
    let (node, session) = (&worker.node, worker.session);
    let _one = worker.view.lock().await;
    let head = || async { node.session(session).await.unwrap().map(|view| (view.head, view.role)) };
    let before = head().await;
    let held = node.view(session).await.unwrap().map_or(0, |view| u64::from_be_bytes(view.try_into().unwrap()));
    match node.write_view(session, (held + 1).to_be_bytes()).await {
        Ok(()) if head().await == before => println!("ack view {} of {}", held + 1, worker.n),
        Ok(()) | Err(Error::Usage { source: UsageError::NotOwner(_), .. }) => {}
        Err(error) => panic!("{error}"),
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

fn names(version: &Version) -> Vec<String> {
    let Content::Value(value) = &version.content else { return Vec::new() };
    let text = String::from_utf8(value.clone()).unwrap();
    text.split(',').filter(|name| !name.is_empty()).map(str::to_owned).collect()
}

/// Tells everything that the session holds after so many rounds, and what of it is listed as in conflict.
async fn dump(worker: &Worker, rounds: u64) {
    let (node, session) = (&worker.node, worker.session);
    let registers = (0..REGISTERS).map(|name| ("register", name.to_string()));
    for (what, name) in registers.chain(places(rounds).map(|place| ("blind", place))) {
        let held = node.register(session, &name).await.unwrap().expect("a register");
        for version in [held.shown].iter().chain(&held.conflicts) {
            names(version).iter().for_each(|name| println!("has {what} {name}"));
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
    let listed = node.conflicts(session).await.unwrap();
    println!("conflicts {}", listed.len());
    let versions = |of_files: bool| {
        let conflicts = listed.iter().filter(move |conflict| conflict.path.is_some() == of_files);
        conflicts.flat_map(|conflict| &conflict.versions)
    };
    versions(false).flat_map(names).for_each(|name| println!("listed {name}"));
    let in_conflict: BTreeSet<_> = versions(true).map(|version| (version.hash, version.len)).collect();
    let shown = node.files(session).await.unwrap().into_iter().filter(|file| !file.is_dir);
    let contents: BTreeSet<_> = shown.map(|file| (file.blob, file.len)).chain(in_conflict.iter().copied()).collect();
    for (blob, len) in contents {
        let content = within("the content", async {
            loop {
                match node.read_blob(blob, len).await {
                    Ok(content) => return content,
                    Err(_) => tokio::task::yield_now().await,
                }
            }
        });
        let content = content.await;
        let content = String::from_utf8_lossy(&content).trim_end().to_owned();
        println!("has file {content}");
        if in_conflict.contains(&(blob, len)) {
            println!("listed file {content}");
        }
    }
    let view = node.view(session).await.unwrap();
    println!("view {}", view.map_or(0, |view| u64::from_be_bytes(view.try_into().unwrap())));
}

fn noise_at(seed: u64, at: u64) -> [u8; 8] {
    let input = [seed.to_be_bytes(), at.to_be_bytes()].concat();
    let hash = segue_proto::wire::hash::blob_id(&input);
    hash.as_bytes()[..8].try_into().unwrap()
}
