//! The adapter's side of the line protocol: it runs the reference, whole or without one clause.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, Write};
use std::time::Duration;

use segue_proto::{Clause, Code, Generation, Instant};
use segue_testkit::LocalDevice;
use segue_testkit::device::{Command, Device, Input, Outputs, Setup, Start};
use serde_json::{Map, Value, json};

use super::hollow::{Hollow, Shells};
use super::local::reference;
use super::nodes::{self, Denied, Nodes};
use super::{Null, Tier, Wire};
use crate::mutants::Mutant;
use crate::protocol::VERSION;
use crate::protocol::json::{Json, field, put};

/// What an adapter of the reference is told.
#[derive(Clone, Debug, Default)]
pub struct AdapterOptions {
    /// The generations to declare; empty means all.
    pub generations: Vec<Generation>,
    /// A mutant: the id of a clause to switch off, or the name of a null subject.
    pub mutant: Option<String>,
    /// Whether it runs real nodes over QUIC, and nothing else: tier B alone.
    pub quic: bool,
}

/// Every mutant's name: clause ids, and then the null subjects.
pub fn list_mutants() -> Vec<&'static str> {
    let clauses = crate::mutants::TABLE.iter().map(|mutant| mutant.clause);
    let clauses = clauses.chain(crate::mutants::SOCKETS.iter().map(|mutant| mutant.clause));
    let mut names: Vec<_> = clauses.chain(Null::ALL.into_iter().map(Null::name)).collect();
    names.extend(Hollow::ALL.into_iter().map(Hollow::name));
    let mut seen = BTreeSet::new();
    names.retain(|name| seen.insert(*name));
    names
}

/// Answers requests from `stdin` on `stdout` until `bye` or the end of the input.
///
/// # Errors
/// In words: the mutant isn't known, or a stream failed.
pub fn adapter(options: &AdapterOptions, stdin: impl BufRead, mut stdout: impl Write) -> Result<(), String> {
    let mut server = Server::new(options)?;
    if server.null == Some(Null::Dead) {
        return Ok(());
    }
    for line in stdin.lines() {
        let line = line.map_err(|error| error.to_string())?;
        if let Some(answer) = server.answer(&line) {
            writeln!(stdout, "{answer}").and_then(|()| stdout.flush()).map_err(|error| error.to_string())?;
        }
        if server.done {
            break;
        }
    }
    Ok(())
}

/// The reference behind the line protocol.
pub struct Server {
    generations: Vec<Generation>,
    without: Option<Clause>,
    null: Option<Null>,
    shells: Option<Shells>,
    quic: bool,
    devices: BTreeMap<u64, LocalDevice>,
    nodes: Nodes,
    done: bool,
}

impl Server {
    /// A server with these options.
    ///
    /// # Errors
    /// If the mutant isn't known.
    pub fn new(options: &AdapterOptions) -> Result<Server, String> {
        let name = options.mutant.as_deref();
        let null = name.and_then(Null::from_name);
        let hollow = name.and_then(Hollow::from_name);
        let shells = hollow.map(Shells::new).transpose()?;
        let without = name.filter(|_| null.is_none() && hollow.is_none()).map(|name| {
            let known = Mutant::find(name).and_then(Mutant::switch);
            known
                .or_else(|| Clause::from_id(name))
                .ok_or_else(|| format!("no mutant is called '{name}': see --list-mutants"))
        });
        let generations = match options.generations.as_slice() {
            [] => Generation::ALL.to_vec(),
            given => given.to_vec(),
        };
        let without = without.transpose()?;
        let (quic, devices, nodes) = (options.quic || hollow.is_some(), BTreeMap::new(), Nodes::new(without));
        Ok(Server { generations, without, null, shells, quic, devices, nodes, done: false })
    }

    /// The answer to a line; none from a null subject that says nothing.
    pub fn answer(&mut self, line: &str) -> Option<String> {
        if let Some(null) = self.null {
            return null.answer(line, self.hello());
        }
        let request: Value = serde_json::from_str(line).unwrap_or_default();
        let id = request.get("id").cloned().unwrap_or_default();
        let hello = self.hello();
        if let Some(shells) = &mut self.shells {
            let answer = shells.answer(&request, hello);
            return Some(
                answer
                    .map_or_else(|why| json!({ "id": id, "unsupported": why }), |ok| json!({ "id": id, "ok": ok }))
                    .to_string(),
            );
        }
        let answer = match self.serve(&request) {
            Ok(answer) => json!({ "id": id, "ok": answer }),
            Err(Refused::Unsupported(what)) => json!({ "id": id, "unsupported": what }),
            Err(Refused::Error(error)) => json!({ "id": id, "error": error }),
        };
        Some(answer.to_string())
    }

    fn serve(&mut self, request: &Value) -> Result<Value, Refused> {
        let cmd: String = field(request, "cmd")?;
        match cmd.as_str() {
            "hello" => Ok(self.hello()),
            "new" if request.get("listen").is_some() => self.listen(request),
            "new" | "restore" if self.quic => Err(Refused::Unsupported("a device without 'listen'".into())),
            "new" | "restore" => self.start(request),
            "input" if self.node(request).is_some() => self.wait(request),
            "do" if self.node(request).is_some() => self.act(request),
            "inspect" if self.node(request).is_some() => Ok(self.nodes.inspect(field(request, "dev")?)?),
            "input" => {
                let input: Input = field(request, "input")?;
                let (device, now) = self.device(request)?;
                Ok(out(&device.input(now, input)))
            }
            "do" => self.command(request),
            "inspect" => {
                let (device, now) = self.device(request)?;
                Ok(device.inspect(now).to_json())
            }
            "bye" => {
                match request.get("dev").and_then(Value::as_u64) {
                    Some(dev) => {
                        self.nodes.forget(dev);
                        self.devices.remove(&dev);
                    }
                    None => self.done = true,
                }
                Ok(json!({}))
            }
            other => Err(Refused::Unsupported(format!("the request '{other}'"))),
        }
    }

