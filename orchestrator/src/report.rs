//! What a plan says to a person: a table of steps, the viewers, and what will not happen.

use std::fmt::Write as _;

use crate::compile::{CompiledPlan, ReadBackend, StepPlan};
use crate::filter::shortened;

impl CompiledPlan {
    /// The plan as text, for a terminal.
    pub fn report(&self) -> String {
        let mut text = String::new();
        let wells = self.wells.len();
        // Writing to a String cannot fail.
        let _ = writeln!(
            text,
            "Pipeline {:?} on plate {:?}, {}: {}",
            self.pipeline,
            self.plate,
            plural(wells, "well"),
            shortened(&self.wells)
        );
        let _ = writeln!(text, "Output in {}\n", self.output_folder.display());
        text += &table(self.steps.iter().map(|step| self.row(step)).collect());
        text += "\n";
        if self.required_viewers.is_empty() {
            text += "Viewers: none, nothing is shown\n";
        }
        for viewer in &self.required_viewers {
            let steps: Vec<String> = viewer.steps.iter().map(|step| (step + 1).to_string()).collect();
            let stays = if viewer.persistent { "stays open" } else { "closes at the end" };
            let transport = format!("{:?}", viewer.transport).to_lowercase();
            let _ = writeln!(
                text,
                "Viewer: {} port {} ({transport}), {stays}, shows {} {}",
                viewer.host,
                viewer.port,
                if steps.len() == 1 { "step" } else { "steps" },
                steps.join(", ")
            );
        }
        for step in &self.steps {
            for note in &step.notes {
                let _ = writeln!(text, "Note: step {} ({}): {note}", step.position + 1, step.name);
            }
        }
        text
    }

    fn row(&self, step: &StepPlan) -> [String; 7] {
        let read = match step.read {
            ReadBackend::Plate => "plate",
            ReadBackend::Memory => "memory",
        };
        let checkpoint = step.checkpoint.as_ref().map_or_else(
            || "-".to_owned(),
            |checkpoint| format!("{}, {}", checkpoint.backend.name(), self.wells_of(&checkpoint.wells)),
        );
        let shown = step.stream.as_ref().map_or_else(
            || "-".to_owned(),
            |stream| {
                let (what, wells) =
                    if stream.main.is_empty() { ("checkpoint", &stream.checkpoint) } else { ("output", &stream.main) };
                format!("{what}, {}, port {}", self.wells_of(wells), stream.config.port)
            },
        );
        [
            (step.position + 1).to_string(),
            step.name.clone(),
            step.function.clone(),
            read.to_owned(),
            step.write.name().to_owned(),
            checkpoint,
            shown,
        ]
    }

    fn wells_of(&self, wells: &[String]) -> String {
        if wells.len() == self.wells.len() { "all wells".to_owned() } else { plural(wells.len(), "well") }
    }
}

fn plural(count: usize, noun: &str) -> String {
    if count == 1 { format!("1 {noun}") } else { format!("{count} {noun}s") }
}

/// Columns as wide as their longest entry.
fn table(rows: Vec<[String; 7]>) -> String {
    let head = ["#", "Step", "Function", "Reads", "Writes", "Checkpoint", "Shown"].map(str::to_owned);
    let mut all = vec![head];
    all.extend(rows);
    let width = |column: usize| all.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: [usize; 7] = std::array::from_fn(width);
    let mut text = String::new();
    for (index, row) in all.iter().enumerate() {
        let cells: Vec<String> = row.iter().zip(widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
        text += cells.join("  ").trim_end();
        text += "\n";
        if index == 0 {
            text += &widths.map(|width| "-".repeat(width)).join("  ");
            text += "\n";
        }
    }
    text
}
