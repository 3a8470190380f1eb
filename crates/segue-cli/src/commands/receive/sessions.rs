//! The sessions that are here: written when they come, read again before they go.

use std::time::SystemTime;

use segue_quic::{DeviceId, SessionId, SessionRole, SessionView};
use tokio::time::Instant;

use super::{LINGER, Last, Receiver};
use crate::device::{contributes, tell_aside};
use crate::directory::{Tree, Written};
use crate::failure::Failure;
use crate::index::{Note, Place};
use crate::terminal::{count, note, say};

/// What a directory looks like without reading its files: their names, lengths and times, and whether they can be run.
pub(super) type Look = Vec<(String, u64, Option<SystemTime>, bool)>;

impl Receiver {
    /// Goes on with what an earlier run left.
    pub(super) async fn resume(&mut self) -> Result<(), Failure> {
        let places: Vec<_> = self.device.index.places().map(|(id, place)| (id, place.note)).collect();
        for (session, told) in places {
            let Some(view) = self.device.node.session(session).await? else { continue };
            let Some(Note::Receiving { from }) = told else {
                self.write(&view, None).await?;
                continue;
            };
            self.accepted.insert((session, from));
            if view.role == SessionRole::Primary {
                self.arrived(&view, from).await?;
            }
        }
        self.adopt_all().await?;
        self.refresh().await
    }

    /// What another run or a command took in has a directory, too.
    pub(super) async fn adopt_all(&mut self) -> Result<(), Failure> {
        for view in self.device.node.sessions().await? {
            if self.device.index.place(&view.id).is_none() {
                self.adopt(view.id).await?;
            }
        }
        Ok(())
    }

    /// A handoff made this device the owner of a session. If its directory can't be written, others go on; the next
    /// start tries again.
    pub(super) async fn receive(&mut self, session: SessionId) -> Result<(), Failure> {
        match self.received(session).await {
            Err(failure) if !self.args.once => {
                note(format_args!("session {session} is this device's, but its directory isn't complete: {failure}"));
                Ok(())
            }
            other => other,
        }
    }

    async fn received(&mut self, session: SessionId) -> Result<(), Failure> {
        let view = self.device.session(session).await?;
        let Some(grantor) = view.chain.last().map(|head| head.body().signer) else { return Ok(()) };
        // Its own takeover, told to this process by another.
        if grantor == self.device.node.device() || view.role != SessionRole::Primary {
            return Ok(());
        }
        super::place::place_for(&mut self.device, &view, &self.into)?;
        self.arrived(&view, grantor).await
    }

    /// Writes the session into its directory and says so.
    async fn arrived(&mut self, view: &SessionView, from: DeviceId) -> Result<(), Failure> {
        let throughput = match self.flows.remove(&view.id) {
            Some(mut flow) => {
                flow.count().await?;
                flow.finish()
            }
            None if self.mailbox().is_some() => self.incoming.end(&self.device.node, view.id).await,
            None => None,
        };
        self.write(view, throughput).await?;
        self.wake(view).await?;
        self.ends(view.id, from).await
    }

    /// Has the user's command open the session, once for each time that it came.
    async fn wake(&mut self, view: &SessionView) -> Result<(), Failure> {
        let Some(command) = self.args.on_wake.clone() else { return Ok(()) };
        let head = view.chain.last().map(|head| head.id());
        if self.woken.insert(view.id, head) == Some(head) {
            return Ok(());
        }
        let directory = self.device.index.place(&view.id).map(|place| place.directory.clone()).unwrap_or_default();
        // What others chose goes by the environment alone, so that no shell reads it.
        let mut shell = std::process::Command::new("sh");
        shell.args(["-c", &command]).stdin(std::process::Stdio::null());
        // What lets this device in at its service is no other program's to know.
        shell.env_remove("SEGUE_TOKEN");
        shell
            .env("SEGUE_SESSION", view.id.to_string())
            .env("SEGUE_NAME", view.name.replace('\0', ""))
            .env("SEGUE_DIRECTORY", &directory);
        if let Some(state) = self.device.node.view(view.id).await? {
            shell.env("SEGUE_VIEW", String::from_utf8_lossy(&state).replace('\0', ""));
        }
        match shell.spawn() {
            // Nothing waits for it; that it failed is told if this process is there still.
            Ok(mut child) => drop(std::thread::spawn(move || match child.wait() {
                Ok(status) if !status.success() => {
                    let how = status.code().map_or_else(|| status.to_string(), |code| code.to_string());
                    note(format_args!("{command:?} (--on-wake) ended with {how}"));
                }
                _ => {}
            })),
            Err(error) => note(format_args!("can't run {command:?} (--on-wake): {error}")),
        }
        Ok(())
    }

    async fn write(&mut self, view: &SessionView, throughput: Option<String>) -> Result<(), Failure> {
        let Some(written) = self.device.materialize(view).await? else { return Ok(()) };
        tell_aside(&written);
        let Written { files, bytes, .. } = written;
        let (session, name) = (view.id, &view.name);
        let from = came_from(view);
        let directory = self.device.index.place(&session).map(|place| place.directory.display().to_string());
        let (directory, moved) = (directory.unwrap_or_default(), throughput.unwrap_or_else(|| "held already".into()));
        say(format_args!(
            "received session {session} {name:?} from {from}: {}, {bytes} bytes in {directory} ({moved})",
            count(files, "file")
        ));
        Ok(())
    }

