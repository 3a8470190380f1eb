//! The adapter's side of tier B: real nodes of the reference, over QUIC.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use segue_proto::wire::{DeviceId, Hash, Kind};
use segue_proto::{Clause, Event, Hosted, Instant, LinkId, Rules, SessionView, Violation};
use segue_quic::{Error, MailboxHost, Node, Said, SigningKey};
use segue_service::{Memory, Quota, Service};
use segue_testkit::device::{Command, Inspect, Outputs, Reply, SessionState, Setup};
use serde_json::{Value, json};
use tokio::runtime::{Builder, Runtime};

use crate::protocol::json::{Json, field};

/// The kinds of `do` that the nodes offer.
pub(super) const COMMANDS: [&str; 17] = [
    "dial",
    "trust",
    "distrust",
    "create",
    "write-file",
    "write-exclusive",
    "remove",
    "initiate",
    "cancel",
    "request",
    "consent",
    "accept",
    "reject",
    "takeover",
    "close",
    "shutdown",
    "host-mailbox",
];

/// The nodes of an adapter.
#[derive(Default)]
pub(super) struct Nodes {
    runtime: Option<Runtime>,
    without: Option<Clause>,
    held: BTreeMap<u64, Held>,
}

struct Held {
    node: Node,
    setup: Setup,
}

/// Why a request isn't served.
pub(super) enum Denied {
    /// The application's own mistake.
    Refused(String),
    /// It isn't offered.
    Unsupported(String),
}

impl Nodes {
    pub(super) fn new(without: Option<Clause>) -> Nodes {
        Nodes { without, ..Nodes::default() }
    }

    pub(super) fn has(&self, dev: u64) -> bool {
        self.held.contains_key(&dev)
    }

    /// Starts a node that listens; the answer to `new`.
    pub(super) fn start(&mut self, dev: u64, setup: Setup, listen: SocketAddr) -> Result<Value, String> {
        self.forget(dev);
        let without = self.without;
        let runtime = self.runtime()?;
        let node = runtime.block_on(open(&setup, listen, None, without)).map_err(|error| error.to_string())?;
        let addr = node.local_addr().ok_or("the node has no address")?;
        self.held.insert(dev, Held { node, setup });
        Ok(json!({ "out": {}, "listening": addr.to_string() }))
    }

    pub(super) fn forget(&mut self, dev: u64) {
        if let (Some(held), Some(runtime)) = (self.held.remove(&dev), &self.runtime) {
            runtime.block_on(held.node.abort());
        }
    }

    /// What happened; waits for the first of it.
    pub(super) fn wait(&mut self, dev: u64, wait: Duration) -> Result<Value, String> {
        let (runtime, node) = self.node(dev)?;
        let events = runtime.block_on(async {
            let mut events = Vec::new();
            let first = tokio::time::timeout(wait, node.next_event()).await;
            let mut next = first.ok().flatten();
            while let Some(event) = next {
                events.extend(told(event));
                next = tokio::time::timeout(Duration::ZERO, node.next_event()).await.ok().flatten();
            }
            events
        });
        Ok(json!({ "out": Outputs { events, ..Outputs::default() }.to_json() }))
    }

    /// Carries out a `do`.
    pub(super) fn act(&mut self, dev: u64, command: &Value) -> Result<Value, Denied> {
        if command.get("type").and_then(Value::as_str) == Some("dial") {
            let device: DeviceId = field(command, "device").map_err(Denied::Refused)?;
            let addr = command.get("addr").and_then(Value::as_str).and_then(|addr| addr.parse().ok());
            let addr: SocketAddr = addr.ok_or_else(|| Denied::Refused("field 'addr' is missing".into()))?;
            let (runtime, node) = self.node(dev).map_err(Denied::Refused)?;
            runtime.block_on(node.connect(addr, device)).map_err(refused)?;
            return Ok(json!({ "out": {}, "reply": {} }));
        }
        let command = Command::from_json(command).map_err(Denied::Refused)?;
        if let Command::HostMailbox { box_envelopes, box_bytes, device_bytes, bytes } = command {
            let usual = Quota::default();
            let quota = Quota {
                box_envelopes: box_envelopes.unwrap_or(usual.box_envelopes),
                box_bytes: box_bytes.unwrap_or(usual.box_bytes),
                device_bytes: device_bytes.unwrap_or(usual.device_bytes),
                bytes: bytes.unwrap_or(usual.bytes),
                ..usual
            };
            self.host(dev, quota).map_err(Denied::Refused)?;
            return Ok(json!({ "out": {}, "reply": {} }));
        }
        let (runtime, node) = self.node(dev).map_err(Denied::Refused)?;
        let reply = runtime.block_on(carry_out(node, command))?;
        Ok(json!({ "out": {}, "reply": reply.to_json() }))
    }

