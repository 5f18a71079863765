use super::*;
use crate::{LogGroupName, LogPosition, LogRead, LogScan, StreamList};
use api::{LogBatch, LogEvent};

const DAY_MS: u64 = 86_400_000;
const GROUP: &str = "/aws/lambda/f";

fn batch(fixture: &Fixture, stream: &str, lines: &[(u64, &str)]) -> LogBatch {
    let event = |(timestamp_ms, message): &(u64, &str)| LogEvent {
        timestamp_ms: *timestamp_ms,
        message: (*message).to_owned(),
    };
    LogBatch {
        account: fixture.account.clone(),
        group: GROUP.to_owned(),
        stream: stream.to_owned(),
        events: lines.iter().map(event).collect(),
    }
}

async fn append(fixture: &Fixture, stream: &str, lines: &[(u64, &str)]) {
    fixture
        .control
        .append_logs(vec![batch(fixture, stream, lines)])
        .await
        .unwrap();
}

fn group(fixture: &Fixture) -> LogGroupName<'_> {
    LogGroupName {
        account: &fixture.account,
        name: GROUP,
    }
}

async fn read(fixture: &Fixture, read: LogRead<'_>) -> LogScan {
    let group = fixture.control.log_group(group(fixture)).await.unwrap();
    fixture.control.read_logs(&group, &read, &|_| true).await.unwrap()
}

fn texts(scan: &LogScan) -> String {
    scan.lines
        .iter()
        .map(|line| line.message.as_str())
        .collect::<Vec<_>>()
        .join(" ")
}

#[tokio::test(flavor = "multi_thread")]
async fn lines_are_read_in_the_order_of_their_times() {
    let fixture = Fixture::new().await;
    let now = clock();
    append(&fixture, "one", &[(now, "a"), (now, "b"), (now + 2, "d")]).await;
    append(&fixture, "two", &[(now + 1, "c"), (now + 3, "e\0")]).await;
    let all = read(&fixture, LogRead::default()).await;
    assert_eq!((texts(&all).as_str(), all.more), ("a b c d e\u{fffd}", None));
    assert_eq!(
        (all.lines[2].stream.as_str(), all.lines[2].position.timestamp_ms),
        ("two", now + 1)
    );
    let one = ["one".to_owned()];
    let check = async |expected: &str, asked: LogRead<'_>| {
        assert_eq!(texts(&read(&fixture, asked).await), expected, "{asked:?}");
    };
    check(
        "a b d",
        LogRead {
            streams: Some(&one),
            ..LogRead::default()
        },
    )
    .await;
    check(
        "a b d",
        LogRead {
            stream_prefix: "o",
            ..LogRead::default()
        },
    )
    .await;
    check(
        "c d",
        LogRead {
            from_ms: now + 1,
            until_ms: now + 3,
            ..LogRead::default()
        },
    )
    .await;
    check(
        "d",
        LogRead {
            streams: Some(&one),
            from_ms: now + 1,
            ..LogRead::default()
        },
    )
    .await;
    check(
        "d e\u{fffd}",
        LogRead {
            from_end: true,
            lines_max: 2,
            ..LogRead::default()
        },
    )
    .await;
    check(
        "a b",
        LogRead {
            bytes_max: 2,
            ..LogRead::default()
        },
    )
    .await;
    check(
        "a",
        LogRead {
            bytes_max: 0,
            ..LogRead::default()
        },
    )
    .await;
    let none = ["none".to_owned()];
    let found = fixture.control.log_group(group(&fixture)).await.unwrap();
    let asked = LogRead {
        streams: Some(&none),
        ..LogRead::default()
    };
    let error = fixture.control.read_logs(&found, &asked, &|_| true).await;
    check_error(error, "NotFound", "The specified log stream does not exist.");
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_meet_without_gap_or_overlap() {
    let fixture = Fixture::new().await;
    let now = clock();
    // Many lines of one millisecond, in two statements and three fetches, so that pages end within all of them.
    let lines: Vec<String> = (0..2_500).map(|number| number.to_string()).collect();
    let pairs: Vec<(u64, &str)> = lines
        .iter()
        .enumerate()
        .map(|(at, line)| (now + at as u64 / 900, line.as_str()))
        .collect();
    append(&fixture, "one", &pairs).await;
    let mut found = Vec::new();
    let mut after = None;
    loop {
        let scan = read(
            &fixture,
            LogRead {
                after,
                lines_max: 700,
                ..LogRead::default()
            },
        )
        .await;
        found.extend(scan.lines.iter().map(|line| line.message.clone()));
        after = scan.lines.last().map(|line| line.position);
        if scan.more.is_none() {
            break;
        }
        assert_eq!(scan.more, after);
    }
    assert_eq!(found, lines);
    let mut backward = Vec::new();
    let mut before = Some(LogPosition {
        timestamp_ms: u64::MAX,
        sequence: u64::MAX,
    });
    while let Some(place) = before {
        let scan = read(
            &fixture,
            LogRead {
                before: Some(place),
                lines_max: 700,
                ..LogRead::default()
            },
        )
        .await;
        backward.splice(0..0, scan.lines.iter().map(|line| line.message.clone()));
        before = scan
            .lines
            .first()
            .map(|line| line.position)
            .filter(|_| scan.more.is_some());
    }
    assert_eq!(backward, lines);
    let odd = |line: &str| line == "7" || line == "2499";
    let group = fixture.control.log_group(group(&fixture)).await.unwrap();
    let scan = fixture
        .control
        .read_logs(
            &group,
            &LogRead {
                lines_max: 1,
                ..LogRead::default()
            },
            &odd,
        )
        .await
        .unwrap();
    assert_eq!(texts(&scan), "7");
    let rest = LogRead {
        after: scan.more,
        ..LogRead::default()
    };
    let scan = fixture.control.read_logs(&group, &rest, &odd).await.unwrap();
    assert_eq!((texts(&scan).as_str(), scan.more), ("2499", None));
}

