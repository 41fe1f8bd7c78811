//! The page around it all.

use super::gather::Material;
use super::{analyses, comparisons, configuration, curves, evaluations, headline, locality, memory};
use crate::Result;
use maud::{DOCTYPE, Markup, PreEscaped, html};

const STYLE: &str = include_str!("page.css");

/// A part of the page with its heading.
struct Section {
    id: String,
    title: String,
    body: Markup,
}

impl Material {
    /// A heading: what it is all about, where that is one thing or a few.
    pub fn title(&self) -> String {
        let compared = self.comparisons.iter().map(|c| c.found.title.clone());
        let names: Vec<String> = compared.chain(self.groups.iter().map(|g| g.name.clone())).collect();
        match names.as_slice() {
            [] => "Training module by module".into(),
            few if few.len() <= 3 => few.join(", "),
            [first, rest @ ..] => format!("{first} and {} more", rest.len()),
        }
    }

    /// The page; `date` is when it is made.
    ///
    /// # Errors
    /// When a plot cannot be drawn.
    pub fn page(&self, title: &str, date: &str) -> Result<String> {
        let sections = self.sections()?;
        let version = env!("CARGO_PKG_VERSION");
        let page = html! {
            (DOCTYPE)
            html lang="en" {
                head {
                    meta charset="utf-8";
                    meta name="viewport" content="width=device-width, initial-scale=1";
                    meta name="color-scheme" content="light dark";
                    // Without one, browsers ask a server for it.
                    link rel="icon" href="data:,";
                    title { (title) }
                    style { (PreEscaped(STYLE)) }
                }
                body {
                    a.skip href="#main" { "To the content" }
                    header {
                        h1 { (title) }
                        p { "Made on " (date) " by mlaan " (version) ". Accuracies and errors are percent; peak memory is that of the process during training." }
                        nav aria-label="Sections" { ul { @for s in &sections {
                            li { a href={ "#" (s.id) } { (s.title) } }
                        } } }
                    }
                    main id="main" { @for s in &sections {
                        section aria-labelledby=(s.id) { h2 id=(s.id) { (s.title) } (s.body) }
                    } }
                    footer { p { "This page holds everything it shows and loads nothing." } }
                }
            }
        };
        // Whatever names and recipes hold, the page is text.
        Ok(crate::text::lines(&page.into_string()).into_owned())
    }

    fn sections(&self) -> Result<Vec<Section>> {
        let mut sections: Vec<Section> = Vec::new();
        let mut add = |title: String, body: Markup| {
            sections.push(Section { id: format!("section-{}", sections.len() + 1), title, body });
        };
        for c in &self.comparisons {
            add(c.found.title.clone(), comparisons::comparison(c)?);
        }
        if !self.groups.is_empty() {
            let groups: Vec<_> = self.groups.iter().collect();
            let (curves, memory) = (curves::curves(&groups, "")?, memory::runs(&self.groups)?);
            add(
                "Runs".into(),
                html! { (headline::headlines(&self.groups)) (configuration::runs(&self.groups)) div.figures { (curves) @if let Some(m) = memory { (m) } } },
            );
            if let Some(classes) = evaluations::classes(&self.groups)? {
                add("Classes".into(), classes);
            }
        }
        for a in &self.analyses {
            add(inside(&a.found), analyses::analysis(a)?);
        }
        for (name, found) in &self.audits {
            add(format!("Audit of {}", crate::text::line(name)), locality::locality(name, found));
        }
        if let Some(bars) = memory::beside_pytorch(&self.measured)? {
            add("Memory beside PyTorch".into(), bars);
        }
        if self.all_groups().next().is_some() {
            add("Configurations and versions".into(), configuration::configuration(self));
        }
        Ok(sections)
    }
}

/// The heading of an analysis: three names at the most.
fn inside(found: &crate::analyze::Analysis) -> String {
    let names: Vec<&str> = found.subjects.iter().map(|s| s.name.as_str()).collect();
    match names.as_slice() {
        [one, two, _, rest @ ..] if !rest.is_empty() => {
            format!("Inside {one}, {two} and {} more", rest.len() + 1)
        }
        few => format!("Inside {}", few.join(", ")),
    }
}
