//! A session on the device's node: a text is the opaque part [`PART`], and a task carries its ops.

use std::collections::BTreeMap;
use std::sync::mpsc as sync;
use std::time::{Duration, Instant};

use segue_crdt::{Document, DocumentError, YrsText};
use segue_quic::{
    COMPACT_AFTER, DeviceId, Error, Event, Hash, Node, PartKind, PartSnapshot, SessionId, SessionRole, UsageError,
    named_part,
};
use tokio::sync::mpsc;
use tokio::time::{MissedTickBehavior, interval};

use super::session::{Change, Session};
use crate::alarms::Alarms;
use crate::failure::Failure;

/// The name of the part that holds the text.
const PART: &str = "text";

/// How long edits go unanswered until the others count as out of reach: the link itself notices only after three
/// quarters of a minute. A device that is there answers within a second and a round trip.
const REACH: Duration = Duration::from_secs(5);

/// How long edits that nobody else has are waited for when the user quits, while somebody is there to take them.
const LEAVE: Duration = Duration::from_secs(2);

/// What the snapshots of a text are: a document of yrs, in its first encoding.
const FORMAT: u32 = 1;

/// How often is looked at who has what: twice as often as a person notices.
const LOOK: Duration = Duration::from_millis(250);

/// The editor's end.
pub(crate) struct OnNode {
    name: String,
    /// What a person types while the disk is busy; it doesn't grow by anything that a peer does.
    submit: mpsc::UnboundedSender<Vec<u8>>,
    changes: sync::Receiver<Change>,
}

impl Session for OnNode {
    fn name(&self) -> &str {
        &self.name
    }

    fn submit(&mut self, op: Vec<u8>) {
        // If the carrier is gone it has said why.
        let _ = self.submit.send(op);
    }

    fn poll(&mut self) -> Vec<Change> {
        self.changes.try_iter().collect()
    }
}

/// The node's end.
pub(crate) struct Carrier {
    node: Node,
    session: SessionId,
    names: BTreeMap<DeviceId, String>,
    submitted: mpsc::UnboundedReceiver<Vec<u8>>,
    changes: sync::Sender<Change>,
    /// Up to which place the document has the part's ops.
    at: usize,
    /// The snapshot that it was made of; none once it may stand on another, which says the same.
    base: Option<Option<Hash>>,
    /// How many ops came since it was looked whether they are to become a snapshot.
    loose: usize,
    /// How many ops are saved that were submitted here.
    saved: u64,
    /// How many of those another device has.
    received: u64,
    /// Since when no op more was received, although some are waiting.
    waiting: Option<Instant>,
    /// What the editor was told last.
    told: (bool, Vec<String>),
    failed: Option<String>,
    alarms: Alarms,
    /// What is to be told once the terminal is as it was.
    rung: Vec<String>,
}

/// Reads a session's text, and makes both ends.
///
/// # Errors
/// The node has stopped, or the document is broken.
pub(crate) async fn open(
    node: &Node,
    session: SessionId,
    name: &str,
    names: BTreeMap<DeviceId, String>,
) -> Result<(OnNode, Carrier, YrsText), Failure> {
    let broken = |error: DocumentError| Failure::failed(format!("session {session}: can't open its text: {error}"));
    let Text { snapshot, ops, at } = read(node, session).await?;
    let other = snapshot.as_ref().filter(|snapshot| snapshot.format != FORMAT);
    if let Some(PartSnapshot { format, .. }) = other {
        return Err(Failure::failed(format!(
            "session {session}: its text is in format {format}, which this editor can't read; open it with the application that made it"
        )));
    }
    let base = snapshot.as_ref().map(|snapshot| snapshot.id);
    let mut document = YrsText::open(snapshot.as_ref().map(|snapshot| &snapshot.bytes[..])).map_err(broken)?;
    for op in &ops {
        // What every device refuses is no text anywhere.
        if let Err(error @ DocumentError::Broken(_)) = document.apply(op) {
            return Err(broken(error));
        }
    }
    let (submit, submitted) = mpsc::unbounded_channel();
    let (changes, told) = sync::channel();
    let carrier = Carrier {
        node: node.clone(),
        session,
        names,
        submitted,
        changes,
        at,
        base: Some(base),
        loose: COMPACT_AFTER,
        saved: 0,
        received: 0,
        waiting: None,
        told: (false, Vec::new()),
        failed: None,
        alarms: Alarms::default(),
        rung: Vec::new(),
    };
    Ok((OnNode { name: name.to_owned(), submit, changes: told }, carrier, document))
}

