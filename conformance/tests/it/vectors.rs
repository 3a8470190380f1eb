//! The vectors: each is well formed, those that a decoder alone can judge give what they state, and all are pinned.

use std::fmt::Write;
use std::path::{Path, PathBuf};

use segue_conformance::spec;
use segue_proto::data::{Entry, Manifest, Part, State, check_path};
use segue_proto::handoff::Chain;
use segue_proto::limits::MAX_SIGNED_BODY;
use segue_proto::seal::{self, ContentKey};
use segue_proto::sync::outranks;
use segue_proto::wire::codec::{decode as decode_value, encode};
use segue_proto::wire::frame::Framer;
use segue_proto::wire::{Blob, BoxId, Message, Receipt, Record, SessionId, Signed};
use segue_proto::{Clause, Code, Rules, Violation};
use serde_json::Value;

const CHAPTERS: [&str; 9] =
    ["wire", "link", "account", "generations", "handoff", "transfer", "data", "sync", "service"];

fn files(chapter: &str, class: &str) -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("vectors").join(chapter).join(class);
    let entries = std::fs::read_dir(folder).into_iter().flatten().filter_map(Result::ok).map(|entry| entry.path());
    let mut files: Vec<PathBuf> = entries.filter(|path| path.extension().is_some_and(|ext| ext == "json")).collect();
    files.sort();
    files
}

fn read(path: &Path) -> Value {
    serde_json::from_slice(&std::fs::read(path).unwrap_or_default()).unwrap_or_default()
}

fn bytes(value: &Value) -> Vec<u8> {
    value.as_str().and_then(|text| hex::decode(text).ok()).unwrap_or_default()
}

/// What a decoder says of a vector's input; none for the kinds that need more than a decoder.
fn decode(vector: &Value) -> Option<Result<(), Violation>> {
    let input = &vector["input"];
    match vector["kind"].as_str()? {
        "frame" => Some(frame(&bytes(&input["bytes"]))),
        "entry" => Some(Entry::open(Rules::ALL, &bytes(&input["bytes"])).map(|_| ())),
        "manifest" => {
            let session = SessionId::from_hex(input["session"].as_str()?)?;
            Some(Manifest::open(Rules::ALL, &bytes(&input["bytes"]), &session).map(|_| ()))
        }
        "path" => {
            let path = input["path"]["text"].as_str()?;
            Some(check_path(Rules::ALL, path))
        }
        "receipt" => Some(Receipt::verify(Rules::ALL, &bytes(&input["bytes"])).map(|_| ())),
        "seal" => Some(seal(vector)),
        _ => None,
    }
}

/// What opening an envelope says; sealing what it holds gives it again.
fn seal(vector: &Value) -> Result<(), Violation> {
    let (input, array) = (&vector["input"], |value: &Value| bytes(value).try_into().unwrap_or([0; 32]));
    let (key, at) = (ContentKey::new(array(&input["key"])), BoxId::new(array(&input["box"])));
    if let (Ok(nonce), plain) = (bytes(&input["nonce"]).try_into(), bytes(&input["plain"])) {
        let sealed = seal::seal(Rules::ALL, &key, &at, &nonce, &plain);
        assert_eq!(sealed, bytes(&vector["expected"]["envelope"]), "{}", vector["name"]);
        return seal::open(Rules::ALL, &key, &at, &sealed).map(|_| ());
    }
    seal::open(Rules::ALL, &key, &at, &bytes(&input["envelope"])).map(|_| ())
}

fn frame(bytes: &[u8]) -> Result<(), Violation> {
    let mut framer = Framer::default();
    framer.push(bytes);
    let Some(frame) = framer.next(Rules::ALL)? else { return Ok(()) };
    let Some(message) = Message::decode(Rules::ALL, frame.number, &frame.payload)? else {
        let skips = frame.number % 2 == 1;
        return Rules::ALL.ensure(Clause::WIRE_FRAME_2, skips, Code::WIRE_UNKNOWN_CRITICAL);
    };
    assert_eq!(message.to_frame(), bytes, "a message that doesn't encode to what it was decoded from");
    Ok(())
}

