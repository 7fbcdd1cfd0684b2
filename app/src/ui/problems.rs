//! What went wrong, where the user sees it: a short stack on the canvas and a count in the status bar.

use bevy::prelude::Resource;
use bevy_egui::egui::{self, Align, Align2, Color32, Frame, Label, Layout, Margin, RichText, ScrollArea, Ui, vec2};

use super::icons::{Icon, icon_button};
use super::theme;

/// Different problems that are remembered; the oldest go first.
const MOST_PROBLEMS: usize = 50;
/// Problems on the canvas at a time; the rest are counted below them.
const MOST_ON_CANVAS: usize = 3;
/// Width of a problem on the canvas, in points.
const WIDTH: f32 = 340.0;

/// How bad it is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Severity {
    /// Something that the user asked for was done where it cannot be seen.
    Info,
    /// Something is shown otherwise than it was asked for.
    Warning,
    /// Data or a wish of the user was lost.
    Error,
}

/// One problem.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Problem {
    /// How bad it is.
    pub severity: Severity,
    /// The sentence.
    pub text: String,
    /// How often it was reported.
    pub count: u64,
    /// Still on the canvas.
    pub is_open: bool,
}

/// All problems, newest last.
#[derive(Resource, Default)]
pub struct Problems {
    entries: Vec<Problem>,
    revision: u64,
}

impl Problems {
    /// Adds a problem and opens it on the canvas. The same sentence again is counted, not added.
    pub fn report(&mut self, severity: Severity, text: impl Into<String>) {
        let text = text.into();
        self.revision += 1;
        let known = self.entries.iter().position(|problem| problem.text == text && problem.severity == severity);
        let count = known.map_or(0, |place| self.entries.remove(place).count) + 1;
        self.entries.push(Problem { severity, text, count, is_open: true });
        if self.entries.len() > MOST_PROBLEMS {
            self.entries.remove(0);
        }
    }

    /// Newest first.
    pub fn newest_first(&self) -> impl Iterator<Item = &Problem> {
        self.entries.iter().rev()
    }

    /// How many different ones there are.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether nothing went wrong.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The worst of them.
    pub fn worst(&self) -> Option<Severity> {
        self.entries.iter().map(|problem| problem.severity).max()
    }

    /// Grows with every report.
    pub fn revision(&self) -> u64 {
        self.revision
    }

    /// Takes a problem off the canvas; the list keeps it.
    pub fn dismiss(&mut self, text: &str) {
        for problem in self.entries.iter_mut().filter(|problem| problem.text == text) {
            problem.is_open = false;
        }
    }

    fn dismiss_all(&mut self) {
        for problem in &mut self.entries {
            problem.is_open = false;
        }
    }
}

/// The open problems, in the upper right corner of the canvas.
pub(super) fn show_on_canvas(ctx: &egui::Context, canvas: egui::Rect, problems: &mut Problems) {
    let open: Vec<Problem> = problems.newest_first().filter(|problem| problem.is_open).cloned().collect();
    if open.is_empty() {
        return;
    }
    let width = WIDTH.min(canvas.width() - 24.0);
    egui::Area::new(egui::Id::new("problems on the canvas"))
        .order(egui::Order::Middle)
        .fixed_pos(canvas.right_top() + vec2(-12.0, 12.0))
        .pivot(Align2::RIGHT_TOP)
        .show(ctx, |ui| {
            ui.set_width(width);
            for problem in open.iter().take(MOST_ON_CANVAS) {
                if show_problem(ui, problem, true) {
                    problems.dismiss(&problem.text);
                }
            }
            if open.len() > 1 {
                ui.with_layout(Layout::right_to_left(Align::Center), |ui| {
                    if ui.button("Dismiss all").clicked() {
                        problems.dismiss_all();
                    }
                    let more = open.len().saturating_sub(MOST_ON_CANVAS);
                    if more > 0 {
                        ui.label(RichText::new(format!("{more} more in the status bar")).color(theme::WEAK_TEXT));
                    }
                });
            }
        });
}

/// The list behind the status bar's count.
pub(super) fn show_list(ui: &mut Ui, problems: &Problems) {
    ui.set_width(460.0);
    ScrollArea::vertical().max_height(360.0).show(ui, |ui| {
        for problem in problems.newest_first() {
            show_problem(ui, problem, false);
        }
    });
}

/// `true`: the user dismissed it.
fn show_problem(ui: &mut Ui, problem: &Problem, can_dismiss: bool) -> bool {
    let colour = colour_of(problem.severity);
    let mut is_dismissed = false;
    let frame = Frame::new()
        .fill(Color32::from_rgba_unmultiplied(0x22, 0x25, 0x2a, 244))
        .corner_radius(5.0)
        .inner_margin(Margin { left: 12, right: 6, top: 6, bottom: 8 })
        .show(ui, |ui| {
            ui.horizontal(|ui| {
                let word = match problem.severity {
                    Severity::Info => "Done",
                    Severity::Warning => "Warning",
                    Severity::Error => "Error",
                };
                ui.label(RichText::new(word).color(colour));
                if problem.count > 1 {
                    ui.label(RichText::new(format!("{} times", problem.count)).color(theme::WEAK_TEXT));
                }
                ui.with_layout(Layout::right_to_left(Align::Center), |ui| {
                    if can_dismiss {
                        is_dismissed = icon_button(ui, Icon::Cross, true, "Dismiss").clicked();
                    }
                    if ui.small_button("Copy").clicked() {
                        ui.ctx().copy_text(problem.text.clone());
                    }
                });
            });
            ui.add(Label::new(&problem.text).wrap().selectable(true));
        });
    let mut bar = frame.response.rect;
    bar.set_width(3.0);
    ui.painter().rect_filled(bar, 1.5, colour);
    is_dismissed
}

/// Amber or red.
pub(super) fn colour_of(severity: Severity) -> Color32 {
    match severity {
        Severity::Info => theme::TEXT,
        Severity::Warning => theme::WARNING,
        Severity::Error => theme::ERROR,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_repeated_problem_is_counted_and_comes_to_the_front() {
        let mut problems = Problems::default();
        problems.report(Severity::Error, "a");
        problems.report(Severity::Warning, "b");
        problems.dismiss("a");
        problems.report(Severity::Error, "a");
        let shown: Vec<_> = problems.newest_first().map(|problem| (problem.text.as_str(), problem.count)).collect();
        assert_eq!(shown, [("a", 2), ("b", 1)]);
        assert!(problems.newest_first().all(|problem| problem.is_open), "a repeat is news");
        assert_eq!(problems.worst(), Some(Severity::Error));
    }

    #[test]
    fn only_the_latest_problems_are_kept() {
        let mut problems = Problems::default();
        for number in 0..200 {
            problems.report(Severity::Error, number.to_string());
        }
        assert_eq!(problems.len(), MOST_PROBLEMS);
        assert_eq!(problems.newest_first().next().map(|problem| problem.text.as_str()), Some("199"));
    }
}
