//! The command line.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Parser, Subcommand};
use segue_quic::{DeviceId, Hash, SessionId};

mod account;
mod content;
mod handoff;
mod only;
mod serve;
mod service;
mod suite;

pub(crate) use account::{Devices, Link, Revoke};
pub(crate) use content::{Aside, Conflicts, Edit};
pub(crate) use handoff::{Handoff, Pull, Receive, Send, Which};
pub(crate) use only::{Along, Only, lies_in};
pub(crate) use serve::{LogFormat, Serve, line_of};
pub(crate) use service::{Delegate, Login, Mailbox, Sync};
pub(crate) use suite::{Adapter, Certify, Generation, Tier, Verify};

const EXIT_CODES: &str = "\
Exit codes:
  0  resolved: what was asked for is done
  1  refused or failed; nothing changed hands, or the subject isn't certified
  2  the command line is wrong
  3  certify only: the suite itself is at fault
  4  pending: the session is on its way, and the other device hasn't confirmed;
     the same command again waits for it

The log goes to standard error; SEGUE_LOG=info (or debug, or a filter by module) says more.";

/// What comes first, for whoever has never used it.
const FIRST_STEPS: &str = "\
First steps:
  segue id --state DIR                             on both devices: makes them, and prints their ids
  segue receive --state DIR --listen 0.0.0.0:4433 --into DIRECTORY        on the one that gets it
  segue send --state DIR DIRECTORY --to HOST:4433 --device ID             on the one that has it";

const VERIFY_CODES: &str = "\
Exit codes:
  0  the certificate holds, and everything that was run passed
  1  something differs, or the certificate holds and says that the subject failed
  2  it can't be read here, or another version of the suite issued it
  3  the suite itself is at fault";

