//! A small cast, and valid inputs of every target: where fuzzing starts.

mod hosts;
mod objects;
mod scripts;
mod service;
mod sync;

use std::sync::OnceLock;

use ed25519_dalek::SigningKey;
use segue_proto::Rules;
use segue_proto::data::{Entry, Manifest, NewOp, PartKind, Replaces, State, actor_id};
use segue_proto::transfer::equal_list;
use segue_proto::wire::{DeviceId, Hash, Hlc, Nonce, PartId, SessionId};

/// The key of a device of the cast: 1 is honest, 2 is not, 3 is a stranger.
pub fn key(number: u8) -> SigningKey {
    // Deriving a key takes longer than most inputs.
    static CAST: OnceLock<Vec<SigningKey>> = OnceLock::new();
    let derive = |number: u8| SigningKey::from_bytes(&[number; 32]);
    let cast = CAST.get_or_init(|| (0..4).map(derive).collect());
    cast.get(usize::from(number)).cloned().unwrap_or_else(|| derive(number))
}

/// A device of the cast.
pub fn device(number: u8) -> DeviceId {
    DeviceId::new(key(number).verifying_key().to_bytes())
}

/// A manifest of files with these contents, and of an exclusive part.
pub fn small_manifest(session: SessionId, contents: &[Vec<u8>]) -> Manifest {
    let mut state = State::new(session, "notes");
    let mut write = |at: u8, kind: PartKind, body: Vec<u8>| {
        let new = NewOp {
            actor: actor_id(&device(2), &Nonce::new([3; 16])),
            part: PartId::new([at; 16]),
            kind: kind.number(),
            hlc: Hlc::new([at; 8]),
            record: Hash::new([5; 32]),
            salt: Nonce::new([at; 16]),
            body,
            replaces: Replaces::One,
        };
        let _ = state.write(Rules::ALL, new);
    };
    write(200, PartKind::Exclusive, b"cursor".to_vec());
    for (at, content) in contents.iter().enumerate() {
        let (blob, list) = equal_list(content);
        let path = format!("folder/file {at}");
        let entry = Entry::file(&path, at % 2 == 1, content.len() as u64, blob, list.map(|(list, _)| list));
        write(at as u8, PartKind::Blob, entry.map(|entry| entry.to_bytes()).unwrap_or_default());
    }
    state.to_manifest()
}

/// The seeds of a target, each with a name; none if there is no such target.
pub fn of(target: &str) -> Vec<(String, Vec<u8>)> {
    match target {
        "frames" => objects::frames(),
        "signed" => objects::signed(),
        "framer" => objects::framer(),
        "data" => objects::data(),
        "sync" => sync::seeds(),
        "path" => named("path", ["a", "folder/file.txt", "été/日本", ".hidden", "COM10", "a b/c"].map(Vec::from)),
        "receipt" => objects::receipts(),
        "transfer" => scripts::transfer(),
        "cut" => {
            named("content", [vec![0; 8], (0..255).collect(), b"\xff\x7f\x01\x10\x02\x40\x01a few words".to_vec()])
        }
        "chain" => scripts::chain(),
        "link" => scripts::link(),
        "endpoint" => scripts::endpoint(),
        "restore" => scripts::restore(),
        "roster" => scripts::roster(),
        "service" => service::seeds(),
        "custody" => hosts::custody(),
        "login" => hosts::login(),
        "jwt" => hosts::jwt(),
        "world" => scripts::world(),
        _ => Vec::new(),
    }
}

fn named(name: &str, seeds: impl IntoIterator<Item = Vec<u8>>) -> Vec<(String, Vec<u8>)> {
    seeds.into_iter().enumerate().map(|(at, seed)| (format!("{name}-{at}"), seed)).collect()
}
