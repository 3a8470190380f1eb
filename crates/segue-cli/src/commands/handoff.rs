//! `segue handoff`: the menu from which a session and a device are chosen, and then `segue send`.

use std::io::Write;
use std::path::PathBuf;

use segue_quic::{Ability, Candidate, DataType, DeviceId, Offerable, Pick, SessionId};

use crate::alarms::Alarms;
use crate::args::{Handoff, Send};
use crate::commands::{presence, send, sync};
use crate::device::Device;
use crate::failure::{Exit, Failure};
use crate::flow::Mailed;
use crate::terminal::{Answers, ask, count, note, say};
use crate::who::Who;

/// A session of the menu, and where it lies.
struct Row {
    session: Offerable,
    directory: PathBuf,
}

/// Shows the menu as far as there is something to choose, and hands over.
pub(crate) async fn run(mut args: Handoff) -> Result<Exit, Failure> {
    let device = Device::existing(&args.state).await?;
    let mut alarms = Alarms::default();
    let chosen = alarms.beside(&device.node, choose(&device, &mut args)).await;
    device.close().await;
    alarms.rest(&device.node).await;
    let Some((path, to)) = chosen? else { return Ok(Exit::Resolved) };
    let Handoff { state, to: address, going, .. } = args;
    let device = Who::Id(to);
    send::run(Send { state, path, to: address, device, name: None, dry_run: false, json: false, going }).await
}

/// The directory of the session that is chosen, and the device; none if the menu was to be printed alone.
async fn choose(device: &Device, args: &mut Handoff) -> Result<Option<(PathBuf, DeviceId)>, Failure> {
    // What is named needs no menu, and nobody to ask about it.
    let shown = args.list || args.session.is_none() || args.device.is_none();
    if shown {
        // The mailbox is given nothing of a session before its user chose what goes along.
        for (session, _) in device.index.places() {
            if device.node.session(session).await?.is_some() {
                device.node.take_along(session, Pick::nothing()).await?;
            }
        }
    }
    let service = if shown { sync::start(&device.node, &mut args.going.mailbox).await? } else { None };
    let (named, mailed) = (args.going.mailbox.named(), Mailed::default());
    let offerable = tokio::select! {
        offerable = presence::offerable(&device.node, service) => offerable?,
        failure = sync::trouble(&device.node, named, None, &mailed), if service.is_some() => return Err(failure),
    };
    let place = |session: &SessionId| device.index.place(session).map(|place| place.directory.clone());
    let rows = offerable.into_iter().filter_map(|session| Some(Row { directory: place(&session.session)?, session }));
    let named = rows.filter(|row| args.list || args.session.is_none_or(|only| row.session.session == only));
    let (mut rows, gone): (Vec<Row>, Vec<Row>) = named.partition(|row| row.directory.is_dir());
    for Row { session: Offerable { session, name, .. }, directory } in &gone {
        note(format_args!(
            "session {session} {name:?} is left out: its directory {} isn't there; put that back, or mount its disk",
            directory.display()
        ));
    }
    if args.list {
        say(json(&rows));
        return Ok(None);
    }
    if rows.is_empty() {
        return Err(nothing(device, args.session, !gone.is_empty()));
    }
    let mut answers = Answers::open();
    let titles = rows.iter().map(|row| {
        let Offerable { name, session, files, bytes, .. } = &row.session;
        format!("{name:?}, {}, {bytes} bytes in {} ({session})", count(*files, "file"), row.directory.display())
    });
    let at = pick("session", "--session", titles.collect(), answers.as_mut()).await?;
    let row = rows.swap_remove(at);
    let to = match &mut args.device {
        Some(who) => {
            who.look_up(&device.node).await?;
            who.id()
        }
        None => {
            let devices = &row.session.devices;
            if devices.is_empty() {
                return Err(Failure::failed(
                    "no other device is known that may have it; name one with --device, or `segue link` one",
                ));
            }
            let at = pick("device", "--device", devices.iter().map(title).collect(), answers.as_mut()).await?;
            devices[at].device
        }
    };
    if let (Some(answers), true) = (answers.as_mut(), shown && !args.yes && args.going.along.only.is_empty()) {
        args.going.along.only = along(&row.session.types, answers).await?;
    }
    if shown {
        confirm(&row, to, args, answers.as_mut()).await?;
    }
    Ok(Some((row.directory, to)))
}

/// Why there is nothing to choose.
fn nothing(device: &Device, session: Option<SessionId>, gone: bool) -> Failure {
    let state = device.state.display();
    Failure::failed(match (gone, session) {
        (true, _) => "nothing was handed over: what could be has no directory".to_owned(),
        (false, Some(session)) => format!(
            "this device doesn't own session {session}, or it lies in no directory; `segue owner --state {state}` lists those there are"
        ),
        (false, None) => format!(
            "this device owns no session that lies in a directory; `segue send --state {state} DIRECTORY` begins one, and `segue owner --state {state}` lists those there are"
        ),
    })
}

