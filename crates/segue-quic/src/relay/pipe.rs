//! Packets on their way to a stream, each behind its length (SERVICE-RELAY-8).

use std::sync::{Mutex, MutexGuard, PoisonError};

use segue_proto::limits::{MAX_PACKET, RELAY_BUFFER};
use tokio::sync::Notify;

/// Packets that a stream hasn't taken. One that doesn't fit is dropped, as on any path: whoever sent it sends it again, and
/// slower.
#[derive(Debug, Default)]
pub(super) struct Pipe {
    state: Mutex<State>,
    filled: Notify,
    taken: Notify,
}

#[derive(Debug, Default)]
struct State {
    bytes: Vec<u8>,
    ended: bool,
}

impl Pipe {
    /// Adds a packet, up to so many bytes; false if it is dropped.
    pub(super) fn push(&self, packet: &[u8], most: usize) -> bool {
        let mut state = self.lock();
        let fits = state.bytes.len() + LENGTH + packet.len() <= most;
        let Some(len) = u16::try_from(packet.len()).ok().filter(|len| *len > 0 && fits && !state.ended) else {
            return false;
        };
        state.bytes.extend_from_slice(&len.to_be_bytes());
        state.bytes.extend_from_slice(packet);
        drop(state);
        self.filled.notify_one();
        true
    }

    /// No packet follows.
    pub(super) fn end(&self) {
        self.lock().ended = true;
        self.filled.notify_one();
    }

    /// What there is, once there is some; none behind the last packet. One task at a time may wait.
    pub(super) async fn take(&self) -> Option<Vec<u8>> {
        loop {
            {
                let mut state = self.lock();
                if !state.bytes.is_empty() {
                    self.taken.notify_one();
                    return Some(std::mem::take(&mut state.bytes));
                }
                if state.ended {
                    return None;
                }
            }
            self.filled.notified().await;
        }
    }

    /// Waits until nothing is in it, as a service does that doesn't keep SERVICE-RELAY-5.
    pub(super) async fn drained(&self) {
        while !self.lock().bytes.is_empty() {
            self.taken.notified().await;
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What each of so many streams that a service passes on may hold, in bytes. All together may hold 64 MiB, as what is received
/// of all peers (threat 22), and as much again that is being written.
pub(super) fn share(streams: u64) -> usize {
    let streams = usize::try_from(streams).unwrap_or(usize::MAX).max(1);
    ((64 << 20) / streams).clamp(4 * (LENGTH + MAX_PACKET), RELAY_BUFFER)
}

/// The bytes of a packet's length.
const LENGTH: usize = 2;

/// Cuts a stream into packets.
#[derive(Debug, Default)]
pub(super) struct Cutter {
    held: Vec<u8>,
}

/// What no packet begins with: a length of nothing, or one beyond MAX_PACKET.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Malformed;

impl Cutter {
    /// Takes the next bytes of the stream, and hands out the packets that are whole. What is left is less than a packet.
    /// `strict` is off for one that doesn't keep SERVICE-RELAY-8.
    pub(super) fn push(&mut self, bytes: &[u8], strict: bool, mut each: impl FnMut(&[u8])) -> Result<(), Malformed> {
        self.held.extend_from_slice(bytes);
        let mut at = 0;
        while let Some(len) = self.held.get(at..).and_then(<[u8]>::first_chunk) {
            let len = usize::from(u16::from_be_bytes(*len));
            if strict && !(1..=MAX_PACKET).contains(&len) {
                return Err(Malformed);
            }
            let Some(packet) = self.held.get(at + LENGTH..at + LENGTH + len) else { break };
            each(packet);
            at += LENGTH + len;
        }
        self.held.drain(..at);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_is_not_taken_is_bounded_and_the_rest_goes_on() {
        let (pipe, packet) = (Pipe::default(), [7; MAX_PACKET]);
        let fitted = (0..1_000).filter(|_| pipe.push(&packet, RELAY_BUFFER)).count();
        assert_eq!(fitted, RELAY_BUFFER / (LENGTH + MAX_PACKET));
        let taken = pipe.take().await.expect("it holds some");
        assert!(taken.len() <= RELAY_BUFFER);
        assert!(pipe.push(&[1], RELAY_BUFFER), "there is room again");
        pipe.end();
        assert!(!pipe.push(&[2], RELAY_BUFFER), "it has ended");
        assert_eq!(pipe.take().await, Some(vec![0, 1, 1]));
        assert_eq!(pipe.take().await, None);
    }

    #[test]
    fn many_streams_have_less_each_and_all_of_a_full_service_have_some() {
        assert_eq!(share(0), RELAY_BUFFER);
        assert_eq!(share(256), RELAY_BUFFER);
        assert_eq!(share(1_024), RELAY_BUFFER / 4);
        assert!(share(u64::MAX) >= 4 * MAX_PACKET);
    }

    #[test]
    fn a_stream_is_cut_into_packets_however_it_comes() {
        let bytes = [0, 2, 1, 2, 0, 1, 3, 0, 3, 4];
        for size in 1..=bytes.len() {
            let (mut cutter, mut got) = (Cutter::default(), Vec::new());
            for piece in bytes.chunks(size) {
                cutter.push(piece, true, |packet| got.push(packet.to_vec())).expect("well formed");
            }
            assert_eq!(got, [vec![1, 2], vec![3]], "pieces of {size}");
        }
    }

    #[test]
    fn a_length_of_nothing_or_beyond_the_cap_is_no_packet() {
        let [most, beyond] = [MAX_PACKET, MAX_PACKET + 1].map(|len| (len as u16).to_be_bytes());
        for (length, right) in [([0, 0], false), (beyond, false), (most, true), ([0, 1], true)] {
            let cut = Cutter::default().push(&length, true, |_| ());
            assert_eq!(cut.is_ok(), right, "{length:?}");
        }
    }
}
