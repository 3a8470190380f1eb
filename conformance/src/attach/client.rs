//! The suite's side of the line protocol: devices whose inputs and outputs are lines.

use std::cell::RefCell;
use std::net::SocketAddr;
use std::rc::Rc;

use segue_proto::{Clause, Code, Continuity, Instant, Lsn};
use segue_testkit::device::{Command, Device, Input, Inspect, Outputs, Refusal, Reply, Setup, Start};
use serde_json::{Map, Value, json};

use super::{Failure, Hello, Host, Node, Slot, Tier, Wire, node};
use crate::choices::Chosen;
use crate::protocol::VERSION;
use crate::protocol::json::{Json, field};

/// A host behind a line protocol.
pub struct LineHost {
    link: Rc<RefCell<Link>>,
}

/// The adapter's end of the lines, and how it stands with it.
pub(super) struct Link {
    wire: Box<dyn Wire>,
    asked: u64,
    devices: u64,
    failure: Option<Failure>,
}

/// An answer to a request: what it holds, or why the device refuses.
pub(super) type Answer = Result<Value, Refusal>;

impl LineHost {
    /// Talks over `wire`.
    pub fn new(wire: Box<dyn Wire>) -> LineHost {
        LineHost { link: Rc::new(RefCell::new(Link { wire, asked: 0, devices: 0, failure: None })) }
    }
}

impl Host for LineHost {
    fn hello(&mut self) -> Result<Hello, String> {
        let request = json!({ "cmd": "hello", "protocol": VERSION, "suite": env!("CARGO_PKG_VERSION") });
        let mut link = self.link.borrow_mut();
        let answer = link.ask(request);
        let answer = match (answer, &link.failure) {
            (Some(Ok(answer)), _) => answer,
            (Some(Err(refusal)), _) => return Err(format!("the adapter refuses 'hello': {}", refusal.text)),
            (None, failure) => return Err(words(failure.as_ref())),
        };
        let protocol: u64 = field(&answer, "protocol").map_err(|why| format!("in the answer to 'hello', {why}"))?;
        if protocol != VERSION {
            return Err(format!("the adapter speaks version {protocol} of the adapter protocol, the suite {VERSION}"));
        }
        let read = || {
            let subject = field(&answer, "subject")?;
            let choices = Chosen::new(field(&answer, "choices")?)?;
            let (generations, commands) = (field(&answer, "generations")?, field(&answer, "commands")?);
            let commands_b = field(&answer, "commands_b")?;
            let tiers = field::<Option<Vec<Tier>>>(&answer, "tiers")?.unwrap_or_else(|| vec![Tier::A]);
            Ok(Hello { subject, generations, commands, commands_b, choices, tiers })
        };
        let hello: Hello = read().map_err(|why: String| format!("in the answer to 'hello', {why}"))?;
        if hello.generations.is_empty() {
            return Err("the adapter names no generation".into());
        }
        Ok(hello)
    }

    fn start(&mut self, start: Start, now: Instant) -> Result<(Slot, Outputs), Refusal> {
        let mut link = self.link.borrow_mut();
        let dev = link.number();
        let new = start.disk.entries.is_empty() && start.continuity == Continuity::Proven;
        let cmd = if new { "new" } else { "restore" };
        let answer = link.ask(json!({ "cmd": cmd, "dev": dev, "now": now.to_json(), "start": start.to_json() }));
        match answer {
            Some(Ok(answer)) => {
                let mut last = start.disk.last;
                let outputs = link.outputs_after(&answer, &mut last);
                drop(link);
                Ok((Slot(Box::new(LineDevice { link: self.link.clone(), dev, last })), outputs))
            }
            Some(Err(refusal)) => Err(refusal),
            None => Err(Refusal { code: Code::LINK_LOST, text: words(link.failure.as_ref()) }),
        }
    }

    fn listen(&mut self, setup: &Setup, listen: SocketAddr) -> Result<(Box<dyn Node>, SocketAddr), String> {
        node::listen(&self.link, setup, listen)
    }

    fn failure(&self) -> Option<Failure> {
        self.link.borrow().failure.clone()
    }

    fn renew(&mut self) {
        let mut link = self.link.borrow_mut();
        if matches!(link.failure, Some(Failure::Broken(_))) {
            link.wire.restart();
        }
        link.failure = None;
        // Each case counts from the start, so that its transcript doesn't depend on what was run before it.
        (link.asked, link.devices) = (0, 0);
    }
}

struct LineDevice {
    link: Rc<RefCell<Link>>,
    dev: u64,
    /// The LSN of its last batch.
    last: Lsn,
}

