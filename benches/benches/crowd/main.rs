//! Many devices that hand sessions over through one service at once: `cargo bench -p segue-benches --bench crowd`.
//!
//! ```text
//! cargo bench -p segue-benches --bench crowd -- [--devices N] [--others N] [--rounds N] [--times N]
//! ```
//!
//! A process of its own runs a service with a store on disk. So many devices use it, in pairs that have no other path to
//! each other; each has a session that the service signs for. All of them write their view and hand their session to
//! their partner at the same moment, who accepts it, and once all have ended they do so again, to and fro; so many times
//! are a round. Rounds in which nobody else is there alternate with rounds beside `others` slow clients, which say HELLO
//! a byte a second, and as many hostile ones: see [`others`]. As a device may make [`MAX_OFFERS`] offers a minute
//! (HO-OFFER-4), a minute lies between the pairs of rounds.
//!
//! Printed are, for either kind of round, the handoffs a second and how long they took, from the call to the receipt;
//! and the medians of each pair of rounds over one another. Each time every session has one owner, its new one, with the
//! same head at both devices, and the view that was written last; else the bench fails.

mod others;
mod server;

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use others::Others;
use segue_proto::limits::{MAX_OFFERS, OFFER_WINDOW};
use segue_quic::{DeviceId, Event, Node, Policy, SessionId, SessionRole};
use server::Server;
use tokio::runtime::Builder;
use tokio::task::JoinSet;

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let number = |name: &str| -> Option<usize> {
        args.iter().position(|arg| arg == name).and_then(|at| args.get(at + 1)?.parse().ok())
    };
    let runtime = Builder::new_current_thread().enable_all().build().expect("the runtime starts");
    if args.iter().any(|arg| arg == "--serve") {
        return runtime.block_on(server::serve());
    }
    let devices = number("--devices").unwrap_or(100).next_multiple_of(2);
    let (others, rounds) = (number("--others").unwrap_or(64), number("--rounds").unwrap_or(3));
    let times = number("--times").unwrap_or(MOST);
    assert!(times <= MOST, "two rounds of {MOST} times at most stay below what a device may offer in a minute");
    runtime.block_on(run(devices, others, rounds, times));
}

async fn run(devices: usize, others: usize, rounds: usize, times: usize) {
    println!("{devices} devices hand over at once, through one service, {times} times a round");
    println!("beset by {others} slow and {others} hostile clients");
    let server = Server::start();
    let mut crowd = Crowd::open(devices, server.addr, server.device).await;
    // What is done once only isn't counted.
    crowd.round(1).await;
    println!("{:<10}{:>12}{:>12}{:>12}{:>12}", "", "a second", "p50", "p99", "most");
    let mut ratios = Vec::new();
    for _ in 0..rounds {
        tokio::time::sleep(MINUTE).await;
        let calm = crowd.round(times).await;
        calm.print("calm");
        let others = Others::start(server.addr, others).await;
        let beset = crowd.round(times).await;
        let did = others.stop().await;
        beset.print("beset");
        println!("{:<10}{did}", "");
        ratios.push(beset.at(50).as_secs_f64() / calm.at(50).as_secs_f64());
    }
    ratios.sort_by(f64::total_cmp);
    let show = |at: usize| ratios.get(at).copied().unwrap_or(f64::NAN);
    let (least, middle, most) = (show(0), show(ratios.len() / 2), show(ratios.len().saturating_sub(1)));
    println!("p50 beset over calm: {middle:.3} ({least:.3} – {most:.3})");
}

/// The devices, and who owns which session.
struct Crowd {
    nodes: Vec<Node>,
    held: Vec<Held>,
    time: u64,
}

/// A session, and the one of its two devices that owns it.
struct Held {
    session: SessionId,
    owner: usize,
    n: u64,
}

