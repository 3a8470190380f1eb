//! The commands, one module each.

mod aside;
mod change;
mod conflicts;
mod delegate;
pub(crate) mod devices;
mod dry_run;
mod edit;
mod handoff;
pub(crate) mod id;
mod link;
mod login;
mod presence;
mod pull;
pub(crate) mod receipt;
mod receive;
mod send;
mod serve;
mod sync;

use crate::args::Command;
use crate::failure::{Exit, Failure};
use crate::owner;

/// Runs a command that needs the runtime.
pub(crate) async fn run(command: Command) -> Result<Exit, Failure> {
    match command {
        Command::Receive(args) => receive::run(args).await,
        Command::Send(args) => send::run(args).await,
        Command::Handoff(args) => handoff::run(args).await,
        Command::Pull(args) => pull::run(args).await,
        Command::Edit(args) => edit::run(args).await,
        Command::Conflicts(args) => conflicts::run(&args).await,
        Command::Aside(args) => aside::run(&args).await,
        Command::Takeover(args) => change::takeover(&args).await,
        Command::Close(args) => change::close(&args).await,
        Command::Link(args) => link::run(args).await,
        Command::Devices(args) => devices::list(&args).await,
        Command::Revoke(args) => devices::revoke(&args).await,
        Command::Serve(args) => serve::run(args).await,
        Command::Sync(args) => sync::run(args).await,
        Command::Login(args) => login::run(args).await,
        Command::Delegate(args) => delegate::delegate(args).await,
        Command::Reclaim(args) => delegate::reclaim(args).await,
        Command::Owner(args) => match &args.receipt {
            Some(file) => receipt::write(&args, file).await,
            None => owner::run(&args).await,
        },
        Command::Receipt(args) => receipt::run(&args.what),
        Command::Certify(_) | Command::Verify(_) | Command::Adapter(_) | Command::Id(_) => Ok(Exit::Usage),
    }
}
