//! How the dashboard looks. Nothing is said by colour alone, and every colour reads on a dark and on a light ground.

use ratatui::style::{Color, Modifier, Style};

/// Styles of what is shown.
#[derive(Clone, Copy, Debug)]
pub struct Theme {
    /// Training: curves, bars.
    pub train: Style,
    /// Testing: curves.
    pub test: Style,
    /// What the eye should find first.
    pub strong: Style,
    /// Words beside the point.
    pub faint: Style,
}

impl Theme {
    /// Blue and vermilion, which colour-blind eyes tell apart; of the 256 colours, since terminals give the first
    /// sixteen any look.
    pub fn coloured() -> Self {
        let plain = Theme::plain();
        Theme {
            train: Style::new().fg(Color::Indexed(33)),
            test: plain.test.fg(Color::Indexed(166)),
            ..plain
        }
    }

    /// No colours.
    pub fn plain() -> Self {
        Theme {
            train: Style::new(),
            test: Style::new().add_modifier(Modifier::BOLD),
            strong: Style::new().add_modifier(Modifier::BOLD),
            faint: Style::new().add_modifier(Modifier::DIM),
        }
    }

    /// What the user's terminal can show and the user wants (`NO_COLOR`).
    pub fn of_terminal() -> Self {
        let says = |name: &str, what: &str| std::env::var(name).is_ok_and(|v| v.contains(what));
        let many = says("TERM", "256") || std::env::var_os("COLORTERM").is_some();
        if console::colors_enabled() && many { Theme::coloured() } else { Theme::plain() }
    }
}
