//! The devices of an account.

use std::net::SocketAddr;
use std::path::PathBuf;

use super::{State, address, listen};
use crate::who::Who;

#[derive(Debug, clap::Args)]
pub(crate) struct Link {
    #[command(flatten)]
    pub(crate) state: State,
    /// Read the invitation from the QR code in this PNG file
    #[arg(long, value_name = "FILE", conflicts_with = "paste")]
    pub(crate) scan: Option<PathBuf>,
    /// Read the invitation from its text, which begins with SEGUE:
    #[arg(long, value_name = "TEXT")]
    pub(crate) paste: Option<String>,
    /// This device's name in the account [default: the computer's]
    #[arg(long, value_name = "N", value_parser = name)]
    pub(crate) name: Option<String>,
    /// Invite: also write the QR code as a PNG file
    #[arg(long, value_name = "FILE", conflicts_with_all = ["scan", "paste"])]
    pub(crate) png: Option<PathBuf>,
    /// Invite: wait at this address; port 0 lets the system choose
    #[arg(long, value_name = "ADDR", value_parser = listen, default_value = "0.0.0.0:0", conflicts_with_all = ["scan", "paste"])]
    pub(crate) listen: SocketAddr,
    /// Where the new device can be reached, if not where it thinks: host or address, and port; up to four when inviting
    #[arg(long, value_name = "ADDR", value_parser = address)]
    pub(crate) address: Vec<String>,
    /// Confirm without asking, once the check code is printed. For tests: nobody compares the codes then
    #[arg(long)]
    pub(crate) yes: bool,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Devices {
    #[command(flatten)]
    pub(crate) state: State,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Revoke {
    #[command(flatten)]
    pub(crate) state: State,
    /// The device: its name in the account, or its id
    #[arg(value_name = "NAME|ID")]
    pub(crate) device: Who,
}

fn name(text: &str) -> Result<String, String> {
    if text.trim().is_empty() {
        return Err("a name that can be read; without --name it is the computer's".to_owned());
    }
    Ok(text.to_owned())
}
