//! `segue login`: logs in at a service, or asks under which account it knows this device.

use segue_quic::{DeviceId, Event, Node};

use crate::alarms::Alarms;
use crate::args::Login;
use crate::commands::sync::{another, is_another};
use crate::device::{Device, resolve};
use crate::failure::{Exit, Failure};
use crate::terminal::say;

/// Runs until the service has answered.
pub(crate) async fn run(mut args: Login) -> Result<Exit, Failure> {
    let timeout = args.patience.timeout;
    let device = Device::open(&args.state, |builder| builder.handoff_timeout(timeout)).await?;
    let mut alarms = Alarms::default();
    let done = ask(&device, &mut args, &mut alarms).await;
    device.close().await;
    alarms.rest(&device.node).await;
    done.map(|()| Exit::Resolved)
}

async fn ask(device: &Device, args: &mut Login, alarms: &mut Alarms) -> Result<(), Failure> {
    let service = args.service.look_up(&device.node).await?;
    let token = args.service.token.read(service)?.unwrap_or_default();
    let address = args.service.mailbox.as_str();
    device.node.use_mailbox(resolve(address).await?, service).await?;
    let login = tokio::select! {
        login = device.node.login(service, token) => login?,
        failure = elsewhere(&device.node, address, service, alarms) => return Err(failure),
    };
    match &login.account {
        Some(account) => say(format_args!("service {service} lets this device in under account {account:?}")),
        None => say(format_args!("service {service} demands no account")),
    }
    say(format_args!("handing over by way of it is {}", if login.handoff { "on" } else { "off" }));
    say(format_args!("room for {} more bytes", login.free));
    if let Some(left) = login.ends_in {
        say(format_args!("log in with a new token within {} s", left.as_secs()));
    }
    Ok(())
}

/// Waits until another device answers where the service was dialled, and tells what is to be known.
async fn elsewhere(node: &Node, address: &str, service: DeviceId, alarms: &mut Alarms) -> Failure {
    loop {
        match alarms.told(node.next_event().await) {
            Some(Event::Unlinked { peer: Some(peer), code, remote, .. })
                if is_another((peer, code, remote), service) =>
            {
                return another(address, service);
            }
            Some(_) => {}
            None => return segue_quic::Error::Stopped.into(),
        }
    }
}