/// Keeps a session alive on several devices, and moves it from one to another.
#[derive(Debug, Parser)]
#[command(name = "segue", version, after_help = format!("{FIRST_STEPS}\n\n{EXIT_CODES}"), propagate_version = true)]
pub(crate) struct Args {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Certify an implementation of the protocol: this one, or the one behind an adapter
    #[command(after_help = EXIT_CODES)]
    Certify(Certify),
    /// Derive the verdicts of a certificate again from its transcripts, offline
    ///
    /// Plays every case against the answers that were recorded, checks that the suite asks just what it asked then, and
    /// that the certificate says what follows from it. Looks for transcripts.gz, and for the files of the report, beside
    /// the certificate.
    #[command(after_help = VERIFY_CODES)]
    Verify(Verify),
    /// Be the adapter of this implementation: speak the suite's protocol on standard input and output
    Adapter(Adapter),
    /// Print this device's id; the device is made on first use
    Id(State),
    /// Wait for sessions and write them into a directory; also give away those that others ask for
    #[command(after_help = EXIT_CODES)]
    Receive(Receive),
    /// Hand a directory over to another device
    #[command(after_help = EXIT_CODES)]
    Send(Send),
    /// Choose a session and a device from a menu, and hand the session over
    ///
    /// Lists the sessions of this device that lie in a directory, and the devices that may have them: those of the account,
    /// and the members, and asks before it hands over. --session and --device together choose without a question, --yes agrees
    /// beforehand, and --list prints the menu's data as JSON. Sessions whose directory isn't there are told, and left out.
    #[command(after_help = EXIT_CODES)]
    Handoff(Handoff),
    /// Ask another device to hand a session over to this one
    #[command(after_help = EXIT_CODES)]
    Pull(Pull),
    /// Write a text together with other devices, in the terminal
    ///
    /// Everybody who has the session open sees what the others type, as they type it. The status line tells who is
    /// online, and what became of your edits: saved means that they survive a crash of this device; offline, so many
    /// edits waiting means that no other device has those yet. Without a network everybody types on, and when the devices
    /// meet again, all have one text. Ctrl-Q quits, Ctrl-Z takes back, Ctrl-Y does again. Once a text has more than 4,096
    /// edits, its owner's editor condenses them: a device that joins later gets the text, and not every key.
    ///
    /// One device begins: `segue edit --state DIR --create notes --listen 0.0.0.0:4433 --device ID`. It prints the
    /// session's id; the others join with it: `segue edit --state DIR SESSION --to ADDR --device ID`. The devices of the
    /// account need no --device to call. No other process may use the state directory meanwhile; owner, devices,
    /// conflicts and revoke ask this one.
    #[command(after_help = EXIT_CODES, verbatim_doc_comment)]
    Edit(Edit),
    /// List what several devices wrote without knowing of each other, and say what is to stand
    ///
    /// Of the versions of a file or register one is shown; the others are kept until one stands for all: --take, or
    /// --keep-both, which gives each version of a file a name of its own.
    #[command(after_help = EXIT_CODES)]
    Conflicts(Conflicts),
    /// List what revoked devices wrote past the point up to which it was accepted, or take it in
    ///
    /// It is kept, and is no part of any session, until a user takes it in. No other process may use the state directory
    /// meanwhile.
    #[command(after_help = EXIT_CODES)]
    Aside(Aside),
    /// Make this device the owner without the owner's help
    ///
    /// What the old owner still writes becomes a labelled copy.
    Takeover(One),
    /// End a session for good; only its owner can
    Close(One),
    /// Link a new device with your account: run it there to invite, and here to read the invitation
    ///
    /// On the new device, without --scan and --paste: prints an invitation as a QR code and as text, and waits. It works
    /// once, for 300 seconds. On a device of the account: reads it, dials the new device, and both show a check code.
    /// They are linked once both users have said that it is the same. A device without an account starts one when it
    /// reads its first invitation. No other process may use the state directory meanwhile.
    #[command(after_help = EXIT_CODES)]
    Link(Link),
    /// List the devices of the account: name, id, since when and by whom, and those that were revoked
    Devices(Devices),
    /// Put a device out of the account, for good: its key never returns
    ///
    /// Its links end at once, nothing is handed to it any more, and sessions that it owns are taken over by this device
    /// if it is a member of them. The other devices are told when they meet.
    Revoke(Revoke),
    /// Host a mailbox: devices that are never online together leave what they changed there, sealed
    ///
    /// It can neither read nor forge what it keeps; it can delay and hide it. Devices use it with --mailbox ADDR
    /// --mailbox-device ID. Ctrl-C ends it in good order; killed, it has lost nothing that it confirmed.
    ///
    /// Every option but --state may stand in the environment, by the name that is told with it, and in the file --config,
    /// under its name without dashes before it: listen = "0.0.0.0:4433", lease = 60, only = ["ID"]. Paths in it are relative
    /// to the directory that it lies in. The command line goes before the environment, and that before the file. An address
    /// to take calls at has to stand in one of them.
    ///
    /// With --accounts or --keys it lets devices in under accounts alone: those that the file --accounts names, and those
    /// that come once with a token of the identity provider whose keys are in --keys. In the file stand `[default]`, which
    /// holds for every account, and `[accounts.NAME]`: devices = ["ID"], handoff = false to switch handing over off, space
    /// in bytes, most-devices; before these removed = ["ID"], devices that are let in no longer. Both files are read
    /// again when they change.
    #[command(after_help = EXIT_CODES)]
    Serve(Serve),
    /// Exchange everything with a mailbox, and end: what this device changed, its files, and what others left there
    ///
    /// Takes sessions that devices of the account, or those named with --from, invite this one to. The directories of those
    /// that are here go along, both ways: of a file that two devices changed both versions are kept, as with `segue receive
    /// --together`. A directory that is empty all at once is told, and nothing is removed for it.
    #[command(after_help = EXIT_CODES)]
    Sync(Sync),
    /// Log in at a service that demands accounts, or ask under which account it knows this device
    ///
    /// With a token of the service's identity provider (--token FILE, or SEGUE_TOKEN in the environment) this device comes
    /// under the account that the token is for. The service knows it by its key from then on, so that no other command
    /// needs the token, until the login ends. Every command that takes --mailbox takes --token as well.
    #[command(after_help = EXIT_CODES)]
    Login(Login),
    /// Have a service sign who owns a session next, so that it can be handed over while this device is away
    ///
    /// This device stays the owner and writes. The service learns who owns, and nothing of what is in the session. Until
    /// `segue reclaim`, `segue send` and `segue pull` hand it over by way of the service: name it with --mailbox.
    #[command(after_help = EXIT_CODES)]
    Delegate(Delegate),
    /// Have this device sign again who owns a session next
    #[command(after_help = EXIT_CODES)]
    Reclaim(Delegate),
    /// Tell which sessions there are, who owns them since when, and by which chain of records
    ///
    /// With --receipt FILE it writes a receipt of a handoff that this device gave or took: proof of who handed the
    /// session to whom, what moved and what stayed, which anybody verifies by `segue receipt verify FILE`.
    Owner(Owner),
    /// Verify a receipt of a handoff, without either of its devices
    #[command(after_help = EXIT_CODES)]
    Receipt(Receipt),
}

