//! Keeping what was received: verified by the core's code and stored, on a blocking thread.
//!
//! A link has one such thread at a time. To wake a thread costs whoever reads the network more than to verify what it is
//! woken for, a tenth of the time of 64 MB over loopback. So the thread isn't woken while streams are read: it naps, and
//! looks by itself what has gathered; after some naps without anything it ends, and once some has gathered, a new one is
//! begun. For the same reason it tells the core seldom while more is coming.

use std::collections::VecDeque;
use std::mem;
use std::ops::Range;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use segue_proto::LinkId;
use segue_proto::transfer::{BulkEnd, Plan, Verified};
use tokio::sync::{OwnedSemaphorePermit, oneshot};
use tokio::task::spawn_blocking;

use super::content::Content;
use super::receive::chunk_len;
use super::{BUFFER, Shared};
use crate::driver::Input;

/// Buffers that are worked off before the queue is looked at again, and after which the core is told, though more are coming:
/// it shows progress.
const BURST: usize = 8;

/// Bytes for which the thread doesn't nap first, and for which one is begun at once. From: measurement on loopback, 64 MB
/// in one file; with half of it and with twice as much no difference was to be seen.
const GATHERED: usize = 2 * BUFFER;

/// How long the thread naps while streams are read and less than [`GATHERED`] has come, and how often in a row before it
/// ends. From: measurement on loopback, 64 MB in one file: between 50 and 400 us no difference was to be seen.
const NAP: Duration = Duration::from_micros(200);
const NAPS: usize = 6;

/// The longest that something waits for a thread to be begun, and how long none has been there if nothing waits: little
/// beside a disk's sync, and much beside a wake-up.
const LINGER: Duration = Duration::from_millis(5);

/// Keeps what comes over a link. A cheap handle.
#[derive(Clone)]
pub(super) struct Keeper(Arc<Inner>);

struct Inner {
    link: LinkId,
    shared: Shared,
    queue: Mutex<Queue>,
    /// Ends the thread's nap.
    up: Condvar,
}

/// Bounded by the link's budget, of which everything in it has a share.
#[derive(Default)]
struct Queue {
    jobs: VecDeque<Job>,
    /// What was kept of slices, for whoever reads to free: the thread that allocated them does so faster.
    spent: Vec<Got>,
    /// The bytes of the jobs.
    bytes: usize,
    untold: Untold,
    /// A thread is at it.
    running: bool,
    /// It naps: it looks again soon.
    naps: bool,
    /// When the last thread had nothing more to do.
    rested: Option<Instant>,
    /// Somebody wakes a thread soon.
    lingers: bool,
    /// The streams that are being read.
    reading: usize,
    /// The streams that are read no more, and wait for what becomes of what they brought.
    waiting: usize,
}

impl Queue {
    fn has_more(&self) -> bool {
        !self.jobs.is_empty() || !self.untold.chunks.is_empty() || !self.untold.ends.is_empty()
    }

    /// Whether nothing more will gather, or somebody waits for what has.
    fn is_awaited(&self) -> bool {
        self.reading == 0 || self.waiting > 0
    }

    /// Whether what is there is worth a thread now: enough of it is, or nothing more comes with it.
    fn is_due(&self, now: Instant) -> bool {
        let is_late = self.rested.is_none_or(|rested| now.duration_since(rested) >= LINGER);
        self.bytes >= GATHERED || self.is_awaited() || is_late
    }
}

/// A stream that is being read, of which more may come.
pub(super) struct Reading {
    keeper: Keeper,
    waits: bool,
}

impl Reading {
    /// Nothing more comes, but somebody waits for what was given.
    pub(super) fn waits(&mut self) {
        if !mem::replace(&mut self.waits, true) {
            let mut queue = self.keeper.lock();
            queue.reading -= 1;
            queue.waiting += 1;
            self.keeper.begin(&mut queue);
        }
    }
}

impl Drop for Reading {
    fn drop(&mut self) {
        let mut queue = self.keeper.lock();
        if self.waits {
            queue.waiting -= 1;
        } else {
            queue.reading -= 1;
        }
        if queue.reading == 0 {
            self.keeper.begin(&mut queue);
            // The link may have ended, and what is known to be here isn't asked for over the next.
            let untold = mem::take(&mut queue.untold);
            drop(queue);
            self.keeper.tell_at_once(untold);
        }
    }
}

/// Chunks that were received, one after the other in a buffer.
pub(super) struct Got {
    pub(super) plan: Arc<Plan>,
    pub(super) group: Range<u32>,
    pub(super) content: Content,
    /// Its share of the link's budget.
    pub(super) _room: OwnedSemaphorePermit,
}

