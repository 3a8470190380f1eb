//! The suite, certified: the reference passes, mutants and null subjects don't.

mod kill_matrix;
mod reference;
mod vectors;
mod whole;
