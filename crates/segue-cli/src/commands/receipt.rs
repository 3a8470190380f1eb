//! Receipts of handoffs: writing one, and verifying one.

use std::path::Path;

use segue_quic::{Handed, PartKind, SessionId, SignedReceipt};
use serde::Serialize;

use crate::args::{Owner, ReceiptCommand};
use crate::device::Device;
use crate::failure::{Exit, Failure};
use crate::terminal::say;

/// `segue owner --receipt FILE`.
pub(crate) async fn write(args: &Owner) -> Result<Exit, Failure> {
    let Some(file) = &args.receipt else { return Ok(Exit::Usage) };
    let device = Device::existing(&args.state).await?;
    let done = give(&device, args).await;
    device.close().await;
    let receipt = done?;
    std::fs::write(file, receipt.as_bytes()).map_err(Failure::io("write", file))?;
    say(told(receipt.handed()).trim_end());
    Ok(Exit::Resolved)
}

/// `segue receipt`.
pub(crate) fn run(what: &ReceiptCommand) -> Result<Exit, Failure> {
    let ReceiptCommand::Verify { file, json } = what;
    let bytes = std::fs::read(file).map_err(Failure::io("read", file))?;
    let receipt = SignedReceipt::verify(bytes).map_err(|why| invalid(file, &why.to_string()))?;
    match json {
        true => say(as_json(receipt.handed())?),
        false => say(told(receipt.handed()).trim_end()),
    }
    Ok(Exit::Resolved)
}

async fn give(device: &Device, args: &Owner) -> Result<SignedReceipt, Failure> {
    let session = session(device, args).await?;
    let records = device.node.receipts(session).await?;
    let record = args.record.or(records.last().copied()).ok_or_else(|| {
        Failure::failed(format!(
            "session {session} was never handed over to or by this device; ask a device that gave or took it"
        ))
    })?;
    let none = || {
        Failure::failed(format!(
            "no receipt of record {record} of session {session}: this device neither gave nor took that handoff, or the new owner hasn't confirmed it; the lines `chain` of `segue owner` name the records"
        ))
    };
    device.node.receipt(session, record).await?.ok_or_else(none)
}

async fn session(device: &Device, args: &Owner) -> Result<SessionId, Failure> {
    if let Some(session) = args.session {
        return device.session(session).await.map(|view| view.id);
    }
    let sessions = device.node.sessions().await?;
    match sessions.as_slice() {
        [only] => Ok(only.id),
        [] => Err(Failure::failed("this device has no session, so there is nothing to give a receipt of")),
        _ => Err(Failure::usage(
            "this device has several sessions; choose one by --session, as `segue owner` lists them",
        )),
    }
}

fn invalid(file: &Path, why: &str) -> Failure {
    Failure::failed(format!(
        "{} is no receipt that holds: {why}; get it again from a device that gave or took the session",
        file.display()
    ))
}

fn told(handed: &Handed) -> String {
    let mut lines = vec![
        format!("session {} went from", handed.session),
        format!("  device {} to", handed.source),
        format!("  device {}, which confirmed it", handed.target),
        format!("  by record {}, epoch {}.{}", handed.record, handed.term, handed.n),
        format!("  data      root {}", handed.root),
    ];
    lines.extend(handed.chain.iter().map(|(record, owner)| format!("  chain     {owner} by record {record}")));
    let by = if handed.by == handed.source { "the old owner" } else { "the new owner" };
    for (what, tallies) in [("moved", &handed.moved), ("stayed", &handed.left)] {
        lines.extend(tallies.iter().map(|tally| {
            format!("  {what:9} {} of kind {}, {} bytes, says {by}", parts(tally.parts), kind(tally.kind), tally.bytes)
        }));
    }
    lines.join("\n")
}

fn parts(count: u32) -> String {
    if count == 1 { "1 part".to_owned() } else { format!("{count} parts") }
}

fn kind(number: u16) -> String {
    match PartKind::from_number(number) {
        Some(kind) => kind.name().to_owned(),
        None => number.to_string(),
    }
}

#[derive(Serialize)]
struct Proof {
    session: String,
    source: String,
    target: String,
    record: String,
    term: u64,
    n: u64,
    root: String,
    manifest: String,
    by: String,
    moved: Vec<Amount>,
    stayed: Vec<Amount>,
}

#[derive(Serialize)]
struct Amount {
    kind: String,
    parts: u32,
    bytes: u64,
}

fn as_json(handed: &Handed) -> Result<String, Failure> {
    let amounts = |of: &[segue_proto::wire::Tally]| {
        of.iter().map(|tally| Amount { kind: kind(tally.kind), parts: tally.parts, bytes: tally.bytes }).collect()
    };
    let proof = Proof {
        session: handed.session.to_string(),
        source: handed.source.to_string(),
        target: handed.target.to_string(),
        record: handed.record.to_string(),
        term: handed.term,
        n: handed.n,
        root: handed.root.to_string(),
        manifest: handed.manifest.to_string(),
        by: handed.by.to_string(),
        moved: amounts(&handed.moved),
        stayed: amounts(&handed.left),
    };
    serde_json::to_string_pretty(&proof).map_err(|error| Failure::failed(error.to_string()))
}
