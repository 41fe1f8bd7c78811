use super::*;
#[cfg(target_os = "linux")]
use std::time::{Duration, Instant};

const SMALL: Bound = Bound { what: "a test", most: 1 << 20 };

#[test]
fn a_file_is_read_up_to_its_bound() {
    let at = tempfile::tempdir().unwrap();
    let path = at.path().join("a");
    fs::write(&path, vec![7; 1 << 20]).unwrap();
    assert_eq!(read(&path, SMALL).unwrap(), vec![7; 1 << 20]);
    fs::write(&path, vec![7; (1 << 20) + 1]).unwrap();
    let message = read(&path, SMALL).unwrap_err().to_string();
    assert!(message.ends_with("/a: larger than 1 MiB, the most that a test may have: this is another file"));
    // A hole of a terabyte is not looked at.
    File::create(&path).unwrap().set_len(1 << 40).unwrap();
    assert!(read(&path, SMALL).is_err());
    fs::write(&path, b"ab\xff").unwrap();
    assert!(text(&path, SMALL).unwrap_err().to_string().contains("byte 2 is not of a text"));
}

#[cfg(target_os = "linux")]
#[test]
fn files_of_the_system_have_no_size_and_are_read() {
    assert!(text(Path::new("/proc/self/status"), SMALL).unwrap().starts_with("Name:"));
}

#[cfg(target_os = "linux")]
#[test]
fn what_is_no_file_is_named_and_nothing_waits() {
    use rustix::fs::{CWD, FileType, Mode, mknodat};
    let at = tempfile::tempdir().unwrap();
    let (fifo, link) = (at.path().join("fifo"), at.path().join("link"));
    mknodat(CWD, &fifo, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
    std::os::unix::fs::symlink(&fifo, &link).unwrap();
    let begin = Instant::now();
    for (path, what) in [
        (fifo.as_path(), "a FIFO"),
        (&link, "a FIFO"),
        (at.path(), "a folder"),
        (Path::new("/dev/zero"), "a device"),
    ] {
        let said = open(path).unwrap_err().to_string();
        assert_eq!(said, format!("is {what}, not a regular file"));
        assert!(read(path, SMALL).unwrap_err().to_string().contains(what));
        // Also where it took the place of a file in between.
        assert!(checked(path, OpenOptions::new().read(true), false).is_err());
    }
    assert_eq!((special(&link), special(at.path())), (Some("a FIFO"), None));
    assert!(open_own(&fifo, OpenOptions::new().append(true)).is_err());
    assert!(begin.elapsed() < Duration::from_secs(10));
}

#[cfg(unix)]
#[test]
fn own_files_are_never_opened_through_a_link() {
    let at = tempfile::tempdir().unwrap();
    let (link, other) = (at.path().join("link"), at.path().join("other"));
    std::os::unix::fs::symlink(&other, &link).unwrap();
    let said = open_own(&link, OpenOptions::new().append(true).create(true)).unwrap_err().to_string();
    assert!(said.contains("is a symbolic link") && !other.exists(), "{said}");
    assert!(checked(&link, OpenOptions::new().append(true).create(true), true).is_err() && !other.exists());
    open_own(&other, OpenOptions::new().append(true).create(true)).unwrap();
    assert!(other.exists());
}

#[cfg(unix)]
#[test]
fn folders_are_new_once_and_those_above_never() {
    let at = tempfile::tempdir().unwrap();
    let inner = at.path().join("a/b");
    fs::create_dir_all(&inner).unwrap();
    std::os::unix::fs::symlink(".", inner.join("loop")).unwrap();
    std::os::unix::fs::symlink("../..", inner.join("up")).unwrap();
    let mut visited = Visited::below(&inner).unwrap();
    let new = [inner.as_path(), &inner.join("loop"), &inner.join("up"), Path::new("/")];
    assert_eq!(new.map(|f| visited.is_new(f).unwrap()), [true, false, false, false]);
}
