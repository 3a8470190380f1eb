//! What the command line remembers beside the store: where sessions lie as directories, what was written there last,
//! and which outcomes were not reported yet.
//!
//! Files in the state directory, each replaced in one step. The store's lock guards them.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};

use segue_quic::{DeviceId, Hash, SessionId};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::directory::{Intended, Known, Saved, Stamps};
use crate::failure::Failure;

/// The index of a state directory.
#[derive(Debug)]
pub(crate) struct Index {
    state: PathBuf,
    data: Data,
}

#[derive(Debug, Default, Serialize, Deserialize)]
struct Data {
    sessions: BTreeMap<String, Place>,
    /// A session that is being created for this directory: if the process dies in between, it is found by its name.
    creating: Option<Creating>,
}

/// A session as a directory.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Place {
    /// Where it lies, canonical.
    pub(crate) directory: PathBuf,
    /// The head under which directory and session were one last.
    #[serde(with = "hex_id::option", default)]
    pub(crate) applied: Option<Hash>,
    /// A handoff whose outcome nobody was told yet.
    #[serde(default)]
    pub(crate) note: Option<Note>,
}

/// A handoff whose outcome nobody was told yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Note {
    /// This device hands the session over.
    Sending {
        #[serde(with = "hex_id")]
        to: DeviceId,
        /// The head when it began.
        #[serde(with = "hex_id")]
        parent: Hash,
    },
    /// This device is handed the session.
    Receiving {
        #[serde(with = "hex_id")]
        from: DeviceId,
    },
}

/// A session that is being created.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Creating {
    pub(crate) directory: PathBuf,
    pub(crate) name: String,
}

/// What directory and session have in common, as it lies in the state directory.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Common<K = Known, I = Intended> {
    known: K,
    intended: I,
}

impl Index {
    /// Reads the index of a state directory; an empty one if there is none.
    pub(crate) fn load(state: &Path) -> Result<Index, Failure> {
        let data = read(&state.join(FILE))?.unwrap_or_default();
        Ok(Index { state: state.to_owned(), data })
    }

    /// Where a session lies, if it does.
    pub(crate) fn place(&self, session: &SessionId) -> Option<&Place> {
        self.data.sessions.get(&session.to_string())
    }

    /// Every session with a directory.
    pub(crate) fn places(&self) -> impl Iterator<Item = (SessionId, &Place)> {
        self.data.sessions.iter().filter_map(|(id, place)| Some((SessionId::from_hex(id)?, place)))
    }

    /// The sessions that lie, or lay, in a directory.
    pub(crate) fn at(&self, directory: &Path) -> Vec<SessionId> {
        self.places().filter(|(_, place)| place.directory == directory).map(|(id, _)| id).collect()
    }

    /// Gives a session a directory, unless it has one.
    pub(crate) fn put(&mut self, session: &SessionId, directory: PathBuf) -> Result<(), Failure> {
        let place = Place { directory, applied: None, note: None };
        self.data.sessions.entry(session.to_string()).or_insert(place);
        self.data.creating = None;
        self.save()
    }

    /// Changes what is remembered of a session, if it has a directory.
    pub(crate) fn change(&mut self, session: &SessionId, change: impl FnOnce(&mut Place)) -> Result<(), Failure> {
        match self.data.sessions.get_mut(&session.to_string()) {
            Some(place) => change(place),
            None => return Ok(()),
        }
        self.save()
    }

    /// What is being created.
    pub(crate) fn creating(&self) -> Option<&Creating> {
        self.data.creating.as_ref()
    }

    /// Says what is about to be created.
    pub(crate) fn set_creating(&mut self, creating: Creating) -> Result<(), Failure> {
        self.data.creating = Some(creating);
        self.save()
    }

    /// What directory and session had in common last, and what was about to be written into the session since.
    pub(crate) fn known(&self, session: &SessionId) -> Result<(Known, Intended), Failure> {
        let Common { known, intended } = read(&self.known_file(session))?.unwrap_or_default();
        Ok((known, intended))
    }

