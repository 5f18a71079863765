//! Events into a list, and a list into answers.
//!
//! The handler answers with a JSON list as long as the one it was given, in its order. An item that has the two texts
//! `errorType` and `errorMessage`, as Lambda's own errors have, is that one caller's error; every other item is an
//! answer as it stands, byte by byte. What is no such list, and an error of the whole, goes to every caller.

use api::ErrorMark;
use bytes::{BufMut, Bytes, BytesMut};
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::json;

/// What one caller is answered.
pub(super) type Answer = (Option<ErrorMark>, Bytes);

/// The list of these events.
pub(super) fn joined<'a>(events: impl Iterator<Item = &'a Bytes> + Clone) -> Bytes {
    let bytes: usize = events.clone().map(|event| event.len() + 1).sum();
    let mut list = BytesMut::with_capacity(bytes + 2);
    list.put_u8(b'[');
    for (index, event) in events.enumerate() {
        if index > 0 {
            list.put_u8(b',');
        }
        list.put_slice(event);
    }
    list.put_u8(b']');
    list.freeze()
}

/// The answers to so many callers from what the handler said; always as many.
pub(super) fn answers(said: &Bytes, mark: Option<ErrorMark>, callers: usize, batch_id: &str) -> Vec<Answer> {
    if mark.is_some() {
        return vec![(mark, said.clone()); callers];
    }
    match items(said) {
        Some(items) if items.len() == callers => items.into_iter().map(|item| (mark_of(&item), item)).collect(),
        items => {
            let found = items.map_or("no JSON list".to_owned(), |items| format!("a list of {}", items.len()));
            vec![(Some(ErrorMark::Unhandled), mismatch(&found, callers, batch_id)); callers]
        }
    }
}

fn mismatch(found: &str, callers: usize, batch_id: &str) -> Bytes {
    let message = format!(
        "RequestId: {batch_id} Error: the handler was given a list of {callers} events (tag lambent:batch) and answered \
         with {found}; it must answer with a list of as many items, in the order of the events"
    );
    let error = json!({ "errorType": "Lambent.BatchAnswerInvalid", "errorMessage": message });
    Bytes::from(error.to_string())
}

fn mark_of(item: &[u8]) -> Option<ErrorMark> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Failed {
        #[serde(rename = "errorType")]
        _error_type: String,
        #[serde(rename = "errorMessage")]
        _error_message: String,
    }
    let is_object = item.first() == Some(&b'{');
    let is_failed = is_object && serde_json::from_slice::<Failed>(item).is_ok();
    is_failed.then_some(ErrorMark::Unhandled)
}

/// The items of a JSON list, as they are written; none if it is something else.
fn items(list: &Bytes) -> Option<Vec<Bytes>> {
    let text = std::str::from_utf8(list).ok()?;
    serde_json::from_str::<IgnoredAny>(text).ok()?;
    let trimmed = text.trim_matches([' ', '\t', '\n', '\r']);
    let inner = trimmed.strip_prefix('[')?.strip_suffix(']')?;
    let mut items = Vec::new();
    let mut rest = inner;
    while !rest.trim_matches([' ', '\t', '\n', '\r']).is_empty() {
        let end = end_of_item(rest.as_bytes());
        items.push(list.slice_ref(rest[..end].trim_matches([' ', '\t', '\n', '\r']).as_bytes()));
        rest = rest.get(end + 1..).unwrap_or_default();
    }
    Some(items)
}

