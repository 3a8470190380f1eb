//! Histories that people typed, or generated ones of the same kind where those aren't at hand.

use std::io::Read;
use std::path::PathBuf;

use segue_testkit::Rng;
use serde_json::Value as Json;

/// Position, how many characters go, and what comes.
pub(crate) type Edit = (usize, usize, String);

/// What is flushed at once.
pub(crate) struct Step {
    /// Who typed it.
    pub(crate) device: usize,
    /// How many flushes of the other's it came after.
    pub(crate) needs: usize,
    pub(crate) edits: Vec<Edit>,
}

/// What two devices typed.
pub(crate) struct History {
    /// Where it is from.
    pub(crate) source: &'static str,
    pub(crate) steps: Vec<Step>,
    pub(crate) end: String,
}

impl History {
    pub(crate) fn edits(&self) -> usize {
        self.steps.iter().map(|step| step.edits.len()).sum()
    }
}

/// One author, who changes devices now and then.
pub(crate) fn paper(most: usize) -> History {
    let recorded = load("automerge-paper.json.gz").map(|json| {
        let edits: Vec<Edit> = list(&json["txns"]).iter().flat_map(|txn| list(&txn["patches"])).map(edit).collect();
        ("recorded", edits)
    });
    let (source, mut edits) = recorded.unwrap_or_else(|| ("generated", generated(120_000)));
    edits.truncate(most);
    let end = replay(&edits);
    let (mut rng, mut device, mut flushed) = (Rng::new(1, "devices"), 0, [0, 0]);
    let step = |edit| {
        device ^= usize::from(rng.below(TURN) == 0);
        flushed[device] += 1;
        Step { device, needs: flushed[1 - device], edits: vec![edit] }
    };
    History { source, steps: edits.into_iter().map(step).collect(), end }
}

/// Two people who type at once.
pub(crate) fn friends(most: usize) -> History {
    let Some(json) = load("friendsforever.json.gz") else { return generated_friends(most.min(20_000)) };
    let mut ordinals: Vec<(usize, usize)> = Vec::new();
    // How many flushes of each device a transaction came after, itself included.
    let mut knows: Vec<[usize; 2]> = Vec::new();
    let mut steps = Vec::new();
    for txn in list(&json["txns"]) {
        let number = |json: &Json| json.as_u64().expect("a number") as usize;
        let device = number(&txn["agent"]);
        let mut known = [0, 0];
        for parent in list(&txn["parents"]).iter().map(number) {
            known = [0, 1].map(|of| known[of].max(knows[parent][of]));
        }
        let needs = known[1 - device];
        known[device] = ordinals.iter().filter(|(of, _)| *of == device).count().max(known[device]) + 1;
        ordinals.push((device, known[device]));
        knows.push(known);
        steps.push(Step { device, needs, edits: list(&txn["patches"]).iter().map(edit).collect() });
    }
    let end = json["endContent"].as_str().expect("a text").into();
    assert!(most >= steps.len(), "the start of a concurrent history has no known end");
    History { source: "recorded", steps, end }
}

/// Two people who type in two halves of a page, each a while before they hear of the other.
fn generated_friends(count: usize) -> History {
    let (mut rng, mut halves, mut steps) = (Rng::new(5, "friends"), [String::new(), String::new()], Vec::new());
    let mut flushed = [1, 0];
    // The line between the halves.
    steps.push(Step { device: 0, needs: 0, edits: vec![(0, 0, "\n".into())] });
    while steps.len() < count {
        let (known, before) = (halves.clone(), flushed);
        for device in 0..2 {
            for _ in 0..=rng.below(10) {
                let start = if device == 0 { 0 } else { known[0].len() + 1 };
                let at = rng.below(halves[device].len() as u64 + 1) as usize;
                let letter = char::from(b'a' + rng.below(26) as u8);
                halves[device].insert(at, letter);
                flushed[device] += 1;
                steps.push(Step { device, needs: before[1 - device], edits: vec![(start + at, 0, letter.into())] });
            }
        }
    }
    History { source: "generated", steps, end: halves.join("\n") }
}

/// Words typed here and there, some taken back.
fn generated(count: usize) -> Vec<Edit> {
    let (mut rng, mut edits, mut len, mut at) = (Rng::new(11, "typing"), Vec::new(), 0, 0);
    for _ in 0..count {
        if rng.below(60) == 0 {
            at = rng.below(len as u64 + 1) as usize;
        }
        if at > 0 && rng.below(6) == 0 {
            (at, len) = (at - 1, len - 1);
            edits.push((at, 1, String::new()));
        } else {
            edits.push((at, 0, char::from(b"abcdefghij \n"[rng.below(12) as usize]).to_string()));
            (at, len) = (at + 1, len + 1);
        }
    }
    edits
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
    let beside = || concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared/data").into();
    let path = PathBuf::from(std::env::var_os("SEGUE_DATA").unwrap_or_else(beside)).join(name);
    let mut text = String::new();
    flate2::read::GzDecoder::new(std::fs::File::open(path).ok()?).read_to_string(&mut text).ok()?;
    serde_json::from_str(&text).ok()
}

/// Edits after which the author may change devices, about.
const TURN: u64 = 2_000;
