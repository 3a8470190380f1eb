//! The integration tests: one binary.

mod accounts;
mod corrupt;
mod delegate;
mod exchange;
mod founding;
mod hostile;
mod jwt;
mod laws;
mod meet;
mod model;
mod presence;
mod quota;
mod revoked;
mod util;
mod wake;
