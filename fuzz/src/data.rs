//! Data: entries, op headers, chunk lists, parts and whole manifests.

use segue_proto::Rules;
use segue_proto::data::{Entry, Manifest, OpHeader, Part, State, Value};
use segue_proto::transfer::ChunkList;
use segue_proto::wire::codec::{decode, encode};
use segue_proto::wire::{Op, SessionId};

use crate::input::Input;

/// An object of the data chapter: a byte that chooses its type, for a manifest the session's id, and the bytes. What
/// decodes must encode to the same bytes; a manifest that opens must make a state that has the same manifest and root.
pub fn data(data: &[u8]) {
    let mut input = Input::new(data);
    macro_rules! codec {
        ($t:ty) => {{
            let bytes = input.rest();
            if let Ok(value) = decode::<$t>(Rules::ALL, bytes) {
                assert_eq!(encode(&value), bytes, "one value, one encoding");
            }
        }};
    }
    match input.below(7) {
        0 => manifest(&mut input),
        1 => entry(input.rest()),
        2 => codec!(OpHeader),
        3 => codec!(Part),
        4 => codec!(Value),
        5 => codec!(ChunkList),
        _ => codec!(Op),
    }
}

fn entry(bytes: &[u8]) {
    if let Ok(entry) = Entry::open(Rules::ALL, bytes) {
        assert_eq!(entry.to_bytes(), bytes);
        assert!(!entry.is_file() || entry.is_live());
    }
}

fn manifest(input: &mut Input<'_>) {
    let session = SessionId::new(input.array());
    let bytes = input.rest();
    let Ok(manifest) = Manifest::open(Rules::ALL, bytes, &session) else { return };
    assert_eq!(manifest.to_bytes(), bytes);
    let (announced, again) = manifest.announce();
    assert_eq!((again.as_slice(), announced.root), (bytes, manifest.root()));
    let state = State::from_manifest(manifest.clone());
    assert_eq!(state.root(), manifest.root());
    assert_eq!(state.to_manifest(), manifest);
    reload(&session, &manifest, &state);
    let ops: Vec<Op> = manifest.parts.iter().filter_map(|part| part.shown().map(|value| value.op.clone())).collect();
    // Ops that are there already follow from nothing.
    assert!(ops.is_empty() || manifest.apply(Rules::ALL, &ops).is_err());
}

/// A state whose parts are loaded one by one, as from the journal, is the same state.
fn reload(session: &SessionId, manifest: &Manifest, state: &State) {
    let mut loaded = State::new(*session, &manifest.name);
    for part in &*manifest.parts {
        let bytes = state.part_bytes(&part.part).unwrap_or_default();
        assert_eq!(loaded.load_part(Rules::ALL, &bytes), Ok(()));
    }
    assert_eq!(loaded.root(), state.root());
}