/// Where the device's key and sessions are.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct State {
    /// The directory that holds this device's key and sessions; one process at a time uses it
    #[arg(long, value_name = "DIR")]
    pub(crate) state: PathBuf,
    /// The file outside it that tells a restored backup from the store itself [default: in the user's state directory]
    #[arg(long, value_name = "FILE", hide_short_help = true)]
    pub(crate) witness: Option<PathBuf>,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Patience {
    /// Give up after so many seconds in which nothing moved
    #[arg(long, value_name = "SECS", default_value = "60", value_parser = seconds)]
    pub(crate) timeout: Duration,
}

#[derive(Debug, clap::Args)]
pub(crate) struct One {
    #[command(flatten)]
    pub(crate) state: State,
    /// The session's id, as `segue owner` prints it
    #[arg(value_parser = session)]
    pub(crate) session: SessionId,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Owner {
    #[command(flatten)]
    pub(crate) state: State,
    /// Print JSON
    #[arg(long, conflicts_with = "receipt")]
    pub(crate) json: bool,
    /// Write a receipt of the session's last handoff that this device gave or took into this file
    #[arg(long, value_name = "FILE")]
    pub(crate) receipt: Option<PathBuf>,
    /// The session of which a receipt is written [default: the only one there is]
    #[arg(long, value_name = "SESSION", value_parser = session, requires = "receipt")]
    pub(crate) session: Option<SessionId>,
    /// Of the handoff by this record, as the chain names it [default: the last]
    #[arg(long, value_name = "RECORD", value_parser = record, requires = "receipt")]
    pub(crate) record: Option<Hash>,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Receipt {
    #[command(subcommand)]
    pub(crate) what: ReceiptCommand,
}

#[derive(Debug, Subcommand)]
pub(crate) enum ReceiptCommand {
    /// Tell what a receipt proves, or what is wrong with it
    Verify {
        /// The file that `segue owner --receipt` wrote
        file: PathBuf,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
}

fn session(text: &str) -> Result<SessionId, String> {
    let id = SessionId::from_hex(text);
    id.ok_or_else(|| "a session id has 32 hexadecimal digits; `segue owner --state DIR` lists them".to_owned())
}

fn device(text: &str) -> Result<DeviceId, String> {
    let id = DeviceId::from_hex(text).filter(|id| !id.is_zero());
    id.ok_or_else(|| "a device id has 64 hexadecimal digits; `segue id --state DIR` prints it".to_owned())
}

fn record(text: &str) -> Result<Hash, String> {
    Hash::from_hex(text)
        .ok_or_else(|| "a record has 64 hexadecimal digits; the lines `chain` of `segue owner` have them".to_owned())
}

/// A host's name is looked up later; that there is a port can be seen now.
fn address(text: &str) -> Result<String, String> {
    let port = text.rsplit_once(':').filter(|(host, _)| !host.is_empty()).and_then(|(_, port)| port.parse().ok());
    match port {
        Some(1..=u16::MAX) => Ok(text.to_owned()),
        _ => Err("an address needs a port, as in 192.0.2.7:4433, [2001:db8::7]:4433 or laptop.local:4433".to_owned()),
    }
}

/// Where to take calls: no name, for a host has several addresses.
fn listen(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_| {
        "an IP address of this machine and a port, as in 0.0.0.0:4433 or [::]:4433 for all of its addresses; port 0 lets the system choose"
            .to_owned()
    })
}

fn seconds(text: &str) -> Result<Duration, String> {
    match text.parse() {
        Ok(secs @ 1..=86_400) => Ok(Duration::from_secs(secs)),
        _ => Err("a number of seconds from 1 to 86400".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        Args::command().debug_assert();
    }

    #[test]
    fn an_address_has_a_host_and_a_port() {
        for good in ["127.0.0.1:1", "[::1]:65535", "laptop.local:4433"] {
            assert!(address(good).is_ok(), "{good}");
        }
        for bad in ["", "127.0.0.1", ":4433", "laptop:0", "laptop:http"] {
            assert!(address(bad).is_err(), "{bad}");
        }
    }
}
