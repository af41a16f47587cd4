//! Reads a `.env` file, and changes one variable in it.
//!
//! Reads exactly as python-dotenv 1.2 does, because ThreadsPipe's users read their files with it. A
//! change replaces the bytes of one value and no others. Refuses a change after which any variable
//! would be read differently than intended.

use std::collections::HashMap;
use std::fs::Metadata;
use std::io;
use std::ops::Range;
use std::path::Path;

use anyhow::{Context, Result};

/// The reason why a value cannot be written to a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Unwritable {
    /// Readers would expand `${…}`, or the value is not visible ASCII.
    #[error("the value has characters that no .env file can hold unchanged")]
    Value,
    /// Most likely a quote that is never closed.
    #[error(
        "something in it, most likely a quote that is never closed, would make the variable unreadable; repair it first"
    )]
    Content,
}

/// One statement: a definition, a comment with the blank lines before it, or a malformed line.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Statement {
    /// The variable's name; none for comments and malformed lines.
    name: Option<String>,
    /// The decoded value; none for a name without `=`.
    value: Option<String>,
    /// The byte range of the value with its quotes. Empty at the place of a missing value.
    place: Range<usize>,
    style: Style,
}

/// The quoting of a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Style {
    /// A name alone, without `=`.
    Absent,
    Bare,
    Single,
    Double,
}

/// Reads one variable of a file that may be missing.
pub(crate) fn read(path: &Path, name: &str, variables: &HashMap<String, String>) -> Result<Option<String>> {
    let content = contents(path).with_context(|| format!("{} cannot be read", path.display()))?;
    Ok(content.and_then(|content| get(&content, name, variables)))
}

/// Returns the bytes of a file, or `None` if there is none.
pub(crate) fn contents(path: &Path) -> io::Result<Option<Vec<u8>>> {
    // Checked first, because reading a pipe would wait for its writer.
    match metadata(path)? {
        Some(metadata) if metadata.is_file() => std::fs::read(path).map(Some),
        Some(_) => Err(io::Error::new(io::ErrorKind::InvalidInput, "it is not a regular file")),
        None => Ok(None),
    }
}

