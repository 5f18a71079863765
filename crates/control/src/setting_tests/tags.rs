use super::*;
use std::collections::BTreeMap;

fn tags(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs
        .iter()
        .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_life_of_tags() {
    let fixture = Fixture::new().await;
    let (control, account) = (&fixture.control, &fixture.account);
    control
        .tag_function(account, "f", &tags(&[("a", "1"), ("b", "2")]))
        .await
        .unwrap();
    control
        .tag_function(account, "f", &tags(&[("b", "3"), ("c é", "")]))
        .await
        .unwrap();
    assert_eq!(
        control.function_tags(account, "f").await.unwrap(),
        tags(&[("a", "1"), ("b", "3"), ("c é", "")])
    );
    control
        .untag_function(account, "f", &["a".to_owned(), "none".to_owned()])
        .await
        .unwrap();
    assert_eq!(
        control.function_tags(account, "f").await.unwrap(),
        tags(&[("b", "3"), ("c é", "")])
    );
    let other: Account = "999999999999".parse().unwrap();
    assert!(control.function_tags(&other, "f").await.unwrap().is_empty());
    control.delete_function(account, "f", None).await.unwrap();
    assert!(control.function_tags(account, "f").await.unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn tags_have_limits() {
    let fixture = Fixture::new().await;
    let (control, account) = (&fixture.control, &fixture.account);
    let many = |count: usize| {
        (0..count)
            .map(|at| (format!("{at}_key"), "v".to_owned()))
            .collect::<BTreeMap<_, _>>()
    };
    let exceeded = "Number of tags exceeds resource tag limit.";
    check_error(control.tag_function(account, "f", &many(51)).await, "Invalid", exceeded);
    control.tag_function(account, "f", &many(50)).await.unwrap();
    control.tag_function(account, "f", &many(50)).await.unwrap();
    check_error(
        control.tag_function(account, "f", &tags(&[("one", "more")])).await,
        "Invalid",
        exceeded,
    );
    assert_eq!(
        control.function_tags(account, "f").await.unwrap().len(),
        50,
        "nothing of a refused request is kept"
    );
    for (key, value) in [
        ("", "v"),
        (&*"k".repeat(129), "v"),
        ("aws:x", "v"),
        ("AWS:x", "v"),
        ("k", &*"v".repeat(257)),
        ("k\n", "v"),
    ] {
        let refused = control.tag_function(account, "f", &tags(&[(key, value)])).await;
        assert!(
            matches!(refused, Err(ControlError::Invalid { .. })),
            "{key}: {refused:?}"
        );
    }
}
