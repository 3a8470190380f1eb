//! The reference in this process: for the kill matrix, where a child a mutant would take longer.

use std::cell::RefCell;
use std::rc::Rc;

use segue_proto::{Clause, Generation, Instant, OpenError};
use segue_testkit::LocalDevice;
use segue_testkit::device::{Outputs, Refusal, Start};

use crate::choices::Chosen;

use super::{COMMANDS, Failure, Hello, Host, Slot, Tier};
use crate::pairs::Shared;

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

impl LocalHost {
    /// As a host that worlds share.
    pub fn shared(self) -> Shared {
        let host: Box<dyn Host> = Box::new(self);
        Rc::new(RefCell::new(host))
    }
}

impl Host for LocalHost {
    fn hello(&mut self) -> Result<Hello, String> {
        Ok(reference(&Generation::ALL))
    }

    fn start(&mut self, mut start: Start, now: Instant) -> Result<(Slot, Outputs), Refusal> {
        start.setup.without = self.without;
        let refused = |error: OpenError| Refusal { code: error.code, text: error.what };
        let (device, outputs) = LocalDevice::restore(start, now).map_err(refused)?;
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
        commands_b: None,
        choices: Chosen::default(),
        tiers: vec![Tier::A],
    }
}
