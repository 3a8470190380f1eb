//! Draws an editor.

use ratatui::Frame;
use ratatui::buffer::Buffer;
use ratatui::layout::{Position, Rect};
use ratatui::style::{Modifier, Style};

use super::cells::cells;
use super::editor::Editor;

/// The text, and the status line below it.
pub(crate) fn draw(editor: &mut Editor, frame: &mut Frame<'_>) {
    let area = frame.area();
    if area.is_empty() {
        return;
    }
    let text = Rect { height: area.height - 1, ..area };
    editor.resize(text.width.into(), text.height.into());
    for row in text.rows() {
        let line = editor.top_line() + usize::from(row.y - text.y);
        if line < editor.lines() {
            draw_line(&editor.line(line), editor.left, row, frame.buffer_mut());
        }
    }
    let status = Rect { y: area.y + text.height, height: 1, ..area };
    let line = format!(" {:<width$}", editor.status(), width = usize::from(status.width));
    let style = Style::new().add_modifier(Modifier::REVERSED);
    frame.buffer_mut().set_stringn(status.x, status.y, line, status.width.into(), style);
    if text.height > 0 {
        let (line, column) = editor.position();
        frame.set_cursor_position(Position {
            x: text.x + within(column - editor.left, text.width),
            y: text.y + within(line - editor.top_line(), text.height),
        });
    }
}

fn draw_line(line: &str, left: usize, row: Rect, buffer: &mut Buffer) {
    let end = left + usize::from(row.width);
    for cell in cells(line).skip_while(|cell| cell.column < left).take_while(|cell| cell.column + cell.width <= end) {
        let x = row.x + within(cell.column - left, row.width);
        buffer.set_stringn(x, row.y, &cell.shown, cell.width, Style::new());
    }
}

/// A distance inside a terminal, whose sides have 16 bits.
fn within(distance: usize, side: u16) -> u16 {
    u16::try_from(distance).unwrap_or(u16::MAX).min(side.saturating_sub(1))
}
