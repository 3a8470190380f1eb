//! What the tests share: nodes, content, and waiting for events.

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use segue_proto::data::{Entry, ListRef};
use segue_proto::transfer::{ChunkList, ChunkRef, equal_list};
use segue_proto::wire::List;
use segue_proto::wire::codec::encode;
use segue_proto::wire::hash::blob_id;
use segue_quic::{
    BlobSource, Builder, Code, DeviceId, Event, Hash, Node, ReadAt, Receipt, SessionId, SessionRole, SigningKey,
    device_id,
};

/// Generous: a test that gets here hangs. Longer than a link is idle, for a node that is aborted may go unheard.
pub(crate) const LIMIT: Duration = Duration::from_secs(60);

/// Fails instead of hanging.
pub(crate) async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(LIMIT, future).await {
        Ok(done) => done,
        Err(_) => panic!("waited {LIMIT:?} for {what}"),
    }
}

/// A key that is the same at every run.
pub(crate) fn key(n: u8) -> SigningKey {
    SigningKey::from_bytes(&[n; 32])
}

pub(crate) fn id(n: u8) -> DeviceId {
    device_id(&key(n))
}

pub(crate) fn loopback() -> SocketAddr {
    ([127, 0, 0, 1], 0).into()
}

/// A device in memory, that trusts devices 1 to 4.
pub(crate) fn memory(n: u8) -> Builder {
    trusting(Node::builder().in_memory(), n)
}

/// A device on disk.
pub(crate) fn disk(n: u8, dir: &Path) -> Builder {
    let builder = Node::builder().state_dir(dir.join(format!("state-{n}"))).witness(dir.join(format!("witness-{n}")));
    trusting(builder, n)
}

fn trusting(builder: Builder, n: u8) -> Builder {
    let others = (1..=4).filter(|other| *other != n).map(id);
    others.fold(builder.key(key(n)).listen(loopback()), Builder::trust)
}

/// Two devices in memory, of which the first keeps a link to the second.
pub(crate) async fn pair() -> (Node, Node) {
    let (a, b) = (memory(1).open().await.unwrap(), memory(2).open().await.unwrap());
    link(&a, &b).await;
    (a, b)
}

pub(crate) async fn link(a: &Node, b: &Node) {
    a.connect(b.local_addr().unwrap(), b.device()).await.unwrap();
    within("the link", async { tokio::try_join!(a.linked(b.device()), b.linked(a.device())) }).await.unwrap();
}

/// The next event that `pick` takes.
pub(crate) async fn event<T>(node: &Node, what: &str, mut pick: impl FnMut(Event) -> Option<T>) -> T {
    let found = async {
        loop {
            let event = node.next_event().await.unwrap_or_else(|| panic!("the node stopped before {what}"));
            if let Some(found) = pick(event) {
                return found;
            }
        }
    };
    within(what, found).await
}

/// Pushes a session, whose target accepts.
pub(crate) async fn push(from: &Node, to: &Node, session: SessionId) -> Receipt {
    let accept = async {
        let token = event(to, "HandoffRequest", |event| match event {
            Event::HandoffRequest { token, session: offered, .. } if offered == session => Some(token),
            _ => None,
        });
        to.accept_handoff(token.await).await.unwrap()
    };
    let (given, taken) =
        within("the handoff", async { tokio::join!(from.initiate_handoff(session, to.device()), accept) }).await;
    let given = given.unwrap();
    assert_eq!(given.record, taken.record);
    given
}

/// Whether this device may write the session's exclusive parts.
pub(crate) async fn is_primary(node: &Node, session: SessionId) -> bool {
    node.session(session).await.unwrap().is_some_and(|view| view.role == SessionRole::Primary)
}

/// Checks that of two devices just the second is primary.
pub(crate) async fn assert_moved(from: &Node, to: &Node, session: SessionId) {
    assert!(is_primary(to, session).await, "the target isn't primary");
    assert!(!is_primary(from, session).await, "the source still is primary");
    let denied = from.write_view(session, "stale").await.unwrap_err();
    assert!(denied.to_string().contains(&to.device().to_string()), "it doesn't name the owner: {denied}");
}

/// Bytes that don't repeat.
pub(crate) fn noise(len: usize, seed: u8) -> Vec<u8> {
    let mut out = Vec::with_capacity(len + 32);
    let mut n = 0u64;
    while out.len() < len {
        let mut block = [seed; 16];
        block[..8].copy_from_slice(&n.to_be_bytes());
        out.extend_from_slice(blob_id(&block).as_bytes());
        n += 1;
    }
    out.truncate(len);
    out
}

