//! The user's terminal: what is drawn, and which keys come.

use std::io::{self, Stdout};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crossterm::cursor::Show;
use crossterm::event::{self, DisableBracketedPaste, EnableBracketedPaste, Event};
use crossterm::execute;
use crossterm::terminal::{EnterAlternateScreen, LeaveAlternateScreen, disable_raw_mode, enable_raw_mode};
use ratatui::Terminal;
use ratatui::backend::{Backend, CrosstermBackend};

/// Where an editor is drawn and keys come from.
pub(crate) trait Console {
    /// What draws.
    type Backend: Backend;

    /// The terminal.
    fn terminal(&mut self) -> &mut Terminal<Self::Backend>;

    /// The next key, paste or resize, if one comes in this time.
    fn next(&mut self, wait: Duration) -> io::Result<Option<Event>>;

    /// Whether the editor is to end without a key.
    fn is_over(&self) -> bool {
        false
    }
}

/// The process's own terminal, as it was found when this is dropped.
pub(crate) struct Screen {
    // Restores after the last frame.
    terminal: Terminal<CrosstermBackend<Stdout>>,
    _restore: Restore,
    over: Arc<AtomicBool>,
}

struct Restore;

impl Screen {
    /// Takes the terminal over.
    ///
    /// # Errors
    /// Standard output is no terminal, or it doesn't obey.
    pub(crate) fn open() -> io::Result<Screen> {
        enable_raw_mode()?;
        // From here on any way out gives the terminal back.
        let restore = Restore;
        execute!(io::stdout(), EnterAlternateScreen, EnableBracketedPaste)?;
        let terminal = Terminal::new(CrosstermBackend::new(io::stdout()))?;
        Ok(Screen { terminal, _restore: restore, over: Arc::default() })
    }

    /// Ends the editor once it is set.
    pub(crate) fn over(&self) -> Arc<AtomicBool> {
        self.over.clone()
    }
}

impl Console for Screen {
    type Backend = CrosstermBackend<Stdout>;

    fn terminal(&mut self) -> &mut Terminal<Self::Backend> {
        &mut self.terminal
    }

    fn next(&mut self, wait: Duration) -> io::Result<Option<Event>> {
        if event::poll(wait)? { event::read().map(Some) } else { Ok(None) }
    }

    fn is_over(&self) -> bool {
        self.over.load(Ordering::Relaxed)
    }
}

impl Drop for Restore {
    fn drop(&mut self) {
        // There is nobody to tell.
        let _ = execute!(io::stdout(), DisableBracketedPaste, LeaveAlternateScreen, Show);
        let _ = disable_raw_mode();
    }
}
