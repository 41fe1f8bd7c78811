//! Words of a command that a reader may copy into a shell.

use super::{is_active, push_bytes};
use std::ffi::OsStr;
use std::path::Path;

/// A word of a shell's command (sh, bash, zsh), quoted where it must be: pasted, it is this text and nothing else.
///
/// What cannot be printed is written as bash, zsh and ksh read it, `$'\x1b'`.
pub fn word(text: impl AsRef<OsStr>) -> String {
    let bytes = text.as_ref().as_encoded_bytes();
    let plain = |b: &u8| b.is_ascii_alphanumeric() || b"-_./=,:@%+".contains(b);
    // zsh replaces `=ls` by the program's path.
    if !bytes.is_empty() && bytes.iter().all(plain) && !bytes.starts_with(b"=") {
        return String::from_utf8_lossy(bytes).into_owned();
    }
    match std::str::from_utf8(bytes) {
        Ok(text) if !text.contains(is_active) => format!("'{}'", text.replace('\'', "'\\''")),
        _ => escaped(bytes),
    }
}

/// A path as a word of a command that no program takes for a flag.
pub fn file_word(path: impl AsRef<Path>) -> String {
    let path = path.as_ref();
    match path.as_os_str().as_encoded_bytes().starts_with(b"-") {
        true => word(Path::new(".").join(path)),
        false => word(path),
    }
}

fn escaped(bytes: &[u8]) -> String {
    let mut written = String::from("$'");
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            match c {
                '\'' | '\\' => written.extend(['\\', c]),
                c if is_active(c) => push_bytes(&mut written, c.encode_utf8(&mut [0; 4]).as_bytes()),
                c => written.push(c),
            }
        }
        push_bytes(&mut written, chunk.invalid());
    }
    written + "'"
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;
    use std::os::unix::ffi::OsStrExt;
    use std::process::Command;

    #[test]
    fn plain_words_are_not_quoted() {
        for plain in ["train", "--set=a.b=1", "runs/dgl+resnet32-16", "1%", "a@b:c,d"] {
            assert_eq!(word(plain), plain);
        }
        for (text, written) in
            [("", "''"), ("a b", "'a b'"), ("it's", "'it'\\''s'"), ("=ls", "'=ls'"), ("~", "'~'")]
        {
            assert_eq!(word(text), written);
        }
        assert_eq!(word("a\u{1b}[0m'\n"), r"$'a\x1b[0m\'\x0a'");
        assert_eq!((file_word("-x"), file_word("a b")), ("./-x".into(), "'a b'".into()));
    }

    #[test]
    fn a_shell_reads_the_same_bytes() {
        let odd: [&[u8]; 12] = [
            b"",
            b"a b",
            b"$HOME $(id) `id`",
            b"*?[a]{b,c}",
            b"!x; y & z | w > v",
            b"it's \"so\"",
            b"-rf",
            b"~root",
            b"\x1b[31m\x07",
            b"a\nb\tc\r",
            b"\xff\xfe9a",
            "\u{202e}é'\\n猫".as_bytes(),
        ];
        for bytes in odd {
            let line = format!("printf '%s' {}", word(OsStr::from_bytes(bytes)));
            let Ok(out) = Command::new("bash").args(["-c", &line]).output() else { return };
            assert_eq!(out.stdout, bytes, "{line}");
        }
    }
}
