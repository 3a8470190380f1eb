//! Feeds, copies of parts, and scripts of devices that feed each other.

use segue_proto::Rules;
use segue_proto::data::{NewOp, Part, PartKind, Replaces, State, Written};
use segue_proto::sync::{Change, Changes, Feed, Outbound};
use segue_proto::wire::codec::encode;
use segue_proto::wire::{ActorId, Exts, Hash, Hlc, Mark, Message, Nonce, PartId, Since, Text};

use super::{device, named};
use crate::sync::SESSION;

pub(super) fn seeds() -> Vec<(String, Vec<u8>)> {
    let feed: Vec<u8> = fed().iter().flat_map(Message::to_frame).collect();
    let [a, b, both] = copies().map(|part| {
        let bytes = encode(&part);
        [(bytes.len() as u16).to_be_bytes().as_slice(), &bytes].concat()
    });
    let scripts: [&[u8]; 3] = [
        // Each writes a register, then a log, and tells one other.
        &[2, 0, 0, 1, 1, 0, 2, 2, 0, 3, 0, 12, 1, 20, 0, 1, 1, 1, 3, 2, 2, 4, 0, 20],
        &[2, 0, 1, 0, 0, 1, 0, 0, 17, 1, 0, 12, 1, 1, 2, 1, 4, 2, 20, 2, 1, 3, 1, 20, 0, 1, 3],
        &[2, 0, 64, 1, 1, 64, 1, 2, 64, 1, 0, 12, 1, 20, 2, 4, 0, 64, 2, 1, 64, 2, 0, 12, 1, 4],
    ];
    let mut all = vec![[&[0], feed.as_slice()].concat()];
    all.push([&[1], a.as_slice(), &b, &both].concat());
    all.push([&[1], both.as_slice(), &both, &a].concat());
    all.extend(scripts.map(Vec::from));
    named("sync", all)
}

/// One message of each type of the chapter.
pub(super) fn messages() -> Vec<Message> {
    let (log, name) = (Nonce::new([7; 16]), Text::new("notes").unwrap_or_default());
    let since = Since { session: SESSION, log, at: 3, own: Nonce::new([8; 16]), ext: Exts::empty() };
    let mark = Mark { session: SESSION, name, log, at: 4, ext: Exts::empty() };
    let feed = fed();
    let first = |name: &str| feed.iter().find(|message| message.row().name == name).cloned();
    let fed = ["STRAND", "OPS", "PARTS"].into_iter().filter_map(first);
    [Message::from(since), mark.into()].into_iter().chain(fed).collect()
}

fn write(state: &mut State, actor: u8, part: u8, kind: PartKind, ms: u64) -> Option<Written> {
    let new = NewOp {
        actor: ActorId::new([actor; 32]),
        part: PartId::new([part; 16]),
        kind: kind.number(),
        hlc: Hlc::new((ms << 16).to_be_bytes()),
        record: Hash::new([5; 32]),
        salt: Nonce::new([actor; 16]),
        body: vec![actor; 3],
        replaces: Replaces::All,
    };
    state.write(Rules::ALL, new).ok()
}

/// What a device with a register and a log sends.
fn fed() -> Vec<Message> {
    let mut state = State::new(SESSION, "notes");
    let mut changes = Changes::new(Nonce::new([7; 16]));
    for (at, (actor, part, kind)) in (1..).zip([
        (1, 1, PartKind::Register),
        (1, 2, PartKind::Log),
        (1, 2, PartKind::Log),
        (2, 2, PartKind::Log),
        (1, 2, PartKind::Log),
    ]) {
        match write(&mut state, actor, part, kind, at) {
            Some(Written::Value(op)) => changes.note(at, Change::Part(op.part), None),
            Some(Written::Op { part, actor, seq }) => changes.note(at, Change::Op(part, actor, seq), None),
            None => {}
        }
    }
    let (mut feed, mut names) = (Feed::new(device(1), 0, false), Outbound::default());
    std::iter::from_fn(|| feed.step(&mut names, &changes, &state)).flatten().collect()
}

/// A register by two writers, each alone, and with what a third wrote who had read both.
fn copies() -> [Part; 3] {
    let alone = |actor: u8| {
        let mut state = State::new(SESSION, "");
        write(&mut state, actor, 1, PartKind::Register, 1);
        state
    };
    let part = |state: &State| state.parts().next().cloned();
    let (first, second) = (alone(1), alone(2));
    let mut both = first.clone();
    let _ = part(&second).map(|part| both.merge(Rules::ALL, &part));
    write(&mut both, 3, 1, PartKind::Register, 2);
    [&first, &second, &both]
        .map(|state| part(state).unwrap_or_else(|| Part::new(PartId::new([1; 16]), PartKind::Register)))
}
