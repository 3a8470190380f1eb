//! `segue send`: hands a directory over.
//!
//! The session of a directory is created at the first send. What an earlier run of the command left unfinished comes
//! first: a GRANT that waits for its acknowledgement is waited for, and an outcome that nobody was told is told.

use std::path::{Path, PathBuf};

use segue_proto::limits::{MAX_MAILED, MAX_NAME};
use segue_quic::{DeviceId, Hash, SessionId, SessionRole, SessionView};

use crate::args::{Send, lies_in};
use crate::commands::sync;
use crate::device::{Device, handed_over, resolve, tell_aside};
use crate::directory::{Tree, scan};
use crate::failure::{Exit, Failure};
use crate::flow::{Flow, Way};
use crate::index::{Creating, Note};
use crate::terminal::{count, note, say};
use crate::watch::{Moved, Watch};

/// Hands the directory over, and waits until the other device confirms.
pub(crate) async fn run(mut args: Send) -> Result<Exit, Failure> {
    args.going.check_view()?;
    let root = args.path.canonicalize().map_err(Failure::io("find the directory", &args.path))?;
    args.going.along.pick()?;
    if !root.is_dir() {
        return Err(Failure::failed(format!("{} isn't a directory; a session is one", root.display())));
    }
    if args.dry_run {
        return super::dry_run::run(args, &root).await;
    }
    // It only dials, so nobody links whom the user didn't name.
    let set = |builder: segue_quic::Builder| args.going.mailbox.links(builder.accept_unknown(true));
    let mut device = Device::open(&args.state, set).await?;
    let done = match look_up(&device, &mut args).await {
        Ok(()) => send(&mut device, &args, &root).await,
        Err(failure) => Err(failure),
    };
    device.close().await;
    done.map(|()| Exit::Resolved)
}

async fn look_up(device: &Device, args: &mut Send) -> Result<(), Failure> {
    args.device.look_up(&device.node).await?;
    args.going.mailbox.look_up(&device.node).await
}

async fn send(device: &mut Device, args: &Send, root: &Path) -> Result<(), Failure> {
    if args.device.id() == device.node.device() {
        return Err(Failure::failed("--device names this device; name the one to hand the session to"));
    }
    let session = session_of(device, args, root).await?;
    let mut view = device.session(session).await?;
    let note_of = |device: &Device| device.index.place(&session).and_then(|place| place.note);
    if view.pending == Some(args.device.id()) {
        let to = args.device.id();
        note(format_args!("session {session} is on its way to {to} from an earlier run; waiting for that device"));
        linked(device, args, &view, Way::Out { bytes: 0 }, None).await?.acknowledgement().await?;
        view = device.session(session).await?;
    }
    match stand(&view, note_of(device), args.device.id()) {
        Stand::Ours => hand_over(device, args, root, &view).await,
        Stand::Unreported(record) => {
            let moved = Moved { record, throughput: "by an earlier run of this command".to_owned() };
            report(device, args, &view, &moved)
        }
        Stand::Gone(why) => {
            // That an earlier run of this command came to nothing is told now.
            if matches!(note_of(device), Some(Note::Sending { to, .. }) if to == args.device.id()) {
                device.index.change(&session, |place| place.note = None)?;
            }
            Err(Failure::failed(why))
        }
    }
}

/// Where the session stands, as far as handing it to one device goes.
enum Stand {
    /// This device may hand it over.
    Ours,
    /// It is handed over to that device, and nobody was told.
    Unreported(Hash),
    /// It can't be handed over here, and why.
    Gone(String),
}

fn stand(view: &SessionView, note: Option<Note>, to: DeviceId) -> Stand {
    let (session, name) = (view.id, &view.name);
    let owner = view.owner.map_or_else(|| "nobody".to_owned(), |owner| owner.to_string());
    match (view.role, view.pending) {
        (SessionRole::Primary, _) => Stand::Ours,
        (_, Some(pending)) => Stand::Gone(format!(
            "session {session} {name:?} is on its way to device {pending}, which owns it once it confirms; send it on from there"
        )),
        (SessionRole::RolledBack, _) => Stand::Gone(format!(
            "session {session} {name:?}: this device's store looks like a restored backup, so it may not hand over what it may have given away before; have another device hand the session here, or `segue takeover` it"
        )),
        (SessionRole::Closed, _) => Stand::Gone(format!("session {session} {name:?} is closed, for good")),
        _ => match note {
            Some(Note::Sending { to: told, parent }) if told == to && handed_over(view, to, parent).is_some() => {
                Stand::Unreported(handed_over(view, to, parent).unwrap_or(view.head))
            }
            _ => Stand::Gone(format!(
                "session {session} {name:?} has moved: device {owner} owns it; send it from there, or `segue pull` it back first"
            )),
        },
    }
}

