//! The options that name a service, and what is asked of it.

use std::path::PathBuf;

use segue_quic::{DeviceId, Node, SessionId};

use super::{Patience, State, address, session};
use crate::failure::Failure;
use crate::who::Who;

/// A mailbox to use.
#[derive(Debug, clap::Args)]
pub(crate) struct Mailbox {
    /// Use the mailbox at this address: host or address, and port
    #[arg(long, value_name = "ADDR", value_parser = address, requires = "mailbox_device")]
    pub(crate) mailbox: Option<String>,
    /// The mailbox's device id, as its `segue serve` prints it
    #[arg(long, value_name = "ID", requires = "mailbox")]
    pub(crate) mailbox_device: Option<Who>,
    /// Don't let the mailbox introduce this device and others to one another: all content goes by way of the mailbox.
    /// Without this it goes directly wherever one can reach the other
    #[arg(long, requires = "mailbox")]
    pub(crate) no_direct: bool,
    #[command(flatten)]
    pub(crate) token: Token,
}

/// A token of the identity provider of a mailbox that demands accounts.
#[derive(Debug, clap::Args)]
pub(crate) struct Token {
    /// Log in at the mailbox with the token in this file, which its identity provider issued for your account. It is
    /// needed once: the mailbox knows this device by its key from then on. Without it the environment's SEGUE_TOKEN
    /// counts, which holds the token itself
    #[arg(long, value_name = "FILE")]
    pub(crate) token: Option<PathBuf>,
}

impl Token {
    /// The token, if there is one.
    pub(crate) fn read(&self) -> Result<Option<Vec<u8>>, Failure> {
        let text = match &self.token {
            Some(file) => Some(std::fs::read_to_string(file).map_err(Failure::io("read", file))?),
            None => std::env::var("SEGUE_TOKEN").ok(),
        };
        Ok(text.map(|text| text.trim().as_bytes().to_vec()).filter(|token| !token.is_empty()))
    }

    /// Has the node log in with it.
    pub(crate) async fn give(&self, node: &Node, service: DeviceId) -> Result<(), Failure> {
        match self.read()? {
            Some(token) => Ok(node.use_token(service, token).await?),
            None => Ok(()),
        }
    }
}

impl Mailbox {
    /// Its address and device, if one is named, and looked up.
    pub(crate) fn named(&self) -> Option<(&str, DeviceId)> {
        Some((self.mailbox.as_deref()?, self.mailbox_device.as_ref()?.known()?))
    }

    /// Finds the device, if it is given by its name, and has the node log in there, if there is a token.
    pub(crate) async fn look_up(&mut self, node: &Node) -> Result<(), Failure> {
        match &mut self.mailbox_device {
            Some(who) => {
                who.look_up(node).await?;
                self.token.give(node, who.id()).await
            }
            None => Ok(()),
        }
    }
}

#[derive(Debug, clap::Args)]
pub(crate) struct Delegate {
    #[command(flatten)]
    pub(crate) state: State,
    /// The session's id, as `segue owner` prints it
    #[arg(value_parser = session)]
    pub(crate) session: SessionId,
    /// Where the service listens: host or address, and port
    #[arg(long, value_name = "ADDR", value_parser = address)]
    pub(crate) mailbox: String,
    /// The service's device id, as its `segue serve` prints it
    #[arg(long, value_name = "ID")]
    pub(crate) mailbox_device: Who,
    #[command(flatten)]
    pub(crate) token: Token,
    #[command(flatten)]
    pub(crate) patience: Patience,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Login {
    #[command(flatten)]
    pub(crate) state: State,
    /// Where the service listens: host or address, and port
    #[arg(long, value_name = "ADDR", value_parser = address)]
    pub(crate) mailbox: String,
    /// The service's device id, as its `segue serve` prints it
    #[arg(long, value_name = "ID")]
    pub(crate) mailbox_device: Who,
    #[command(flatten)]
    pub(crate) token: Token,
    #[command(flatten)]
    pub(crate) patience: Patience,
}
