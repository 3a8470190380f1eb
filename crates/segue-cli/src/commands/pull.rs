//! `segue pull`: asks the owner to hand a session over.

use std::collections::BTreeSet;
use std::time::Duration;

use segue_quic::{Event, SessionId, SessionRole, SessionView};

use crate::args::{Pull, Which};
use crate::commands::receive::place::place_for;
use crate::device::{Device, resolve};
use crate::failure::{Exit, Failure};
use crate::index::Note;
use crate::terminal::{note, say};
use crate::watch::{Watch, Way};

/// Asks, and waits until this device owns the session and its directory shows it.
pub(crate) async fn run(mut args: Pull) -> Result<Exit, Failure> {
    // It only dials, so nobody links whom the user didn't name.
    let mut device = Device::open(&args.state, |builder| builder.accept_unknown(true)).await?;
    let done = match args.device.look_up(&device.node).await {
        Ok(()) => pull(&mut device, &args).await,
        Err(failure) => Err(failure),
    };
    device.close().await;
    done.map(|()| Exit::Resolved)
}

async fn pull(device: &mut Device, args: &Pull) -> Result<(), Failure> {
    if args.device.id() == device.node.device() {
        return Err(Failure::failed("--device names this device; name the one that owns the session"));
    }
    std::fs::create_dir_all(&args.into).map_err(Failure::io("make the directory", &args.into))?;
    let address = resolve(&args.from).await?;
    device.node.connect(address, args.device.id()).await?;
    let session = match &args.session {
        Which::Id(session) => *session,
        Which::Name(name) => find(device, args, name).await?,
    };
    let known = device.node.session(session).await?;
    if let Some(view) = known.filter(|view| view.role == SessionRole::Primary) {
        finish(device, args, &view, "by an earlier run of this command").await?;
        acknowledge_again(device, args).await;
        return Ok(());
    }
    let watch = Watch {
        node: &device.node,
        session,
        peer: args.device.id(),
        address: &args.from,
        patience: args.patience.timeout,
        way: Way::In,
    };
    let moved = watch.call(watch.node.request_handoff(session, args.device.id())).await?;
    let view = device.session(session).await?;
    finish(device, args, &view, &moved.throughput).await
}

/// The session of this name: one that is here, or that its owner tells of.
async fn find(device: &Device, args: &Pull, name: &str) -> Result<SessionId, Failure> {
    let here = device.node.sessions().await?.into_iter().filter(|view| view.name == name && !view.closed);
    match here.map(|view| view.id).collect::<Vec<_>>().as_slice() {
        [] => {}
        [one] => return Ok(*one),
        several => return Err(ambiguous(name, several)),
    }
    let owner = args.device.id();
    let told = async {
        let mut found = BTreeSet::new();
        loop {
            // All that it has to tell is told as the link begins; what is begun then is told at once.
            let next = tokio::time::timeout(MOMENT, device.node.next_event()).await;
            match next {
                Err(_) if !found.is_empty() => return Ok(found.into_iter().collect::<Vec<_>>()),
                Err(_) => {}
                Ok(Some(Event::Told { session, from, name: told })) if from == owner && told == name => {
                    found.insert(session);
                }
                Ok(Some(Event::Unlinked { peer: Some(peer), code, .. })) if peer == owner => {
                    note(format_args!("no link with {peer}: {}; dialling again", code.meaning()));
                }
                Ok(Some(Event::Halted { text })) => return Err(Failure::failed(text)),
                Ok(Some(_)) => {}
                Ok(None) => return Err(segue_quic::Error::Stopped.into()),
            }
        }
    };
    let found = tokio::time::timeout(args.patience.timeout, told).await.map_err(|_| {
        Failure::failed(format!(
            "device {owner} at {} didn't tell of a session {name:?}: it tells devices of its account alone; `segue owner` there prints the ids of its sessions",
            args.from
        ))
    })??;
    match found.as_slice() {
        [one] => Ok(*one),
        several => Err(ambiguous(name, several)),
    }
}

fn ambiguous(name: &str, sessions: &[SessionId]) -> Failure {
    let ids: Vec<_> = sessions.iter().map(ToString::to_string).collect();
    Failure::failed(format!("several sessions are called {name:?}; name one by its id: {}", ids.join(", ")))
}

/// Writes the session into its directory.
async fn finish(device: &mut Device, args: &Pull, view: &SessionView, how: &str) -> Result<(), Failure> {
    let directory = place_for(device, view, &args.into)?;
    let from = args.device.id();
    device.index.change(&view.id, |place| place.note = Some(Note::Receiving { from }))?;
    if let Some(written) = device.materialize(view).await? {
        written.aside.iter().for_each(|path| note(format_args!("kept what you had changed as {path}")));
    }
    let (session, name, directory) = (view.id, &view.name, directory.display());
    say(format_args!("this device owns session {session} {name:?} in {directory}, {how}; record {}", view.head));
    device.index.change(&view.id, |place| place.note = None)
}

/// A run that was killed may have died before the old owner knew. It sends its GRANT again as soon as there is a link,
/// and is answered; that takes a moment, and if it doesn't happen now it does at the next link.
async fn acknowledge_again(device: &Device, args: &Pull) {
    let heard = async {
        device.node.linked(args.device.id()).await.ok()?;
        tokio::time::sleep(MOMENT).await;
        Some(())
    };
    let _ = tokio::time::timeout(args.patience.timeout.min(LINK), heard).await;
}

/// Some round trips.
const MOMENT: Duration = Duration::from_millis(500);
/// How long a link is waited for that is only a courtesy.
const LINK: Duration = Duration::from_secs(5);