impl Crowd {
    async fn open(devices: usize, addr: SocketAddr, service: DeviceId) -> Crowd {
        let (mut nodes, mut opening, mut todo) = (Vec::new(), JoinSet::new(), 0..devices);
        while nodes.len() < devices {
            while opening.len() < AT_ONCE
                && let Some(at) = todo.next()
            {
                opening.spawn(async move { (at, open(addr, service).await) });
            }
            nodes.push(opening.join_next().await.expect("a node opens").expect("no panic"));
        }
        nodes.sort_by_key(|(at, _)| *at);
        let nodes: Vec<Node> = nodes.into_iter().map(|(_, node)| node).collect();
        for (at, node) in nodes.iter().enumerate() {
            node.trust(nodes[at ^ 1].device()).await.expect("a node");
        }
        let mut held = Vec::new();
        for (at, node) in nodes.iter().enumerate() {
            let session = node.create_session("crowd", &[nodes[at ^ 1].device()]).await.expect("a session");
            node.write_view(session, "start").await.expect("a write");
            node.delegate(session, addr, service).await.expect("the service takes it");
            let n = node.session(session).await.expect("a node").expect("the session").n;
            held.push(Held { session, owner: at, n });
        }
        for (at, held) in held.iter().enumerate() {
            known(&nodes[at ^ 1], held.session).await;
        }
        Crowd { nodes, held, time: 0 }
    }

    /// Hands every session to the other device of its pair, so many times.
    async fn round(&mut self, times: usize) -> Round {
        let mut round = Round { all: Duration::ZERO, took: Vec::new() };
        for _ in 0..times {
            self.time += 1;
            let text = format!("time {}", self.time);
            let start = Instant::now();
            round.took.extend(self.hand_over(&text).await);
            round.all += start.elapsed();
            self.check(&text).await;
        }
        round.took.sort();
        round
    }

    async fn hand_over(&self, text: &str) -> Vec<Duration> {
        let mut handoffs = JoinSet::new();
        for held in &self.held {
            let (source, target) = (self.nodes[held.owner].clone(), self.nodes[held.owner ^ 1].device());
            let (session, text) = (held.session, text.to_owned());
            handoffs.spawn(async move {
                source.write_view(session, text).await.expect("a write");
                let start = Instant::now();
                source.initiate_handoff(session, target).await.expect("a handoff");
                start.elapsed()
            });
        }
        handoffs.join_all().await
    }

    async fn check(&mut self, text: &str) {
        for held in &mut self.held {
            let (old, new) = (&self.nodes[held.owner], &self.nodes[held.owner ^ 1]);
            let views = (old.session(held.session).await, new.session(held.session).await);
            let (Ok(Some(was)), Ok(Some(is))) = views else { panic!("both know the session") };
            assert_eq!((was.role, is.role), (SessionRole::Secondary, SessionRole::Primary), "one owner");
            let view = new.view(held.session).await.expect("a node");
            assert_eq!(view.as_deref(), Some(text.as_bytes()), "the last view");
            assert!(is.n > held.n && is.head == was.head, "the same head at both");
            (held.owner, held.n) = (held.owner ^ 1, is.n);
        }
    }
}

/// A device that accepts every offer.
async fn open(addr: SocketAddr, service: DeviceId) -> Node {
    let builder = Node::builder().in_memory().follow(true).pulls(Policy::Allow).handoff_timeout(LIMIT);
    let node = builder.open().await.expect("a node");
    node.use_mailbox(addr, service).await.expect("a node");
    node.exchanged(service).await.expect("the service is there");
    let events = node.clone();
    tokio::spawn(async move {
        while let Some(event) = events.next_event().await {
            if let Event::HandoffRequest { token, .. } = event {
                let node = events.clone();
                tokio::spawn(async move { node.accept_handoff(token).await });
            }
        }
    });
    node
}

/// Waits until a device knows a session.
async fn known(node: &Node, session: SessionId) {
    while node.session(session).await.expect("a node").is_none() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// How long the handoffs of a round took, the shortest first, and all together.
struct Round {
    all: Duration,
    took: Vec<Duration>,
}

impl Round {
    /// The time within which so many of a hundred ended.
    fn at(&self, percent: usize) -> Duration {
        let index = (self.took.len() * percent).div_ceil(100).saturating_sub(1);
        self.took.get(index).copied().unwrap_or_default()
    }

    fn print(&self, name: &str) {
        let rate = self.took.len() as f64 / self.all.as_secs_f64();
        let ms = |time: Duration| format!("{:.0} ms", time.as_secs_f64() * 1e3);
        println!("{name:<10}{rate:>12.0}{:>12}{:>12}{:>12}", ms(self.at(50)), ms(self.at(99)), ms(self.at(100)));
    }
}

/// The most times in a round: a device offers once each time.
const MOST: usize = MAX_OFFERS / 2;
const MINUTE: Duration = Duration::from_micros(OFFER_WINDOW);
/// Devices that open at a time: fewer than from which on a node asks for a proof of address.
const AT_ONCE: usize = 16;
/// Longer than a round of thousands takes.
const LIMIT: Duration = Duration::from_secs(300);
