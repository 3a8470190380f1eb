//! `segue serve`: hosts a mailbox.

use segue_quic::{DeviceId, Event, Hash, Hosted, Instant, KEY_FILE, MailboxHost, Said, load_or_create_key};
use segue_service::{Directory, Given, Quota, Service, Store, Terms};

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::args::Serve;
use crate::device::{self, Device};
use crate::failure::{Exit, Failure};
use crate::terminal::{Interrupt, say};
use crate::who::Who;

mod monitor;
mod policy;
mod refusals;
mod wake;

use monitor::{Did, Monitor};
use policy::Files;
use refusals::{Line, Refusals, WINDOW};
use wake::Waker;

/// Runs until it is interrupted.
pub(crate) async fn run(mut args: Serve) -> Result<Exit, Failure> {
    // The one may come from the command line and the other from a file.
    if args.no_custody && !args.lease.is_zero() {
        return Err(Failure::usage(
            "--no-custody has the service sign for no session, and --lease is for those that it signs for; leave one out",
        ));
    }
    let listen = args.address()?;
    let mut files = Files::named(&args)?;
    if files.is_some() && args.device_space.is_some() {
        return Err(Failure::usage(
            "under accounts room is counted by account, not by device: leave --device-space out, and say space in the file --accounts, under [default] or [accounts.NAME]",
        ));
    }
    let policy = files.as_mut().map(Files::read).transpose()?;
    let mut interrupt = Interrupt::open()?;
    let dir = device::make(&args.state.state)?;
    has_key(&dir)?;
    // Before there is anything else: a first start that ends early leaves no store without it.
    load_or_create_key(&dir)?;
    let had_journal = dir.join(JOURNAL).exists();
    let store = Store::open(&dir).map_err(|failed| {
        let dir = dir.display();
        Failure::failed(format!("{failed}; check the disk, and that no other process serves from {dir}"))
    })?;
    let quota = Quota {
        bytes: args.space.unwrap_or(Quota::default().bytes),
        box_bytes: args.box_space.unwrap_or(Quota::default().box_bytes),
        device_bytes: args.device_space.unwrap_or(Quota::default().device_bytes),
        rate: args.rate.unwrap_or(Quota::default().rate),
        ..Quota::default()
    };
    if !had_journal && store.sets().is_ok_and(|sets| sets > 0) {
        tracing::warn!(
            "the journal is lost ({JOURNAL} in {}), and mailbox.redb isn't: the service can't tell what it signed before. It refuses every session that was delegated to it (STORE_ROLLED_BACK) until its owner takes it over by name and delegates it anew; restore the journal, if there is a copy of the very last state",
            dir.display()
        );
    }
    let did = Arc::<Did>::default();
    let mut service = Service::new(store, quota);
    if let Some(policy) = policy {
        service.set_policy(policy).map_err(|failed| Failure::failed(failed.to_string()))?;
    }
    let waker = args.wake_with.take().map(|command| Waker::new(command, Arc::clone(&did)));
    if waker.is_some() {
        service.wake_devices();
    }
    let host = Host {
        service,
        waker,
        grants: !args.no_custody,
        lease: args.lease,
        looks: files.as_ref().map(|_| Instant::default()),
        files,
        did: Arc::clone(&did),
        refused: Refused::default(),
    };
    let set = |builder: segue_quic::Builder| {
        let builder = builder.listen(listen).links(args.links).accept_unknown(args.only.is_empty()).host_mailbox(host);
        let builder = builder.relay(!args.no_relay);
        args.only.iter().filter_map(Who::known).fold(builder, segue_quic::Builder::trust)
    };
    let device = Device::open(&args.state, set).await?;
    let looked_up = look_up(&device, &mut args.only).await;
    let monitor = match args.metrics.filter(|_| looked_up.is_ok()).map(|addr| Monitor::open(addr, &device.node, did)) {
        Some(Err(failure)) => {
            device.close().await;
            return Err(failure);
        }
        Some(Ok(monitor)) => Some(monitor),
        None => None,
    };
    if looked_up.is_ok() {
        say(format_args!("listening on {}", device.node.local_addr().unwrap_or(listen)));
        say(format_args!("device {}", device.node.device()));
        monitor.iter().for_each(|monitor| say(format_args!("metrics at http://{}/metrics", monitor.addr())));
        tracing::info!(space = quota.bytes, only = args.only.len(), "serving");
    }
    let done = match looked_up {
        Ok(()) => tokio::select! {
            done = report(&device) => done,
            () = interrupt.next() => Ok(()),
        },
        Err(failure) => Err(failure),
    };
    // Devices are told before the process ends, and what was confirmed is durable already.
    device.close().await;
    drop(monitor);
    done.map(|()| Exit::Resolved)
}

/// A state that was in use has its key: with another one the service would be another device, which nobody knows.
fn has_key(dir: &Path) -> Result<(), Failure> {
    let lost = |file: &&str| dir.join(file).exists();
    match [JOURNAL, "mailbox.redb"].into_iter().find(lost).filter(|_| !dir.join(KEY_FILE).exists()) {
        Some(file) => Err(Failure::failed(format!(
            "{} has {file}, but no {KEY_FILE}: the key by which devices know this service is lost. Restore it from a copy; or begin a new service, which has another id, with --state of a new directory",
            dir.display()
        ))),
        None => Ok(()),
    }
}

/// What a node calls its journal.
const JOURNAL: &str = "journal.redb";

async fn look_up(device: &Device, only: &mut [Who]) -> Result<(), Failure> {
    for who in only {
        who.look_up(&device.node).await?;
        device.node.trust(who.id()).await?;
    }
    Ok(())
}

