//! The schema of the adapter protocol says of every line of real runs, in both directions, that it is well formed.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::path::Path;
use std::rc::Rc;

use segue_conformance::attach::{AdapterOptions, COMMANDS, Host, LineHost, LoopWire, Wire};
use segue_conformance::cases;
use segue_conformance::loopback::{GUARD, Rig, play};
use segue_conformance::run::{applies, run};
use segue_conformance::verdict::Verdict;
use segue_proto::Generation;
use serde_json::{Value, json};

/// The part of JSON Schema 2020-12 that the schema uses.
struct Schema(Value);

impl Schema {
    fn read() -> Schema {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("adapter.schema.json");
        let text = std::fs::read_to_string(path).unwrap();
        Schema(serde_json::from_str(&text).unwrap())
    }

    fn check(&self, name: &str, value: &Value) -> Result<(), String> {
        self.holds(&json!({ "$ref": format!("#/$defs/{name}") }), value).map_err(|why| format!("{name}: {why}"))
    }

    fn holds(&self, schema: &Value, value: &Value) -> Result<(), String> {
        for (keyword, rule) in schema.as_object().ok_or("a schema that is no object")? {
            self.keyword(keyword, rule, schema, value)?;
        }
        Ok(())
    }

    fn keyword(&self, keyword: &str, rule: &Value, schema: &Value, value: &Value) -> Result<(), String> {
        let ensure = |holds: bool| if holds { Ok(()) } else { Err(format!("{keyword} {rule}: {value}")) };
        match keyword {
            "description" => Ok(()),
            "$ref" => {
                let name = rule.as_str().and_then(|text| text.strip_prefix("#/$defs/")).ok_or("a foreign $ref")?;
                let target = self.0["$defs"].get(name).ok_or_else(|| format!("no definition {name}"))?;
                self.holds(target, value).map_err(|why| format!("{name}: {why}"))
            }
            "type" => ensure(match rule.as_str() {
                Some("object") => value.is_object(),
                Some("array") => value.is_array(),
                Some("string") => value.is_string(),
                Some("boolean") => value.is_boolean(),
                Some("integer") => value.is_i64() || value.is_u64(),
                other => return Err(format!("type {other:?}")),
            }),
            "const" => ensure(rule == value),
            "enum" => ensure(rule.as_array().is_some_and(|words| words.contains(value))),
            "minimum" => ensure(value.as_i64().is_none_or(|n| n >= rule.as_i64().unwrap_or(0))),
            "maximum" => ensure(value.as_i64().is_none_or(|n| n <= rule.as_i64().unwrap_or(0))),
            "pattern" => ensure(value.as_str().is_none_or(|text| fits(rule.as_str().unwrap_or(""), text))),
            "required" => {
                let mut names = rule.as_array().into_iter().flatten().filter_map(Value::as_str);
                ensure(names.all(|name| value.get(name).is_some()))
            }
            "properties" => {
                let known = rule.as_object().into_iter().flatten();
                for (name, inner) in known {
                    if let Some(field) = value.get(name) {
                        self.holds(inner, field).map_err(|why| format!("field '{name}': {why}"))?;
                    }
                }
                Ok(())
            }
            "additionalProperties" => {
                let known = |name: &String| schema["properties"].get(name).is_some();
                for (name, field) in value.as_object().into_iter().flatten().filter(|(name, _)| !known(name)) {
                    match rule {
                        Value::Bool(false) => return Err(format!("field '{name}' is unknown")),
                        inner => self.holds(inner, field)?,
                    }
                }
                Ok(())
            }
            "prefixItems" => {
                let mut pairs = rule.as_array().into_iter().flatten().zip(value.as_array().into_iter().flatten());
                pairs.try_for_each(|(inner, item)| self.holds(inner, item))
            }
            "minItems" => ensure(value.as_array().is_none_or(|list| list.len() as u64 >= rule.as_u64().unwrap_or(0))),
            "minProperties" => {
                ensure(value.as_object().is_none_or(|map| map.len() as u64 >= rule.as_u64().unwrap_or(0)))
            }
            "maxProperties" => {
                ensure(value.as_object().is_none_or(|map| rule.as_u64().is_some_and(|most| map.len() as u64 <= most)))
            }
            "items" if *rule == json!(false) => {
                let most = schema["prefixItems"].as_array().map_or(0, Vec::len);
                ensure(value.as_array().is_none_or(|list| list.len() <= most))
            }
            "items" => value.as_array().into_iter().flatten().try_for_each(|item| self.holds(rule, item)),
            "oneOf" => {
                let tried: Vec<_> = rule.as_array().into_iter().flatten().map(|it| self.holds(it, value)).collect();
                match tried.iter().filter(|found| found.is_ok()).count() {
                    1 => Ok(()),
                    0 => Err(tried.into_iter().filter_map(Result::err).collect::<Vec<_>>().join(" / ")),
                    several => Err(format!("{several} of 'oneOf' hold for {value}")),
                }
            }
            other => Err(format!("keyword {other}, which this test doesn't know")),
        }
    }
}

/// Whether a text fits one of the schema's patterns.
fn fits(pattern: &str, text: &str) -> bool {
    let hex = text.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte));
    match pattern {
        "^([0-9a-f]{2})*$" => hex && text.len().is_multiple_of(2),
        "^[0-9a-f]{64}$" => hex && text.len() == 64,
        "^[0-9a-f]{32}$" => hex && text.len() == 32,
        "^([A-Z]+(_[A-Z0-9]+)+|0x[0-9a-f]{4})$" => {
            let number = text.strip_prefix("0x").is_some_and(|digits| digits.len() == 4);
            number
                || text.contains('_') && text.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_')
        }
        "^[A-Z]+(-[A-Z]+)+-[0-9]+$" => {
            text.rsplit_once('-').is_some_and(|(area, n)| area.contains('-') && n.parse::<u32>().is_ok())
        }
        other => panic!("the pattern {other}, which this test doesn't know"),
    }
}

