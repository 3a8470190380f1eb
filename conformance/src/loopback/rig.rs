//! What all ends of the suite share: the runtime, the patience, and the transcript.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::runtime::{Builder, Runtime};

use crate::lab::Done;
use crate::verdict::Fault;

/// How long anything may take by the wall clock. No verdict hangs on it: what hasn't come by then is inconclusive, not
/// failed. Longer than the longest timer that a case waits for, and far longer than anything that works.
pub const GUARD: Duration = Duration::from_secs(30);

/// A runtime and a transcript.
#[derive(Clone)]
pub struct Rig {
    runtime: Arc<Runtime>,
    guard: Duration,
    lines: Arc<Mutex<Vec<String>>>,
}

impl Rig {
    /// A rig that waits so long.
    ///
    /// # Errors
    /// If the system gives no thread.
    pub fn new(guard: Duration) -> Result<Rig, String> {
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build();
        let runtime = runtime.map_err(|error| format!("can't start the runtime: {error}"))?;
        Ok(Rig { runtime: Arc::new(runtime), guard, lines: Arc::default() })
    }

    /// Waits for something; what hasn't come when patience ends is no evidence either way.
    ///
    /// # Errors
    /// If it doesn't come.
    pub fn wait<T>(&self, what: &str, future: impl Future<Output = T>) -> Done<T> {
        let limited = async { tokio::time::timeout(self.guard, future).await };
        let unheard = |_| Fault::unheard(what, format!("nothing within {} s", self.guard.as_secs_f32()));
        self.runtime.block_on(limited).map_err(unheard)
    }

    /// Does something that doesn't wait, where the runtime is needed.
    pub fn enter<T>(&self, act: impl FnOnce() -> T) -> T {
        let _guard = self.runtime.enter();
        act()
    }

    /// Lets something go on while others are waited for.
    pub fn spawn(&self, future: impl Future<Output = ()> + Send + 'static) {
        drop(self.runtime.spawn(future));
    }

    /// How long it waits.
    pub fn guard(&self) -> Duration {
        self.guard
    }

    /// Adds a line to the transcript.
    pub fn note(&self, line: impl std::fmt::Display) {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner).push(line.to_string());
    }

    /// Takes the transcript, and begins another.
    pub fn take_lines(&self) -> Vec<String> {
        std::mem::take(&mut *self.lines.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
