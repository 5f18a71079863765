use super::*;
use crate::{AccountUsage, RuntimeManagement};

#[tokio::test(flavor = "multi_thread")]
async fn runtime_management() {
    let fixture = Fixture::new().await;
    let control = &fixture.control;
    let latest = fixture.named("f", "$LATEST");
    let mode = |mode: &str, arn: Option<&str>| RuntimeManagement {
        update_on: mode.to_owned(),
        runtime_version_arn: arn.map(str::to_owned),
    };
    let arn = Some("arn:aws:lambda:us-east-1::runtime:0123");
    assert_eq!(control.runtime_management(&latest).await.unwrap(), mode("Auto", None));
    for setting in [mode("FunctionUpdate", None), mode("Manual", arn), mode("Auto", None)] {
        control.put_runtime_management(&latest, &setting).await.unwrap();
        assert_eq!(control.runtime_management(&latest).await.unwrap(), setting);
    }
    for setting in [mode("Manual", None), mode("Auto", arn)] {
        let refused = control.put_runtime_management(&latest, &setting).await;
        assert!(
            matches!(refused, Err(ControlError::Invalid { .. })),
            "{setting:?}: {refused:?}"
        );
    }
    let missing = format!("Function not found: {}", fixture.arn("function:f:9"));
    check_error(
        control.runtime_management(&fixture.named("f", "9")).await,
        "NotFound",
        &missing,
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn recursion() {
    let fixture = Fixture::new().await;
    let (control, account) = (&fixture.control, &fixture.account);
    assert_eq!(control.recursive_loop(account, "f").await.unwrap(), "Terminate");
    control.put_recursive_loop(account, "f", "Allow").await.unwrap();
    assert_eq!(control.recursive_loop(account, "f").await.unwrap(), "Allow");
    let missing = format!("Function not found: {}", fixture.arn("function:none"));
    check_error(
        control.put_recursive_loop(account, "none", "Allow").await,
        "NotFound",
        &missing,
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn usage_counts_functions_and_not_their_versions() {
    let fixture = Fixture::new().await;
    fixture.insert("g", 0).await;
    let usage = fixture.control.account_usage(&fixture.account).await.unwrap();
    assert_eq!(
        usage,
        AccountUsage {
            functions: 2,
            code_bytes: 0
        }
    );
    let other = "999999999999".parse().unwrap();
    assert_eq!(
        fixture.control.account_usage(&other).await.unwrap(),
        AccountUsage::default()
    );
}
