//! A fetch that is driven by bytes.

use std::sync::Arc;

use segue_proto::data::{Manifest, Pick};
use segue_proto::limits::FETCH_WINDOW;
use segue_proto::transfer::{BulkEnd, Fetch, Plan, check_ranges, equal_list};
use segue_proto::wire::codec::encode;
use segue_proto::wire::hash::blob_id;
use segue_proto::wire::{Announced, Hash, SessionId};
use segue_proto::{Rules, Violation};

use crate::input::Input;
use crate::seeds::small_manifest;

/// The content that the sender has, and what it may say instead.
struct Sender {
    blobs: Vec<(Hash, Vec<u8>)>,
    plans: Vec<Arc<Plan>>,
    asked: Vec<Hash>,
}

/// A fetch: the bytes choose what the manifest is (a real one, or bytes of the input under their own hash), what is
/// found, asked, answered, cut off and lied about. What is held only rises, never beyond what is wanted; the window is
/// kept; what verifies is the plan's; what completes is what was announced.
pub fn transfer(data: &[u8]) {
    let mut input = Input::new(data);
    let session = SessionId::new([7; 16]);
    let mut sender = Sender { blobs: Vec::new(), plans: Vec::new(), asked: Vec::new() };
    let bytes = match input.below(4) {
        0 => input.take(usize::from(input.clone().short()) + 2).to_vec(),
        parts => manifest(&mut sender, session, parts),
    };
    let hash = blob_id(&bytes);
    let root = Manifest::open(Rules::ALL, &bytes, &session).map_or(Hash::ZERO, |manifest| manifest.root());
    let announced = Announced { root, manifest: hash, manifest_len: bytes.len() as u32 };
    sender.blobs.push((hash, bytes));
    let Ok(mut fetch) = Fetch::new(Rules::ALL, session, announced, Pick::all()) else { return };
    let mut held = 0;
    while !input.is_empty() && !fetch.is_complete() {
        if step(&mut fetch, &mut sender, &mut input).is_err() {
            return;
        }
        let (done, total) = fetch.progress();
        assert!(done >= held && done <= total, "{done} of {total}, {held} before");
        assert!(sender.asked.len() <= FETCH_WINDOW);
        held = done;
    }
    if fetch.is_complete() {
        assert_eq!(fetch.manifest().map(|manifest| manifest.root()), Some(root));
    }
}

fn step(fetch: &mut Fetch, sender: &mut Sender, input: &mut Input<'_>) -> Result<(), Violation> {
    match input.below(8) {
        0 => sender.plans.extend(fetch.next_search()),
        1 => fetch.on_searched(sender.some_blob(input)),
        2 => {
            while let Some(plan) = fetch.next_search() {
                fetch.on_searched(plan.blob());
                sender.plans.push(plan);
            }
        }
        3 => {
            if let Some(wanted) = fetch.next_request(input.flag()) {
                assert!(wanted.ranges.is_empty() || check_ranges(Rules::ALL, wanted.len, &wanted.ranges).is_ok());
                assert!(!sender.asked.contains(&wanted.blob), "asked for twice");
                sender.asked.push(wanted.blob);
            }
        }
        4 => stream(fetch, sender, input)?,
        5 => {
            let ends = [BulkEnd::Finished, BulkEnd::Lost, BulkEnd::Corrupt];
            let blob = sender.some_blob(input);
            sender.asked.retain(|asked| *asked != blob);
            fetch.on_end(blob, *input.pick(&ends).unwrap_or(&BulkEnd::Lost))?;
        }
        6 => {
            sender.asked.clear();
            fetch.on_link_down();
        }
        _ => found(fetch, sender, input)?,
    }
    Ok(())
}

/// A stream of a range: the one that starts at a chunk, or any other.
fn stream(fetch: &mut Fetch, sender: &Sender, input: &mut Input<'_>) -> Result<(), Violation> {
    let blob = sender.some_blob(input);
    let len = sender.content(&blob).len() as u64;
    let (offset, len) = match input.below(3) {
        0 => (0, len),
        1 => (u64::from(input.byte()) * 65_536, u64::from(input.byte()) * 65_536),
        _ => (input.long(), input.long()),
    };
    let Ok((plan, first, count)) = fetch.accepts(blob, offset, len) else { return Ok(()) };
    for index in first..first.saturating_add(count) {
        chunk(fetch, sender, &plan, index, input.byte() == 255)?;
    }
    Ok(())
}

/// A chunk that a search finds.
fn found(fetch: &mut Fetch, sender: &Sender, input: &mut Input<'_>) -> Result<(), Violation> {
    let Some(plan) = input.pick(&sender.plans).cloned() else { return Ok(()) };
    let index = u32::from(input.byte()) % plan.chunks().max(1);
    chunk(fetch, sender, &plan, index, input.byte() == 255)
}

fn chunk(fetch: &mut Fetch, sender: &Sender, plan: &Plan, index: u32, wrong: bool) -> Result<(), Violation> {
    let Some(place) = plan.chunk(index) else { return Ok(()) };
    let content = sender.content(&plan.blob());
    let from = usize::try_from(place.offset).unwrap_or(usize::MAX);
    let mut bytes = content.get(from..).map_or(&[][..], |rest| &rest[..rest.len().min(place.len as usize)]).to_vec();
    if wrong && let Some(first) = bytes.first_mut() {
        *first ^= 1;
    }
    match plan.verify_chunk(Rules::ALL, index, &bytes) {
        Ok(verified) => {
            assert_eq!(blob_id(&bytes), place.hash, "only what matches verifies");
            fetch.on_chunk(&verified)
        }
        Err(_) => {
            assert!(wrong || blob_id(&bytes) != place.hash, "what matches verifies");
            Ok(())
        }
    }
}

impl Sender {
    fn some_blob(&self, input: &mut Input<'_>) -> Hash {
        let asked = input.pick(&self.asked).copied();
        asked.or_else(|| input.pick(&self.blobs).map(|(hash, _)| *hash)).unwrap_or(Hash::ZERO)
    }

    fn content(&self, blob: &Hash) -> &[u8] {
        self.blobs.iter().find(|(hash, _)| hash == blob).map_or(&[], |(_, bytes)| bytes)
    }
}

/// A manifest of small files and of one that has a chunk list, and their blobs.
fn manifest(sender: &mut Sender, session: SessionId, files: usize) -> Vec<u8> {
    let contents: Vec<Vec<u8>> =
        (0..files).map(|at| vec![at as u8; if at == 2 { 150_000 } else { 700 * at + 1 }]).collect();
    for content in &contents {
        let (blob, list) = equal_list(content);
        sender.blobs.push((blob, content.clone()));
        sender.blobs.extend(list.map(|(list, bytes)| (list.hash, bytes)));
    }
    encode(&small_manifest(session, &contents))
}
