//! `segue delegate` and `segue reclaim`: who signs the next record of a session.

use std::net::SocketAddr;

use segue_quic::DeviceId;

use crate::args::{Delegate, Mailbox};
use crate::commands::sync;
use crate::device::{Device, resolve};
use crate::failure::{Exit, Failure};
use crate::terminal::say;

/// Has the service sign from now on.
pub(crate) async fn delegate(args: Delegate) -> Result<Exit, Failure> {
    change(args, true).await
}

/// Has this device sign again.
pub(crate) async fn reclaim(args: Delegate) -> Result<Exit, Failure> {
    change(args, false).await
}

async fn change(mut args: Delegate, away: bool) -> Result<Exit, Failure> {
    let timeout = args.patience.timeout;
    let device = Device::open(&args.state, |builder| builder.handoff_timeout(timeout)).await?;
    let done = ask(&device, &mut args, away).await;
    device.close().await;
    done.map(|()| Exit::Resolved)
}

async fn ask(device: &Device, args: &mut Delegate, away: bool) -> Result<(), Failure> {
    args.mailbox_device.look_up(&device.node).await?;
    let (service, session) = (args.mailbox_device.id(), args.session);
    let view = device.session(session).await?;
    let addr = resolve(&args.mailbox).await?;
    if away {
        device.node.delegate(session, addr, service).await?;
        say(format_args!("device {service} signs who owns session {session} {:?} next", view.name));
    } else {
        device.node.use_mailbox(addr, service).await?;
        device.node.reclaim(session).await?;
        say(format_args!("this device signs who owns session {session} {:?} next", view.name));
    }
    Ok(())
}

/// The service by way of which a session goes to a device that isn't met, once this device has exchanged all with it.
pub(crate) async fn way(
    device: &Device,
    mailbox: &mut Mailbox,
    patience: std::time::Duration,
) -> Result<(SocketAddr, DeviceId), Failure> {
    let service = sync::start(&device.node, mailbox).await?;
    let (Some(service), Some(address)) = (service, &mailbox.mailbox) else {
        return Err(Failure::usage(
            "name the other device's address, or a service: --mailbox ADDR --mailbox-device ID",
        ));
    };
    match tokio::time::timeout(patience, device.node.exchanged(service)).await {
        Ok(done) => done?,
        Err(_) => {
            let secs = patience.as_secs();
            return Err(Failure::failed(format!(
                "not all was exchanged with {address} within {secs} s; the same command goes on"
            )));
        }
    }
    Ok((resolve(address).await?, service))
}
