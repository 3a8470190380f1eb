//! Chapter handoff: records and the chain, WANT, OFFER, FINAL, GRANT, the acknowledgement, the order of heads.

mod chains;
mod objects;
mod receipts;

pub(crate) use objects::ack;

use super::form::Book;

/// Adds the chapter's vectors.
pub(crate) fn add(book: &mut Book) {
    objects::add(book);
    chains::add(book);
    receipts::add(book);
}