    fn hello(&self) -> Value {
        let hello = reference(&self.generations);
        let mut answer = Map::new();
        put(&mut answer, "protocol", &VERSION);
        put(&mut answer, "subject", &hello.subject);
        put(&mut answer, "generations", &hello.generations);
        let on_sockets: Vec<String> = nodes::COMMANDS.iter().map(|name| (*name).to_string()).collect();
        if self.quic {
            put(&mut answer, "commands", &on_sockets);
        } else {
            put(&mut answer, "commands", &hello.commands);
            put(&mut answer, "commands_b", &on_sockets);
        }
        put(&mut answer, "tiers", &if self.quic { vec![Tier::B] } else { vec![Tier::A, Tier::B] });
        Value::Object(answer)
    }

    /// The number of the node that a request is for, if it is one for a node.
    fn node(&self, request: &Value) -> Option<u64> {
        request.get("dev").and_then(Value::as_u64).filter(|dev| self.nodes.has(*dev))
    }

    fn listen(&mut self, request: &Value) -> Result<Value, Refused> {
        let (dev, listen): (u64, String) = (field(request, "dev")?, field(request, "listen")?);
        let start = request.get("start").ok_or_else(|| "field 'start' is missing".to_string())?;
        let setup: Setup = field(start, "setup")?;
        self.declares(setup.generation)?;
        let listen = listen.parse().map_err(|_| format!("'{listen}' is no address"))?;
        Ok(self.nodes.start(dev, setup, listen)?)
    }

    fn wait(&mut self, request: &Value) -> Result<Value, Refused> {
        let input = request.get("input").ok_or_else(|| "field 'input' is missing".to_string())?;
        if input.get("type").and_then(Value::as_str) != Some("wait") {
            return Err(Refused::Unsupported("inputs other than 'wait', for a device that listens".into()));
        }
        let ms: u64 = field(input, "ms")?;
        Ok(self.nodes.wait(field(request, "dev")?, Duration::from_millis(ms))?)
    }

    fn act(&mut self, request: &Value) -> Result<Value, Refused> {
        let command = request.get("do").ok_or_else(|| "field 'do' is missing".to_string())?;
        match self.nodes.act(field(request, "dev")?, command) {
            Ok(answer) => Ok(answer),
            Err(Denied::Unsupported(what)) => Err(Refused::Unsupported(what)),
            Err(Denied::Refused(text)) => {
                Ok(json!({ "out": {}, "refused": { "code": Code::WIRE_VALUE.to_json(), "text": text } }))
            }
        }
    }

    fn start(&mut self, request: &Value) -> Result<Value, Refused> {
        let (dev, now): (u64, Instant) = (field(request, "dev")?, field(request, "now")?);
        let mut start: Start = field(request, "start")?;
        self.declares(start.setup.generation)?;
        start.setup.without = self.without;
        let opened = LocalDevice::restore(start, now);
        let (device, outputs) =
            opened.map_err(|error| Refused::Error(json!({ "code": error.code.to_json(), "text": error.what })))?;
        self.devices.insert(dev, device);
        Ok(out(&outputs))
    }

    /// What isn't declared isn't served.
    fn declares(&self, generation: Generation) -> Result<(), Refused> {
        match self.generations.contains(&generation) {
            true => Ok(()),
            false => Err(Refused::Unsupported(format!("generation {generation}: 'hello' doesn't declare it"))),
        }
    }

    fn command(&mut self, request: &Value) -> Result<Value, Refused> {
        let command: Command = field(request, "do")?;
        let (device, now) = self.device(request)?;
        let (reply, outputs) = device.command(now, command);
        let mut answer = out(&outputs);
        match reply {
            Ok(reply) => answer["reply"] = reply.to_json(),
            Err(refusal) => answer["refused"] = refusal.to_json(),
        }
        Ok(answer)
    }

    fn device(&mut self, request: &Value) -> Result<(&mut LocalDevice, Instant), Refused> {
        let (dev, now): (u64, Instant) = (field(request, "dev")?, field(request, "now")?);
        let device = self.devices.get_mut(&dev).ok_or_else(|| format!("there is no device {dev}"))?;
        Ok((device, now))
    }
}

enum Refused {
    Unsupported(String),
    Error(Value),
}

/// A request that is malformed is the suite's mistake; the error says what is wrong.
impl From<String> for Refused {
    fn from(text: String) -> Refused {
        Refused::Error(json!({ "code": "WIRE_VALUE", "text": text }))
    }
}

fn out(outputs: &Outputs) -> Value {
    json!({ "out": outputs.to_json() })
}

/// The reference's adapter in this process, over its own lines.
pub struct LoopWire {
    options: AdapterOptions,
    server: Option<Server>,
}

impl LoopWire {
    /// An adapter with these options.
    pub fn new(options: AdapterOptions) -> LoopWire {
        LoopWire { options, server: None }
    }
}

impl Wire for LoopWire {
    fn ask(&mut self, line: &str) -> Result<String, String> {
        if self.server.is_none() {
            self.server = Some(Server::new(&self.options)?);
        }
        let answer = self.server.as_mut().and_then(|server| server.answer(line));
        answer.ok_or_else(|| "the adapter says nothing".into())
    }

    fn restart(&mut self) {
        self.server = None;
    }
}
