//! Sessions that go from device to device.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::ArgGroup;
use segue_proto::limits::MAX_OP_BODY;
use segue_quic::SessionId;

use super::{Along, Mailbox, Only, Patience, State, address, listen, session};
use crate::failure::Failure;
use crate::who::Who;

#[derive(Debug, clap::Args)]
pub(crate) struct Receive {
    #[command(flatten)]
    pub(crate) state: State,
    /// Take calls at this address; port 0 lets the system choose. The first line printed tells the address. Without it
    /// this device takes no calls, and what comes is handed over by way of the service at --mailbox
    #[arg(long, value_name = "ADDR", value_parser = listen, required_unless_present = "mailbox")]
    pub(crate) listen: Option<SocketAddr>,
    /// Write each session into a directory of its name in this one
    #[arg(long, value_name = "DIR")]
    pub(crate) into: PathBuf,
    /// Vouch for this device, by its id or its name in the account: it may offer sessions, and read and ask for those
    /// here; may be repeated. Without it any device may offer, and the members of a session may ask for it. The devices
    /// of the account may read and ask in any case
    #[arg(long, value_name = "NAME|ID")]
    pub(crate) from: Vec<Who>,
    /// Keep the directories of sessions that other devices own together with theirs: what is changed here goes to them,
    /// what they change comes here, some seconds after it. Of a file that both changed both versions are kept: `segue
    /// conflicts` lists them; where a session has no place for both, this device's lies beside, with segue-copy in its
    /// name.
    /// A session that a device of the account, or one named by --from, tells of comes here, too, when it is begun there
    #[arg(long)]
    pub(crate) together: bool,
    /// Keep a link to a device: where it listens, host or address, and port; the first belongs to the first --from, and
    /// so on
    #[arg(long, value_name = "ADDR", value_parser = address, requires = "from")]
    pub(crate) to: Vec<String>,
    #[command(flatten)]
    pub(crate) only: Only,
    /// Accept whatever is offered or asked for, without a question. Without it, and with a mailbox, content of a session that
    /// a device of the account, or one named by --from, offers comes before the question is answered, too
    #[arg(long)]
    pub(crate) yes: bool,
    /// Run this command by the shell once a session has come and lies in its directory, as to open it there. It finds
    /// SEGUE_SESSION, SEGUE_NAME, SEGUE_DIRECTORY and, if the session has one, its view state as SEGUE_VIEW. `segue
    /// receive` itself has to run, or to be started by the service at --mailbox, if that runs `segue serve --wake-with`
    /// and this device was there before. What is handed over while it doesn't run comes, and runs the command, once it
    /// runs with --mailbox, as long as the other side waits: its --timeout. If
    /// `segue receive` is killed as a session comes, the command may run again for it at the next start
    #[arg(long, value_name = "CMD")]
    pub(crate) on_wake: Option<String>,
    /// End once one session was received, or given away, and both sides know
    #[arg(long)]
    pub(crate) once: bool,
    #[command(flatten)]
    pub(crate) mailbox: Mailbox,
}

/// What `segue send` and the menu of `segue handoff` have in common: how a session goes, and what of it.
#[derive(Debug, clap::Args)]
pub(crate) struct Going {
    #[command(flatten)]
    pub(crate) mailbox: Mailbox,
    /// The session's view state: where the user stood, at most 16 KiB
    #[arg(long, value_name = "TEXT")]
    pub(crate) view: Option<String>,
    #[command(flatten)]
    pub(crate) along: Along,
    #[command(flatten)]
    pub(crate) patience: Patience,
}