    /// Remembers what directory and session have in common.
    pub(crate) fn save_known(&self, session: &SessionId, known: &Known) -> Result<(), Failure> {
        self.intend(session, known, &Intended::default())
    }

    /// Remembers that, and what is about to be written into the session.
    pub(crate) fn intend(&self, session: &SessionId, known: &Known, intended: &Intended) -> Result<(), Failure> {
        let dir = self.state.join(KNOWN);
        fs::create_dir_all(&dir).map_err(Failure::io("make", &dir))?;
        write(&self.known_file(session), &Common { known, intended })
    }

    /// What is remembered of a session's files; nothing if that can't be understood.
    pub(crate) fn stamps(&self, session: &SessionId) -> Stamps {
        Stamps::new(read::<Saved>(&self.stamps_file(session)).ok().flatten().unwrap_or_default())
    }

    /// Remembers it for the next time. Lost, it costs a read of the files.
    pub(crate) fn save_stamps(&self, session: &SessionId, stamps: &Stamps) {
        let Some(saved) = stamps.saved() else { return };
        if let Err(error) = write(&self.stamps_file(session), &saved) {
            tracing::warn!(%session, %error, "what was read of the files isn't remembered");
        }
    }

    fn stamps_file(&self, session: &SessionId) -> PathBuf {
        self.state.join(KNOWN).join(format!("{session}.stamps"))
    }

    fn save(&self) -> Result<(), Failure> {
        write(&self.state.join(FILE), &self.data)
    }

    fn known_file(&self, session: &SessionId) -> PathBuf {
        self.state.join(KNOWN).join(format!("{session}.json"))
    }
}

const FILE: &str = "directories.json";
const KNOWN: &str = "known";

fn read<T: DeserializeOwned>(path: &Path) -> Result<Option<T>, Failure> {
    let bytes = match fs::read(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        other => other.map_err(Failure::io("read", path))?,
    };
    let parsed = serde_json::from_slice(&bytes).map_err(io::Error::from);
    parsed.map(Some).map_err(Failure::io("understand", path))
}

/// Replaces the file in one step, so that a crash leaves the old one or the new one whole.
fn write<T: Serialize>(path: &Path, value: &T) -> Result<(), Failure> {
    let replace = || {
        let draft = path.with_extension("new");
        let mut file = File::create(&draft)?;
        file.write_all(&serde_json::to_vec(value)?)?;
        file.sync_all()?;
        fs::rename(&draft, path)?;
        path.parent().map_or(Ok(()), |dir| File::open(dir)?.sync_all())
    };
    replace().map_err(Failure::io("write", path))
}

/// Ids as hexadecimal digits.
mod hex_id {
    use segue_quic::{DeviceId, Hash};
    use serde::de::Error;
    use serde::{Deserialize, Deserializer, Serializer};

    /// An id that JSON holds as text.
    pub(super) trait Id: ToString + Sized {
        fn parse(text: &str) -> Option<Self>;
    }

    impl Id for DeviceId {
        fn parse(text: &str) -> Option<Self> {
            Self::from_hex(text)
        }
    }

    impl Id for Hash {
        fn parse(text: &str) -> Option<Self> {
            Self::from_hex(text)
        }
    }

    pub(super) fn serialize<T: Id, S: Serializer>(id: &T, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(&id.to_string())
    }

    pub(super) fn deserialize<'de, T: Id, D: Deserializer<'de>>(d: D) -> Result<T, D::Error> {
        let text = String::deserialize(d)?;
        T::parse(&text).ok_or_else(|| D::Error::custom("an id has hexadecimal digits"))
    }

    pub(super) mod option {
        use super::*;

        pub(crate) fn serialize<T: Id, S: Serializer>(id: &Option<T>, s: S) -> Result<S::Ok, S::Error> {
            match id {
                Some(id) => s.serialize_some(&id.to_string()),
                None => s.serialize_none(),
            }
        }

        pub(crate) fn deserialize<'de, T: Id, D: Deserializer<'de>>(d: D) -> Result<Option<T>, D::Error> {
            let text = Option::<String>::deserialize(d)?;
            Ok(text.and_then(|text| T::parse(&text)))
        }
    }
}
