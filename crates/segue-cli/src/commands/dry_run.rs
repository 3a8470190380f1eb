//! `segue send --dry-run`: what handing a directory over would do.
//!
//! The other device is dialled, for the link tells the generation, the round trip and what that device holds; nothing is
//! said of a handoff. What both devices share already is synchronized as by any link.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use segue_proto::data::PartKind;
use segue_quic::{
    Ability, Code, Event, Generation, HandoffError, HandoffPlan, LinkInfo, PlannedFile, SessionId, SessionView, Stays,
    Tally,
};
use serde::Serialize;
use tokio::time::timeout;

use super::send::name;
use crate::args::Send;
use crate::device::{Device, require, resolve};
use crate::directory::{New, Tree, Unsent, scan};
use crate::failure::{Exit, Failure};
use crate::terminal::say;

/// How long the other device, once linked, has to say what it holds of a session. One that takes part says so at once.
const SETTLE: Duration = Duration::from_millis(500);

/// Tells what `segue send` would do.
pub(super) async fn run(mut args: Send, root: &Path) -> Result<Exit, Failure> {
    require(&args.state.state)?;
    let device = Device::open(&args.state, |builder| builder.accept_unknown(true)).await?;
    let report = match args.device.look_up(&device.node).await {
        Ok(()) => look(&device, &args, root).await,
        Err(failure) => Err(failure),
    };
    device.close().await;
    let report = report?;
    if args.json {
        say(serde_json::to_string_pretty(&report).map_err(|error| Failure::failed(error.to_string()))?);
    } else {
        say(report.text().trim_end());
    }
    Ok(if report.refused.is_some() { Exit::Failed } else { Exit::Resolved })
}

async fn look(device: &Device, args: &Send, root: &Path) -> Result<Report, Failure> {
    let to = args.device.id();
    let view = session_of(device, root).await?;
    let tree = match &view {
        // A directory that doesn't show yet what a handoff brought may well be empty.
        Some(view) if !device.owes(view) => device.scan(view, root).await?,
        Some(_) => scan(root, &device.state)?,
        None => scan(root, &device.state)?,
    };
    let offline = match to == device.node.device() {
        true => None,
        false => linked(device, args, view.as_ref().map(|view| view.id)).await?,
    };
    let mut report = match &view {
        Some(view) => {
            let plan = device.node.plan_handoff(view.id, to).await?;
            Report::of(plan, &device.unsent(view, &tree).await?)
        }
        None => {
            let link = device.node.link_info(to).await?;
            Report::first(args, name(args, root)?, link, &tree, to == device.node.device())?
        }
    };
    if let (Some(refusal), Some(code)) = (&mut report.refused, offline) {
        refusal.link = Some(code.name().to_owned());
    }
    report.stays.extend(tree.skipped);
    Ok(report)
}

/// The session that lies in a directory, unless it is closed.
async fn session_of(device: &Device, root: &Path) -> Result<Option<SessionView>, Failure> {
    for session in device.index.at(root) {
        if let Some(view) = device.node.session(session).await?.filter(|view| !view.closed) {
            return Ok(Some(view));
        }
    }
    Ok(None)
}

/// Links the other device, and lets it say what it holds; why there is no link, if there is none.
async fn linked(device: &Device, args: &Send, session: Option<SessionId>) -> Result<Option<Code>, Failure> {
    let peer = args.device.id();
    let Some(to) = &args.to else {
        return Err(Failure::usage("a dry run asks the other device itself: say where it listens with --to ADDR"));
    };
    device.node.connect(resolve(to).await?, peer).await?;
    let link = async {
        while let Some(event) = device.node.next_event().await {
            match event {
                Event::Linked { peer: linked, .. } if linked == peer => return None,
                Event::Unlinked { peer: Some(of), code, .. } if of == peer => return Some(code),
                _ => {}
            }
        }
        Some(Code::LINK_LOST)
    };
    let why = timeout(args.going.patience.timeout, link).await.unwrap_or(Some(Code::LINK_LOST));
    if let (None, Some(session)) = (why, session) {
        let synced = async {
            while let Some(event) = device.node.next_event().await {
                if matches!(event, Event::Synced { session: of, peer: by } if (of, by) == (session, peer)) {
                    return;
                }
            }
        };
        // One that doesn't take part says nothing.
        let _ = timeout(SETTLE, synced).await;
    }
    Ok(why)
}

