//! What a session holds: a text that is edited, values in conflict, ops that were set aside.

use std::net::SocketAddr;
use std::path::PathBuf;

use segue_quic::SessionId;

use super::{State, address, listen, session};
use crate::who::Who;

#[derive(Debug, clap::Args)]
pub(crate) struct Edit {
    #[command(flatten)]
    pub(crate) state: State,
    /// The session's id, as the device that began it prints it, and `segue owner`
    #[arg(value_parser = session, required_unless_present = "create")]
    pub(crate) session: Option<SessionId>,
    /// Begin a new session of this name; those named by --device are its members, and so is the account
    #[arg(long, value_name = "NAME", conflicts_with = "session")]
    pub(crate) create: Option<String>,
    /// Take calls at this address; port 0 lets the system choose. Printed before the editor opens
    #[arg(long, value_name = "ADDR", value_parser = listen)]
    pub(crate) listen: Option<SocketAddr>,
    /// Where a device listens: host or address, and port; the first belongs to the first --device, and so on
    #[arg(long, value_name = "ADDR", value_parser = address)]
    pub(crate) to: Vec<String>,
    /// Write together with this device: its name in the account, or its id, as its `segue id` prints it; may be
    /// repeated, those with an address first. It may read all sessions of this device while the editor is open
    #[arg(long, value_name = "NAME|ID")]
    pub(crate) device: Vec<Who>,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Aside {
    #[command(flatten)]
    pub(crate) state: State,
    /// The session's id, as `segue owner` prints it [default: all sessions]
    #[arg(value_parser = session)]
    pub(crate) session: Option<SessionId>,
    /// Take in what is listed under this number, and all else of the same writer in the same part
    #[arg(long, value_name = "N", requires = "session")]
    pub(crate) take: Option<usize>,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Conflicts {
    #[command(flatten)]
    pub(crate) state: State,
    /// The session's id, as `segue owner` prints it [default: all sessions]
    #[arg(value_parser = session)]
    pub(crate) session: Option<SessionId>,
    /// The file, by its path, or the register, by the first digits of its part, that is to be resolved [default: the
    /// only one there is]
    #[arg(long, value_name = "PATH|PART", requires = "session")]
    pub(crate) of: Option<String>,
    /// Let this version stand for all, by its number in the list
    #[arg(long, value_name = "N", requires = "session", conflicts_with = "keep_both")]
    pub(crate) take: Option<usize>,
    /// Keep all versions of a file: the one that is shown keeps its path, the others get names of their own beside it
    #[arg(long, requires = "session")]
    pub(crate) keep_both: bool,
    /// Write the content of a version into this file, and resolve nothing
    #[arg(long, value_name = "FILE", requires = "session", requires = "take", conflicts_with = "keep_both")]
    pub(crate) save: Option<PathBuf>,
    /// Print JSON
    #[arg(long, conflicts_with_all = ["take", "keep_both"])]
    pub(crate) json: bool,
}
