//! This device: its node, and what the command line remembers beside it.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use segue_proto::wire::Kind;
use segue_quic::{Builder, Content, DeviceId, FileInfo, Hash, KEY_FILE, Node, SessionId, SessionRole, SessionView};

use crate::args::State;
use crate::directory::{self, Known, Stamps};
use crate::failure::Failure;
use crate::index::{Index, Note, Place};
use crate::terminal::note;

/// What the core is told of a handoff's deadline: its longest `ttl`. The command's own patience is about silence, not
/// about how long a large session takes.
const DEADLINE: Duration = Duration::from_secs(86_400);

/// Where versions of files are kept that no directory shows.
const KEPT: &str = "kept";

/// A device that is open, for as long as a command runs.
pub(crate) struct Device {
    pub(crate) node: Node,
    pub(crate) index: Index,
    /// The state directory, canonical.
    pub(crate) state: PathBuf,
}

impl Device {
    /// Opens the device in a state directory, and makes it if there is none.
    pub(crate) async fn open(state: &State, set: impl FnOnce(Builder) -> Builder) -> Result<Device, Failure> {
        let dir = make(&state.state)?;
        let mut builder = Node::builder().state_dir(&dir).handoff_timeout(DEADLINE);
        if let Some(witness) = &state.witness {
            builder = builder.witness(witness);
        }
        let node = set(builder).open().await?;
        // Only now: the store is locked, so the index is this process's alone.
        let index = Index::load(&dir)?;
        Ok(Device { node, index, state: dir })
    }

    /// Opens the device in a state directory that has one.
    pub(crate) async fn existing(state: &State) -> Result<Device, Failure> {
        require(&state.state)?;
        Device::open(state, |builder| builder).await
    }

    /// What this device knows of a session.
    pub(crate) async fn session(&self, session: SessionId) -> Result<SessionView, Failure> {
        let unknown = || {
            let state = self.state.display();
            Failure::failed(format!(
                "no session {session} in {state}; `segue owner --state {state}` lists those there are"
            ))
        };
        self.node.session(session).await?.ok_or_else(unknown)
    }

    /// Brings a session's directory to what the session holds, if a handoff made this device its owner and that isn't
    /// done yet. True if there was something to do.
    pub(crate) async fn materialize(&mut self, view: &SessionView) -> Result<Option<directory::Written>, Failure> {
        let Some(place) = self.index.place(&view.id).filter(|place| owes(view, place.applied)).cloned() else {
            return Ok(None);
        };
        let (known, stamps) = (self.remembered(view).await?, self.index.stamps(&view.id));
        let written = self.write_out(view, &place.directory, (&known, &BTreeSet::new()), &stamps).await?;
        self.index.save_stamps(&view.id, &stamps);
        Ok(Some(written))
    }

    /// Brings session and directory together: what the user changed goes into the session, what other devices changed
    /// into the directory. A file that both changed has two versions then, of which one is shown. What was written into
    /// the directory, if anything was; none also if its content hasn't come yet.
    ///
    /// Fails, with all else done, if the user changed a file whose other version is this device's own.
    pub(crate) async fn reconcile(
        &mut self,
        view: &SessionView,
        tree: &directory::Tree,
    ) -> Result<Option<directory::Written>, Failure> {
        let stamps = self.index.stamps(&view.id);
        let (written, refused) = self.reconcile_by(view, tree, &stamps).await?;
        self.index.save_stamps(&view.id, &stamps);
        let Some(path) = refused.first() else { return Ok(written) };
        written.iter().for_each(tell_aside);
        Err(Failure::failed(format!(
            "{path:?}, which you changed, has several versions, written on several devices; say by `segue conflicts` which is to stand"
        )))
    }

