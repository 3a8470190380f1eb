//! Writing files and directories by their paths, each into the part that holds it.

use std::collections::HashMap;

use segue_proto::data::{Entry, EntryMode, Part, PartKind, Value, named_part};
use segue_proto::wire::{PartId, SessionId};
use segue_proto::{Lsn, Rules, UsageError};

use crate::driver::Driver;
use crate::files::{FileInfo, info, wall_ms};

/// What [`crate::Node::replace_entries`] wrote, as [`crate::Node::files`] shows it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Replaced {
    /// What stands for what was seen.
    pub written: Vec<FileInfo>,
    /// What stands beside what other devices wrote meanwhile: one of them is shown, [`crate::Node::conflicts`] lists both.
    pub beside: Vec<FileInfo>,
    /// The paths of files of which this device's own version is in conflict with the one that was seen: its next would
    /// replace both, so what is to stand has to be said first.
    pub refused: Vec<String>,
}

/// What became of an entry.
enum Outcome {
    /// It stands for what was seen.
    Written(Lsn),
    /// It stands beside what others wrote.
    Beside(Lsn),
    /// It stood there already.
    Held,
    /// It wasn't written.
    Left,
}

impl Driver {
    /// Writes entries, each into the part that holds its path, or into a new one; with `seen` each for that alone. The LSN
    /// behind them, or if the session holds them all already, that of the last write, which may have been theirs.
    pub(crate) fn put_entries(
        &mut self,
        session: SessionId,
        entries: Vec<Entry>,
        seen: Option<&HashMap<String, FileInfo>>,
    ) -> Result<(Lsn, Replaced), UsageError> {
        let state = self.core.state(&session).ok_or(UsageError::UnknownSession)?;
        let removes = |entry: &Entry| entry.mode == EntryMode::Removed.number();
        // Where entries stand elsewhere than at their own paths, all are placed once for all writes.
        let mut placed: Option<HashMap<String, (PartId, Entry)>> = (!state.is_plain())
            .then(|| state.entries().map(|(part, entry)| (entry.path.to_string(), (part, entry))).collect());
        let (mut lsn, mut replaced) = (self.waits.last_write(), Replaced::default());
        for entry in entries {
            let held = match &placed {
                Some(placed) => placed.get(&*entry.path).cloned(),
                None => self.core.state(&session).and_then(|state| state.entry_at(&entry.path)),
            };
            if held.as_ref().map_or(removes(&entry), |(_, held)| *held == entry) {
                replaced.written.push(info(&entry));
                continue;
            }
            let part = held.map_or_else(|| self.part_of(&session, &entry.path), |(part, _)| part);
            let outcome = match seen.map(|seen| seen.get(&*entry.path)) {
                None => self.write_shared(session, part, PartKind::Blob, entry.to_bytes()).map(Outcome::Written),
                Some(seen) => self.write_seen(session, part, &entry, seen),
            };
            match outcome {
                Ok(Outcome::Left) => continue,
                Ok(Outcome::Held) => replaced.beside.push(info(&entry)),
                Ok(Outcome::Beside(at)) => {
                    lsn = at;
                    replaced.beside.push(info(&entry));
                }
                Ok(Outcome::Written(at)) => {
                    lsn = at;
                    replaced.written.push(info(&entry));
                }
                Err(UsageError::Conflicted) if seen.is_some() => {
                    replaced.refused.push(entry.path.to_string());
                    continue;
                }
                Err(error) => return Err(error),
            }
            if let Some(placed) = &mut placed {
                let shown = self.core.state(&session).and_then(|state| state.part(&part)?.entry());
                match shown.filter(Entry::is_live) {
                    Some(shown) => drop(placed.insert(entry.path.to_string(), (part, shown))),
                    None => drop(placed.remove(&*entry.path)),
                }
            }
        }
        Ok((lsn, replaced))
    }

    /// Writes an entry into a part for what its user saw of it.
    fn write_seen(
        &mut self,
        session: SessionId,
        part: PartId,
        entry: &Entry,
        seen: Option<&FileInfo>,
    ) -> Result<Outcome, UsageError> {
        let held = self.core.state(&session).and_then(|state| state.part(&part));
        let shown = held.and_then(Part::entry);
        let as_seen = shown.as_ref().map_or(seen.is_none(), |shown| looks(shown, seen));
        let made = info(entry);
        let is_made = |held: &Entry| looks(held, Some(&made));
        match held {
            _ if as_seen => {}
            Some(held) if held.entries().any(|held| is_made(&held)) => return Ok(Outcome::Held),
            _ if !entry.is_file() => return Ok(Outcome::Left),
            _ => {}
        }
        let all = as_seen && self.strategy.writes_over();
        let stands_for = |value: &&Value| {
            let held = Entry::open(Rules::ALL, &value.op.body);
            all || held.is_ok_and(|held| looks(&held, seen) || is_made(&held))
        };
        let values = held.into_iter().flat_map(|held| held.values.iter());
        let over = values.filter(stands_for).map(|value| value.op.actor).collect();
        let (now, wall, what) = (self.now(), wall_ms(), (part, PartKind::Blob.number()));
        match self.core.write_beside(now, wall, session, what, entry.to_bytes(), over) {
            Ok(lsn) if as_seen => Ok(Outcome::Written(lsn)),
            Ok(lsn) => Ok(Outcome::Beside(lsn)),
            // The tree has no room for it, or what it would stand beside is this device's own.
            Err(UsageError::BadPart) => Ok(Outcome::Left),
            Err(UsageError::Conflicted) if !as_seen => Ok(Outcome::Left),
            Err(error) => Err(error),
        }
    }

    /// The part for a path that no file has: the one that every device makes of it, unless that holds a file which the
    /// tree puts elsewhere (DATA-TREE-1).
    fn part_of(&mut self, session: &SessionId, path: &str) -> PartId {
        let named = named_part(session, PartKind::Blob, path);
        let held = self.core.state(session).and_then(|state| state.part(&named));
        let free = held.is_none_or(|part| part.entry().is_some_and(|entry| !entry.is_live()));
        if free { named } else { self.core.new_part() }
    }
}

/// Whether an entry is what a user saw, wherever the tree puts it; nothing stands for what is removed.
fn looks(entry: &Entry, seen: Option<&FileInfo>) -> bool {
    match seen {
        None => !entry.is_live(),
        Some(seen) => entry.is_live() && FileInfo { path: seen.path.clone(), ..info(entry) } == *seen,
    }
}