/// An application's blob source that serves so many bytes of its big blob, and then blocks until it is opened.
pub(crate) struct Gate {
    blobs: HashMap<Hash, Vec<u8>>,
    state: Mutex<GateState>,
    opened: Condvar,
}

struct GateState {
    open: bool,
    left: usize,
}

impl Gate {
    /// The gate, and the entry of its big blob.
    pub(crate) fn new(path: &str, content: Vec<u8>, free: usize) -> (Arc<Gate>, Entry) {
        let (blob, list) = equal_list(&content);
        let (list, bytes) = list.expect("a big blob");
        let entry = Entry::file(path, false, content.len() as u64, blob, Some(list.clone())).unwrap();
        let blobs = HashMap::from([(blob, content), (list.hash, bytes)]);
        let state = Mutex::new(GateState { open: false, left: free });
        (Arc::new(Gate { blobs, state, opened: Condvar::new() }), entry)
    }

    /// The gate of several big blobs, through which nothing passes yet.
    pub(crate) fn of_many(paths: &[&str], len: usize) -> (Arc<Gate>, Vec<Entry>) {
        let gates: Vec<_> = (0..).zip(paths).map(|(seed, path)| Gate::new(path, noise(len, seed), 0)).collect();
        let (mut blobs, mut entries) = (HashMap::new(), Vec::new());
        for (gate, entry) in gates {
            blobs.extend(gate.blobs.clone());
            entries.push(entry);
        }
        let state = Mutex::new(GateState { open: false, left: 0 });
        (Arc::new(Gate { blobs, state, opened: Condvar::new() }), entries)
    }

    /// Lets everything pass from now on.
    pub(crate) fn open_wide(&self) {
        self.state.lock().unwrap().open = true;
        self.opened.notify_all();
    }

    fn pass(&self, bytes: usize) {
        let state = self.state.lock().unwrap();
        let mut state = self.opened.wait_while(state, |state| !state.open && state.left < bytes).unwrap();
        state.left = state.left.saturating_sub(bytes);
    }
}

/// The gate as a node sees it.
pub(crate) struct Gated(pub(crate) Arc<Gate>);

struct Open(Arc<Gate>, Hash);

impl BlobSource for Gated {
    fn open(&self, blob: &Hash, _: u64) -> io::Result<Option<Arc<dyn ReadAt>>> {
        let held = self.0.blobs.contains_key(blob);
        Ok(held.then(|| Arc::new(Open(self.0.clone(), *blob)) as Arc<dyn ReadAt>))
    }
}

impl ReadAt for Open {
    fn read_exact_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        let content = &self.0.blobs[&self.1];
        if content.len() > 65_536 {
            self.0.pass(buffer.len());
        }
        let from = usize::try_from(offset).unwrap();
        buffer.copy_from_slice(content.get(from..from + buffer.len()).ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }
}

/// Waits for the end of a link, or of an attempt at one; its code.
pub(crate) async fn unlinked(node: &Node) -> Code {
    event(node, "Unlinked", |event| match event {
        Event::Unlinked { code, .. } => Some(code),
        _ => None,
    })
    .await
}

/// An application's blob source with a chunk list that fits the content, and an id that fits neither.
pub(crate) struct Forgery(HashMap<Hash, Arc<Vec<u8>>>);

impl Forgery {
    /// The source, and the entry that names its blob.
    pub(crate) fn new(path: &str, content: Vec<u8>, chunks: usize) -> (Arc<Forgery>, Entry) {
        let of = |bytes: &[u8]| ChunkRef { len: bytes.len() as u32, hash: blob_id(bytes) };
        let refs = content.chunks(content.len().div_ceil(chunks)).map(of).collect();
        let list = encode(&ChunkList { chunks: List::new(refs).unwrap() });
        let (blob, hash) = (blob_id(b"something else"), blob_id(&list));
        let list_ref = ListRef { hash, len: list.len() as u32 };
        let entry = Entry::file(path, false, content.len() as u64, blob, Some(list_ref)).unwrap();
        (Arc::new(Forgery(HashMap::from([(blob, Arc::new(content)), (hash, Arc::new(list))]))), entry)
    }
}

impl BlobSource for Forgery {
    fn open(&self, blob: &Hash, _: u64) -> io::Result<Option<Arc<dyn ReadAt>>> {
        Ok(self.0.get(blob).map(|bytes| Arc::new(Held(bytes.clone())) as Arc<dyn ReadAt>))
    }
}

struct Held(Arc<Vec<u8>>);

impl ReadAt for Held {
    fn read_exact_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        let from = usize::try_from(offset).unwrap();
        buffer.copy_from_slice(self.0.get(from..from + buffer.len()).ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }
}
