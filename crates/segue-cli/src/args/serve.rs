//! The options of `segue serve`, which may also come from the environment and from a file.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::error::{ContextKind, ContextValue};
use clap::{CommandFactory, FromArgMatches, ValueEnum, ValueHint};
use toml_edit::{Document, Item, Key, Value};

use super::{Args, State, listen};
use crate::failure::Failure;
use crate::who::Who;

#[derive(Debug, clap::Args)]
pub(crate) struct Serve {
    #[command(flatten)]
    pub(crate) state: State,
    /// Take options that are given neither here nor by the environment from this file, in TOML. Paths in it are relative
    /// to the directory that it lies in
    #[arg(long, value_name = "FILE", env = "SEGUE_SERVE_CONFIG")]
    pub(crate) config: Option<PathBuf>,
    /// Take calls at this address; port 0 lets the system choose. The first line printed tells the address
    #[arg(long, value_name = "ADDR", value_parser = listen, env = "SEGUE_SERVE_LISTEN")]
    pub(crate) listen: Option<SocketAddr>,
    /// Serve this device alone, by its id; may be repeated. Without it any device may use the mailbox
    #[arg(long, value_name = "NAME|ID", env = "SEGUE_SERVE_ONLY", value_delimiter = ',')]
    pub(crate) only: Vec<Who>,
    /// Demand accounts: let in the devices that this file names, in TOML, with what holds for each account
    #[arg(long, value_name = "FILE", env = "SEGUE_SERVE_ACCOUNTS")]
    pub(crate) accounts: Option<PathBuf>,
    /// Demand accounts: let in devices that come with a token signed with a key of this file, a JSON Web Key Set. Tokens
    /// are JSON Web Tokens signed by EdDSA, ES256 or RS256; their `sub` is the account
    #[arg(long, value_name = "FILE", env = "SEGUE_SERVE_KEYS")]
    pub(crate) keys: Option<PathBuf>,
    /// Who issues the tokens: their `iss`
    #[arg(long, value_name = "URL", env = "SEGUE_SERVE_ISSUER")]
    pub(crate) issuer: Option<String>,
    /// For whom the tokens are issued that count here: their `aud`
    #[arg(long, value_name = "NAME", env = "SEGUE_SERVE_AUDIENCE")]
    pub(crate) audience: Option<String>,
    /// Let a device in only until its token ends: it has to come with a new one then. Without this it is known for good
    #[arg(long, env = "SEGUE_SERVE_LOGIN_ENDS")]
    pub(crate) login_ends: bool,
    /// Keep at most so many bytes in all [default: 64 GiB]
    #[arg(long, value_name = "BYTES", env = "SEGUE_SERVE_SPACE", value_parser = bytes)]
    pub(crate) space: Option<u64>,
    /// Keep at most so many bytes in one box: a session's letters, or one file [default: 256 MiB]
    #[arg(long, value_name = "BYTES", env = "SEGUE_SERVE_BOX_SPACE", value_parser = bytes)]
    pub(crate) box_space: Option<u64>,
    /// Take at most so many bytes of one device [default: 1 GiB]
    #[arg(long, value_name = "BYTES", env = "SEGUE_SERVE_DEVICE_SPACE", value_parser = bytes)]
    pub(crate) device_space: Option<u64>,
    /// Take at most so many bytes a second of one device, on average [default: 8 MiB]
    #[arg(long, value_name = "BYTES", env = "SEGUE_SERVE_RATE", value_parser = rate)]
    pub(crate) rate: Option<u64>,
    /// Have at most so many devices connected at a time. An idle one costs about 40 KB of memory
    #[arg(long, value_name = "N", env = "SEGUE_SERVE_LINKS", default_value = "1024", value_parser = links)]
    pub(crate) links: usize,
    /// The longest lease of an owner that delegated its session: after so many seconds of silence another device that
    /// wants the session gets it. 0 gives none
    #[arg(long, value_name = "SECS", env = "SEGUE_SERVE_LEASE", default_value = "0", value_parser = lease)]
    pub(crate) lease: Duration,
    /// Sign for no session: keep envelopes alone
    #[arg(long, env = "SEGUE_SERVE_NO_CUSTODY")]
    pub(crate) no_custody: bool,
    /// Pass no packets on between devices that can't reach one another: what they hand over is stored here then, sealed
    #[arg(long, env = "SEGUE_SERVE_NO_RELAY")]
    pub(crate) no_relay: bool,
    /// Run this command by the shell for a device on which nothing runs and that something is handed over to, as to start
    /// `segue receive` there or to ask a push gateway for it. It finds the device's id in SEGUE_DEVICE, and in SEGUE_BY
    /// that of who hands over; both devices have named one another here. It is to end within 30 s: what is to go on
    /// longer, have it start in the background
    #[arg(long, value_name = "CMD", env = "SEGUE_SERVE_WAKE_WITH")]
    pub(crate) wake_with: Option<String>,
    /// Tell at this address, of this computer alone, over HTTP whether the service is well (/health), and what it does
    /// in Prometheus's text format (/metrics); port 0 lets the system choose
    #[arg(long, value_name = "ADDR", env = "SEGUE_SERVE_METRICS", value_parser = loopback)]
    pub(crate) metrics: Option<SocketAddr>,
    /// How the log is written to standard error
    #[arg(long, value_name = "FORMAT", env = "SEGUE_SERVE_LOG", value_enum, default_value = "text")]
    pub(crate) log: LogFormat,
}

