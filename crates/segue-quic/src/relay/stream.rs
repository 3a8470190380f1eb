//! A stream of packets as it is read, and how streams end.

use std::time::Duration;

use quinn::{ReadError, RecvStream, StoppedError, VarInt, WriteError};
use segue_proto::limits::RELAY_IDLE;
use segue_proto::{Clause, Code, Rules};
use tokio::time::timeout;

use super::pipe::Cutter;

/// What is read at once, in bytes. From: guess.
const READ: usize = 32 << 10;

/// A stream of packets that comes in.
#[derive(Debug)]
pub(crate) struct Packets {
    stream: RecvStream,
    cutter: Cutter,
    /// What came with the first frame.
    rest: Vec<u8>,
}

/// How a stream of packets ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// Its sender has ended it.
    Finished,
    /// Its sender reset it.
    Reset(VarInt),
    /// It broke the rules, brought nothing for too long, or its link is gone.
    Broken(Code),
}

impl End {
    /// Why there is no way any more.
    pub(super) fn code(self) -> Code {
        match self {
            End::Finished => Code::LINK_LOST,
            End::Reset(code) => code_of(code),
            End::Broken(code) => code,
        }
    }
}

impl Packets {
    pub(crate) fn new(stream: RecvStream, rest: Vec<u8>) -> Packets {
        Packets { stream, cutter: Cutter::default(), rest }
    }

    /// Waits for the next bytes, and hands out the packets that are whole; how many bytes came.
    pub(super) async fn read(&mut self, rules: Rules, each: impl FnMut(&[u8])) -> Result<usize, End> {
        let strict = rules.keeps(Clause::SERVICE_RELAY_8);
        let malformed = |_| End::Broken(Code::WIRE_LENGTH);
        if !self.rest.is_empty() {
            let rest = std::mem::take(&mut self.rest);
            self.cutter.push(&rest, strict, each).map_err(malformed)?;
            return Ok(rest.len());
        }
        let read = timeout(Duration::from_micros(RELAY_IDLE), self.stream.read_chunk(READ, true)).await;
        let chunk = match read {
            Ok(Ok(Some(chunk))) => chunk.bytes,
            Ok(Ok(None)) => return Err(End::Finished),
            Ok(Err(ReadError::Reset(code))) => return Err(End::Reset(code)),
            Ok(Err(_)) => return Err(End::Broken(Code::LINK_LOST)),
            Err(_) => return Err(End::Broken(Code::LIMIT_IDLE)),
        };
        self.cutter.push(&chunk, strict, each).map_err(malformed)?;
        Ok(chunk.len())
    }

    /// Asks the sender to stop. What has ended needn't be.
    pub(super) fn stop(&mut self, code: VarInt) {
        let _ = self.stream.stop(code);
    }
}

/// Why a stream that goes out is asked for no more.
pub(super) fn how_stopped(stopped: &Result<Option<VarInt>, StoppedError>) -> Code {
    match stopped {
        Ok(Some(code)) => code_of(*code),
        _ => Code::LINK_LOST,
    }
}

/// Why a stream takes nothing any more.
pub(super) fn how_failed(error: &WriteError) -> Code {
    match error {
        WriteError::Stopped(code) => code_of(*code),
        _ => Code::LINK_LOST,
    }
}

fn code_of(number: VarInt) -> Code {
    u16::try_from(number.into_inner()).map_or(Code::LINK_LOST, Code::from_number)
}
