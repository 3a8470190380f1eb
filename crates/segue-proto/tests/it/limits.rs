//! Limits of the data, each at what it permits and one beyond.

use ed25519_dalek::SigningKey;
use segue_proto::data::{NewOp, PartKind, Replaces, State, Stream, StreamOp, Written};
use segue_proto::limits::{MAX_ACTORS, MAX_DEPS, MAX_OP_BODY, MAX_RANGES, MAX_SESSIONS, MAX_WRITERS, MIN_CHUNK};
use segue_proto::transfer::{ChunkList, ChunkRef, Plan};
use segue_proto::wire::hash::blob_id;
use segue_proto::wire::{ActorId, DeviceId, Hash, Hlc, List, Nonce, Writer, sign_message};
use segue_proto::{Code, Config, Continuity, Endpoint, Instant, Lsn, Rules, UsageError};

use crate::util::{SESSION, actor, part};

fn numbered(n: usize) -> ActorId {
    ActorId::new(*blob_id(&n.to_be_bytes()).as_bytes())
}

fn op(deps: &[(ActorId, u64)]) -> StreamOp {
    let (hlc, record) = (Hlc::new([1, 0, 0, 0, 0, 0, 0, 0]), Hash::new([4; 32]));
    StreamOp { hlc, record, deps: deps.to_vec(), body: Vec::new() }
}

fn log_of(writers: usize) -> State {
    let mut state = State::new(SESSION, "notes");
    for n in 0..writers {
        let id = (numbered(n), 1);
        state.deliver(Rules::ALL, part(1), PartKind::Log.number(), id, Nonce::ZERO, op(&[])).unwrap();
    }
    state
}

#[test]
fn a_part_has_so_many_actors() {
    let mut state = log_of(MAX_ACTORS);
    let kind = PartKind::Log.number();
    let more = state.deliver(Rules::ALL, part(1), kind, (actor(1), 1), Nonce::ZERO, op(&[]));
    assert_eq!(more.unwrap_err().code, Code::LIMIT_MANIFEST);
    // Those that there are go on.
    state.deliver(Rules::ALL, part(1), kind, (numbered(0), 2), Nonce::ZERO, op(&[])).unwrap();
    state.deliver(Rules::ALL, part(2), kind, (actor(1), 1), Nonce::ZERO, op(&[])).unwrap();
}

fn append(state: &mut State, body: Vec<u8>) -> Result<u64, UsageError> {
    let (hlc, record, salt) = (Hlc::new([2, 0, 0, 0, 0, 0, 0, 0]), Hash::new([4; 32]), Nonce::ZERO);
    let kind = PartKind::Log.number();
    let new = NewOp { actor: actor(1), part: part(1), kind, hlc, record, salt, body, replaces: Replaces::One };
    state.write(Rules::ALL, new).map(|written| match written {
        Written::Op { seq, .. } => seq,
        Written::Value(_) => panic!("a log has no values"),
    })
}

/// DATA-OP-4: what an op has no room to name as read the next one names.
#[test]
fn an_op_names_so_many_strands_as_read() {
    let mut state = log_of(MAX_DEPS + 1);
    let read = |state: &State, seq: u64| state.stream(&part(1)).unwrap().op(&actor(1), seq).unwrap().deps.len();
    for (seq, deps) in [(1, MAX_DEPS), (2, 1), (3, 0)] {
        assert_eq!(append(&mut state, Vec::new()), Ok(seq));
        assert_eq!(read(&state, seq), deps);
    }
}

#[test]
fn the_body_of_an_op_has_so_many_bytes() {
    let mut state = log_of(1);
    assert_eq!(append(&mut state, vec![0; MAX_OP_BODY + 1]), Err(UsageError::TooLarge));
    assert_eq!(append(&mut state, vec![0; MAX_OP_BODY]), Ok(1));
    // What its ops take is counted: their bodies, and 128 bytes each.
    assert_eq!(state.stream(&part(1)).map(Stream::bytes), Some(2 * 128 + MAX_OP_BODY));
    assert_eq!(state.stream(&part(1)).map(Stream::len), Some(2));
}

/// Sessions whose genesis isn't signed yet count, too.
#[test]
fn a_device_has_so_many_sessions() {
    let key = SigningKey::from_bytes(&[1; 32]);
    let config = Config::new(DeviceId::new(key.verifying_key().to_bytes()));
    let now = Instant::from_micros(1);
    let mut core = Endpoint::open(config, [], Lsn(0), Continuity::Proven, [2; 32], now).unwrap();
    for _ in 0..MAX_SESSIONS - 2 {
        core.create_session(now, "notes", &[]).unwrap();
        let request = core.poll_sign().unwrap();
        core.handle_signed(now, request.id, sign_message(&request.message, &key));
    }
    assert_eq!(core.sessions().len(), MAX_SESSIONS - 2);
    for left in [2, 1] {
        assert!(core.create_session(now, "notes", &[]).is_ok(), "room for {left}");
    }
    assert_eq!(core.create_session(now, "notes", &[]), Err(UsageError::TooLarge));
}

