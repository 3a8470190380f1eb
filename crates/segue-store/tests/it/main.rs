//! The store on real files.

mod blobs;
mod continuity;
mod corruption;
mod failure;
mod journal;
mod kill;
mod util;