/// Returns the metadata of a file, with its owner and mode, or `None` if there is none.
pub(crate) fn metadata(path: &Path) -> io::Result<Option<Metadata>> {
    match std::fs::metadata(path) {
        Ok(metadata) => Ok(Some(metadata)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Returns true if this is a valid name of a variable.
pub(crate) fn is_name(name: &str) -> bool {
    name.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_')
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte))
}

/// Returns a line that defines `name`, for a file of its own.
pub(crate) fn line(name: &str, value: &str) -> Vec<u8> {
    // A person can still read a value that no .env file can hold unchanged.
    set(b"", name, value).unwrap_or_else(|_| format!("{name}={value}\n").into_bytes())
}

/// Returns the value of `name`, if the file defines it. `variables` is the environment, to which
/// `${…}` may refer.
pub(crate) fn get(content: &[u8], name: &str, variables: &HashMap<String, String>) -> Option<String> {
    let mut seen: HashMap<String, Option<String>> = HashMap::new();
    for statement in statements(content) {
        if let Some(defined) = statement.name {
            let resolve = |wanted: &str| match seen.get(wanted) {
                Some(value) => Some(value.clone().unwrap_or_default()),
                None => variables.get(wanted).cloned(),
            };
            let value = statement.value.map(|value| interpolate(&value, resolve));
            seen.insert(defined, value);
        }
    }
    seen.remove(name).flatten()
}

/// Returns the number of definitions of `name`. The last one counts.
pub(crate) fn definitions(content: &[u8], name: &str) -> usize {
    statements(content).iter().filter(|statement| statement.name.as_deref() == Some(name)).count()
}

/// Returns the file with `name` set to `value`: in its last definition, with the same quotes if
/// possible, or else on a new line at the end.
pub(crate) fn set(content: &[u8], name: &str, value: &str) -> Result<Vec<u8>, Unwritable> {
    if value.is_empty() || !value.bytes().all(|byte| byte.is_ascii_graphic()) || value.contains("${") {
        return Err(Unwritable::Value);
    }
    let before = statements(content);
    let place = before.iter().rposition(|statement| statement.name.as_deref() == Some(name));
    let styles = match place {
        Some(place) => match before[place].style {
            Style::Bare if is_plain(value) => [Style::Bare, Style::Single, Style::Double],
            Style::Double => [Style::Double, Style::Single, Style::Bare],
            _ => [Style::Single, Style::Double, Style::Bare],
        },
        None => [Style::Single, Style::Double, Style::Bare],
    };
    styles
        .into_iter()
        .filter(|style| *style != Style::Bare || is_plain(value))
        .map(|style| match place {
            Some(place) => replaced(content, &before[place], &quoted(value, style)),
            None => added(content, name, &quoted(value, style)),
        })
        .find(|after| says(after, &before, place, name, value))
        .ok_or(Unwritable::Content)
}

fn replaced(content: &[u8], statement: &Statement, text: &str) -> Vec<u8> {
    let equals: &[u8] = if statement.style == Style::Absent { b"=" } else { b"" };
    let (head, tail) = (&content[..statement.place.start], &content[statement.place.end..]);
    [head, equals, text.as_bytes(), tail].concat()
}

fn added(content: &[u8], name: &str, text: &str) -> Vec<u8> {
    let newline: &[u8] = match content.iter().position(|byte| matches!(byte, b'\r' | b'\n')) {
        Some(at) if content[at..].starts_with(b"\r\n") => b"\r\n",
        Some(at) => &content[at..=at],
        None => b"\n",
    };
    let begin: &[u8] = if content.is_empty() || content.ends_with(b"\n") || content.ends_with(b"\r") {
        b""
    } else {
        newline
    };
    [content, begin, name.as_bytes(), b"=", text.as_bytes(), newline].concat()
}

/// Returns true if `after` reads like `before`, except for the one variable.
fn says(after: &[u8], before: &[Statement], place: Option<usize>, name: &str, value: &str) -> bool {
    let mut expected: Vec<_> =
        before.iter().map(|statement| (statement.name.as_deref(), statement.value.as_deref())).collect();
    match place {
        Some(place) => expected[place].1 = Some(value),
        None => expected.push((Some(name), Some(value))),
    }
    let after = statements(after);
    let defined = |(name, _): &(Option<&str>, Option<&str>)| name.is_some();
    let said = after.iter().map(|statement| (statement.name.as_deref(), statement.value.as_deref()));
    said.filter(defined).eq(expected.into_iter().filter(defined))
}

/// Returns true if the value needs no quotes in any reader or shell.
fn is_plain(value: &str) -> bool {
    value.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-./:@%+=,".contains(&byte))
}

fn quoted(value: &str, style: Style) -> String {
    let quote = match style {
        Style::Bare | Style::Absent => return value.to_owned(),
        Style::Single => '\'',
        Style::Double => '"',
    };
    let mut text = String::with_capacity(value.len() + 2);
    text.push(quote);
    for character in value.chars() {
        if character == quote || character == '\\' {
            text.push('\\');
        }
        text.push(character);
    }
    text.push(quote);
    text
}

/// Expands `${NAME}` and `${NAME:-default}`.
fn interpolate(value: &str, resolve: impl Fn(&str) -> Option<String>) -> String {
    let mut result = String::new();
    let mut rest = value;
    while let Some(at) = rest.find("${") {
        result.push_str(&rest[..at]);
        let inside = &rest[at + 2..];
        let name_end = inside.find([':', '}']);
        let end = name_end.and_then(|end| {
            let after = &inside[end..];
            let is_whole = after.starts_with('}') || after.starts_with(":-");
            is_whole.then(|| after.find('}').map(|close| end + close)).flatten()
        });
        if let (Some(name_end), Some(end)) = (name_end, end) {
            let default = inside[name_end..end].strip_prefix(":-").unwrap_or_default();
            result.push_str(&resolve(&inside[..name_end]).unwrap_or_else(|| default.to_owned()));
            rest = &inside[end + 1..];
        } else {
            result.push_str("${");
            rest = inside;
        }
    }
    result + rest
}

fn statements(content: &[u8]) -> Vec<Statement> {
    let mut reader = Reader::new(content);
    let mut statements = Vec::new();
    while reader.peek().is_some() {
        let statement = reader.statement().unwrap_or_else(|| {
            reader.skip(|character| !is_newline(character));
            reader.newline();
            Statement { name: None, value: None, place: 0..0, style: Style::Absent }
        });
        statements.push(statement);
    }
    statements
}

/// The characters of a file, each with its byte offset.
///
/// Bytes that are not UTF-8 are treated as ordinary characters, so that they can be kept.
struct Reader {
    characters: Vec<(usize, char)>,
    at: usize,
    bytes: usize,
}

impl Reader {
    fn new(content: &[u8]) -> Self {
        let mut characters = Vec::with_capacity(content.len());
        let mut byte = 0;
        for chunk in content.utf8_chunks() {
            let valid = chunk.valid();
            characters.extend(valid.char_indices().map(|(at, character)| (byte + at, character)));
            byte += valid.len();
            for _ in chunk.invalid() {
                characters.push((byte, char::REPLACEMENT_CHARACTER));
                byte += 1;
            }
        }
        let at = usize::from(characters.first().is_some_and(|(_, first)| *first == '\u{feff}'));
        Self { characters, at, bytes: content.len() }
    }

    fn peek(&self) -> Option<char> {
        self.characters.get(self.at).map(|(_, character)| *character)
    }

    /// Returns the byte offset of the character at `at`.
    fn byte(&self, at: usize) -> usize {
        self.characters.get(at).map_or(self.bytes, |(byte, _)| *byte)
    }

    /// Advances while `wanted` holds, and returns the range that was passed.
    fn skip(&mut self, wanted: impl Fn(char) -> bool) -> Range<usize> {
        let start = self.at;
        while self.peek().is_some_and(&wanted) {
            self.at += 1;
        }
        start..self.at
    }

    /// Advances past one line end, if there is one here.
    fn newline(&mut self) -> bool {
        match self.peek() {
            Some('\r') => {
                self.at += 1;
                if self.peek() == Some('\n') {
                    self.at += 1;
                }
                true
            }
            Some('\n') => {
                self.at += 1;
                true
            }
            _ => false,
        }
    }

    /// Returns the text of some characters, with every line end as `\n`, as Python's text mode
    /// does.
    fn text(&self, range: Range<usize>) -> String {
        let mut text = String::new();
        for at in range.clone() {
            match self.characters[at].1 {
                '\r' => text.push('\n'),
                '\n' if at > range.start && self.characters[at - 1].1 == '\r' => {}
                character => text.push(character),
            }
        }
        text
    }

    /// Returns `None` for a malformed line, whose rest is not consumed yet.
    fn statement(&mut self) -> Option<Statement> {
        self.skip(is_space);
        if self.peek().is_none() {
            return Some(Statement { name: None, value: None, place: 0..0, style: Style::Absent });
        }
        self.export();
        let name = if self.peek() == Some('#') { None } else { Some(self.name()?) };
        let name_end = self.at;
        self.skip(is_blank);
        let (value, place, style) = if self.peek() == Some('=') {
            self.at += 1;
            let (value, place, style) = self.value()?;
            (Some(value), place, style)
        } else {
            (None, name_end..name_end, Style::Absent)
        };
        let end = self.at;
        self.skip(is_blank);
        if self.peek() == Some('#') {
            self.skip(|character| !is_newline(character));
        } else {
            self.at = end;
        }
        self.skip(is_blank);
        let is_over = self.newline() || self.peek().is_none();
        is_over.then(|| Statement { name, value, place: self.byte(place.start)..self.byte(place.end), style })
    }

    fn export(&mut self) {
        let start = self.at;
        let word = "export".chars().all(|expected| {
            let is_next = self.peek() == Some(expected);
            self.at += usize::from(is_next);
            is_next
        });
        if !word || self.skip(is_blank).is_empty() {
            self.at = start;
        }
    }

    fn name(&mut self) -> Option<String> {
        if self.peek() != Some('\'') {
            let name = self.skip(|character| character != '=' && character != '#' && !is_space(character));
            return (!name.is_empty()).then(|| self.text(name));
        }
        self.at += 1;
        let name = self.skip(|character| character != '\'');
        if name.is_empty() || self.peek().is_none() {
            // A pattern that does not match consumes nothing.
            self.at = name.start - 1;
            return None;
        }
        self.at += 1;
        Some(self.text(name))
    }

    /// Reads the text after `=`.
    fn value(&mut self) -> Option<(String, Range<usize>, Style)> {
        let empty = self.at..self.at;
        let blanks = self.skip(is_blank);
        match self.peek() {
            Some('#') if !blanks.is_empty() => Some((String::new(), empty, Style::Bare)),
            Some('\'') => self.quotes('\'', Style::Single),
            Some('"') => self.quotes('"', Style::Double),
            None | Some('\r' | '\n') => Some((String::new(), empty, Style::Bare)),
            Some(_) => {
                let line = self.skip(|character| !is_newline(character));
                let is = |at: usize, what: fn(char) -> bool| what(self.characters[at].1);
                // A comment begins at a `#` after white space.
                let comment = line
                    .clone()
                    .skip(1)
                    .find(|at| is(*at, |character| character == '#') && is(at - 1, is_space));
                let mut end = comment.unwrap_or(line.end);
                while end > line.start && is(end - 1, is_space) {
                    end -= 1;
                }
                let place = line.start..end;
                Some((self.text(place.clone()), place, Style::Bare))
            }
        }
    }

    /// Reads a value in quotes, which may span several lines. A backslash escapes the character
    /// after it.
    fn quotes(&mut self, quote: char, style: Style) -> Option<(String, Range<usize>, Style)> {
        let start = self.at;
        self.at += 1;
        while let Some(character) = self.peek() {
            self.at += 1;
            if character == quote {
                let inside = self.text(start + 1..self.at - 1);
                return Some((unescaped(&inside, style), start..self.at, style));
            }
            if character == '\\' {
                self.at += 1;
            }
        }
        self.at = start;
        None
    }
}

fn unescaped(text: &str, style: Style) -> String {
    let mut result = String::with_capacity(text.len());
    let mut characters = text.chars().peekable();
    while let Some(character) = characters.next() {
        let meant =
            if character == '\\' { characters.peek().and_then(|next| escape(*next, style)) } else { None };
        if meant.is_some() {
            characters.next();
        }
        result.push(meant.unwrap_or(character));
    }
    result
}

fn escape(letter: char, style: Style) -> Option<char> {
    match (letter, style) {
        ('\\' | '\'', _) => Some(letter),
        (_, Style::Single) => None,
        ('"', _) => Some('"'),
        ('a', _) => Some('\u{7}'),
        ('b', _) => Some('\u{8}'),
        ('f', _) => Some('\u{c}'),
        ('n', _) => Some('\n'),
        ('r', _) => Some('\r'),
        ('t', _) => Some('\t'),
        ('v', _) => Some('\u{b}'),
        _ => None,
    }
}

fn is_newline(character: char) -> bool {
    matches!(character, '\r' | '\n')
}

/// Returns true for Python's white space: Unicode's and four separators.
fn is_space(character: char) -> bool {
    character.is_whitespace() || ('\u{1c}'..='\u{1f}').contains(&character)
}

/// Returns true for white space within a line.
fn is_blank(character: char) -> bool {
    is_space(character) && !is_newline(character)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(content: &[u8], name: &str) -> Option<String> {
        get(content, name, &HashMap::new())
    }

    fn changed(content: &str, value: &str) -> String {
        String::from_utf8(set(content.as_bytes(), "T", value).unwrap()).unwrap()
    }

    #[test]
    fn only_the_value_changes() {
        for (before, after) in [
            ("", "T='new'\n"),
            ("A=1", "A=1\nT='new'\n"),
            ("A=1\n", "A=1\nT='new'\n"),
            ("A=1\r\n# end\r\n", "A=1\r\n# end\r\nT='new'\r\n"),
            ("A=1\r\nB=2", "A=1\r\nB=2\r\nT='new'\r\n"),
            ("\n\nT=old # why\n\nA=1", "\n\nT=new # why\n\nA=1"),
            ("T=old\r\nA=1\r\n", "T=new\r\nA=1\r\n"),
            ("T=old", "T=new"),
            ("T='old'", "T='new'"),
            ("T=\"old\"  # why", "T=\"new\"  # why"),
            ("export T = 'old'\t\n", "export T = 'new'\t\n"),
            ("'T'=old", "'T'=new"),
            ("T=", "T=new"),
            ("T= # none yet", "T=new # none yet"),
            ("T # why\nA=1", "T='new' # why\nA=1"),
            ("T=one\nA=1\nT=two\n", "T=one\nA=1\nT=new\n"),
            ("A='T=x\nT=y'\nT=old", "A='T=x\nT=y'\nT=new"),
            ("#T=old\nTT=old", "#T=old\nTT=old\nT='new'\n"),
            ("\u{feff}T=old", "\u{feff}T=new"),
            ("T='a\r\nb'\r\nA=1", "T='new'\r\nA=1"),
        ] {
            assert_eq!(changed(before, "new"), after, "{before:?}");
        }
        let latin = b"A=caf\xe9 # \xff\nT=old\n";
        assert_eq!(set(latin, "T", "new").unwrap(), b"A=caf\xe9 # \xff\nT=new\n");
    }

    #[test]
    fn a_value_is_quoted_only_where_it_must_be() {
        for (before, value, after) in [
            ("T=old", "a|b", "T='a|b'"),
            ("T=old # c", "a#b", "T='a#b' # c"),
            ("T='old'", "it's\\", "T='it\\'s\\\\'"),
            ("T=\"old\"", "\"\\'", "T=\"\\\"\\\\'\""),
            ("T=old", "$HOME", "T='$HOME'"),
        ] {
            assert_eq!(changed(before, value), after);
            assert_eq!(read(after.as_bytes(), "T").unwrap(), value);
        }
    }

    #[test]
    fn what_readers_would_change_is_refused() {
        for value in ["", "a b", "a\nb", "${HOME}", "a${", "é"] {
            assert_eq!(set(b"T=old", "T", value), Err(Unwritable::Value), "{value:?}");
        }
    }

    #[test]
    fn an_open_quote_swallows_nothing() {
        // In quotes of the same kind the new value would end with the old one.
        let after = changed("A='open\n", "new");
        assert_eq!(after, "A='open\nT=\"new\"\n");
        assert_eq!(read(after.as_bytes(), "T").unwrap(), "new");
        // If no kind of quotes helps, nothing is written.
        assert_eq!(set(b"A='open\nB=\"open\n", "T", "a'b\"c"), Err(Unwritable::Content));
    }

    #[test]
    fn reads_as_python_does() {
        let variables = HashMap::from([("HOME".to_owned(), "/root".to_owned())]);
        for (content, expected) in [
            ("T=a b  # c", Some("a b")),
            ("T=a#b", Some("a#b")),
            ("T=#b", Some("#b")),
            ("T= #b", Some("")),
            ("T='a\\'b\\n'", Some("a'b\\n")),
            ("T=\"a\\tb\\q\"", Some("a\tb\\q")),
            ("T='a' b", None),
            ("T='a", None),
            ("T", None),
            ("T=1\nT", None),
            ("export\tT=1", Some("1")),
            ("exportT=1", None),
            ("T=1\rT=2\r", Some("2")),
            ("T='a\r\nb'", Some("a\nb")),
            ("T=${HOME}/x", Some("/root/x")),
            ("T='${HOME}'", Some("/root")),
            ("T=${NONE:-d}${NONE}", Some("d")),
            ("A=1\nT=${A}", Some("1")),
            ("HOME=/other\nT=${HOME}", Some("/other")),
            ("T=${a:b}", Some("${a:b}")),
            ("T=${", Some("${")),
            ("\u{a0}T\u{a0}=\u{2003}1\u{1f}", Some("1")),
        ] {
            assert_eq!(get(content.as_bytes(), "T", &variables).as_deref(), expected, "{content:?}");
        }
    }

    /// Fragments with a meaning to the parser, so that random combinations exercise it.
    fn content() -> impl Strategy<Value = Vec<u8>> {
        let piece = prop_oneof![
            prop::sample::select(vec![
                "T=",
                "T",
                "A=1",
                "export ",
                "'",
                "\"",
                "\\",
                "\n",
                "\r\n",
                "\r",
                " ",
                "\t",
                "#",
                " # c",
                "=",
                "${T}",
                "'T'",
                "x",
                "\u{feff}",
                "\u{a0}",
                "\u{1c}",
                "é",
                "B='b\nb'\n",
                "C=\"c\\\"c\"\n",
                "T='old'\n",
                "T=old\n",
            ])
            .prop_map(|text| text.as_bytes().to_vec()),
            prop::collection::vec(any::<u8>(), 1..3),
        ];
        prop::collection::vec(piece, 0..24).prop_map(|pieces| pieces.concat())
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4096))]

        #[test]
        fn any_file_keeps_its_other_bytes(content in content(), value in "[!-~]{1,40}") {
            let Ok(after) = set(&content, "T", &value) else { return Ok(()) };
            prop_assert_eq!(read(&after, "T"), Some(value.clone()));
            // One range was replaced: the common prefix and suffix are the whole old file except
            // one value.
            let before = statements(&content);
            let old = before.iter().rfind(|statement| statement.name.as_deref() == Some("T"));
            let place = old.map_or(content.len()..content.len(), |statement| statement.place.clone());
            prop_assert!(after.starts_with(&content[..place.start]));
            prop_assert!(after.ends_with(&content[place.end..]));
            // Setting the same value again changes nothing.
            prop_assert_eq!(set(&after, "T", &value), Ok(after));
        }
    }
}
