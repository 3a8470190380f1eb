//! The terminal editor: several devices type into one text, see each other's changes and who is online, lose the network,
//! type on, and meet again.
//!
//! The editor knows a text ([`segue_crdt::YrsText`]), a [`Session`] that carries its ops, and a [`Console`]. It waits for
//! keys alone; what the session has to say is asked for twenty times a second, when edits are flushed too: what was typed
//! meanwhile is one op.

mod cells;
pub(crate) mod console;
mod editor;
#[cfg(test)]
mod memory;
pub(crate) mod on_node;
pub(crate) mod session;
#[cfg(test)]
mod tests;
mod view;

use std::io;
use std::time::{Duration, Instant};

use crossterm::event::{Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use segue_crdt::YrsText;

use self::console::Console;
use self::editor::{Editor, Motion};
use self::session::Session;

/// Edits until the user quits. The document holds all ops that the session's part has; those that come later come by the
/// session. `hint` is shown until the first key. When this returns, every edit was submitted.
///
/// # Errors
/// The terminal failed, or the document is broken before anything is shown.
pub(crate) fn run(
    mut console: impl Console,
    mut session: impl Session,
    document: YrsText,
    hint: &str,
) -> io::Result<()> {
    let mut editor = Editor::open(document, session.name()).map_err(io::Error::other)?;
    editor.note(hint);
    let mut next_exchange = Instant::now();
    loop {
        let now = Instant::now();
        if now >= next_exchange {
            editor.exchange(&mut session);
            next_exchange = now + FLUSH;
        }
        console
            .terminal()
            .draw(|frame| view::draw(&mut editor, frame))
            .map_err(|error| io::Error::other(error.to_string()))?;
        let event = console.next(next_exchange.saturating_duration_since(Instant::now()))?;
        if event.is_some_and(|event| handle(&mut editor, event) == Next::Quit) || console.is_over() {
            editor.exchange(&mut session);
            return Ok(());
        }
    }
}

/// What follows an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Next {
    Stay,
    Quit,
}

fn handle(editor: &mut Editor, event: Event) -> Next {
    match event {
        Event::Key(key) if key.kind != KeyEventKind::Release => return press(editor, key),
        // Terminals send what is pasted with carriage returns.
        Event::Paste(text) => editor.insert(&text.replace("\r\n", "\n").replace('\r', "\n")),
        // A resize shows at the next draw.
        _ => {}
    }
    Next::Stay
}

fn press(editor: &mut Editor, key: KeyEvent) -> Next {
    editor.forget_note();
    let control = key.modifiers.contains(KeyModifiers::CONTROL);
    match key.code {
        KeyCode::Char('q') if control => return Next::Quit,
        KeyCode::Char('z') if control => editor.step_back(false),
        KeyCode::Char('y') if control => editor.step_back(true),
        KeyCode::Char(_) if control || key.modifiers.contains(KeyModifiers::ALT) => {}
        KeyCode::Char(c) => editor.insert(c.encode_utf8(&mut [0; 4])),
        KeyCode::Enter => editor.insert("\n"),
        KeyCode::Tab => editor.insert("\t"),
        KeyCode::Backspace => editor.backspace(),
        KeyCode::Delete => editor.delete_forward(),
        code => {
            if let Some(motion) = motion(code, control) {
                editor.go(motion);
            }
        }
    }
    Next::Stay
}

fn motion(code: KeyCode, control: bool) -> Option<Motion> {
    Some(match code {
        KeyCode::Left => Motion::Left,
        KeyCode::Right => Motion::Right,
        KeyCode::Up => Motion::Up,
        KeyCode::Down => Motion::Down,
        KeyCode::Home if control => Motion::TextStart,
        KeyCode::End if control => Motion::TextEnd,
        KeyCode::Home => Motion::LineStart,
        KeyCode::End => Motion::LineEnd,
        KeyCode::PageUp => Motion::PageUp,
        KeyCode::PageDown => Motion::PageDown,
        _ => return None,
    })
}

/// How often edits leave: as rarely as nobody notices.
const FLUSH: Duration = Duration::from_millis(50);
