//! Histories that people typed, or generated ones of the same kind where those aren't at hand.

use std::io::Read;
use std::path::PathBuf;
use std::time::Instant;

use segue_crdt::{Document, YrsText};
use serde_json::Value as Json;

use crate::util::{Pair, Seeded};

/// Position, how many characters go, and what comes.
type Edit = (usize, usize, String);

/// A run without optimisation takes only the start.
const WHOLE: bool = cfg!(not(debug_assertions));

#[test]
fn a_paper_typed_on_two_devices_in_turn_through_partitions() {
    let (edits, end) = paper(if WHOLE { usize::MAX } else { 20_000 });
    let count = edits.len();
    let mut pair = Pair::new([1, 2].map(|client| YrsText::with_client(client << 33 | 77, None).expect("opens")));
    let mut seeded = Seeded(7);
    let (mut author, mut offline) = (0, 0);
    let start = Instant::now();
    for (at, deleted, inserted) in edits {
        pair.docs[author].delete(at, deleted).expect("inside");
        pair.docs[author].insert(at, &inserted).expect("inside");
        pair.flush(author);
        if offline > 0 {
            offline -= 1;
        } else if seeded.below(500) == 0 {
            offline = seeded.below(2_000);
        } else {
            // The author changes devices only when both are up to date, as positions need.
            pair.meet();
            author ^= usize::from(seeded.below(100) == 0);
        }
    }
    pair.meet();
    let took = start.elapsed();
    println!("{count} edits, {} ops, {} bytes, {took:?}", pair.ops, pair.bytes);
    let [a, b] = &mut pair.docs;
    assert_eq!(a.text().expect("whole"), end);
    assert_eq!(b.text().expect("whole"), end);
}

#[test]
fn two_people_typing_at_once() {
    let history = concurrent().unwrap_or_else(generated_concurrent);
    let most = if WHOLE { usize::MAX } else { 6_000 };
    let mut agents: Vec<Agent> = (0..history.agents).map(Agent::new).collect();
    let mut ops: Vec<(usize, Vec<Vec<u8>>)> = Vec::new();
    for (index, transaction) in history.transactions.iter().enumerate().take(most) {
        let agent = &mut agents[transaction.agent];
        // What it came after, in the order in which it was typed, is causal.
        agent.read(&transaction.parents, &history.transactions, &ops);
        for (at, deleted, inserted) in &transaction.edits {
            agent.doc.delete(*at, *deleted).expect("inside");
            agent.doc.insert(*at, inserted).expect("inside");
        }
        ops.push((transaction.agent, std::iter::from_fn(|| agent.doc.flush()).collect()));
        agent.knows.push(index);
    }
    let texts: Vec<String> = agents
        .iter_mut()
        .map(|agent| {
            agent.read(&[ops.len() - 1], &[], &ops);
            agent.read_all(&ops);
            agent.doc.text().expect("whole")
        })
        .collect();
    assert!(texts.windows(2).all(|pair| pair[0] == pair[1]), "devices differ");
    if most >= history.transactions.len() {
        assert_eq!(texts[0], history.end);
    }
}

/// A device, and which transactions it has read.
struct Agent {
    doc: YrsText,
    name: usize,
    knows: Vec<usize>,
    read: std::collections::BTreeSet<usize>,
}

impl Agent {
    fn new(name: usize) -> Self {
        let mut doc = YrsText::with_client(name as u64 + 1, None).expect("opens");
        doc.watch().expect("watched");
        Agent { doc, name, knows: Vec::new(), read: Default::default() }
    }

    /// Reads the parents and all that they came after.
    fn read(&mut self, parents: &[usize], all: &[Transaction], ops: &[(usize, Vec<Vec<u8>>)]) {
        let mut stack: Vec<usize> = parents.to_vec();
        let mut wanted = std::collections::BTreeSet::new();
        while let Some(index) = stack.pop() {
            if self.read.contains(&index) || !wanted.insert(index) {
                continue;
            }
            if let Some(transaction) = all.get(index) {
                stack.extend(&transaction.parents);
            }
        }
        for index in wanted {
            self.take(index, ops);
        }
    }

    fn read_all(&mut self, ops: &[(usize, Vec<Vec<u8>>)]) {
        (0..ops.len()).for_each(|index| self.take(index, ops));
    }

    fn take(&mut self, index: usize, ops: &[(usize, Vec<Vec<u8>>)]) {
        if self.read.insert(index) && ops[index].0 != self.name {
            for op in &ops[index].1 {
                self.doc.apply(op).expect("an honest op");
            }
        }
    }
}

