//! The lexical ground of RFC 3261 section 25: tokens, quoted strings, lists, and text that may not be UTF-8.
//!
//! Header text lives in a `String` so that every parser above works on characters. SIP says header text is UTF-8, but
//! a phone with a Latin-1 display name exists, and one odd byte must cost neither itself nor the headers behind it.
//! [`text_of`] therefore maps a byte that is not UTF-8 to one private-use character, U+F700 + byte, and [`bytes_of`]
//! maps it back. Those private-use characters themselves are treated as bytes on the way in, so the mapping is exact.

use super::defect::Malformed;

/// Most elements of one header's list. A message with more is malformed and lost; peers that need more repeat the header.
pub const LIST_ITEMS_MAX: usize = 64;

const ESCAPE_BASE: u32 = 0xF700;
const ESCAPE_FIRST: u32 = ESCAPE_BASE + 0x80;
const ESCAPE_LAST: u32 = ESCAPE_BASE + 0xFF;

/// Wire bytes as text; a byte that is not part of UTF-8 becomes one private-use character.
pub fn text_of(bytes: &[u8]) -> String {
    if bytes.is_ascii() {
        return String::from_utf8_lossy(bytes).into_owned();
    }
    let mut text = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        for character in chunk.valid().chars() {
            push_character(&mut text, character);
        }
        for byte in chunk.invalid() {
            push_escaped(&mut text, *byte);
        }
    }
    text
}

/// The wire bytes of a text: the inverse of [`text_of`].
pub fn bytes_of(text: &str, out: &mut Vec<u8>) {
    for character in text.chars() {
        match u32::from(character) {
            code @ ESCAPE_FIRST..=ESCAPE_LAST => out.push((code & 0xFF) as u8),
            _ => out.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes()),
        }
    }
}

/// Whether the text is a `token`: one or more of the characters a name may have.
pub fn is_token(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(is_token_byte)
}

/// Whether the byte may stand in a `token`.
pub fn is_token_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-.!%*_+`'~".contains(&byte)
}

/// The text without the linear white space around it.
pub fn trim(text: &str) -> &str {
    text.trim_matches([' ', '\t'])
}

/// Splits at `separator`, except inside quoted strings and angle brackets; the pieces are trimmed.
pub fn split(text: &str, separator: u8) -> Result<Vec<&str>, Malformed> {
    let mut pieces = Vec::new();
    let mut start = 0;
    let mut scan = Scan::Plain;
    for (position, byte) in text.bytes().enumerate() {
        if scan == Scan::Plain && byte == separator {
            pieces.push(trim(text.get(start..position).unwrap_or_default()));
            start = position + 1;
        }
        scan = scan.after(byte);
    }
    match scan {
        Scan::Plain => pieces.push(trim(text.get(start..).unwrap_or_default())),
        Scan::Angle => return Err(Malformed("a '<' is not closed")),
        Scan::Quoted | Scan::Escaped => return Err(Malformed("a quoted string is not closed")),
    }
    Ok(pieces)
}

/// The elements of a comma-separated list; an empty element is an error, and so is one beyond [`LIST_ITEMS_MAX`].
pub fn list(text: &str) -> Result<Vec<&str>, Malformed> {
    let pieces = split(text, b',')?;
    if pieces.len() > LIST_ITEMS_MAX {
        return Err(Malformed("there are too many list elements"));
    }
    match pieces.iter().any(|piece| piece.is_empty()) {
        true => Err(Malformed("a list element is empty")),
        false => Ok(pieces),
    }
}

/// Reads a quoted string at the start of the text: its content with the escapes resolved, and what follows it.
pub fn unquote(text: &str) -> Result<(String, &str), Malformed> {
    let inner = text
        .strip_prefix('"')
        .ok_or(Malformed("a quoted string must start with '\"'"))?;
    let mut content = String::new();
    let mut characters = inner.char_indices();
    while let Some((position, character)) = characters.next() {
        match character {
            '"' => return Ok((content, inner.get(position + 1..).unwrap_or_default())),
            '\\' => content.extend(characters.next().map(|(_, escaped)| escaped)),
            plain => content.push(plain),
        }
    }
    Err(Malformed("a quoted string is not closed"))
}

/// The text as a quoted string; a line break, which no quoted string can hold, becomes a space.
pub fn quote(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for character in text.chars() {
        match character {
            '\r' | '\n' => quoted.push(' '),
            '"' | '\\' | '\0'..='\x1f' | '\x7f' => quoted.extend(['\\', character]),
            plain => quoted.push(plain),
        }
    }
    quoted.push('"');
    quoted
}

#[derive(Clone, Copy, PartialEq)]
enum Scan {
    Plain,
    Quoted,
    Escaped,
    Angle,
}

impl Scan {
    fn after(self, byte: u8) -> Self {
        match (self, byte) {
            (Scan::Plain, b'"') => Scan::Quoted,
            (Scan::Plain, b'<') => Scan::Angle,
            (Scan::Quoted, b'\\') => Scan::Escaped,
            (Scan::Quoted, b'"') | (Scan::Angle, b'>') => Scan::Plain,
            (Scan::Escaped, _) => Scan::Quoted,
            (same, _) => same,
        }
    }
}

fn push_character(text: &mut String, character: char) {
    match u32::from(character) {
        ESCAPE_FIRST..=ESCAPE_LAST => {
            character
                .encode_utf8(&mut [0; 4])
                .bytes()
                .for_each(|byte| push_escaped(text, byte));
        }
        _ => text.push(character),
    }
}

fn push_escaped(text: &mut String, byte: u8) {
    text.extend(char::from_u32(ESCAPE_BASE + u32::from(byte)));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_sequence_survives_text_and_back() {
        for bytes in [
            &b"plain"[..],
            &b"Latin-1 J\xf6rg"[..],
            &[0xC3, 0xB6, 0xFF, 0x00, 0x80],
            "private \u{F780}\u{F7FF}\u{F77F}".as_bytes(),
            &(0..=255).collect::<Vec<u8>>(),
        ] {
            let mut back = Vec::new();
            bytes_of(&text_of(bytes), &mut back);
            assert_eq!(back, bytes);
        }
    }

    #[test]
    fn a_separator_inside_quotes_or_angle_brackets_does_not_split() {
        assert_eq!(
            list(r#""A, \"B\" <x>" <sip:a,b@c> , <sip:d>"#).unwrap(),
            [r#""A, \"B\" <x>" <sip:a,b@c>"#, "<sip:d>"]
        );
        assert!(list("a,,b").is_err());
        assert!(list("\"a, b").is_err());
        assert!(list("<a, b").is_err());
        assert_eq!(list(&["a"; LIST_ITEMS_MAX].join(",")).unwrap().len(), LIST_ITEMS_MAX);
        assert!(list(&["a"; LIST_ITEMS_MAX + 1].join(",")).is_err());
    }

    #[test]
    fn quoting_and_unquoting_are_inverse() {
        for text in [
            "",
            "a",
            r#"a "b" \c"#,
            "bell \x07 nul \0 del \x7f",
            "J\u{f6}rg \u{F7E9}",
        ] {
            assert_eq!(unquote(&quote(text)).unwrap(), (text.to_owned(), ""));
        }
        assert!(unquote(r#""open \""#).is_err());
        assert_eq!(quote("a\r\nb"), "\"a  b\"");
    }
}