#[test]
fn a_session_has_so_many_writers_whose_devices_are_known() {
    let mut state = State::new(SESSION, "notes");
    let writer = |n: usize| Writer { device: DeviceId::new(*numbered(n).as_bytes()), nonce: Nonce::ZERO };
    assert!((0..MAX_WRITERS).all(|n| state.name_writer(writer(n))));
    assert!(!state.name_writer(writer(0)), "it is known");
    assert!(!state.name_writer(writer(MAX_WRITERS)), "there is no room");
}

/// A blob of as many chunks, each of the smallest size, and its plan.
fn plan(chunks: usize) -> (Vec<u8>, Plan) {
    let bytes: Vec<u8> = (0..chunks * MIN_CHUNK).map(|at| (at / MIN_CHUNK % 251) as u8).collect();
    let refs = bytes.chunks(MIN_CHUNK).map(|chunk| ChunkRef { len: MIN_CHUNK as u32, hash: blob_id(chunk) }).collect();
    let list = ChunkList { chunks: List::new(refs).unwrap() };
    let plan = Plan::listed(Rules::ALL, blob_id(&bytes), bytes.len() as u64, &list).unwrap();
    (bytes, plan)
}

/// Of more gaps than a RANGES names the first are asked for, and the others next.
#[test]
fn a_request_names_so_many_ranges() {
    use segue_proto::data::{Entry, ListRef, Pick};
    use segue_proto::transfer::{BulkEnd, Fetch};
    use segue_proto::wire::codec::encode;
    let (bytes, whole) = plan(2 * MAX_RANGES + 2);
    let refs = (0..whole.chunks()).map(|at| whole.chunk(at).unwrap());
    let refs = refs.map(|chunk| ChunkRef { len: chunk.len, hash: chunk.hash }).collect();
    let list = encode(&ChunkList { chunks: List::new(refs).unwrap() });
    let list_ref = ListRef { hash: blob_id(&list), len: list.len() as u32 };
    let entry = Entry::file("film", false, bytes.len() as u64, whole.blob(), Some(list_ref)).unwrap();
    let mut world = crate::util::World::new();
    world.entry(part(1), &entry).unwrap();
    let (data, manifest) = world.state.to_manifest().announce();
    let mut fetch = Fetch::new(Rules::ALL, SESSION, data.clone(), Pick::all()).unwrap();
    let mut ranges = Vec::new();
    while !fetch.is_complete() {
        while let Some(plan) = fetch.next_search() {
            // Every second chunk of the film is here.
            for index in (0..plan.chunks()).step_by(2).filter(|_| plan.blob() == whole.blob()) {
                let chunk = plan.chunk(index).unwrap();
                let bytes = &bytes[chunk.offset as usize..][..chunk.len as usize];
                fetch.on_chunk(&plan.verify_chunk(Rules::ALL, index, bytes).unwrap()).unwrap();
            }
            fetch.on_searched(plan.blob());
        }
        let wanted = fetch.next_request(true).expect("more is wanted");
        let of = |range: &segue_proto::wire::Range| (range.offset, range.len);
        let asked =
            if wanted.ranges.is_empty() { vec![(0, wanted.len)] } else { wanted.ranges.iter().map(of).collect() };
        if wanted.blob == whole.blob() {
            assert_eq!(wanted.bytes(), (wanted.ranges.len() * MIN_CHUNK) as u64);
            ranges.push(wanted.ranges.len());
        }
        for (offset, len) in asked {
            let (plan, first, count) = fetch.accepts(wanted.blob, offset, len).unwrap();
            for index in first..first + count {
                let content = match wanted.blob {
                    blob if blob == data.manifest => &manifest,
                    blob if blob == whole.blob() => &bytes,
                    _ => &list,
                };
                let chunk = plan.chunk(index).unwrap();
                let slice = &content[chunk.offset as usize..][..chunk.len as usize];
                fetch.on_chunk(&plan.verify_chunk(Rules::ALL, index, slice).unwrap()).unwrap();
            }
        }
        fetch.on_end(wanted.blob, BulkEnd::Finished).unwrap();
    }
    assert_eq!(ranges, [MAX_RANGES, 1]);
    assert_eq!(fetch.progress(), (bytes.len() as u64, bytes.len() as u64));
}
