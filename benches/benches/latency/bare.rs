//! The floors: bare quinn with the adapter's settings, alone, with signatures, and with commits.

use std::time::{Duration, Instant};

use bytes::Bytes;

use quinn::{Connection, Endpoint, RecvStream, SendStream};
use segue_benches::{Kernel, Signatures, Way, work};
use segue_proto::{Batch, Lsn, Write};
use segue_quic::SigningKey;
use segue_quic::bare::{self, Windows};
use segue_store::{Hooks, Journal, Report};
use tempfile::TempDir;
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TryRecvError;

/// A flight: what its sender does, sends, and what its receiver does with it. Without a length nothing is sent.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Flight {
    near: bool,
    len: usize,
    signs: usize,
    verifies: usize,
    /// The bytes that its sender commits before.
    commits: usize,
}

/// The flights of a handoff, as two endpoints in memory have them, up to whoever's clock stops.
pub(crate) fn plan(way: Way) -> Vec<Flight> {
    let mut kernel = Kernel::new(Signatures::Real);
    kernel.prepare(way);
    kernel.start_counting();
    kernel.go(way);
    let counts = kernel.counts();
    // Made before, and verified after, each flight: an OFFER has one, a WANT one, a GRANT two new ones and three to
    // verify, an acknowledgement one.
    let signatures: &[(usize, usize)] = match way {
        Way::Consented => &[(2, 3), (1, 1)],
        Way::Accepted => &[(1, 1), (1, 1), (2, 3), (1, 1)],
        Way::Pulled => &[(1, 1), (2, 3)],
    };
    // The first batch is the source's, with record and GRANT; the second the target's.
    let sizes: Vec<usize> = counts.batches.iter().map(|batch| batch.1).take(2).collect();
    let grant = signatures.iter().position(|pair| pair.0 == 2).unwrap_or_default();
    let flights = counts.flights.iter().zip(signatures).enumerate();
    let starter = counts.flights.first().map(|flight| flight.0);
    let mut plan: Vec<Flight> = flights
        .map(|(at, ((from, len), (signs, verifies)))| Flight {
            near: Some(*from) == starter,
            len: *len,
            signs: *signs,
            verifies: *verifies,
            commits: at.checked_sub(grant).and_then(|at| sizes.get(at).copied()).unwrap_or(0),
        })
        .collect();
    if way == Way::Pulled {
        // The target owns the session, and says so to its user, once its own batch is durable.
        let commits = sizes.get(1).copied().unwrap_or(0);
        plan.push(Flight { near: true, len: 0, signs: 0, verifies: 0, commits });
    }
    plan
}

/// So many bytes and an answer, with the signatures of a handoff by standing consent.
pub(crate) fn answered(len: usize) -> Vec<Flight> {
    let flight = |near, len, (signs, verifies)| Flight { near, len, signs, verifies, commits: 0 };
    vec![flight(true, len, (2, 3)), flight(false, 8, (1, 1))]
}

/// Two connected endpoints with a control stream. The far side runs in a task of its own.
pub(crate) struct Bare {
    near: Side,
    connection: Connection,
    orders: mpsc::UnboundedSender<Order>,
    /// The lengths of the bulk streams that the far side has read to their ends, and verified and kept if it is to.
    read: mpsc::UnboundedReceiver<usize>,
    _endpoints: [Endpoint; 2],
}

/// What the far side does next.
struct Order {
    flights: Vec<Flight>,
    sign: bool,
    journal: Option<Commits>,
}

struct Side {
    near: bool,
    send: SendStream,
    recv: RecvStream,
    key: SigningKey,
}

