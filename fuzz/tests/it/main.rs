//! The stable replay.

mod mistakes;
mod replay;
