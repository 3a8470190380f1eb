//! `segue conflicts`: what was written without knowing of each other, and what is to stand.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::Path;

use segue_quic::{ActorId, Conflict, Content, DeviceId, Hash, PartId, Resolution, SessionId, Version};
use serde::{Deserialize, Serialize};

use crate::args::Conflicts;
use crate::commands::devices::date;
use crate::control::{self, How, Request};
use crate::device::{Device, require};
use crate::failure::{Exit, Failure};
use crate::terminal::say;

/// The conflicts that a device knows of.
#[derive(Debug, Serialize, Deserialize)]
struct Report {
    conflicts: Vec<Listed>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Listed {
    session: String,
    name: String,
    part: String,
    /// None for a register.
    path: Option<String>,
    /// The one that is shown first.
    versions: Vec<Told>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Told {
    /// For --take, from 1.
    number: usize,
    /// value, file, executable, directory or removed.
    kind: String,
    writer: String,
    seq: u64,
    /// The writer's device, if it is known.
    device: Option<String>,
    /// Its name in the account, if it has one.
    name: Option<String>,
    this_device: bool,
    time_ms: u64,
    hash: String,
    len: u64,
    /// The beginning of a register's value, if it is text.
    text: Option<String>,
}

/// Lists, or resolves one.
pub(crate) async fn run(args: &Conflicts) -> Result<Exit, Failure> {
    require(&args.state.state)?;
    match Device::existing(&args.state).await {
        Ok(device) => {
            let done = here(&device, args).await;
            device.close().await;
            done?;
        }
        Err(error) => elsewhere(args, error).await?,
    }
    Ok(Exit::Resolved)
}

/// With the state directory to itself.
async fn here(device: &Device, args: &Conflicts) -> Result<(), Failure> {
    let json = json(device, args.session).await?;
    let Some((session, listed, how)) = chosen(args, &json)? else { return show(args, &json) };
    if let (Some(file), How::Take(writer, seq)) = (&args.save, how) {
        return save(device, session, listed.part()?, (writer, seq), file).await;
    }
    say(resolve(device, session, listed.part()?, how).await?);
    Ok(())
}

/// By the process that has it open.
async fn elsewhere(args: &Conflicts, error: Failure) -> Result<(), Failure> {
    let Some(json) = control::ask(&args.state.state, Request::Conflicts(args.session)).await else { return Err(error) };
    let json = json?;
    let Some((session, listed, how)) = chosen(args, &json)? else { return show(args, &json) };
    if args.save.is_some() {
        let text = "another process has this state directory open; --save needs it for itself, so end that one first";
        return Err(Failure::failed(text));
    }
    let part = listed.part()?;
    let done = control::ask(&args.state.state, Request::Resolve { session, part, how }).await;
    say(done.unwrap_or(Err(error))?);
    Ok(())
}

/// The conflicts of one session, or of all, as JSON.
pub(crate) async fn json(device: &Device, session: Option<SessionId>) -> Result<String, Failure> {
    let views = match session {
        Some(session) => vec![device.session(session).await?],
        None => device.node.sessions().await?,
    };
    let me = device.node.device();
    let names = names(device).await?;
    let mut report = Report { conflicts: Vec::new() };
    for view in views {
        let found = device.node.conflicts(view.id).await?;
        report.conflicts.extend(found.iter().map(|conflict| listed(conflict, &view.name, me, &names)));
    }
    serde_json::to_string_pretty(&report).map_err(|error| Failure::failed(error.to_string()))
}

/// What the devices of the account are called, those that were revoked as well.
async fn names(device: &Device) -> Result<BTreeMap<DeviceId, String>, Failure> {
    let Some(account) = device.node.account().await? else { return Ok(BTreeMap::new()) };
    let revoked = account.revoked.into_iter().map(|it| (it.device, it.name));
    Ok(revoked.chain(account.devices.into_iter().map(|it| (it.device, it.name))).collect())
}

/// Resolves one; what to tell the user.
pub(crate) async fn resolve(device: &Device, session: SessionId, part: PartId, how: How) -> Result<String, Failure> {
    let conflict = find(device, session, part).await?;
    let named = conflict.path.clone().map_or_else(|| format!("register {part}"), |path| format!("{path:?}"));
    let (how, done) = match how {
        How::Both => (Resolution::Both, "each version is a file of its own now".to_owned()),
        How::Take(writer, seq) => {
            let (at, version) = version(&conflict, (writer, seq))?;
            (Resolution::Take(at), format!("version {} of {} stands for all", at + 1, date(version.time_ms)))
        }
    };
    device.node.resolve(&conflict, how).await?;
    Ok(format!("{named} of session {session}: {done}; the other devices are told when they meet this one"))
}

/// Writes the content of a version into a file that isn't there yet.
async fn save(
    device: &Device,
    session: SessionId,
    part: PartId,
    of: (ActorId, u64),
    file: &Path,
) -> Result<(), Failure> {
    let conflict = find(device, session, part).await?;
    let (_, version) = version(&conflict, of)?;
    let content = match &version.content {
        Content::Value(value) => value.clone(),
        Content::File { .. } => device.node.read_blob(version.hash, version.len).await?,
        Content::Directory | Content::Removed => return Err(Failure::failed("that version has no content to save")),
    };
    let mut options = std::fs::OpenOptions::new();
    let opened = options.write(true).create_new(true).open(file);
    let written = opened.and_then(|mut file| std::io::Write::write_all(&mut file, &content));
    written.map_err(Failure::io("write", file))?;
    say(format_args!("wrote {} bytes to {}", content.len(), file.display()));
    Ok(())
}

async fn find(device: &Device, session: SessionId, part: PartId) -> Result<Conflict, Failure> {
    let found = device.node.conflicts(session).await?.into_iter().find(|conflict| conflict.part == part);
    found.ok_or_else(|| Failure::failed(format!("session {session}: that is resolved by now")))
}

fn version(conflict: &Conflict, (writer, seq): (ActorId, u64)) -> Result<(usize, &Version), Failure> {
    let found =
        conflict.versions.iter().enumerate().find(|(_, version)| (version.writer, version.seq) == (writer, seq));
    found.ok_or_else(|| Failure::failed("that version was replaced meanwhile; list the conflicts again"))
}

/// Which conflict is to be resolved, and how; none if they are to be listed.
fn chosen(args: &Conflicts, json: &str) -> Result<Option<(SessionId, Listed, How)>, Failure> {
    let Some(session) = args.session.filter(|_| args.take.is_some() || args.keep_both || args.of.is_some()) else {
        return Ok(None);
    };
    let mut found = parse(json)?.conflicts;
    if let Some(of) = &args.of {
        found.retain(|one| one.path.as_ref().map_or_else(|| one.part.starts_with(of.as_str()), |path| path == of));
    }
    let listed = match (found.len(), &args.of) {
        (1, _) => found.remove(0),
        (0, None) => return Err(Failure::failed(format!("session {session} has no conflicts"))),
        (0, Some(of)) => return Err(Failure::failed(format!("session {session} has no conflict of {of:?}"))),
        (several, _) => {
            return Err(Failure::failed(format!(
                "session {session} has {several} conflicts; name one by --of PATH or --of PART, as `segue conflicts` lists them"
            )));
        }
    };
    let how = match args.take {
        None if args.keep_both => How::Both,
        None => return Err(Failure::usage("--of says which; say too what is to stand, by --take N or --keep-both")),
        Some(number) => {
            let told = listed.versions.iter().find(|told| told.number == number);
            let told = told.ok_or_else(|| {
                Failure::failed(format!("there is no version {number}; there are {}", listed.versions.len()))
            })?;
            How::Take(ActorId::from_hex(&told.writer).ok_or_else(strange)?, told.seq)
        }
    };
    Ok(Some((session, listed, how)))
}

impl Listed {
    fn part(&self) -> Result<PartId, Failure> {
        PartId::from_hex(&self.part).ok_or_else(strange)
    }

    fn write(&self, out: &mut String) -> std::fmt::Result {
        match &self.path {
            Some(path) => writeln!(out, "  {path:?}")?,
            None => writeln!(out, "  register {}", self.part)?,
        }
        self.versions.iter().try_for_each(|version| version.write(out))
    }
}

impl Told {
    fn write(&self, out: &mut String) -> std::fmt::Result {
        let shown = if self.number == 1 { "shown" } else { "" };
        let what = match (self.kind.as_str(), &self.text) {
            ("directory" | "removed", _) => self.kind.clone(),
            (_, Some(text)) => format!("{text:?}"),
            _ => format!("{} bytes, {}", self.len, self.hash.get(..16).unwrap_or(&self.hash)),
        };
        let by = match (&self.name, &self.device) {
            _ if self.this_device => "this device".to_owned(),
            (Some(name), _) => format!("{name:?}"),
            (None, Some(device)) => format!("device {device}"),
            (None, None) => format!("writer {}", self.writer.get(..16).unwrap_or(&self.writer)),
        };
        writeln!(out, "    {}  {shown:5}  {}, {}, by {by}", self.number, date(self.time_ms), what)
    }
}

fn show(args: &Conflicts, json: &str) -> Result<(), Failure> {
    if args.json {
        say(json);
        return Ok(());
    }
    let (mut out, mut session) = (String::new(), None);
    for listed in &parse(json)?.conflicts {
        // Writing to a string can't fail.
        if session != Some(&listed.session) {
            let _ = writeln!(out, "session {} {:?}", listed.session, listed.name);
            session = Some(&listed.session);
        }
        let _ = listed.write(&mut out);
    }
    say(if out.is_empty() { "no conflicts" } else { out.trim_end() });
    Ok(())
}

fn listed(conflict: &Conflict, name: &str, me: DeviceId, names: &BTreeMap<DeviceId, String>) -> Listed {
    let told = |(at, version): (usize, &Version)| Told {
        number: at + 1,
        kind: kind(&version.content).to_owned(),
        writer: version.writer.to_string(),
        seq: version.seq,
        device: version.device.map(|device| device.to_string()),
        name: version.device.and_then(|device| names.get(&device).cloned()),
        this_device: version.device == Some(me),
        time_ms: version.time_ms,
        hash: if version.hash == Hash::ZERO { String::new() } else { version.hash.to_string() },
        len: version.len,
        text: text(&version.content),
    };
    Listed {
        session: conflict.session.to_string(),
        name: name.to_owned(),
        part: conflict.part.to_string(),
        path: conflict.path.clone(),
        versions: conflict.versions.iter().enumerate().map(told).collect(),
    }
}

fn kind(content: &Content) -> &'static str {
    match content {
        Content::Value(_) => "value",
        Content::File { executable: false } => "file",
        Content::File { executable: true } => "executable",
        Content::Directory => "directory",
        Content::Removed => "removed",
    }
}

/// The beginning of a value that can be read.
fn text(content: &Content) -> Option<String> {
    let Content::Value(value) = content else { return None };
    let text = std::str::from_utf8(value).ok()?;
    let cut: String = text.chars().take(TEXT).collect();
    Some(if cut.len() < text.len() { format!("{cut}…") } else { cut })
}

/// The characters of a value that are listed.
const TEXT: usize = 60;

fn parse(json: &str) -> Result<Report, Failure> {
    serde_json::from_str(json).map_err(|_| strange())
}

fn strange() -> Failure {
    Failure::failed("can't understand the process that has the state open; it may be of another version")
}