#[test]
fn every_vector_is_well_formed_and_gives_what_it_states() {
    let required = spec::ids();
    let mut count = 0;
    for chapter in CHAPTERS {
        for class in ["valid", "invalid"] {
            for path in files(chapter, class) {
                count += 1;
                let vector = read(&path);
                let stem = path.file_stem().and_then(|stem| stem.to_str());
                assert_eq!(vector["name"].as_str(), stem, "{}", path.display());
                let clauses = vector["clause"].as_array().cloned().unwrap_or_default();
                let named = clauses.iter().filter_map(Value::as_str);
                assert!(!clauses.is_empty() && named.clone().all(|id| required.contains(id)), "{}", path.display());
                let error = vector["expected"]["error"].as_str();
                assert_eq!(error.is_some(), class == "invalid", "{}", path.display());
                if let Some(found) = decode(&vector) {
                    let found = found.err().map(|violation| violation.code.name());
                    assert_eq!(found, error, "{}", path.display());
                }
            }
        }
    }
    assert!(count > 100, "{count}");
}

/// The copies of an exclusive part, judged by the core as it judges those that a link brings.
#[test]
fn of_two_copies_of_an_exclusive_part_the_one_stays_that_the_vectors_say() {
    let (mut count, mut noticed) = (0, 0);
    for path in files("sync", "valid") {
        let vector = read(&path);
        if vector["kind"] == "rank" {
            count += 1;
            let (kept, expected) = (rank(Rules::ALL, &vector["input"]).unwrap(), &vector["expected"]);
            let hexes =
                |list: &Value| list.as_array().cloned().unwrap_or_default().iter().map(bytes).collect::<Vec<_>>();
            let (parts, roots) = (hexes(&expected["kept"]), hexes(&expected["part_root"]));
            assert_eq!(kept.iter().map(encode).collect::<Vec<_>>(), parts, "{}", path.display());
            let root = kept.as_ref().map(|part| part.root().as_bytes().to_vec());
            assert_eq!(root.into_iter().collect::<Vec<_>>(), roots, "{}", path.display());
            let without = rank(Rules::without(Clause::SYNC_RANK_1), &vector["input"]).unwrap();
            noticed += usize::from(without != kept);
        }
    }
    assert!(count > 10 && noticed > 5, "{count} vectors, {noticed} of which notice that the clause isn't kept");
}

/// The copy that is held after another came.
fn rank(rules: Rules, input: &Value) -> Result<Option<Part>, Violation> {
    let records = input["records"].as_array().cloned().unwrap_or_default();
    let mut records = records.iter().map(|record| {
        let body = encode(&Blob::<MAX_SIGNED_BODY>::new(bytes(&record["body"])).unwrap_or_default());
        decode_value::<Signed<Record>>(rules, &[body, bytes(&record["sig"])].concat())?.prove(rules, |body| body.signer)
    });
    let mut chain = Chain::start(rules, records.next().unwrap()?)?;
    for record in records {
        chain.admit(rules, record?)?;
    }
    let session = SessionId::from_hex(input["session"].as_str().unwrap_or_default()).unwrap();
    let mut state = State::new(session, "");
    for held in input["held"].as_array().into_iter().flatten() {
        state.merge(rules, &decode_value(rules, &bytes(held))?)?;
    }
    let came: Part = decode_value(rules, &bytes(&input["came"]))?;
    if outranks(rules, &chain, &came, state.part(&came.part)) {
        state.merge(rules, &came)?;
    }
    Ok(state.part(&came.part).cloned())
}

#[test]
fn the_vectors_are_the_ones_that_were_published() {
    let mut text = String::new();
    for chapter in CHAPTERS {
        let mut hasher = blake3::Hasher::new();
        let all: Vec<PathBuf> = ["valid", "invalid"].iter().flat_map(|class| files(chapter, class)).collect();
        for path in &all {
            hasher.update(path.file_name().unwrap_or_default().as_encoded_bytes());
            hasher.update(&std::fs::read(path).unwrap_or_default());
        }
        let _ = writeln!(text, "{chapter}: {} vectors, {}", all.len(), hasher.finalize().to_hex());
    }
    insta::assert_snapshot!(text);
}
