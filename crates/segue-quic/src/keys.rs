//! The device's key on disk.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::Path;

use ed25519_dalek::SigningKey;
use segue_proto::wire::DeviceId;

use crate::error::OpenError;

/// The name of the key's file in the state directory.
pub const KEY_FILE: &str = "device.key";

/// Reads `device.key` in the state directory, or draws a key and writes it there, readable by its owner only.
///
/// The file holds the 32 secret bytes as they are. Whoever has them is this device.
///
/// # Errors
/// The directory or the file can't be read or made, or the file isn't 32 bytes long.
pub fn load_or_create_key(state: &Path) -> Result<SigningKey, OpenError> {
    let path = state.join(KEY_FILE);
    segue_store::create_dir(state).map_err(|source| OpenError::io("make the state directory", state, source))?;
    match read(&path) {
        Ok(key) => Ok(key),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            create(state, &path).map_err(|source| OpenError::io("write the device's key to", &path, source))
        }
        Err(source) => Err(OpenError::io("read the device's key from", &path, source)),
    }
}

/// The device that holds `key`.
pub fn device_id(key: &SigningKey) -> DeviceId {
    DeviceId::new(key.verifying_key().to_bytes())
}

/// Thirty-two bytes from the system's generator.
///
/// # Errors
/// The system has none; nothing is safe then.
pub(crate) fn entropy() -> Result<[u8; 32], OpenError> {
    let mut out = [0; 32];
    getrandom::fill(&mut out).map_err(|error| OpenError::Random { text: error.to_string() })?;
    Ok(out)
}

fn read(path: &Path) -> io::Result<SigningKey> {
    let mut bytes = Vec::new();
    File::open(path)?.take(33).read_to_end(&mut bytes)?;
    let secret: [u8; 32] = bytes
        .try_into()
        .map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "it isn't 32 bytes long, so it is no device key"))?;
    Ok(SigningKey::from_bytes(&secret))
}

/// Writes beside the file and renames, so that a crash leaves a whole key or none.
fn create(state: &Path, path: &Path) -> io::Result<SigningKey> {
    let secret = entropy().map_err(io::Error::other)?;
    let draft = state.join(format!("{KEY_FILE}.new"));
    let _ = fs::remove_file(&draft);
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(&draft)?;
    file.write_all(&secret)?;
    file.sync_all()?;
    fs::rename(&draft, path)?;
    File::open(state)?.sync_all()?;
    Ok(SigningKey::from_bytes(&secret))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_made_once_and_is_the_owners_alone() {
        let dir = tempfile::tempdir().unwrap();
        let first = load_or_create_key(dir.path()).unwrap();
        assert_eq!(load_or_create_key(dir.path()).unwrap().to_bytes(), first.to_bytes());
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            let mode = fs::metadata(dir.path().join(KEY_FILE)).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600);
        }
    }

    #[test]
    fn a_file_of_another_length_is_refused_by_name() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join(KEY_FILE), b"short").unwrap();
        let text = load_or_create_key(dir.path()).unwrap_err().to_string();
        assert!(text.contains(KEY_FILE) && text.contains("32 bytes"), "{text}");
    }
}
