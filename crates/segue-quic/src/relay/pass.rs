//! What a service does: the packets of one device's stream go out on a stream to another.

use std::sync::Arc;
use std::time::Duration;

use quinn::{Connection, SendStream};
use segue_proto::limits::RELAY_RATE;
use segue_proto::wire::{Message, Relay};
use segue_proto::{Clause, Code, Ticket};
use tokio::sync::Mutex;
use tokio::time::{Instant, sleep_until, timeout};

use super::pipe::{Pipe, share};
use super::stream::{End, Packets, how_failed, how_stopped};
use crate::bulk::Shared;
use crate::driver::Input;
use crate::transport;

/// How long a stream may take to be opened, and the last packets of one that has ended to go out. From: a link's `FRAME_TIMEOUT`.
const LAST: Duration = Duration::from_secs(10);

/// How far a device may run ahead of its rate. From: guess; a burst that nobody need wait for.
const AHEAD: Duration = Duration::from_secs(1);

/// How fast a device's streams of packets are read, all together: who exceeds it fills the windows of its own link.
#[derive(Debug)]
pub(crate) struct Pace(Mutex<Instant>);

impl Pace {
    pub(crate) fn new() -> Pace {
        Pace(Mutex::new(Instant::now()))
    }

    /// Waits until so many bytes were allowed.
    async fn take(&self, bytes: usize) {
        let cost = Duration::from_micros(bytes as u64 * 1_000_000 / RELAY_RATE);
        let mut paid = self.0.lock().await;
        let now = Instant::now();
        *paid = (*paid).max(now) + cost;
        let until = *paid;
        drop(paid);
        if until > now + AHEAD {
            sleep_until(until - AHEAD).await;
        }
    }
}

/// A stream that is passed on.
pub(super) struct Pass {
    pub(super) ticket: Ticket,
    pub(super) packets: Packets,
    pub(super) to: Connection,
    pub(super) first: Relay,
    pub(super) pace: Arc<Pace>,
    pub(super) shared: Shared,
}

impl Pass {
    /// Passes the packets on until one side ends that, and then ends it on the other (SERVICE-RELAY-4).
    pub(super) async fn run(mut self) {
        self.shared.counters.relays.add(1);
        match timeout(LAST, self.to.open_uni()).await {
            Ok(Ok(mut out)) => {
                let over = self.splice(&mut out).await;
                self.end(out, over);
            }
            _ => self.packets.stop(self.shared.stop_code(Code::LINK_LOST)),
        }
        self.shared.counters.relays_closed.add(1);
        self.shared.tell(Input::RelayEnded(self.ticket)).await;
    }

    /// Ends the streams as the one of them ended; one that doesn't keep SERVICE-RELAY-4 ends them otherwise.
    fn end(&mut self, mut out: SendStream, over: Result<(), Over>) {
        let lost = transport::close_code(Code::LINK_LOST);
        match (over, self.shared.rules.keeps(Clause::SERVICE_RELAY_4)) {
            (Ok(()), true) | (Err(Over::Reset(_)), false) => drop(out.finish()),
            (Ok(()), false) => drop(out.reset(lost)),
            (Err(Over::Reset(code)), true) => drop(out.reset(code)),
            (Err(Over::Stopped(code)), true) => self.packets.stop(self.shared.stop_code(code)),
            (Err(Over::Stopped(_)), false) => self.packets.stop(lost),
            (Err(Over::Broken(code)), _) => {
                self.packets.stop(self.shared.stop_code(code));
                let _ = out.reset(transport::close_code(code));
            }
        }
    }

    async fn splice(&mut self, out: &mut SendStream) -> Result<(), Over> {
        let (pipe, rules) = (Pipe::default(), self.shared.rules);
        let bounded = rules.keeps(Clause::SERVICE_RELAY_5);
        let counters = self.shared.counters.clone();
        let stopped = out.stopped();
        let first = Message::from(self.first.clone()).to_frame();
        let write = async {
            let failed = |error| Over::Stopped(how_failed(&error));
            out.write_all(&first).await.map_err(failed)?;
            while let Some(packets) = pipe.take().await {
                out.write_all(&packets).await.map_err(failed)?;
                counters.relayed.add(packets.len() as u64);
            }
            Ok(())
        };
        let read = async {
            loop {
                let most =
                    if bounded { share(counters.relays.get() - counters.relays_closed.get()) } else { usize::MAX };
                let each = |packet: &[u8]| {
                    if !pipe.push(packet, most) {
                        counters.relay_dropped.add(1);
                    }
                };
                if !bounded {
                    pipe.drained().await;
                }
                match self.packets.read(rules, each).await {
                    Ok(bytes) => self.pace.take(bytes).await,
                    Err(end) => break end,
                }
            }
        };
        tokio::pin!(write);
        let end = tokio::select! {
            end = read => end,
            written = &mut write => return written,
            stopped = stopped => return Err(Over::Stopped(how_stopped(&stopped))),
        };
        match end {
            End::Finished => {
                pipe.end();
                timeout(LAST, write).await.unwrap_or(Err(Over::Broken(Code::LIMIT_PROGRESS)))
            }
            End::Reset(code) => Err(Over::Reset(code)),
            End::Broken(code) => Err(Over::Broken(code)),
        }
    }
}

/// Why packets aren't passed on any more, though their sender hasn't ended the stream.
enum Over {
    /// The sender reset it.
    Reset(quinn::VarInt),
    /// The receiver takes none any more.
    Stopped(Code),
    /// It broke the rules, or its link is gone.
    Broken(Code),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_device_runs_ahead_of_its_rate_for_a_moment_and_no_more() {
        let (pace, began) = (Pace::new(), Instant::now());
        pace.take(RELAY_RATE as usize).await;
        assert_eq!(began.elapsed(), Duration::ZERO);
        for _ in 0..2 {
            pace.take(RELAY_RATE as usize).await;
        }
        // The clock of tests ticks by the millisecond.
        let late = began.elapsed().abs_diff(2 * AHEAD);
        assert!(late <= Duration::from_millis(2), "{late:?}");
    }
}
