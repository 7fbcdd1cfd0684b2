//! How long work tells how far it is: a bar in a terminal, a line now and then elsewhere, JSON lines for scripts.

use std::io::{IsTerminal, Write};
use std::sync::Mutex;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde_json::{Value, json};

/// Plain lines tell every tenth part.
const PARTS: u64 = 10;

/// Where progress goes. With `--json` standard output gets JSON lines and nothing else; people read standard error.
pub struct Progress {
    json: bool,
    bar: ProgressBar,
    unit: &'static str,
    total: u64,
    told: Mutex<Told>,
}

#[derive(Default)]
struct Told {
    done: u64,
    parts: u64,
}

impl Progress {
    /// Of `total` things, called by `unit` ("images").
    pub fn new(json: bool, unit: &'static str, total: u64) -> Self {
        let bar = if !json && std::io::stderr().is_terminal() {
            ProgressBar::with_draw_target(Some(total), ProgressDrawTarget::stderr())
        } else {
            ProgressBar::hidden()
        };
        // The template is a constant; the plain bar would do as well.
        let style =
            ProgressStyle::with_template("{bar:32} {human_pos}/{human_len} {prefix} {per_sec} {eta} {wide_msg}");
        bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
        bar.set_prefix(unit);
        Self { json, bar, unit, total, told: Mutex::default() }
    }

    /// So many more are done.
    pub fn advance(&self, count: u64) {
        self.bar.inc(count);
        let mut told = self.told.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        told.done += count;
        let parts = (told.done * PARTS).checked_div(self.total).unwrap_or(PARTS);
        if parts <= told.parts {
            return;
        }
        told.parts = parts;
        if self.json {
            print_json(&json!({"event": "progress", "unit": self.unit, "done": told.done, "total": self.total}));
        } else if self.bar.is_hidden() {
            eprintln!("{} of {} {}", told.done, self.total, self.unit);
        }
    }

    /// What is being done, behind the bar.
    pub fn doing(&self, what: impl Into<String>) {
        self.bar.set_message(what.into());
    }

    /// A sentence that stays: `event` with its fields for scripts, `text` for people.
    pub fn tell(&self, text: &str, event: &Value) {
        if self.json {
            print_json(event);
        } else if self.bar.is_hidden() {
            eprintln!("{text}");
        } else {
            self.bar.println(text);
        }
    }

    /// What only scripts want to know.
    pub fn log(&self, event: &Value) {
        if self.json {
            print_json(event);
        }
    }

    /// Takes the bar away and says how it ended.
    pub fn finish(&self, text: &str, event: &Value) {
        self.bar.finish_and_clear();
        if self.json {
            print_json(event);
        } else {
            eprintln!("{text}");
        }
    }
}

/// One line on standard output. A reader that has seen enough (`| head`) is no failure of ours.
pub fn print_json(value: &Value) {
    let mut out = std::io::stdout().lock();
    let _ = writeln!(out, "{value}").and_then(|()| out.flush());
}

/// "1 well", "3 wells".
pub fn counted(count: usize, noun: &str) -> String {
    if count == 1 { format!("1 {noun}") } else { format!("{count} {noun}s") }
}

/// "312 bytes", "4.2 MiB".
pub fn bytes(count: u64) -> String {
    const UNITS: [&str; 4] = ["KiB", "MiB", "GiB", "TiB"];
    if count < 1024 {
        return format!("{count} bytes");
    }
    let mut value = count as f64 / 1024.0;
    let mut unit = 0;
    while value >= 1024.0 && unit + 1 < UNITS.len() {
        (value, unit) = (value / 1024.0, unit + 1);
    }
    format!("{value:.1} {}", UNITS[unit])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_written_as_people_say_them() {
        assert_eq!((counted(1, "well"), counted(0, "well")), ("1 well".to_owned(), "0 wells".to_owned()));
        assert_eq!(
            (bytes(1023), bytes(1536), bytes(5 << 30)),
            ("1023 bytes".into(), "1.5 KiB".into(), "5.0 GiB".into())
        );
    }
}
