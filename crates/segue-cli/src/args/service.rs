//! The options that name a service, and what is asked of it.

use std::path::PathBuf;

use segue_proto::limits::MAX_TOKEN;
use segue_quic::{DeviceId, Node, SessionId};

use super::{Patience, State, address, session};
use crate::failure::Failure;
use crate::terminal::note;
use crate::who::Who;

/// A mailbox to use.
#[derive(Debug, clap::Args)]
pub(crate) struct Mailbox {
    /// Use the mailbox at this address: host or address, and port. What this device keeps of all of its sessions is put there,
    /// sealed, so that the mailbox can't read it
    #[arg(long, value_name = "ADDR", value_parser = address, requires = "mailbox_device")]
    pub(crate) mailbox: Option<String>,
    /// The mailbox's device id, as its `segue serve` prints it
    #[arg(long, value_name = "ID", requires = "mailbox")]
    pub(crate) mailbox_device: Option<Who>,
    /// Don't let the mailbox introduce this device and others to one another: all content goes by way of the mailbox.
    /// Without this it goes directly wherever one can reach the other, and over a link that the mailbox passes on where
    /// none can
    #[arg(long, requires = "mailbox")]
    pub(crate) no_direct: bool,
    /// Have no links that the mailbox passes on: where no device can reach the other, all content goes by way of the mailbox
    #[arg(long, requires = "mailbox")]
    pub(crate) no_relay: bool,
    #[command(flatten)]
    pub(crate) token: Token,
}

impl Mailbox {
    /// Which links with devices that a service knows, too, a node is to have.
    pub(crate) fn links(&self, builder: segue_quic::Builder) -> segue_quic::Builder {
        builder.introductions(!self.no_direct).relay(!self.no_relay)
    }
}

/// A token of the identity provider of a mailbox that demands accounts.
#[derive(Debug, clap::Args)]
pub(crate) struct Token {
    /// Log in with the token in this file, which the mailbox's identity provider issued for your account. It is needed
    /// once: the mailbox knows this device by its key from then on. Without it the environment's SEGUE_TOKEN counts, which
    /// holds the token itself. Either goes to the mailbox that this command names, and to no other; SEGUE_TOKEN_FOR, a
    /// mailbox's device id, keeps SEGUE_TOKEN from all others
    #[arg(long, value_name = "FILE", requires = "mailbox")]
    pub(crate) token: Option<PathBuf>,
}

impl Token {
    /// The token for a mailbox, if there is one.
    pub(crate) fn read(&self, service: DeviceId) -> Result<Option<Vec<u8>>, Failure> {
        let text = match &self.token {
            Some(file) => {
                let text = std::fs::read_to_string(file).map_err(Failure::io("read", file))?;
                if text.trim().is_empty() {
                    let file = file.display();
                    return Err(Failure::failed(format!(
                        "{file} (--token) holds no token; write the one there that the identity provider issued, or leave --token out"
                    )));
                }
                if text.trim().len() > MAX_TOKEN {
                    let (file, len) = (file.display(), text.trim().len());
                    return Err(Failure::failed(format!(
                        "{file} (--token) has {len} bytes, and a token has {MAX_TOKEN} at most; check that it is the token that the identity provider issued"
                    )));
                }
                Some(text)
            }
            None => from_environment(service)?,
        };
        Ok(text.map(|text| text.trim().as_bytes().to_vec()).filter(|token| !token.is_empty()))
    }

    /// Has the node log in with it.
    pub(crate) async fn give(&self, node: &Node, service: DeviceId) -> Result<(), Failure> {
        match self.read(service)? {
            Some(token) => Ok(node.use_token(service, token).await?),
            None => Ok(()),
        }
    }
}

/// The token of the environment, if it is for this mailbox.
fn from_environment(service: DeviceId) -> Result<Option<String>, Failure> {
    let Ok(token) = std::env::var("SEGUE_TOKEN") else { return Ok(None) };
    let Some(only) = std::env::var_os("SEGUE_TOKEN_FOR") else { return Ok(Some(token)) };
    match super::device(only.to_string_lossy().trim()) {
        Ok(meant) if meant == service => Ok(Some(token)),
        Ok(meant) => {
            note(format_args!("mailbox {service} isn't told SEGUE_TOKEN, which is for {meant} (SEGUE_TOKEN_FOR)"));
            Ok(None)
        }
        Err(why) => Err(Failure::usage(format!("SEGUE_TOKEN_FOR names no mailbox: {why}"))),
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

/// A service that a command is about.
#[derive(Debug, clap::Args)]
pub(crate) struct Service {
    /// Where the service listens: host or address, and port
    #[arg(long, value_name = "ADDR", value_parser = address)]
    pub(crate) mailbox: String,
    /// The service's device id, as its `segue serve` prints it
    #[arg(long, value_name = "ID")]
    pub(crate) mailbox_device: Who,
    #[command(flatten)]
    pub(crate) token: Token,
}

impl Service {
    /// Its device, looked up if it is given by its name.
    pub(crate) async fn look_up(&mut self, node: &Node) -> Result<DeviceId, Failure> {
        self.mailbox_device.look_up(node).await?;
        Ok(self.mailbox_device.id())
    }
}

#[derive(Debug, clap::Args)]
pub(crate) struct Delegate {
    /// The session's id, as `segue owner` prints it
    #[arg(value_parser = session)]
    pub(crate) session: SessionId,
    #[command(flatten)]
    pub(crate) at: Login,
}

/// What is asked of a service, by which device, and how long.
#[derive(Debug, clap::Args)]
pub(crate) struct Login {
    #[command(flatten)]
    pub(crate) state: State,
    #[command(flatten)]
    pub(crate) service: Service,
    #[command(flatten)]
    pub(crate) patience: Patience,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Sync {
    #[command(flatten)]
    pub(crate) state: State,
    #[command(flatten)]
    pub(crate) mailbox: Mailbox,
    /// Vouch for this device, by its id or its name in the account: take sessions that it invites to; may be repeated
    #[arg(long, value_name = "NAME|ID")]
    pub(crate) from: Vec<Who>,
    #[command(flatten)]
    pub(crate) patience: Patience,
}
