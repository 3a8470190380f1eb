//! The end of a try that the application isn't told yet, because another try may follow.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use segue_proto::Code;

use crate::event::{Event, Queue};

/// What a call withholds of the tries behind it, so that the application is told one end for each call. What is still in
/// here when the call is over, or is dropped, was the end.
pub(crate) struct Untold {
    events: Arc<Queue>,
    event: Mutex<Option<Event>>,
}

impl Untold {
    pub(crate) fn new(events: Arc<Queue>) -> Arc<Untold> {
        Arc::new(Untold { events, event: Mutex::default() })
    }

    /// A try ended.
    pub(crate) fn withhold(&self, event: Event) {
        *self.lock() = Some(event);
    }

    /// Another try began: its end is told instead.
    pub(crate) fn forget(&self) {
        *self.lock() = None;
    }

    /// No other try follows, for this reason.
    pub(crate) fn ends_with(&self, code: Code) {
        match self.lock().as_mut() {
            Some(Event::HandoffResolved { result, reason, .. }) => (*result, *reason) = (Err(code), None),
            Some(Event::Delegated { result, .. }) => *result = Err(code),
            _ => {}
        }
    }

    fn lock(&self) -> MutexGuard<'_, Option<Event>> {
        self.event.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Untold {
    fn drop(&mut self) {
        if let Some(event) = self.lock().take() {
            self.events.push(event);
        }
    }
}
