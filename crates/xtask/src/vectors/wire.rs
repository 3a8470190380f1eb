//! Chapter wire: values, frames, signed objects.

pub(crate) mod frames;
mod objects;
mod values;

use super::form::Book;

/// Adds the chapter's vectors.
pub(crate) fn add(book: &mut Book) {
    values::add(book);
    frames::add(book);
    objects::add(book);
}

pub(crate) use frames::{describe, message_frame};
pub(crate) use objects::{refuse_body, sign, signed};
