use super::*;

fn retired() -> Root {
    Root {
        generation: 7,
        revision: 2,
        state: RootState::Retired,
        since_ms: 99,
        alarms: 1,
        salt: [0xab; SALT_BYTES],
    }
}

#[test]
fn roots_come_back_as_they_were_written() {
    let root = retired();
    let bytes = root.encode();
    let expected = format!(
        r#"{{"version":2,"generation":7,"revision":2,"state":"retired","since_ms":99,"alarms":1,"salt":"{}"}}"#,
        "ab".repeat(32)
    );
    assert_eq!(String::from_utf8(bytes.clone()).unwrap(), expected);
    assert_eq!(Root::decode(7, 2, &bytes), Ok(root.clone()));
    assert_eq!(format!("{root:?}"), "Root(7, Retired, salt ..)");
}

#[test]
fn roots_of_version_1_are_first_revisions() {
    let text = format!(
        r#"{{"version":1,"generation":1,"state":"active","salt":"{}"}}"#,
        "ab".repeat(32)
    );
    let root = Root::decode(1, 1, text.as_bytes()).unwrap();
    assert_eq!(root, Root::new(1, 0, [0xab; SALT_BYTES]));
    assert_eq!(
        Root::decode(1, 2, text.as_bytes()).unwrap_err(),
        "it says revision 1",
        "what version 1 wrote stands under the first key alone"
    );
}

#[test]
fn other_roots_are_refused_by_name() {
    let good = String::from_utf8(retired().encode()).unwrap();
    let cases = [
        (good.replace(":2,\"gen", ":3,\"gen"), "its version 3 is not known here"),
        (good.replace("\"state\"", "\"new\":0,\"state\""), "unknown field `new`"),
        (good.replace("retired", "asleep"), "unknown variant `asleep`"),
        (good.replace("generation\":7", "generation\":2"), "it says generation 2"),
        (good.replace("revision\":2", "revision\":3"), "it says revision 3"),
        (good.replace("abab", "xxxx"), "not 64 hexadecimal digits"),
        (String::new(), "EOF"),
    ];
    for (text, expected) in cases {
        let reason = Root::decode(7, 2, text.as_bytes()).unwrap_err();
        assert!(reason.contains(expected), "{text}: {reason}");
    }
}

#[test]
fn a_root_lives_in_order_and_an_alarm_takes_it_back() {
    use RootEvent as E;
    use RootState as S;
    let allowed = [
        (S::Active, E::Retire, S::Retired),
        (S::Retired, E::Expire, S::Expired),
        (S::Expired, E::Alarm, S::Retired),
        (S::Expired, E::Delete, S::Deleting),
        (S::Deleting, E::Emptied, S::Deleted),
    ];
    for state in [S::Active, S::Retired, S::Expired, S::Deleting, S::Deleted] {
        for event in [E::Retire, E::Expire, E::Alarm, E::Delete, E::Emptied] {
            let root = Root { state, ..retired() };
            let expected = allowed.iter().find(|(from, by, _)| (*from, *by) == (state, event));
            let found = root.apply(event, 500);
            assert_eq!(
                found.as_ref().ok().map(|root| root.state),
                expected.map(|allowed| allowed.2)
            );
            if let Ok(found) = found {
                assert_eq!((found.revision, found.since_ms, found.salt), (3, 500, root.salt));
                assert_eq!(found.alarms, if event == E::Alarm { 2 } else { 1 });
            }
        }
    }
}

#[test]
fn a_clock_that_goes_back_makes_no_root_old() {
    assert_eq!(retired().age_ms(100), 1);
    assert_eq!(retired().age_ms(5), 0);
}
