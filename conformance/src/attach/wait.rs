//! An adapter that somebody starts by hand, such as under a debugger: the suite waits for it.

use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, ToSocketAddrs};
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use super::Wire;

/// Where an adapter is waited for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// A TCP socket of this machine, at which the suite listens.
    Tcp(String),
    /// A Unix socket, at which the suite listens.
    Unix(PathBuf),
    /// Two named pipes: requests go into the first, answers come out of the second.
    Pipes(PathBuf, PathBuf),
}

impl Place {
    /// The place that `text` names: `tcp:127.0.0.1:7000`, `unix:PATH`, or `pipes:REQUESTS,ANSWERS`.
    ///
    /// # Errors
    /// In words.
    pub fn parse(text: &str) -> Result<Place, String> {
        match text.split_once(':') {
            Some(("tcp", address)) => {
                let found = address.to_socket_addrs().map_err(|_| format!("'{address}' is no address and port"))?;
                let local = found.into_iter().all(|address| address.ip().is_loopback());
                let refused = format!("'{address}' isn't of this machine alone; use 127.0.0.1 or [::1]");
                if local { Ok(Place::Tcp(address.into())) } else { Err(refused) }
            }
            Some(("unix", path)) if !path.is_empty() => Ok(Place::Unix(path.into())),
            Some(("pipes", paths)) => match paths.split_once(',') {
                Some((requests, answers)) => Ok(Place::Pipes(requests.into(), answers.into())),
                None => Err("two named pipes are needed: pipes:REQUESTS,ANSWERS".into()),
            },
            _ => Err(format!("'{text}' is none of tcp:ADDRESS:PORT, unix:PATH and pipes:REQUESTS,ANSWERS")),
        }
    }
}

/// The wire to an adapter that is waited for. It waits for as long as it takes: an adapter that stands at a breakpoint
/// isn't dead. Clones share one adapter, and speak one after the other.
#[derive(Clone)]
pub struct WaitWire(Arc<Mutex<Waiting>>);

struct Waiting {
    place: Place,
    listener: Option<Listener>,
    running: Option<Running>,
}

enum Listener {
    Tcp(TcpListener),
    Unix(UnixListener),
}

struct Running {
    answers: BufReader<Box<dyn Read + Send>>,
    requests: Box<dyn Write + Send>,
}

impl WaitWire {
    /// Waits at `place`, once the first line is to be said.
    pub fn new(place: Place) -> WaitWire {
        WaitWire(Arc::new(Mutex::new(Waiting { place, listener: None, running: None })))
    }
}

impl Wire for WaitWire {
    fn ask(&mut self, line: &str) -> Result<String, String> {
        let mut waiting = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let answer = waiting.converse(line);
        if answer.is_err() {
            waiting.running = None;
        }
        answer
    }

    fn restart(&mut self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).running = None;
    }
}

impl Waiting {
    fn start(&mut self) -> Result<Running, String> {
        let wrong = |what: &str, error: std::io::Error| format!("{what}: {error}");
        if let Place::Pipes(requests, answers) = &self.place {
            eprintln!("waiting for an adapter that reads {} and writes {}", requests.display(), answers.display());
            // In this order, for an adapter that opens its input first, as a shell does: `adapter <REQUESTS >ANSWERS`.
            let to = OpenOptions::new().write(true).open(requests);
            let to = to.map_err(|error| wrong(&format!("{} can't be opened", requests.display()), error))?;
            let from =
                File::open(answers).map_err(|error| wrong(&format!("{} can't be opened", answers.display()), error))?;
            return Ok(Running { answers: BufReader::new(Box::new(from)), requests: Box::new(to) });
        }
        if self.listener.is_none() {
            self.listener = Some(self.listen().map_err(|error| wrong("the suite can't listen there", error))?);
        }
        let accepted = match self.listener.as_ref() {
            Some(Listener::Tcp(listener)) => {
                eprintln!("waiting for an adapter to connect to {:?}", listener.local_addr().ok());
                listener.accept().and_then(|(socket, _)| {
                    socket.set_nodelay(true)?;
                    Ok(Running { answers: BufReader::new(Box::new(socket.try_clone()?)), requests: Box::new(socket) })
                })
            }
            Some(Listener::Unix(listener)) => {
                eprintln!("waiting for an adapter to connect to {:?}", listener.local_addr().ok());
                listener.accept().and_then(|(socket, _)| {
                    Ok(Running { answers: BufReader::new(Box::new(socket.try_clone()?)), requests: Box::new(socket) })
                })
            }
            None => return Err("nobody listens".into()),
        };
        accepted.map_err(|error| wrong("no adapter connected", error))
    }

    fn listen(&self) -> std::io::Result<Listener> {
        match &self.place {
            Place::Tcp(address) => TcpListener::bind(address.as_str()).map(Listener::Tcp),
            Place::Unix(path) => UnixListener::bind(path).map(Listener::Unix),
            Place::Pipes(..) => Err(std::io::ErrorKind::Unsupported.into()),
        }
    }

    fn converse(&mut self, line: &str) -> Result<String, String> {
        if self.running.is_none() {
            self.running = Some(self.start()?);
        }
        let Some(running) = self.running.as_mut() else { return Err("the adapter isn't there".into()) };
        let gone = |_: std::io::Error| "the adapter that was waited for is gone".to_string();
        running.requests.write_all(format!("{line}\n").as_bytes()).map_err(gone)?;
        running.requests.flush().map_err(gone)?;
        let mut answer = String::new();
        match running.answers.read_line(&mut answer).map_err(gone)? {
            0 => Err("the adapter that was waited for is gone".into()),
            _ => Ok(answer.trim_end().to_string()),
        }
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        if let Place::Unix(path) = &self.place
            && self.listener.is_some()
        {
            let _ = std::fs::remove_file(path);
        }
    }
}
