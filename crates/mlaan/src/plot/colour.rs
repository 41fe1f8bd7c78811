//! The colours of plots and pictures.

use plotters::style::RGBColor;

/// Okabe and Ito's colours, those that show best on light and dark first. Grey stands for their black, which would vanish
/// on dark, and their yellow, which does on white.
pub const SERIES: [[u8; 3]; 7] = [
    [0x00, 0x72, 0xb2],
    [0xd5, 0x5e, 0x00],
    [0x00, 0x9e, 0x73],
    [0xcc, 0x79, 0xa7],
    [0xe6, 0x9f, 0x00],
    [0x56, 0xb4, 0xe9],
    [0x80, 0x80, 0x82],
];

/// The colour of series number `i`; they repeat.
pub fn series(i: usize) -> [u8; 3] {
    SERIES[i % SERIES.len()]
}

/// Viridis, from 0 (dark) to 1 (bright): as far apart to the eye as the values are.
pub fn viridis(value: f32) -> [u8; 3] {
    let c = colorous::VIRIDIS.eval_continuous(f64::from(value).clamp(0.0, 1.0));
    [c.r, c.g, c.b]
}

/// For plots.
pub(super) fn rgb([r, g, b]: [u8; 3]) -> RGBColor {
    RGBColor(r, g, b)
}

/// Black or white, whichever is read better on a colour.
pub(super) fn ink_on([r, g, b]: [u8; 3]) -> RGBColor {
    let light = 0.299 * f64::from(r) + 0.587 * f64::from(g) + 0.114 * f64::from(b);
    if light > 140.0 { RGBColor(0, 0, 0) } else { RGBColor(255, 255, 255) }
}
