//! `mlaan report`: a page from real runs, and what a browser makes of it.

use crate::common::{fails, ok, train};
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// Two runs and the page about them.
fn page(at: &Path) -> PathBuf {
    for seed in ["0", "1"] {
        let out = format!("runs/tiny/seed-{seed}");
        ok(at, &train(&["--seed", seed, "--out", &out]));
    }
    let said = ok(at, &["report", "runs", "--out", "pages/page.html", "--title", "Tiny & small"]);
    assert!(said.contains("pages/page.html: 2 runs") && said.ends_with("; open it in a browser\n"), "{said}");
    at.join("pages/page.html")
}

/// A browser without a screen, or nothing, which is said.
struct Browser {
    program: String,
    home: tempfile::TempDir,
}

impl Browser {
    fn find() -> Option<Self> {
        let named = std::env::var("MLAAN_TEST_CHROMIUM").ok();
        let usual = ["chromium", "chromium-browser", "google-chrome"].map(String::from);
        let there = |program: &String| {
            Command::new(program).arg("--version").output().is_ok_and(|o| o.status.success())
        };
        if let Some(program) = named.into_iter().chain(usual).find(there) {
            return Some(Browser { program, home: tempfile::tempdir().unwrap() });
        }
        let _ = writeln!(
            std::io::stderr(),
            "SKIPPED: no Chromium to look at the page with; MLAAN_TEST_CHROMIUM may name one"
        );
        None
    }

    /// Opens a file; what the browser prints, its log included.
    fn open(&self, page: &Path, more: &[&str]) -> String {
        let log = self.home.path().join("said");
        let out = fs::File::create(&log).unwrap();
        let profile = format!("--user-data-dir={}", self.home.path().join("profile").display());
        let mut child = Command::new(&self.program)
            .args(["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"])
            .args(["--disable-background-networking", "--disable-component-update", "--disable-sync"])
            .args(["--enable-logging=stderr", "--allow-file-access-from-files", "--virtual-time-budget=3000"])
            .arg(profile)
            .args(more)
            .arg(format!("file://{}", page.display()))
            .stdin(Stdio::null())
            .stdout(out.try_clone().unwrap())
            .stderr(out)
            .spawn()
            .unwrap();
        let begin = Instant::now();
        while child.try_wait().unwrap().is_none() {
            if begin.elapsed() > Duration::from_secs(120) {
                child.kill().unwrap();
                panic!("the browser does not end");
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        String::from_utf8_lossy(&fs::read(log).unwrap()).into_owned()
    }
}

#[test]
fn a_page_is_written_and_says_what_is_in_it() {
    let at = tempfile::tempdir().unwrap();
    let page = fs::read_to_string(page(at.path())).unwrap();
    for word in [
        "<h1>Tiny &amp; small</h1>",
        "tiny",
        "Test accuracy",
        "Confusion, tiny",
        "macro average",
        "peak memory",
        "resnet8",
        "mlaan train recipe.toml",
    ] {
        assert!(page.contains(word), "{word} is missing");
    }
    let json = ok(at.path(), &["report", "runs", "--json"]);
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!((&json["page"], &json["runs"]), (&"report.html".into(), &2.into()));
    assert!(fails(at.path(), &["report", "pages"]).contains("pages: holds no run"));
    assert!(fails(at.path(), &["report", "runs", "--out", "pages"]).contains("this is a folder"));
}

#[test]
fn a_browser_shows_the_page_without_complaint_on_a_phone_too() {
    let Some(browser) = Browser::find() else { return };
    let at = tempfile::tempdir().unwrap();
    let page = page(at.path());
    let said = browser.open(&page, &["--dump-dom"]);
    assert!(said.contains("</html>") && said.contains("Numbers: "), "{said}");
    assert!(!said.contains("CONSOLE"), "{said}");
    // In light and in dark: a picture of many colours on the ground that is asked for.
    for (scheme, ground) in [("1", [255, 255, 254]), ("0", [0x16, 0x16, 0x16])] {
        let shot = at.path().join(format!("{scheme}.png"));
        let to = format!("--screenshot={}", shot.display());
        let wanted = format!("--blink-settings=preferredColorScheme={scheme}");
        browser.open(&page, &[&to, &wanted, "--window-size=1000,1400"]);
        let picture = image::open(&shot).unwrap().into_rgb8();
        assert_eq!(picture.get_pixel(2, 2).0, ground, "{scheme}");
        let mut colours: Vec<[u8; 3]> = picture.pixels().map(|p| p.0).collect();
        colours.sort_unstable();
        colours.dedup();
        // Blue of the first curve; the rest is text and its smoothed edges.
        assert!(colours.contains(&[0x00, 0x72, 0xb2]) && colours.len() > 20, "{}", colours.len());
    }
    // On a phone only tables and plots may be wider than the screen, inside their own frames.
    let frame = at.path().join("frame.html");
    let script = "const d = document.querySelector('iframe').contentDocument.documentElement; \
                  document.body.append(`width ${d.scrollWidth} of ${d.clientWidth}`)";
    let html = format!(
        "<iframe src=\"pages/page.html\" style=\"width:390px;height:800px;border:0\" onload=\"{script}\"></iframe>"
    );
    fs::write(&frame, html).unwrap();
    let said = browser.open(&frame, &["--dump-dom"]);
    assert!(said.contains("width 390 of 390") || said.contains("width 375 of 375"), "{said}");
    let printed = at.path().join("page.pdf");
    browser.open(&page, &[&format!("--print-to-pdf={}", printed.display())]);
    assert!(fs::read(printed).unwrap().starts_with(b"%PDF"));
}
