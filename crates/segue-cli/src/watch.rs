//! Waiting for a handoff: the bar, the patience, and the ways out.

use std::cell::Cell;
use std::pin::pin;
use std::time::Duration;

use segue_quic::{Code, DeviceId, Event, HandoffError, Hash, Node, Receipt, SessionId};
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};

use crate::alarms::Alarms;
use crate::failure::Failure;
use crate::flow::{Flow, Way};
use crate::terminal::{Interrupt, note};

/// A handoff that is waited for.
pub(crate) struct Watch<'a> {
    pub(crate) node: &'a Node,
    pub(crate) session: SessionId,
    /// The other device.
    pub(crate) peer: DeviceId,
    /// Over whose link it is spoken to: its own, or that of the service that signs for both.
    pub(crate) door: DeviceId,
    /// Where that is looked for.
    pub(crate) address: &'a str,
    /// How long nothing may move.
    pub(crate) patience: Duration,
    /// Which way the session goes.
    pub(crate) way: Way,
    /// What moved of it already, by way of the service.
    pub(crate) flow: Cell<Option<Flow>>,
}

/// How it ended well.
pub(crate) struct Moved {
    /// The record of the new owner.
    pub(crate) record: Hash,
    /// What moved, and how fast.
    pub(crate) throughput: String,
}

/// Why waiting ended early.
enum Stop {
    /// Nothing moved for as long as the user wanted to wait.
    Silence,
    /// The user interrupted.
    Interrupted,
    /// The other side and this one won't talk.
    Unlinkable(Code),
    /// The other side, or the service, takes no more for now, and the next try would come too late.
    Busy(Busy),
}

/// What is known of a session that was asked for and isn't any more.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Word {
    /// It came all the same, by this record.
    Came(Hash),
    /// It stays where it was.
    Over(Option<Code>),
    /// Nothing yet.
    None,
}

/// How long the other device's word is waited for whether it handed over a session that isn't wanted any more. From: a
/// round trip, many times.
const WORD: Duration = Duration::from_secs(2);

/// A refusal after which it is tried again.
#[derive(Clone, Copy)]
struct Busy {
    code: Code,
    /// When.
    at: Instant,
}

