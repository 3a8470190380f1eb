//! A session and a directory, for tests.

use std::fs;
use std::path::PathBuf;

use segue_quic::{Node, SessionId};
use tempfile::TempDir;

use super::{Known, Tree, scan};

pub(super) struct Lab {
    /// Removed with all in it at the end.
    _dir: TempDir,
    pub(super) state: PathBuf,
    pub(super) root: PathBuf,
    pub(super) node: Node,
    pub(super) session: SessionId,
}

impl Lab {
    /// A session without files, and an empty directory.
    pub(super) async fn open() -> Lab {
        let dir = tempfile::tempdir().expect("a directory");
        let [state, root, witness] = ["state", "notes", "witness"].map(|name| dir.path().join(name));
        fs::create_dir(&root).expect("a directory");
        let node = Node::builder().state_dir(&state).witness(witness).open().await.expect("a node");
        let session = node.create_session("notes", &[]).await.expect("a session");
        Lab { _dir: dir, state, root, node, session }
    }

    /// Writes a file into the directory; its path in the session, and on this machine.
    pub(super) fn lies(&self, path: &str, content: &str) -> (String, PathBuf) {
        let at = self.root.join(path);
        fs::write(&at, content).expect("a file");
        (path.to_owned(), at)
    }

    /// Writes a file into the session.
    pub(super) async fn write(&self, path: &str, content: &str) {
        self.node.write_bytes(self.session, path, content.to_owned()).await.expect("a write");
    }

    /// What the session holds.
    pub(super) async fn held(&self) -> Known {
        Known::of(&self.node.files(self.session).await.expect("files"))
    }

    /// What the directory holds.
    pub(super) fn tree(&self) -> Tree {
        scan(&self.root, &self.state).expect("a tree")
    }
}
