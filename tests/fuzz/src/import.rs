//! A table of tokens to import, CSV or JSON lines.

use std::io::Cursor;
use std::sync::Arc;

// The command line is a program, and no crate that could be used.
#[path = "../../../cli/src/operate/accounts/import/lines.rs"]
mod lines;

use lines::Entry;

pub(crate) fn run(data: &[u8]) {
    let Some(read) = entries(data) else { return };
    let mut last = 0;
    for entry in &read {
        assert!(entry.line > last, "lines come in their order");
        last = entry.line;
        if let Some((text, reason)) = &entry.unreadable {
            assert!(entry.token.is_empty() && text.len() <= 3 * 64 * 1_024, "{reason}");
        }
    }
    let ends = data.split(|byte| *byte == b'\n').count() as u64 - 1;
    assert!(last <= ends + 1);
    assert_lines_are_independent(data, &read);
    assert_a_written_table_is_read(&read);
}

/// A malformed line of JSON concerns no other.
fn assert_lines_are_independent(data: &[u8], read: &[Entry]) {
    let data = data.strip_prefix(b"\xef\xbb\xbf").unwrap_or(data);
    let is_json = data.iter().find(|byte| !byte.is_ascii_whitespace()) == Some(&b'{');
    if !is_json {
        return;
    }
    for entry in read {
        let line = data.split(|byte| *byte == b'\n').nth(usize::try_from(entry.line).unwrap() - 1).unwrap();
        // A line that does not begin as JSON does would be read as CSV if it were the first.
        let alone = entries(&[b"{}\n", line].concat()).unwrap();
        assert_eq!(said(&alone[1]), said(entry), "line {}", entry.line);
    }
}

fn assert_a_written_table_is_read(read: &[Entry]) {
    let mut writer = csv::Writer::from_writer(Vec::new());
    writer.write_record(["note", "user_id", "access_token", "reference", "expires_at"]).unwrap();
    let mut expected = Vec::new();
    for entry in read.iter().filter(|entry| entry.unreadable.is_none()) {
        let text = |text: &Option<String>| text.clone().unwrap_or_default();
        let fields = [text(&entry.user_id), entry.token.to_string(), text(&entry.reference), text(&entry.expires_at)];
        // A table has no field of several lines but those that are not ours.
        let is_fit = |field: &String| field.trim() == field && !field.contains(['\n', '\r']);
        if fields.iter().all(is_fit) && fields.iter().any(|field| !field.is_empty()) {
            let [user_id, token, reference, expires_at] = &fields;
            writer.write_record(["a \"note\",\nin two lines", user_id, token, reference, expires_at]).unwrap();
            expected.push(fields.join("\n"));
        }
    }
    let table = writer.into_inner().unwrap();
    let read = entries(&table).unwrap();
    let text = |text: &Option<String>| text.clone().unwrap_or_default();
    let read: Vec<_> = read
        .iter()
        .map(|entry| {
            [text(&entry.user_id), entry.token.to_string(), text(&entry.reference), text(&entry.expires_at)].join("\n")
        })
        .collect();
    assert_eq!(read, expected);
}

fn said(entry: &Entry) -> String {
    let Entry { token, user_id, expires_at, reference, unreadable, .. } = entry;
    let reason = unreadable.as_ref().map(|(text, reason)| (text.as_str(), *reason));
    format!("{:?} {user_id:?} {expires_at:?} {reference:?} {reason:?}", token.as_str())
}

/// Returns what the lines hold, or `None` if the input is no table.
fn entries(data: &[u8]) -> Option<Vec<Entry>> {
    let (mut lines, mut failure) = lines::reader(Box::new(Cursor::new(data.to_vec())), 1, Arc::default(), 16);
    let mut entries = Vec::new();
    while let Some(entry) = lines.blocking_recv() {
        entries.push(entry);
    }
    match failure.blocking_recv() {
        Some(error) => {
            assert!(!format!("{error:?}").is_empty());
            None
        }
        None => Some(entries),
    }
}
