//! The suite's side of the line protocol for tier B: a device on real sockets, which takes commands and tells events.

use std::cell::RefCell;
use std::net::SocketAddr;
use std::rc::Rc;

use segue_proto::wire::DeviceId;
use segue_proto::{Code, Event};
use segue_testkit::device::{Command, Inspect, Refusal, Reply, Setup};
use serde_json::{Value, json};

use super::client::{Answer, Link};
use crate::protocol::json::Json;

/// A device of a subject on real sockets.
pub trait Node {
    /// Its application asks for something.
    ///
    /// # Errors
    /// The device's refusal.
    fn command(&mut self, command: Command) -> Result<Reply, Refusal>;

    /// Its application has it dial a device.
    ///
    /// # Errors
    /// The device's refusal.
    fn dial(&mut self, device: DeviceId, addr: SocketAddr) -> Result<(), Refusal>;

    /// What happened since it was asked last; waits up to so many milliseconds for the first of it.
    fn events(&mut self, wait_ms: u64) -> Vec<Event>;

    /// What it says of itself.
    fn inspect(&mut self) -> Inspect;
}

/// A device behind a line protocol.
pub(super) struct LineNode {
    link: Rc<RefCell<Link>>,
    dev: u64,
    /// Events that came with other answers.
    early: Vec<Event>,
}

/// Has the adapter start a device that listens.
pub(super) fn listen(
    link: &Rc<RefCell<Link>>,
    setup: &Setup,
    listen: SocketAddr,
) -> Result<(Box<dyn Node>, SocketAddr), String> {
    let dev = link.borrow_mut().number();
    let request =
        json!({ "cmd": "new", "dev": dev, "listen": listen.to_string(), "start": { "setup": setup.to_json() } });
    let answer = link.borrow_mut().ask(request);
    match answer {
        Some(Ok(answer)) => {
            let addr = answer.get("listening").and_then(Value::as_str).and_then(|addr| addr.parse().ok());
            let addr = addr.ok_or("the answer to 'new' with 'listen' names no address in 'listening'")?;
            Ok((Box::new(LineNode { link: link.clone(), dev, early: Vec::new() }), addr))
        }
        Some(Err(refusal)) => Err(refusal.text),
        None => Err("the adapter doesn't answer".into()),
    }
}

impl LineNode {
    fn ask(&mut self, cmd: &str, name: &str, value: Value) -> Option<Answer> {
        let mut request = json!({ "cmd": cmd, "dev": self.dev });
        if !name.is_empty() {
            request[name] = value;
        }
        let answer = self.link.borrow_mut().ask(request);
        if let Some(Ok(answer)) = &answer {
            let outputs = self.link.borrow_mut().outputs(answer);
            self.early.extend(outputs.events);
        }
        answer
    }

    fn act(&mut self, command: Value) -> Result<Reply, Refusal> {
        let nothing = |text: &str| Refusal { code: Code::LINK_LOST, text: text.into() };
        let answer = self.ask("do", "do", command).ok_or_else(|| nothing("the adapter is gone"))??;
        let mut link = self.link.borrow_mut();
        match answer.get("refused") {
            Some(refused) => Err(link.read(Refusal::from_json(refused)).unwrap_or_else(|| nothing("no refusal"))),
            None => {
                let reply = Reply::from_json(answer.get("reply").unwrap_or(&Value::Null));
                link.read(reply).ok_or_else(|| nothing("no reply"))
            }
        }
    }
}

impl Node for LineNode {
    fn command(&mut self, command: Command) -> Result<Reply, Refusal> {
        self.act(command.to_json())
    }

    fn dial(&mut self, device: DeviceId, addr: SocketAddr) -> Result<(), Refusal> {
        let command = json!({ "type": "dial", "device": device.to_json(), "addr": addr.to_string() });
        self.act(command).map(|_| ())
    }

    fn events(&mut self, wait_ms: u64) -> Vec<Event> {
        if self.early.is_empty() {
            self.ask("input", "input", json!({ "type": "wait", "ms": wait_ms }));
        }
        std::mem::take(&mut self.early)
    }

    fn inspect(&mut self) -> Inspect {
        match self.ask("inspect", "", Value::Null) {
            Some(Ok(answer)) => self.link.borrow_mut().read(Inspect::from_json(&answer)).unwrap_or_default(),
            _ => Inspect::default(),
        }
    }
}

impl Drop for LineNode {
    fn drop(&mut self) {
        if let Ok(mut link) = self.link.try_borrow_mut()
            && link.works()
        {
            link.ask(json!({ "cmd": "bye", "dev": self.dev }));
        }
    }
}
