//! The process whose memory and time are measured.

use std::io::BufRead;

use segue_quic::Node;
use segue_quic::bare::{self, Windows};

use crate::{Kind, PING};

/// Serves until its standard input ends, and tells what it uses whenever a line comes there.
pub(crate) async fn serve(kind: Kind, devices: usize) {
    let loopback = "127.0.0.1:0".parse().expect("an address");
    let addr = match kind {
        Kind::Bare => {
            let endpoint = bare::endpoint(Some(loopback), Windows::NODE).expect("a socket");
            let addr = endpoint.local_addr().expect("an address");
            tokio::spawn(take(endpoint));
            addr
        }
        Kind::Node => {
            let builder = Node::builder().in_memory().listen(loopback).accept_unknown(true).links(devices);
            let node = builder.open().await.expect("a node");
            let addr = node.local_addr().expect("an address");
            tokio::spawn(async move { while node.next_event().await.is_some() {} });
            addr
        }
    };
    println!("{addr}");
    let (tell, mut asked) = tokio::sync::mpsc::unbounded_channel();
    std::thread::spawn(move || std::io::stdin().lock().lines().try_for_each(|line| tell.send(line)));
    while asked.recv().await.is_some() {
        println!("{} {}", resident(), processor_us());
    }
}

/// Takes whatever comes, reads the control stream, and gives the connection the limits of a link.
async fn take(endpoint: quinn::Endpoint) {
    while let Some(incoming) = endpoint.accept().await {
        tokio::spawn(async move {
            let connection = incoming.await.expect("a handshake");
            let (mut send, mut recv) = connection.accept_bi().await.expect("a stream");
            bare::admit(&connection, Windows::NODE);
            recv.read_exact(&mut [0; 5]).await.expect("what was said");
            send.write_all(b"hello").await.expect("an open stream");
            let mut ping = PING;
            while recv.read_exact(&mut ping).await.is_ok() && send.write_all(&ping).await.is_ok() {}
        });
    }
}

/// The resident memory of this process, in bytes.
fn resident() -> usize {
    let text = std::fs::read_to_string("/proc/self/status").expect("Linux");
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("a line");
    line.trim().trim_end_matches(" kB").parse::<usize>().expect("a number") * 1_024
}

/// The processor time of the threads of this process, in microseconds.
fn processor_us() -> u64 {
    let tasks = std::fs::read_dir("/proc/self/task").expect("Linux").flatten();
    let of = |text: String| text.split(' ').next().and_then(|ns| ns.parse::<u64>().ok()).unwrap_or_default();
    let all = tasks.filter_map(|task| std::fs::read_to_string(task.path().join("schedstat")).ok()).map(of);
    all.sum::<u64>() / 1_000
}
