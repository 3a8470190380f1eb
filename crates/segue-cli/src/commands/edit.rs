//! `segue edit`: a text that several devices write at once, in the terminal.

use std::collections::BTreeMap;
use std::io::IsTerminal;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use segue_quic::{Builder, DeviceId, Event, Node, SessionId, SessionView};
use tokio::task::{JoinHandle, block_in_place};

use crate::alarms::Alarms;
use crate::args::Edit;
use crate::commands::{conflicts, devices, receipt};
use crate::control::{Control, Request};
use crate::device::{Device, resolve};
use crate::edit;
use crate::edit::console::Screen;
use crate::edit::on_node;
use crate::failure::{Exit, Failure};
use crate::owner;
use crate::terminal::{Interrupt, note, say};
use crate::who::Who;

/// Edits until the user quits.
pub(crate) async fn run(mut args: Edit) -> Result<Exit, Failure> {
    check(&args)?;
    let listen = args.listen;
    let known: Vec<DeviceId> = args.device.iter().filter_map(Who::known).collect();
    let set = |builder: Builder| {
        let builder = listen.into_iter().fold(builder, Builder::listen);
        known.into_iter().fold(builder, Builder::trust)
    };
    let device = Arc::new(Device::open(&args.state, set).await?);
    let done = edit(&device, &mut args).await;
    device.close().await;
    done.map(|()| Exit::Resolved)
}

/// Says what is wrong before anything is opened.
fn check(args: &Edit) -> Result<(), Failure> {
    if args.to.len() > args.device.len() {
        return Err(Failure::usage(
            "each --to needs a --device: the first --to is the address of the first --device, and so on",
        ));
    }
    if !std::io::stdin().is_terminal() || !std::io::stdout().is_terminal() {
        return Err(Failure::failed(
            "the editor needs a terminal: run it with standard input and output left as they are",
        ));
    }
    Ok(())
}

async fn edit(device: &Arc<Device>, args: &mut Edit) -> Result<(), Failure> {
    let mut interrupt = Interrupt::open()?;
    let ready = tokio::select! {
        ready = prepare(device, args) => ready?,
        () = interrupt.next() => return Err(Failure::failed("interrupted; nothing was edited")),
    };
    let names = names(&device.node).await?;
    let (session, carrier, document) = on_node::open(&device.node, ready.id, &ready.name, names).await?;
    let screen = Screen::open().map_err(|error| Failure::failed(format!("can't use the terminal: {error}")))?;
    let over = screen.over();
    let carrier = tokio::spawn(carrier.run());
    let beside = [
        tokio::spawn(answer(device.clone())),
        tokio::spawn(async move {
            interrupt.next().await;
            over.store(true, Ordering::Relaxed);
        }),
    ];
    let done = block_in_place(|| edit::run(screen, session, document, &hint(device, &ready, args)));
    beside.iter().for_each(JoinHandle::abort);
    // It ends once all is saved, for the editor's end is gone.
    let broke_off = |error| (Err(Failure::failed(format!("the editor broke off: {error}"))), Vec::new());
    let (saved, alarms) = carrier.await.unwrap_or_else(broke_off);
    alarms.iter().for_each(note);
    done.map_err(|error| Failure::failed(format!("the terminal failed: {error}")))?;
    saved
}

/// What the status line says until the first key.
fn hint(device: &Device, view: &SessionView, args: &Edit) -> String {
    let listening = args.listen.and_then(|_| device.node.local_addr()).map(|addr| format!(", listening on {addr}"));
    format!("Ctrl-Q quits; session {}{}", view.id, listening.unwrap_or_default())
}

/// The session, known here, with links on their way.
async fn prepare(device: &Device, args: &mut Edit) -> Result<SessionView, Failure> {
    for who in &mut args.device {
        who.look_up(&device.node).await?;
        device.node.trust(who.id()).await?;
        if who.id() == device.node.device() {
            return Err(Failure::failed("--device names this device; name the others"));
        }
    }
    let devices: Vec<DeviceId> = args.device.iter().map(Who::id).collect();
    let session = match (&args.session, &args.create) {
        (Some(session), _) => *session,
        (None, Some(name)) => {
            let session = device.node.create_session(name, &devices).await?;
            say(format_args!("session {session}"));
            session
        }
        (None, None) => return Err(Failure::usage("name the SESSION, or begin a new one by --create NAME")),
    };
    if args.listen.is_some()
        && let Some(addr) = device.node.local_addr()
    {
        say(format_args!("listening on {addr}"));
    }
    for (address, who) in args.to.iter().zip(&devices) {
        device.node.connect(resolve(address).await?, *who).await?;
    }
    if device.node.session(session).await?.is_none() {
        join(device, session, &devices).await?;
    }
    let view = device.session(session).await?;
    match view.closed {
        true => Err(Failure::failed(format!("session {session} is closed, for good; nobody writes it any more"))),
        false => Ok(view),
    }
}

/// Follows a session that isn't known here, from whichever device has it.
async fn join(device: &Device, session: SessionId, devices: &[DeviceId]) -> Result<(), Failure> {
    let state = device.state.display();
    if devices.is_empty() {
        return Err(Failure::failed(format!(
            "no session {session} in {state}: name a device that has it, by --device and, if that one doesn't call, --to; or begin a new one by --create NAME"
        )));
    }
    let (mut asked, mut alarms) = (Vec::new(), Alarms::default());
    note(format_args!("session {session} isn't here yet; waiting for a device that has it (Ctrl-C gives up)"));
    loop {
        let linked = device.node.peers().await?;
        let next = devices.iter().find(|one| linked.contains(one) && !asked.contains(*one));
        match next {
            Some(one) => match device.node.follow(session, *one).await {
                Ok(()) => return Ok(()),
                Err(error) if asked.len() + 1 == devices.len() => return Err(error.into()),
                Err(error) => {
                    note(format_args!("{error}; waiting for the others"));
                    asked.push(*one);
                }
            },
            None => match alarms.told(device.node.next_event().await) {
                Some(Event::Unlinked { peer: Some(peer), code, .. }) if devices.contains(&peer) => {
                    note(format_args!("no link to {peer} ({}); trying again", code.name()));
                }
                Some(Event::Halted { text }) => return Err(Failure::failed(text)),
                Some(_) => {}
                None => return Err(segue_quic::Error::Stopped.into()),
            },
        }
    }
}

/// Answers those who ask for what this process has open.
async fn answer(device: Arc<Device>) {
    let Some(control) = Control::open(&device.state) else { return };
    loop {
        let asked = control.next().await;
        let answer = match asked.request.clone() {
            Request::Owner => owner::json(&device).await,
            Request::Receipt { session, record } => receipt::hex(&device, session, record).await,
            Request::Devices => devices::report(&device).await,
            Request::Revoke(who) => devices::put_out(&device, who).await,
            Request::Conflicts(session) => conflicts::json(&device, session).await,
            Request::Resolve { session, part, how } => conflicts::resolve(&device, session, part, how).await,
            Request::Takeover(_) | Request::Close(_) => {
                Err(Failure::failed("`segue edit` has this state directory open: quit the editor, and try again"))
            }
        };
        asked.answer(answer).await;
    }
}

/// The names of the account's devices.
async fn names(node: &Node) -> Result<BTreeMap<DeviceId, String>, Failure> {
    let account = node.account().await?;
    let devices = account.into_iter().flat_map(|account| account.devices);
    Ok(devices.map(|device| (device.device, device.name)).collect())
}
