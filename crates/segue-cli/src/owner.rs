//! `segue owner`: which sessions there are, and whose they are.

use std::fmt::Write;
use std::path::PathBuf;

use segue_proto::wire::{Kind, Proven, Record};
use segue_quic::{SessionRole, SessionView};
use serde::{Deserialize, Serialize};

use crate::args::Owner;
use crate::commands::receipt::Proof;
use crate::control::{self, Request};
use crate::device::{Device, require, since};
use crate::failure::{Exit, Failure};
use crate::terminal::say;

/// What this device knows of its sessions.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Report {
    device: String,
    sessions: Vec<Session>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Session {
    session: String,
    name: String,
    /// By the head; none if closed.
    owner: Option<String>,
    /// Who signs the next record.
    grantor: Option<String>,
    /// The owner's first record, as term.n.
    since: String,
    /// What this device is: primary, releasing, secondary, rolled-back or closed.
    role: String,
    /// Whether this device may write: at most one device says so.
    primary: bool,
    closed: bool,
    head: String,
    term: u64,
    n: u64,
    root: String,
    /// The device that a handoff is on its way to.
    pending: Option<String>,
    /// Labelled copies of the view state, in the store.
    copies: usize,
    directory: Option<PathBuf>,
    /// Labelled copies of files, in the directory.
    copied_files: Vec<String>,
    /// Files whose content another device holds.
    #[serde(default)]
    elsewhere: Vec<Elsewhere>,
    /// Genesis first.
    chain: Vec<Link>,
    /// Of the handoffs that this device gave or took, the oldest first.
    receipts: Vec<Proof>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Elsewhere {
    path: String,
    bytes: u64,
    /// The devices that are known to have had it.
    holders: Vec<String>,
    /// Whether it isn't picked here; else it is on its way.
    left_out: bool,
}

#[derive(Debug, Serialize, Deserialize)]
struct Link {
    record: String,
    kind: String,
    term: u64,
    n: u64,
    signer: String,
    owner: Option<String>,
}

/// Prints the report; the process that has the state open is asked for it, if there is one.
pub(crate) async fn run(args: &Owner) -> Result<Exit, Failure> {
    require(&args.state.state)?;
    let json = match Device::existing(&args.state).await {
        Ok(device) => {
            let json = json(&device).await;
            device.close().await;
            json?
        }
        Err(error) => control::ask(&args.state.state, Request::Owner).await.unwrap_or(Err(error))?,
    };
    if args.json {
        say(json);
        return Ok(Exit::Resolved);
    }
    let report: Report = serde_json::from_str(&json)
        .map_err(|error| Failure::failed(format!("can't understand the process that has the state open: {error}")))?;
    say(report.text().trim_end());
    Ok(Exit::Resolved)
}

/// The report as JSON.
pub(crate) async fn json(device: &Device) -> Result<String, Failure> {
    let views = device.node.sessions().await?;
    let mut sessions = Vec::new();
    for view in &views {
        sessions.push(session(device, view).await?);
    }
    let report = Report { device: device.node.device().to_string(), sessions };
    serde_json::to_string_pretty(&report).map_err(|error| Failure::failed(error.to_string()))
}

async fn session(device: &Device, view: &SessionView) -> Result<Session, Failure> {
    let directory = device.index.place(&view.id).map(|place| place.directory.clone());
    let (term, n) = since(view);
    let mut receipts = Vec::new();
    for record in device.node.receipts(view.id).await? {
        receipts.extend(device.node.receipt(view.id, record).await?.map(|receipt| Proof::of(receipt.handed())));
    }
    let elsewhere = device.node.held_elsewhere(view.id).await?;
    let elsewhere = elsewhere.into_iter().map(|file| Elsewhere {
        path: file.path,
        bytes: file.len,
        holders: file.holders.iter().map(ToString::to_string).collect(),
        left_out: file.left_out,
    });
    Ok(Session {
        elsewhere: elsewhere.collect(),
        session: view.id.to_string(),
        name: view.name.clone(),
        owner: view.owner.map(|owner| owner.to_string()),
        grantor: view.grantor.map(|grantor| grantor.to_string()),
        since: format!("{term}.{n}"),
        role: role(view.role).to_owned(),
        primary: view.role == SessionRole::Primary,
        closed: view.closed,
        head: view.head.to_string(),
        term: view.term,
        n: view.n,
        root: view.root.to_string(),
        pending: view.pending.map(|to| to.to_string()),
        copies: view.copies,
        copied_files: directory.as_deref().map(crate::directory::copies).unwrap_or_default(),
        directory,
        chain: view.chain.iter().map(|record| link(record)).collect(),
        receipts,
    })
}

fn link(record: &Proven<Record>) -> Link {
    let body = record.body();
    Link {
        record: record.id().to_string(),
        kind: kind(body.kind).to_owned(),
        term: body.term,
        n: body.n,
        signer: body.signer.to_string(),
        owner: (!body.owner.is_zero()).then(|| body.owner.to_string()),
    }
}

fn role(role: SessionRole) -> &'static str {
    match role {
        SessionRole::Primary => "primary",
        SessionRole::Releasing => "releasing",
        SessionRole::Secondary => "secondary",
        SessionRole::RolledBack => "rolled-back",
        SessionRole::Closed => "closed",
    }
}

