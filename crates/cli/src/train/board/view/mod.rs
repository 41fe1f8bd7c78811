//! The dashboard's picture: a function of its state, for any size.

mod bars;
mod charts;
mod figures;
mod frame;
mod numbers;
mod ranks;

use self::frame::frame;
use super::state::{State, View};
use super::theme::Theme;
use crate::train::table;
use ratatui::buffer::Buffer;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::text::{Line, Span, Text};
use ratatui::widgets::{Clear, Paragraph, Widget};

/// Columns and rows below which a progress bar says more.
pub const LEAST: (u16, u16) = (64, 18);

/// Draws `state` into `area`. Where it is smaller than [`LEAST`], what matters most stays.
pub fn draw(state: &State, theme: &Theme, area: Rect, buf: &mut Buffer) {
    let figures = figures::ROWS.min(area.height.saturating_sub(1));
    let [top, body, foot] =
        Layout::vertical([Constraint::Length(figures), Constraint::Min(0), Constraint::Length(1)])
            .areas(area);
    figures::draw(state, theme, top, buf);
    match state.view {
        View::Curves => curves(state, theme, body, buf),
        View::Modules => numbers::draw(&state.modules, theme, body, buf),
        View::Epochs => epochs(state, theme, body, buf),
        View::Ranks => ranks::draw(&state.ranks, theme, body, buf),
    }
    footer(state, theme, foot, buf);
    if state.help {
        help(state.eta.held, theme, area, buf);
    }
}

/// Rows of curves and bars that ranks below them leave.
const ABOVE_RANKS: u16 = 14;

/// Curves above, a bar for every module below; below these a row for every rank, where there is room for all.
fn curves(state: &State, theme: &Theme, area: Rect, buf: &mut Buffer) {
    let wanted = if state.ranks.is_empty() { 0 } else { state.ranks.len() as u16 + 2 };
    let wanted = if area.height >= ABOVE_RANKS + wanted { wanted } else { 0 };
    let [area, below] = Layout::vertical([Constraint::Min(0), Constraint::Length(wanted)]).areas(area);
    if wanted > 0 {
        ranks::draw(&state.ranks, theme, below, buf);
    }
    let bars = if state.eta.epochs > 0 && area.height >= 12 { (area.height * 2 / 5).clamp(5, 12) } else { 0 };
    let [top, bottom] = Layout::vertical([Constraint::Min(0), Constraint::Length(bars)]).areas(area);
    charts::draw((&state.curves, state.eta.held), theme, top, buf);
    bars::draw(&state.modules, theme, bottom, buf);
}

/// The newest lines of the table of epochs.
fn epochs(state: &State, theme: &Theme, area: Rect, buf: &mut Buffer) {
    let inner = frame(" finished epochs ", theme, area, buf);
    let room = usize::from(inner.height.saturating_sub(1));
    let newest = state.rows.iter().skip(state.rows.len().saturating_sub(room));
    let modules = table::shown(inner.width);
    let mut lines = vec![Line::styled(table::header(&state.eta), theme.faint)];
    lines.extend(newest.map(|row| {
        let style = if row.is_best { theme.strong } else { ratatui::style::Style::new() };
        let mark = if row.is_best { "*" } else { " " };
        let test = Span::styled(format!("{}{mark}", row.test), style);
        let end = format!("  {}  {}", row.end, row.modules(modules));
        Line::from(vec![Span::raw(format!("{}  ", row.begin)), test, Span::raw(end)])
    }));
    Paragraph::new(lines).render(inner, buf);
}

fn footer(state: &State, theme: &Theme, area: Rect, buf: &mut Buffer) {
    let line = if state.stopping {
        Line::styled(" stopping after this step and saving; Ctrl-C again stops at once", theme.strong)
    } else {
        let shows = match state.next_view() {
            View::Curves => "curves",
            View::Modules => "modules",
            View::Epochs => "epochs",
            View::Ranks => "ranks",
        };
        Line::styled(format!(" q stop and save   Tab {shows}   ? help"), theme.faint)
    };
    line.render(area, buf);
}

/// What the keys do and the signs mean, over the picture.
fn help(held: &str, theme: &Theme, area: Rect, buf: &mut Buffer) {
    let text = Text::from(vec![
        Line::from(" q, Ctrl-C  stop after this step and save; mlaan train --resume goes on"),
        Line::from(" Ctrl-C     a second time: stop at once"),
        Line::from(" Ctrl-Z     suspend; fg goes on"),
        Line::from(" Tab        curves, numbers of modules, finished epochs, ranks"),
        Line::from(" ?          these lines"),
        Line::default(),
        Line::from(vec![
            Span::styled(" ⠒  ", theme.train),
            Span::raw("training: the steps' own classifier, x in epochs"),
        ]),
        Line::from(vec![Span::styled(" •  ", theme.test), Span::raw(format!("{held}, after every epoch"))]),
        Line::from(" --plain shows a progress bar instead of all this"),
    ]);
    let size = (text.width() as u16 + 3, text.height() as u16 + 2);
    let (width, height) = (size.0.min(area.width), size.1.min(area.height));
    let at = Rect::new(area.x + (area.width - width) / 2, area.y + (area.height - height) / 2, width, height);
    Clear.render(at, buf);
    let inner = frame(" help ", theme, at, buf);
    Paragraph::new(text).render(inner, buf);
}

#[cfg(test)]
mod tests;
