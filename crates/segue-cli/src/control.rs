//! Questions to the process that has the state directory open, over a local socket in it.
//!
//! `segue receive` runs for days, and the store has one user at a time; `segue owner` and its like ask that process
//! then. A request is a line, the answer is JSON: `{"ok": …}` or `{"error": text}`.

use std::path::Path;

use segue_quic::{ActorId, Hash, PartId, SessionId};

use crate::failure::Failure;
use crate::who::Who;

/// What may be asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Request {
    Owner,
    Receipt { session: Option<SessionId>, record: Option<Hash> },
    Devices,
    Revoke(Who),
    Conflicts(Option<SessionId>),
    Resolve { session: SessionId, part: PartId, how: How },
    Takeover(SessionId),
    Close(SessionId),
}

/// What is to become of a conflict.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum How {
    /// The version of this writer and number stands for all.
    Take(ActorId, u64),
    /// All versions of a file stay, under names of their own.
    Both,
}

impl Request {
    fn line(&self) -> String {
        match self {
            Request::Owner => "owner\n".to_owned(),
            Request::Receipt { session, record } => {
                let or_any = |id: Option<String>| id.unwrap_or_else(|| "any".to_owned());
                let (session, record) = (session.map(|id| id.to_string()), record.map(|id| id.to_string()));
                format!("receipt {} {}\n", or_any(session), or_any(record))
            }
            Request::Devices => "devices\n".to_owned(),
            Request::Revoke(who) => format!("revoke {who}\n"),
            Request::Conflicts(None) => "conflicts\n".to_owned(),
            Request::Conflicts(Some(session)) => format!("conflicts {session}\n"),
            Request::Resolve { session, part, how: How::Both } => format!("resolve {session} {part} both\n"),
            Request::Resolve { session, part, how: How::Take(writer, seq) } => {
                format!("resolve {session} {part} {writer} {seq}\n")
            }
            Request::Takeover(session) => format!("takeover {session}\n"),
            Request::Close(session) => format!("close {session}\n"),
        }
    }

    fn parse(line: &str) -> Option<Request> {
        let (verb, rest) = line.trim_end().split_once(' ').unwrap_or((line.trim_end(), ""));
        Some(match verb {
            "owner" => Request::Owner,
            "receipt" => Request::receipt(rest)?,
            "devices" => Request::Devices,
            "revoke" => Request::Revoke(rest.parse().ok()?),
            "conflicts" if rest.is_empty() => Request::Conflicts(None),
            "conflicts" => Request::Conflicts(Some(SessionId::from_hex(rest)?)),
            "resolve" => Request::resolve(rest)?,
            "takeover" => Request::Takeover(SessionId::from_hex(rest)?),
            "close" => Request::Close(SessionId::from_hex(rest)?),
            _ => return None,
        })
    }
}

impl Request {
    fn receipt(rest: &str) -> Option<Request> {
        let (session, record) = rest.split_once(' ')?;
        let session = if session == "any" { None } else { Some(SessionId::from_hex(session)?) };
        let record = if record == "any" { None } else { Some(Hash::from_hex(record)?) };
        Some(Request::Receipt { session, record })
    }

    fn resolve(rest: &str) -> Option<Request> {
        let mut words = rest.split(' ');
        let (session, part) = (SessionId::from_hex(words.next()?)?, PartId::from_hex(words.next()?)?);
        let how = match words.next()? {
            "both" => How::Both,
            writer => How::Take(ActorId::from_hex(writer)?, words.next()?.parse().ok()?),
        };
        words.next().is_none().then_some(Request::Resolve { session, part, how })
    }
}

/// Asks the process that uses the state directory; none if none answers.
pub(crate) async fn ask(state: &Path, request: Request) -> Option<Result<String, Failure>> {
    let answer = socket::ask(state, &request.line()).await?;
    let answer: serde_json::Value = serde_json::from_slice(&answer).ok()?;
    Some(match (answer.get("ok"), answer.get("error")) {
        (Some(serde_json::Value::String(text)), _) => Ok(text.clone()),
        (_, Some(serde_json::Value::String(text))) => Err(Failure::failed(text.clone())),
        _ => return None,
    })
}

pub(crate) use socket::{Asked, Control};

#[cfg(unix)]
mod socket {
    use std::fs::File;
    use std::os::fd::AsRawFd;
    use std::path::{Path, PathBuf};

    use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
    use tokio::net::{UnixListener, UnixStream};
    use tokio::time::{Duration, timeout};

