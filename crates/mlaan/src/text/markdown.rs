//! Text in Markdown.

/// Text that Markdown shows as it is, on one line: no markup, no link, no HTML, no end of a table's cell.
pub fn markdown(text: &str) -> String {
    let text = super::line(text);
    let mut written = String::with_capacity(text.len() + 8);
    let mut rest = text.chars().peekable();
    let mut last = ' ';
    while let Some(c) = rest.next() {
        let next = rest.peek().copied().unwrap_or(' ');
        let marks = match c {
            '\\' | '|' | '*' | '`' | '[' | ']' | '~' | '$' => true,
            // Within a word it means nothing.
            '_' => !(last.is_alphanumeric() && next.is_alphanumeric()),
            // A number may be small.
            '<' => !(next.is_ascii_digit() || next.is_whitespace()),
            '&' => next == '#' || next.is_alphanumeric(),
            // Addresses become links by themselves.
            ':' => next == '/',
            '@' => last.is_alphanumeric(),
            '.' => written.to_ascii_lowercase().ends_with("www"),
            _ => false,
        };
        if marks {
            written.push('\\');
        }
        written.push(c);
        last = c;
    }
    written
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_stays_text() {
        for (text, written) in [
            ("DGL*", "DGL\\*"),
            ("a|b\nc", "a\\|b\\\\u{a}c"),
            ("`x` _y_ a_b ~~z~~", "\\`x\\` \\_y\\_ a_b \\~\\~z\\~\\~"),
            ("<script>alert(1)</script>", "\\<script>alert(1)\\</script>"),
            ("![i](http://x.y) [l](z)", "!\\[i\\](http\\://x.y) \\[l\\](z)"),
            ("see https://a.b, www.a.b, me@a.b", "see https\\://a.b, www\\.a.b, me\\@a.b"),
            ("&lt; &#60; R & D", "\\&lt; \\&#60; R & D"),
            ("p <0.001, 1 < 2: 29.11 ± 0.50 (n − 1)", "p <0.001, 1 < 2: 29.11 ± 0.50 (n − 1)"),
            ("$x$", "\\$x\\$"),
        ] {
            assert_eq!(markdown(text), written);
        }
    }
}