/// How a log is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogFormat {
    /// For people, a line an event
    #[default]
    Text,
    /// For machines, a JSON object an event
    Json,
}

impl Serve {
    /// Where calls are taken: nobody is served without.
    ///
    /// # Errors
    /// It is said nowhere.
    pub(crate) fn address(&self) -> Result<SocketAddr, Failure> {
        self.listen.ok_or_else(|| {
            let file = match &self.config {
                Some(file) => format!("listen = \"0.0.0.0:4433\" in {}", file.display()),
                None => "listen = \"0.0.0.0:4433\" in a file named by --config".to_owned(),
            };
            Failure::usage(format!(
                "nothing says at which address calls are taken: say --listen 0.0.0.0:4433 for all addresses of this computer, SEGUE_SERVE_LISTEN in the environment, or {file}"
            ))
        })
    }
}

impl Args {
    /// Reads a command line. What stands in the file of `segue serve` are its defaults.
    ///
    /// # Errors
    /// The file can't be used. A command line that is wrong ends the process.
    pub(crate) fn read(line: Vec<OsString>) -> Result<Args, Failure> {
        let mut command = Args::command();
        let early = command.clone().ignore_errors(true).try_get_matches_from(&line).ok();
        let serve = early.as_ref().and_then(|matches| matches.subcommand_matches(SERVE));
        if let Some(file) = serve.and_then(|serve| serve.get_one::<PathBuf>("config").cloned()) {
            for (name, values) in read(&file, &command)? {
                command = command.mut_subcommand(SERVE, |serve| serve.mut_arg(name, |arg| arg.default_values(values)));
            }
        }
        let matches = match command.try_get_matches_from_mut(&line) {
            Ok(matches) => matches,
            Err(error) => match in_environment(&error, &command, &line) {
                Some(failure) => return Err(failure),
                None => error.exit(),
            },
        };
        if matches.subcommand_name() == Some(SERVE) {
            all_known(&command)?;
        }
        Args::from_arg_matches(&matches).map_err(|error| Failure::usage(error.to_string()))
    }
}

const SERVE: &str = "serve";

