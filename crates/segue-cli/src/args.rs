//! The command line.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Parser, Subcommand, ValueEnum};
use segue_quic::{DeviceId, Hash, SessionId};

use crate::who::Who;

mod only;
mod serve;
mod service;

pub(crate) use only::Only;
pub(crate) use serve::{LogFormat, Serve};
pub(crate) use service::{Delegate, Login, Mailbox};

const EXIT_CODES: &str = "\
Exit codes:
  0  resolved: what was asked for is done
  1  refused or failed; nothing changed hands, or the subject isn't certified
  2  the command line is wrong
  3  certify only: the suite itself is at fault
  4  pending: the session is on its way, and the other device hasn't confirmed;
     the same command again waits for it

The log goes to standard error; SEGUE_LOG=info (or debug, or a filter by module) says more.";

const VERIFY_CODES: &str = "\
Exit codes:
  0  the certificate holds, and everything that was run passed
  1  something differs, or the certificate holds and says that the subject failed
  2  it can't be read here, or another version of the suite issued it
  3  the suite itself is at fault";

/// Keeps a session alive on several devices, and moves it from one to another.
#[derive(Debug, Parser)]
#[command(name = "segue", version, after_help = EXIT_CODES, propagate_version = true)]
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
    /// and the members. --session and --device choose without a question, and --list prints the menu's data as JSON.
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
    /// Every option may stand in the file --config, too, under its name without dashes before it: listen =
    /// "0.0.0.0:4433", lease = 60, only = ["ID"]. The command line goes before the environment, and that before the file.
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
    /// Takes sessions that devices of the account, or those named with --from, invite this one to.
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

/// A generation of the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Generation {
    #[value(name = "1.4")]
    V1_4,
    #[value(name = "1.7")]
    V1_7,
    #[value(name = "2")]
    V2,
    #[value(name = "7")]
    V7,
    All,
}

impl Generation {
    /// The generation; none for all of them.
    pub(crate) fn one(self) -> Option<segue_quic::Generation> {
        Some(match self {
            Generation::V1_4 => segue_quic::Generation::V1_4,
            Generation::V1_7 => segue_quic::Generation::V1_7,
            Generation::V2 => segue_quic::Generation::V2,
            Generation::V7 => segue_quic::Generation::V7,
            Generation::All => return None,
        })
    }
}

