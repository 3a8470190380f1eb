//! Simulated Segue devices, network and disks, in virtual time from one seed.
//!
//! A [`World`] holds devices behind the trait [`Device`], carries what they send, loses what they haven't synced, and
//! has an [`Oracle`] look at everything that can be seen from outside. The same seed and the same calls give the same
//! trace, to the byte.

#![forbid(unsafe_code)]

pub mod device;
pub mod disk;
pub mod flights;
pub mod load;
pub mod net;
pub mod oracle;
pub mod rng;
pub mod scenario;
pub mod trace;
pub mod world;

pub use device::{Device, LocalDevice};
pub use flights::{Flights, Pair, Way};
pub use oracle::{Breach, Oracle, Promise};
pub use rng::{Rng, Span};
pub use scenario::{Kind, Outcome, Scenario};
pub use world::{Faults, Options, Strike, Users, World};
