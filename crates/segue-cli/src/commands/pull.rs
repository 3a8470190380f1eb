//! `segue pull`: asks the owner to hand a session over.

use std::path::Path;
use std::time::{Duration, Instant};

use segue_proto::wire::Kind;
use segue_quic::{DeviceId, Node, SessionId, SessionRole, SessionView};

use crate::alarms::Alarms;
use crate::args::{Pull, Which};
use crate::commands::receive::place::place_for;
use crate::commands::sync;
use crate::device::{Device, resolve, tell_aside};
use crate::failure::{Exit, Failure};
use crate::flow::{Flow, Way};
use crate::index::Note;
use crate::named;
use crate::terminal::{count, note, say};
use crate::watch::Watch;

/// Asks, and waits until this device owns the session and its directory shows it.
pub(crate) async fn run(mut args: Pull) -> Result<Exit, Failure> {
    args.only.pick()?;
    // It only dials, so nobody links whom the user didn't name.
    let by_service = args.from.is_none();
    let set = |builder: segue_quic::Builder| args.mailbox.links(builder.accept_unknown(true).follow(by_service));
    let mut device = Device::open(&args.state, set).await?;
    let done = match look_up(&device, &mut args).await {
        Ok(()) => pull(&mut device, &args).await,
        Err(failure) => Err(failure),
    };
    device.close().await;
    done.map(|()| Exit::Resolved)
}

async fn look_up(device: &Device, args: &mut Pull) -> Result<(), Failure> {
    args.device.look_up(&device.node).await?;
    args.mailbox.look_up(&device.node).await
}

/// Keeps a link to the owner, or to the service that signs for it; whose link that is, and where.
async fn linked<'a>(device: &Device, args: &'a Pull) -> Result<(DeviceId, &'a str), Failure> {
    let owner = args.device.id();
    if let Some(from) = &args.from {
        device.node.connect(resolve(from).await?, owner).await?;
        return Ok((owner, from));
    }
    let Some((address, service)) = args.mailbox.named() else {
        return Err(Failure::usage("say where the owner is: --from ADDR, or a service: --mailbox"));
    };
    // The user named the owner, so what it invites to is taken.
    device.node.trust(owner).await?;
    device.node.use_mailbox(resolve(address).await?, service).await?;
    Ok((service, address))
}

/// The session that the user named: by its id, or by a name that it has here or that its owner tells.
async fn which(device: &Device, args: &Pull, door: DeviceId, address: &str) -> Result<SessionId, Failure> {
    let name = match &args.session {
        Which::Id(session) => return Ok(*session),
        Which::Name(name) => name,
    };
    if let Some(session) = named::here(&device.node, name).await? {
        return Ok(session);
    }
    let owner = args.device.id();
    if door == owner {
        return named::told(&device.node, (owner, address), name, args.patience.timeout).await;
    }
    arrived(device, args, door).await?.finish();
    named::here(&device.node, name).await?.ok_or_else(|| {
        Failure::failed(format!(
            "service {door} holds no invitation to a session {name:?} for this device; `segue owner` on its owner prints the ids and names of its sessions"
        ))
    })
}

/// Waits for all that the service holds for this device; what has moved of it.
async fn arrived(device: &Device, args: &Pull, service: DeviceId) -> Result<Flow, Failure> {
    let session = if let Which::Id(session) = &args.session { Some(*session) } else { None };
    let mut flow = Flow::new(&device.node, session, Way::In);
    let mailed = flow.mailed();
    tokio::select! {
        settled = sync::settled(&device.node, service, args.patience.timeout, Some(&mut flow)) => {
            if !settled? {
                note(format_args!("not all that service {service} holds has come; asking for the session all the same"));
            }
            Ok(flow)
        }
        failure = sync::trouble(&device.node, args.mailbox.named(), session, &mailed) => Err(failure),
    }
}

