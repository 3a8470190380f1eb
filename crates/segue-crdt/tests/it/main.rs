//! Documents, as an application uses them.
#![cfg(feature = "yrs")]

#[cfg(feature = "automerge")]
mod automerge;
mod histories;
mod hostile;
mod map_and_array;
mod size;
mod text;
mod util;