/// Logs what happens, until the node halts.
async fn report(device: &Device) -> Result<(), Failure> {
    let (mut refusals, mut minutes) = (Refusals::default(), tokio::time::interval(WINDOW));
    loop {
        let event = tokio::select! {
            event = device.node.next_event() => event,
            now = minutes.tick() => {
                refusals.turn(now.into_std()).into_iter().for_each(Line::log);
                continue;
            }
        };
        match event {
            Some(Event::Linked { peer, .. }) => tracing::info!(%peer, "linked"),
            Some(Event::Unlinked { peer, code, remote, .. }) => {
                tracing::info!(peer = peer.map(tracing::field::display), ?code, remote, "unlinked");
            }
            Some(Event::Refused { peer, code, .. }) => refusals.hear(peer, code).into_iter().for_each(Line::log),
            Some(Event::Halted { text }) => {
                return Err(Failure::failed(text.replace("open the node again", "start the service again")));
            }
            Some(_) => {}
            None => return Err(segue_quic::Error::Stopped.into()),
        }
    }
}

/// The service, as a node hosts it.
struct Host {
    service: Service<Store>,
    /// How devices are woken, if they are.
    waker: Option<Waker>,
    /// Whether it signs for sessions that are delegated to it.
    grants: bool,
    /// The longest lease of an owner.
    lease: Duration,
    /// What its operator says of accounts, if it demands some.
    files: Option<Files>,
    /// When to look at these next, if there are such.
    looks: Option<Instant>,
    did: Arc<Did>,
    refused: Refused,
}

/// What the log is told of envelopes that were refused: whoever may put some may have as many refused as it likes.
#[derive(Debug, Default)]
struct Refused {
    told: Option<Instant>,
    untold: u64,
}

impl Refused {
    /// How many the log is told of now that there are so many more, if it is told of any: those since it was told last.
    fn tell(&mut self, now: Instant, more: u64) -> Option<u64> {
        self.untold = self.untold.saturating_add(more);
        if self.untold == 0 || self.told.is_some_and(|told| told.after(PAUSE) > now) {
            return None;
        }
        self.told = Some(now);
        Some(std::mem::take(&mut self.untold))
    }
}

/// How often the operator's files are looked at though nothing comes, in microseconds. From: an operator who changed one
/// looks at the log.
const EVERY: u64 = 2_000_000;

/// In microseconds. From: an operator reads a log by the minute; guess.
const PAUSE: u64 = 60_000_000;

impl Host {
    /// Another policy, if the operator's files say something else. What can't be read leaves it as it is.
    fn look(&mut self) -> Result<(), String> {
        match self.files.as_mut().and_then(Files::changed) {
            Some(Ok(policy)) => {
                tracing::info!(accounts = policy.accounts.len(), devices = policy.devices.len(), "accounts read again");
                self.service.set_policy(policy).map_err(|failed| failed.to_string())
            }
            Some(Err(failure)) => {
                tracing::warn!("accounts stay as they were: {failure}");
                Ok(())
            }
            None => Ok(()),
        }
    }
}

impl MailboxHost for Host {
    fn keeps_custody(&self) -> bool {
        self.grants
    }

    fn was_put_back(&self, mark: u64) -> bool {
        // A store that can't be read fails when it is used.
        self.service.directory().sets().is_ok_and(|sets| sets < mark)
    }

    fn begin(&mut self, now: Instant, me: DeviceId, tenure: Hash) -> Result<(), String> {
        let lease = u64::try_from(self.lease.as_micros()).unwrap_or(u64::MAX);
        self.service.keep_custody(now, Terms { me, tenure, lease }).map_err(|failed| failed.to_string())
    }

    fn next_timeout(&self) -> Option<Instant> {
        self.service.next_timeout().into_iter().chain(self.looks).min()
    }

    fn handle(&mut self, now: Instant, came: Vec<Hosted>) -> Result<Said, String> {
        self.service.set_clock(now, unix_ms());
        self.look()?;
        self.looks = self.looks.map(|_| now.after(EVERY));
        let before = self.service.counts().refused;
        let given = self.service.handle(now, came).map_err(|failed| failed.to_string())?;
        let mark = if self.grants { self.service.directory().sets().map_err(|failed| failed.to_string())? } else { 0 };
        let counts = self.service.counts();
        self.did.tell(counts, mark, given.signs.len());
        if let Some(refused) = self.refused.tell(now, counts.refused - before) {
            tracing::warn!(refused, "envelopes refused: no room, or too fast");
        }
        tracing::debug!(counts.put, counts.given, "served");
        let Given { answers, tells, signs, closes, logins, wakes } = given;
        for waking in wakes {
            self.waker.iter().for_each(|waker| waker.wake(waking));
        }
        for (device, login) in logins {
            match login {
                Ok(account) => tracing::info!(%device, account, "logged in"),
                Err(why) => tracing::warn!(%device, why, "a token was refused"),
            }
        }
        Ok(Said { answers, tells, signs, closes, mark })
    }
}

/// Milliseconds since 1970.
fn unix_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

impl Drop for Host {
    fn drop(&mut self) {
        let counts = self.service.counts();
        tracing::info!(counts.put, counts.given, counts.refused, "the mailbox is closed");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_log_is_told_of_refusals_at_once_and_then_by_the_minute_with_all_between() {
        let (mut refused, start) = (Refused::default(), Instant::default());
        assert_eq!(refused.tell(start, 0), None);
        assert_eq!(refused.tell(start, 3), Some(3));
        let flood = (1..1_000).filter_map(|n| refused.tell(start.after(n * 50_000), 2));
        assert_eq!(flood.count(), 0);
        assert_eq!(refused.tell(start.after(PAUSE), 0), Some(1_998));
        assert_eq!(refused.tell(start.after(10 * PAUSE), 0), None);
    }
}
