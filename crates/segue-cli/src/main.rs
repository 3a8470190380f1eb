//! The command `segue`: hands sessions, here directories of files, from one device to another, and certifies
//! implementations of the protocol.
#![forbid(unsafe_code)]

mod alarms;
mod args;
mod commands;
mod control;
mod device;
mod directory;
mod edit;
mod failure;
mod flow;
mod index;
mod meter;
mod named;
mod owner;
mod picture;
mod suite;
mod terminal;
mod watch;
mod who;

use std::io::IsTerminal;
use std::process::ExitCode;

use crate::args::{Args, Command, LogFormat};
use crate::failure::{Exit, Failure};

fn main() -> ExitCode {
    let args = match Args::read(std::env::args_os().collect()) {
        Ok(args) => args,
        Err(failure) => {
            terminal::complain(&failure.text);
            return failure.exit.into();
        }
    };
    let log = match &args.command {
        Command::Serve(serve) => serve.log,
        _ => LogFormat::Text,
    };
    start_log(matches!(args.command, Command::Edit(_)), log);
    let done = match args.command {
        Command::Certify(args) => suite::certify(&args),
        Command::Verify(args) => Ok(suite::verify(&args)),
        Command::Adapter(args) => suite::adapter(&args),
        Command::Id(args) => commands::id::run(&args),
        other => run(commands::run(other)),
    };
    match done.and_then(terminal::unsaid) {
        Ok(exit) => exit.into(),
        Err(failure) => {
            terminal::complain(&failure.text);
            failure.exit.into()
        }
    }
}

/// Runs a command that uses the network, to its end.
fn run(command: impl Future<Output = Result<Exit, Failure>>) -> Result<Exit, Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime = runtime.map_err(|error| Failure::failed(format!("can't start the runtime: {error}")))?;
    let done = runtime.block_on(command);
    // A thread that waits for the terminal would hold the process.
    runtime.shutdown_background();
    done
}

/// The log goes to standard error, as `SEGUE_LOG` asks: `warn` if it doesn't, or asks for what there isn't. On the
/// terminal that a command has for itself nothing may be written between its lines.
fn start_log(whole_screen: bool, format: LogFormat) {
    let ansi = std::io::stderr().is_terminal();
    // What a mailbox isn't given is told by the commands.
    let usual = if whole_screen && ansi { "off" } else { "warn,segue_quic::bulk::mailed=error" };
    let filter = match tracing_subscriber::EnvFilter::try_from_env("SEGUE_LOG") {
        Ok(filter) if !(whole_screen && ansi) => filter,
        _ => tracing_subscriber::EnvFilter::new(usual),
    };
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    match format {
        LogFormat::Text => log.with_ansi(ansi).init(),
        LogFormat::Json => log.json().init(),
    }
}
