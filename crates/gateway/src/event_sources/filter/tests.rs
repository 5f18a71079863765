use super::*;
use proptest::prelude::*;
use serde_json::json;

#[expect(clippy::needless_pass_by_value, reason = "json! makes values")]
fn check(pattern: Value, event: Value, expected: bool) {
    let read = Pattern::parse(&pattern.to_string()).unwrap();
    assert_eq!(read.matches(&event), expected, "{pattern} on {event}");
}

#[test]
fn the_guides_table_of_rules() {
    check(json!({"UserID": [null]}), json!({"UserID": null}), true);
    check(json!({"UserID": [null]}), json!({}), false);
    check(json!({"LastName": [""]}), json!({"LastName": ""}), true);
    check(json!({"Name": ["Alice"]}), json!({"Name": "Alice"}), true);
    check(json!({"Name": ["Alice"]}), json!({"Name": "alice"}), false);
    check(
        json!({"Name": [{"equals-ignore-case": "alice"}]}),
        json!({"Name": "ALICE"}),
        true,
    );
    check(
        json!({"Location": ["New York"], "Day": ["Monday"]}),
        json!({"Location": "New York", "Day": "Monday"}),
        true,
    );
    check(
        json!({"Location": ["New York"], "Day": ["Monday"]}),
        json!({"Location": "New York"}),
        false,
    );
    check(
        json!({"PaymentType": ["Credit", "Debit"]}),
        json!({"PaymentType": "Debit"}),
        true,
    );
    check(
        json!({"Weather": [{"anything-but": ["Raining"]}]}),
        json!({"Weather": "Sunny"}),
        true,
    );
    check(
        json!({"Weather": [{"anything-but": ["Raining"]}]}),
        json!({"Weather": "Raining"}),
        false,
    );
    check(json!({"Weather": [{"anything-but": ["Raining"]}]}), json!({}), false);
    check(
        json!({"Price": [{"numeric": ["=", 100]}]}),
        json!({"Price": 100.0}),
        true,
    );
    check(
        json!({"Price": [{"numeric": [">", 10, "<=", 20]}]}),
        json!({"Price": 20}),
        true,
    );
    check(
        json!({"Price": [{"numeric": [">", 10, "<=", 20]}]}),
        json!({"Price": 10}),
        false,
    );
    check(
        json!({"Price": [{"numeric": [">", 10, "<=", 20]}]}),
        json!({"Price": "15"}),
        false,
    );
    check(
        json!({"ProductName": [{"exists": true}]}),
        json!({"ProductName": null}),
        true,
    );
    check(json!({"ProductName": [{"exists": false}]}), json!({}), true);
    check(
        json!({"ProductName": [{"exists": false}]}),
        json!({"ProductName": "x"}),
        false,
    );
    check(
        json!({"Region": [{"prefix": "us-"}]}),
        json!({"Region": "us-east-1"}),
        true,
    );
    check(
        json!({"Region": [{"prefix": "us-"}]}),
        json!({"Region": "eu-us-"}),
        false,
    );
    check(
        json!({"FileName": [{"suffix": ".png"}]}),
        json!({"FileName": "a.png"}),
        true,
    );
}

#[test]
fn alternatives_of_several_fields() {
    let pattern = json!({"$or": [{"Location": ["New York"]}, {"Day": ["Monday"]}], "Open": [true]});
    check(pattern.clone(), json!({"Day": "Monday", "Open": true}), true);
    check(pattern.clone(), json!({"Location": "New York", "Open": true}), true);
    check(pattern.clone(), json!({"Location": "New York", "Open": false}), false);
    check(pattern, json!({"Open": true}), false);
    let nested = json!({"body": {"$or": [{"a": {"b": [1]}}, {"c": [{"exists": true}]}]}});
    check(nested.clone(), json!({"body": {"a": {"b": 1}}}), true);
    check(nested.clone(), json!({"body": {"c": 0}}), true);
    check(nested, json!({"body": {"a": {"b": 2}}}), false);
}

