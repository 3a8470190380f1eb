//! Fuzz targets: plain functions of bytes that panic when something is wrong.
//!
//! Each target says what must hold. The libFuzzer entries in `fuzz_targets/` call them by name, and so does the stable
//! replay in `tests/it`, which runs the corpus and mutations of it. `fuzz/smoke.sh` runs whatever the machine has.

#![forbid(unsafe_code)]

mod chain;
mod custody;
mod cut;
mod data;
mod endpoint;
mod framer;
mod frames;
mod input;
mod jwt;
mod link;
mod login;
mod path;
mod receipt;
mod restore;
mod roster;
mod service;
mod signed;
mod sync;
mod transfer;
mod world;

pub mod seeds;

pub use chain::chain;
pub use custody::{custody, custody_by};
pub use cut::cut;
pub use data::data;
pub use endpoint::endpoint;
pub use framer::framer;
pub use frames::frames;
pub use input::Input;
pub use jwt::jwt;
pub use link::link;
pub use login::{login, login_by};
pub use path::path;
pub use receipt::receipt;
pub use restore::restore;
pub use roster::roster;
pub use service::service;
pub use signed::signed;
pub use sync::sync;
pub use transfer::transfer;
pub use world::world;

/// A target.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// Its name: of the function, of the libFuzzer binary and of the folder in `corpus/`.
    pub name: &'static str,
    /// What it runs.
    pub run: fn(&[u8]),
    /// How many mutations of each seed the stable replay runs: fewer where an input costs more.
    pub mutations: u32,
}

macro_rules! targets {
    ($($name:ident $mutations:literal,)+) => {
        /// Every target.
        pub const TARGETS: &[Target] =
            &[$(Target { name: stringify!($name), run: $name, mutations: $mutations },)+];
    };
}

targets! {
    frames 2000,
    signed 2000,
    framer 2000,
    data 2000,
    sync 1000,
    transfer 2000,
    cut 100,
    path 2000,
    receipt 500,
    chain 2000,
    link 2000,
    endpoint 500,
    restore 2000,
    roster 2000,
    service 300,
    custody 200,
    login 500,
    jwt 500,
    world 20,
}
