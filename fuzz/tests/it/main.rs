//! The stable replay.

mod replay;