impl LineDevice {
    fn ask(&self, now: Instant, cmd: &str, rest: &[(&str, Value)]) -> Option<Answer> {
        let mut request = Map::new();
        request.insert("cmd".into(), cmd.into());
        request.insert("dev".into(), self.dev.into());
        request.insert("now".into(), now.to_json());
        request.extend(rest.iter().map(|(name, value)| ((*name).to_string(), value.clone())));
        self.link.borrow_mut().ask(Value::Object(request))
    }
}

impl Device for LineDevice {
    fn input(&mut self, now: Instant, input: Input) -> Outputs {
        match self.ask(now, "input", &[("input", input.to_json())]) {
            Some(Ok(answer)) => self.link.borrow_mut().outputs_after(&answer, &mut self.last),
            Some(Err(refusal)) => {
                self.link.borrow_mut().breaks::<()>(format!("the adapter refuses an input: {}", refusal.text));
                Outputs::default()
            }
            None => Outputs::default(),
        }
    }

    fn command(&mut self, now: Instant, command: Command) -> (Result<Reply, Refusal>, Outputs) {
        let nothing = |text: &str| Err(Refusal { code: Code::LINK_LOST, text: text.into() });
        match self.ask(now, "do", &[("do", command.to_json())]) {
            Some(Ok(answer)) => {
                let mut link = self.link.borrow_mut();
                let outputs = link.outputs_after(&answer, &mut self.last);
                let reply = match answer.get("refused") {
                    Some(refused) => link.read(Refusal::from_json(refused)).map(Err),
                    None => link.read(Reply::from_json(answer.get("reply").unwrap_or(&Value::Null))).map(Ok),
                };
                (reply.unwrap_or_else(|| nothing("no reply")), outputs)
            }
            Some(Err(refusal)) => (Err(refusal), Outputs::default()),
            None => (nothing("the adapter is gone"), Outputs::default()),
        }
    }

    fn inspect(&mut self, now: Instant) -> Inspect {
        match self.ask(now, "inspect", &[]) {
            Some(Ok(answer)) => self.link.borrow_mut().read(Inspect::from_json(&answer)).unwrap_or_default(),
            _ => Inspect::default(),
        }
    }
}

impl Drop for LineDevice {
    fn drop(&mut self) {
        if let Ok(mut link) = self.link.try_borrow_mut()
            && link.failure.is_none()
        {
            link.ask(json!({ "cmd": "bye", "dev": self.dev }));
        }
    }
}

impl Link {
    /// The number of the next device.
    pub(super) fn number(&mut self) -> u64 {
        self.devices += 1;
        self.devices - 1
    }

    /// Whether nothing went wrong so far.
    pub(super) fn works(&self) -> bool {
        self.failure.is_none()
    }

    /// Asks; none if the adapter is broken, or says that it doesn't offer this.
    pub(super) fn ask(&mut self, mut request: Value) -> Option<Answer> {
        if matches!(self.failure, Some(Failure::Broken(_))) {
            return None;
        }
        self.asked += 1;
        request["id"] = self.asked.into();
        let answer = match self.wire.ask(&request.to_string()) {
            Ok(line) => line,
            Err(why) => return self.breaks(format!("{why}; it was asked {}", named(&request))),
        };
        let Ok(answer) = serde_json::from_str::<Value>(&answer) else {
            return self.breaks(format!("the adapter answered what is no JSON: {}", shorten(&answer)));
        };
        if answer.get("id").and_then(Value::as_u64) != Some(self.asked) {
            let text = shorten(&answer.to_string());
            return self.breaks(format!("the adapter answered request {} with another id: {text}", self.asked));
        }
        if let Some(what) = answer.get("unsupported") {
            let why = what.as_str().unwrap_or("no reason given").to_string();
            let asked = request.pointer("/do/type").or_else(|| request.get("cmd")).and_then(Value::as_str);
            let asked = asked.unwrap_or_default().to_string();
            self.failure.get_or_insert(Failure::Unsupported { asked, why });
            return None;
        }
        if let Some(error) = answer.get("error") {
            return self.read(Refusal::from_json(error)).map(Err);
        }
        match answer.get("ok") {
            Some(value) => Some(Ok(value.clone())),
            None => self.breaks("the adapter's answer has none of 'ok', 'error' and 'unsupported'".into()),
        }
    }

    /// What the answer says the device put out; how the device stands after it isn't known if that is malformed.
    pub(super) fn outputs(&mut self, answer: &Value) -> Outputs {
        let mut out = answer.get("out").cloned().unwrap_or_else(|| json!({}));
        out.get_mut("events").and_then(Value::as_array_mut).into_iter().flatten().for_each(known_clauses);
        self.read(Outputs::from_json(&out)).unwrap_or_default()
    }