#[derive(Debug, clap::Args)]
#[command(group(way(["to", "mailbox"])))]
pub(crate) struct Send {
    #[command(flatten)]
    pub(crate) state: State,
    /// The directory
    pub(crate) path: PathBuf,
    /// Where the other device listens: host or address, and port. Without it the session goes by way of the service at
    /// --mailbox, which signs who owns it from then on, as after `segue delegate`
    #[arg(long, value_name = "ADDR", value_parser = address)]
    pub(crate) to: Option<String>,
    /// The other device: its name in the account, or its id, as its `segue id` prints it
    #[arg(long, value_name = "NAME|ID")]
    pub(crate) device: Who,
    /// The session's name [default: the directory's]
    #[arg(long, value_name = "N")]
    pub(crate) name: Option<String>,
    /// Tell what would move, what would stay, how long it would take and whether it would be refused, and hand nothing
    /// over. Of the session and the directory nothing is written, here or there; exits with 1 if it would be refused
    #[arg(long, conflicts_with = "only")]
    pub(crate) dry_run: bool,
    /// Print JSON
    #[arg(long, requires = "dry_run")]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) going: Going,
}

#[derive(Debug, clap::Args)]
#[command(group(way(["to", "mailbox", "list"])))]
pub(crate) struct Handoff {
    #[command(flatten)]
    pub(crate) state: State,
    /// The session's id, as `segue owner` prints it [default: asked, if there are several]
    #[arg(long, value_name = "SESSION", value_parser = session)]
    pub(crate) session: Option<SessionId>,
    /// The other device: its name in the account, or its id [default: asked, if there are several]
    #[arg(long, value_name = "NAME|ID")]
    pub(crate) device: Option<Who>,
    /// Print the sessions and devices to choose from as JSON, and hand nothing over. With --mailbox it says of each device
    /// whether it is online there, or how long ago it was, if that device named this one there, too
    #[arg(long)]
    pub(crate) list: bool,
    /// Hand over what was chosen without a question whether to, and all of its types of data
    #[arg(long, conflicts_with = "list")]
    pub(crate) yes: bool,
    /// Where the other device listens: host or address, and port. Without it the session goes by way of the service at
    /// --mailbox
    #[arg(long, value_name = "ADDR", value_parser = address)]
    pub(crate) to: Option<String>,
    #[command(flatten)]
    pub(crate) going: Going,
}

#[derive(Debug, clap::Args)]
#[command(group(way(["from", "mailbox"])))]
pub(crate) struct Pull {
    #[command(flatten)]
    pub(crate) state: State,
    /// The session: its id, as `segue owner` prints it, or its name, if its owner is a device of the account and linked
    #[arg(value_name = "SESSION", value_parser = which)]
    pub(crate) session: Which,
    /// Where its owner listens: host or address, and port. Without it the session comes by way of the service at
    /// --mailbox, if its owner delegated to that; the owner's answer, or the end of its lease, decides
    #[arg(long, value_name = "ADDR", value_parser = address)]
    pub(crate) from: Option<String>,
    /// The owner: its name in the account, or its id
    #[arg(long, value_name = "NAME|ID")]
    pub(crate) device: Who,
    #[command(flatten)]
    pub(crate) only: Only,
    #[command(flatten)]
    pub(crate) mailbox: Mailbox,
    /// Write the session into a directory of its name in this one, unless it has one here already
    #[arg(long, value_name = "DIR", default_value = ".")]
    pub(crate) into: PathBuf,
    #[command(flatten)]
    pub(crate) patience: Patience,
}

/// One of these is needed, so that it is named with the others where none is given.
fn way<const N: usize>(options: [&'static str; N]) -> ArgGroup {
    ArgGroup::new("way").args(options).required(true).multiple(true)
}

impl Going {
    /// Whether a session may have the view state. Its text isn't told: it may be long.
    pub(crate) fn check_view(&self) -> Result<(), Failure> {
        match self.view.as_ref().map_or(0, String::len) {
            0..=MAX_OP_BODY => Ok(()),
            len => Err(Failure::usage(format!(
                "--view: a view state has at most {MAX_OP_BODY} bytes, and this one has {len}"
            ))),
        }
    }
}

/// A session, by its id or its name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Which {
    Id(SessionId),
    Name(String),
}

fn which(text: &str) -> Result<Which, String> {
    // What looks like an id is one, and not the name of a session.
    let id = text.len() == 32 && text.bytes().all(|b| b.is_ascii_hexdigit());
    if id { session(text).map(Which::Id) } else { Ok(Which::Name(text.to_owned())) }
}
