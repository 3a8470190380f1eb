//! `segue delegate` and `segue reclaim`: who signs the next record of a session.

use segue_quic::Code;

use crate::alarms::Alarms;
use crate::args::Delegate;
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
    let timeout = args.at.patience.timeout;
    let device = Device::open(&args.at.state, |builder| builder.handoff_timeout(timeout)).await?;
    let mut alarms = Alarms::default();
    let done = alarms.beside(&device.node, ask(&device, &mut args, away)).await;
    device.close().await;
    alarms.rest(&device.node).await;
    done.map(|()| Exit::Resolved)
}

async fn ask(device: &Device, args: &mut Delegate, away: bool) -> Result<(), Failure> {
    let (service, session) = (args.at.service.look_up(&device.node).await?, args.session);
    args.at.service.token.give(&device.node, service).await?;
    let view = device.session(session).await?;
    let addr = resolve(&args.at.service.mailbox).await?;
    if away {
        device.node.delegate(session, addr, service).await?;
        say(format_args!("device {service} signs who owns session {session} {:?} next", view.name));
    } else {
        device.node.use_mailbox(addr, service).await?;
        device.node.reclaim(session).await.map_err(|error| {
            // What it answers in earnest, such as that the session has moved, is no sign that it is gone.
            let gone = matches!(error, segue_quic::Error::Delegation { code, .. } if SILENT.contains(&code));
            let mut failure = Failure::from(error);
            if gone {
                let state = args.at.state.state.display();
                failure.text += &format!(
                    "; if the service is gone for good, or its store was put back, `segue takeover --state {state} {session}` does without it, and fences whoever it let own the session meanwhile"
                );
            }
            failure
        })?;
        say(format_args!("this device signs who owns session {session} {:?} next", view.name));
    }
    Ok(())
}

/// What is heard of a service that may be gone for good.
const SILENT: [Code; 4] = [Code::HO_PENDING, Code::HO_TIMEOUT, Code::SERVICE_NONE, Code::STORE_ROLLED_BACK];