    /// A session changed hands. With `--once` it was the one.
    pub(super) async fn ends(&mut self, session: SessionId, peer: DeviceId) -> Result<(), Failure> {
        if self.args.once {
            let service = self.args.mailbox.named().map(|(_, service)| service);
            let grantor = self.device.session(session).await?.grantor;
            if let Some(service) = service.filter(|service| Some(*service) == grantor) {
                // It stays, and tells the other device; what it has to know of this one is there once all is exchanged.
                let _ = tokio::time::timeout(LINGER, self.device.node.exchanged(service)).await;
                self.left.insert(peer);
            }
            self.last = Some(Last { session, peer, until: Instant::now() + LINGER });
            return Ok(());
        }
        self.device.index.change(&session, |place| place.note = None)
    }

    /// Reads the directories of the sessions that this device owns, where they look different, so that whoever asks
    /// for one finds what it holds now.
    pub(super) async fn refresh(&mut self) -> Result<(), Failure> {
        let sessions: Vec<_> = self.device.index.places().map(|(id, _)| id).collect();
        for session in sessions {
            if let Err(failure) = self.bring_up_to_date(session).await {
                note(format_args!("session {session} stays as it was: {failure}"));
            }
        }
        Ok(())
    }

    /// A session that another device told of, and that is followed from then on, gets a directory once its files are here.
    pub(super) async fn adopt(&mut self, session: SessionId) -> Result<(), Failure> {
        let Some(view) = self.device.node.session(session).await?.filter(|_| self.args.together) else { return Ok(()) };
        let files = crate::directory::files(&self.device.node, session).await?;
        let none = files.here.is_empty() && files.elsewhere.is_empty();
        if view.role != SessionRole::Secondary || view.closed || none || files.coming {
            return Ok(());
        }
        for file in files.here.iter().filter(|file| !file.is_dir && file.len > 0) {
            // Its content is on its way, and tells of itself when it is here.
            if self.device.node.blob_path(file.blob).await?.is_none() {
                return Ok(());
            }
        }
        let place = super::place::place_for(&mut self.device, &view, &self.into);
        let made = place.and_then(|at| std::fs::create_dir_all(&at).map_err(Failure::io("make the directory", &at)));
        match made {
            Ok(()) => Ok(()),
            // The others go on.
            Err(failure) => {
                note(format_args!("session {session} {:?} gets no directory: {failure}", view.name));
                Ok(())
            }
        }
    }

    /// Other devices changed a session, or what they wrote is all here.
    pub(super) async fn changed(&mut self, session: SessionId) -> Result<(), Failure> {
        self.looks.remove(&session);
        if let Err(failure) = self.bring_up_to_date(session).await {
            note(format_args!("session {session} stays as it was: {failure}"));
        }
        Ok(())
    }

    /// Whether what is in a directory belongs into its session.
    pub(super) fn takes_part(&self, view: &SessionView, place: &Place) -> bool {
        contributes(view, place) && (view.role == SessionRole::Primary || self.args.together)
    }

    /// Brings a session and its directory together.
    pub(super) async fn bring_up_to_date(&mut self, session: SessionId) -> Result<(), Failure> {
        let Some(view) = self.device.node.session(session).await? else { return Ok(()) };
        let Some(place) = self.device.index.place(&session).cloned() else { return Ok(()) };
        if !self.takes_part(&view, &place) && view.role != SessionRole::Primary {
            return Ok(());
        }
        self.write(&view, None).await?;
        let tree = self.device.scan(&view, &place.directory).await?;
        let look = look(&tree);
        if self.looks.get(&session) != Some(&look) {
            self.device.reconcile(&view, &tree).await?.iter().for_each(tell_aside);
            self.tell_conflicts(&view).await?;
            // What was written just now looks different, and is looked at again once.
            self.looks.insert(session, look);
        }
        Ok(())
    }
}

impl Receiver {
    /// Says that files have several versions, once for each.
    async fn tell_conflicts(&mut self, view: &SessionView) -> Result<(), Failure> {
        let found = self.device.node.conflicts(view.id).await?;
        for conflict in found.iter().filter(|conflict| self.told.insert((conflict.session, conflict.part))) {
            let Some(path) = &conflict.path else { continue };
            let (versions, session, state) = (conflict.versions.len(), view.id, self.device.state.display());
            note(format_args!(
                "session {session}: {path:?} has {versions} versions, written on several devices; `segue conflicts --state {state} {session}` lists them, and says which is to stand"
            ));
        }
        // What is resolved may come to have several again.
        self.told.retain(|(session, part)| *session != view.id || found.iter().any(|conflict| conflict.part == *part));
        Ok(())
    }
}

/// Whose the session was before it came here, and which service signed that it did, if one did.
fn came_from(view: &SessionView) -> String {
    let Some(head) = view.chain.last().map(|record| record.body()) else { return String::new() };
    let before = view.chain.iter().rev().map(|record| record.body().owner).find(|owner| *owner != head.owner);
    match before {
        Some(owner) if owner != head.signer => format!("{owner} by service {}", head.signer),
        _ => head.signer.to_string(),
    }
}

/// What a directory looks like.
pub(super) fn look(tree: &Tree) -> Look {
    let file = |(name, path): &(String, std::path::PathBuf)| {
        let metadata = path.symlink_metadata().ok();
        let time = metadata.as_ref().and_then(|metadata| metadata.modified().ok());
        let runs = metadata.as_ref().is_some_and(crate::directory::is_executable);
        (name.clone(), metadata.map_or(0, |metadata| metadata.len()), time, runs)
    };
    let empty = tree.empty.iter().map(|name| (name.clone(), 0, None, false));
    tree.files.iter().map(file).chain(empty).collect()
}