/// Where the first item of this sound JSON ends: at a comma that is in nothing, or at the end.
fn end_of_item(text: &[u8]) -> usize {
    let (mut depth, mut in_string, mut is_escaped) = (0_usize, false, false);
    for (at, byte) in text.iter().enumerate() {
        match byte {
            _ if is_escaped => is_escaped = false,
            b'\\' if in_string => is_escaped = true,
            b'"' => in_string = !in_string,
            _ if in_string => {}
            b'[' | b'{' => depth += 1,
            b']' | b'}' => depth = depth.saturating_sub(1),
            b',' if depth == 0 => return at,
            _ => {}
        }
    }
    text.len()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::Value;

    fn split(list: &str) -> Option<Vec<String>> {
        let items = items(&Bytes::copy_from_slice(list.as_bytes()))?;
        Some(
            items
                .iter()
                .map(|item| String::from_utf8(item.to_vec()).unwrap())
                .collect(),
        )
    }

    #[test]
    fn events_become_a_list() {
        let check = |events: &[&'static str], expected: &str| {
            let events: Vec<Bytes> = events
                .iter()
                .map(|event| Bytes::from_static(event.as_bytes()))
                .collect();
            assert_eq!(joined(events.iter()), expected.as_bytes());
        };
        check(&["{}"], "[{}]");
        check(&["1", " \"a,b\" ", "[2]"], "[1, \"a,b\" ,[2]]");
    }

    #[test]
    fn a_list_becomes_items_as_they_were_written() {
        let check = |list: &str, expected: &[&str]| {
            let expected: Vec<String> = expected.iter().map(|item| (*item).to_owned()).collect();
            assert_eq!(split(list), Some(expected), "{list}");
        };
        check("[]", &[]);
        check(" [ ] \n", &[]);
        check("[1]", &["1"]);
        check(
            "[ 1.0 ,\n{\"a\": [1, 2]},\"x,]\\\"}\" ]",
            &["1.0", "{\"a\": [1, 2]}", "\"x,]\\\"}\""],
        );
        check(r#"[[[],[{}]],"\\",null]"#, &["[[],[{}]]", r#""\\""#, "null"]);
        for other in ["", "{}", "1", "\"[1]\"", "[1", "[1,]", "[1]]", "1,2", "{\"a\":[1]}"] {
            assert_eq!(split(other), None, "{other}");
        }
    }

    #[test]
    fn deep_answers_do_not_overflow_the_stack() {
        let deep = "[".repeat(1_000_000) + &"]".repeat(1_000_000);
        assert_eq!(split(&deep).unwrap().len(), 1);
    }

    #[test]
    fn each_caller_gets_its_own() {
        let check = |said: &'static str, expected: &[(bool, &str)]| {
            let found = answers(&Bytes::from_static(said.as_bytes()), None, expected.len(), "b");
            let found: Vec<(bool, String)> = found
                .into_iter()
                .map(|(mark, body)| (mark.is_some(), String::from_utf8(body.to_vec()).unwrap()))
                .collect();
            let expected: Vec<(bool, String)> = expected.iter().map(|(is, body)| (*is, (*body).to_owned())).collect();
            assert_eq!(found, expected);
        };
        check("[1, \"two\"]", &[(false, "1"), (false, "\"two\"")]);
        let failed = r#"{"errorType":"Bad","errorMessage":"no","more":1}"#;
        check(
            r#"[1,{"errorType":"Bad","errorMessage":"no","more":1}]"#,
            &[(false, "1"), (true, failed)],
        );
        check(
            r#"[{"errorMessage":"a word of mine"}]"#,
            &[(false, r#"{"errorMessage":"a word of mine"}"#)],
        );
        check(
            r#"[{"errorMessage":1,"errorType":2}]"#,
            &[(false, r#"{"errorMessage":1,"errorType":2}"#)],
        );
    }

    #[test]
    fn what_is_no_list_of_that_length_is_everybodys_error() {
        let check = |said: &'static str, found: &str| {
            for (mark, body) in answers(&Bytes::from_static(said.as_bytes()), None, 2, "b-1") {
                assert_eq!(mark, Some(ErrorMark::Unhandled));
                let error: Value = serde_json::from_slice(&body).unwrap();
                assert_eq!(error["errorType"], "Lambent.BatchAnswerInvalid");
                let message = error["errorMessage"].as_str().unwrap();
                assert!(
                    message.starts_with("RequestId: b-1 Error: the handler was given a list of 2 events"),
                    "{message}"
                );
                assert!(message.contains(&format!("answered with {found};")), "{message}");
            }
        };
        check("[1]", "a list of 1");
        check("[1,2,3]", "a list of 3");
        check("{\"a\":1}", "no JSON list");
        check("not json", "no JSON list");
    }

    #[test]
    fn an_error_of_the_whole_is_everybodys() {
        let said = Bytes::from_static(b"[1,2]");
        let found = answers(&said, Some(ErrorMark::Unhandled), 2, "b");
        assert_eq!(found, vec![(Some(ErrorMark::Unhandled), said); 2]);
    }

    proptest! {
        #[test]
        fn lists_come_apart_as_they_were_put_together(texts in proptest::collection::vec("[a\\[\\]{},\"\\\\ \u{e9}]{0,8}", 1..6)) {
            let events: Vec<Bytes> = texts
                .iter()
                .map(|text| Bytes::from(json!({ text.as_str(): [text, 1.5] }).to_string()))
                .collect();
            prop_assert_eq!(items(&joined(events.iter())), Some(events));
        }
    }
}
