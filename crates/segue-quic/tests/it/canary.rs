//! A mailbox in a process of its own: a canary in a session's content is looked for in the mailbox's store, in its log and
//! in its memory, by a search that finds it where nothing is sealed.

#![cfg(target_os = "linux")]

use std::env::var;
use std::fs;
use std::io::{BufRead, BufReader, Read, stdin};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread::JoinHandle;

use segue_proto::Clause;
use segue_proto::wire::hash::blob_id;
use segue_quic::{Builder, Node};
use segue_service::{Quota, Service, Store};

use crate::capture::found;
use crate::mailbox::Host;
use crate::memory::memory;
use crate::util::*;

/// Names the directory of a mailbox.
const MAILBOX: &str = "SEGUE_TEST_MAILBOX";

/// A process of the tests below, which starts this very test with a mailbox to be; without one there is nothing to do.
#[tokio::test]
async fn mailbox() {
    let Ok(dir) = var(MAILBOX) else { return };
    tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_ansi(false)
        .with_writer(std::io::stderr)
        .init();
    let dir = Path::new(&dir);
    let host = Host(Service::new(Store::open(&dir.join("box")).unwrap(), Quota::default()));
    let builder = Node::builder().state_dir(dir.join("host")).witness(dir.join("witness")).key(key(9));
    let node = builder.listen(loopback()).accept_unknown(true).host_mailbox(host).open().await.unwrap();
    println!("\nlistening on {}", node.local_addr().unwrap());
    // Its standard input closes when it is to end.
    tokio::task::spawn_blocking(|| stdin().lock().lines().for_each(drop)).await.unwrap();
    node.shutdown().await;
}

struct Mailbox {
    child: Child,
    addr: SocketAddr,
    log: Option<JoinHandle<Vec<u8>>>,
}

impl Mailbox {
    fn start(dir: &Path) -> Mailbox {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["canary::mailbox", "--exact", "--nocapture", "--quiet"]).env(MAILBOX, dir);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut pipe = child.stderr.take().unwrap();
        let log = std::thread::spawn(move || {
            let mut log = Vec::new();
            pipe.read_to_end(&mut log).unwrap();
            log
        });
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
        let addr = lines.find_map(|line| line.strip_prefix("listening on ")?.parse().ok()).unwrap();
        // What else the process prints is read, so that it never waits.
        std::thread::spawn(move || lines.for_each(drop));
        Mailbox { child, addr, log: Some(log) }
    }

    /// Ends it; its log.
    fn end(mut self) -> Vec<u8> {
        drop(self.child.stdin.take());
        assert!(self.child.wait().unwrap().success());
        self.log.take().unwrap().join().unwrap()
    }
}

impl Drop for Mailbox {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// All that a process holds, or has said.
#[derive(Default)]
struct Places {
    store: Vec<Vec<u8>>,
    log: Vec<Vec<u8>>,
    memory: Vec<Vec<u8>>,
}

impl Places {
    /// Where these bytes are.
    fn find(&self, what: &[u8]) -> Vec<&'static str> {
        let places = [("store", &self.store), ("log", &self.log), ("memory", &self.memory)];
        places.into_iter().filter(|(_, bytes)| found(bytes, what)).map(|(place, _)| place).collect()
    }
}

/// Each file below a directory.
fn files(dir: &Path) -> Vec<Vec<u8>> {
    let paths = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    paths.flat_map(|path| if path.is_dir() { files(&path) } else { vec![fs::read(path).unwrap()] }).collect()
}

/// Made while the test runs, so that it is in no process because that runs these tests.
fn canary() -> String {
    blob_id(b"the canary sings").to_string()[..32].to_owned()
}

/// A device comes, exchanges everything with the mailbox, does something, exchanges that, and goes.
async fn visit(builder: Builder, addr: SocketAddr, act: impl AsyncFnOnce(&Node)) {
    let node = builder.follow(true).introductions(false).open().await.unwrap();
    node.use_mailbox(addr, id(9)).await.unwrap();
    within("the exchange", node.exchanged(id(9))).await.unwrap();
    act(&node).await;
    within("the exchange", node.exchanged(id(9))).await.unwrap();
    node.shutdown().await;
}

/// A session goes from one device to another by way of a mailbox; what the devices' stores hold, and what the mailbox does.
async fn handed_over(rules: impl Fn(Builder) -> Builder) -> [Places; 2] {
    let dir = tempfile::tempdir().unwrap();
    let (canary, mailbox) = (canary(), Mailbox::start(dir.path()));
    let content = canary.repeat(40_000).into_bytes();
    let mut session = None;
    let first = visit(rules(disk(1, dir.path())), mailbox.addr, async |node| {
        let named = node.create_session(&canary, &[id(2)]).await.unwrap();
        node.write_view(named, canary.as_str()).await.unwrap();
        node.write_register(named, &canary, canary.as_str()).await.unwrap();
        node.append(named, "chat", canary.as_str()).await.unwrap();
        node.push_op(named, "text", canary.as_str()).await.unwrap();
        node.write_bytes(named, &format!("{canary}.txt"), content.clone()).await.unwrap();
        session = Some(named);
    });
    first.await;
    let second = visit(rules(disk(2, dir.path())), mailbox.addr, async |node| {
        assert_eq!(node.read_file(session.unwrap(), &format!("{canary}.txt")).await.unwrap(), content);
    });
    second.await;
    let (memory, log) = (memory(mailbox.child.id()), mailbox.end());
    let below = |names: [&str; 2]| names.into_iter().flat_map(|name| files(&dir.path().join(name))).collect();
    let devices = Places { store: below(["state-1", "state-2"]), ..Places::default() };
    [devices, Places { store: below(["box", "host"]), log: vec![log], memory }]
}

#[tokio::test(flavor = "multi_thread")]
async fn a_canary_is_in_no_store_log_or_memory_of_the_mailbox() {
    let [devices, mailbox] = handed_over(|builder| builder).await;
    assert_eq!(mailbox.find(canary().as_bytes()), [""; 0]);
    assert_eq!(devices.find(canary().as_bytes()), ["store"]);
    // All three were read: the mailbox knows whose boxes it keeps, and says that links end.
    let known = mailbox.find(id(2).as_bytes());
    assert!(known.contains(&"memory"), "{known:?}");
    assert!(mailbox.find(b"a link ended").contains(&"log"));
    let kept: usize = mailbox.store.iter().map(Vec::len).sum();
    assert!(kept > 40_000 * canary().len(), "the content isn't there, sealed or not: {kept} bytes");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_canary_is_in_store_and_memory_of_the_mailbox_if_nothing_is_sealed() {
    let [devices, mailbox] = handed_over(|builder| builder.without(Clause::SERVICE_SEAL_1)).await;
    // The log tells of no content, sealed or not.
    assert_eq!(mailbox.find(canary().as_bytes()), ["store", "memory"]);
    assert_eq!(devices.find(canary().as_bytes()), ["store"]);
    assert!(mailbox.find(b"a link ended").contains(&"log"));
}
