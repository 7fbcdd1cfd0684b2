//! The status bar: the values under the cursor, what has been received, what it costs, where it comes from.

use bevy::prelude::Resource;
use bevy_egui::egui::{self, Align, Label, Layout, Popup, RichText, Sense, Ui, vec2};

use super::icons::{self, Icon};
use super::problems::{self, Problems};
use super::{latency, text, theme};
use crate::viewer::Viewer;

/// How much of something is used.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Use {
    /// Bytes in use.
    pub bytes: u64,
    /// Bytes that may be.
    pub limit_bytes: u64,
}

impl Use {
    fn text(self, what: &str) -> String {
        format!("{} {what}", text::bytes_text(self.bytes))
    }

    /// For the tooltip.
    fn hint(self, what: &str, option: &str) -> String {
        format!("{what}, of at most {} ({option})", text::bytes_text(self.limit_bytes))
    }
}

/// Facts that the panels show and do not find out themselves.
#[derive(Resource, Clone, PartialEq, Eq, Default, Debug)]
pub struct ViewerStatus {
    /// Where producers stream to, e.g. `ipc 5555`.
    pub endpoint: String,
    /// The GPU.
    pub adapter: String,
    /// Pixels in memory.
    pub memory: Use,
    /// Pixels on disk.
    pub disk: Use,
    /// Textures on the GPU.
    pub gpu: Use,
    /// Planes received.
    pub planes: u64,
    /// Planes received and not measured yet.
    pub in_flight: u64,
    /// Colour of the border, sRGB.
    pub accent: Option<[u8; 3]>,
    /// Title of the window.
    pub title: String,
}

impl ViewerStatus {
    /// What stands on the right, most important last, so that a narrow window loses the least.
    pub fn facts(&self) -> Vec<(String, String)> {
        let mut facts = vec![(text::count_text(self.planes, "plane"), "Image planes received since start".to_owned())];
        if self.in_flight > 0 {
            facts.push((format!("{} waiting", self.in_flight), "Planes that wait to be measured".to_owned()));
        }
        facts.push((self.memory.text("memory"), self.memory.hint("Pixels in memory", "--memory-limit")));
        if self.disk.bytes > 0 {
            facts.push((self.disk.text("on disk"), self.disk.hint("Pixels moved to disk", "--disk-limit")));
        }
        facts.push((self.gpu.text("GPU"), self.gpu.hint("Textures in GPU memory", "--vram-limit")));
        facts.push((self.adapter.clone(), "GPU".to_owned()));
        facts.push((self.endpoint.clone(), "Where producers stream to".to_owned()));
        facts.retain(|(fact, _)| !fact.is_empty());
        facts
    }
}

/// The bar's contents.
pub(super) fn show(ui: &mut Ui, probe: &str, viewer: &Viewer, status: &ViewerStatus, problems: &Problems) {
    ui.with_layout(Layout::right_to_left(Align::Center), |ui| {
        ui.spacing_mut().item_spacing.x = 14.0;
        show_problem_count(ui, problems);
        latency::show(ui, viewer.selected_layer());
        for (fact, hint) in status.facts().iter().rev() {
            // The values under the cursor keep at least half of the bar.
            if ui.available_width() < ui.ctx().content_rect().width() * 0.45 {
                break;
            }
            let label = Label::new(RichText::new(short(fact, 34)).color(theme::WEAK_TEXT)).extend();
            ui.add(label).on_hover_text(format!("{hint}: {fact}"));
        }
        ui.with_layout(Layout::left_to_right(Align::Center), |ui| {
            let label = Label::new(RichText::new(probe).color(theme::TEXT)).truncate().selectable(false);
            ui.add(label);
        });
    });
}

fn show_problem_count(ui: &mut Ui, problems: &Problems) {
    let Some(worst) = problems.worst() else { return };
    let colour = problems::colour_of(worst);
    let (rect, button) = ui.allocate_exact_size(vec2(40.0, ui.spacing().interact_size.y), Sense::click());
    if button.hovered() {
        ui.painter().rect_filled(rect, 4.0, ui.visuals().widgets.hovered.bg_fill);
    }
    icons::paint(ui.painter(), Icon::Warning, rect.left_center() + vec2(11.0, 0.0), colour);
    let font = egui::TextStyle::Body.resolve(ui.style());
    let at = rect.left_center() + vec2(21.0, 0.0);
    ui.painter().text(at, egui::Align2::LEFT_CENTER, problems.len(), font, colour);
    Popup::menu(&button)
        .close_behavior(egui::PopupCloseBehavior::CloseOnClickOutside)
        .show(|ui| problems::show_list(ui, problems));
    button.on_hover_text("What went wrong since start");
}

/// The beginning of a text, with an ellipsis when something was left out.
pub fn short(text: &str, most: usize) -> String {
    if text.chars().count() <= most {
        return text.to_owned();
    }
    let kept: String = text.chars().take(most.saturating_sub(1)).collect();
    format!("{}…", kept.trim_end())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_names_end_in_an_ellipsis() {
        assert_eq!(short("llvmpipe", 34), "llvmpipe");
        assert_eq!(short("llvmpipe (LLVM 15)", 10), "llvmpipe…");
        assert_eq!(short("µµµ", 2), "µ…");
    }

    #[test]
    fn unknown_facts_are_left_out() {
        let status = ViewerStatus { planes: 12, endpoint: "ipc 5555".to_owned(), ..ViewerStatus::default() };
        let facts: Vec<String> = status.facts().into_iter().map(|(fact, _)| fact).collect();
        assert_eq!(facts, ["12 planes", "0 B memory", "0 B GPU", "ipc 5555"]);
    }

    #[test]
    fn use_is_shown_with_its_limit_and_the_disk_only_when_it_is_used() {
        let disk = Use { bytes: 3_000_000_000, limit_bytes: 40_000_000_000 };
        let facts = ViewerStatus { disk, ..ViewerStatus::default() }.facts();
        let (text, hint) = facts.iter().find(|(text, _)| text.contains("disk")).unwrap();
        assert_eq!(text, "3 GB on disk");
        assert_eq!(hint, "Pixels moved to disk, of at most 40 GB (--disk-limit)");
    }
}
