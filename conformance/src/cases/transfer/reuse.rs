//! What a changed file costs: chunks that lie in what its content replaces aren't asked for.

use segue_proto::Generation;
use segue_proto::limits::{CHUNK, CONTENT_DELAY};
use segue_proto::transfer::{ChunkList, ChunkRef};
use segue_proto::wire::codec::encode;
use segue_proto::wire::hash::blob_id;
use segue_proto::wire::{List, PartId};

use super::{Fetching, T, V2, answer, fetching, range, until_content};
use crate::cases::scene::{serve_until_want, take_request, take_want};
use crate::cases::sync::scene::{Fed, following};
use crate::cases::{Case, works};
use crate::lab::{Done, Lab, ensure};
use crate::peer::Book;

pub(super) const CASES: &[Case] = &[
    works("transfer/reuse/a-changed-file", &["TRANSFER-REUSE-1"], T, |lab| changed(lab, &[front(), OLD])).since(V2),
    works("transfer/reuse/in-another-order", &["TRANSFER-REUSE-1"], T, |lab| {
        changed(lab, &[(2 * CHUNK, CHUNK), front(), (0, CHUNK), (CHUNK, CHUNK)])
    })
    .since(V2),
    works("transfer/reuse/nothing-new", &["TRANSFER-REUSE-1", "TRANSFER-WHOLE-1"], T, |lab| {
        let (scene, _) = held_and_changed(lab, &[(0, CHUNK), (2 * CHUNK, CHUNK + 1)])?;
        let blob = blob_id(&scene.content);
        while let Ok(asked) = take_request(lab, scene.link) {
            ensure(asked.blob != blob, "no request for chunks that are held", format!("{:?}", asked.ranges))?;
            answer(lab, &scene, &asked)?;
        }
        take_want(lab, scene.link).map(|_| ())
    })
    .since(V2),
    works("transfer/reuse/whole-below-2", &["TRANSFER-RESUME-1", "GEN-USE-1"], T, |lab| {
        let (scene, _) = held_and_changed(lab, &[front(), OLD])?;
        let asked = until_content(lab, &scene)?;
        ensure(asked.by_get, "a GET", format!("{:?}", asked.ranges))?;
        answer(lab, &scene, &asked)?;
        scene.completes(lab)
    })
    .until(Generation::V1_7),
    works("transfer/reuse/of-a-restart-ago", &["TRANSFER-REUSE-1"], T, |lab| {
        let fed = with_file(lab)?;
        lab.reboot()?;
        synced(lab, fed)
    })
    .since(V2)
    .needs(&["follow"]),
    works("transfer/reuse/what-sync-replaced", &["TRANSFER-REUSE-1", "SYNC-CONTENT-1"], T, |lab| {
        let fed = with_file(lab)?;
        lab.link_down(fed.link);
        synced(lab, fed)
    })
    .since(V2)
    .needs(&["follow"]),
    works("transfer/reuse/what-sync-replaced-before-a-restart", &["TRANSFER-REUSE-1"], T, |lab| {
        let mut fed = with_file(lab)?;
        let new = change(&mut fed.book, &content(), &[front(), OLD]);
        send_all(lab, &fed, 12);
        fed.holds(lab, 12)?;
        lab.reboot()?;
        fed.link = lab.connect(&fed.peer)?;
        // What is missing is asked for again once a peer has told what it has, and some time has passed.
        fed.mark(lab, 12);
        lab.pass(CONTENT_DELAY);
        asks_for_the_front(lab, &fed, new)
    })
    .since(V2)
    .needs(&["follow"]),
];

/// Bytes that the old content doesn't have, as a place and a length: more than the shortest chunk.
const fn front() -> (usize, usize) {
    (OLD.1, 20_000)
}

/// All of the old content.
const OLD: (usize, usize) = (0, 3 * CHUNK + 1);

