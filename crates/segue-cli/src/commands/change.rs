//! `segue takeover` and `segue close`: changes of one session that ask nobody.

use segue_quic::{SessionRole, SessionView};

use crate::args::One;
use crate::control::{self, Request};
use crate::device::Device;
use crate::failure::{Exit, Failure};
use crate::terminal::say;

/// Makes this device the owner.
pub(crate) async fn takeover(args: &One) -> Result<Exit, Failure> {
    run(args, Request::Takeover(args.session)).await
}

/// Ends the session.
pub(crate) async fn close(args: &One) -> Result<Exit, Failure> {
    run(args, Request::Close(args.session)).await
}

async fn run(args: &One, request: Request) -> Result<Exit, Failure> {
    let done = match Device::existing(&args.state).await {
        Ok(mut device) => {
            let done = change(&mut device, request).await;
            device.close().await;
            done?
        }
        Err(error) => control::ask(&args.state.state, request).await.unwrap_or(Err(error))?,
    };
    say(done);
    Ok(Exit::Resolved)
}

/// Carries out a takeover or a close; what to tell the user.
pub(crate) async fn change(device: &mut Device, request: Request) -> Result<String, Failure> {
    match request {
        Request::Takeover(session) => {
            let before = device.session(session).await?;
            refuse_closed(&before)?;
            // One that delegated has a service that it may have to do without.
            if before.role == SessionRole::Primary && before.grantor == Some(device.node.device()) {
                return Err(Failure::failed(format!("this device owns session {session} already")));
            }
            device.node.takeover(session).await?;
            let view = device.session(session).await?;
            // Its directory shows what this device knew last, and what the user did to it since.
            device.index.change(&session, |place| (place.applied, place.note) = (Some(view.head), None))?;
            let (name, term, n) = (&view.name, view.term, view.n);
            Ok(format!("this device owns session {session} {name:?} since epoch {term}.{n}, by a takeover"))
        }
        Request::Close(session) => {
            let before = device.session(session).await?;
            refuse_closed(&before)?;
            device.node.close(session).await?;
            Ok(format!("session {session} {:?} is closed", before.name))
        }
        _ => Err(Failure::failed("that isn't a change of a session")),
    }
}

fn refuse_closed(view: &SessionView) -> Result<(), Failure> {
    match view.closed {
        true => Err(Failure::failed(format!("session {} is closed, for good", view.id))),
        false => Ok(()),
    }
}
