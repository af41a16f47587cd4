//! A person's `.env` file: a name, a value, and the file.

use std::collections::HashMap;

use crate::text::{assert_hides, lines};

// The command line is a program, and no crate that could be used.
#[path = "../../../cli/src/shell/env_file.rs"]
#[allow(dead_code, reason = "what reads the file system is not under test here")]
mod parser;

use parser::{definitions, get, is_name, line, set};

pub(crate) fn run(data: &[u8]) {
    let end = |from: &[u8]| from.iter().position(|byte| *byte == b'\n').map_or(from.len(), |at| at + 1);
    let first = end(data);
    let second = first + end(&data[first..]);
    let Some(([name, value], _)) = lines::<2>(&data[..second]) else { return };
    // The file itself may be any bytes.
    let content = &data[second..];
    let none = HashMap::new();
    let before = get(content, name, &none);
    let others: Vec<String> = words(content).filter(|other| other != name).collect();
    let read = |content: &[u8]| -> Vec<_> { others.iter().map(|other| get(content, other, &none)).collect() };
    match set(content, name, value) {
        Ok(after) => {
            assert_eq!(get(&after, name, &none).as_deref(), Some(value));
            assert_eq!(definitions(&after, name), definitions(content, name).max(1));
            assert_eq!(set(&after, name, value).unwrap(), after, "a second time changes nothing");
            // Others may refer to the one that has changed.
            if !content.windows(2).any(|two| two == b"${") {
                assert_eq!(read(&after), read(content));
            }
        }
        Err(error) => {
            assert_hides(&format!("{error} {error:?}"), value);
            if let Some(before) = before {
                assert_hides(&format!("{error} {error:?}"), &before);
            }
        }
    }
    if is_name(name) && set(b"", name, value).is_ok() {
        assert_eq!(get(&line(name, value), name, &none).as_deref(), Some(value));
    }
}

/// Returns the words of a file that could be names.
fn words(content: &[u8]) -> impl Iterator<Item = String> {
    let words = content.split(|byte| !byte.is_ascii_alphanumeric() && *byte != b'_');
    words.filter_map(|word| std::str::from_utf8(word).ok()).filter(|word| is_name(word)).map(str::to_owned)
}