fn kind(number: u8) -> &'static str {
    match Kind::from_number(number) {
        Some(Kind::Genesis) => "genesis",
        Some(Kind::Grant) => "grant",
        Some(Kind::Delegate) => "delegate",
        Some(Kind::Takeover) => "takeover",
        Some(Kind::Close) => "close",
        None => "unknown",
    }
}

impl Report {
    fn text(&self) -> String {
        let mut out = format!("device {}\n", self.device);
        if self.sessions.is_empty() {
            out.push_str("no sessions\n");
        }
        for session in &self.sessions {
            // Writing to a string can't fail.
            let _ = session.write(&self.device, &mut out);
        }
        out
    }
}

impl Session {
    fn write(&self, me: &str, out: &mut String) -> std::fmt::Result {
        writeln!(out, "\nsession {} {:?}", self.session, self.name)?;
        match &self.owner {
            Some(owner) => writeln!(out, "  owner     {}, since epoch {}", named(owner, me), self.since)?,
            None => writeln!(out, "  owner     nobody: closed in epoch {}", self.since)?,
        }
        if let Some(grantor) = self.grantor.as_ref().filter(|grantor| Some(*grantor) != self.owner.as_ref()) {
            writeln!(out, "  grantor   {}, which signs who owns next", named(grantor, me))?;
        }
        writeln!(out, "  role here {}", self.role)?;
        if let Some(pending) = &self.pending {
            writeln!(out, "  pending   on its way to {pending}, which hasn't confirmed")?;
        }
        if let Some(directory) = &self.directory {
            writeln!(out, "  directory {}", directory.display())?;
        }
        for file in &self.elsewhere {
            let holders = if file.holders.is_empty() { "another device".to_owned() } else { file.holders.join(", ") };
            let way = if file.left_out { "not picked here" } else { "on its way" };
            writeln!(out, "  elsewhere {:?}, {} bytes, held by {holders}; {way}", file.path, file.bytes)?;
        }
        if self.copies > 0 {
            writeln!(out, "  copies    {} of the view state, written while another device owned", self.copies)?;
        }
        for copy in &self.copied_files {
            writeln!(out, "  copy      {copy}")?;
        }
        for link in &self.chain {
            let owner = link.owner.as_deref().map_or("nobody".to_owned(), |owner| named(owner, me));
            writeln!(out, "  chain     {}.{} {} → {owner}, record {}", link.term, link.n, link.kind, link.record)?;
        }
        for receipt in &self.receipts {
            writeln!(out, "  receipt   of record {}: {}", receipt.record, receipt.amounts())?;
        }
        Ok(())
    }
}

fn named(device: &str, me: &str) -> String {
    if device == me { format!("{device} (this device)") } else { device.to_owned() }
}
