//! `segue pull`: asks the owner to hand a session over.

use std::time::Duration;

use segue_quic::{SessionRole, SessionView};

use crate::args::Pull;
use crate::commands::receive::place::place_for;
use crate::device::{Device, resolve};
use crate::failure::{Exit, Failure};
use crate::index::Note;
use crate::terminal::{note, say};
use crate::watch::{Watch, Way};

/// Asks, and waits until this device owns the session and its directory shows it.
pub(crate) async fn run(mut args: Pull) -> Result<Exit, Failure> {
    // It only dials, so nobody links whom the user didn't name.
    let way = args.from.is_none();
    let mut device = Device::open(&args.state, |builder| builder.accept_unknown(true).follow(way)).await?;
    let done = match args.device.look_up(&device.node).await {
        Ok(()) => pull(&mut device, &mut args).await,
        Err(failure) => Err(failure),
    };
    device.close().await;
    done.map(|()| Exit::Resolved)
}

async fn pull(device: &mut Device, args: &mut Pull) -> Result<(), Failure> {
    if args.device.id() == device.node.device() {
        return Err(Failure::failed("--device names this device; name the one that owns the session"));
    }
    std::fs::create_dir_all(&args.into).map_err(Failure::io("make the directory", &args.into))?;
    match &args.from {
        Some(from) => device.node.connect(resolve(from).await?, args.device.id()).await?,
        None => {
            device.node.trust(args.device.id()).await?;
            super::delegate::way(device, &mut args.mailbox, args.patience.timeout).await?;
        }
    }
    let known = device.node.session(args.session).await?;
    if let Some(view) = known.filter(|view| view.role == SessionRole::Primary) {
        finish(device, args, &view, "by an earlier run of this command").await?;
        acknowledge_again(device, args).await;
        return Ok(());
    }
    let watch = Watch {
        node: &device.node,
        session: args.session,
        peer: args.device.id(),
        address: args.from.as_deref().or(args.mailbox.mailbox.as_deref()).unwrap_or_default(),
        patience: args.patience.timeout,
        way: Way::In,
    };
    let moved = watch.call(watch.node.request_handoff(args.session, args.device.id())).await?;
    let view = device.session(args.session).await?;
    finish(device, args, &view, &moved.throughput).await
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