struct History {
    agents: usize,
    transactions: Vec<Transaction>,
    end: String,
}

struct Transaction {
    agent: usize,
    parents: Vec<usize>,
    edits: Vec<Edit>,
}

fn paper(most: usize) -> (Vec<Edit>, String) {
    let Some(json) = load("automerge-paper.json.gz") else {
        return generated(most.min(100_000), 11);
    };
    let mut edits: Vec<Edit> = list(&json["txns"]).iter().flat_map(|txn| list(&txn["patches"])).map(edit).collect();
    if most >= edits.len() {
        return (edits, json["endContent"].as_str().expect("a text").into());
    }
    edits.truncate(most);
    let end = replay(&edits);
    (edits, end)
}

fn concurrent() -> Option<History> {
    let json = load("friendsforever.json.gz")?;
    let transaction = |txn: &Json| Transaction {
        agent: txn["agent"].as_u64().expect("a number") as usize,
        parents: list(&txn["parents"]).iter().map(|p| p.as_u64().expect("a number") as usize).collect(),
        edits: list(&txn["patches"]).iter().map(edit).collect(),
    };
    Some(History {
        agents: json["numAgents"].as_u64().unwrap_or(2) as usize,
        transactions: list(&json["txns"]).iter().map(transaction).collect(),
        end: json["endContent"].as_str().expect("a text").into(),
    })
}

/// Two people who type in two halves of a page, each a while before they hear of the other.
fn generated_concurrent() -> History {
    let mut seeded = Seeded(5);
    let (mut halves, mut transactions) = ([String::new(), String::new()], Vec::<Transaction>::new());
    // The line between the halves.
    transactions.push(Transaction { agent: 0, parents: Vec::new(), edits: vec![(0, 0, "\n".into())] });
    let mut heads = vec![0];
    for _ in 0..200 {
        let known = halves.clone();
        let mut tails = Vec::new();
        for (agent, half) in halves.iter_mut().enumerate() {
            let mut parents = heads.clone();
            for _ in 0..=seeded.below(10) {
                let offset = if agent == 0 { 0 } else { known[0].chars().count() + 1 };
                let at = seeded.below(half.len() + 1);
                let letter = char::from(b'a' + seeded.below(26) as u8).to_string();
                half.insert_str(at, &letter);
                transactions.push(Transaction { agent, parents, edits: vec![(offset + at, 0, letter)] });
                parents = vec![transactions.len() - 1];
            }
            tails.extend(parents);
        }
        heads = tails;
    }
    History { agents: 2, transactions, end: halves.join("\n") }
}

/// Words typed here and there, some taken back.
fn generated(count: usize, seed: u64) -> (Vec<Edit>, String) {
    let (mut seeded, mut edits, mut len, mut at) = (Seeded(seed), Vec::new(), 0, 0);
    for _ in 0..count {
        if seeded.below(60) == 0 {
            at = seeded.below(len + 1);
        }
        if at > 0 && seeded.below(6) == 0 {
            (at, len) = (at - 1, len - 1);
            edits.push((at, 1, String::new()));
        } else {
            edits.push((at, 0, char::from(b"abcdefghij \n"[seeded.below(12)]).to_string()));
            (at, len) = (at + 1, len + 1);
        }
    }
    let end = replay(&edits);
    (edits, end)
}

fn replay(edits: &[Edit]) -> String {
    let mut rope = segue_crdt::Rope::new();
    for (at, deleted, inserted) in edits {
        rope.remove(*at..at + deleted);
        rope.insert(*at, inserted);
    }
    rope.to_string()
}

fn edit(patch: &Json) -> Edit {
    let number = |index: usize| patch[index].as_u64().expect("a number") as usize;
    (number(0), number(1), patch[2].as_str().expect("a text").into())
}

fn list(json: &Json) -> &Vec<Json> {
    json.as_array().expect("a list")
}

/// The histories lie beside the project, or where `SEGUE_DATA` says, if anywhere.
fn load(name: &str) -> Option<Json> {
    let beside = || concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/data").into();
    let path = PathBuf::from(std::env::var_os("SEGUE_DATA").unwrap_or_else(beside)).join(name);
    let mut text = String::new();
    flate2::read::GzDecoder::new(std::fs::File::open(path).ok()?).read_to_string(&mut text).ok()?;
    serde_json::from_str(&text).ok()
}
