//! The suite, certified: the reference passes, mutants and null subjects don't.

mod declared;
mod kill_matrix;
mod properties;
mod reference;
mod requirements;
mod schema;
mod sockets;
mod vectors;
mod whole;
