use super::*;
use proptest::collection::vec;
use proptest::prelude::*;
use serde_json::Value;
use std::time::Duration;

fn caching(excluded: &[&str]) -> ResponseCaching {
    let mut excluded: Vec<Vec<String>> = excluded
        .iter()
        .map(|path| path.split('.').map(str::to_owned).collect())
        .collect();
    excluded.sort();
    ResponseCaching {
        ttl: Duration::from_secs(1),
        bytes_max: 1024,
        excluded,
    }
}

fn key_of(event: &str, excluded: &[&str]) -> Option<Key> {
    key(&Request {
        revision: "r",
        caching: &caching(excluded),
        client_context: None,
        event: event.as_bytes(),
    })
}

fn same(events: &[&str]) {
    for event in events {
        assert_eq!(key_of(event, &[]).unwrap(), key_of(events[0], &[]).unwrap(), "{event}");
    }
}

fn different(events: &[&str]) {
    for (index, one) in events.iter().enumerate() {
        for other in &events[index + 1..] {
            assert_ne!(
                key_of(one, &[]).unwrap(),
                key_of(other, &[]).unwrap(),
                "{one} and {other}"
            );
        }
    }
}

#[test]
fn space_order_and_escapes_do_not_matter() {
    same(&[
        r#"{"a":1,"b":[true,null]}"#,
        "{ \"b\" : [ true ,\tnull ] ,\n\"a\" : 1 }",
        r#"{"\u0061":1,"\u0062":[true,null]}"#,
    ]);
    same(&[
        r#""\ud83d\ude00\u00e9\/\b\f\n\r\t\"\\""#,
        "\"😀é/\\u0008\\u000C\\u000a\\u000D\\u0009\\u0022\\u005c\"",
    ]);
    same(&[
        r#"{"x":{"b":{"d":2,"c":1},"a":0}}"#,
        r#"{"x":{"a":0,"b":{"c":1,"d":2}}}"#,
    ]);
}

#[test]
fn whatever_may_mean_another_thing_has_another_key() {
    different(&[
        "1", "1.0", "1e0", "10", "-1", "\"1\"", "[1]", "[[1]]", "{}", "[]", "null",
    ]);
    different(&[
        "12345678901234567890",
        "12345678901234567891",
        "1234567890123456789012345678901e3",
    ]);
    different(&["0.1", "0.10", "0.1000000000000000000000001", "-0", "0"]);
    different(&["[1,2]", "[2,1]", "[12]", "[[1,2]]", "[[1],2]", "[1,[2]]", "[\"1,2\"]"]);
    different(&["true", "false", "null", "\"true\"", "[]", "\"\""]);
    different(&[
        r#"{"a":"b"}"#,
        r#"{"b":"a"}"#,
        r#"["a","b"]"#,
        r#"{"ab":""}"#,
        r#"{"a":{"b":""}}"#,
    ]);
    different(&["\"é\"", "\"e\u{301}\""]);
}

