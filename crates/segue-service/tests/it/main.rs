//! The integration tests: one binary.

mod delegate;
mod exchange;
mod hostile;
mod model;
mod quota;
mod revoked;
mod util;
