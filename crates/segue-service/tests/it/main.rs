//! The integration tests: one binary.

mod delegate;
mod exchange;
mod hostile;
mod model;
mod presence;
mod quota;
mod revoked;
mod util;