/// What `--json` prints.
#[derive(Debug, Serialize)]
struct Report {
    /// None: a session would be created.
    session: Option<String>,
    name: String,
    to: String,
    /// Why it would be refused.
    refused: Option<Refusal>,
    generation: Option<&'static str>,
    /// Whether the other device's user would be asked.
    asks: bool,
    parts: Vec<Sum>,
    /// The most that is sent, in bytes and in chunks.
    bytes: u64,
    chunks: u64,
    /// What is there already.
    held_bytes: u64,
    /// What the directory has that the session hasn't; it counts in `bytes` and `chunks`.
    unsent_files: usize,
    unsent_bytes: u64,
    unsent_removed: usize,
    stays: Vec<String>,
    lacks: Vec<&'static str>,
    round_trip_us: Option<u64>,
    bytes_per_second: Option<u64>,
    /// If all of `bytes` moves; not known without a link.
    at_least_us: Option<u64>,
}

#[derive(Debug, Serialize)]
struct Refusal {
    code: &'static str,
    text: String,
    /// Why there is no link.
    link: Option<String>,
}

/// The parts of one merge kind.
#[derive(Debug, Serialize)]
struct Sum {
    kind: &'static str,
    parts: u64,
    bytes: u64,
}

impl Report {
    fn of(plan: HandoffPlan, unsent: &Unsent) -> Report {
        let resumes = plan.link.is_none_or(|link| link.generation >= Generation::V2);
        let (mut bytes, mut chunks) = (plan.bytes, plan.chunks());
        let replaced = unsent.gone.iter().map(String::as_str).chain(unsent.files.iter().map(|new| new.path.as_str()));
        let gone: BTreeSet<&str> = replaced.collect();
        for file in plan.files.iter().filter(|file| !file.held && gone.contains(file.path.as_str())) {
            bytes = bytes.saturating_sub(file.len);
            chunks = chunks.saturating_sub(file.pieces());
        }
        for new in &unsent.files {
            let old = plan.files.iter().find(|file| file.path == new.path && file.held && resumes);
            let (more, pieces) = cost(new, old);
            bytes += more;
            chunks += pieces;
        }
        Report {
            session: Some(plan.session.to_string()),
            to: plan.to.to_string(),
            refused: plan.refused.as_ref().map(Refusal::of),
            asks: !plan.consented,
            parts: plan.parts.iter().map(Sum::of).collect(),
            held_bytes: plan.held,
            stays: plan.stays.iter().map(stays).collect(),
            at_least_us: plan.at_least_for(bytes).map(micros),
            ..Report::bare(plan.name, bytes, chunks, unsent, plan.link)
        }
    }

    /// Of a directory that is no session yet.
    fn first(args: &Send, name: String, link: Option<LinkInfo>, tree: &Tree, own: bool) -> Result<Report, Failure> {
        let (session, device) = (SessionId::new([0; 16]), args.device.id());
        let refused = match (own, link) {
            (true, _) => Some(HandoffError::ThisDevice { session, device }),
            (false, None) => Some(HandoffError::Offline { session, device }),
            (false, Some(_)) => None,
        };
        let files: Result<Vec<New>, Failure> =
            tree.files.iter().map(|(path, file)| New::read(path.clone(), file)).collect();
        let unsent = Unsent { files: files?, gone: Vec::new() };
        let costs = unsent.files.iter().map(|new| cost(new, None));
        let (bytes, chunks) = costs.fold((0, 0), |(bytes, chunks), (more, pieces)| (bytes + more, chunks + pieces));
        let listed = unsent.files.iter().any(|new| new.chunks.is_some());
        // OFFER, WANT, GRANT and HEAD; the manifest, lists, content.
        let messages = 2 + u32::from(bytes > 0) * 2 + u32::from(listed);
        Ok(Report {
            to: device.to_string(),
            refused: refused.as_ref().map(Refusal::of),
            at_least_us: link.map(|link| micros(link.at_least(messages, bytes))),
            ..Report::bare(name, bytes, chunks, &unsent, link)
        })
    }

    fn bare(name: String, bytes: u64, chunks: u64, unsent: &Unsent, link: Option<LinkInfo>) -> Report {
        Report {
            session: None,
            name,
            to: String::new(),
            refused: None,
            generation: link.map(|link| link.generation.name()),
            asks: true,
            parts: Vec::new(),
            bytes,
            chunks,
            held_bytes: 0,
            unsent_files: unsent.files.len(),
            unsent_bytes: unsent.files.iter().map(|new| new.len).sum(),
            unsent_removed: unsent.gone.len(),
            stays: Vec::new(),
            lacks: link.map(|link| link.lacks()).unwrap_or_default().into_iter().map(lacks).collect(),
            round_trip_us: link.map(|link| micros(link.round_trip)),
            bytes_per_second: link.map(|link| link.rate()),
            at_least_us: None,
        }
    }

