//! Frames with titles.

use crate::train::board::theme::Theme;
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::text::Line;
use ratatui::widgets::{Block, Widget};

/// A titled frame; gives what is inside.
pub fn frame(title: &str, theme: &Theme, area: Rect, buf: &mut Buffer) -> Rect {
    let block = Block::bordered().border_style(theme.faint).title(Line::from(title).style(theme.strong));
    let inner = block.inner(area);
    block.render(area, buf);
    inner
}
