//! The lines above the curves: name, time, memory, figures.

use super::super::state::{Doing, State};
use super::super::theme::Theme;
use crate::format;
use crate::train::table;
use ratatui::buffer::Buffer;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::text::{Line, Span};
use ratatui::widgets::Widget;

/// Rows that are wanted.
pub const ROWS: u16 = 5;

/// Columns of a line's word and of what follows its bar.
const WORD: u16 = 18;
const AFTER: u16 = 32;

/// Draws as many of the lines as there are rows.
pub fn draw(state: &State, theme: &Theme, area: Rect, buf: &mut Buffer) {
    let mut rows = area.rows();
    let mut row = || rows.next().unwrap_or_default();
    title(state, theme, row(), buf);
    let (epoch, run) = state.done();
    let left = state.seconds_left();
    let step = match state.doing {
        Doing::Starting => "starting".into(),
        Doing::Testing => "testing".into(),
        Doing::Training => format!("step {}/{}", format::count(state.at.step), format::count(state.at.steps)),
    };
    let left_of =
        |seconds: Option<f64>| seconds.map_or("–".into(), |s| format!("{} left", format::clock(s)));
    let at = format!("epoch {}/{}", state.at.epoch, state.eta.epochs);
    gauge((&at, epoch, &format!("{:<13} {step}", left_of(left.map(|l| l.0)))), theme, row(), buf);
    gauge(("run", run, &left_of(left.map(|l| l.1))), theme, row(), buf);
    let used = format!("{} of {}", format::bytes(state.at.bytes), format::bytes(state.planned));
    gauge(("memory of plan", state.at.bytes as f64 / state.planned.max(1) as f64, &used), theme, row(), buf);
    Line::from(figures(state, theme)).render(row(), buf);
}

fn title(state: &State, theme: &Theme, area: Rect, buf: &mut Buffer) {
    let [name, folder] =
        Layout::horizontal([Constraint::Length(state.name.chars().count() as u16 + 2), Constraint::Min(0)])
            .areas(area);
    Line::styled(format!(" {}", state.name), theme.strong).render(name, buf);
    // Of a long path the end says more.
    let room = usize::from(folder.width.saturating_sub(1));
    let skipped = state.folder.chars().count().saturating_sub(room);
    let shown: String = match skipped {
        0 => state.folder.clone(),
        n => std::iter::once('…').chain(state.folder.chars().skip(n + 1)).collect(),
    };
    if room > 1 {
        Line::styled(format!("{shown} "), theme.faint).right_aligned().render(folder, buf);
    }
}

/// A word, a bar and its percentage, and words behind it.
fn gauge((word, share, after): (&str, f64, &str), theme: &Theme, area: Rect, buf: &mut Buffer) {
    let width = usize::from(area.width.saturating_sub(WORD + 7 + AFTER).clamp(8, 60));
    let share = if share.is_finite() { share.max(0.0) } else { 0.0 };
    // The bar is full at its end; the number says how far beyond.
    let full = (share.min(1.0) * width as f64).round() as usize;
    // 100 % are not to be read before they are reached.
    let percent = (share * 100.0).floor();
    Line::from(vec![
        Span::raw(format!(" {word:<width$}", width = usize::from(WORD) - 1)),
        Span::styled("━".repeat(full), theme.train),
        Span::styled("╌".repeat(width - full), theme.faint),
        Span::raw(format!("{percent:>4} %  {after}")),
    ])
    .render(area, buf);
}

fn figures<'a>(state: &State, theme: &Theme) -> Vec<Span<'a>> {
    let (best, at) = state.best;
    let best = match (best.is_finite(), at) {
        (false, _) => String::new(),
        (true, 0) => format!("  best {}", format::percent(best)),
        (true, at) => format!("  best {} (epoch {at})", format::percent(best)),
    };
    vec![
        Span::raw(format!(" {} accuracy ", state.eta.held)),
        Span::styled(format::percent(state.test), theme.strong),
        Span::raw(best),
        Span::raw(format!("  lr {}", table::rate(state.at.lr))),
        Span::raw(format!("  {} images/s", format::count(state.at.speed as usize))),
    ]
}