async fn hand_over(device: &mut Device, args: &Send, root: &Path, view: &SessionView) -> Result<(), Failure> {
    let door = door(device, args, view).await?;
    device.materialize(view).await?;
    let tree = device.scan(view, root).await?;
    tree.skipped.iter().for_each(note);
    can_go(args, view, &tree, door)?;
    device.reconcile(view, &tree).await?.iter().for_each(tell_aside);
    if let Some(text) = &args.going.view {
        device.node.write_view(view.id, text.as_bytes()).await?;
    }
    let bytes = go_along(device, args, view.id).await?;
    let (view, flow) = by_service(device, args, view, door, Way::Out { bytes }).await?;
    let view = &view;
    let begun = Note::Sending { to: args.device.id(), parent: view.head };
    device.index.change(&view.id, |place| place.note = Some(begun))?;
    let watch = linked(device, args, view, Way::Out { bytes }, flow).await?;
    let moved = watch.call(watch.node.initiate_handoff(view.id, args.device.id())).await;
    if moved.as_ref().is_err_and(|failure| failure.exit == Exit::Failed) {
        device.index.change(&view.id, |place| place.note = None)?;
    }
    report(device, args, view, &moved?)
}

/// Refuses what can't come: a file that is too long for the service, where the devices aren't to meet, and the other one
/// never owned the session, so that nothing says that it may have the file.
fn can_go(args: &Send, view: &SessionView, tree: &Tree, door: DeviceId) -> Result<(), Failure> {
    let to = args.device.id();
    let owned = view.chain.iter().any(|record| record.body().owner == to);
    if door == to || owned || !args.going.mailbox.no_direct {
        return Ok(());
    }
    let len = |path: &Path| path.metadata().map_or(0, |metadata| metadata.len());
    let goes = tree.files.iter().filter(|(name, _)| args.going.along.takes(name));
    match goes.map(|(name, path)| (name, len(path))).find(|(_, len)| *len > MAX_MAILED) {
        Some((name, len)) => Err(Failure::failed(format!(
            "{name:?} has {len} bytes, and a service takes {MAX_MAILED} of one file at most, so the other device can't get it with --no-direct; nothing was handed over. Leave --no-direct out, hand over by --to, or have --only leave the file behind"
        ))),
        None => Ok(()),
    }
}

/// Takes along what the user chose, and says what stays here; the bytes that go.
async fn go_along(device: &Device, args: &Send, session: SessionId) -> Result<u64, Failure> {
    device.node.take_along(session, args.going.along.pick()?).await?;
    let files = device.node.files(session).await?;
    let (go, stay): (Vec<_>, Vec<_>) =
        files.iter().filter(|file| !file.is_dir).partition(|file| args.going.along.takes(&file.path));
    for folder in args.going.along.only.iter().filter(|folder| !go.iter().any(|file| lies_in(&file.path, folder))) {
        note(format_args!("--only {folder}: the session has no file there"));
    }
    if go.is_empty() && !stay.is_empty() {
        let none = "none of the folders at --only has a file, so nothing was handed over";
        return Err(Failure::failed(format!("{none}; name folders of {}, as they lie there", args.path.display())));
    }
    if let Some(first) = stay.first() {
        let bytes: u64 = stay.iter().map(|file| file.len).sum();
        let path = &first.path;
        note(format_args!(
            "{} of {bytes} bytes {} here for now, such as {path:?}; the other device lists what stays, and gets it from this one later",
            count(stay.len(), "file"),
            if stay.len() == 1 { "stays" } else { "stay" }
        ));
    }
    Ok(go.iter().map(|file| file.len).sum())
}

/// Keeps a link to the other device, or to the service, from now on.
async fn linked<'a>(
    device: &'a Device,
    args: &'a Send,
    view: &SessionView,
    way: Way,
    flow: Option<Flow>,
) -> Result<Watch<'a>, Failure> {
    let peer = args.device.id();
    let (address, door) = match (&args.to, args.going.mailbox.named()) {
        (_, Some((address, service))) if door(device, args, view).await? == service => (address, service),
        (Some(address), _) => (address.as_str(), peer),
        (None, _) => return Err(Failure::usage("say where the other device is: --to ADDR, or a service: --mailbox")),
    };
    match door == peer {
        true => device.node.connect(resolve(address).await?, peer).await?,
        false => device.node.use_mailbox(resolve(address).await?, door).await?,
    }
    let (node, session, patience, flow) = (&device.node, view.id, args.going.patience.timeout, flow.into());
    Ok(Watch { node, session, peer, door, address, patience, way, flow })
}

/// Over whose link the session goes: that of the other device, or that of the service that signs for it.
async fn door(device: &Device, args: &Send, view: &SessionView) -> Result<DeviceId, Failure> {
    let named = args.going.mailbox.named().map(|(_, service)| service);
    match device.session(view.id).await?.grantor.filter(|grantor| Some(*grantor) != view.owner) {
        Some(grantor) if named == Some(grantor) => Ok(grantor),
        Some(grantor) => Err(Failure::failed(format!(
            "service {grantor} signs who owns session {} next; name it with --mailbox ADDR --mailbox-device {grantor}, or `segue reclaim` the session first",
            view.id
        ))),
        None if args.to.is_some() => Ok(args.device.id()),
        None => Ok(named.unwrap_or(args.device.id())),
    }
}