impl Watch<'_> {
    /// Waits for the end of a call that hands over or asks. Gives it up, if that is still possible, after the time in
    /// which nothing moves.
    ///
    /// # Errors
    /// What to tell the user; pending if the session may still move.
    pub(crate) async fn call(
        &self,
        call: impl Future<Output = Result<Receipt, HandoffError>>,
    ) -> Result<Moved, Failure> {
        let mut call = pin!(call);
        let mut pulse = self.pulse().await?;
        loop {
            let stop = tokio::select! {
                biased;
                done = &mut call => return self.end(pulse, done).await,
                stop = self.beat(&mut pulse) => stop?,
            };
            let Some(stop) = stop else { continue };
            if self.node.cancel_handoff(self.session).await.is_ok() {
                let ended = match self.way {
                    Way::In => self.word(call.await).await,
                    Way::Out { .. } => Word::Over(None),
                };
                return match ended {
                    Word::Came(record) => Ok(self.moved(pulse, record).await),
                    Word::Over(_) | Word::None => {
                        pulse.flow.finish();
                        let linked = self.node.peers().await?.contains(&self.door);
                        Err(if ended == Word::None { self.is_unknown() } else { self.stopped(&stop, linked) })
                    }
                };
            }
            if self.pending().await? {
                pulse.flow.finish();
                return Err(self.is_pending());
            }
            // It ended between the two questions, or the GRANT is being written down: the call tells soon.
        }
    }

    /// What became of a session that was asked for and isn't wanted any more: the other device may have handed it over
    /// before it heard that.
    async fn word(&self, ended: Result<Receipt, HandoffError>) -> Word {
        match ended {
            Ok(receipt) => return Word::Came(receipt.record),
            Err(error) if !error.is_pending() => return Word::Over(Some(error.code())),
            Err(_) => {}
        }
        let word = async {
            while let Some(event) = self.node.next_event().await {
                match event {
                    Event::HandoffResolved { session, result, .. } if session == self.session => {
                        return result.map_or_else(|code| Word::Over(Some(code)), Word::Came);
                    }
                    _ => {}
                }
            }
            Word::None
        };
        timeout(WORD, word).await.unwrap_or(Word::None)
    }

    /// Waits until a GRANT of an earlier run is acknowledged, or something took its place.
    ///
    /// # Errors
    /// Pending.
    pub(crate) async fn acknowledgement(&self) -> Result<(), Failure> {
        let mut pulse = self.pulse().await?;
        while self.pending().await? {
            if self.beat(&mut pulse).await?.is_some() {
                pulse.flow.finish();
                return Err(self.is_pending());
            }
        }
        pulse.flow.finish();
        Ok(())
    }

    async fn pulse(&self) -> Result<Pulse, Failure> {
        let mut flow = self.flow.take().unwrap_or_else(|| Flow::new(self.node, Some(self.session), self.way));
        flow.count().await?;
        let mut ticks = interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Ok(Pulse {
            flow,
            ticks,
            interrupt: Interrupt::open()?,
            last: Instant::now(),
            moved: 0,
            alarms: Alarms::default(),
            warned: None,
            busy: None,
        })
    }

    /// Waits for the next sign of life, or that there is none for too long.
    async fn beat(&self, pulse: &mut Pulse) -> Result<Option<Stop>, Failure> {
        tokio::select! {
            event = self.node.next_event() => match event {
                Some(event) => Ok(self.hear(pulse, event)),
                None => Err(segue_quic::Error::Stopped.into()),
            },
            _ = pulse.ticks.tick() => {
                // How much there is of what a link brings comes with events.
                let moved = match self.way == Way::In && self.door == self.peer {
                    true => pulse.flow.count().await?,
                    false => pulse.flow.look().await?,
                };
                pulse.moved(moved);
                Ok((pulse.last.elapsed() >= self.patience).then(|| pulse.silence()))
            }
            () = pulse.interrupt.next() => Ok(Some(Stop::Interrupted)),
        }
    }

    fn hear(&self, pulse: &mut Pulse, event: Event) -> Option<Stop> {
        pulse.flow.mailed().hear(&event);
        if let Some(text) = pulse.alarms.hear(&event) {
            note(text);
        }
        match event {
            Event::Linked { peer, .. } if peer == self.door => {
                pulse.last = Instant::now();
                pulse.warned = None;
            }
            Event::Linked { peer, relayed, .. } if peer == self.peer => {
                pulse.last = Instant::now();
                let way = if relayed { "over a link that the service passes on" } else { "directly" };
                note(format_args!("linked with {peer}: content goes {way}"));
            }
            Event::Unlinked { peer: Some(peer), code: Code::SVC_TARGET_MISMATCH, .. } if peer == self.peer => {
                note(format_args!("another device is where {peer} should be; content goes by the service"));
            }
            Event::Progress { session, done, total } if session == self.session && self.door == self.peer => {
                pulse.flow.set(done, total);
                pulse.last = Instant::now();
            }
            Event::Unlinked { peer: Some(peer), code, .. } if peer == self.door => {
                if matches!(
                    code,
                    Code::AUTH_FAILED | Code::AUTH_BINDING | Code::AUTH_UNKNOWN_DEVICE | Code::VER_BELOW_FLOOR
                ) {
                    return Some(Stop::Unlinkable(code));
                }
                if pulse.warned != Some(code) {
                    pulse.warned = Some(code);
                    let (address, secs) = (self.address, self.patience.as_secs());
                    note(format_args!("no link to {address} ({}); trying again for {secs} s", code.name()));
                }
            }
            Event::HandoffDeferred { session, code, wait, .. } if session == self.session => {
                let busy = Busy { code, at: Instant::now() + wait };
                if busy.at - pulse.last >= self.patience {
                    return Some(Stop::Busy(busy));
                }
                if pulse.busy.replace(busy).is_none() {
                    let (who, secs) = (self.spoken_to(), self.patience.as_secs());
                    note(format_args!("{who} takes no more for now ({}); trying again for {secs} s", code.name()));
                }
            }
            Event::Halted { text } => note(text),
            _ => {}
        }
        None
    }

    /// Who refuses or takes what is asked for here.
    fn spoken_to(&self) -> String {
        match self.door == self.peer {
            true => format!("{} at {}", self.peer, self.address),
            false => format!("the service at {}, or {} behind it,", self.address, self.peer),
        }
    }

    async fn end(&self, pulse: Pulse, done: Result<Receipt, HandoffError>) -> Result<Moved, Failure> {
        match done {
            Ok(receipt) => Ok(self.moved(pulse, receipt.record).await),
            // It ended here, for want of data or by the device itself, with a request for the session on its way.
            Err(error) if self.way == Way::In && error.is_pending() => match self.word(Err(error)).await {
                Word::Came(record) => Ok(self.moved(pulse, record).await),
                ended => {
                    pulse.flow.finish();
                    Err(match ended {
                        Word::Over(Some(code)) => self.came_to_nothing(code),
                        _ => self.is_unknown(),
                    })
                }
            },
            Err(error) => {
                pulse.flow.finish();
                Err(match error.is_pending() {
                    true => Failure::pending(error.to_string()),
                    false => {
                        let service = Some(self.door).filter(|door| *door != self.peer);
                        Failure::failed(why(self.node, service, &error).await)
                    }
                })
            }
        }
    }

    /// A small session is over before the first look behind the call.
    async fn moved(&self, mut pulse: Pulse, record: Hash) -> Moved {
        // A node that has stopped counts nothing, and the session has moved all the same.
        let _ = pulse.flow.count().await;
        let stats = self.node.stats().await.unwrap_or_default();
        let direct = if self.way == Way::In { stats.bulk_rx } else { stats.bulk_tx };
        let way = match self.door == self.peer {
            true => "",
            false if direct > 0 && stats.links_relayed > 0 => ", over a link that the service passed on",
            false if direct > 0 => ", directly",
            false => ", by way of the service",
        };
        let moved = pulse.flow.finish().unwrap_or_else(|| "no content moved".to_owned());
        Moved { record, throughput: format!("{moved}{way}") }
    }

    async fn pending(&self) -> Result<bool, Failure> {
        let view = self.node.session(self.session).await?;
        Ok(view.is_some_and(|view| view.pending.is_some()))
    }

    fn is_pending(&self) -> Failure {
        let (session, peer) = (self.session, self.peer);
        Failure::pending(format!(
            "session {session} is on its way to {peer}, which hasn't confirmed; nobody writes meanwhile. The same command again waits for it; `segue takeover` brings the session back without that device"
        ))
    }

    fn came_to_nothing(&self, code: Code) -> Failure {
        let (session, peer, name, meaning) = (self.session, self.peer, code.name(), code.meaning());
        Failure::failed(format!("session {session} wasn't handed over by {peer} ({name}): {meaning}"))
    }

    fn is_unknown(&self) -> Failure {
        let (session, peer) = (self.session, self.peer);
        Failure::pending(format!(
            "session {session} isn't asked for any more, but {peer} may have handed it over before it heard that; `segue owner` tells whether it came, and the same command again asks for it"
        ))
    }

    /// What to know of a session that stays here, and that a service signs for.
    fn stays_delegated(&self) -> &'static str {
        match self.way {
            Way::Out { .. } => {
                "; the service signs who owns it next until `segue reclaim`, without which `segue send --to` can't hand it over"
            }
            Way::In => "",
        }
    }

    fn stopped(&self, stop: &Stop, linked: bool) -> Failure {
        let (session, peer, address) = (self.session, self.peer, self.address);
        let outcome = match self.way {
            Way::Out { .. } => "this device still owns it",
            Way::In => "nothing changed hands",
        };
        Failure::failed(match stop {
            Stop::Silence if self.door != self.peer && !linked => format!(
                "the service {} wasn't reached at {address} within {} s, so nothing is known of {peer}, and {outcome}; check that `segue serve` runs there, --mailbox and the network, and try again{}",
                self.door,
                self.patience.as_secs(),
                self.stays_delegated()
            ),
            Stop::Silence if self.door != self.peer => format!(
                "the handoff of session {session} with {peer} by way of the service at {address} failed (HO_TIMEOUT): nothing was heard for {} s, and {outcome}; check that the other device uses that service (--mailbox) and that its user accepts, and try again{}",
                self.patience.as_secs(),
                self.stays_delegated()
            ),
            Stop::Silence => format!(
                "the handoff of session {session} with {peer} at {address} failed (HO_TIMEOUT): nothing was heard for {} s, and {outcome}; check that the other device runs there and that its user accepts, and try again",
                self.patience.as_secs()
            ),
            Stop::Busy(Busy { code, at }) => {
                let left = at.saturating_duration_since(Instant::now()).as_secs() + 1;
                format!(
                    "the handoff of session {session} with {peer} failed ({}): {} takes no more for now, and {outcome}; try again in {left} s, or let it be tried for longer: --timeout",
                    code.name(),
                    self.spoken_to()
                )
            }
            Stop::Interrupted if self.door != self.peer => format!("interrupted; {outcome}{}", self.stays_delegated()),
            Stop::Interrupted => format!("interrupted; {outcome}"),
            Stop::Unlinkable(Code::VER_BELOW_FLOOR) => {
                format!(
                    "{peer} at {address} speaks no generation that both accept (VER_BELOW_FLOOR); update the older one"
                )
            }
            Stop::Unlinkable(code) if self.door != self.peer => format!(
                "the service at {address} isn't {}, or doesn't serve this device ({}); check --mailbox-device, and that it serves {} (--only)",
                self.door,
                code.name(),
                self.node.device()
            ),
            Stop::Unlinkable(code) => format!(
                "the device at {address} isn't {peer}, or doesn't accept this device ({}); check --device, and that the other side vouches for {} (--from)",
                code.name(),
                self.node.device()
            ),
        })
    }
}