impl Bare {
    /// With bulk streams that the far side reads and no more, or `keeps`.
    pub(crate) async fn open(keeps: bool) -> Bare {
        let loopback = "127.0.0.1:0".parse().expect("an address");
        let server = bare::endpoint(Some(loopback), Windows::NODE).expect("a socket");
        let client = bare::endpoint(Some(loopback), Windows::NODE).expect("a socket");
        let addr = server.local_addr().expect("an address");
        let dialling = bare::connect(&client, addr).expect("a dial");
        let (near, far) = tokio::join!(dialling, async { server.accept().await.expect("a caller").await });
        let (near, far) = (near.expect("a link"), far.expect("a link"));
        bare::admit(&near, Windows::NODE);
        bare::admit(&far, Windows::NODE);
        let (mut send, recv) = near.open_bi().await.expect("a stream");
        send.write_all(b"hello").await.expect("an open stream");
        let (far_send, mut far_recv) = far.accept_bi().await.expect("a stream");
        far_recv.read_exact(&mut [0; 5]).await.expect("an open stream");
        let key = |secret| SigningKey::from_bytes(&[secret; 32]);
        let far_side = Side { near: false, send: far_send, recv: far_recv, key: key(2) };
        let (orders, todo) = mpsc::unbounded_channel();
        tokio::spawn(far_side.obey(todo));
        let (tell, read) = mpsc::unbounded_channel();
        match keeps {
            true => drop(tokio::spawn(keep(far, tell))),
            false => drop(tokio::spawn(drain(far, tell))),
        }
        Bare {
            near: Side { near: true, send, recv, key: key(1) },
            connection: near,
            orders,
            read,
            _endpoints: [server, client],
        }
    }

    /// The flights of a plan, in turn, with their signatures and commits or without.
    pub(crate) async fn exchange(&mut self, plan: &[Flight], sign: bool, stores: Option<&mut Stores>) -> Duration {
        let (near, far) = match stores {
            Some(stores) => (Some(stores.near.clone()), Some(stores.far.clone())),
            None => (None, None),
        };
        let order = Order { flights: plan.to_vec(), sign, journal: far };
        self.orders.send(order).expect("the far side lives");
        let start = Instant::now();
        self.near.play(plan, sign, near.as_ref()).await;
        start.elapsed()
    }

    /// The clock of blobs that go over a stream each, after others did.
    pub(crate) async fn bulk_after(&mut self, warm: &[Bytes], blobs: &[Bytes]) -> Duration {
        self.bulk(warm).await;
        self.bulk(blobs).await
    }

    /// Blobs over a stream each, in turn, up to the far side having read them all.
    async fn bulk(&mut self, blobs: &[Bytes]) -> Duration {
        let start = Instant::now();
        for blob in blobs {
            let mut stream = self.connection.open_uni().await.expect("a stream");
            let mut left = blob.clone();
            while !left.is_empty() {
                let piece = left.split_to(left.len().min(PIECE));
                stream.write_chunk(piece).await.expect("an open stream");
            }
            stream.finish().expect("an open stream");
        }
        for _ in blobs {
            self.read.recv().await.expect("the far side lives");
        }
        start.elapsed()
    }
}

impl Side {
    async fn obey(mut self, mut todo: mpsc::UnboundedReceiver<Order>) {
        while let Some(Order { flights, sign, journal }) = todo.recv().await {
            self.play(&flights, sign, journal.as_ref()).await;
        }
    }

    async fn play(&mut self, flights: &[Flight], sign: bool, journal: Option<&Commits>) {
        let mut buffer = Vec::new();
        for flight in flights {
            if flight.near == self.near {
                if sign {
                    work(&self.key, flight.signs, 0);
                }
                if let Some(journal) = journal.filter(|_| flight.commits > 0) {
                    journal.commit(flight.commits).await;
                }
                if flight.len == 0 {
                    continue;
                }
                let bytes = Bytes::from(vec![7; flight.len]);
                self.send.write_chunk(bytes).await.expect("an open stream");
            } else {
                buffer.resize(flight.len, 0);
                self.recv.read_exact(&mut buffer).await.expect("an open stream");
                if sign {
                    work(&self.key, 0, flight.verifies);
                }
            }
        }
    }
}

/// Reads whatever streams come, as a receiver does who wants the bytes: into a buffer that is used again.
async fn drain(connection: Connection, tell: mpsc::UnboundedSender<usize>) {
    while let Ok(mut stream) = connection.accept_uni().await {
        let tell = tell.clone();
        tokio::spawn(async move {
            let (mut buffer, mut len) = (vec![0; PIECE], 0);
            while let Ok(Some(read)) = stream.read(&mut buffer).await {
                len += read;
            }
            let _ = tell.send(len);
        });
    }
}

