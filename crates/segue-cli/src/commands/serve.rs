//! `segue serve`: hosts a mailbox.

use segue_quic::{Event, Hosted, Instant, MailboxHost, Message, Ticket};
use segue_service::{Quota, Service, Store};

use crate::args::Serve;
use crate::device::{self, Device};
use crate::failure::{Exit, Failure};
use crate::terminal::{Interrupt, say};
use crate::who::Who;

/// Runs until it is interrupted.
pub(crate) async fn run(mut args: Serve) -> Result<Exit, Failure> {
    let mut interrupt = Interrupt::open()?;
    let dir = device::make(&args.state.state)?;
    let store = Store::open(&dir).map_err(|failed| {
        let dir = dir.display();
        Failure::failed(format!("{failed}; check the disk, and that no other process serves from {dir}"))
    })?;
    let quota = Quota {
        bytes: args.space.unwrap_or(Quota::default().bytes),
        box_bytes: args.box_space.unwrap_or(Quota::default().box_bytes),
        device_bytes: args.device_space.unwrap_or(Quota::default().device_bytes),
        ..Quota::default()
    };
    let host = Host { service: Service::new(store, quota) };
    let set = |builder: segue_quic::Builder| {
        let builder = builder.listen(args.listen).accept_unknown(args.only.is_empty()).host_mailbox(host);
        args.only.iter().filter_map(Who::known).fold(builder, segue_quic::Builder::trust)
    };
    let device = Device::open(&args.state, set).await?;
    let looked_up = look_up(&device, &mut args.only).await;
    if looked_up.is_ok() {
        say(format_args!("listening on {}", device.node.local_addr().unwrap_or(args.listen)));
        say(format_args!("device {}", device.node.device()));
        tracing::info!(space = quota.bytes, only = args.only.len(), "serving");
    }
    let done = match looked_up {
        Ok(()) => tokio::select! {
            done = report(&device) => done,
            () = interrupt.next() => Ok(()),
        },
        Err(failure) => Err(failure),
    };
    device.close().await;
    done.map(|()| Exit::Resolved)
}

async fn look_up(device: &Device, only: &mut [Who]) -> Result<(), Failure> {
    for who in only {
        who.look_up(&device.node).await?;
        device.node.trust(who.id()).await?;
    }
    Ok(())
}

/// Logs what happens, until the node halts.
async fn report(device: &Device) -> Result<(), Failure> {
    loop {
        match device.node.next_event().await {
            Some(Event::Linked { peer, .. }) => tracing::info!(?peer, "linked"),
            Some(Event::Unlinked { peer, code, remote, .. }) => tracing::info!(?peer, ?code, remote, "unlinked"),
            Some(Event::Refused { peer, code, .. }) => tracing::warn!(?peer, ?code, "refused"),
            Some(Event::Halted { text }) => return Err(Failure::failed(text)),
            Some(_) => {}
            None => return Err(segue_quic::Error::Stopped.into()),
        }
    }
}

/// The service, as a node hosts it.
struct Host {
    service: Service<Store>,
}

impl MailboxHost for Host {
    fn handle(&mut self, now: Instant, came: Vec<Hosted>) -> Result<Vec<(Ticket, Message)>, String> {
        let before = self.service.counts().refused;
        let answers = self.service.handle(now, came).map_err(|failed| failed.to_string())?;
        let counts = self.service.counts();
        if counts.refused > before {
            tracing::warn!(refused = counts.refused - before, "envelopes refused: no room, or too fast");
        }
        tracing::debug!(counts.put, counts.given, "served");
        Ok(answers)
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        let counts = self.service.counts();
        tracing::info!(counts.put, counts.given, counts.refused, "the mailbox is closed");
    }
}
