//! Chapter generations: at which generation a pair runs, or that it doesn't.

use segue_proto::Generation;

use super::form::{Book, Vector};
use super::meet::{Met, greeting, meet};
use crate::json::Json;

/// Adds the chapter's vectors.
pub(crate) fn add(book: &mut Book) {
    for mine in Generation::ALL {
        for theirs in Generation::ALL {
            let picked = mine.min(theirs);
            let what = format!("A device of generation {mine} and one of {theirs}, both with the floor 1.4.");
            let vector =
                pair(format!("{}-{}", slug(mine), slug(theirs)), what, [mine.number(), 1], [theirs.number(), 1]);
            accept(book, vector.clause("GEN-PICK-1"), picked);
        }
    }
    let later = pair("7-later".into(), "A device of 7 and one of a later generation.".into(), [4, 1], [9, 1]);
    accept(book, later.clause("GEN-PICK-1"), Generation::V7);
    for (name, what, mine, theirs, picked) in [
        ("floor-met", "Both floors are just met.", [4, 3], [3, 3], Generation::V2),
        ("floor-of-one", "One floor lies below the other; both are met.", [4, 2], [3, 1], Generation::V2),
    ] {
        accept(book, pair(name.into(), what.into(), mine, theirs).clause("GEN-FLOOR-1"), picked);
    }
    for (name, what, mine, theirs) in [
        ("floor-own", "The pair could run at 1.7, which lies below the own floor.", [4, 3], [2, 1]),
        ("floor-peer", "The pair could run at 1.7, which lies below the peer's floor.", [2, 1], [4, 3]),
        ("floor-both", "The pair could run at 1.4, which lies below both floors.", [1, 1], [4, 4]),
    ] {
        let vector = Vector::invalid("generations", "pick", name, what, ("GEN-FLOOR-1", "VER_BELOW_FLOOR"));
        let vector = hellos(vector, mine, theirs);
        book.same(&vector, "the link", meets(&vector), Met::Ended("VER_BELOW_FLOOR"));
        book.add(vector);
    }
}

/// Adds a pair that runs at a generation, if a device of the core finds so too.
fn accept(book: &mut Book, vector: Vector, picked: Generation) {
    book.same(&vector, "the link", meets(&vector), Met::Ready(picked));
    book.add(vector.expect("generation", u64::from(picked.number())));
}

/// What a device of the core makes of the pair.
fn meets(vector: &Vector) -> Met {
    let number = |at: usize| match vector.input.get(at) {
        Some((_, Json::Number(number))) => u8::try_from(*number).unwrap_or(0),
        _ => 0,
    };
    let own = |at: usize| Generation::from_number(number(at)).expect("a device of the core speaks what it knows");
    meet(own(0), own(1), BINDING, &greeting(number(2), number(3), BINDING))
}

/// A channel binding.
const BINDING: [u8; 32] = [0x5a; 32];

/// A pair, by the highest generation and the floor of each.
fn pair(name: String, what: String, mine: [u8; 2], theirs: [u8; 2]) -> Vector {
    hellos(Vector::valid("generations", "pick", name, what), mine, theirs)
}

fn hellos(vector: Vector, mine: [u8; 2], theirs: [u8; 2]) -> Vector {
    vector
        .input("generation", u64::from(mine[0]))
        .input("floor", u64::from(mine[1]))
        .input("peer_generation", u64::from(theirs[0]))
        .input("peer_floor", u64::from(theirs[1]))
}

fn slug(generation: Generation) -> String {
    generation.name().replace('.', "-")
}
