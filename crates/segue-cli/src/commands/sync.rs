//! `segue sync`: exchanges everything with a mailbox.

use crate::alarms::Alarms;
use crate::args::{Mailbox, Sync};
use crate::device::{Device, resolve};
use crate::failure::{Exit, Failure};
use crate::flow::{Flow, Mailed, Way};
use crate::terminal::{count, note, say};
use crate::who::Who;

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use segue_proto::limits::MAX_MAILED;
use segue_quic::{Code, DeviceId, Event, Node, SessionId, SessionView, Stats};

/// Runs until everything is exchanged.
pub(crate) async fn run(mut args: Sync) -> Result<Exit, Failure> {
    let device = Device::open(&args.state, |builder| {
        args.from.iter().filter_map(Who::known).fold(builder.follow(true), segue_quic::Builder::trust)
    });
    let mut device = device.await?;
    let done = exchange(&mut device, &mut args).await;
    device.close().await;
    done.map(|()| Exit::Resolved)
}

async fn exchange(device: &mut Device, args: &mut Sync) -> Result<(), Failure> {
    for who in &mut args.from {
        who.look_up(&device.node).await?;
        device.node.trust(who.id()).await?;
    }
    // What is in the directories by now goes with the rest.
    bring_together(device).await?;
    let mailbox = start(&device.node, &mut args.mailbox).await?;
    let Some(mailbox) = mailbox else {
        return Err(Failure::usage("name the mailbox: --mailbox ADDR --mailbox-device ID"));
    };
    let patience = args.patience.timeout;
    let owned = owned(&device.node).await?;
    let mut flow = Flow::new(&device.node, None, Way::In);
    let mailed = flow.mailed();
    let done = tokio::select! {
        done = settled(&device.node, mailbox, patience, Some(&mut flow)) => done,
        failure = trouble(&device.node, args.mailbox.named(), None, &mailed) => Err(failure),
    };
    flow.finish();
    if !done? {
        let secs = patience.as_secs();
        if let (0, Some((address, _))) = (device.node.stats().await?.links, args.mailbox.named()) {
            return Err(Failure::failed(format!(
                "mailbox {mailbox} wasn't reached at {address} within {secs} s; check --mailbox and --mailbox-device, and that `segue serve` runs there; the same command goes on"
            )));
        }
        return Err(Failure::failed(format!(
            "not all was exchanged, and nothing moved for {secs} s; the same command goes on"
        )));
    }
    tell_lost(&device.node, &owned).await?;
    bring_together(device).await?;
    let sessions = device.node.sessions().await?;
    let lacking = tell_left(&device.node, mailbox, &sessions).await?;
    say(format_args!("exchanged {} with mailbox {mailbox}", count(sessions.len(), "session")));
    for view in sessions {
        say(format_args!("session {} {:?} root {}", view.id, view.name, view.root));
    }
    match lacking {
        true => Err(Failure::failed(format!(
            "mailbox {mailbox} had no room for all of the content; free room there, or ask its operator for more, and the same command goes on"
        ))),
        false => Ok(()),
    }
}

/// Says what content of these sessions the mailbox wasn't given; whether it had no room for some.
async fn tell_left(node: &Node, mailbox: DeviceId, sessions: &[SessionView]) -> Result<bool, Failure> {
    let mut lacking = false;
    for view in sessions {
        let left = node.not_mailed(mailbox, view.id).await?;
        lacking |= left.iter().any(|(_, len)| *len <= MAX_MAILED);
        if let Some(left) = unput(&left) {
            let (session, name) = (view.id, &view.name);
            note(format_args!(
                "session {session} {name:?}: {left}: devices that lack it get it over a link with this one alone"
            ));
        }
    }
    Ok(lacking)
}

/// Which content a mailbox wasn't given, and why, if there is such.
pub(crate) fn unput(left: &[(String, u64)]) -> Option<String> {
    let (path, _) = left.first()?;
    let bytes: u64 = left.iter().map(|(_, len)| len).sum();
    let verb = if left.len() == 1 { "wasn't" } else { "weren't" };
    let [long, full] = [true, false].map(|long| left.iter().any(|(_, len)| (*len > MAX_MAILED) == long));
    let why = match (long, full) {
        (true, false) => format!("longer than the {MAX_MAILED} bytes that a mailbox takes of one file"),
        (true, true) => "too long for it, or it has no room, or what lies here has changed".to_owned(),
        _ => "it has no room, or what lies here has changed".to_owned(),
    };
    Some(format!("{} of {bytes} bytes {verb} put there, such as {path:?} ({why})", count(left.len(), "file")))
}

