//! Calls into a library that may panic.

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::panic::{self, AssertUnwindSafe, PanicHookInfo};
use std::sync::Once;

thread_local! {
    static GUARDED: Cell<bool> = const { Cell::new(false) };
    static PLACE: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// Calls; a panic becomes its message. What the call had in hand is then in an unknown state, and must be left alone.
pub(crate) fn guarded<T>(call: impl FnOnce() -> T) -> Result<T, String> {
    keep_the_terminal_clean();
    let outer = GUARDED.replace(true);
    let done = panic::catch_unwind(AssertUnwindSafe(call));
    GUARDED.set(outer);
    done.map_err(|payload| {
        let place = PLACE.take().unwrap_or_else(|| "an unknown place".into());
        let said = said(payload.as_ref());
        // A payload's own drop may panic too.
        std::mem::forget(payload);
        format!("the library panicked at {place}: {said}")
    })
}

/// The default hook prints to the terminal that an editor draws on. Panics inside a guarded call are kept for the error
/// instead; all others go to the hook that was there.
fn keep_the_terminal_clean() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let before = panic::take_hook();
        panic::set_hook(Box::new(move |info: &PanicHookInfo<'_>| {
            if GUARDED.get() {
                let place = info.location().map(ToString::to_string);
                PLACE.with_borrow_mut(|kept| *kept = place);
            } else {
                before(info);
            }
        }));
    });
}

fn said(payload: &(dyn Any + Send)) -> String {
    let said = payload.downcast_ref::<&str>().copied();
    let said = said.or_else(|| payload.downcast_ref::<String>().map(String::as_str)).unwrap_or("no message");
    // The message may hold a peer's text.
    said.chars().filter(|c| !c.is_control()).take(200).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_becomes_its_message() {
        let caught = guarded(|| panic!("no such {}", "block\u{1b}[2J")).map(|()| 0);
        let text = caught.expect_err("it panicked");
        assert!(text.contains("guard.rs") && text.ends_with("no such block[2J"), "{text}");
        assert_eq!(guarded(|| 7), Ok(7));
    }

    #[test]
    fn a_guarded_call_may_hold_another() {
        let outer = guarded(|| {
            let inner = guarded(|| panic!("inner"));
            assert!(inner.is_err() && GUARDED.get());
        });
        assert!(outer.is_ok() && !GUARDED.get());
    }
}
