//! The adapter's side of the line protocol: it runs the reference, whole or without one clause.

use std::collections::BTreeMap;
use std::io::{BufRead, Write};

use segue_proto::{Clause, Generation, Instant};
use segue_testkit::LocalDevice;
use segue_testkit::device::{Command, Device, Input, Outputs, Start};
use serde_json::{Map, Value, json};

use super::local::reference;
use super::{Null, Wire};
use crate::protocol::VERSION;
use crate::protocol::json::{Json, field, put};

/// What an adapter of the reference is told.
#[derive(Clone, Debug, Default)]
pub struct AdapterOptions {
    /// The generations to declare; empty means all.
    pub generations: Vec<Generation>,
    /// A mutant: the id of a clause to switch off, or the name of a null subject.
    pub mutant: Option<String>,
}

/// Every mutant's name: clause ids, and then the null subjects.
pub fn list_mutants() -> Vec<&'static str> {
    let clauses = crate::mutants::TABLE.iter().map(|mutant| mutant.clause);
    clauses.chain(Null::ALL.into_iter().map(Null::name)).collect()
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
    devices: BTreeMap<u64, LocalDevice>,
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
        let without = name.filter(|_| null.is_none()).map(|name| {
            Clause::from_id(name).ok_or_else(|| format!("no mutant is called '{name}': see --list-mutants"))
        });
        let generations = match options.generations.as_slice() {
            [] => Generation::ALL.to_vec(),
            given => given.to_vec(),
        };
        Ok(Server { generations, without: without.transpose()?, null, devices: BTreeMap::new(), done: false })
    }

    /// The answer to a line; none from a null subject that says nothing.
    pub fn answer(&mut self, line: &str) -> Option<String> {
        if let Some(null) = self.null {
            return null.answer(line, self.hello());
        }
        let request: Value = serde_json::from_str(line).unwrap_or_default();
        let id = request.get("id").cloned().unwrap_or_default();
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
            "new" | "restore" => self.start(request),
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
                    Some(dev) => drop(self.devices.remove(&dev)),
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
        put(&mut answer, "commands", &hello.commands);
        Value::Object(answer)
    }

    fn start(&mut self, request: &Value) -> Result<Value, Refused> {
        let (dev, now): (u64, Instant) = (field(request, "dev")?, field(request, "now")?);
        let mut start: Start = field(request, "start")?;
        start.setup.without = self.without;
        let opened = LocalDevice::restore(start, now);
        let (device, outputs) =
            opened.map_err(|error| Refused::Error(json!({ "code": error.code.to_json(), "text": error.what })))?;
        self.devices.insert(dev, device);
        Ok(out(&outputs))
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