    async fn reconcile_by(
        &mut self,
        view: &SessionView,
        tree: &directory::Tree,
        stamps: &Stamps,
    ) -> Result<(Option<directory::Written>, BTreeSet<String>), Failure> {
        let known = self.known(view).await?;
        let intend = |intended: &directory::Intended| self.index.intend(&view.id, &known, intended);
        let collected = directory::collect(&self.node, view.id, tree, &known, stamps, intend).await?;
        let directory::Collected { theirs, beside, refused, unsettled } = collected;
        // With what was written now.
        let known = self.known(view).await?;
        let versions = self.keep_versions(view.id).await?;
        self.look_at(view.id, versions, &unsettled).await?;
        let files = directory::files(&self.node, view.id).await?;
        if !theirs {
            let shown = known.followed_by(&Known::of(&files.here), tree).keeping(&known, &files.elsewhere);
            self.applied(view, &shown)?;
            return Ok((None, refused));
        }
        // What the user changed counts as known, so that the next change of it is the user's too.
        let known = known.with(&Known::of(&files.here), &files.elsewhere, tree, stamps).beside(beside);
        self.index.save_known(&view.id, &known)?;
        if files.coming {
            return Ok((None, refused));
        }
        for file in files.here.iter().filter(|file| !file.is_dir && file.len > 0) {
            if self.node.blob_path(file.blob).await?.is_none() {
                return Ok((None, refused));
            }
        }
        let Some(place) = self.index.place(&view.id).cloned() else { return Ok((None, refused)) };
        let written = self.write_out(view, &place.directory, (&known, &refused), stamps).await?;
        // What is shown of several versions lies in the directory alone now, where its user may change it.
        self.keep_versions(view.id).await?;
        Ok((Some(written), refused))
    }

    /// What the user changed may have been all that was here of another's version: looks at the content of versions in
    /// conflict, and of what the session has at these paths.
    async fn look_at(
        &self,
        session: SessionId,
        versions: Vec<(Hash, u64)>,
        paths: &BTreeSet<String>,
    ) -> Result<(), Failure> {
        let mut blobs = versions;
        if !paths.is_empty() {
            let files = self.node.files(session).await?;
            let named = files.into_iter().filter(|file| paths.contains(&file.path) && file.len > 0);
            blobs.extend(named.map(|file| (file.blob, file.len)));
        }
        if !blobs.is_empty() {
            self.node.look_at(session, blobs).await;
        }
        Ok(())
    }

    /// Writes what the session holds into its directory, with which it had `known` in common, and remembers that.
    async fn write_out(
        &mut self,
        view: &SessionView,
        directory: &Path,
        (known, but): (&Known, &BTreeSet<String>),
        stamps: &Stamps,
    ) -> Result<directory::Written, Failure> {
        let intend = |intended: &directory::Intended| self.index.intend(&view.id, known, intended);
        let (node, state) = (&self.node, &self.state);
        let (written, shown) =
            directory::materialize(node, state, view.id, directory, (known, but), stamps, intend).await?;
        self.applied(view, &shown)?;
        Ok(written)
    }

    /// Brings every session that this device may write and its directory together. What was moved aside for it; what goes
    /// wrong with one session is told, and the others go on.
    pub(crate) async fn reconcile_all(&mut self) -> Result<Vec<String>, Failure> {
        let places: Vec<_> = self.index.places().map(|(id, place)| (id, place.clone())).collect();
        let mut aside = Vec::new();
        for (session, place) in places {
            let Some(view) = self.node.session(session).await?.filter(|view| contributes(view, &place)) else {
                continue;
            };
            match self.both_ways(&view, &place.directory, &mut aside).await {
                Ok(()) => {}
                Err(failure) => note(format_args!("session {session}: its directory stays as it was: {failure}")),
            }
        }
        Ok(aside)
    }

    /// What a handoff brought, and then what changed on either side.
    pub(crate) async fn both_ways(
        &mut self,
        view: &SessionView,
        directory: &Path,
        aside: &mut Vec<String>,
    ) -> Result<(), Failure> {
        aside.extend(self.materialize(view).await?.into_iter().flat_map(|written| written.aside));
        let tree = self.scan(view, directory).await?;
        aside.extend(self.reconcile(view, &tree).await?.into_iter().flat_map(|written| written.aside));
        Ok(())
    }