#[tokio::test(flavor = "multi_thread")]
async fn groups_and_streams_are_listed() {
    let fixture = Fixture::new().await;
    let (control, account) = (&fixture.control, &fixture.account);
    let now = clock();
    append(&fixture, "b", &[(now, "1")]).await;
    append(&fixture, "a", &[(now + 5, "2")]).await;
    append(&fixture, "b", &[(now - 5, "3")]).await;
    append(&fixture, "c", &[]).await;
    control
        .create_log_group(LogGroupName {
            account,
            name: "/aws/other",
        })
        .await
        .unwrap();
    let exists = control
        .create_log_group(LogGroupName {
            account,
            name: "/aws/other",
        })
        .await;
    check_error(exists, "Conflict", "The specified log group already exists");
    let names = async |prefix: &str, after: &str, limit: u32| {
        let groups = control.log_groups(account, prefix, after, limit).await.unwrap();
        groups
            .iter()
            .map(|group| group.name.clone())
            .collect::<Vec<_>>()
            .join(" ")
    };
    assert_eq!(names("", "", 9).await, "/aws/lambda/f /aws/other");
    assert_eq!(names("", "", 1).await, "/aws/lambda/f");
    assert_eq!(names("", "/aws/lambda/f", 9).await, "/aws/other");
    assert_eq!(names("/aws/o", "", 9).await, "/aws/other");
    let found = control.log_group(group(&fixture)).await.unwrap();
    assert_eq!(found.stored_bytes, 3 * 27);
    let streams = async |list: StreamList<'_>| {
        let streams = control
            .log_streams(&found, &StreamList { limit: 9, ..list })
            .await
            .unwrap();
        streams
            .iter()
            .map(|stream| stream.name.clone())
            .collect::<Vec<_>>()
            .join(" ")
    };
    assert_eq!(streams(StreamList::default()).await, "a b");
    assert_eq!(
        streams(StreamList {
            descending: true,
            ..StreamList::default()
        })
        .await,
        "b a"
    );
    assert_eq!(
        streams(StreamList {
            by_time: true,
            ..StreamList::default()
        })
        .await,
        "b a"
    );
    assert_eq!(
        streams(StreamList {
            by_time: true,
            descending: true,
            ..StreamList::default()
        })
        .await,
        "a b"
    );
    assert_eq!(
        streams(StreamList {
            prefix: "b",
            ..StreamList::default()
        })
        .await,
        "b"
    );
    assert_eq!(
        streams(StreamList {
            after: Some((0, "a")),
            ..StreamList::default()
        })
        .await,
        "b"
    );
    let latest = StreamList {
        by_time: true,
        descending: true,
        after: Some((now + 5, "a")),
        ..StreamList::default()
    };
    assert_eq!(streams(latest).await, "b");
    let b = &control
        .log_streams(
            &found,
            &StreamList {
                limit: 1,
                prefix: "b",
                ..StreamList::default()
            },
        )
        .await
        .unwrap()[0];
    assert_eq!((b.first_ms, b.last_ms), (Some(now - 5), Some(now)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_group_takes_its_lines_with_it() {
    let fixture = Fixture::new().await;
    append(&fixture, "a", &[(clock(), "1")]).await;
    fixture.control.delete_log_group(group(&fixture)).await.unwrap();
    let none = "The specified log group does not exist.";
    check_error(
        fixture.control.delete_log_group(group(&fixture)).await,
        "NotFound",
        none,
    );
    check_error(fixture.control.log_group(group(&fixture)).await, "NotFound", none);
    append(&fixture, "a", &[(clock(), "2")]).await;
    assert_eq!(texts(&read(&fixture, LogRead::default()).await), "2");
    let other: Account = "999999999999".parse().unwrap();
    let foreign = LogGroupName {
        account: &other,
        name: GROUP,
    };
    check_error(fixture.control.log_group(foreign).await, "NotFound", none);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_too_old_is_forgotten() {
    let fixture = Fixture::new().await;
    let now = clock();
    append(&fixture, "old", &[(now - 31 * DAY_MS, "a")]).await;
    append(&fixture, "new", &[(now - 29 * DAY_MS, "b"), (now, "c")]).await;
    assert_eq!(texts(&read(&fixture, LogRead::default()).await), "b c");
    let found = fixture.control.log_group(group(&fixture)).await.unwrap();
    assert_eq!(found.stored_bytes, 2 * 27);
    let streams = fixture
        .control
        .log_streams(
            &found,
            &StreamList {
                limit: 9,
                ..StreamList::default()
            },
        )
        .await
        .unwrap();
    assert_eq!(streams.len(), 1, "an empty stream goes too");
    fixture
        .control
        .set_log_retention(group(&fixture), Some(7))
        .await
        .unwrap();
    fixture.control.trim_logs().await.unwrap();
    assert_eq!(texts(&read(&fixture, LogRead::default()).await), "c");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_group_that_is_too_large_loses_its_oldest_lines() {
    let fixture = Fixture::new().await;
    let now = clock();
    append(&fixture, "s", &[(now, "a"), (now, "b"), (now, "c"), (now, "d")]).await;
    // As if it had almost a gibibyte of lines beside these: the next one is 28 bytes too much, more than one line has.
    sqlx::query("UPDATE log_groups SET stored_bytes = $1")
        .bind((1_i64 << 30) + 1)
        .execute(fixture.control.pool())
        .await
        .unwrap();
    append(&fixture, "s", &[(now, "e")]).await;
    assert_eq!(texts(&read(&fixture, LogRead::default()).await), "c d e");
    assert_eq!(
        fixture.control.log_group(group(&fixture)).await.unwrap().stored_bytes,
        (1 << 30) + 28 - 2 * 27
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn lines_survive_the_end_of_the_process() {
    let fixture = Fixture::new().await;
    append(&fixture, "s", &[(clock(), "a")]).await;
    let fixture = fixture.reopened().await;
    assert_eq!(texts(&read(&fixture, LogRead::default()).await), "a");
}