/// The sessions that this device owns.
async fn owned(node: &Node) -> Result<BTreeSet<SessionId>, Failure> {
    let sessions = node.sessions().await?.into_iter();
    Ok(sessions.filter(|view| view.owner == Some(node.device())).map(|view| view.id).collect())
}

/// Says which of these sessions others own by now, who took them over or had a service hand them over.
async fn tell_lost(node: &Node, owned: &BTreeSet<SessionId>) -> Result<(), Failure> {
    let sessions = node.sessions().await?;
    for view in sessions.iter().filter(|view| owned.contains(&view.id) && view.owner != Some(node.device())) {
        let (session, name) = (view.id, &view.name);
        match view.owner {
            Some(owner) => note(format_args!(
                "session {session} {name:?} isn't this device's any more: device {owner} owns it now; `segue pull` asks for it"
            )),
            None => note(format_args!("session {session} {name:?} is closed, for good")),
        }
    }
    Ok(())
}

/// Brings the sessions and their directories together.
async fn bring_together(device: &mut Device) -> Result<(), Failure> {
    let aside = device.reconcile_all().await?;
    aside.iter().for_each(|path| note(format_args!("kept what you had changed as {path}")));
    Ok(())
}

/// Uses the mailbox that the command line names, if it names one.
pub(crate) async fn start(node: &Node, mailbox: &mut Mailbox) -> Result<Option<DeviceId>, Failure> {
    mailbox.look_up(node).await?;
    let Some((address, service)) = mailbox.named() else { return Ok(None) };
    node.use_mailbox(resolve(address).await?, service).await?;
    Ok(Some(service))
}

/// Waits until everything is exchanged with a mailbox; false if nothing of it moved for as long as `patience`.
pub(crate) async fn settled(
    node: &Node,
    mailbox: DeviceId,
    patience: Duration,
    mut flow: Option<&mut Flow>,
) -> Result<bool, Failure> {
    let mut exchanged = std::pin::pin!(node.exchanged(mailbox));
    let mut ticks = tokio::time::interval(TICK);
    let mut silence = Silence::default();
    loop {
        tokio::select! {
            biased;
            done = &mut exchanged => {
                if let Some(flow) = &mut flow {
                    flow.look().await?;
                }
                return done.map(|()| true).map_err(Failure::from);
            }
            _ = ticks.tick() => {
                let stats = node.stats().await?;
                if let Some(flow) = &mut flow {
                    flow.look().await?;
                }
                let linked = node.peers().await?.contains(&mailbox);
                if silence.lasts(Instant::now(), &stats, linked) >= patience {
                    return Ok(false);
                }
            }
        }
    }
}

/// For how long nothing has moved.
#[derive(Debug, Default)]
struct Silence {
    /// The bytes of content and the batches of the journal, by the last look.
    moved: Option<[u64; 5]>,
    /// What a link had brought by then, if there was one.
    heard: Option<u64>,
    since: Option<Instant>,
    /// When something moved that was more than a short word.
    moves: Option<Instant>,
}

impl Silence {
    /// For how long nothing has moved by now. What is said to make a link, or to see whether it lives, moves nothing: a short
    /// word, long after anything else.
    fn lasts(&mut self, now: Instant, stats: &Stats, linked: bool) -> Duration {
        let moved = [stats.mailed_tx, stats.mailed_rx, stats.bulk_tx, stats.bulk_rx, stats.batches];
        let heard = linked.then_some(stats.control_rx);
        let before = std::mem::replace(&mut self.heard, heard);
        let brought = heard.zip(before).map_or(0, |(heard, before)| heard.saturating_sub(before));
        let since = |at: Option<Instant>| at.map_or(Duration::ZERO, |at| now.saturating_duration_since(at));
        if self.moved.replace(moved) != Some(moved) || brought > PULSE {
            self.moves = Some(now);
        }
        if self.moves == Some(now) || brought > 0 && since(self.moves) < PAUSE {
            self.since = Some(now);
        }
        since(self.since)
    }
}

/// The most that a look finds a link to have brought with signs of life alone, in bytes. From: some PINGs and answers.
const PULSE: u64 = 64;
/// After so long a silence a short word may be a sign of life. From: less than the keepalive of links, with room for the
/// loss of a packet.
const PAUSE: Duration = Duration::from_secs(10);