/// All of a text that this device holds.
struct Text {
    snapshot: Option<PartSnapshot>,
    ops: Vec<Vec<u8>>,
    /// The place behind the ops.
    at: usize,
}

impl Text {
    /// What the ops come to; none if they are no text.
    fn snapshot(&self) -> Option<Vec<u8>> {
        let base = self.snapshot.as_ref();
        let mut document = YrsText::open(base.map(|base| &base.bytes[..])).ok()?;
        for op in &self.ops {
            if let Err(DocumentError::Broken(_)) = document.apply(op) {
                return None;
            }
        }
        document.snapshot().ok()
    }
}

async fn read(node: &Node, session: SessionId) -> Result<Text, Error> {
    let mut text = Text { snapshot: None, ops: Vec::new(), at: 0 };
    loop {
        let page = node.ops(session, PART, text.at).await?;
        if page.snapshot.is_some() {
            // What was read before is in it.
            (text.snapshot, text.ops) = (page.snapshot, Vec::new());
        }
        text.at = page.next;
        if page.ops.is_empty() {
            return Ok(text);
        }
        text.ops.extend(page.ops.into_iter().map(|op| op.body.to_vec()));
    }
}

impl Carrier {
    /// Carries until the editor is gone and all that it submitted is saved; an error if something isn't. And what is to be
    /// told once the terminal is as it was.
    pub(crate) async fn run(mut self) -> (Result<(), Failure>, Vec<String>) {
        let mut ticks = interval(LOOK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                biased;
                op = self.submitted.recv() => match op {
                    Some(op) => self.save(op).await,
                    None => break,
                },
                event = self.node.next_event(), if self.failed.is_none() => self.hear(event).await,
                _ = ticks.tick() => self.look().await,
            }
        }
        self.leave().await;
        let saved = match self.failed {
            Some(why) => Err(Failure::failed(format!("the last edits aren't saved: {why}"))),
            None => Ok(()),
        };
        (saved, self.rung)
    }

    /// Saves an op, and those behind it.
    async fn save(&mut self, first: Vec<u8>) {
        let mut ops = vec![first];
        while let Ok(op) = self.submitted.try_recv() {
            ops.push(op);
        }
        if self.failed.is_some() {
            return;
        }
        let count = ops.len() as u64;
        if let Err(error) = self.node.push_ops(self.session, PART, ops).await {
            return self.fail(error.to_string());
        }
        self.saved += count;
        self.tell(Change::Saved(self.saved));
        self.waiting.get_or_insert_with(Instant::now);
        self.fetch().await;
    }

    async fn hear(&mut self, event: Option<Event>) {
        if let Some(text) = event.as_ref().and_then(|event| self.alarms.hear(event)) {
            self.tell(Change::Alarm(text.clone()));
            self.rung.push(text);
        }
        match event {
            Some(Event::Changed { session, parts }) if session == self.session => {
                let text = named_part(&self.session, PartKind::Opaque, PART);
                if parts.contains(&text) {
                    self.fetch().await;
                }
            }
            Some(Event::Reread { session, parts }) if session == self.session => {
                if parts.contains(&named_part(&self.session, PartKind::Opaque, PART)) {
                    self.reread().await;
                }
            }
            Some(Event::Compacted { session }) if session == self.session => self.base = None,
            // What was dropped may have been a change, or that what is here is to be read anew.
            Some(Event::Lagged { .. }) => self.reread().await,
            Some(Event::Linked { .. } | Event::Unlinked { .. } | Event::Synced { .. }) => self.look().await,
            Some(Event::DeviceLinked { device, name, .. }) => drop(self.names.insert(device, name)),
            Some(Event::Halted { text }) => self.fail(text),
            Some(_) => {}
            None => self.fail("the device stopped; open the editor again".to_owned()),
        }
    }

    /// Takes in what others wrote.
    async fn fetch(&mut self) {
        while let Ok(page) = self.node.ops(self.session, PART, self.at).await {
            if page.snapshot.is_some() {
                return self.reread().await;
            }
            if page.ops.is_empty() {
                break;
            }
            self.at = page.next;
            self.loose += page.ops.len();
            for op in page.ops.into_iter().filter(|op| !op.own) {
                self.tell(Change::Op(op.body.to_vec()));
            }
        }
        self.compact().await;
    }

    /// Reads all anew.
    async fn reread(&mut self) {
        let Ok(Text { snapshot, ops, at }) = read(&self.node, self.session).await else { return };
        let base = snapshot.as_ref().map(|snapshot| snapshot.id);
        let resumed = self.base.is_some_and(|known| known != base);
        let snapshot = snapshot.map(|snapshot| snapshot.bytes.to_vec());
        (self.at, self.base) = (at, Some(base));
        self.tell(Change::Reread { snapshot, ops, resumed });
    }

    /// The owner's editor makes a snapshot of a text that has grown long, so that a device that joins gets the text and not
    /// all that was ever typed; others needn't, for theirs would say the same.
    async fn compact(&mut self) {
        if self.loose < COMPACT_AFTER {
            return;
        }
        self.loose = 0;
        let view = self.node.session(self.session).await.ok().flatten();
        let owns = view.is_some_and(|view| view.role == SessionRole::Primary);
        let loose = self.node.loose_ops(self.session, PART).await.unwrap_or(0);
        if !owns || loose < COMPACT_AFTER {
            return;
        }
        let Ok(text) = read(&self.node, self.session).await else { return };
        // Of the saved ops alone: what the user typed since isn't in it, for nobody else might ever get it.
        let Some(bytes) = text.snapshot() else { return };
        let given = self.node.snapshot_part(self.session, PART, text.at, FORMAT, bytes).await;
        if matches!(given, Err(Error::Usage { source: UsageError::Busy, .. })) {
            // More came meanwhile: with the next op it is tried again.
            self.loose = COMPACT_AFTER;
        }
    }

    /// Looks who is there, and who has what was written here.
    async fn look(&mut self) {
        let Ok(followers) = self.node.followers(self.session).await else { return };
        // Others' changes count as behind too, so no more than this many of the own ones can be.
        let behind = followers.iter().map(|(_, behind)| *behind).min();
        let received = behind.map_or(0, |behind| self.saved.saturating_sub(behind));
        if received > self.received {
            self.received = received;
            self.waiting = (received < self.saved).then(Instant::now);
            self.tell(Change::Received(received));
        }
        let silent = self.waiting.is_some_and(|since| since.elapsed() >= REACH);
        if followers.is_empty() {
            // Whoever comes gets its time to answer.
            self.waiting = self.waiting.map(|_| Instant::now());
        }
        let reached = !followers.is_empty() && !silent;
        let online: Vec<_> = followers.iter().filter(|_| reached).map(|(device, _)| self.name(device)).collect();
        if self.told != (reached, online.clone()) {
            self.tell(Change::Link(reached));
            self.tell(Change::Online(online.clone()));
            self.told = (reached, online);
        }
    }

    /// Gives whoever is there the time to take the last edits.
    async fn leave(&mut self) {
        let until = Instant::now() + LEAVE;
        let mut ticks = interval(LOOK / 5);
        while self.failed.is_none() && Instant::now() < until {
            self.look().await;
            if self.received >= self.saved || !self.told.0 {
                break;
            }
            ticks.tick().await;
        }
    }

    fn fail(&mut self, why: String) {
        self.failed.get_or_insert_with(|| why.clone());
        self.tell(Change::Failed(why));
    }

    fn tell(&self, change: Change) {
        // An editor that is gone needs no news.
        let _ = self.changes.send(change);
    }

    fn name(&self, device: &DeviceId) -> String {
        let short = || device.to_string().chars().take(8).collect();
        self.names.get(device).cloned().unwrap_or_else(short)
    }
}