type Log = Rc<RefCell<Vec<(String, String)>>>;

struct Listener(LoopWire, Log);

impl Wire for Listener {
    fn ask(&mut self, line: &str) -> Result<String, String> {
        let answer = self.0.ask(line);
        self.1.borrow_mut().push((line.into(), answer.clone().unwrap_or_default()));
        answer
    }

    fn restart(&mut self) {
        self.0.restart();
    }
}

/// What kinds of values were seen: the `type` of inputs, commands and events.
fn note(seen: &mut BTreeSet<String>, what: &str, value: &Value) {
    if let Some(kind) = value.get("type").and_then(Value::as_str) {
        seen.insert(format!("{what} {kind}"));
    }
}

#[test]
fn every_line_of_real_runs_is_as_the_schema_says() {
    let schema = Schema::read();
    let log = Log::default();
    let mut host = LineHost::new(Box::new(Listener(LoopWire::new(AdapterOptions::default()), log.clone())));
    let hello = host.hello().unwrap_or_default();
    let mut seen = BTreeSet::new();
    for case in cases::all() {
        if !applies(&case, &hello, Generation::V7) {
            continue;
        }
        let _ = run(&mut host, &hello, &case, Generation::V7, 1);
        for (request, answer) in log.borrow_mut().drain(..) {
            let request: Value = serde_json::from_str(&request).unwrap();
            let answer: Value = serde_json::from_str(&answer).unwrap();
            schema.check("request", &request).unwrap_or_else(|why| panic!("{}: {why}", case.name));
            schema.check("answer", &answer).unwrap_or_else(|why| panic!("{}: {why}", case.name));
            let Some(ok) = answer.get("ok") else { continue };
            let cmd = request["cmd"].as_str().unwrap_or("");
            schema.check(&format!("ok-{cmd}"), ok).unwrap_or_else(|why| panic!("{}: {why}", case.name));
            note(&mut seen, "do", &request["do"]);
            note(&mut seen, "input", &request["input"]);
            ok["out"]["events"].as_array().into_iter().flatten().for_each(|event| note(&mut seen, "event", event));
        }
    }
    let commands = seen.iter().filter(|kind| kind.starts_with("do ")).count();
    assert!(commands >= 20 && seen.len() >= 50, "only {seen:?}");
}

#[test]
fn every_line_of_tier_b_is_as_the_schema_says() {
    let schema = Schema::read();
    let log = Log::default();
    let options = AdapterOptions { quic: true, ..AdapterOptions::default() };
    let mut host = LineHost::new(Box::new(Listener(LoopWire::new(options), log.clone())));
    let hello = host.hello().unwrap_or_default();
    let rig = Rig::new(GUARD).unwrap();
    for name in ["transport/receive/offered", "transport/want/granted", "transport/close/in-order"] {
        let case = cases::find(name).unwrap();
        let result = play(&mut host, &rig, &hello, &case, Generation::V7, 1);
        assert_eq!(result.verdict, Verdict::Pass, "{:?}", result.reason);
    }
    for (request, answer) in log.borrow_mut().drain(..) {
        let request: Value = serde_json::from_str(&request).unwrap();
        let answer: Value = serde_json::from_str(&answer).unwrap();
        schema.check("request", &request).unwrap();
        schema.check("answer", &answer).unwrap();
        schema.check(&format!("ok-{}", request["cmd"].as_str().unwrap_or("")), &answer["ok"]).unwrap();
    }
}

#[test]
fn the_schema_has_every_command_and_no_other() {
    let schema = Schema::read();
    let variants = schema.0["$defs"]["command"]["oneOf"].as_array().cloned().unwrap_or_default();
    let named: BTreeSet<&str> = variants.iter().filter_map(|it| it["properties"]["type"]["const"].as_str()).collect();
    assert_eq!(named, BTreeSet::from(COMMANDS));
    let requests = schema.0["$defs"]["request"]["oneOf"].as_array().map_or(0, Vec::len);
    assert!(requests <= 8, "{requests} kinds of requests");
}

#[test]
fn the_schema_refuses_what_is_malformed() {
    let schema = Schema::read();
    let good =
        json!({ "id": 3, "cmd": "input", "dev": 0, "now": 5, "input": { "type": "bytes", "link": 1, "bytes": "00" } });
    assert_eq!(schema.check("request", &good), Ok(()));
    let spoilt: [fn(&mut Value); 6] = [
        |it| it["input"]["bytes"] = "0".into(),
        |it| it["input"]["bytes"] = "AB".into(),
        |it| it["input"]["more"] = 1.into(),
        |it| it["now"] = (-1).into(),
        |it| it["cmd"] = "inputs".into(),
        |it| drop(it["input"].as_object_mut().map(|input| input.remove("link"))),
    ];
    for (at, spoil) in spoilt.into_iter().enumerate() {
        let mut bad = good.clone();
        spoil(&mut bad);
        assert!(schema.check("request", &bad).is_err(), "{at}: {bad}");
    }
    let both = json!({ "id": 3, "ok": {}, "unsupported": "no" });
    assert!(schema.check("answer", &both).is_err());
}