/// The same by a receiver that verifies and keeps the bytes: each piece is hashed, and the whole of several pieces, and
/// copied to where it stays, on another thread, which looks for itself what has come, as to be woken takes longer.
async fn keep(connection: Connection, tell: mpsc::UnboundedSender<usize>) {
    while let Ok(mut stream) = connection.accept_uni().await {
        let tell = tell.clone();
        tokio::spawn(async move {
            let (pieces, todo) = mpsc::channel::<Vec<u8>>(DEPTH);
            let (back, mut spare) = mpsc::unbounded_channel::<Vec<u8>>();
            let keeper = tokio::task::spawn_blocking(move || keep_pieces(todo, &back));
            loop {
                let mut piece = spare.try_recv().unwrap_or_default();
                piece.resize(PIECE, 0);
                let mut len = 0;
                while len < PIECE
                    && let Ok(Some(read)) = stream.read(&mut piece[len..]).await
                {
                    len += read;
                }
                piece.truncate(len);
                if len == 0 || pieces.send(piece).await.is_err() || len < PIECE {
                    break;
                }
            }
            drop(pieces);
            let _ = tell.send(keeper.await.expect("no panic"));
        });
    }
}

fn keep_pieces(mut todo: mpsc::Receiver<Vec<u8>>, back: &mpsc::UnboundedSender<Vec<u8>>) -> usize {
    let (mut kept, mut whole) = (Vec::new(), blake3::Hasher::new());
    loop {
        let piece = match todo.try_recv() {
            Ok(piece) => piece,
            Err(TryRecvError::Empty) => {
                std::thread::sleep(NAP);
                continue;
            }
            Err(TryRecvError::Disconnected) => break,
        };
        std::hint::black_box(blake3::hash(&piece));
        if piece.len() == PIECE || !kept.is_empty() {
            whole.update(&piece);
        }
        kept.extend_from_slice(&piece);
        let _ = back.send(piece);
    }
    std::hint::black_box(whole.finalize());
    kept.len()
}

/// Pieces that may wait to be kept.
const DEPTH: usize = 16;
/// How long the keeper sleeps if there is nothing.
const NAP: Duration = Duration::from_micros(100);

/// What is written and read at once: as much as a node does.
const PIECE: usize = 256 << 10;

/// A journal for each side.
pub(crate) struct Stores {
    near: Commits,
    far: Commits,
    _dir: TempDir,
}

/// Commits batches, one after the other.
#[derive(Clone)]
struct Commits(std::sync::Arc<tokio::sync::Mutex<Log>>);

struct Log {
    journal: Journal,
    reports: mpsc::UnboundedReceiver<Report>,
    last: u64,
}

impl Stores {
    pub(crate) fn open() -> Stores {
        let dir = tempfile::tempdir().expect("a directory");
        let open = |name: &str| {
            let (report, reports) = mpsc::unbounded_channel();
            let hooks = Hooks::new(move |said| drop(report.send(said)));
            let (journal, opened) =
                Journal::open(&dir.path().join(name), &dir.path().join(format!("{name}.witness")), hooks)
                    .expect("a new store");
            let log = Log { journal, reports, last: opened.last.0 };
            Commits(std::sync::Arc::new(tokio::sync::Mutex::new(log)))
        };
        Stores { near: open("near"), far: open("far"), _dir: dir }
    }
}

impl Commits {
    async fn commit(&self, len: usize) {
        let mut log = self.0.lock().await;
        log.last += 1;
        // A record of its own, and a GRANT that replaces the last one.
        let record = Write { key: log.last.to_be_bytes().to_vec(), value: Some(vec![1; len / 2]) };
        let grant = Write { key: b"grant".to_vec(), value: Some(vec![2; len / 2]) };
        let batch = Batch { lsn: Lsn(log.last), writes: vec![record, grant], after_chunks: false };
        log.journal.submit(batch).expect("room for a batch");
        let told = log.reports.recv().await;
        assert!(matches!(told, Some(Report::Durable(_))), "{told:?}");
    }
}
