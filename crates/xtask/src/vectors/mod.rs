//! Test vectors, computed by the core's public functions and, where it is cheap, a second time by hand.

mod account;
mod byhand;
mod cast;
mod cuts;
mod data;
mod form;
mod generations;
mod handoff;
mod link;
mod meet;
mod service;
mod sync;
mod transfer;
mod wire;

pub(crate) use form::{Values, Vector};

use form::Book;

use crate::problem::Problem;

/// All vectors, and where the core and the second computation differ.
pub(crate) fn all() -> (Vec<Vector>, Vec<Problem>) {
    let mut book = Book::default();
    wire::add(&mut book);
    link::add(&mut book);
    account::add(&mut book);
    data::add(&mut book);
    sync::add(&mut book);
    handoff::add(&mut book);
    transfer::add(&mut book);
    service::add(&mut book);
    generations::add(&mut book);
    book.close()
}