    use super::Request;
    use crate::failure::Failure;

    /// Takes requests, for as long as it lives.
    pub(crate) struct Control {
        listener: UnixListener,
    }

    /// A request that waits for its answer.
    pub(crate) struct Asked {
        pub(crate) request: Request,
        stream: UnixStream,
    }

    impl Control {
        /// None if the system has no such sockets here; only questions go unanswered then.
        pub(crate) fn open(state: &Path) -> Option<Control> {
            let _ = std::fs::remove_file(state.join(NAME));
            let place = Place::of(state)?;
            UnixListener::bind(&place.path).ok().map(|listener| Control { listener })
        }

        /// The next request.
        pub(crate) async fn next(&self) -> Asked {
            loop {
                let Ok((stream, _)) = self.listener.accept().await else {
                    // Out of descriptors: others will be let go of.
                    tokio::time::sleep(PATIENCE).await;
                    continue;
                };
                if let Ok(Some(asked)) = timeout(PATIENCE, read(stream)).await {
                    return asked;
                }
            }
        }
    }

    impl Asked {
        pub(crate) async fn answer(mut self, answer: Result<String, Failure>) {
            let json = match answer {
                Ok(text) => serde_json::json!({ "ok": text }),
                Err(failure) => serde_json::json!({ "error": failure.text }),
            };
            // Who asked may have gone.
            let _ = timeout(PATIENCE, self.stream.write_all(json.to_string().as_bytes())).await;
        }
    }

    async fn read(stream: UnixStream) -> Option<Asked> {
        let mut lines = BufReader::new(stream.take(MAX_REQUEST));
        let mut line = String::new();
        lines.read_line(&mut line).await.ok()?;
        Some(Asked { request: Request::parse(&line)?, stream: lines.into_inner().into_inner() })
    }

    pub(super) async fn ask(state: &Path, line: &str) -> Option<Vec<u8>> {
        let place = Place::of(state)?;
        let mut stream = UnixStream::connect(&place.path).await.ok()?;
        stream.write_all(line.as_bytes()).await.ok()?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.ok()?;
        Some(answer)
    }

    /// The socket's path. A socket's address holds some 100 bytes, so a longer path goes by the open directory.
    struct Place {
        path: PathBuf,
        _dir: Option<File>,
    }

    impl Place {
        fn of(state: &Path) -> Option<Place> {
            let path = state.join(NAME);
            if path.as_os_str().len() < 100 {
                return Some(Place { path, _dir: None });
            }
            let dir = File::open(state).ok()?;
            let path = PathBuf::from(format!("/proc/self/fd/{}/{NAME}", dir.as_raw_fd()));
            Some(Place { path, _dir: Some(dir) })
        }
    }

    const NAME: &str = "control";
    /// The longest request: a verb and a session's id, or a device's name.
    const MAX_REQUEST: u64 = 512;
    const PATIENCE: Duration = Duration::from_secs(1);
}

#[cfg(not(unix))]
mod socket {
    use std::path::Path;

    use super::Request;
    use crate::failure::Failure;

    /// This system has no local sockets that tokio knows: nobody is asked.
    pub(crate) struct Control;

    pub(crate) struct Asked {
        pub(crate) request: Request,
    }

    impl Control {
        pub(crate) fn open(_: &Path) -> Option<Control> {
            None
        }

        pub(crate) async fn next(&self) -> Asked {
            std::future::pending().await
        }
    }

    impl Asked {
        pub(crate) async fn answer(self, _: Result<String, Failure>) {}
    }

    pub(super) async fn ask(_: &Path, _: &str) -> Option<Vec<u8>> {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_read_as_they_are_written() {
        let session = SessionId::new([7; 16]);
        let who = Who::Name("my phone".to_owned());
        let part = PartId::new([8; 16]);
        for request in [
            Request::Conflicts(None),
            Request::Conflicts(Some(session)),
            Request::Resolve { session, part, how: How::Both },
            Request::Resolve { session, part, how: How::Take(ActorId::new([9; 32]), 3) },
            Request::Owner,
            Request::Receipt { session: None, record: None },
            Request::Receipt { session: Some(session), record: Some(Hash::new([5; 32])) },
            Request::Devices,
            Request::Revoke(who),
            Request::Takeover(session),
            Request::Close(session),
        ] {
            assert_eq!(Request::parse(&request.line()), Some(request));
        }
        assert_eq!(Request::parse("close everything\n"), None);
    }
}
