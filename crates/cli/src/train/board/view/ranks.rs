//! A row for every rank: its modules, how much of its time it works and waits, its memory beside the plan.

use super::super::theme::Theme;
use super::frame::frame;
use crate::format;
use crate::train::ranks::{RankRow, share};
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};
use ratatui::widgets::Widget;

/// Columns of a row without its bar.
const ROW: u16 = 60;

/// Draws as many rows as there is room for.
pub fn draw(rows: &[RankRow], theme: &Theme, area: Rect, buf: &mut Buffer) {
    let inner = frame(" ranks: busy, waiting; memory of plan ", theme, area, buf);
    for (k, (row, at)) in rows.iter().zip(inner.rows()).enumerate() {
        let room = usize::from(at.width.saturating_sub(ROW).min(40));
        let busy = if row.busy.is_finite() { (row.busy / 100.0).clamp(0.0, 1.0) } else { 0.0 };
        let full = (busy * room as f64).round() as usize;
        let modules = format!("modules {}", row.modules);
        let memory = format!("{} of {}", format::bytes(row.memory), format::bytes(row.planned));
        Line::from(vec![
            Span::styled(format!(" {k:>3} "), theme.faint),
            Span::raw(format!("{modules:<18} {:>5} {:>5} ", share(row.busy), share(row.waiting))),
            Span::styled("━".repeat(full), theme.train),
            Span::styled("╌".repeat(room - full), theme.faint),
            Span::raw(format!(" {memory}")),
        ])
        .render(at, buf);
    }
}
