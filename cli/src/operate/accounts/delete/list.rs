//! The people to delete: user ids as arguments and in files.

use std::collections::HashSet;
use std::fs::File;
use std::io::{BufRead, BufReader, Read, stdin};

use anyhow::Result;
use threads_graph::UserId;

use crate::shell::exit::{Stopped, usage};

/// A longer line holds no user id.
const MAX_LINE: u64 = 64 * 1024;

/// The byte order mark of UTF-8.
const MARK: &[u8] = b"\xef\xbb\xbf";

/// The people, each once, and the lines that hold no user id.
#[derive(Debug, Default)]
pub(super) struct List {
    pub(super) people: Vec<UserId>,
    pub(super) bad: Vec<BadLine>,
    seen: HashSet<UserId>,
}

/// A line that holds no user id. Its text is not repeated, because a wrong file may hold anything.
#[derive(Debug, PartialEq, Eq, serde::Serialize)]
pub(super) struct BadLine {
    pub(super) file: String,
    pub(super) line: u64,
    pub(super) reason: &'static str,
}

impl List {
    /// Reads every element of `given`: a user id, the name of a file, or `-` for standard input.
    pub(super) fn read(given: &[String]) -> Result<Self> {
        let mut list = Self::default();
        for one in given {
            if let Ok(user_id) = one.parse() {
                list.add(user_id);
            } else if one == "-" {
                list.file("standard input", stdin().lock())?;
            } else {
                match File::open(one) {
                    Ok(file) => list.file(one, BufReader::new(file))?,
                    Err(error) => {
                        return usage(format!(
                            "{one} is not a user id, and cannot be read as a file of user ids: {error}"
                        ));
                    }
                }
            }
        }
        Ok(list)
    }

    fn add(&mut self, user_id: UserId) {
        if self.seen.insert(user_id.clone()) {
            self.people.push(user_id);
        }
    }

    fn file(&mut self, name: &str, mut source: impl BufRead) -> Result<()> {
        let mut column = None;
        let mut bytes = Vec::new();
        for line in 1.. {
            let unreadable = |error| Stopped::Usage(format!("{name} cannot be read: {error}"));
            if !read_line(&mut source, &mut bytes).map_err(unreadable)? {
                return Ok(());
            }
            let text = if line == 1 { bytes.strip_prefix(MARK).unwrap_or(&bytes) } else { &bytes };
            match said(text, column) {
                Said::Nothing => {}
                Said::Header(at) if column.is_none() => column = Some(at),
                Said::Person(user_id) => {
                    column.get_or_insert(0);
                    self.add(user_id);
                }
                Said::Header(_) | Said::Other => {
                    column.get_or_insert(0);
                    let reason = "it names no user id, which is 1 to 32 digits";
                    self.bad.push(BadLine { file: name.to_owned(), line, reason });
                }
            }
        }
        Ok(())
    }
}

/// The meaning of a line.
#[derive(Debug, PartialEq, Eq)]
enum Said {
    /// The line is blank or a comment.
    Nothing,
    /// The line names the columns. This is the index of the column with the user ids.
    Header(usize),
    Person(UserId),
    Other,
}

/// Parses a line. `column` is the index of the user ids' column, if it is known.
fn said(line: &[u8], column: Option<usize>) -> Said {
    let Ok(line) = std::str::from_utf8(line) else { return Said::Other };
    let line = line.trim();
    if line.is_empty() || line.starts_with('#') {
        return Said::Nothing;
    }
    let mut fields = line.split([',', ';', '\t']).map(|field| field.trim().trim_matches('"').trim());
    if let Some(Ok(user_id)) = fields.clone().nth(column.unwrap_or(0)).map(str::parse) {
        return Said::Person(user_id);
    }
    if fields.clone().all(str::is_empty) {
        return Said::Nothing;
    }
    // User ids contain digits, so a line with a digit is never a line of column names.
    match fields.position(is_name) {
        Some(at) if !line.bytes().any(|byte| byte.is_ascii_digit()) => Said::Header(at),
        _ => Said::Other,
    }
}

/// Returns true if a column of this name holds user ids: `user_id`, `App-scoped user ID`, `id`,
/// `UIDs`.
fn is_name(field: &str) -> bool {
    let words = field.split(|c: char| !c.is_ascii_alphabetic());
    words.map(str::to_ascii_lowercase).any(|word| {
        ["id", "ids", "uid", "uids", "user", "users", "userid", "userids"].contains(&word.as_str())
    })
}

/// Reads a line into `line`, and returns false at the end of the source. A line that is too long is
/// replaced by the words "too long".
fn read_line(source: &mut impl BufRead, line: &mut Vec<u8>) -> std::io::Result<bool> {
    line.clear();
    let read = source.by_ref().take(MAX_LINE).read_until(b'\n', line)?;
    if read as u64 == MAX_LINE && !line.ends_with(b"\n") {
        line.clear();
        line.extend(b"too long");
        skip_line(source)?;
    }
    Ok(read > 0)
}

fn skip_line(source: &mut impl BufRead) -> std::io::Result<()> {
    loop {
        let ahead = source.fill_buf()?;
        let end = ahead.iter().position(|byte| *byte == b'\n');
        let (read, is_over) = (end.map_or(ahead.len(), |at| at + 1), end.is_some() || ahead.is_empty());
        source.consume(read);
        if is_over {
            return Ok(());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(text: &[u8]) -> (Vec<String>, Vec<u64>) {
        let mut list = List::default();
        list.file("list", text).unwrap();
        let people = list.people.iter().map(ToString::to_string).collect();
        (people, list.bad.iter().map(|bad| bad.line).collect())
    }

    #[test]
    fn a_list_is_read_as_people_write_them() {
        let long = format!("1\n{}\n2\n", "x".repeat(200_000));
        for (text, people, bad) in [
            ("", &[][..], &[][..]),
            ("17841400000000001\n17841400000000002", &["17841400000000001", "17841400000000002"], &[]),
            ("\u{feff}1\r\n\r\n # a comment\r\n2\r\n", &["1", "2"], &[]),
            ("user_id\n1\n2\n", &["1", "2"], &[]),
            ("\u{feff}\"App-scoped user ID\"\r\n\"1\"\r\n", &["1"], &[]),
            ("Name,User ID;date\nAda,1;2026\nBen,2\n", &["1", "2"], &[]),
            ("email\tid\na@b.example\t3\n", &["3"], &[]),
            ("1,Ada\n2,Ben\n,,\n", &["1", "2"], &[]),
            // Of these lines, only a number that a spreadsheet has spoilt and a stray token are
            // rejected.
            ("1\n1.78414E+16\nTHQVJsecret\n-2\n 3 \n1\n", &["1", "3"], &[2, 3, 4]),
            ("@ada\n1\n", &["1"], &[1]),
            ("1\nuser_id\n2\n", &["1", "2"], &[2]),
            ("id\nid\n1\n", &["1"], &[2]),
            ("\"1\n2\n", &["1", "2"], &[]),
            (&long, &["1", "2"], &[2]),
        ] {
            let (found, lines) = list(text.as_bytes());
            assert_eq!(
                (found.iter().map(String::as_str).collect::<Vec<_>>(), &lines[..]),
                (people.to_vec(), bad)
            );
        }
        // UTF-16 is reported as unreadable, line by line.
        assert_eq!(list(b"1\n\xff\xfe\n2\n"), (vec!["1".to_owned(), "2".to_owned()], vec![2]));
    }
}