    /// Reads a session's directory. One that is empty all at once is taken for a disk that isn't there, and not for what the
    /// user did to every file: what is read goes into the session, and from there to other devices.
    pub(crate) async fn scan(&self, view: &SessionView, directory: &Path) -> Result<directory::Tree, Failure> {
        let tree = directory::scan(directory, &self.state)?;
        match self.known(view).await?.is_lost(&tree) {
            None => Ok(tree),
            Some(files) => Err(Failure::failed(format!(
                "{} is empty, and had {files} files: as if a disk weren't there. If you removed them, make a directory there, and they are removed from the session, too",
                directory.display()
            ))),
        }
    }

    /// What directory and session had in common last.
    async fn known(&self, view: &SessionView) -> Result<Known, Failure> {
        let begun = self.index.place(&view.id).is_some_and(|place| place.applied.is_none());
        match view.role {
            // This device made the session, and was interrupted before it remembered what of the directory it had read.
            SessionRole::Primary if begun => Ok(Known::of(&directory::files(&self.node, view.id).await?.here)),
            _ => self.remembered(view).await,
        }
    }

    async fn remembered(&self, view: &SessionView) -> Result<Known, Failure> {
        let (known, intended) = self.index.known(&view.id)?;
        if intended.is_empty() {
            return Ok(known);
        }
        let held = self.node.files(view.id).await?;
        let known = known.after(&intended, &Known::of(&held)).beside(self.stand_beside(view.id, &intended).await?);
        let Some(place) = self.index.place(&view.id) else { return Ok(known) };
        let (root, stamps) = (place.directory.clone(), self.index.stamps(&view.id));
        directory::blocking(move || Ok(known.arrived(&intended, &root, &stamps))).await
    }

    /// What of what was to be written stands beside what others wrote.
    async fn stand_beside(&self, session: SessionId, intended: &directory::Intended) -> Result<Known, Failure> {
        let conflicts = self.node.conflicts(session).await?;
        let versions = conflicts.iter().flat_map(|conflict| {
            let path = conflict.path.clone().unwrap_or_default();
            conflict.versions.iter().filter_map(move |version| match version.content {
                Content::File { executable } => {
                    let (path, len, blob) = (path.clone(), version.len, version.hash);
                    Some(FileInfo { path, is_dir: false, executable, len, blob })
                }
                _ => None,
            })
        });
        Ok(intended.among(versions))
    }

    /// Whether a session's directory doesn't show yet what a handoff brought.
    pub(crate) fn owes(&self, view: &SessionView) -> bool {
        self.index.place(&view.id).is_some_and(|place| owes(view, place.applied))
    }

    /// What of the directory would go into the session before it is handed over. Nothing, while the directory doesn't
    /// show yet what a handoff brought.
    pub(crate) async fn unsent(
        &self,
        view: &SessionView,
        tree: &directory::Tree,
    ) -> Result<directory::Unsent, Failure> {
        if self.owes(view) {
            return Ok(directory::Unsent::default());
        }
        let known = self.known(view).await?;
        directory::unsent(&self.node, view.id, tree, &known, self.index.stamps(&view.id)).await
    }

    /// Copies what is only in the directory, and isn't shown there any more, into the state directory: the versions of a
    /// file that are in conflict with the one that is shown. One that isn't there as it was is another device's by now.
    /// Gives the content of all versions in conflict, by hash and length.
    async fn keep_versions(&self, session: SessionId) -> Result<Vec<(Hash, u64)>, Failure> {
        let kept = self.state.join(KEPT);
        let conflicts = self.node.conflicts(session).await?;
        let versions = conflicts.iter().flat_map(|conflict| &conflict.versions);
        let files = versions.filter(|version| matches!(version.content, Content::File { .. }) && version.len > 0);
        let versions: Vec<_> = files.map(|version| (version.hash, version.len)).collect();
        for (blob, _) in &versions {
            let held = self.node.blob_path(*blob).await?;
            if held.is_some_and(|path| !path.starts_with(&self.state)) {
                std::fs::create_dir_all(&kept).map_err(Failure::io("make the directory", &kept))?;
                let copy = kept.join(blob.to_string());
                let made = if copy.is_file() { Ok(()) } else { self.node.copy_blob(*blob, &copy).await };
                match made {
                    Ok(()) => self.node.link_blob(*blob, &copy).await?,
                    Err(error) => tracing::info!(%error, "a version that isn't kept here"),
                }
            }
        }
        Ok(versions)
    }