/// Says what is about to go to whom, and has the user agree: where there is but one of each, nothing else was asked.
async fn confirm(row: &Row, to: DeviceId, args: &Handoff, answers: Option<&mut Answers>) -> Result<(), Failure> {
    let Offerable { session, name, files, bytes, devices, .. } = &row.session;
    let what = match args.going.along.only.as_slice() {
        [] => format!("{}, {bytes} bytes", count(*files, "file")),
        only => format!("of its files those in {}", only.join(", ")),
    };
    let known = devices.iter().find(|device| device.device == to);
    let whom = known.map_or_else(|| format!("device {to}"), title);
    note(format_args!("session {name:?} ({session}) in {}, {what}\ngoes to {whom}", row.directory.display()));
    if args.yes {
        return Ok(());
    }
    let Some(answers) = answers else {
        return Err(Failure::usage(
            "nothing was handed over: there is no terminal to ask at whether to; say --yes, or name both with --session and --device",
        ));
    };
    ask("Hand it over?");
    match answers.next().await {
        true => Ok(()),
        false => Err(Failure::failed("nothing was handed over: you didn't say yes")),
    }
}

/// Has the user choose which types of data go along; none if that is all.
async fn along(types: &[DataType], answers: &mut Answers) -> Result<Vec<String>, Failure> {
    if types.len() < 2 {
        return Ok(Vec::new());
    }
    let mut out = std::io::stderr();
    for (at, it) in types.iter().enumerate() {
        let name = if it.name.is_empty() { "files in no folder" } else { &it.name };
        let _ = writeln!(out, "{:>3}  {name}: {}, {} bytes", at + 1, count(it.files, "file"), it.bytes);
    }
    let _ = write!(out, "What goes along now? Numbers, or Enter for all; the rest can be fetched later: ");
    let _ = out.flush();
    let nothing = || Failure::failed("nothing was handed over: what goes along wasn't said");
    let line = answers.line().await.ok_or_else(nothing)?;
    let chosen = line.split([' ', ',']).map(str::trim).filter(|number| !number.is_empty());
    let chosen = chosen.map(|number| {
        let it = number.parse::<usize>().ok().and_then(|number| types.get(number.checked_sub(1)?));
        let name = it.map(|it| if it.name.is_empty() { ".".to_owned() } else { it.name.clone() });
        name.ok_or_else(|| Failure::failed(format!("nothing was handed over: {number:?} is none of the types of data")))
    });
    chosen.collect()
}

fn title(device: &Candidate) -> String {
    let what = match (device.in_account, device.is_member) {
        (true, _) => "of your account",
        (false, true) => "a member",
        (false, false) => "known",
    };
    let linked = match (device.linked, device.relayed) {
        (true, false) => ", linked now",
        (true, true) => ", linked now by way of the service",
        (false, _) => "",
    };
    let there = device.presence.as_ref().map(|it| format!(", {}", presence::words(it))).unwrap_or_default();
    let able = device.abilities().map(|it| format!("; able to: {}", names(&it).join(", "))).unwrap_or_default();
    format!("{} ({}), {what}{linked}{there}{able}", device.name.as_deref().unwrap_or("unnamed"), device.device)
}

fn names(abilities: &[Ability]) -> Vec<&'static str> {
    abilities.iter().map(|ability| ability.name()).collect()
}

/// Has the user choose; if there is but one, that.
async fn pick(what: &str, flag: &str, titles: Vec<String>, answers: Option<&mut Answers>) -> Result<usize, Failure> {
    if titles.len() == 1 {
        return Ok(0);
    }
    let Some(answers) = answers else {
        return Err(Failure::usage(format!(
            "there are {} {what}s, and no terminal to ask at; name one with {flag}",
            titles.len()
        )));
    };
    let mut out = std::io::stderr();
    for (at, title) in titles.iter().enumerate() {
        let _ = writeln!(out, "{:>3}  {title}", at + 1);
    }
    let _ = write!(out, "Which {what}? ").and_then(|()| out.flush());
    let chosen = answers.choice(titles.len()).await;
    chosen.ok_or_else(|| Failure::failed(format!("nothing was handed over: that is none of the {what}s")))
}

/// The menu's data, for scripts.
fn json(rows: &[Row]) -> String {
    let device = |it: &Candidate| {
        serde_json::json!({
            "device": it.device.to_string(),
            "name": it.name,
            "in_account": it.in_account,
            "member": it.is_member,
            "linked": it.linked,
            "relayed": it.relayed,
            "generation": it.generation.map(|generation| generation.to_string()),
            "abilities": it.abilities().map(|abilities| names(&abilities)),
            "presence": it.presence.as_ref().map(presence::json),
        })
    };
    let data = |it: &DataType| serde_json::json!({ "name": it.name, "files": it.files, "bytes": it.bytes });
    let row = |row: &Row| {
        let it = &row.session;
        serde_json::json!({
            "session": it.session.to_string(),
            "name": it.name,
            "directory": row.directory,
            "files": it.files,
            "bytes": it.bytes,
            "types": it.types.iter().map(data).collect::<Vec<_>>(),
            "service": it.service.map(|service| service.to_string()),
            "devices": it.devices.iter().map(device).collect::<Vec<_>>(),
        })
    };
    format!("{:#}", serde_json::json!({ "sessions": rows.iter().map(row).collect::<Vec<_>>() }))
}
