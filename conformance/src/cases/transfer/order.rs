//! What is asked for first, and what doesn't wait for what is long.

use segue_proto::limits::{CHUNK, LONG_WINDOW};
use segue_proto::wire::hash::blob_id;
use segue_proto::wire::{Hash, PartId};

use super::{T, answer, begin};
use crate::cases::scene::{Asked, linked, take_request, take_want};
use crate::cases::sync::scene::{Fed, following};
use crate::cases::{Case, works};
use crate::lab::{Done, Lab, ensure};
use crate::peer::Book;

pub(super) const CASES: &[Case] = &[
    works("transfer/order/short-first", &["TRANSFER-ORDER-1"], T, |lab| {
        let (scene, shorts) = mixed(lab, 3, 20)?;
        let manifest = take_request(lab, scene.link)?;
        answer(lab, &scene, &manifest)?;
        let mut asked = Vec::new();
        while let Ok(next) = take_request(lab, scene.link) {
            answer(lab, &scene, &next)?;
            asked.push(next.blob);
        }
        let short = |blob: &Hash| shorts.contains(blob);
        let first = asked.iter().take_while(|blob| short(blob)).count();
        let all = first == shorts.len() && asked.len() > first;
        ensure(all, "requests for all that is short, then for what is long", format!("{first} of {}", asked.len()))?;
        take_want(lab, scene.link).map(|_| ())
    }),
    works("transfer/order/so-many-long-ones", &["TRANSFER-ORDER-2"], T, |lab| {
        let (scene, _) = mixed(lab, LONG_WINDOW + 4, 0)?;
        let manifest = take_request(lab, scene.link)?;
        answer(lab, &scene, &manifest)?;
        let mut asked = Vec::new();
        while let Ok(next) = take_request(lab, scene.link) {
            asked.push(next);
        }
        ensure((1..=LONG_WINDOW).contains(&asked.len()), "1 to LONG_WINDOW requests for long content", asked.len())?;
        serve(lab, &scene, asked)?;
        take_want(lab, scene.link).map(|_| ())
    }),
    works("transfer/order/while-a-long-one-is-under-way", &["TRANSFER-ORDER-2", "SYNC-CONTENT-1"], T, |lab| {
        let mut fed = following(lab)?;
        let long = lab.rng.bytes(3 * CHUNK + 1);
        fed.book.write_file("film", &long);
        tell(lab, &fed, 9);
        let asked = until(lab, &fed, |asked| asked.blob == blob_id(&long))?;
        fed.book.write_file("note.txt", b"short");
        tell(lab, &fed, 12);
        let short = until(lab, &fed, |asked| asked.blob == blob_id(b"short"))?;
        answer_of(lab, &fed, &short);
        let files = lab.known(fed.session())?.files;
        let held = |path: &str, content: &[u8]| files.get(path) == Some(&blob_id(content));
        ensure(held("note.txt", b"short") && !held("film", &long), "the short file alone", format!("{files:?}"))?;
        answer_of(lab, &fed, &asked);
        let files = lab.known(fed.session())?.files;
        ensure(files.get("film") == Some(&blob_id(&long)), "both files", format!("{files:?}"))
    })
    .needs(&["follow"]),
];

/// The subject pulls a session with long files and short ones, and is about to fetch it. With the short ones' hashes.
fn mixed(lab: &mut Lab, long: usize, short: usize) -> Done<(super::Fetching, Vec<Hash>)> {
    let (peer, link) = linked(lab)?;
    let members = [lab.id()];
    let mut book = Book::create(&peer, &members, &mut lab.rng);
    for at in 0..long {
        let content = lab.rng.bytes(CHUNK + 1 + at);
        book.write_file(&format!("long {at}"), &content);
    }
    let contents: Vec<Vec<u8>> = (0..short).map(|at| format!("short {at}").into_bytes()).collect();
    for (at, content) in contents.iter().enumerate() {
        book.write_file(&format!("short {at}"), content);
    }
    let data = book.announce();
    begin(lab, &peer, link, &book, &data)?;
    let shorts = contents.iter().map(|content| blob_id(content)).collect();
    Ok((super::Fetching { peer, link, book, content: Vec::new() }, shorts))
}

/// Answers these requests and all that follow.
fn serve(lab: &mut Lab, scene: &super::Fetching, asked: Vec<Asked>) -> Done {
    for asked in asked {
        answer(lab, scene, &asked)?;
    }
    while let Ok(asked) = take_request(lab, scene.link) {
        answer(lab, scene, &asked)?;
    }
    Ok(())
}

fn tell(lab: &mut Lab, fed: &Fed, at: u64) {
    let all: Vec<PartId> = fed.book.state.parts().map(|part| part.part).collect();
    fed.send_parts(lab, &all);
    fed.mark(lab, at);
}

fn answer_of(lab: &mut Lab, fed: &Fed, asked: &Asked) {
    for range in &asked.ranges {
        let stream = crate::cases::scene::slice(&fed.book, asked, range);
        stream.into_iter().for_each(|stream| lab.send_bulk(fed.link, stream));
    }
}

/// Answers requests until this one, which is left.
fn until(lab: &mut Lab, fed: &Fed, is: impl Fn(&Asked) -> bool) -> Done<Asked> {
    loop {
        let asked = take_request(lab, fed.link)?;
        if is(&asked) {
            return Ok(asked);
        }
        answer_of(lab, fed, &asked);
    }
}