    /// What a node says of itself.
    pub(super) fn inspect(&mut self, dev: u64) -> Result<Value, String> {
        let (runtime, node) = self.node(dev)?;
        let inspect = runtime.block_on(async {
            let mut inspect = Inspect::default();
            for view in node.sessions().await? {
                let state = state(node, &view).await?;
                inspect.sessions.insert(view.id, state);
            }
            Ok::<_, Error>(inspect)
        });
        inspect.map(|inspect| inspect.to_json()).map_err(|error| error.to_string())
    }

    /// A node can't begin to host while it runs: it is opened again, before anybody has spoken with it.
    fn host(&mut self, dev: u64, quota: Quota) -> Result<(), String> {
        let without = self.without;
        let held = self.held.remove(&dev).ok_or_else(|| format!("there is no device {dev}"))?;
        let runtime = self.runtime()?;
        let listen = held.node.local_addr().ok_or("the node has no address")?;
        let node = runtime.block_on(async {
            held.node.abort().await;
            drop(held.node);
            // The old socket goes when its last task has ended.
            let until = std::time::Instant::now() + PATIENCE;
            while std::net::UdpSocket::bind(listen).is_err() && std::time::Instant::now() < until {
                tokio::task::yield_now().await;
            }
            open(&held.setup, listen, Some(quota), without).await
        });
        let node = node.map_err(|error| error.to_string())?;
        self.held.insert(dev, Held { node, setup: held.setup });
        Ok(())
    }

    fn node(&mut self, dev: u64) -> Result<(&Runtime, &Node), String> {
        let held = self.held.get(&dev).ok_or_else(|| format!("there is no device {dev}"))?;
        let runtime = self.runtime.as_ref().ok_or("there is no runtime")?;
        Ok((runtime, &held.node))
    }

    fn runtime(&mut self) -> Result<&Runtime, String> {
        if self.runtime.is_none() {
            let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build();
            self.runtime = Some(runtime.map_err(|error| format!("can't start the runtime: {error}"))?);
        }
        self.runtime.as_ref().ok_or_else(|| "there is no runtime".into())
    }
}

async fn open(
    setup: &Setup,
    listen: SocketAddr,
    hosts: Option<Quota>,
    without: Option<Clause>,
) -> Result<Node, segue_quic::OpenError> {
    let mut builder = Node::builder()
        .in_memory()
        .key(SigningKey::from_bytes(&setup.identity))
        .listen(listen)
        .generation(setup.generation)
        .floor(setup.floor)
        .pulls(setup.pulls)
        .accept_unknown(setup.accept_unknown)
        .follow(setup.follow);
    builder = setup.trusted.iter().fold(builder, |builder, device| builder.trust(*device));
    if let Some(quota) = hosts {
        let rules = without.map_or(Rules::ALL, Rules::without);
        builder = builder.host_mailbox(Host(Service::new(Memory::default(), quota).with_rules(rules)));
    }
    if let Some(clause) = without {
        builder = builder.without(clause);
    }
    builder.open().await
}

/// How long a socket may take to go.
const PATIENCE: Duration = Duration::from_secs(5);

/// A mailbox in memory.
struct Host(Service<Memory>);

impl MailboxHost for Host {
    fn handle(&mut self, now: Instant, came: Vec<Hosted>) -> Result<Said, String> {
        let given = self.0.handle(now, came).map_err(|failed| failed.to_string())?;
        Ok(Said { answers: given.answers, ..Said::default() })
    }
}

/// What waits for another device goes on by itself; its end is told by events.
async fn carry_out(node: &Node, command: Command) -> Result<Reply, Denied> {
    let goes_on = node.clone();
    match command {
        Command::Trust { device } => node.trust(device).await.map_err(refused)?,
        Command::Distrust { device } => node.distrust(device).await.map_err(refused)?,
        Command::Create { name, members } => {
            return node.create_session(&name, &members).await.map(Reply::Session).map_err(refused);
        }
        Command::WriteFile { session, path, content } => {
            node.write_bytes(session, &path, content).await.map_err(refused)?;
        }
        Command::WriteExclusive { session, bytes } => node.write_view(session, bytes).await.map_err(refused)?,
        Command::Remove { session, path } => node.remove_file(session, &path).await.map_err(refused)?,
        Command::Initiate { session, to, .. } => {
            tokio::spawn(async move { drop(goes_on.initiate_handoff(session, to).await) });
        }
        Command::CancelHandoff { session } => node.cancel_handoff(session).await.map_err(refused)?,
        Command::Request { session, from, .. } => {
            tokio::spawn(async move { drop(goes_on.request_handoff(session, from).await) });
        }
        Command::Consent { session, to, ttl_us } => {
            node.consent(session, to, Duration::from_micros(ttl_us)).await.map_err(refused)?;
        }
        Command::Accept { token } => {
            tokio::spawn(async move { drop(goes_on.accept_handoff(token).await) });
        }
        Command::Reject { token, reason: None } => node.reject_handoff(token).await.map_err(refused)?,
        Command::Reject { token, reason: Some(reason) } => {
            node.reject_handoff_with(token, &reason).await.map_err(refused)?;
        }
        Command::Takeover { session } => node.takeover(session).await.map_err(refused)?,
        Command::Close { session } => node.close(session).await.map_err(refused)?,
        Command::Shutdown => {
            tokio::spawn(async move { goes_on.shutdown().await });
        }
        other => return Err(Denied::Unsupported(format!("{other:?} of a node"))),
    }
    Ok(Reply::Done)
}

