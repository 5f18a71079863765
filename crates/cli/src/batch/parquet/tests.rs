//! Results that are written, and rows that are read.

use super::super::line;
use super::output::Results;
use super::rows::write_rows;
use std::fs::File;
use std::io::{Seek, Write};

/// The rows of a file, as lines.
fn rows(bytes: &[u8]) -> Result<Vec<String>, String> {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(bytes).unwrap();
    file.rewind().unwrap();
    read(file)
}

fn read(file: File) -> Result<Vec<String>, String> {
    let mut lines = Vec::new();
    write_rows(file, &mut lines).map_err(|error| format!("{error:#}"))?;
    Ok(String::from_utf8(lines).unwrap().lines().map(str::to_owned).collect())
}

/// A file of results.
fn file_of(results: &[Vec<u8>]) -> Vec<u8> {
    let mut writer = Results::new().unwrap();
    let mut bytes = Vec::new();
    for result in results {
        bytes.extend(writer.add(result).unwrap());
    }
    bytes.extend(writer.finish().unwrap());
    bytes
}

#[test]
fn results_are_read_as_they_were_written() {
    let bytes = file_of(&[
        line::response(1, b"{\"n\": 1.50}"),
        line::error(2, "function", "ValueError", "no \"name\""),
        line::response(3, b"null"),
    ]);
    let none = r#""error_kind":null,"error_type":null,"error_message":null"#;
    let expected = [
        format!(r#"{{"line":1,"response":"{{\"n\": 1.50}}",{none}}}"#),
        r#"{"line":2,"response":null,"error_kind":"function","error_type":"ValueError","error_message":"no \"name\""}"#
            .to_owned(),
        format!(r#"{{"line":3,"response":"null",{none}}}"#),
    ];
    assert_eq!(rows(&bytes).unwrap(), expected);
    assert!(rows(&file_of(&[])).unwrap().is_empty());
}

#[test]
fn much_is_written_in_several_groups() {
    let large = format!("\"{}\"", "x".repeat(6 * 1024 * 1024));
    let results: Vec<_> = (1..=7).map(|number| line::response(number, large.as_bytes())).collect();
    let mut writer = Results::new().unwrap();
    let parts: Vec<_> = results.iter().map(|result| writer.add(result).unwrap()).collect();
    let whole: Vec<_> = parts.iter().map(|part| !part.is_empty()).collect();
    assert_eq!(whole, [false, false, true, false, false, true, false]);
    let mut bytes = parts.concat();
    bytes.extend(writer.finish().unwrap());
    assert_eq!(rows(&bytes).unwrap().len(), 7);
}

#[test]
fn a_file_that_was_cut_is_refused() {
    let bytes = file_of(&[line::response(1, b"1"), line::response(2, b"2")]);
    for end in 0..bytes.len() {
        assert!(rows(&bytes[..end]).is_err(), "cut at {end}");
    }
    assert!(rows(b"{\"n\": 1}\n").unwrap_err().contains("Parquet"));
}
