//! What a feed stands for, a second time: from the fields of its frames, by the words of the chapter.

use std::collections::BTreeMap;

use crate::json::Json;
use crate::vectors::byhand;
use crate::vectors::form::bytes;

/// A receiver that held nothing.
#[derive(Default)]
pub(super) struct Hand {
    strands: BTreeMap<u64, Named>,
    /// By part: its kind, and by actor the hashes of the ops.
    parts: BTreeMap<Vec<u8>, (u64, Strands)>,
    /// The ops of streams, whole, in the order in which they were taken in.
    pub(super) ops: Vec<Json>,
}

/// The strands of a part, by actor.
type Strands = BTreeMap<Vec<u8>, Tips>;

/// The ops of a strand: how many, and the hashes of those known.
#[derive(Default)]
struct Tips {
    seq: u64,
    hashes: BTreeMap<u64, Vec<u8>>,
}

struct Named {
    part: Vec<u8>,
    kind: u64,
    actor: Vec<u8>,
    seed: Vec<u8>,
    record: Vec<u8>,
    seq: u64,
    hlc: u64,
}

impl Hand {
    /// Takes in a message by its name and fields.
    pub(super) fn take(&mut self, session: &[u8], name: &str, fields: &Json) {
        match name {
            "STRAND" => {
                let hlc = hex(fields, "hlc").iter().fold(0, |sum, byte| sum << 8 | u64::from(*byte));
                let named = Named {
                    part: hex(fields, "part"),
                    kind: number(fields, "kind"),
                    actor: hex(fields, "actor"),
                    seed: hex(fields, "seed"),
                    record: hex(fields, "record"),
                    seq: number(fields, "seq"),
                    hlc,
                };
                self.strands.insert(number(fields, "strand"), named);
            }
            "OPS" => items(fields, "ops").iter().for_each(|brief| self.op(session, number(fields, "strand"), brief)),
            "PARTS" => items(fields, "parts").iter().for_each(|part| self.part(part)),
            _ => {}
        }
    }

    fn op(&mut self, session: &[u8], strand: u64, brief: &Json) {
        let deps: Vec<(Vec<u8>, u64)> = items(brief, "deps")
            .iter()
            .map(|dep| (self.strands[&number(dep, "strand")].actor.clone(), number(dep, "seq")))
            .collect();
        let named = self.strands.get_mut(&strand).expect("a named strand");
        named.seq += 1;
        let ms = number(brief, "ms");
        named.hlc = if ms == 0 { named.hlc + 1 } else { ((named.hlc >> 16) + ms) << 16 };
        let (_, tips) = self.parts.entry(named.part.clone()).or_insert((named.kind, BTreeMap::new()));
        let deps: Vec<(Vec<u8>, u64, Vec<u8>)> = deps
            .into_iter()
            .map(|(actor, seq)| {
                let hash = tips[&actor].hashes[&seq].clone();
                (actor, seq, hash)
            })
            .collect();
        let own = tips.entry(named.actor.clone()).or_default();
        if named.seq <= own.seq {
            return;
        }
        let body = hex(brief, "body");
        let salt = byhand::hash("segue/1 salt", &[named.seed.as_slice(), &named.seq.to_be_bytes()].concat());
        let salt = &salt[..16];
        let mut header = Vec::new();
        byhand::varint(named.seq, &mut header);
        byhand::varint(deps.len() as u64, &mut header);
        for (actor, seq, hash) in &deps {
            header.extend(actor);
            byhand::varint(*seq, &mut header);
            header.extend(hash);
        }
        header.extend(named.hlc.to_be_bytes());
        header.extend(&named.record);
        byhand::varint(body.len() as u64, &mut header);
        header.extend(byhand::hash("segue/1 body", &[salt, &body].concat()));
        let start = || byhand::hash("segue/1 strand", &[session, &named.part, &named.actor].concat()).to_vec();
        let before = own.hashes.get(&(named.seq - 1)).cloned().unwrap_or_else(start);
        let hash = byhand::hash("segue/1 op", &[before, header].concat());
        own.seq = named.seq;
        own.hashes.insert(named.seq, hash.to_vec());
        let deps = deps.iter().map(|(actor, seq, hash)| {
            Json::object([("actor", bytes(actor)), ("seq", (*seq).into()), ("hash", bytes(hash))])
        });
        self.ops.push(Json::object([
            ("part", bytes(&named.part)),
            ("kind", named.kind.into()),
            ("actor", bytes(&named.actor)),
            ("seq", named.seq.into()),
            ("deps", Json::list(deps)),
            ("hlc", bytes(named.hlc.to_be_bytes())),
            ("record", bytes(&named.record)),
            ("salt", bytes(salt)),
            ("body", bytes(&body)),
            ("hash", bytes(hash)),
        ]));
    }

    /// Of a part with values only the tips count here: they make the root.
    fn part(&mut self, part: &Json) {
        let Json::Text(encoded) = part else { return };
        let part = byhand::decode("Part", &byhand::unhex(encoded)).expect("a well-formed part");
        let (_, tips) = self.parts.entry(hex(&part, "part")).or_insert((number(&part, "kind"), BTreeMap::new()));
        for tip in items(&part, "strands") {
            let own = tips.entry(hex(tip, "actor")).or_default();
            own.seq = own.seq.max(number(tip, "seq"));
            own.hashes.insert(number(tip, "seq"), hex(tip, "hash"));
        }
    }

    /// The root of all that was taken in.
    pub(super) fn root(&self, session: &[u8]) -> [u8; 32] {
        let mut hashed = [session, &(self.parts.len() as u32).to_be_bytes()].concat();
        for (id, (kind, tips)) in &self.parts {
            let mut part = [id.as_slice(), &(*kind as u16).to_be_bytes(), &(tips.len() as u32).to_be_bytes()].concat();
            for (actor, own) in tips {
                part.extend(actor);
                part.extend(own.seq.to_be_bytes());
                part.extend(&own.hashes[&own.seq]);
            }
            hashed.extend(id);
            hashed.extend(byhand::hash("segue/1 part", &part));
        }
        byhand::hash("segue/1 root", &hashed)
    }
}

fn get<'a>(json: &'a Json, name: &str) -> &'a Json {
    let Json::Object(members) = json else { panic!("{name} of no structure") };
    members.iter().find(|(key, _)| key == name).map(|(_, value)| value).unwrap_or_else(|| panic!("no {name}"))
}

fn number(json: &Json, name: &str) -> u64 {
    let Json::Number(number) = get(json, name) else { panic!("{name} is no number") };
    *number
}

fn hex(json: &Json, name: &str) -> Vec<u8> {
    let Json::Text(hex) = get(json, name) else { panic!("{name} is no bytes") };
    byhand::unhex(hex)
}

fn items<'a>(json: &'a Json, name: &str) -> &'a [Json] {
    let Json::List(items) = get(json, name) else { panic!("{name} is no list") };
    items
}
