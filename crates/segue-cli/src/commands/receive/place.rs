//! Where a session that comes in is written.

use std::fs;
use std::path::{Path, PathBuf};

use segue_proto::Rules;
use segue_proto::data::check_path;
use segue_quic::SessionView;

use crate::device::Device;
use crate::failure::Failure;

/// The directory of a session: the one that it has here, or a new one in `into`, which is remembered.
///
/// The name is another device's choice, so it is checked like any path of a session. A directory that is there already
/// and isn't empty is the user's, and stays so.
pub(crate) fn place_for(device: &mut Device, view: &SessionView, into: &Path) -> Result<PathBuf, Failure> {
    if let Some(place) = device.index.place(&view.id) {
        return Ok(place.directory.clone());
    }
    let into = into.canonicalize().map_err(Failure::io("find the directory", into))?;
    let short: String = view.id.to_string().chars().take(8).collect();
    let name = dir_name(&view.name).unwrap_or_else(|| format!("session-{short}"));
    let candidates = [name.clone(), format!("{name}-{short}"), format!("{name}-{}", view.id)];
    let free = |path: &PathBuf| device.index.at(path).is_empty() && is_free(path);
    let path = candidates.iter().map(|name| into.join(name)).find(free);
    let path = path.ok_or_else(|| {
        Failure::failed(format!("{} has directories of this name already; move them elsewhere", into.display()))
    })?;
    device.index.put(&view.id, path.clone())?;
    Ok(path)
}

/// The session's name, if a directory can have it on every system.
fn dir_name(name: &str) -> Option<String> {
    let name = name.trim().trim_end_matches(['.', ' ']);
    let plain: String = name.chars().map(|c| if matches!(c, '/' | '\\' | ':') { '-' } else { c }).collect();
    // Room for the tail that tells it from another of the same name.
    let fits = plain.len() <= 200 && !plain.starts_with('.');
    (fits && check_path(Rules::ALL, &plain).is_ok()).then_some(plain)
}

/// Whether there is nothing, or an empty directory.
fn is_free(path: &Path) -> bool {
    match fs::symlink_metadata(path) {
        Err(_) => true,
        Ok(metadata) => metadata.is_dir() && fs::read_dir(path).is_ok_and(|mut entries| entries.next().is_none()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_leads_elsewhere_is_not_taken() {
        assert_eq!(dir_name("my notes").as_deref(), Some("my notes"));
        assert_eq!(dir_name("a/b:c").as_deref(), Some("a-b-c"));
        for bad in ["", "..", ".ssh", "CON", "x\u{202e}y", "/../../etc"].map(|name| (name, dir_name(name))) {
            assert!(bad.1.as_deref().is_none_or(|name| !name.contains('/')), "{bad:?}");
            assert!(bad.1.is_none() || bad.0 == "/../../etc", "{bad:?}");
        }
    }
}