/// If the session goes by way of a service: has that sign for it, and puts there all that the other device lacks and can't
/// take in directly, so that this device goes on as the owner meanwhile.
async fn by_service(
    device: &Device,
    args: &Send,
    view: &SessionView,
    door: DeviceId,
    way: Way,
) -> Result<(SessionView, Option<Flow>), Failure> {
    let Some((address, service)) = args.going.mailbox.named().filter(|(_, service)| *service == door) else {
        return Ok((device.session(view.id).await?, None));
    };
    let (addr, patience) = (resolve(address).await?, args.going.patience.timeout);
    let silent = |what: &str| {
        let secs = patience.as_secs();
        Failure::failed(format!(
            "the service at {address} {what}: nothing was heard for {secs} s, and this device still owns session {}; check --mailbox and --mailbox-device, and try again",
            view.id
        ))
    };
    let mut flow = Flow::new(&device.node, Some(view.id), way);
    let mailed = flow.mailed();
    if view.grantor != Some(service) {
        let delegated = tokio::select! {
            delegated = tokio::time::timeout(patience, device.node.delegate(view.id, addr, service)) => delegated,
            failure = sync::trouble(&device.node, Some((address, service)), Some(view.id), &mailed) => return Err(failure),
        };
        delegated.map_err(|_| silent("didn't take the session"))??;
    }
    device.node.use_mailbox(addr, service).await?;
    let settled = tokio::select! {
        settled = sync::settled(&device.node, service, patience, Some(&mut flow)) => settled?,
        failure = sync::trouble(&device.node, Some((address, service)), Some(view.id), &mailed) => return Err(failure),
        // What the other device takes in over a link of its own needn't be put there.
        () = device.node.keep_introduced(args.device.id()) => return Err(segue_quic::Error::Stopped.into()),
    };
    if !settled {
        return Err(silent("didn't take all of the content"));
    }
    let left = device.node.not_mailed(service, view.id).await?;
    if let Some(left) = sync::unput(&left) {
        note(format_args!(
            "session {}: {left}. Unless the other device has it, that can't own the session before it gets it over a link with this one; have --only leave it behind, or free room at the service",
            view.id
        ));
    }
    Ok((device.session(view.id).await?, Some(flow)))
}

fn report(device: &mut Device, args: &Send, view: &SessionView, moved: &Moved) -> Result<(), Failure> {
    let (session, name, to) = (view.id, &view.name, args.device.id());
    say(format_args!("handed over session {session} {name:?} to {to}, {}; record {}", moved.throughput, moved.record));
    device.index.change(&session, |place| place.note = None)
}

/// The session of a directory: the one that lies there, or a new one.
async fn session_of(device: &mut Device, args: &Send, root: &Path) -> Result<SessionId, Failure> {
    let mut closed = None;
    for session in device.index.at(root) {
        match device.node.session(session).await? {
            Some(view) if !view.closed => return Ok(session),
            Some(_) => closed = Some(session),
            None => {}
        }
    }
    if let Some(session) = closed {
        note(format_args!("session {session} of this directory is closed; a new one begins"));
    }
    create(device, args, root).await
}

/// Creates the session. What is about to be done is written down before, so that a run that is killed in between
/// leaves one session, not two.
async fn create(device: &mut Device, args: &Send, root: &Path) -> Result<SessionId, Failure> {
    let name = name(args, root)?;
    let creating = Creating { directory: utf8(root)?, name };
    let left = match device.index.creating() == Some(&creating) {
        true => orphan(device, &creating.name).await?,
        false => None,
    };
    let session = match left {
        Some(session) => session,
        None => {
            // A directory that can't be read shouldn't leave a session behind.
            scan(root, &device.state)?;
            device.index.set_creating(creating.clone())?;
            device.node.create_session(&creating.name, &[args.device.id()]).await?
        }
    };
    device.index.put(&session, creating.directory)?;
    Ok(session)
}

/// A session that was created for this directory before the process was killed.
async fn orphan(device: &Device, name: &str) -> Result<Option<SessionId>, Failure> {
    let sessions = device.node.sessions().await?;
    let fresh = |view: &&SessionView| {
        view.role == SessionRole::Primary && view.n == 0 && view.name == name && device.index.place(&view.id).is_none()
    };
    Ok(sessions.iter().find(fresh).map(|view| view.id))
}

pub(super) fn name(args: &Send, root: &Path) -> Result<String, Failure> {
    let given = args.name.clone();
    let own = || root.file_name().map(|name| name.to_string_lossy().into_owned());
    let name = given.or_else(own).unwrap_or_else(|| "session".to_owned());
    if name.is_empty() || name.chars().count() > MAX_NAME || name.chars().any(char::is_control) {
        let text = format!(
            "{name:?} can't be a session's name: 1 to {MAX_NAME} characters, none of them a control character; choose one by --name"
        );
        return Err(Failure::failed(text));
    }
    Ok(name)
}

/// The index is JSON, and so is what others read of it.
fn utf8(root: &Path) -> Result<PathBuf, Failure> {
    let unreadable = || Failure::failed(format!("{} isn't UTF-8; rename the directory", root.display()));
    root.to_str().map(PathBuf::from).ok_or_else(unreadable)
}