    /// Remembers that directory and session are one, under this head.
    fn applied(&mut self, view: &SessionView, shown: &Known) -> Result<(), Failure> {
        self.index.save_known(&view.id, shown)?;
        self.index.change(&view.id, |place| place.applied = Some(view.head))
    }

    /// Ends the device in good order.
    pub(crate) async fn close(&self) {
        if let Ok(stats) = self.node.stats().await {
            tracing::info!(stats.chunks_rx, stats.chunks_found, stats.bulk_tx, stats.bulk_rx, stats.links, "closing");
        }
        self.node.shutdown().await;
    }
}

/// Says what was moved aside.
pub(crate) fn tell_aside(written: &directory::Written) {
    written.aside.iter().for_each(|path| note(format_args!("kept what you had changed as {path}")));
}

/// Whether a handoff made this device the owner, and its directory doesn't show it yet.
fn owes(view: &SessionView, applied: Option<Hash>) -> bool {
    let handed = view.chain.last().is_some_and(|head| {
        let (kind, signer, owner) = (head.body().kind, head.body().signer, head.body().owner);
        // A takeover that another device signed is a service's, in place of an owner that is silent.
        kind == Kind::Grant.number() || kind == Kind::Takeover.number() && signer != owner
    });
    view.role == SessionRole::Primary && handed && applied != Some(view.head)
}

/// Makes the state directory if there is none; its canonical path.
pub(crate) fn make(state: &Path) -> Result<PathBuf, Failure> {
    segue_quic::create_dir(state).map_err(Failure::io("make the state directory", state))?;
    state.canonicalize().map_err(Failure::io("find the state directory", state))
}

/// Checks that there is a device: a question shouldn't make one.
pub(crate) fn require(state: &Path) -> Result<(), Failure> {
    if state.join(KEY_FILE).is_file() {
        return Ok(());
    }
    let state = state.display();
    Err(Failure::failed(format!("there is no device in {state}; `segue id --state {state}` makes one")))
}

/// The first address of a host, and its port.
pub(crate) async fn resolve(address: &str) -> Result<SocketAddr, Failure> {
    let found = tokio::net::lookup_host(address).await;
    let found = found.map_err(|error| Failure::failed(format!("can't find {address}: {error}; check the name")))?;
    let mut found: Vec<_> = found.collect();
    // A host that listens on all addresses of one family most often does so on IPv4.
    found.sort_by_key(|addr| addr.is_ipv6());
    found.first().copied().ok_or_else(|| Failure::failed(format!("{address} has no address; check the name")))
}

/// The owner that the chain names since which record: the head, or an earlier one that only changed who signs.
pub(crate) fn since(view: &SessionView) -> (u64, u64) {
    let mut since = (view.term, view.n);
    for record in view.chain.iter().rev().map(|record| record.body()) {
        if Some(record.owner) != view.owner {
            break;
        }
        since = (record.term, record.n);
    }
    since
}

/// The record by which this device handed the session to `to`, after `parent`.
pub(crate) fn handed_over(view: &SessionView, to: DeviceId, parent: Hash) -> Option<Hash> {
    let after = view.chain.iter().skip_while(|record| record.id() != parent).skip(1);
    let mut first = after.take(1);
    first.find(|record| record.body().owner == to).map(|record| record.id())
}

/// Whether what is in a directory belongs into its session: it has been here, and this device takes part in it.
pub(crate) fn contributes(view: &SessionView, place: &Place) -> bool {
    match view.role {
        SessionRole::Primary => !view.closed,
        SessionRole::Secondary | SessionRole::RolledBack => {
            !view.closed && !matches!(place.note, Some(Note::Receiving { .. }))
        }
        _ => false,
    }
}
