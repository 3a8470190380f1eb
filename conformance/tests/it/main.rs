//! The suite, certified: the reference passes, mutants and null subjects don't.

mod certificate;
mod declared;
mod kill_matrix;
mod properties;
mod reference;
mod report;
mod requirements;
mod schema;
mod sockets;
mod vectors;
mod whole;
