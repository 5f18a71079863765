use super::*;
use crate::{STARTS_MAX, StartRecord};
use api::{ColdStart, StartPart, TierBytes};
use std::time::Duration;

fn start(at_ms: u64) -> StartRecord {
    StartRecord {
        version: "$LATEST".to_owned(),
        request_id: format!("request-{at_ms}"),
        start: ColdStart {
            begin_ms: at_ms,
            parts: vec![StartPart::new("mount", Duration::ZERO, Duration::from_micros(1_500))],
            total_us: 40_000,
            tiers: vec![TierBytes {
                tier: "disk".to_owned(),
                chunks: 3,
                bytes: 1_000,
            }],
            fell_back: None,
        },
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_newest_cold_starts_come_first() {
    let fixture = Fixture::new().await;
    let (control, account) = (&fixture.control, &fixture.account);
    for at in [3, 1, 2] {
        control.append_start(account, "f", &start(at)).await.unwrap();
    }
    control.append_start(account, "g", &start(9)).await.unwrap();
    assert_eq!(control.starts(account, "f", 2).await.unwrap(), [start(3), start(2)]);
    control.delete_function(account, "f", None).await.unwrap();
    assert!(control.starts(account, "f", 2).await.unwrap().is_empty());
    assert_eq!(control.starts(account, "g", 2).await.unwrap(), [start(9)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_oldest_cold_starts_are_forgotten() {
    let fixture = Fixture::new().await;
    let (control, account) = (&fixture.control, &fixture.account);
    // All but the last few are put there at once: a thousand commits take their time.
    let mut transaction = control.write().await.unwrap();
    sqlx::query(
        "WITH RECURSIVE numbers (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < $1)
         INSERT INTO cold_starts (account, name, begin_ms, request_id, version, record)
         SELECT $2, 'f', n, 'r', '$LATEST', '{}' FROM numbers",
    )
    .bind(i64::from(STARTS_MAX))
    .bind(account.as_str())
    .execute(&mut *transaction)
    .await
    .unwrap();
    transaction.commit().await.unwrap();
    for at in 1..=3 {
        control
            .append_start(account, "f", &start(u64::from(STARTS_MAX) + at))
            .await
            .unwrap();
    }
    let row: (i64, i64) = sqlx::query_as("SELECT COUNT(*), MIN(begin_ms) FROM cold_starts")
        .fetch_one(control.pool())
        .await
        .unwrap();
    assert_eq!(row, (i64::from(STARTS_MAX), 4));
}

fn restored(version: &str, at_ms: u64, total_us: u64) -> StartRecord {
    StartRecord {
        version: version.to_owned(),
        request_id: format!("request-{at_ms}"),
        start: ColdStart {
            begin_ms: at_ms,
            parts: vec![StartPart::new("restore", Duration::ZERO, Duration::from_millis(30))],
            total_us,
            ..ColdStart::default()
        },
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_version_that_restores_slower_than_the_one_before_it_is_found() {
    let fixture = Fixture::new().await;
    let (control, account) = (&fixture.control, &fixture.account);
    let mut at_ms = 0;
    let mut append = async |version: &str, total_us: u64| {
        at_ms += 1;
        let record = restored(version, at_ms, total_us);
        control.append_start(account, "f", &record).await.unwrap();
    };
    for total_us in [50_000, 52_000, 400_000] {
        append("2", total_us).await;
    }
    // Restored too seldom to be compared with.
    append("9", 1_000).await;
    for total_us in [90_000, 10_000] {
        append("10", total_us).await;
    }
    assert_eq!(control.slower_restores(account, "f", "10").await.unwrap(), None);
    append("10", 95_000).await;
    let found = control.slower_restores(account, "f", "10").await.unwrap().unwrap();
    assert_eq!((found.before, found.before_median_us), (2, 52_000));
    assert_eq!((found.version, found.median_us), (10, 90_000));
    for version in ["2", "9", "$LATEST"] {
        assert_eq!(control.slower_restores(account, "f", version).await.unwrap(), None);
    }
}
