//! `segue delegate` and `segue reclaim`: who signs the next record of a session.

use segue_quic::{Code, DeviceId, SessionId};

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
    let me = device.node.device();
    // What it is for: a service that signs is the one to ask.
    if let Some(grantor) = view.grantor.filter(|grantor| ![me, service].contains(grantor) && view.owner == Some(me)) {
        return Err(other_signs(
            session,
            grantor,
            if away { "and `segue reclaim` the session there first" } else { "to have it leave that to this device" },
        ));
    }
    let done = if away { service } else { me };
    let is_done = view.owner == Some(me) && view.grantor == Some(done);
    if !is_done {
        change_grantor(device, args, away, service).await?;
    }
    let (who, already) = (
        if away { format!("device {service}") } else { "this device".to_owned() },
        if is_done { " already" } else { "" },
    );
    say(format_args!("{who} signs who owns session {session} {:?} next{already}", view.name));
    Ok(())
}

async fn change_grantor(device: &Device, args: &Delegate, away: bool, service: DeviceId) -> Result<(), Failure> {
    let (addr, session) = (resolve(&args.at.service.mailbox).await?, args.session);
    if away {
        return Ok(device.node.delegate(session, addr, service).await?);
    }
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
    })
}

/// Another service than the one that was named signs for the session.
fn other_signs(session: SessionId, grantor: DeviceId, what: &str) -> Failure {
    Failure::failed(format!(
        "service {grantor} signs who owns session {session} next; name it with --mailbox ADDR --mailbox-device {grantor}, {what}"
    ))
}

/// What is heard of a service that may be gone for good.
const SILENT: [Code; 4] = [Code::HO_PENDING, Code::HO_TIMEOUT, Code::SERVICE_NONE, Code::STORE_ROLLED_BACK];
