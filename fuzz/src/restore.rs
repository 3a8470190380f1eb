//! Opening a journal that something else wrote.

use std::collections::BTreeMap;

use segue_proto::data::Manifest;
use segue_proto::handoff::keys;
use segue_proto::wire::{Hash, SessionId};
use segue_proto::{Config, Continuity, Endpoint, Instant, Lsn, Role, Rules};

use crate::input::Input;
use crate::seeds::device;

/// The letters of a session's entries.
pub(crate) const LETTERS: &[u8] = &[
    keys::RECORD,
    keys::ACTOR,
    keys::NAME,
    keys::GRANT,
    keys::CLAIM,
    keys::UNPROVEN,
    keys::MANIFEST,
    keys::BASE,
    keys::PART,
    keys::COPY,
];

/// Entries: a byte of choices, then per entry a byte that chooses its key, a length and a value. Either the store is
/// refused with an error, or the endpoint works: it can be asked everything, run for a day, and opened again from what
/// it writes.
pub fn restore(data: &[u8]) {
    let mut input = Input::new(data);
    let choices = input.byte();
    let continuity = if choices & 1 == 0 { Continuity::Proven } else { Continuity::Unproven };
    let mut entries = BTreeMap::new();
    while !input.is_empty() && entries.len() < 256 {
        let key = entry_key(&mut input);
        let len = usize::from(input.short());
        entries.insert(key, input.take(len).to_vec());
    }
    if let Some(mut core) = open(&entries, continuity) {
        use_it(&mut core, &mut entries);
        assert!(open(&entries, Continuity::Proven).is_some(), "what opened once opens again");
    }
}

fn entry_key(input: &mut Input<'_>) -> Vec<u8> {
    let kind = input.byte();
    let session = SessionId::new(input.array());
    match kind {
        255 => b"dfloor".to_vec(),
        254 => b"drestored".to_vec(),
        250..=253 => input.take(20).to_vec(),
        _ => {
            let letter = LETTERS[usize::from(kind) % LETTERS.len()];
            let len = match letter {
                keys::RECORD | keys::MANIFEST => 32,
                keys::PART => 16,
                keys::COPY => 48,
                _ => 0,
            };
            keys::key(session, letter, input.take(len))
        }
    }
}

fn open(entries: &BTreeMap<Vec<u8>, Vec<u8>>, continuity: Continuity) -> Option<Endpoint> {
    let opened = Endpoint::open(Config::new(device(1)), entries.clone(), Lsn(9), continuity, [4; 32], Instant::ZERO);
    match opened {
        Ok(core) => Some(core),
        Err(error) => {
            assert!(!error.to_string().is_empty());
            None
        }
    }
}

fn use_it(core: &mut Endpoint, entries: &mut BTreeMap<Vec<u8>, Vec<u8>>) {
    let now = Instant::from_micros(1);
    for id in core.sessions() {
        let view = core.session(&id).map(|view| view.root);
        assert!(view.is_some());
        if let Some(manifest) = core.manifest(&id) {
            assert_eq!(Some(manifest.root()), view);
            let bytes = manifest.to_bytes();
            assert!(Manifest::open(Rules::ALL, &bytes, &id).is_ok(), "the data that was restored is well formed");
        }
        assert!(core.meta(&Hash::ZERO).is_none());
        let _ = core.write(now, 1, id, segue_proto::wire::PartId::new([1; 16]), 5, vec![1]);
        let _ = core.initiate_handoff(now, id, device(2), 1_000_000);
        let _ = core.request_handoff(now, id, device(2), 1_000_000);
        let _ = core.takeover(now, id);
    }
    core.handle_link_up(now, segue_proto::LinkId(1), Role::Initiator, [0; 32], None);
    for hours in 0..24 {
        core.handle_timeout(Instant::from_micros(hours * 3_600_000_000));
    }
    while let Some(batch) = core.poll_journal() {
        for write in batch.writes {
            match write.value {
                Some(value) => entries.insert(write.key, value),
                None => entries.remove(&write.key),
            };
        }
    }
    while core.poll_event().is_some() {}
}