/// Variables that look like options and are none would be passed over: one that is misspelt may leave a service open to all.
fn all_known(command: &clap::Command) -> Result<(), Failure> {
    let options = command.find_subcommand(SERVE).into_iter().flat_map(clap::Command::get_arguments);
    let known: Vec<_> = options.filter_map(clap::Arg::get_env).collect();
    let unknown =
        |name: &OsString| name.as_encoded_bytes().starts_with(b"SEGUE_SERVE_") && !known.contains(&name.as_os_str());
    match std::env::vars_os().map(|(name, _)| name).find(unknown) {
        Some(name) => Err(Failure::usage(format!(
            "{} in the environment is no option; `segue serve --help` lists them",
            name.to_string_lossy()
        ))),
        None => Ok(()),
    }
}

/// The options in a file: the name of each as clap knows it, and its values.
fn read(file: &Path, command: &clap::Command) -> Result<Vec<(String, Vec<OsString>)>, Failure> {
    let text = std::fs::read_to_string(file).map_err(Failure::io("read", file))?;
    let document = Document::parse(text.as_str());
    let document = document.map_err(|error| Failure::usage(format!("{}: {error}", file.display())))?;
    let serve = command.find_subcommand(SERVE);
    let mut found = Vec::new();
    for (key, item) in document.iter() {
        let wrong = |why: String| {
            let at = document.as_table().key(key).and_then(Key::span).map_or(0, |span| span.start);
            Failure::usage(format!("{}, line {}: {why}", file.display(), line_of(&text, at)))
        };
        let arg = serve.into_iter().flat_map(clap::Command::get_arguments).find(|arg| arg.get_long() == Some(key));
        let arg = arg.filter(|arg| !matches!(arg.get_id().as_str(), "config" | "state" | "help"));
        let Some(arg) = arg else {
            return Err(wrong(format!("{key:?} is no option that may stand here; `segue serve --help` lists them")));
        };
        let values = values(item)
            .ok_or_else(|| wrong(format!("{key} is to be a text, a number, true, false, or a list of texts")))?;
        let takes_values = arg.get_action().takes_values();
        if !takes_values && item.as_bool().is_none() {
            return Err(wrong(format!("{key} is to be true or false")));
        }
        // What is wrong with it is told with the file's name, not as if it stood on the command line.
        let line = ["segue", SERVE, "--state=.", &format!("--{key}={}", values.join(","))].map(OsString::from);
        if takes_values && let Err(error) = command.clone().try_get_matches_from(&line) {
            return Err(in_environment(&error, command, &line).unwrap_or_else(|| wrong(told(&error))));
        }
        let beside = match arg.get_value_hint() {
            ValueHint::AnyPath => file.parent().unwrap_or(Path::new("")),
            _ => Path::new(""),
        };
        found.push((arg.get_id().to_string(), values.iter().map(|value| beside.join(value).into()).collect()));
    }
    Ok(found)
}

/// The line in which a byte of a text stands, from 1.
pub(crate) fn line_of(text: &str, at: usize) -> usize {
    1 + text.bytes().take(at).filter(|byte| *byte == b'\n').count()
}

/// What clap says of an option, in a line and without the word before it.
fn told(error: &clap::Error) -> String {
    let text = error.to_string();
    let lines: Vec<_> = text.lines().take_while(|line| !line.is_empty()).map(str::trim).collect();
    lines.join(" ").trim_start_matches("error: ").to_owned()
}

/// What is wrong with an option of the service that the environment gives: clap tells of it as if it stood on the command
/// line. None if it does, or something else is wrong.
fn in_environment(error: &clap::Error, command: &clap::Command, line: &[OsString]) -> Option<Failure> {
    let Some(ContextValue::String(named)) = error.get(ContextKind::InvalidArg) else { return None };
    let flag = named.split([' ', '=']).next()?;
    let serve = command.find_subcommand(SERVE).filter(|_| line.get(1).is_some_and(|word| word == SERVE))?;
    let arg =
        serve.get_arguments().find(|arg| arg.get_long().is_some_and(|long| flag.strip_prefix("--") == Some(long)))?;
    let variable = arg.get_env().filter(|variable| std::env::var_os(variable).is_some())?.to_string_lossy();
    let given = |word: &OsString| word.to_string_lossy().split('=').next() == Some(flag);
    let stands_there = line.iter().any(given);
    (!stands_there).then(|| Failure::usage(format!("{variable} in the environment: {}", told(error))))
}

