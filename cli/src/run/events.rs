//! What a run tells while it goes on, for people and for scripts.

use serde_json::{Value, json};
use wellscope_orchestrator::{CompiledPlan, Event, Summary, WellOutcome};

use crate::progress::{Progress, counted};

/// Tells events to a progress display.
pub(super) struct Telling {
    progress: Progress,
    steps: Vec<String>,
}

impl Telling {
    pub fn new(progress: Progress, plan: &CompiledPlan) -> Self {
        Self { progress, steps: plan.steps.iter().map(|step| step.name.clone()).collect() }
    }

    pub fn warn(&self, message: &str) {
        self.progress.tell(&format!("note: {message}"), &json!({"event": "warning", "message": message}));
    }

    pub fn tell(&self, event: &Event) {
        match event {
            Event::WellStarted { well } => {
                self.progress.doing(format!("{well} started"));
                self.progress.log(&json!({"event": "well_started", "well": well}));
            }
            Event::StepDone { well, step, planes, seconds } => {
                let name = self.step(*step);
                self.progress.doing(format!("{well}: {name}"));
                self.progress.log(&json!({
                    "event": "step_done", "well": well, "step": step, "name": name, "planes": planes,
                    "seconds": seconds,
                }));
                self.progress.advance(1);
            }
            Event::WellEnded { well } => {
                let json = tagged("well_ended", json!(well));
                match &well.outcome {
                    WellOutcome::Failed { step, error } => {
                        let place = step.map(|step| format!(", step {:?}", self.step(step))).unwrap_or_default();
                        self.progress.tell(&format!("well {}{place} failed: {error}", well.well), &json);
                    }
                    WellOutcome::Done | WellOutcome::Cancelled => self.progress.log(&json),
                }
            }
            Event::ViewerReady { port, reused, headless } => {
                let how = match (reused, headless) {
                    (true, _) => "runs already",
                    (false, true) => "started without a window",
                    (false, false) => "started",
                };
                let json = json!({"event": "viewer_ready", "port": port, "reused": reused, "headless": headless});
                self.progress.tell(&format!("viewer on port {port}: {how}"), &json);
            }
            Event::ViewerLost { port, reason } => {
                let json = json!({"event": "viewer_lost", "port": port, "reason": reason});
                self.progress.tell(&format!("viewer on port {port} misses images, the run goes on: {reason}"), &json);
            }
        }
    }

    fn step(&self, position: usize) -> &str {
        self.steps.get(position).map_or("?", String::as_str)
    }

    pub fn finish(&self, summary: &Summary) {
        self.progress.finish(&said(summary), &tagged("summary", json!(summary)));
    }
}

/// An object with its event's name in front.
fn tagged(event: &str, value: Value) -> Value {
    let mut object = serde_json::Map::from_iter([("event".to_owned(), json!(event))]);
    if let Value::Object(fields) = value {
        object.extend(fields);
    }
    Value::Object(object)
}

/// The summary as a person reads it.
fn said(summary: &Summary) -> String {
    let failed = summary.wells_failed().count();
    let mut lines = vec![format!(
        "{}{} of {} done{} in {:.1} s",
        if summary.cancelled { "interrupted: " } else { "" },
        summary.wells_done(),
        counted(summary.wells.len(), "well"),
        if failed > 0 { format!(", {failed} failed") } else { String::new() },
        summary.seconds
    )];
    for step in &summary.steps {
        lines.push(format!("  {:8.1} s  {}", step.seconds, step.name));
    }
    for well in summary.wells_failed() {
        if let WellOutcome::Failed { error, .. } = &well.outcome {
            lines.push(format!("  {}: {error}", well.well));
        }
    }
    for viewer in &summary.viewers {
        let lost = match (&viewer.reason, viewer.lost) {
            (Some(reason), lost) if lost > 0 => format!(", {lost} not: {reason}"),
            _ => String::new(),
        };
        lines.push(format!("  viewer on port {}: {} shown{lost}", viewer.port, viewer.shown));
    }
    lines.extend(summary.problems.iter().map(|problem| format!("  {problem}")));
    lines.push(format!("Output in {}", summary.output_folder.display()));
    lines.join("\n")
}