fn refused(error: impl std::fmt::Display) -> Denied {
    Denied::Refused(error.to_string())
}

async fn state(node: &Node, view: &SessionView) -> Result<SessionState, Error> {
    let last = view.chain.last().map(|record| record.body().clone());
    let opened = view
        .chain
        .iter()
        .rfind(|record| record.body().kind == Kind::Takeover.number() && record.body().term == view.term);
    let files = node.files(view.id).await?;
    let mut held = BTreeMap::new();
    for file in files.iter().filter(|file| !file.is_dir) {
        let whole = node.read_blob(file.blob, file.len).await.is_ok();
        held.insert(file.path.clone(), if whole { file.blob } else { Hash::ZERO });
    }
    Ok(SessionState {
        role: view.role,
        head: view.head,
        parent: last.map_or(Hash::ZERO, |record| record.parent),
        term: view.term,
        taker: opened.map_or(Hash::ZERO, |record| record.id()),
        n: view.n,
        owner: view.owner,
        grantor: view.grantor,
        entitled: view.entitled,
        root: view.root,
        named: files.iter().filter(|file| !file.is_dir).map(|file| (file.path.clone(), file.blob)).collect(),
        files: held,
        conflicts: BTreeMap::new(),
        exclusive: node.view(view.id).await?,
        copies: view.copies,
        pending: view.pending,
        aside: Some(node.set_aside(view.id).await?.len() as u64),
        kept: None,
    })
}

/// An event as the line protocol has it; none for what only concerns the node's own queue.
fn told(event: segue_quic::Event) -> Option<Event> {
    use segue_quic::Event as Said;
    Some(match event {
        Said::Linked { peer, generation, .. } => Event::LinkReady { link: NO_LINK, peer, generation },
        Said::Unlinked { peer, code, clause, remote } => {
            Event::LinkClosed { link: NO_LINK, peer, code, clause, remote }
        }
        Said::HandoffRequest { token, session, from, name } => Event::HandoffRequest { token, session, from, name },
        Said::RequestHandoff { token, session, by } => Event::RequestHandoff { token, session, by },
        Said::Withdrawn { token, session, code } => Event::Withdrawn { token, session, code },
        Said::Available { session, from } => Event::Available { session, from },
        Said::Told { session, from, name } => Event::Told { session, from, name },
        Said::Changed { session, parts } => Event::Changed { session, parts },
        Said::Reread { session, parts } => Event::Reread { session, parts },
        Said::Compacted { session } => Event::Compacted { session },
        Said::SetAside { session, parts } => Event::SetAside { session, parts },
        Said::Synced { session, peer } => Event::Synced { session, peer },
        Said::Exchanged { mailbox } => Event::Exchanged { mailbox },
        Said::Progress { session, done, total } => Event::Progress { session, done, total },
        Said::Mailed { session, mailbox, done, total } => Event::Mailed { session, mailbox, done, total },
        Said::Full { mailbox } => Event::Full { mailbox },
        Said::Data { session, root } => Event::Data { session, root },
        Said::Activated { session, record } => Event::Activated { session, record },
        Said::HandoffResolved { id, session, peer, result, reason } => {
            Event::HandoffResolved { id, session, peer, result, reason }
        }
        Said::HandoffPending { id, session, peer } => Event::HandoffPending { id, session, peer },
        Said::HeadChanged { session, head, owner } => Event::HeadChanged { session, head, owner },
        Said::Fenced { session, head, owner, copies } => Event::Fenced { session, head, owner, copies },
        Said::Equivocation { session, key, records } => Event::Equivocation { session, key, records },
        Said::Refused { peer, session, code, clause: None } => Event::Refused { peer, session, code },
        Said::Refused { peer, session, code, clause: Some(clause) } => {
            Event::Violation { peer, session, violation: Violation::new(code, clause) }
        }
        Said::Delegated { session, result } => Event::Delegated { session, result },
        Said::Closed { session } => Event::Closed { session },
        Said::Halted { .. } => Event::Halted,
        _ => return None,
    })
}

/// Nodes don't number their links.
const NO_LINK: LinkId = LinkId(0);