fn values(item: &Item) -> Option<Vec<String>> {
    let one = |value: &Value| match value {
        Value::String(text) => Some(text.value().clone()),
        Value::Integer(number) => Some(number.value().to_string()),
        Value::Boolean(set) => Some(set.value().to_string()),
        _ => None,
    };
    match item.as_value()? {
        Value::Array(list) => list.iter().map(one).collect(),
        value => one(value).map(|value| vec![value]),
    }
}

fn bytes(text: &str) -> Result<u64, String> {
    text.parse().map_err(|_| "a number of bytes from 0 on, without a unit".to_owned())
}

fn rate(text: &str) -> Result<u64, String> {
    match text.parse() {
        Ok(bytes @ 1..) => Ok(bytes),
        _ => Err("a number of bytes from 1 on, without a unit".to_owned()),
    }
}

fn lease(text: &str) -> Result<Duration, String> {
    match text.parse() {
        Ok(secs @ 0..=86_400) => Ok(Duration::from_secs(secs)),
        _ => Err("a number of seconds from 0 to 86400".to_owned()),
    }
}

fn links(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(most @ 1..=65_536) => Ok(most),
        _ => Err("a number of links from 1 to 65536".to_owned()),
    }
}

/// Metrics tell who uses the service, and the port asks for no key.
fn loopback(text: &str) -> Result<SocketAddr, String> {
    let addr: SocketAddr = text.parse().map_err(|_| "an address and a port, as in 127.0.0.1:9464".to_owned())?;
    if !addr.ip().is_loopback() {
        return Err(
            "an address of this computer alone, as 127.0.0.1 or [::1]; let a proxy ask from elsewhere".to_owned()
        );
    }
    Ok(addr)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::Command;

    fn serve(file: &str, line: &[&str]) -> Result<Serve, Failure> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("serve.toml");
        std::fs::write(&path, file).unwrap();
        let config = format!("--config={}", path.display());
        let line = ["segue", "serve", "--state=box", &config].into_iter().chain(line.iter().copied());
        match Args::read(line.map(OsString::from).collect())?.command {
            Command::Serve(serve) => Ok(serve),
            _ => unreachable!("it is serve"),
        }
    }

    #[test]
    fn a_file_gives_what_the_command_line_does_not() {
        let id = "8139770ea87d175f56a35466c34c7ecccb8d8a91b4ee37a25df60f5b8fc9b394";
        let file =
            format!("listen = \"127.0.0.1:4433\"\nlease = 60\nonly = [\"{id}\"]\nno-custody = false\nlog = \"json\"");
        let read = serve(&file, &["--lease=5"]).unwrap();
        assert_eq!(read.address().unwrap(), "127.0.0.1:4433".parse().unwrap());
        assert_eq!((read.lease, read.log, read.no_custody), (Duration::from_secs(5), LogFormat::Json, false));
        assert_eq!(read.only.len(), 1);
        assert!(serve("listen = \"127.0.0.1:1\"\nno-custody = true", &[]).unwrap().no_custody);
    }

    #[test]
    fn what_is_wrong_in_a_file_is_told_with_its_name() {
        for bad in ["lissen = \"127.0.0.1:1\"", "lease = \"soon\"", "lease = [[1]]", "metrics = \"192.0.2.7:1\"", "= 1"]
        {
            let failure = serve(bad, &["--listen=127.0.0.1:0"]).unwrap_err();
            assert!(failure.text.contains("serve.toml"), "{bad}: {}", failure.text);
        }
    }
}
