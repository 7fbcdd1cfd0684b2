//! Peers' text made fit for log lines and windows.

/// Longest text shown, in characters. A peer could otherwise fill the log with one message.
const MAX_SHOWN_CHARS: usize = 600;

/// `text` with control characters, line breaks and direction marks escaped, shortened when very long.
///
/// What peers send ends up in terminals and log viewers; an escape sequence in a file name must stay visible text.
pub fn printable(text: &str) -> String {
    let mut shown = String::with_capacity(text.len().min(MAX_SHOWN_CHARS * 4));
    for (count, character) in text.chars().enumerate() {
        if count == MAX_SHOWN_CHARS {
            shown.push('…');
            break;
        }
        // Direction marks can make a line read as something else.
        let reorders = matches!(character, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
        if character.is_control() || reorders || matches!(character, '\u{2028}' | '\u{2029}') {
            shown.extend(character.escape_unicode());
        } else {
            shown.push(character);
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::printable;

    #[test]
    fn control_characters_are_escaped_and_letters_stay() {
        assert_eq!(printable("Zellkern µ\u{1b}[2J\n"), "Zellkern µ\\u{1b}[2J\\u{a}");
        assert_eq!(printable("a\u{202e}b"), "a\\u{202e}b");
    }

    #[test]
    fn long_text_is_shortened() {
        assert_eq!(printable(&"x".repeat(10_000)).chars().count(), 601);
    }
}
