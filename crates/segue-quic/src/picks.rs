//! Choice of data: of which files of a session this device gets the content.

use std::collections::{BTreeMap, BTreeSet};

use segue_proto::wire::{DeviceId, Hash, SessionId};
use segue_proto::{HeldElsewhere, UsageError, data};

use crate::error::Error;
use crate::node::Node;

/// What a user picks of a session: types of data, each a folder of its files (HO-PICK-1).
///
/// Ops of registers, logs and documents, the view state, and the names of files come in any case; what isn't picked is
/// the content of files in other folders, which stays with the devices that have it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pick(Vec<String>);

impl Pick {
    /// Everything.
    pub fn all() -> Pick {
        Pick::default()
    }

    /// No file at all.
    pub fn nothing() -> Pick {
        // No folder has this name (DATA-NAME-1).
        Pick(vec!["/".to_owned()])
    }

    /// The files in these folders, at any depth; the empty name stands for the files that lie in none. At most 64.
    pub fn types<T: Into<String>>(names: impl IntoIterator<Item = T>) -> Pick {
        Pick(names.into_iter().map(Into::into).collect())
    }

    /// Whether nothing is left out.
    pub fn is_all(&self) -> bool {
        self.0.is_empty()
    }

    /// The names of the types; none if everything is picked.
    pub fn names(&self) -> &[String] {
        &self.0
    }

    fn of(&self, session: &SessionId) -> Result<data::Pick, UsageError> {
        let ids = self.0.iter().map(|name| data::Pick::folder(session, name));
        data::Pick::new(ids).ok_or(UsageError::TooLarge)
    }
}

/// A type of data that a session has.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct DataType {
    /// Its name: that of a folder at the root; empty for the files that lie in no folder.
    pub name: String,
    /// Its files.
    pub files: usize,
    /// Their bytes.
    pub bytes: u64,
    /// Of these the bytes whose content isn't here.
    pub elsewhere: u64,
    /// Whether it is picked.
    pub picked: bool,
}

/// A file of a session whose content isn't here.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Elsewhere {
    /// Its path.
    pub path: String,
    /// Its length in bytes.
    pub len: u64,
    /// The BLAKE3 hash of its content.
    pub blob: Hash,
    /// The devices that are known to have had its content: who wrote it, and who owned the session before.
    pub holders: Vec<DeviceId>,
    /// Whether it isn't picked. Else it comes by itself, once a device is met that has it.
    pub left_out: bool,
}

impl Node {
    /// From now on this device gets the content of what is picked of a session, by handoffs and in between, and leaves
    /// the rest where it is. Say so before [`Node::request_handoff`] or [`Node::accept_handoff`]: what is picked is
    /// complete here before this device owns. It is remembered over restarts; for a session that isn't known here yet it
    /// counts once that comes. Whoever picks more later gets it then.
    ///
    /// ```no_run
    /// # use segue_quic::{DeviceId, Node, Pick, SessionId};
    /// # async fn example(node: Node, session: SessionId, laptop: DeviceId) -> Result<(), Box<dyn std::error::Error>> {
    /// node.pick(session, Pick::types(["messages"])).await?;
    /// node.request_handoff(session, laptop).await?;
    /// for file in node.held_elsewhere(session).await? {
    ///     println!("{} is held by {:?}", file.path, file.holders);
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// On a link below generation 7 a handoff brings everything, whatever is picked (GEN-PAIR-12).
    ///
    /// # Errors
    /// More than 64 types, or the node has stopped.
    pub async fn pick(&self, session: SessionId, pick: Pick) -> Result<(), Error> {
        let done = self.command("pick of the session", move |driver| {
            let (now, pick) = (driver.now(), pick.of(&session)?);
            let lsn = driver.core.pick(now, session, pick)?;
            Ok(driver.waits.durable(lsn))
        });
        done.await?.await.unwrap_or(Err(Error::Stopped))
    }

    /// This device takes along what is picked here of a session's content when it hands the session over next, or in the
    /// handoff that runs, and leaves the rest behind: say so before [`Node::initiate_handoff`]. It is for that handoff
    /// alone, and forgotten as that ends, whether it succeeds or not, or as this device is closed. The next owner needs that
    /// alone before it owns, and a mailbox is given nothing else until then. It lists what stayed behind with who holds it
    /// ([`Node::held_elsewhere`]), and gets it when it meets this device, or once this device puts it into a mailbox after
    /// all. If the next owner's user picked, that goes before.
    ///
    /// To a device below generation 7 everything goes along, over a link of the two.
    ///
    /// # Errors
    /// More than 64 types, an unknown session, or the node has stopped.
    pub async fn take_along(&self, session: SessionId, pick: Pick) -> Result<(), Error> {
        self.command("choice of what goes along", move |driver| {
            let (now, pick) = (driver.now(), pick.of(&session)?);
            driver.core.take_along(now, session, pick)
        })
        .await
    }

    /// The types of data of a session as this device knows it, by name.
    ///
    /// # Errors
    /// The node has stopped.
    pub async fn data_types(&self, session: SessionId) -> Result<Vec<DataType>, Error> {
        self.call(move |driver| {
            let (core, pick) = (&driver.core, driver.core.picked(&session));
            let lacking: BTreeSet<_> = core.held_elsewhere(&session).into_iter().map(|it| it.entry.blob).collect();
            let files = core.state(&session).into_iter().flat_map(data::State::entries);
            let mut types = BTreeMap::new();
            for (part, entry) in files.filter(|(_, entry)| entry.is_file()) {
                let name = entry.path.split_once('/').map_or("", |(folder, _)| folder).to_owned();
                let (files, bytes, elsewhere, picked) = (0, 0, 0, false);
                let new = DataType { name: name.clone(), files, bytes, elsewhere, picked };
                let of = types.entry(name).or_insert(new);
                of.files += 1;
                of.bytes += entry.len;
                of.elsewhere += if lacking.contains(&entry.blob) { entry.len } else { 0 };
                of.picked |= pick.picks(&session, &part, &entry.path);
            }
            types.into_values().collect()
        })
        .await
    }

    /// The files of a session whose content isn't here, by path. [`Node::files`] lists them with the others.
    ///
    /// # Errors
    /// The node has stopped.
    pub async fn held_elsewhere(&self, session: SessionId) -> Result<Vec<Elsewhere>, Error> {
        let held = self.call(move |driver| driver.core.held_elsewhere(&session)).await?;
        let file = |HeldElsewhere { entry, holders, left_out, .. }: HeldElsewhere| Elsewhere {
            path: entry.path.to_string(),
            len: entry.len,
            blob: entry.blob,
            holders,
            left_out,
        };
        let mut files: Vec<_> = held.into_iter().map(file).collect();
        files.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(files)
    }

    /// Gets the content of files that aren't picked, from whoever has it, once; [`crate::Event::Data`] tells when it has
    /// come. A restart forgets it. How many contents are asked for.
    ///
    /// # Errors
    /// An unknown session, or the node has stopped.
    pub async fn fetch_content(&self, session: SessionId, paths: Vec<String>) -> Result<usize, Error> {
        self.command("fetch content", move |driver| {
            let (now, paths) = (driver.now(), paths.iter().map(String::as_str).collect::<Vec<_>>());
            driver.core.fetch_content(now, session, &paths)
        })
        .await
    }
}