/// What became of a buffer, once the core knows. An error if the store failed.
pub(super) type Kept = oneshot::Receiver<BulkEnd>;

struct Job {
    got: Got,
    then: Then,
}

/// What was kept, and the core doesn't know of yet.
#[derive(Default)]
struct Untold {
    chunks: Vec<Verified>,
    /// The answers to requests that have ended.
    ends: Vec<(u32, BulkEnd)>,
    /// What became of the buffers of streams that go on.
    answers: Vec<Answer>,
}

type Answer = (oneshot::Sender<BulkEnd>, BulkEnd);

impl Untold {
    fn add(&mut self, kept: Vec<Verified>, end: BulkEnd, then: Then) {
        self.chunks.extend(kept);
        match then {
            Then::Answer(answer) => self.answers.push((answer, end)),
            Then::End(req) => self.ends.push((req, end)),
        }
    }

    fn append(&mut self, mut later: Untold) {
        self.chunks.append(&mut later.chunks);
        self.ends.append(&mut later.ends);
        self.answers.append(&mut later.answers);
    }
}

fn answer(answers: Vec<Answer>) {
    for (answer, end) in answers {
        // A stream whose link ended doesn't care.
        let _ = answer.send(end);
    }
}

enum Then {
    /// Whoever reads the stream goes on.
    Answer(oneshot::Sender<BulkEnd>),
    /// The stream has ended, and so does the answer to this request.
    End(u32),
}

impl Keeper {
    pub(super) fn new(link: LinkId, shared: Shared) -> Self {
        Keeper(Arc::new(Inner { link, shared, queue: Mutex::default(), up: Condvar::new() }))
    }

    /// Verifies and stores chunks, and tells the core.
    pub(super) fn keep(&self, got: Got) -> Kept {
        let (tell, told) = oneshot::channel();
        self.push(Job { got, then: Then::Answer(tell) });
        told
    }

    /// The same with the last chunks of a stream that has ended, of which the core is told, too.
    pub(super) fn keep_last(&self, got: Got, req: u32) {
        self.push(Job { got, then: Then::End(req) });
    }

    /// Notes that a stream is being read.
    pub(super) fn reading(&self) -> Reading {
        self.lock().reading += 1;
        Reading { keeper: self.clone(), waits: false }
    }

    /// Frees what was kept meanwhile.
    pub(super) fn reclaim(&self) {
        let spent = mem::take(&mut self.lock().spent);
        drop(spent);
    }

    fn push(&self, job: Job) {
        let mut queue = self.lock();
        queue.bytes += job.got.content.len();
        queue.jobs.push_back(job);
        if queue.running && !queue.is_awaited() {
            // The thread looks by itself.
        } else if queue.is_due(Instant::now()) {
            self.begin(&mut queue);
        } else if !mem::replace(&mut queue.lingers, true) {
            let keeper = self.clone();
            tokio::spawn(async move {
                tokio::time::sleep(LINGER).await;
                let mut queue = keeper.lock();
                queue.lingers = false;
                keeper.begin(&mut queue);
            });
        }
    }

    /// Has a thread look: the one that naps, or a new one if there is something.
    fn begin(&self, queue: &mut Queue) {
        if mem::take(&mut queue.naps) {
            self.0.up.notify_one();
        }
        if queue.has_more() && !mem::replace(&mut queue.running, true) {
            let keeper = self.clone();
            spawn_blocking(move || keeper.run());
        }
    }

    fn run(&self) {
        while self.has_more() {
            while let Some(jobs) = self.next() {
                if let Err(error) = self.work(jobs) {
                    let text = format!("writing received chunks: {error}");
                    let _ = self.0.shared.inbox.blocking_send(Input::StoreFailed(text));
                }
            }
            self.tell();
        }
    }

    /// Whether there is something to do. If not, the thread ends.
    fn has_more(&self) -> bool {
        let mut queue = self.lock();
        queue.running = queue.has_more();
        if queue.running {
            return true;
        }
        queue.rested = Some(Instant::now());
        let spent = mem::take(&mut queue.spent);
        drop((queue, spent));
        false
    }

    /// What there is to do; none if nothing comes for some naps, or if somebody waits to be told.
    fn next(&self) -> Option<Vec<Job>> {
        let mut queue = self.lock();
        for _ in 0..NAPS {
            if queue.is_awaited() || queue.bytes >= GATHERED {
                break;
            }
            queue = self.nap(queue);
            if !queue.jobs.is_empty() {
                break;
            }
        }
        let some = queue.jobs.len().min(BURST);
        let jobs: Vec<Job> = queue.jobs.drain(..some).collect();
        queue.bytes -= jobs.iter().map(|job| job.got.content.len()).sum::<usize>();
        (!jobs.is_empty()).then_some(jobs)
    }

