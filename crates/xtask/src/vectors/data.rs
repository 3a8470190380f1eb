//! Chapter data: actors, ops, strands, roots, manifests, entries, paths, parts of several writers.

mod manifests;
mod parts;
mod paths;
mod strands;

use super::form::Book;

/// Adds the chapter's vectors.
pub(crate) fn add(book: &mut Book) {
    strands::add(book);
    manifests::add(book);
    parts::add(book);
    paths::add(book);
}