/// How a subject is examined.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Tier {
    A,
    B,
    All,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Certify {
    /// The command that starts the adapter of the subject [default: this program's own `adapter`]
    #[arg(long, value_name = "CMD")]
    pub(crate) adapter: Option<String>,
    /// The command that starts the adapter of the other device in pairs [default: the subject's]
    #[arg(long, value_name = "CMD")]
    pub(crate) peer: Option<String>,
    /// What to certify
    #[arg(long, value_enum, default_value = "all")]
    pub(crate) generation: Generation,
    /// How: a, in which the suite owns clock, network and disk; b, on real sockets [default: a, and b if the adapter declares no other]
    #[arg(long, value_enum, value_name = "TIER")]
    pub(crate) tier: Option<Tier>,
    /// Certify a device that runs already at this address, as far as it shows from outside: no adapter is used
    #[arg(long, value_name = "ADDR", value_parser = address, requires = "device", conflicts_with_all = ["adapter", "peer", "tier"])]
    pub(crate) connect: Option<String>,
    /// The id of the device at --connect
    #[arg(long, value_name = "ID", value_parser = device, requires = "connect")]
    pub(crate) device: Option<DeviceId>,
    /// The device at --connect hosts a mailbox
    #[arg(long, requires = "connect")]
    pub(crate) service: bool,
    /// Run only the cases whose names match, as in 'handoff/grant/*'; commas part several
    #[arg(long, value_name = "GLOB")]
    pub(crate) case: Option<String>,
    /// Print the names of the cases, one a line, and run none
    #[arg(long)]
    pub(crate) list: bool,
    /// Write the report into this directory: report.html, report.json, junit.xml, badge.svg, and certificate.json with
    /// its transcripts.gz
    #[arg(long, value_name = "DIR")]
    pub(crate) report: Option<PathBuf>,
    /// Sign the certificate with the Ed25519 key in this file: PKCS #8 in PEM, as `openssl genpkey -algorithm ed25519`
    /// makes one [default: a key that follows from the content and proves nothing about who signed]
    #[arg(long, value_name = "FILE", requires = "report")]
    pub(crate) sign_key: Option<PathBuf>,
    /// What all randomness comes from: the same seed gives the same report
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub(crate) seed: u64,
    /// How many random sequences to try for each property and generation [default: 25]
    #[arg(long, value_name = "N")]
    pub(crate) sequences: Option<u32>,
    /// Play the sequence of a token again, as a property that failed printed it, and show all that happens
    #[arg(long, value_name = "TOKEN", conflicts_with_all = ["case", "list", "report", "sequences"])]
    pub(crate) replay: Option<String>,
    /// Walk the first steps with an adapter, and tell which side the first mistake is on
    #[arg(long, conflicts_with_all = ["case", "list", "report", "replay"])]
    pub(crate) smoke: bool,
    /// Wait for an adapter that is started by hand, as under a debugger: tcp:127.0.0.1:PORT, unix:PATH, or
    /// pipes:REQUESTS,ANSWERS for two named pipes. It may take its time
    #[arg(long, value_name = "PLACE", conflicts_with_all = ["adapter", "peer"])]
    pub(crate) attach: Option<String>,
    /// Failures that are known: a file of yours that names cases, how they fail, and why. GUIDE.md has its form
    #[arg(long, value_name = "FILE")]
    pub(crate) exemptions: Option<PathBuf>,
    /// Ask for what this version of the frozen requirements asks for, and nothing newer: 1, or 1.4-1 for one generation
    #[arg(long, value_name = "VERSION")]
    pub(crate) requirements: Option<String>,
    /// Name the slowest cases, by the wall clock
    #[arg(long)]
    pub(crate) time: bool,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Verify {
    /// The certificate
    #[arg(value_name = "CERT")]
    pub(crate) certificate: PathBuf,
    /// Who must have signed it: a public key in hexadecimal digits, or a file with one in PEM
    #[arg(long, value_name = "KEY")]
    pub(crate) key: Option<String>,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Adapter {
    /// Declare this generation; may be repeated
    #[arg(long, value_enum, default_value = "all")]
    pub(crate) generation: Vec<Generation>,
    /// Run real nodes over QUIC, and nothing else: examined in tier B alone
    #[arg(long)]
    pub(crate) quic: bool,
    /// Break a clause on purpose, for checks of the suite itself
    #[arg(long, value_name = "NAME")]
    pub(crate) mutant: Option<String>,
    /// Print the names of the mutants, one a line, and end
    #[arg(long)]
    pub(crate) list_mutants: bool,
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
pub(crate) struct Receive {
    #[command(flatten)]
    pub(crate) state: State,
    /// Take calls at this address; port 0 lets the system choose. The first line printed tells the address
    #[arg(long, value_name = "ADDR")]
    pub(crate) listen: SocketAddr,
    /// Write each session into a directory of its name in this one
    #[arg(long, value_name = "DIR")]
    pub(crate) into: PathBuf,
    /// Vouch for this device, by its id or its name in the account: it may offer sessions, and read and ask for those
    /// here; may be repeated. Without it any device may offer, and the members of a session may ask for it. The devices
    /// of the account may read and ask in any case
    #[arg(long, value_name = "NAME|ID")]
    pub(crate) from: Vec<Who>,
    /// Keep the directories of sessions that other devices own together with theirs: what is changed here goes to them,
    /// what they change comes here. Of a file that both changed both versions are kept; `segue conflicts` lists them.
    /// A session that a device of the account, or one named by --from, tells of comes here, too, when it is begun there
    #[arg(long)]
    pub(crate) together: bool,
    /// Keep a link to a device: where it listens, host or address, and port; the first belongs to the first --from, and
    /// so on
    #[arg(long, value_name = "ADDR", value_parser = address, requires = "from")]
    pub(crate) to: Vec<String>,
    #[command(flatten)]
    pub(crate) only: Only,
    /// Accept whatever is offered or asked for, without a question
    #[arg(long)]
    pub(crate) yes: bool,
    /// Run this command by the shell once a session has come and lies in its directory, as to open it there. It finds
    /// SEGUE_SESSION, SEGUE_NAME, SEGUE_DIRECTORY and, if the session has one, its view state as SEGUE_VIEW
    #[arg(long, value_name = "CMD")]
    pub(crate) on_wake: Option<String>,
    /// End once one session was received, or given away, and both sides know
    #[arg(long)]
    pub(crate) once: bool,
    #[command(flatten)]
    pub(crate) mailbox: Mailbox,
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

#[derive(Debug, clap::Args)]
pub(crate) struct Send {
    #[command(flatten)]
    pub(crate) state: State,
    /// The directory
    pub(crate) path: PathBuf,
    /// Where the other device listens: host or address, and port. Without it the session goes by way of the service at
    /// --mailbox, which signs who owns it from then on, as after `segue delegate`
    #[arg(long, value_name = "ADDR", value_parser = address, required_unless_present = "mailbox")]
    pub(crate) to: Option<String>,
    /// The other device: its name in the account, or its id, as its `segue id` prints it
    #[arg(long, value_name = "NAME|ID")]
    pub(crate) device: Who,
    #[command(flatten)]
    pub(crate) mailbox: Mailbox,
    /// The session's name [default: the directory's]
    #[arg(long, value_name = "N")]
    pub(crate) name: Option<String>,
    /// The session's view state: where the user stood, at most 16 KiB
    #[arg(long, value_name = "TEXT")]
    pub(crate) view: Option<String>,
    /// Tell what would move, what would stay, how long it would take and whether it would be refused, and hand nothing
    /// over. Of the session and the directory nothing is written, here or there; exits with 1 if it would be refused
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Print JSON
    #[arg(long, requires = "dry_run")]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) patience: Patience,
}

#[derive(Debug, clap::Args)]
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
    /// Where the other device listens: host or address, and port. Without it the session goes by way of the service at
    /// --mailbox
    #[arg(long, value_name = "ADDR", value_parser = address, required_unless_present_any = ["mailbox", "list"])]
    pub(crate) to: Option<String>,
    #[command(flatten)]
    pub(crate) mailbox: Mailbox,
    /// The session's view state: where the user stood, at most 16 KiB
    #[arg(long, value_name = "TEXT")]
    pub(crate) view: Option<String>,
    #[command(flatten)]
    pub(crate) patience: Patience,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Pull {
    #[command(flatten)]
    pub(crate) state: State,
    /// The session: its id, as `segue owner` prints it, or its name, if its owner is a device of the account and linked
    #[arg(value_name = "SESSION", value_parser = which)]
    pub(crate) session: Which,
    /// Where its owner listens: host or address, and port. Without it the session comes by way of the service at
    /// --mailbox, if its owner delegated to that; the owner's answer, or the end of its lease, decides
    #[arg(long, value_name = "ADDR", value_parser = address, required_unless_present = "mailbox")]
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

/// A session, by its id or its name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Which {
    Id(SessionId),
    Name(String),
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
    #[arg(long, value_name = "ADDR")]
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
    #[arg(long, value_name = "N")]
    pub(crate) name: Option<String>,
    /// Invite: also write the QR code as a PNG file
    #[arg(long, value_name = "FILE", conflicts_with_all = ["scan", "paste"])]
    pub(crate) png: Option<PathBuf>,
    /// Invite: wait at this address; port 0 lets the system choose
    #[arg(long, value_name = "ADDR", default_value = "0.0.0.0:0", conflicts_with_all = ["scan", "paste"])]
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

fn which(text: &str) -> Result<Which, String> {
    // What looks like an id is one, and not the name of a session.
    let id = text.len() == 32 && text.bytes().all(|b| b.is_ascii_hexdigit());
    if id { session(text).map(Which::Id) } else { Ok(Which::Name(text.to_owned())) }
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