#[test]
fn lists_and_objects_in_events() {
    check(json!({"tags": ["b"]}), json!({"tags": ["a", "b"]}), true);
    check(json!({"tags": ["c"]}), json!({"tags": ["a", "b"]}), false);
    check(json!({"tags": [{"exists": true}]}), json!({"tags": []}), false);
    check(
        json!({"items": {"id": [2], "on": [true]}}),
        json!({"items": [{"id": 1, "on": true}, {"id": 2, "on": true}]}),
        true,
    );
    check(
        json!({"items": {"id": [1], "on": [true]}}),
        json!({"items": [{"id": 1, "on": false}, {"id": 2, "on": true}]}),
        false,
    );
    check(json!({"a": {"b": [{"exists": false}]}}), json!({}), true);
    check(json!({"a": {"b": [{"exists": false}]}}), json!({"a": "text"}), true);
    check(json!({"a": {"b": [1]}}), json!({"a": "text"}), false);
    check(json!({"n": [300]}), json!({"n": 3.0e2}), true);
    check(json!({"n": [300]}), json!({"n": "300"}), false);
    check(
        json!({"w": [{"anything-but": {"prefix": "in"}}]}),
        json!({"w": "out"}),
        true,
    );
    check(
        json!({"w": [{"anything-but": {"prefix": "in"}}]}),
        json!({"w": "inside"}),
        false,
    );
    check(json!({"w": [{"anything-but": 5}]}), json!({"w": 6}), true);
    check(json!({}), json!({"anything": 1}), true);
}

#[test]
fn what_is_no_pattern_is_refused() {
    let deep = "{\"a\":".repeat(40) + "[1]" + &"}".repeat(40);
    for text in [
        "",
        "[]",
        "7",
        "{",
        r#"{"a": 1}"#,
        r#"{"a": "b"}"#,
        r#"{"a": []}"#,
        r#"{"a": [[1]]}"#,
        r#"{"a": [{"prefix": 1}]}"#,
        r#"{"a": [{"prefix": "x", "suffix": "y"}]}"#,
        r#"{"a": [{}]}"#,
        r#"{"a": [{"wildcard": "x*"}]}"#,
        r#"{"a": [{"numeric": ["=", "1"]}]}"#,
        r#"{"a": [{"numeric": ["!", 1]}]}"#,
        r#"{"a": [{"numeric": ["<", 1, ">", 2]}]}"#,
        r#"{"a": [{"numeric": [">", 2, "<", 1]}]}"#,
        r#"{"a": [{"numeric": [">", 1, "<"]}]}"#,
        r#"{"a": [{"exists": "yes"}]}"#,
        r#"{"a": [{"anything-but": []}]}"#,
        r#"{"a": [{"anything-but": {"numeric": ["=", 1]}}]}"#,
        r#"{"$or": [{"a": [1]}]}"#,
        r#"{"$or": [1, 2]}"#,
        &deep,
    ] {
        assert!(Pattern::parse(text).is_err(), "{text}");
    }
}

#[test]
fn what_a_pattern_says_of_the_body() {
    let form = |pattern: Value| Pattern::parse(&pattern.to_string()).unwrap().body();
    assert_eq!(form(json!({"messageId": ["x"]})), BodyForm::Any);
    assert_eq!(form(json!({"body": ["x"]})), BodyForm::Text);
    assert_eq!(form(json!({"body": {"a": ["x"]}})), BodyForm::Json);
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i32>().prop_map(Value::from),
        "[a-c$]{0,3}".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 24, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map("[a-c]|\\$or|prefix|exists|anything-but", inner, 0..4)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn no_pattern_and_no_event_panics(pattern in any_json(), event in any_json()) {
        if let Ok(pattern) = Pattern::parse(&pattern.to_string()) {
            let _ = pattern.matches(&event);
        }
    }

    #[test]
    fn a_value_equals_itself_and_not_anything_but_itself(text in "[a-z]{1,4}", other in "[a-z]{1,4}") {
        let event = json!({"k": text});
        let equal = Pattern::parse(&json!({"k": [other]}).to_string()).unwrap().matches(&event);
        let but = Pattern::parse(&json!({"k": [{"anything-but": [other]}]}).to_string()).unwrap().matches(&event);
        prop_assert_eq!(equal, text == other);
        prop_assert_eq!(but, text != other);
    }
}
