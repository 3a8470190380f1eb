//! Which of a session's files are here, and which another device holds.

use std::collections::BTreeSet;

use segue_quic::{Elsewhere, FileInfo, Hash, Node, SessionId};

use crate::failure::Failure;

/// A session's files.
pub(crate) struct Files {
    /// What a directory can show: directories, and files whose content is here.
    pub(crate) here: Vec<FileInfo>,
    /// The paths of the files whose content isn't. They belong to the session all the same: that a directory doesn't have
    /// them is no edit.
    pub(crate) elsewhere: BTreeSet<String>,
    /// These files.
    pub(crate) missing: Vec<FileInfo>,
    /// Whether some of that is on its way: it isn't left out.
    pub(crate) coming: bool,
}

/// Tells a session's files apart.
pub(crate) async fn files(node: &Node, session: SessionId) -> Result<Files, Failure> {
    let lacking: Vec<Elsewhere> = node.held_elsewhere(session).await?;
    let blobs: BTreeSet<Hash> = lacking.iter().map(|file| file.blob).collect();
    let is_here = |file: &FileInfo| file.is_dir || file.len == 0 || !blobs.contains(&file.blob);
    let (here, missing): (Vec<_>, Vec<_>) = node.files(session).await?.into_iter().partition(is_here);
    let left_out: BTreeSet<Hash> = lacking.iter().filter(|file| file.left_out).map(|file| file.blob).collect();
    let coming = missing.iter().any(|file| !left_out.contains(&file.blob));
    let elsewhere = missing.iter().map(|file| file.path.clone()).collect();
    Ok(Files { here, elsewhere, missing, coming })
}
