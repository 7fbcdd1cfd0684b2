//! Text that fits: elided names, numbers and byte counts as people read them.

use bevy_egui::egui::{Color32, Rect, TextStyle, TextWrapMode, Ui, WidgetText};

/// Draws one line of text into a rectangle, from its left edge, with an ellipsis where it does not fit. `true`: it fits.
pub fn paint_elided(ui: &Ui, rect: Rect, text: &str, colour: Color32) -> bool {
    let galley = WidgetText::from(text).into_galley(ui, Some(TextWrapMode::Truncate), rect.width(), TextStyle::Body);
    let position = rect.left_center() - bevy_egui::egui::vec2(0.0, galley.size().y / 2.0);
    let fits = !galley.elided;
    ui.painter().galley_with_override_text_color(position, galley, colour);
    fits
}

/// A number of bytes: `48 MB`.
pub fn bytes_text(bytes: u64) -> String {
    let units = [("GB", 1e9), ("MB", 1e6), ("kB", 1e3)];
    match units.into_iter().find(|(_, size)| bytes as f64 >= *size) {
        Some((unit, size)) => format!("{} {unit}", number_text(bytes as f64 / size, 3)),
        None => format!("{bytes} B"),
    }
}

/// A time of some microseconds: `0.4 ms`, `12 ms`, `1.5 s`.
pub fn duration_text(micros: u64) -> String {
    match micros {
        0..1_000 => format!("{} ms", number_text(micros as f64 / 1e3, 1)),
        1_000..1_000_000 => format!("{} ms", number_text((micros as f64 / 1e3).round(), 3)),
        _ => format!("{} s", number_text((micros as f64 / 1e5).round() / 10.0, 4)),
    }
}

/// A count with its noun: `1 plane`, `12,480 planes`.
pub fn count_text(count: u64, noun: &str) -> String {
    let digits = count.to_string();
    let mut grouped = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    format!("{grouped} {noun}{}", if count == 1 { "" } else { "s" })
}

/// A number with at most this many significant digits, whole numbers in full up to 2^53.
pub fn number_text(value: f64, digits: usize) -> String {
    if value == 0.0 || !value.is_finite() {
        return format!("{}", value + 0.0);
    }
    if value.fract() == 0.0 && value.abs() < 9.007_199_254_740_992e15 {
        return format!("{value:.0}");
    }
    let magnitude = value.abs().log10().floor() as i32;
    if !(-5..15).contains(&magnitude) {
        return format!("{value:.*e}", digits.saturating_sub(1));
    }
    let decimals = usize::try_from(digits as i32 - 1 - magnitude).unwrap_or(0);
    let text = format!("{value:.decimals$}");
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_the_digits_that_matter() {
        let cases = [(0, "0 ms"), (420, "0.4 ms"), (12_345, "12 ms"), (999_400, "999 ms"), (1_549_000, "1.5 s")];
        for (micros, text) in cases {
            assert_eq!(duration_text(micros), text);
        }
        assert_eq!(duration_text(75_000_000), "75 s");
    }

    #[test]
    fn byte_counts_have_three_digits() {
        let cases =
            [(0, "0 B"), (999, "999 B"), (1500, "1.5 kB"), (48_300_000, "48.3 MB"), (12_345_678_901, "12.3 GB")];
        for (bytes, text) in cases {
            assert_eq!(bytes_text(bytes), text);
        }
    }

    #[test]
    fn counts_are_grouped_and_agree_with_their_noun() {
        assert_eq!(count_text(1, "plane"), "1 plane");
        assert_eq!(count_text(0, "plane"), "0 planes");
        assert_eq!(count_text(1_234_567, "plane"), "1,234,567 planes");
    }

    #[test]
    fn numbers_keep_the_digits_that_matter() {
        let cases = [
            (65535.0, "65535"),
            (0.0, "0"),
            (-0.0, "0"),
            (0.123_456_789, "0.123457"),
            (1234.5678, "1234.57"),
            (1.0e-9, "1.00000e-9"),
        ];
        for (value, text) in cases {
            assert_eq!(number_text(value, 6), text);
        }
        assert_eq!(number_text(2.5e20, 3), "2.50e20");
    }
}