    /// The same, of a device whose last batch so far has this LSN.
    fn outputs_after(&mut self, answer: &Value, last: &mut Lsn) -> Outputs {
        let outputs = self.outputs(answer);
        for batch in &outputs.batches {
            if batch.lsn.0 != last.0 + 1 {
                let (lsn, last) = (batch.lsn.0, last.0);
                let why = format!("in the adapter's answer, LSN {lsn} of a batch comes after {last}: LSNs rise by one");
                return self.breaks(why).unwrap_or_default();
            }
            *last = batch.lsn;
        }
        outputs
    }

    /// What was read of an answer; an adapter that answers malformed is broken.
    pub(super) fn read<T>(&mut self, found: Result<T, String>) -> Option<T> {
        match found {
            Ok(found) => Some(found),
            Err(why) => self.breaks(format!("in the adapter's answer, {why}")),
        }
    }

    fn breaks<T>(&mut self, why: String) -> Option<T> {
        self.failure = Some(Failure::Broken(why));
        None
    }
}

/// Leaves in an event only a clause that this suite's core has a name for. The specification has more of them, a subject
/// need not say any, and no verdict goes by what it says.
fn known_clauses(event: &mut Value) {
    let known = |clause: Option<&Value>| clause.is_some_and(|id| Clause::from_json(id).is_ok());
    if let Some(violation) = event.get_mut("violation").filter(|violation| !known(violation.get("clause"))) {
        violation["clause"] = Clause::ERR_SEND_1.to_json();
    }
    if let Some(event) =
        event.as_object_mut().filter(|event| event.contains_key("clause") && !known(event.get("clause")))
    {
        event.remove("clause");
    }
}

/// A request in words: its number, what it is, and of which kind.
fn named(request: &Value) -> String {
    let text = |at: &str| request.pointer(at).and_then(Value::as_str);
    let kind = text("/input/type").or_else(|| text("/do/type")).map(|kind| format!(" of type '{kind}'"));
    format!("request {}, '{}'{}", request["id"], text("/cmd").unwrap_or_default(), kind.unwrap_or_default())
}

fn words(failure: Option<&Failure>) -> String {
    match failure {
        Some(Failure::Broken(why)) => why.clone(),
        Some(Failure::Unsupported { asked, why }) => format!("not supported: {asked}, {why}"),
        None => "the adapter says nothing".into(),
    }
}

fn shorten(text: &str) -> String {
    let mut short: String = text.chars().take(80).collect();
    if short.len() < text.len() {
        short.push('…');
    }
    format!("{short:?}")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An adapter that answers every request by the same value.
    struct Same(Value);

    impl Wire for Same {
        fn ask(&mut self, line: &str) -> Result<String, String> {
            let request: Value = serde_json::from_str(line).map_err(|error| error.to_string())?;
            Ok(json!({ "id": request["id"], "ok": self.0 }).to_string())
        }

        fn restart(&mut self) {}
    }

    fn failure(answer: Value, last: u64) -> Option<Failure> {
        let host = LineHost::new(Box::new(Same(answer)));
        let link = host.link.clone();
        let answer = link.borrow_mut().ask(json!({ "cmd": "input" })).and_then(Result::ok).unwrap_or_default();
        link.borrow_mut().outputs_after(&answer, &mut Lsn(last));
        host.failure()
    }

    #[test]
    fn lsns_rise_by_one() {
        let batch = |lsn: u64| json!({ "lsn": lsn, "writes": [], "after_chunks": false });
        assert_eq!(failure(json!({ "out": { "batches": [batch(4), batch(5)] } }), 3), None);
        for (lsns, last) in [([4, 6], 3), ([4, 4], 3), ([5, 6], 3), ([1, 2], 3)] {
            let Some(Failure::Broken(why)) = failure(json!({ "out": { "batches": lsns.map(batch) } }), last) else {
                panic!("{lsns:?} after {last} was taken");
            };
            assert!(why.contains("LSNs rise by one"), "{why}");
        }
    }

    #[test]
    fn a_malformed_event_is_named() {
        let events = json!([{ "type": "halted" }, { "type": "link-ready", "link": 1, "peer": "8a" }]);
        let Some(Failure::Broken(why)) = failure(json!({ "out": { "events": events } }), 0) else {
            panic!("it was taken");
        };
        assert!(why.contains("field 'events': item 1, of type 'link-ready': field 'peer'"), "{why}");
    }
}
