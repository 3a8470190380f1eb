//! A session on the device's node: a text is the opaque part [`PART`], and a task carries its ops.

use std::collections::BTreeMap;
use std::sync::mpsc as sync;
use std::time::{Duration, Instant};

use segue_crdt::{Document, DocumentError, YrsText};
use segue_quic::{COMPACT_AFTER, DeviceId, Event, Node, PartKind, SessionId, SessionRole, named_part};
use tokio::sync::mpsc;
use tokio::time::{MissedTickBehavior, interval};

use super::session::{Change, Session};
use crate::failure::Failure;

/// The name of the part that holds the text.
const PART: &str = "text";

/// How long edits go unanswered until the others count as out of reach: the link itself notices only after three
/// quarters of a minute. A device that is there answers within a second and a round trip.
const REACH: Duration = Duration::from_secs(5);

/// How long edits that nobody else has are waited for when the user quits, while somebody is there to take them.
const LEAVE: Duration = Duration::from_secs(2);

/// How often is looked at who has what: twice as often as a person notices.
const LOOK: Duration = Duration::from_millis(250);

/// After how many looks the primary considers a snapshot: every minute.
const COMPACT_LOOKS: u64 = 240;

/// What the content of the text's snapshots is: an update of Yjs, in its first encoding.
const YRS: u32 = 1;

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
    /// How many of the part's ops the document has.
    at: usize,
    /// How many ops are saved that were submitted here.
    saved: u64,
    /// How many of those another device has.
    received: u64,
    /// Since when no op more was received, although some are waiting.
    waiting: Option<Instant>,
    /// What the editor was told last.
    told: (bool, Vec<String>),
    failed: Option<String>,
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
    let base = node.part_snapshot(session, PART).await?;
    let mut document = YrsText::open(base.as_ref().map(|base| &*base.bytes)).map_err(broken)?;
    let mut at = 0;
    loop {
        let ops = node.ops(session, PART, at).await?;
        if ops.is_empty() {
            break;
        }
        at = ops.last().map_or(at, |op| op.next);
        for op in ops {
            // What every device refuses is no text anywhere.
            if let Err(error @ DocumentError::Broken(_)) = document.apply(&op.body) {
                return Err(broken(error));
            }
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
        saved: 0,
        received: 0,
        waiting: None,
        told: (false, Vec::new()),
        failed: None,
    };
    Ok((OnNode { name: name.to_owned(), submit, changes: told }, carrier, document))
}

impl Carrier {
    /// Carries until the editor is gone and all that it submitted is saved.
    ///
    /// # Errors
    /// Something submitted isn't saved.
    pub(crate) async fn run(mut self) -> Result<(), Failure> {
        let mut ticks = interval(LOOK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut looks: u64 = 0;
        loop {
            tokio::select! {
                biased;
                op = self.submitted.recv() => match op {
                    Some(op) => self.save(op).await,
                    None => break,
                },
                event = self.node.next_event(), if self.failed.is_none() => self.hear(event).await,
                _ = ticks.tick() => {
                    self.look().await;
                    looks += 1;
                    if looks % COMPACT_LOOKS == 0 {
                        self.compact().await;
                    }
                }
            }
        }
        self.leave().await;
        match self.failed {
            Some(why) => Err(Failure::failed(format!("the last edits aren't saved: {why}"))),
            None => Ok(()),
        }
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
        while let Ok(ops) = self.node.ops(self.session, PART, self.at).await
            && !ops.is_empty()
        {
            self.at = ops.last().map_or(self.at, |op| op.next);
            for op in ops.into_iter().filter(|op| !op.own) {
                self.tell(Change::Op(op.body.to_vec()));
            }
        }
    }

    /// Reads all ops anew.
    async fn reread(&mut self) {
        let Ok(base) = self.node.part_snapshot(self.session, PART).await else { return };
        let (mut at, mut all) = (0, Vec::new());
        while let Ok(ops) = self.node.ops(self.session, PART, at).await
            && !ops.is_empty()
        {
            at = ops.last().map_or(at, |op| op.next);
            all.extend(ops.into_iter().map(|op| op.body.to_vec()));
        }
        self.at = at;
        self.tell(Change::Reread(base.map(|base| base.bytes.to_vec()), all));
    }

    /// Gives a snapshot of the text once many of its ops have none, if this device is the session's primary.
    async fn compact(&mut self) {
        let due = self.node.loose_ops(self.session, PART).await.is_ok_and(|ops| ops > COMPACT_AFTER);
        let view = self.node.session(self.session).await;
        if !due || !view.is_ok_and(|view| view.is_some_and(|view| view.role == SessionRole::Primary)) {
            return;
        }
        let Ok(base) = self.node.part_snapshot(self.session, PART).await else { return };
        let Ok(mut document) = YrsText::open(base.as_ref().map(|base| &*base.bytes)) else { return };
        let mut at = 0;
        while let Ok(ops) = self.node.ops(self.session, PART, at).await
            && !ops.is_empty()
        {
            at = ops.last().map_or(at, |op| op.next);
            ops.iter().for_each(|op| drop(document.apply(&op.body)));
        }
        if let Ok(content) = document.snapshot() {
            // Ops that came meanwhile, or a document that is too large: it is tried again later.
            let _ = self.node.snapshot_part(self.session, PART, at, YRS, content).await;
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