/// Why a handoff came to nothing, as far as this device knows whose the session is, and over which service it was to go.
pub(crate) async fn why(node: &Node, service: Option<DeviceId>, error: &HandoffError) -> String {
    match (error, service) {
        (HandoffError::Moved { session, device, code }, _) => {
            let owner = node.session(*session).await.ok().flatten().and_then(|view| view.owner);
            let name = code.name();
            let came = format!("the handoff of session {session} with device {device} came to nothing ({name})");
            match owner {
                Some(owner) if owner == node.device() => {
                    format!("{came}: the session moved on meanwhile, and this device owns it; try again")
                }
                Some(owner) if owner == *device => {
                    format!("{came}: that device gave it up, and owns the session still; ask its user, and try again")
                }
                _ => error.to_string(),
            }
        }
        (HandoffError::Failed { session, code: Code::STORE_ROLLED_BACK, .. }, Some(service)) => format!(
            "service {service} doesn't sign for session {session} ({}): its store may be a restored backup, so that it can't tell what it signed before. {NEW_TENURE}",
            Code::STORE_ROLLED_BACK.name()
        ),
        (HandoffError::Refused { session, device, code: Code::HO_UNKNOWN_SESSION, .. }, Some(service)) => format!(
            "service {service}, or device {device} behind it, doesn't know session {session} ({}). If the service's store was put back from a backup that is older than the session: {NEW_TENURE}",
            Code::HO_UNKNOWN_SESSION.name()
        ),
        _ => error.to_string(),
    }
}

/// The way on with a service that forgot what it signed (SERVICE-TENURE-1).
const NEW_TENURE: &str = "The session's owner takes it over by name (`segue takeover`), which needs no service, and lets the service sign anew (`segue delegate`); tell the service's operator";

/// How often the bar and the patience are looked at.
const TICK: Duration = Duration::from_millis(100);

/// Some round trips.
const MOMENT: Duration = Duration::from_millis(500);

struct Pulse {
    flow: Flow,
    ticks: tokio::time::Interval,
    interrupt: Interrupt,
    /// When something moved last.
    last: Instant,
    moved: u64,
    alarms: Alarms,
    /// What was said last of the link.
    warned: Option<Code>,
    /// The last refusal after which it was to be tried again.
    busy: Option<Busy>,
}

impl Pulse {
    /// Why nothing was heard: a try that began a moment ago hasn't been answered, which says less than how those before it
    /// ended.
    fn silence(&self) -> Stop {
        match self.busy.filter(|busy| busy.at + MOMENT > Instant::now()) {
            Some(busy) => Stop::Busy(busy),
            None => Stop::Silence,
        }
    }

    fn moved(&mut self, done: u64) {
        if done != self.moved {
            self.last = Instant::now();
            self.moved = done;
        }
    }
}
