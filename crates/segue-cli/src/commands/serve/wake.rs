//! Devices that are woken: the operator's command, run for each.

use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use segue_service::Waking;
use tokio::process::Command;
use tokio::runtime::Handle;
use tokio::sync::Semaphore;

use super::Refused;
use super::monitor::Did;

/// Runs the command. Nothing waits for it.
pub(super) struct Waker {
    command: Arc<str>,
    runtime: Handle,
    /// So many more may run now.
    room: Arc<Semaphore>,
    failures: Arc<Failures>,
}

/// What the log and the metrics are told of devices that weren't woken.
struct Failures {
    did: Arc<Did>,
    since: Instant,
    log: Mutex<Refused>,
}

impl Waker {
    /// One with this command, which the runtime of this call runs.
    pub(super) fn new(command: String, did: Arc<Did>) -> Waker {
        let failures = Arc::new(Failures { did, since: Instant::now(), log: Mutex::default() });
        Waker { command: command.into(), runtime: Handle::current(), room: Arc::new(Semaphore::new(AT_ONCE)), failures }
    }

    /// Begins to wake a device.
    pub(super) fn wake(&self, waking: Waking) {
        let failures = Arc::clone(&self.failures);
        failures.did.wakes();
        let Ok(room) = Arc::clone(&self.room).try_acquire_owned() else {
            return failures.tell(&waking, &format!("{AT_ONCE} commands run already"));
        };
        let command = Arc::clone(&self.command);
        self.runtime.spawn(async move {
            match run(&command, &waking).await {
                Ok(()) => tracing::info!(device = %waking.device, by = %waking.by, "a device was woken"),
                Err(why) => failures.tell(&waking, &why),
            }
            drop(room);
        });
    }
}

impl Failures {
    /// A device wasn't woken. Devices may bring that about as often as they like, so not each is told of.
    fn tell(&self, waking: &Waking, why: &str) {
        self.did.fails_to_wake();
        let now = segue_quic::Instant::from_micros(u64::try_from(self.since.elapsed().as_micros()).unwrap_or(u64::MAX));
        let told = self.log.lock().unwrap_or_else(PoisonError::into_inner).tell(now, 1);
        if let Some(times) = told {
            tracing::warn!(device = %waking.device, why, times, "devices weren't woken (--wake-with)");
        }
    }
}

/// Runs the command to its end.
async fn run(command: &str, waking: &Waking) -> Result<(), String> {
    // What others chose goes by the environment alone, so that no shell reads it.
    let mut shell = Command::new("sh");
    shell.args(["-c", command]).env("SEGUE_DEVICE", waking.device.to_string()).env("SEGUE_BY", waking.by.to_string());
    shell.env_remove("SEGUE_TOKEN");
    // What it prints isn't the service's to say.
    shell.stdin(Stdio::null()).stdout(Stdio::null()).kill_on_drop(true);
    let mut child = shell.spawn().map_err(|error| error.to_string())?;
    match tokio::time::timeout(PATIENCE, child.wait()).await {
        Ok(Ok(status)) if status.success() => Ok(()),
        Ok(Ok(status)) => Err(status.to_string()),
        Ok(Err(error)) => Err(error.to_string()),
        // It ends as it is dropped.
        Err(_) => Err(format!("it ran for {} s, and was ended", PATIENCE.as_secs())),
    }
}

/// The commands that run at once. From: each is a process or two; guess.
const AT_ONCE: usize = 32;

/// How long one may run. From: a push gateway's answer, many times; it is in the help.
const PATIENCE: Duration = Duration::from_secs(30);