/// Tells what goes wrong, each thing once, until nothing can go right any more, and notes what mailboxes confirm. `service`
/// is the one that is spoken to, and where; `about` the session that the command is about, if it is about one.
pub(crate) async fn trouble(
    node: &Node,
    service: Option<(&str, DeviceId)>,
    about: Option<SessionId>,
    mailed: &Mailed,
) -> Failure {
    let (mut alarms, mut unlinked, mut refused) = (Alarms::default(), BTreeSet::new(), BTreeSet::new());
    loop {
        let event = node.next_event().await;
        if event.as_ref().is_some_and(|event| mailed.hear(event)) {
            continue;
        }
        if let Some(text) = event.as_ref().and_then(|event| alarms.hear(event)) {
            note(text);
            continue;
        }
        match event {
            // It was told, with what it means.
            Some(Event::Refused { code: Code::SERVICE_LOST | Code::SVC_EQUIVOCATION, .. }) => {}
            // How the login ended says more.
            Some(Event::Refused { code: Code::SVC_LOGIN, .. }) => {}
            Some(Event::Login { service, result: Err(code) }) if code != Code::LINK_LOST => {
                note(format_args!("service {service}: {}", code.meaning()));
            }
            // Another session's affair.
            Some(Event::Refused { session: Some(of), .. }) if about.is_some_and(|about| about != of) => {}
            Some(Event::Refused { peer, session, code, clause }) if refused.insert((peer, session, code)) => {
                let of = session.map(|session| format!(", of session {session}")).unwrap_or_default();
                let clause = clause.map(|clause| format!(" ({clause})")).unwrap_or_default();
                note(format_args!("device {peer}{of}: {}{clause}", code.meaning()));
            }
            Some(Event::Linked { peer, .. }) => unlinked.retain(|(before, _)| *before != peer),
            Some(Event::Unlinked { peer: Some(peer), code, remote, .. }) => {
                if let Some((address, _)) = service.filter(|(_, service)| is_another((peer, code, remote), *service)) {
                    return another(address, peer);
                }
                // Once for as long as it is dialled again and again.
                if unlinked.insert((peer, code)) {
                    note(format_args!("no link with {peer}: {}; dialling again", code.meaning()));
                }
            }
            Some(Event::Halted { text }) => return Failure::failed(text),
            Some(_) => {}
            None => return segue_quic::Error::Stopped.into(),
        }
    }
}

/// Whether the end of a link, or of an attempt at one, says that another device answers where this service was dialled.
pub(crate) fn is_another((peer, code, remote): (DeviceId, Code, bool), service: DeviceId) -> bool {
    peer == service && code == Code::AUTH_UNKNOWN_DEVICE && !remote
}

/// What to tell of that.
pub(crate) fn another(address: &str, service: DeviceId) -> Failure {
    Failure::failed(format!(
        "another device than {service} answers at {address} ({}); check --mailbox and --mailbox-device: `segue serve` prints its id as it starts",
        Code::AUTH_UNKNOWN_DEVICE.name()
    ))
}

/// How often what moves is looked at.
const TICK: Duration = Duration::from_millis(100);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_moves_ends_a_silence_and_neither_pings_nor_links_that_come_to_nothing_do() {
        let (start, mut silence, mut stats) = (Instant::now(), Silence::default(), Stats::default());
        let mut after = |secs: u64, stats: &Stats, linked| {
            silence.lasts(start + Duration::from_secs(secs), stats, linked).as_secs()
        };
        assert_eq!(after(0, &stats, false), 0);
        // It is dialled, and refuses.
        stats.control_rx += 500;
        assert_eq!(after(5, &stats, false), 5);
        // A link is made, and lives.
        stats.control_rx += 500;
        assert_eq!(after(10, &stats, true), 10);
        stats.control_rx += PULSE;
        assert_eq!(after(15, &stats, true), 15);
        // A long letter is under way, and short answers come.
        stats.control_rx += 1_000;
        assert_eq!(after(20, &stats, true), 0);
        stats.control_rx += 1;
        assert_eq!(after(29, &stats, true), 0);
        assert_eq!(after(38, &stats, true), 9);
        stats.mailed_tx += 1;
        assert_eq!(after(80, &stats, true), 0);
        stats.batches += 1;
        assert_eq!(after(140, &stats, false), 0);
        assert_eq!(after(150, &stats, false), 10);
        // Two links live, and say so in turns.
        for at in 0..6 {
            stats.control_rx += PULSE;
            after(150 + 6 * at, &stats, true);
        }
        assert!(after(186, &stats, true) >= 26);
    }
}
