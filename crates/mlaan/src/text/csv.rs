//! CSV (RFC 4180) that a spreadsheet opens as what it is: no text in it is a formula.
//!
//! Numbers are written as they are. The exact text of a cell stands in JSON, which everything that writes CSV has too.

/// A cell of text. One that a spreadsheet would compute begins with `'`, which it takes for "this is text".
pub fn text(cell: &str) -> String {
    let cell = super::lines(cell);
    // The wide forms count where East Asian text is typed.
    let formula = ['=', '+', '-', '@', '＝', '＋', '－', '＠'];
    let computed = cell.trim_start().starts_with(formula) || cell.starts_with(['\t', '\n']);
    if computed { format!("'{cell}") } else { cell.into_owned() }
}

/// A line of cells, quoted where need be, without its end.
pub fn record<S: AsRef<[u8]>>(cells: impl IntoIterator<Item = S>) -> String {
    let mut writer = csv::Writer::from_writer(Vec::new());
    // Memory takes all that is written.
    let written = writer.write_record(cells).ok().and_then(|()| writer.into_inner().ok());
    let mut line = written.and_then(|bytes| String::from_utf8(bytes).ok()).unwrap_or_default();
    line.truncate(line.trim_end_matches('\n').len());
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_are_quoted_where_they_must_be() {
        assert_eq!(record(["a b.jpg", "1", "", "0.5"]), "a b.jpg,1,,0.5");
        assert_eq!(record([text("a,\"b\".jpg"), text("c\nd")]), "\"a,\"\"b\"\".jpg\",\"c\nd\"");
    }

    #[test]
    fn no_text_is_a_formula_and_numbers_are_numbers() {
        for (cell, written) in [
            ("=1+1", "'=1+1"),
            ("+49", "'+49"),
            ("-dog", "'-dog"),
            ("@SUM(A1)", "'@SUM(A1)"),
            ("\t=1", "'\t=1"),
            (" =1", "' =1"),
            ("＝1", "'＝1"),
            ("\r=1", "\\u{d}=1"),
            ("a=b-c", "a=b-c"),
            ("\u{1b}[2J", "\\u{1b}[2J"),
        ] {
            assert_eq!(text(cell), written);
        }
        assert_eq!(
            record([text("=HYPERLINK(\"x\",\"y\")"), (-0.5).to_string()]),
            "\"'=HYPERLINK(\"\"x\"\",\"\"y\"\")\",-0.5"
        );
    }
}