    /// Waits a little, or until it is woken.
    fn nap<'a>(&self, mut queue: MutexGuard<'a, Queue>) -> MutexGuard<'a, Queue> {
        queue.naps = true;
        let napped = self.0.up.wait_timeout_while(queue, NAP, |queue| queue.naps);
        let (mut queue, _) = napped.unwrap_or_else(PoisonError::into_inner);
        queue.naps = false;
        queue
    }

    fn work(&self, jobs: Vec<Job>) -> Result<(), segue_store::StoreError> {
        let (mut new, mut spent, mut failed) = (Untold::default(), Vec::new(), Ok(()));
        for Job { got, then } in jobs {
            match self.store(&got) {
                Ok((kept, end)) => new.add(kept, end, then),
                Err(error) => {
                    failed = Err(error);
                    break;
                }
            }
            if got.content.is_lent() {
                spent.push(got);
            }
        }
        let mut queue = self.lock();
        queue.spent.append(&mut spent);
        queue.untold.append(new);
        if queue.untold.answers.len() >= BURST || !queue.untold.ends.is_empty() || queue.is_awaited() {
            drop(queue);
            self.tell();
        }
        failed
    }

    /// Tells the core of what was kept, and then the streams: what they say of their ends comes behind it.
    fn tell(&self) {
        let untold = mem::take(&mut self.lock().untold);
        let (input, answers) = self.split(untold);
        if let Some(input) = input {
            let _ = self.0.shared.inbox.blocking_send(input);
        }
        answer(answers);
    }

    /// The same from a thread that mustn't wait; if it would have to, the keeper's own thread does it.
    fn tell_at_once(&self, untold: Untold) {
        if untold.chunks.is_empty() && untold.ends.is_empty() {
            return answer(untold.answers);
        }
        match self.0.shared.inbox.try_reserve() {
            Ok(room) => {
                let (input, answers) = self.split(untold);
                if let Some(input) = input {
                    room.send(input);
                }
                answer(answers);
            }
            Err(_) => {
                let mut queue = self.lock();
                let later = mem::replace(&mut queue.untold, untold);
                queue.untold.append(later);
                self.begin(&mut queue);
            }
        }
    }

    fn split(&self, Untold { chunks, ends, answers }: Untold) -> (Option<Input>, Vec<Answer>) {
        self.0.shared.counters.chunks_rx.add(chunks.len() as u64);
        let any = !chunks.is_empty() || !ends.is_empty();
        (any.then_some(Input::Received { link: self.0.link, chunks, ends }), answers)
    }

    /// The chunks that are good and stored, and whether the stream is worth reading on. Chunk lists are stored, too:
    /// whoever has the blob must be able to serve them.
    fn store(&self, got: &Got) -> Result<(Vec<Verified>, BulkEnd), segue_store::StoreError> {
        let bytes = got.content.whole(&self.0.shared.buffers);
        let (chunks, end) = self.verify(got, &bytes);
        let stored = self.0.shared.storage.store(&got.plan, &chunks, &bytes)?;
        // Without the last chunks the core won't take the blob for complete.
        Ok(if stored { (chunks, end) } else { (Vec::new(), BulkEnd::Corrupt) })
    }

    /// Verifies chunks up to the first bad one.
    fn verify(&self, got: &Got, mut rest: &[u8]) -> (Vec<Verified>, BulkEnd) {
        let (plan, mut good) = (&got.plan, Vec::new());
        for index in got.group.clone() {
            let len = chunk_len(plan, index) as usize;
            let Some((bytes, later)) = rest.split_at_checked(len) else { return (good, BulkEnd::Corrupt) };
            rest = later;
            match plan.verify_chunk(self.0.shared.rules, index, bytes) {
                Ok(verified) => good.push(verified),
                Err(violation) => {
                    tracing::warn!(link = self.0.link.0, blob = %plan.blob(), index, %violation, "bad chunk");
                    return (good, BulkEnd::Corrupt);
                }
            }
        }
        (good, BulkEnd::Finished)
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.0.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Of two ends the one that says more against the peer.
pub(super) fn worse(a: BulkEnd, b: BulkEnd) -> BulkEnd {
    if a == BulkEnd::Corrupt || b == BulkEnd::Finished { a } else { b }
}
