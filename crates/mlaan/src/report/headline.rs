//! What runs came to, in sentences.

use super::html::duration;
use super::runs::{Group, Run};
use crate::memory::bytes::written;
use crate::recipe::Recipe;
use crate::text::line;
use maud::{Markup, html};

/// A sentence for every group of runs, and what each trained.
pub fn headlines(groups: &[Group]) -> Markup {
    html! {
        ul.summary { @for group in groups { li { (sentence(group)) } } }
        dl { @for (name, about) in groups.iter().filter_map(about) { dt { (name) } dd { (about) } } }
    }
}

fn sentence(group: &Group) -> String {
    let name = line(&group.name);
    let Some(accuracy) = group.moments(Run::test_accuracy) else {
        let epochs = group.runs.iter().map(|run| run.epochs.len()).max().unwrap_or(0);
        return format!("{name} has not been tested yet: {epochs} epochs are done.");
    };
    let spread = accuracy.sd.map_or_else(String::new, |sd| format!(" ± {sd:.1}"));
    let seeds = if accuracy.n > 1 { format!(", {} seeds", accuracy.n) } else { String::new() };
    let peak = group.runs.iter().map(Run::peak_bytes).max().filter(|bytes| *bytes > 0);
    let peak = peak.map_or_else(String::new, |bytes| format!(" and {} of peak memory", written(bytes)));
    let seconds = group.moments(|run| Some(run.seconds())).map_or(f64::NAN, |m| m.mean);
    let open = group.runs.iter().filter(|run| run.summary.is_none()).count();
    let open = if open > 0 { format!(" {open} of its runs have not ended.") } else { String::new() };
    let data = group.runs.iter().find_map(|run| Some(run.start.as_ref()?.data.clone()));
    let data = data.map_or_else(String::new, |data| format!(" of {}", line(&data)));
    let time = duration(seconds);
    format!(
        "{name} classifies {:.1}{spread} % of the test images{data} correctly{seeds}, after {time} of training{peak}.{open}",
        accuracy.mean
    )
}

/// A group's method and network in words, where its recipe is known.
fn about(group: &Group) -> Option<(String, String)> {
    let run = group.runs.iter().find(|run| !run.recipe.is_empty())?;
    let recipe = Recipe::kept(&run.recipe, &run.place).ok()?;
    let network = match recipe.method_and_network() {
        "" => recipe.model.backbone.to_string(),
        words => words.to_owned(),
    };
    Some((line(&group.name).into_owned(), format!("{}. {}", line(&network), recipe.local.about())))
}
