//! Receipts of handoffs: writing one, and verifying one.

use std::path::Path;

use segue_quic::{DeviceId, Handed, Hash, PartKind, SessionId, SignedReceipt, Tally};
use serde::{Deserialize, Serialize};

use crate::args::{Owner, ReceiptCommand};
use crate::control::{self, Request};
use crate::device::{Device, require};
use crate::failure::{Exit, Failure};
use crate::terminal::say;

/// `segue owner --receipt FILE`; the process that has the state open is asked, if there is one.
pub(crate) async fn write(args: &Owner, file: &Path) -> Result<Exit, Failure> {
    require(&args.state.state)?;
    let hex = match Device::existing(&args.state).await {
        Ok(device) => {
            let hex = hex(&device, args.session, args.record).await;
            device.close().await;
            hex?
        }
        Err(error) => {
            let request = Request::Receipt { session: args.session, record: args.record };
            control::ask(&args.state.state, request).await.unwrap_or(Err(error))?
        }
    };
    let bytes = ::hex::decode(hex).unwrap_or_default();
    let receipt = SignedReceipt::verify(bytes).map_err(|why| {
        Failure::failed(format!("the process that has the state open gave no receipt that holds: {why}"))
    })?;
    std::fs::write(file, receipt.as_bytes()).map_err(Failure::io("write", file))?;
    say(told(receipt.handed()));
    Ok(Exit::Resolved)
}

/// `segue receipt`.
pub(crate) fn run(what: &ReceiptCommand) -> Result<Exit, Failure> {
    let ReceiptCommand::Verify { file, json } = what;
    let bytes = std::fs::read(file).map_err(Failure::io("read", file))?;
    let receipt = SignedReceipt::verify(bytes).map_err(|why| invalid(file, &why.to_string()))?;
    if *json {
        let proof = Proof::of(receipt.handed());
        say(serde_json::to_string_pretty(&proof).map_err(|error| Failure::failed(error.to_string()))?);
    } else {
        say(told(receipt.handed()));
    }
    Ok(Exit::Resolved)
}

/// A receipt in hexadecimal digits: of the only session and the last handoff, unless told otherwise.
pub(crate) async fn hex(device: &Device, session: Option<SessionId>, record: Option<Hash>) -> Result<String, Failure> {
    let session = match session {
        Some(session) => device.session(session).await?.id,
        None => only(device).await?,
    };
    let records = device.node.receipts(session).await?;
    let Some(record) = record.or(records.last().copied()) else { return Err(none(device, session).await?) };
    let receipt = device.node.receipt(session, record).await?.ok_or_else(|| {
        Failure::failed(format!(
            "no receipt of record {record} of session {session}: this device neither gave nor took that handoff, or the new owner hasn't confirmed it; the lines `receipt` of `segue owner` name the records of which there is one"
        ))
    })?;
    Ok(::hex::encode(receipt.as_bytes()))
}

/// Why this device has no receipt of a session.
async fn none(device: &Device, session: SessionId) -> Result<Failure, Failure> {
    let (view, me) = (device.session(session).await?, device.node.device());
    let bodies: Vec<_> = view.chain.iter().map(|record| record.body()).collect();
    let given =
        bodies.windows(2).rev().find(|pair| pair[0].owner == me && ![me, DeviceId::ZERO].contains(&pair[1].owner));
    Ok(Failure::failed(match given {
        Some([_, next]) if next.signer == next.owner || next.signer == me => format!(
            "this device keeps no receipt of how session {session} went from it to device {}; ask that device",
            next.owner
        ),
        Some([_, next]) => format!(
            "service {} signed that session {session} went from this device to device {}: what a receipt of that holds, such as that device's word that it has it, went to the service and not to this one, which keeps none. Device {} has one: `segue owner --receipt FILE --session {session}` there",
            next.signer, next.owner, next.owner
        ),
        _ => format!("this device neither gave nor took session {session}; ask a device that did"),
    }))
}

async fn only(device: &Device) -> Result<SessionId, Failure> {
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
        let amounts = tallies.iter().map(Amount::of).map(|amount| format!("  {what:9} {}, says {by}", amount.text()));
        lines.extend(amounts);
    }
    lines.join("\n")
}

/// What a receipt proves.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Proof {
    session: String,
    source: String,
    target: String,
    pub(crate) record: String,
    term: u64,
    n: u64,
    root: String,
    manifest: String,
    /// Who says what moved and what stayed.
    by: String,
    moved: Vec<Amount>,
    stayed: Vec<Amount>,
}

impl Proof {
    pub(crate) fn of(handed: &Handed) -> Proof {
        let amounts = |of: &[Tally]| of.iter().map(Amount::of).collect();
        Proof {
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
        }
    }

    /// What moved and what stayed, in a line.
    pub(crate) fn amounts(&self) -> String {
        let list = |of: &[Amount]| match of {
            [] => "nothing".to_owned(),
            of => of.iter().map(Amount::text).collect::<Vec<_>>().join("; "),
        };
        format!("moved {}, stayed {}", list(&self.moved), list(&self.stayed))
    }
}

#[derive(Debug, Serialize, Deserialize)]
struct Amount {
    kind: String,
    parts: u32,
    bytes: u64,
}

impl Amount {
    fn of(tally: &Tally) -> Amount {
        let kind =
            PartKind::from_number(tally.kind).map_or_else(|| tally.kind.to_string(), |kind| kind.name().to_owned());
        Amount { kind, parts: tally.parts, bytes: tally.bytes }
    }

    fn text(&self) -> String {
        let Amount { kind, parts, bytes } = self;
        let parts = if *parts == 1 { "1 part".to_owned() } else { format!("{parts} parts") };
        format!("{parts} of kind {kind}, {bytes} bytes")
    }
}