#[test]
fn members_of_one_name_all_count_in_their_order() {
    different(&[
        r#"{"a":1,"a":2}"#,
        r#"{"a":2,"a":1}"#,
        r#"{"a":1}"#,
        r#"{"a":2}"#,
        r#"{"a":1,"a":1}"#,
    ]);
    same(&[r#"{"a":1,"b":0,"a":2}"#, r#"{"b":0,"\u0061":1,"a":2}"#]);
}

#[test]
fn lone_surrogates_are_told_apart() {
    different(&[
        r#""\ud800""#,
        r#""\ud801""#,
        r#""\udc00""#,
        r#""\udc00\ud800""#,
        r#""\ud800\udc00""#,
        r#""\ufffd""#,
    ]);
    different(&[r#""\ud800\u0061""#, r#""\ud800a\u0061""#]);
    same(&[r#""\ud800\u0061""#, r#""\uD800a""#]);
}

#[test]
fn excluded_fields_do_not_tell_requests_apart() {
    let same = |excluded: &[&str], one: &str, other: &str| {
        assert_eq!(
            key_of(one, excluded),
            key_of(other, excluded),
            "{excluded:?}: {one} and {other}"
        );
    };
    let different = |excluded: &[&str], one: &str, other: &str| {
        assert_ne!(
            key_of(one, excluded),
            key_of(other, excluded),
            "{excluded:?}: {one} and {other}"
        );
    };
    same(&["t"], r#"{"t":1,"a":2}"#, r#"{"a":2}"#);
    same(
        &["t"],
        r#"{"t":{"deep":[1,{"x":2}]},"a":2}"#,
        r#"{"a":2,"t":"x","t":1}"#,
    );
    different(&["t"], r#"{"t":1,"a":2}"#, r#"{"t":1,"a":3}"#);
    different(&["t"], r#"{"a":{"t":1}}"#, r#"{"a":{"t":2}}"#);
    same(&["a.t", "b"], r#"{"a":{"t":1,"u":1},"b":2}"#, r#"{"a":{"u":1},"b":3}"#);
    different(&["a.t", "b"], r#"{"a":{"t":1,"u":1}}"#, r#"{"a":{"u":2}}"#);
    different(&["a.t"], r#"{"a":{"t":1}}"#, r#"{"a":{},"t":1}"#);
    same(&["a.t"], r#"{"a":[{"t":1},{"t":2}]}"#, r#"{"a":[{"t":3},{}]}"#);
    different(&["a.t"], r#"{"a":1}"#, r#"{"a":2}"#);
    same(&["a", "a.t"], r#"{"a":1}"#, "{}");
    same(&["a\u{e9}"], r#"{"a\u00e9":1}"#, "{}");
    assert_ne!(
        key_of("{}", &["a"]),
        key_of("{}", &["b"]),
        "other exclusions are other keys"
    );
    assert_ne!(key_of("{}", &["a.b"]), key_of("{}", &["a", "b"]));
}

#[test]
fn revisions_and_contexts_are_kept_apart() {
    let key = |revision, client_context| {
        key(&Request {
            revision,
            caching: &caching(&[]),
            client_context,
            event: b"{}",
        })
    };
    assert_ne!(key("a", None), key("b", None));
    assert_ne!(key("a", None), key("a", Some("{}")));
    assert_ne!(key("a", Some("b")), key("ab", Some("")));
}

#[test]
fn what_is_nested_too_deeply_has_no_key() {
    let nested = |depth: usize| "[".repeat(depth) + &"]".repeat(depth);
    assert!(key_of(&nested(DEPTH_MAX), &[]).is_some());
    assert!(key_of(&nested(DEPTH_MAX + 1), &[]).is_none());
    assert!(key_of(&nested(3_000_000), &[]).is_none());
    assert!(key_of(&(r#"{"a":"#.repeat(513) + "1" + &"}".repeat(513)), &[]).is_none());
}

#[test]
fn time_grows_with_the_size_alone() {
    // Objects whose members lie backwards, in objects whose members lie backwards: what is sorted must not be moved with
    // all that lies in it. The bound is for a debug build; a quadratic reader takes minutes. What counts is the time of
    // this thread on a processor, not how long it waits for one.
    let mut event = String::from("1");
    for level in 0..500 {
        event = format!(r#"{{"z{level}":0,"y":{event},"x":"{}"}}"#, "p".repeat(10_000));
    }
    let flat = (0..300_000)
        .rev()
        .map(|name| format!("\"{name:07}\":1"))
        .collect::<Vec<_>>();
    let flat = format!("{{{}}}", flat.join(","));
    let begin = processor_time();
    assert!(key_of(&event, &["x", "y.y.y.x"]).is_some());
    assert!(key_of(&flat, &[]).is_some());
    let spent = processor_time() - begin;
    assert!(spent < Duration::from_secs(10), "{spent:?}");
}

/// That this thread has had, in the kernel's hundredths of a second. Source: proc(5), `utime` and `stime` of `stat`.
fn processor_time() -> Duration {
    let stat = std::fs::read_to_string("/proc/thread-self/stat").unwrap();
    // The thread's name may have anything in it, but for what is after its last parenthesis.
    let fields: Vec<&str> = stat[stat.rfind(')').unwrap()..].split(' ').collect();
    let hundredths: u64 = fields[12..14].iter().map(|field| field.parse::<u64>().unwrap()).sum();
    Duration::from_millis(hundredths * 10)
}

/// JSON values whose numbers are written in one way.
fn values() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i32>().prop_map(Value::from),
        ".{0,6}".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 48, 5, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..5).prop_map(Value::from),
            vec(("[a-c\u{e9}\"]{0,2}", inner), 0..5).prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

/// The same value, written in another way: by these bits members are turned round, letters escaped, spaces put in.
fn rewritten(value: &Value, bits: &mut impl Iterator<Item = bool>) -> String {
    let mut is_on = || bits.next().unwrap_or(false);
    let space = if is_on() { " \n" } else { "" };
    match value {
        Value::Object(members) => {
            let is_turned = is_on();
            let mut parts: Vec<String> = members
                .iter()
                .map(|(name, value)| {
                    let name = rewritten(&Value::from(name.as_str()), bits);
                    format!("{name}{space}:{}", rewritten(value, bits))
                })
                .collect();
            if is_turned {
                parts.reverse();
            }
            format!("{{{space}{}{space}}}", parts.join(&format!(",{space}")))
        }
        Value::Array(values) => {
            let parts: Vec<String> = values.iter().map(|value| rewritten(value, bits)).collect();
            format!("[{space}{}]", parts.join(&format!("{space},")))
        }
        Value::String(text) => {
            let letters = text.encode_utf16().map(|unit| format!("\\u{unit:04x}"));
            if is_on() {
                format!("\"{}\"", letters.collect::<String>())
            } else {
                value.to_string()
            }
        }
        _ => value.to_string(),
    }
}

proptest! {
    #[test]
    fn equal_values_have_equal_keys_and_others_have_not(one in values(), other in values(), bits in vec(any::<bool>(), 64)) {
        let mut bits = bits.into_iter().cycle();
        let again = rewritten(&one, &mut bits);
        prop_assert_eq!(key_of(&one.to_string(), &[]), key_of(&again, &[]), "{}", again);
        prop_assert_eq!(one == other, key_of(&again, &[]) == key_of(&other.to_string(), &[]));
    }

    #[test]
    fn no_text_makes_it_panic(text in "[\\[\\]{}\",:\\\\u0-9a-f tn-]{0,60}") {
        let _ = key_of(&text, &["a", "0.a"]);
    }
}