/// Waits until the service invited this device to the session, which it must sign for; what has moved meanwhile.
async fn invited(device: &Device, args: &Pull, service: DeviceId, session: SessionId) -> Result<Flow, Failure> {
    let flow = arrived(device, args, service).await?;
    let known = device.node.session(session).await?;
    match known.map(|view| (view.grantor, view.owner)) {
        Some((grantor, _)) if grantor == Some(service) => Ok(flow),
        Some((_, owner)) if owner == Some(device.node.device()) => Ok(flow),
        Some(_) => Err(Failure::failed(format!(
            "service {service} doesn't sign for session {session}; its owner delegates to it by `segue delegate`, or give the owner's address: --from"
        ))),
        None => Err(Failure::failed(format!(
            "service {service} holds no invitation of {} to session {session}; it invites this device once that is a member, or of its account, and it has exchanged with the service",
            args.device.id()
        ))),
    }
}

async fn pull(device: &mut Device, args: &Pull) -> Result<(), Failure> {
    if args.device.id() == device.node.device() {
        return Err(Failure::failed("--device names this device; name the one that owns the session"));
    }
    std::fs::create_dir_all(&args.into).map_err(Failure::io("make the directory", &args.into))?;
    let (door, address) = linked(device, args).await?;
    let session = which(device, args, door, address).await?;
    device.node.pick(session, args.only.pick()?).await?;
    let known = device.node.session(session).await?;
    if let Some(view) = known.filter(|view| view.role == SessionRole::Primary) {
        complete(device, args, door, &view).await?;
        match device.index.place(&session).filter(|place| !matches!(place.note, Some(Note::Receiving { .. }))) {
            Some(place) => already(&view, &place.directory),
            None => finish(device, args, &view, "by an earlier run of this command").await?,
        }
        acknowledge_again(device, args, door).await;
        return Ok(());
    }
    let flow = match door == args.device.id() {
        true => None,
        false => Some(invited(device, args, door, session).await?),
    };
    let watch = Watch {
        node: &device.node,
        session,
        peer: args.device.id(),
        door,
        address,
        patience: args.patience.timeout,
        way: Way::In,
        flow: flow.into(),
    };
    let moved = watch.call(watch.node.request_handoff(session, args.device.id())).await?;
    arrives(device, session).await?;
    let view = device.session(session).await?;
    tell_lease(&view, args.device.id());
    finish(device, args, &view, &moved.throughput).await
}

/// Nothing is to be asked for: this device owns the session, and no run of this command was at it.
fn already(view: &SessionView, directory: &Path) {
    let (session, name, directory) = (view.id, &view.name, (directory.display(), directory.is_dir()));
    match directory {
        (at, true) => {
            say(format_args!("this device owns session {session} {name:?} already, in {at}; record {}", view.head))
        }
        (at, false) => {
            say(format_args!("this device owns session {session} {name:?} already; record {}", view.head));
            note(format_args!("its directory {at} isn't there: put it back, or mount its disk"));
        }
    }
}

/// Says so if the old owner didn't agree: a service made this device the owner, as it had waited for the old one for as long
/// as its lease says.
fn tell_lease(view: &SessionView, before: DeviceId) {
    let Some(head) = view.chain.last().map(|record| record.body()) else { return };
    if Kind::from_number(head.kind) == Some(Kind::Takeover) && head.signer != head.owner {
        note(format_args!(
            "service {} made this device the owner by a lease that had run out: device {before} was silent for too long, and didn't agree. It may have written since; what it wrote comes once it is back",
            head.signer
        ));
    }
}

/// What the owner wrote while the handoff ran comes by sync: it is waited for as long as it moves.
async fn arrives(device: &Device, session: SessionId) -> Result<(), Failure> {
    let mut flow = Flow::new(&device.node, Some(session), Way::In);
    let (mut moved, mut since, mut alarms) = (flow.look().await?, Instant::now(), Alarms::default());
    while coming(&device.node, session).await? > 0 && since.elapsed() < STILL {
        tokio::select! {
            event = device.node.next_event() => {
                let event = event.ok_or(segue_quic::Error::Stopped)?;
                flow.mailed().hear(&event);
                alarms.tell(&event);
            }
            () = tokio::time::sleep(LOOK) => {}
        }
        let now = flow.look().await?;
        if now > moved {
            (moved, since) = (now, Instant::now());
        }
    }
    flow.finish();
    Ok(())
}

