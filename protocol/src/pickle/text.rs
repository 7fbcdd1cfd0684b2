//! Values as Python prints them, for replies that quote what was sent.

use std::fmt;

use super::value::PickleValue;

/// Characters of a quoted value that a message repeats: what peers send may be long.
const SHOWN_CHARS: usize = 200;

/// Python's `repr(text)`: single quotes unless only those occur in it, control characters escaped.
pub fn repr_of_text(text: &str) -> String {
    let quote = if text.contains('\'') && !text.contains('"') { '"' } else { '\'' };
    let mut out = String::from(quote);
    for (count, character) in text.chars().enumerate() {
        if count == SHOWN_CHARS {
            out.push_str("...");
            break;
        }
        match character {
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if c == quote => {
                out.push('\\');
                out.push(c);
            }
            c if c.is_control() && u32::from(c) < 0x100 => out.push_str(&format!("\\x{:02x}", u32::from(c))),
            c => out.push(c),
        }
    }
    out.push(quote);
    out
}

impl fmt::Display for PickleValue {
    /// Python's `repr` for scalars; containers and objects show their type only.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => f.write_str("None"),
            Self::Bool(value) => f.write_str(if *value { "True" } else { "False" }),
            Self::Int(value) => write!(f, "{value}"),
            Self::UInt(value) => write!(f, "{value}"),
            Self::Float(value) => write!(f, "{value:?}"),
            Self::Str(text) => f.write_str(&repr_of_text(text)),
            other => write!(f, "<{}>", other.type_name()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_quoted_as_python_quotes_it() {
        assert_eq!(repr_of_text("bogus"), "'bogus'");
        assert_eq!(repr_of_text("it's"), "\"it's\"");
        assert_eq!(repr_of_text("a'b\"c\n\u{1}"), r#"'a\'b"c\n\x01'"#);
    }
}
