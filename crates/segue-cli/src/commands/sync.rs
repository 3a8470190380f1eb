//! `segue sync`: exchanges everything with a mailbox.

use crate::args::{Mailbox, Sync};
use crate::device::{Device, resolve};
use crate::failure::{Exit, Failure};
use crate::flow::{Flow, Way};
use crate::terminal::{note, say};
use crate::who::Who;

use std::time::{Duration, Instant};

use segue_quic::{Code, DeviceId, Event, Node};

/// Runs until everything is exchanged.
pub(crate) async fn run(mut args: Sync) -> Result<Exit, Failure> {
    let device = Device::open(&args.state, |builder| {
        args.from.iter().filter_map(Who::known).fold(builder.follow(true), segue_quic::Builder::trust)
    });
    let mut device = device.await?;
    let done = exchange(&mut device, &mut args).await;
    device.close().await;
    done.map(|()| Exit::Resolved)
}

async fn exchange(device: &mut Device, args: &mut Sync) -> Result<(), Failure> {
    for who in &mut args.from {
        who.look_up(&device.node).await?;
        device.node.trust(who.id()).await?;
    }
    // What is in the directories by now goes with the rest.
    bring_together(device).await?;
    let mailbox = start(&device.node, &mut args.mailbox).await?;
    let Some(mailbox) = mailbox else {
        return Err(Failure::usage("name the mailbox: --mailbox ADDR --mailbox-device ID"));
    };
    let patience = args.patience.timeout;
    let mut flow = Flow::new(&device.node, None, Way::In);
    let exchanged = async {
        tokio::select! {
            done = settled(&device.node, mailbox, patience, Some(&mut flow)) => done,
            failure = trouble(&device.node) => Err(failure),
        }
    };
    let done = tokio::time::timeout(patience, exchanged).await;
    flow.finish();
    match done {
        Ok(Err(failure)) => return Err(failure),
        Ok(Ok(true)) => {}
        Ok(Ok(false)) | Err(_) => {
            let secs = patience.as_secs();
            if let (0, Some((address, _))) = (device.node.stats().await?.links, args.mailbox.named()) {
                return Err(Failure::failed(format!(
                    "mailbox {mailbox} wasn't reached at {address} within {secs} s; check --mailbox and --mailbox-device, and that `segue serve` runs there; the same command goes on"
                )));
            }
            return Err(Failure::failed(format!("not all was exchanged within {secs} s; the same command goes on")));
        }
    }
    bring_together(device).await?;
    let sessions = device.node.sessions().await?;
    say(format_args!("exchanged {} sessions with mailbox {mailbox}", sessions.len()));
    for view in sessions {
        say(format_args!("session {} {:?} root {}", view.id, view.name, view.root));
    }
    Ok(())
}

/// Brings the sessions and their directories together.
async fn bring_together(device: &mut Device) -> Result<(), Failure> {
    let aside = device.reconcile_all().await?;
    aside.iter().for_each(|path| note(format_args!("kept what you had changed as {path}")));
    Ok(())
}

/// Uses the mailbox that the command line names, if it names one.
pub(crate) async fn start(node: &Node, mailbox: &mut Mailbox) -> Result<Option<DeviceId>, Failure> {
    mailbox.look_up(node).await?;
    let Some((address, service)) = mailbox.named() else { return Ok(None) };
    node.use_mailbox(resolve(address).await?, service).await?;
    Ok(Some(service))
}

/// Waits until everything is exchanged with a mailbox; false if nothing of it moved for as long as `patience`.
pub(crate) async fn settled(
    node: &Node,
    mailbox: DeviceId,
    patience: Duration,
    mut flow: Option<&mut Flow>,
) -> Result<bool, Failure> {
    let mut exchanged = std::pin::pin!(node.exchanged(mailbox));
    let mut ticks = tokio::time::interval(TICK);
    let (mut before, mut since) = (None, Instant::now());
    loop {
        tokio::select! {
            biased;
            done = &mut exchanged => {
                if let Some(flow) = &mut flow {
                    flow.look().await?;
                }
                return done.map(|()| true).map_err(Failure::from);
            }
            _ = ticks.tick() => {
                let stats = node.stats().await?;
                if let Some(flow) = &mut flow {
                    flow.look().await?;
                }
                let content = (stats.mailed_tx, stats.mailed_rx, stats.bulk_tx, stats.bulk_rx);
                let now = (content, stats.control_rx);
                if before.replace(now) != Some(now) {
                    since = Instant::now();
                } else if since.elapsed() >= patience {
                    return Ok(false);
                }
            }
        }
    }
}

/// Tells what goes wrong, until nothing can go right any more.
pub(crate) async fn trouble(node: &Node) -> Failure {
    loop {
        match node.next_event().await {
            // How the login ended says more.
            Some(Event::Refused { code: Code::SVC_LOGIN, .. }) => {}
            Some(Event::Login { service, result: Err(code) }) if code != Code::LINK_LOST => {
                note(format_args!("service {service}: {}", code.meaning()));
            }
            Some(Event::Refused { peer, code, clause, .. }) => {
                let clause = clause.map(|clause| format!(" ({clause})")).unwrap_or_default();
                note(format_args!("device {peer}: {}{clause}", code.meaning()));
            }
            Some(Event::Unlinked { peer: Some(peer), code, .. }) => {
                note(format_args!("no link with {peer}: {}; dialling again", code.meaning()));
            }
            Some(Event::Halted { text }) => return Failure::failed(text),
            Some(_) => {}
            None => return segue_quic::Error::Stopped.into(),
        }
    }
}

/// How often what moves is looked at.
const TICK: Duration = Duration::from_millis(100);
