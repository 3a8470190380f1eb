//! Idle devices at one node, beside idle connections of bare quinn: `cargo bench -p segue-benches --bench idle`.
//!
//! ```text
//! cargo bench -p segue-benches --bench idle -- [--devices N] [--seconds S]
//! ```
//!
//! A process of its own serves, first bare quinn with a node's settings, then a node in memory that takes any device.
//! So many devices connect to it by one socket: to bare quinn with a control stream on which something was said, to the
//! node through HELLO and AUTH by the core. Printed are the resident memory that a device costs the server, and the
//! processor time that it takes there while so many seconds pass in which nobody does anything but keep the links alive:
//! by as many bytes to and fro over bare quinn, by PING over the node's links (LINK-IDLE-1).

mod device;
mod server;

use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Duration;

use device::Device;
use segue_proto::limits::KEEPALIVE;
use segue_quic::bare::{self, Windows};
use tokio::runtime::Builder;
use tokio::task::JoinSet;

/// What serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Bare,
    Node,
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Kind::Bare => "bare quinn",
            Kind::Node => "segue",
        }
    }
}

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let number = |name: &str| -> Option<usize> {
        args.iter().position(|arg| arg == name).and_then(|at| args.get(at + 1)?.parse().ok())
    };
    let devices = number("--devices").unwrap_or(1_000);
    let runtime = Builder::new_current_thread().enable_all().build().expect("the runtime starts");
    match args.iter().find_map(|arg| arg.strip_prefix("--serve=")) {
        Some("bare") => runtime.block_on(server::serve(Kind::Bare, devices)),
        Some(_) => runtime.block_on(server::serve(Kind::Node, devices)),
        None => {
            let seconds = number("--seconds").unwrap_or(30) as u64;
            println!("{devices} idle devices, {seconds} s");
            println!("{:<14}{:>16}{:>26}", "", "a device", "processor, of one core");
            let costs = [Kind::Bare, Kind::Node].map(|kind| runtime.block_on(measure(kind, devices, seconds)));
            let [bare, node] = costs;
            println!("a device costs {} bytes above bare quinn", node.saturating_sub(bare));
        }
    }
}

/// Prints what one device costs the server; the bytes.
async fn measure(kind: Kind, devices: usize, seconds: u64) -> usize {
    let mut server = Server::start(kind, devices);
    let client = bare::endpoint(None, Windows::NODE).expect("a socket");
    // The first few warm up what all share.
    let mut links = connect(&client, &server, kind, 0..WARM).await;
    let before = server.usage();
    links.extend(connect(&client, &server, kind, WARM..WARM + devices).await);
    let full = server.usage();
    tokio::time::sleep(Duration::from_secs(seconds)).await;
    let after = server.usage();
    let lost = links.iter().filter(|link| link.is_lost()).count();
    assert_eq!(lost, 0, "{} links of {} ended", lost, links.len());
    let bytes = full.bytes.saturating_sub(before.bytes) / devices;
    let share = (after.cpu_us - full.cpu_us) as f64 / (seconds as f64 * 1e6);
    let keepalives = devices as f64 * seconds as f64 * 1e6 / KEEPALIVE as f64;
    let each = (after.cpu_us - full.cpu_us) as f64 / keepalives;
    println!("{:<14}{:>10} bytes{:>20.2} %, {each:.1} µs a keep-alive", kind.name(), bytes, share * 100.0);
    bytes
}

/// Connects devices, a few at a time, and waits until the server has taken all of them.
async fn connect(
    client: &quinn::Endpoint,
    server: &Server,
    kind: Kind,
    numbers: std::ops::Range<usize>,
) -> Vec<Device> {
    let (mut links, mut dials, mut todo) = (Vec::new(), JoinSet::new(), numbers);
    loop {
        while dials.len() < AT_ONCE
            && let Some(number) = todo.next()
        {
            dials.spawn(Device::open(client.clone(), server.addr, kind, number));
        }
        match dials.join_next().await {
            Some(link) => links.push(link.expect("no panic")),
            None => return links,
        }
    }
}

/// The process that serves.
struct Server {
    child: Child,
    ask: ChildStdin,
    told: BufReader<ChildStdout>,
    addr: SocketAddr,
}

/// What it uses.
struct Usage {
    bytes: usize,
    cpu_us: u64,
}

impl Server {
    fn start(kind: Kind, devices: usize) -> Server {
        let serve = if kind == Kind::Bare { "--serve=bare" } else { "--serve=node" };
        let mut child = Command::new(std::env::current_exe().expect("this program"))
            .args([serve, "--devices", &(devices + WARM).to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the server starts");
        let (ask, told) = (child.stdin.take().expect("a pipe"), child.stdout.take().expect("a pipe"));
        let mut server = Server { child, ask, told: BufReader::new(told), addr: ([127, 0, 0, 1], 0).into() };
        server.addr = server.line().parse().expect("an address");
        server
    }

    fn usage(&mut self) -> Usage {
        writeln!(self.ask, "usage").expect("the server lives");
        let line = self.line();
        let (bytes, cpu_us) = line.split_once(' ').expect("two numbers");
        Usage { bytes: bytes.parse().expect("a number"), cpu_us: cpu_us.parse().expect("a number") }
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.told.read_line(&mut line).expect("the server lives");
        line.trim_end().to_owned()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Handshakes at a time: fewer than from which on a node asks for a proof of address.
const AT_ONCE: usize = 16;
const WARM: usize = 100;
/// About as long as a PING's frame.
pub(crate) const PING: [u8; 13] = [1; 13];
