use super::*;

fn lines() -> Lines {
    let curve = |name: &str, by: f64| Series {
        name: name.into(),
        points: (0..4).map(|i| (f64::from(i), by * f64::from(i))).collect(),
        filled: vec![true, false],
        ..Series::default()
    };
    Lines {
        title: "A <title> & more".into(),
        x: "block".into(),
        y: "error, %".into(),
        names: Some(["stem", "a", "b", "c"].map(String::from).into()),
        markers: true,
        series: vec![curve("one", 1.0), Series { dashed: true, ..curve("two", 2.0) }],
        ..Lines::default()
    }
}

#[test]
fn a_plot_is_whole_svg_that_says_its_title_and_has_a_dark_side() {
    let svg = lines().svg().unwrap();
    assert!(svg.starts_with("<svg xmlns") && svg.trim_end().ends_with("</svg>"));
    assert_eq!(svg.matches("<svg").count(), 1);
    assert!(svg.contains("<title>A &lt;title&gt; &amp; more</title>") && svg.contains("role=\"img\""));
    for name in ["stem", "one", "two", "block", "error, %"] {
        assert!(svg.contains(name), "{name}");
    }
    // Every colour that the dark style replaces is found as it is written.
    for (RGBColor(r, g, b), dark) in DARK {
        let light = format!("#{r:02X}{g:02X}{b:02X}");
        assert!(svg.matches(&light).count() > 2, "{light} is written in another way");
        assert!(svg.contains(dark));
    }
}

#[test]
fn plots_of_nothing_and_of_what_is_not_finite_are_drawn() {
    assert!(Lines::default().svg().is_ok());
    let mut odd = lines();
    odd.series[0].points = vec![(0.0, f64::NAN), (1.0, f64::INFINITY), (2.0, 3.0)];
    odd.series[1].points.clear();
    let svg = odd.svg().unwrap();
    assert!(!svg.contains("NaN") && !svg.contains("inf"));
    assert!(Heat::default().svg().is_ok());
}

#[test]
fn a_heat_map_shows_every_value() {
    let heat = Heat {
        columns: vec!["p".into(), "q".into()],
        rows: vec!["r".into()],
        values: vec![vec![Some(0.25), None]],
        ..Heat::default()
    };
    let svg = heat.svg().unwrap();
    let [r, g, b] = colour::viridis(0.25);
    assert!(svg.contains(&format!("#{r:02X}{g:02X}{b:02X}")) && svg.contains("0.25"));
}

#[test]
fn steps_are_round() {
    assert_eq!(step(100.0, 6), 20.0);
    assert_eq!(step(0.9, 6), 0.2);
    assert_eq!(number(0.4, 0.2), "0.4");
    assert_eq!(number(40.0, 20.0), "40");
}

#[test]
fn what_is_counted_has_no_halves_and_hollow_curves_hollow_keys() {
    let counted = Lines { names: None, ..lines() };
    let svg = counted.svg().unwrap();
    assert!(svg.contains(">\n2\n</text>") && !svg.contains(">\n1.5\n</text>"), "{svg}");
    let hollow = Series { filled: vec![false; 4], ..Series::default() };
    assert!(!hollow.is_filled() && Series::default().is_filled() && lines().series[0].is_filled());
}

#[test]
fn odd_numbers_cost_no_more_than_others() {
    let begin = std::time::Instant::now();
    let odd = [
        vec![(1e10, 1.0), (1.0, 2.0)],
        vec![(1e17, 1.0), (1e17 + 16.0, 2.0)],
        vec![(1.0, 1e300), (2.0, -1e300)],
        vec![(1.0, f64::MAX), (2.0, f64::MIN), (f64::MAX, 3.0)],
        vec![(1.0, 1e-320), (2.0, 0.0)],
        vec![(0.0, 1e18 + 128.0), (1.0, 1e18)],
        vec![(18_446_744_073_709_551_615.0, 5.0), (3.0, 5.0 + 1e-15)],
    ];
    for points in odd {
        for dashed in [false, true] {
            let series = vec![Series { points: points.clone(), dashed, ..Series::default() }];
            let svg = Lines { series, markers: true, ..Lines::default() }.svg().unwrap();
            assert!(svg.len() < 20_000 && !svg.contains("NaN"), "{points:?}: {} bytes", svg.len());
        }
    }
    assert!(begin.elapsed().as_secs() < 5);
}

#[test]
fn a_plot_holds_no_control_characters() {
    let svg = Lines { title: "a\u{1b}b\u{202e}".into(), x: "c\u{7}".into(), ..lines() }.svg().unwrap();
    assert!(!svg.contains(['\u{1b}', '\u{7}', '\u{202e}']) && svg.contains(r"a\u{1b}b"), "{svg}");
}