/// How many files of a session are on their way here.
async fn coming(node: &Node, session: SessionId) -> Result<usize, Failure> {
    let files = node.held_elsewhere(session).await?;
    Ok(files.iter().filter(|file| !file.left_out).count())
}

/// This device owns the session already: what of it is picked now and was left out before is got from the other device.
async fn complete(device: &mut Device, args: &Pull, door: DeviceId, view: &SessionView) -> Result<(), Failure> {
    let node = device.node.clone();
    if coming(&node, view.id).await? == 0 {
        return Ok(());
    }
    let come = async {
        let mut alarms = Alarms::default();
        node.linked(door).await?;
        while coming(&node, view.id).await? > 0 {
            let event = node.next_event().await.ok_or(segue_quic::Error::Stopped)?;
            alarms.tell(&event);
        }
        Ok::<(), Failure>(())
    };
    match tokio::time::timeout(args.patience.timeout, come).await {
        Ok(done) => done?,
        Err(_) => {
            let left = coming(&node, view.id).await?;
            return Err(Failure::failed(format!(
                "{} of session {} {} come within {} s; `segue owner` tells who holds what is lacking: name that device with --device and --from",
                count(left, "file"),
                view.id,
                if left == 1 { "hasn't" } else { "haven't" },
                args.patience.timeout.as_secs()
            )));
        }
    }
    let Some(place) = device.index.place(&view.id).cloned() else { return Ok(()) };
    // What an earlier run was writing first: else what it didn't come to would count as removed.
    let mut aside = Vec::new();
    let done = device.both_ways(view, &place.directory, &mut aside).await;
    aside.iter().for_each(|path| note(format_args!("kept what you had changed as {path}")));
    done
}

/// Writes the session into its directory.
async fn finish(device: &mut Device, args: &Pull, view: &SessionView, how: &str) -> Result<(), Failure> {
    let directory = place_for(device, view, &args.into)?;
    let from = args.device.id();
    device.index.change(&view.id, |place| place.note = Some(Note::Receiving { from }))?;
    if let Some(written) = device.materialize(view).await? {
        tell_aside(&written);
    }
    let (session, name, directory) = (view.id, &view.name, directory.display());
    tell_elsewhere(device, view).await?;
    say(format_args!("this device owns session {session} {name:?} in {directory}, {how}; record {}", view.head));
    device.index.change(&view.id, |place| place.note = None)
}

/// Says what of the session another device holds.
async fn tell_elsewhere(device: &Device, view: &SessionView) -> Result<(), Failure> {
    let elsewhere = device.node.held_elsewhere(view.id).await?;
    if let Some(first) = elsewhere.first() {
        let bytes: u64 = elsewhere.iter().map(|file| file.len).sum();
        let holder = first.holders.first().map_or_else(|| "another device".to_owned(), |id| format!("device {id}"));
        note(format_args!(
            "{} of {bytes} bytes {} elsewhere, such as {:?} with {holder}; `segue owner` lists what does",
            count(elsewhere.len(), "file"),
            if elsewhere.len() == 1 { "stays" } else { "stay" },
            first.path
        ));
    }
    Ok(())
}

/// A run that was killed may have died before the old owner knew. It sends its GRANT again as soon as there is a link,
/// and is answered; that takes a moment, and if it doesn't happen now it does at the next link.
async fn acknowledge_again(device: &Device, args: &Pull, door: DeviceId) {
    let heard = async {
        device.node.linked(door).await.ok()?;
        tokio::time::sleep(MOMENT).await;
        Some(())
    };
    let _ = tokio::time::timeout(args.patience.timeout.min(LINK), heard).await;
}

/// Content of which nothing has come for so long isn't waited for: who told of it may not hold it. From: guess.
const STILL: Duration = Duration::from_secs(3);
/// How often is looked at what has come.
const LOOK: Duration = Duration::from_millis(100);
/// Some round trips.
const MOMENT: Duration = Duration::from_millis(500);
/// How long a link is waited for that is only a courtesy.
const LINK: Duration = Duration::from_secs(5);
