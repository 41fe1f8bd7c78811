//! The training accuracy of every module as upright bars; many modules stay legible.

use super::super::state::Modules;
use super::super::theme::Theme;
use super::frame::frame;
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;

/// A bar's top, in eighths of a row.
const EIGHTHS: [&str; 9] = [" ", "▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"];

/// Columns of the scale on the left.
const SCALE: u16 = 5;

/// Draws the bars: numbers of modules below, a number on top where it fits.
pub fn draw(modules: &Modules, theme: &Theme, area: Rect, buf: &mut Buffer) {
    if area.height < 4 || area.width < 16 {
        return;
    }
    let inner = frame(&title(modules), theme, area, buf);
    let room = inner.width - SCALE;
    let bars = grouped(&modules.accuracies, usize::from(room));
    let Some(highest) = bars.values.iter().copied().filter(|v| v.is_finite()).reduce(f64::max) else {
        return;
    };
    // Accuracies are compared by length, so bars begin at zero; whole tens end the scale.
    let top = ((highest / 10.0).ceil() * 10.0).clamp(10.0, 100.0);
    let rows = inner.height - 1;
    buf.set_string(inner.x, inner.y, format!("{top:>4}"), theme.faint);
    buf.set_string(inner.x, inner.y + rows - 1, "   0", theme.faint);
    // Wide bars where there is room, one column less than their distance.
    let pitch = (room / bars.values.len().max(1) as u16).clamp(1, 8);
    let width = if pitch > 1 { pitch - 1 } else { 1 };
    let apart = [1, 2, 5, 10, 20, 50].into_iter().find(|n| n * pitch >= 4).unwrap_or(50);
    for (i, &value) in bars.values.iter().enumerate() {
        let x = inner.x + SCALE + i as u16 * pitch;
        if value.is_finite() {
            bar(value / top, Rect::new(x, inner.y, width, rows), theme, buf);
            let number = format!("{value:.0}");
            if usize::from(width) > number.len() {
                let height = (value / top * f64::from(rows)).ceil() as u16;
                let y = inner.y + rows.saturating_sub(height + 1);
                if height < rows {
                    buf.set_string(x, y, number, theme.faint);
                }
            }
        }
        if i.is_multiple_of(usize::from(apart)) {
            let label = (i * bars.per).to_string();
            if x + label.len() as u16 <= inner.right() {
                buf.set_string(x, inner.y + rows, label, theme.faint);
            }
        }
    }
}

fn title(modules: &Modules) -> String {
    let when = match (modules.accuracies.is_empty(), modules.so_far) {
        (true, _) => return " training accuracy of every module, % ".into(),
        (false, true) => format!("epoch {} so far", modules.epoch),
        (false, false) => format!("epoch {}", modules.epoch),
    };
    format!(" training accuracy of every module, %: {when} ")
}

fn bar(share: f64, area: Rect, theme: &Theme, buf: &mut Buffer) {
    let eighths = (share.clamp(0.0, 1.0) * f64::from(area.height) * 8.0).round() as usize;
    for row in 0..area.height {
        let below = usize::from(area.height - 1 - row) * 8;
        let part = EIGHTHS[eighths.saturating_sub(below).min(8)];
        for column in 0..area.width {
            buf.set_string(area.x + column, area.y + row, part, theme.train);
        }
    }
}

/// Bars, and how many modules each stands for: the worst of them speaks.
struct Grouped {
    values: Vec<f64>,
    per: usize,
}

fn grouped(accuracies: &[f64], room: usize) -> Grouped {
    let per = accuracies.len().div_ceil(room.max(1)).max(1);
    let values = accuracies.chunks(per).map(|c| c.iter().copied().fold(f64::NAN, f64::min)).collect();
    Grouped { values, per }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_modules_than_columns_are_grouped_by_the_worst() {
        let accuracies: Vec<f64> = (0..100).map(f64::from).collect();
        let bars = grouped(&accuracies, 40);
        assert_eq!((bars.per, bars.values.len()), (3, 34));
        assert_eq!((bars.values[0], bars.values[33]), (0.0, 99.0));
        assert_eq!(grouped(&[], 10).values.len(), 0);
        assert!(grouped(&[f64::NAN], 10).values[0].is_nan());
    }
}
