//! Accuracy and loss of every module in numbers, in as many columns as they need.

use super::super::state::Modules;
use super::super::theme::Theme;
use super::frame::frame;
use crate::format;
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};
use ratatui::widgets::Widget;

/// Columns of an entry without its bar.
const ENTRY: u16 = 22;

/// Draws the modules from the top down, then from left to right.
pub fn draw(modules: &Modules, theme: &Theme, area: Rect, buf: &mut Buffer) {
    let so_far = if modules.so_far { " so far" } else { "" };
    let title = format!(" every module: training accuracy %, loss; epoch {}{so_far} ", modules.epoch);
    let inner = frame(&title, theme, area, buf);
    let n = modules.accuracies.len().max(modules.losses.len());
    if inner.is_empty() || n == 0 {
        return;
    }
    let columns = n.div_ceil(usize::from(inner.height)).max(1) as u16;
    let width = (inner.width / columns).min(60);
    for i in 0..n {
        let (column, row) = (i / usize::from(inner.height), i % usize::from(inner.height));
        let x = inner.x + column as u16 * width;
        let at = Rect::new(x, inner.y + row as u16, width.min(inner.right().saturating_sub(x)), 1);
        let value = |v: &[f64]| v.get(i).copied().unwrap_or(f64::NAN);
        entry(i, (value(&modules.accuracies), value(&modules.losses)), theme, at, buf);
    }
}

fn entry(i: usize, (accuracy, loss): (f64, f64), theme: &Theme, area: Rect, buf: &mut Buffer) {
    let room = usize::from(area.width.saturating_sub(ENTRY));
    let share = if accuracy.is_finite() { (accuracy / 100.0).clamp(0.0, 1.0) } else { 0.0 };
    let number = if accuracy.is_finite() { format!("{accuracy:.1}") } else { "–".into() };
    let full = (share * room as f64).round() as usize;
    Line::from(vec![
        Span::styled(format!(" {i:>3} "), theme.faint),
        Span::raw(format!("{number:>5} {:>8} ", format::loss(loss))),
        Span::styled("━".repeat(full), theme.train),
        Span::styled("╌".repeat(room - full), theme.faint),
    ])
    .render(area, buf);
}
