//! The shapes and textures of the built-in set, as signed distances from their edge.

/// What makes a class of the built-in set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    Disc,
    Ring,
    Bar,
    Triangle,
    Cross,
    Star,
    Crescent,
    Stripes,
    Checks,
    Dots,
    /// No class: a window for textures, and clutter.
    Square,
}

/// Class names, in label order.
pub(super) const CLASSES: [(&str, Shape); 10] = [
    ("disc", Shape::Disc),
    ("ring", Shape::Ring),
    ("bar", Shape::Bar),
    ("triangle", Shape::Triangle),
    ("cross", Shape::Cross),
    ("star", Shape::Star),
    ("crescent", Shape::Crescent),
    ("stripes", Shape::Stripes),
    ("checks", Shape::Checks),
    ("dots", Shape::Dots),
];

impl Shape {
    /// Whether the shape fills the plane and needs a window.
    pub(super) fn is_texture(self) -> bool {
        matches!(self, Shape::Stripes | Shape::Checks | Shape::Dots)
    }

    /// Signed distance of `(x, y)` from the edge of a shape of radius about 1: negative inside.
    /// Exact near the edge, which is all that drawing needs.
    pub(super) fn distance(self, x: f32, y: f32) -> f32 {
        match self {
            Shape::Disc => x.hypot(y) - 0.9,
            Shape::Ring => (x.hypot(y) - 0.72).abs() - 0.22,
            Shape::Bar => rectangle(x, y, 1.05, 0.36),
            Shape::Square => rectangle(x, y, 0.78, 0.78),
            Shape::Triangle => triangle(x, y, 0.62),
            Shape::Cross => rectangle(x, y, 0.95, 0.27).min(rectangle(x, y, 0.27, 0.95)),
            Shape::Star => star(x, y, 1.1, 0.42),
            Shape::Crescent => (x.hypot(y) - 0.95).max(0.8 - (x - 0.5).hypot(y)),
            Shape::Stripes => 0.13 - wave(x, 0.52),
            Shape::Checks => checks(x, y, 0.42),
            Shape::Dots => wave(x, 0.55).hypot(wave(y, 0.55)) - 0.15,
        }
    }
}

fn rectangle(x: f32, y: f32, half_width: f32, half_height: f32) -> f32 {
    (x.abs() - half_width).max(y.abs() - half_height)
}

/// Equilateral, with inner radius `inner`.
fn triangle(x: f32, y: f32, inner: f32) -> f32 {
    let slant = 0.5 * y + 0.866_025_4 * x.abs();
    slant.max(-y) - inner
}

/// Five points at `outer`, five notches at `notch`.
fn star(x: f32, y: f32, outer: f32, notch: f32) -> f32 {
    let fifth = std::f32::consts::TAU / 5.0;
    let turn = x.atan2(y).rem_euclid(fifth);
    let angle = turn.min(fifth - turn);
    let (px, py) = (x.hypot(y) * angle.sin(), x.hypot(y) * angle.cos());
    // The edge runs from the tip (0, outer) to the notch, half a fifth further round.
    let (nx, ny) = (notch * (fifth / 2.0).sin(), notch * (fifth / 2.0).cos());
    let (ex, ey) = (nx, ny - outer);
    (px * -ey + (py - outer) * ex) / ex.hypot(ey)
}

/// Distance to the nearest multiple of `period`.
fn wave(x: f32, period: f32) -> f32 {
    (x - (x / period).round() * period).abs()
}

/// A chessboard with squares of side `side`.
fn checks(x: f32, y: f32, side: f32) -> f32 {
    let odd = ((x / side).floor() + (y / side).floor()).rem_euclid(2.0) == 1.0;
    let edge = wave(x, side).min(wave(y, side));
    if odd { edge } else { -edge }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances_have_the_right_sign() {
        for (name, shape) in CLASSES {
            if !shape.is_texture() {
                assert!(shape.distance(1.6, 1.2) > 0.0, "{name} ends");
            }
        }
        assert!(Shape::Disc.distance(0.0, 0.0) < 0.0);
        assert!(Shape::Ring.distance(0.0, 0.0) > 0.0);
        assert!(Shape::Crescent.distance(0.5, 0.0) > 0.0);
        assert!(Shape::Crescent.distance(-0.8, 0.0) < 0.0);
        assert!(Shape::Cross.distance(0.6, 0.6) > 0.0);
        assert!(Shape::Square.distance(0.6, 0.6) < 0.0);
        assert!(Shape::Star.distance(0.0, 1.0) < 0.0);
        assert!(Shape::Star.distance(0.0, -1.0) > 0.0);
        assert!(Shape::Checks.distance(0.2, 0.2) * Shape::Checks.distance(0.6, 0.2) < 0.0);
    }
}
