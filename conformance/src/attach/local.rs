//! The reference in this process: for the kill matrix, where a child a mutant would take longer.

use segue_proto::{Clause, Generation, Instant};
use segue_testkit::LocalDevice;
use segue_testkit::device::{Outputs, Start};

use crate::choices::Chosen;

use super::{COMMANDS, Failure, Hello, Host, Slot, Tier};

/// Makes devices that run the core in this process.
#[derive(Clone, Debug, Default)]
pub struct LocalHost {
    without: Option<Clause>,
}

impl LocalHost {
    /// The reference itself.
    pub fn new() -> LocalHost {
        LocalHost::default()
    }

    /// The reference without a clause.
    pub fn mutant(clause: Clause) -> LocalHost {
        LocalHost { without: Some(clause) }
    }
}

impl Host for LocalHost {
    fn hello(&mut self) -> Result<Hello, String> {
        Ok(reference(&Generation::ALL))
    }

    fn start(&mut self, mut start: Start, now: Instant) -> Result<(Slot, Outputs), String> {
        start.setup.without = self.without;
        let (device, outputs) = LocalDevice::restore(start, now).map_err(|error| error.to_string())?;
        Ok((Slot(Box::new(device)), outputs))
    }

    fn failure(&self) -> Option<Failure> {
        None
    }

    fn renew(&mut self) {}
}

/// What the reference says of itself.
pub(super) fn reference(generations: &[Generation]) -> Hello {
    Hello {
        subject: format!("segue reference {}", env!("CARGO_PKG_VERSION")),
        generations: generations.to_vec(),
        commands: COMMANDS.iter().map(|name| (*name).to_string()).collect(),
        choices: Chosen::default(),
        tiers: vec![Tier::A],
    }
}
