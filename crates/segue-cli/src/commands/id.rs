//! `segue id`: who this device is.

use segue_quic::{device_id, load_or_create_key};

use crate::args::State;
use crate::device;
use crate::failure::{Exit, Failure};
use crate::terminal::say;

/// Prints the device's id, alone on a line. The key doesn't need the store, so this also works while it is in use.
pub(crate) fn run(args: &State) -> Result<Exit, Failure> {
    let state = device::make(&args.state)?;
    say(device_id(&load_or_create_key(&state)?));
    Ok(Exit::Resolved)
}