/// The old content, and behind it what is new.
fn all(old: &[u8]) -> Vec<u8> {
    let new = (0..front().1).map(|at| (at % 253) as u8);
    old.iter().copied().chain(new).collect()
}

/// Old content that is the same in every run.
fn content() -> Vec<u8> {
    (0..OLD.1).map(|at| (at / 7 % 251) as u8).collect()
}

/// The file's content becomes these slices, one behind the other; each is cut like the old content. What it is then.
fn change(book: &mut Book, old: &[u8], slices: &[(usize, usize)]) -> Vec<u8> {
    let all = all(old);
    let pieces = slices.iter().map(|(at, len)| &all[*at..at + len]).flat_map(|slice| slice.chunks(CHUNK));
    let pieces: Vec<&[u8]> = pieces.collect();
    let chunk = |piece: &&[u8]| ChunkRef { len: piece.len() as u32, hash: blob_id(piece) };
    let list = ChunkList { chunks: List::new(pieces.iter().map(chunk).collect()).unwrap_or_default() };
    let new = pieces.concat();
    book.rewrite_listed("file", &new, encode(&list));
    new
}

/// The subject holds a file, as it said in a WANT, and is shown the session with the file changed. With the old content.
fn held_and_changed(lab: &mut Lab, slices: &[(usize, usize)]) -> Done<(Fetching, Vec<u8>)> {
    let mut scene = fetching(lab, OLD.1)?;
    serve_until_want(lab, scene.link, &scene.book)?;
    let old = std::mem::take(&mut scene.content);
    scene.content = change(&mut scene.book, &old, slices);
    let data = scene.book.announce();
    lab.send(scene.link, scene.book.have(Some(data)));
    Ok((scene, old))
}

/// Only the chunk that isn't in the old content is asked for.
fn changed(lab: &mut Lab, slices: &[(usize, usize)]) -> Done {
    let (scene, _) = held_and_changed(lab, slices)?;
    let asked = until_content(lab, &scene)?;
    let before = slices.iter().take_while(|slice| **slice != front()).map(|(_, len)| len).sum();
    let missing = [range(before, front().1)];
    let right = !asked.by_get && asked.ranges == missing;
    ensure(right, "RANGES of the chunk that isn't held", format!("{:?}", asked.ranges))?;
    answer(lab, &scene, &asked)?;
    take_want(lab, scene.link).map(|_| ())
}

/// The subject follows a session of a peer and holds the file in it.
fn with_file(lab: &mut Lab) -> Done<Fed> {
    let mut fed = following(lab)?;
    fed.book.write_file("file", &content());
    send_all(lab, &fed, 9);
    crate::cases::scene::serve_all(lab, fed.link, &fed.book)?;
    fed.holds(lab, 9)?;
    Ok(fed)
}

fn send_all(lab: &mut Lab, fed: &Fed, at: u64) {
    let all: Vec<PartId> = fed.book.state.parts().map(|part| part.part).collect();
    fed.send_parts(lab, &all);
    fed.mark(lab, at);
}

/// On a new link the peer tells of the changed file.
fn synced(lab: &mut Lab, mut fed: Fed) -> Done {
    let new = change(&mut fed.book, &content(), &[front(), OLD]);
    fed.link = lab.connect(&fed.peer)?;
    send_all(lab, &fed, 12);
    asks_for_the_front(lab, &fed, new)
}

fn asks_for_the_front(lab: &mut Lab, fed: &Fed, content: Vec<u8>) -> Done {
    let scene = Fetching { peer: fed.peer.clone(), link: fed.link, book: fed.book.clone(), content };
    let asked = until_content(lab, &scene)?;
    let right = !asked.by_get && asked.ranges == [range(0, front().1)];
    ensure(right, "RANGES of the chunk that isn't held", format!("{:?}", asked.ranges))?;
    answer(lab, &scene, &asked)?;
    let files = lab.known(fed.session())?.files;
    let held = files.get("file") == Some(&blob_id(&scene.content));
    ensure(held, "the file, whole", format!("{files:?}"))
}
