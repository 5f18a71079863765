use super::*;

const MAX: u64 = 1_000;

#[tokio::test(flavor = "multi_thread")]
async fn the_life_of_a_share() {
    let fixture = Fixture::new().await;
    let (control, account) = (&fixture.control, &fixture.account);
    assert_eq!(control.reserved_concurrency(account, "f").await.unwrap(), None);
    control.put_reserved_concurrency(account, "f", 0, MAX).await.unwrap();
    assert_eq!(control.reserved_concurrency(account, "f").await.unwrap(), Some(0));
    control.put_reserved_concurrency(account, "f", 900, MAX).await.unwrap();
    assert_eq!(control.unreserved_concurrency(account, MAX).await.unwrap(), 100);
    let below = "Specified ReservedConcurrentExecutions for function decreases account's UnreservedConcurrentExecution \
                 below its minimum value of [100].";
    check_error(
        control.put_reserved_concurrency(account, "f", 901, MAX).await,
        "Invalid",
        below,
    );
    fixture.insert("g", 0).await;
    check_error(
        control.put_reserved_concurrency(account, "g", 1, MAX).await,
        "Invalid",
        below,
    );
    check_error(
        control.put_reserved_concurrency(account, "g", u64::MAX, MAX).await,
        "Invalid",
        below,
    );
    control.delete_reserved_concurrency(account, "f").await.unwrap();
    control.delete_reserved_concurrency(account, "f").await.unwrap();
    assert_eq!(control.reserved_concurrency(account, "f").await.unwrap(), None);
    control.put_reserved_concurrency(account, "g", 1, MAX).await.unwrap();
    check_error(
        control.put_reserved_concurrency(account, "none", 1, MAX).await,
        "NotFound",
        &format!("Function not found: {}", fixture.arn("function:none")),
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn provisioned_concurrency_is_recorded() {
    let fixture = Fixture::new().await;
    let control = &fixture.control;
    let target = fixture.named("f", "1");
    let missing = "No Provisioned Concurrency Config found for this function";
    check_error(
        control.provisioned_concurrency(&target).await,
        "ProvisionedConcurrencyConfigNotFound",
        missing,
    );
    let put = control.put_provisioned_concurrency(&target, 5, MAX).await.unwrap();
    assert_eq!((put.requested, put.qualifier.as_str()), (5, "1"));
    assert_eq!(control.provisioned_concurrency(&target).await.unwrap(), put);
    assert_eq!(
        control.unreserved_concurrency(&fixture.account, MAX).await.unwrap(),
        MAX - 5
    );
    control.delete_provisioned_concurrency(&target).await.unwrap();
    control.delete_provisioned_concurrency(&target).await.unwrap();
    check_error(
        control.provisioned_concurrency(&target).await,
        "ProvisionedConcurrencyConfigNotFound",
        missing,
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn provisioned_concurrency_that_cannot_be() {
    let fixture = Fixture::new().await;
    let (control, account) = (&fixture.control, &fixture.account);
    let put = async |name: &str, qualifier: &str, count: u64| {
        control
            .put_provisioned_concurrency(&fixture.named(name, qualifier), count, MAX)
            .await
    };
    let latest = "Provisioned Concurrency Configs cannot be applied to unpublished function versions.";
    check_error(put("f", "$LATEST", 1).await, "Invalid", latest);
    check_error(
        control.provisioned_concurrency(&fixture.named("f", "$LATEST")).await,
        "Invalid",
        "The function resource provided must be an alias or a published version.",
    );
    let alias = |rest: &str| format!("Cannot find alias arn: {}", fixture.arn(rest));
    check_error(put("f", "noalias", 1).await, "NotFound", &alias("function:f:noalias"));
    check_error(
        put("none", "noalias", 1).await,
        "NotFound",
        &alias("function:none:noalias"),
    );
    let version = format!("Function not found: {}", fixture.arn("function:f:10"));
    check_error(put("f", "10", 1).await, "NotFound", &version);
    check_error(
        put("f", "1", 1_001).await,
        "Invalid",
        "Specified ConcurrentExecutions for function is greater than account's unreserved concurrency [1000].",
    );
    check_error(
        put("f", "1", 901).await,
        "Invalid",
        "Specified ConcurrentExecutions for function decreases account's UnreservedConcurrentExecution below its \
         minimum value of [100].",
    );
    put("f", "1", 900).await.unwrap();
    put("f", "1", 3).await.unwrap();
    check_error(
        put("f", "live", 1).await,
        "Conflict",
        "Alias can't be used for Provisioned Concurrency configuration on an already Provisioned version",
    );
    check_error(
        control.put_reserved_concurrency(account, "f", 2, MAX).await,
        "Invalid",
        " ReservedConcurrentExecutions  2 should not be lower than function's total provisioned concurrency [3].",
    );
    control.put_reserved_concurrency(account, "f", 4, MAX).await.unwrap();
    check_error(
        put("f", "1", 5).await,
        "Invalid",
        "Requested Provisioned Concurrency should not be greater than the reservedConcurrentExecution for function",
    );
    assert_eq!(
        control.unreserved_concurrency(account, MAX).await.unwrap(),
        MAX - 4,
        "a share holds what it provisions"
    );
    control
        .delete_provisioned_concurrency(&fixture.named("f", "1"))
        .await
        .unwrap();
    put("f", "live", 1).await.unwrap();
    check_error(
        put("f", "1", 1).await,
        "Conflict",
        "Version is pointed by a Provisioned Concurrency alias",
    );
    control.delete_alias(account, "f", "live").await.unwrap();
    assert!(
        control
            .provisioned_concurrencies(account, "f", &page(None, 50))
            .await
            .unwrap()
            .items
            .is_empty()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn wishes_are_listed_by_pages() {
    let fixture = Fixture::new().await;
    let (control, account) = (&fixture.control, &fixture.account);
    fixture.insert("f", 2).await;
    fixture.insert("f", 3).await;
    for version in ["1", "2", "3"] {
        control
            .put_provisioned_concurrency(&fixture.named("f", version), 1, MAX)
            .await
            .unwrap();
    }
    let first = control
        .provisioned_concurrencies(account, "f", &page(None, 2))
        .await
        .unwrap();
    let second = control
        .provisioned_concurrencies(account, "f", &page(first.next, 2))
        .await
        .unwrap();
    let names = |items: &[crate::ProvisionedConcurrency]| {
        items
            .iter()
            .map(|item| item.qualifier.clone())
            .collect::<Vec<_>>()
            .join(" ")
    };
    assert_eq!(
        (names(&first.items), names(&second.items), second.next),
        ("1 2".into(), "3".into(), None)
    );
}

/// What an alias that asks for environments serves: the versions of its plan, and the one that it is held at.
async fn plan_of_live(fixture: &Fixture) -> (Vec<(String, u32)>, Option<String>) {
    let plan = fixture.control.provision_plan(&fixture.account, "f").await.unwrap();
    let wish = plan.iter().find(|wish| wish.asked.qualifier == "live").unwrap();
    let parts = wish.parts.iter().map(|part| (part.version.clone(), part.count));
    (parts.collect(), wish.held.as_ref().map(|held| held.version.clone()))
}

async fn move_live(fixture: &Fixture, version: &str) {
    let change = AliasChange {
        version: Some(version.to_owned()),
        ..AliasChange::default()
    };
    let moved = fixture
        .control
        .update_alias(&fixture.account, "f", "live", change)
        .await;
    assert_eq!(moved.unwrap().version, version);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_alias_that_asks_is_held_while_it_moves() {
    let fixture = Fixture::new().await;
    let (control, account) = (&fixture.control, &fixture.account);
    fixture.insert("f", 2).await;
    fixture.insert("f", 3).await;
    control
        .put_provisioned_concurrency(&fixture.named("f", "live"), 5, MAX)
        .await
        .unwrap();
    assert_eq!(plan_of_live(&fixture).await, (vec![("1".to_owned(), 5)], None));
    move_live(&fixture, "2").await;
    let held = Some("1".to_owned());
    assert_eq!(plan_of_live(&fixture).await, (vec![("2".to_owned(), 5)], held.clone()));
    move_live(&fixture, "3").await;
    assert_eq!(plan_of_live(&fixture).await, (vec![("3".to_owned(), 5)], held));
    control.release_alias(account, "f", "live");
    assert_eq!(plan_of_live(&fixture).await, (vec![("3".to_owned(), 5)], None));
    move_live(&fixture, "1").await;
    move_live(&fixture, "3").await;
    assert_eq!(
        plan_of_live(&fixture).await,
        (vec![("3".to_owned(), 5)], None),
        "it is back where it was"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_alias_that_does_not_ask_moves_at_once() {
    let fixture = Fixture::new().await;
    let (control, account) = (&fixture.control, &fixture.account);
    fixture.insert("f", 2).await;
    move_live(&fixture, "2").await;
    control
        .put_provisioned_concurrency(&fixture.named("f", "live"), 5, MAX)
        .await
        .unwrap();
    assert_eq!(plan_of_live(&fixture).await, (vec![("2".to_owned(), 5)], None));
    move_live(&fixture, "1").await;
    // What is taken back holds nothing.
    control
        .delete_provisioned_concurrency(&fixture.named("f", "live"))
        .await
        .unwrap();
    assert!(control.provision_plan(account, "f").await.unwrap().is_empty());
    control
        .put_provisioned_concurrency(&fixture.named("f", "live"), 1, MAX)
        .await
        .unwrap();
    assert_eq!(plan_of_live(&fixture).await, (vec![("1".to_owned(), 1)], None));
    assert_eq!(
        control.provisioned_functions().await.unwrap(),
        [(account.clone(), "f".to_owned())]
    );
}