    fn text(&self) -> String {
        let session = self.session.as_ref().map_or("a new session".to_owned(), |id| format!("session {id}"));
        let mut lines = vec![format!("{session} {:?} to {}; nothing was handed over", self.name, self.to)];
        match (&self.refused, self.asks) {
            (Some(Refusal { text, link, .. }), _) => {
                let link = link.as_ref().map(|code| format!(" ({code})")).unwrap_or_default();
                lines.push(format!("  refused   {text}{link}"));
            }
            (None, true) => lines.push("  begins    and asks the other device's user".to_owned()),
            (None, false) => lines.push("  begins    and asks nobody: the other device has consented".to_owned()),
        }
        lines.push(format!(
            "  moves     at most {} bytes in {} chunks; {} bytes are there already",
            self.bytes, self.chunks, self.held_bytes
        ));
        for Sum { kind, parts, bytes } in &self.parts {
            lines.push(format!("  part      {kind}: {parts} of {bytes} bytes"));
        }
        if self.unsent_files + self.unsent_removed > 0 {
            let (files, bytes, gone) = (self.unsent_files, self.unsent_bytes, self.unsent_removed);
            lines.push(format!("  unsent    {files} files of {bytes} bytes that the session lacks, {gone} removed"));
        }
        lines.extend(self.stays.iter().map(|what| format!("  stays     {what}")));
        lines.extend(self.lacks.iter().map(|what| format!("  lacks     {what}")));
        if let (Some(generation), Some(trip), Some(rate)) = (self.generation, self.round_trip_us, self.bytes_per_second)
        {
            lines.push(format!(
                "  link      generation {generation}, {trip} µs there and back, {rate} bytes/s at first"
            ));
        }
        lines.push(match self.at_least_us {
            Some(least) => {
                format!("  takes     at least {least} µs if all of that moves, without the user's answer and the disks")
            }
            None => "  takes     not known: that depends on the link, and there is none".to_owned(),
        });
        lines.join("\n")
    }
}

impl Refusal {
    fn of(error: &HandoffError) -> Refusal {
        Refusal { code: error.code().name(), text: error.to_string(), link: None }
    }
}

impl Sum {
    fn of(tally: &Tally) -> Sum {
        let kind = PartKind::from_number(tally.kind).map_or("unknown", PartKind::name);
        Sum { kind, parts: tally.parts.into(), bytes: tally.bytes }
    }
}

/// The bytes and chunks that a file of the directory costs, if the other device holds an older version.
fn cost(new: &New, old: Option<&PlannedFile>) -> (u64, u64) {
    let Some((chunks, list)) = &new.chunks else { return (new.len, u64::from(new.len > 0)) };
    let old: BTreeSet<_> = old.iter().flat_map(|old| &old.chunks).map(|chunk| (chunk.len, chunk.hash)).collect();
    let lacking = chunks.iter().filter(|chunk| !old.contains(&(chunk.len, chunk.hash)));
    lacking.fold((*list, 1), |(bytes, count), chunk| (bytes + u64::from(chunk.len), count + 1))
}

fn stays(what: &Stays) -> String {
    match what {
        Stays::Missing { path, len } => {
            format!(
                "{path}, {len} bytes, isn't on this device either; it stays with the device that holds it, and a device that needs it can't take the session from here"
            )
        }
        Stays::NotPicked { path, len } => {
            format!("{path}, {len} bytes, wasn't picked by the other device's user; it stays here")
        }
        Stays::SetAside { count } => {
            format!("{count} entries that a revoked device wrote after its cut; `segue aside` lists them")
        }
        Stays::Copies { count } => format!("{count} copies of the view state, written while another device owned"),
        other => format!("{other:?}"),
    }
}

fn lacks(what: Ability) -> &'static str {
    match what {
        Ability::Requests => "requests: no question appears there, its user has to pull the session",
        Ability::Resuming => "resuming: content that breaks off starts again, and a changed file comes whole",
        Ability::Consent => "consent in advance: its user is asked each time",
        Ability::Choice => "a choice of content: all of it comes",
        Ability::Service => "a service: none signs for it, nor introduces it to others",
        _ => "something that is newer than this text",
    }
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}
