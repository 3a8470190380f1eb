//! Content that is cut by what it holds.

use segue_proto::Rules;
use segue_proto::transfer::{ChunkList, ListBuilder, Plan, chunk_list, lengths};
use segue_proto::wire::codec::decode;

use crate::input::Input;

/// The bytes choose a content, how it is read, and a change of it. The list is a plan of it, with chunks of the lengths
/// that are said; every chunk verifies; how it is read doesn't matter; and what is shared with the changed content is the
/// same there.
pub fn cut(data: &[u8]) {
    let mut input = Input::new(data);
    let len = 65_537 + usize::from(input.short()) * 8;
    let (step, at, change) = (usize::from(input.short()) + 1, usize::from(input.short()), input.below(3));
    let pattern = input.rest();
    // A short pattern, stirred by its place now and then, so that there are repetitions as well as noise.
    let byte = |at: usize| pattern.get(at % pattern.len().max(1)).copied().unwrap_or(0) ^ (at >> 12) as u8;
    let content: Vec<u8> = (0..len).map(byte).collect();
    let (plan, list) = plan(&content);
    let mut builder = ListBuilder::new(len as u64);
    content.chunks(step).for_each(|piece| builder.push(piece));
    assert!(builder.finish().1.is_some_and(|(_, other)| other == list), "it depends on how it is read");
    let said = lengths(len as u64).expect("lengths for content of less than a GiB");
    for index in 0..plan.chunks() {
        let chunk = plan.chunk(index).expect("a chunk");
        let bytes = &content[chunk.offset as usize..][..chunk.len as usize];
        assert!(plan.verify_chunk(Rules::ALL, index, bytes).is_ok());
        assert!(chunk.len <= said.longest && (chunk.len >= said.shortest || index + 1 == plan.chunks()));
    }
    let mut changed = content.clone();
    match change {
        0 => changed.insert(at % len, 1),
        1 => changed[at % len] ^= 1,
        _ => changed.extend([1; 100]),
    }
    let (new, _) = self::plan(&changed);
    for (index, from) in new.shared(Rules::ALL, len as u64, &list) {
        let chunk = new.chunk(index).expect("a chunk");
        let bytes = &content[from as usize..][..chunk.len as usize];
        assert!(new.verify_chunk(Rules::ALL, index, bytes).is_ok());
    }
}

fn plan(content: &[u8]) -> (Plan, Vec<u8>) {
    let (blob, list) = chunk_list(content);
    let (_, bytes) = list.expect("a list for content longer than a chunk");
    let list: ChunkList = decode(Rules::ALL, &bytes).expect("a list");
    (Plan::listed(Rules::ALL, blob, content.len() as u64, &list).expect("a plan"), bytes)
}
