use super::*;
use crate::zone::fragment::{Cut, cut_chunk};
use proptest::prelude::*;

fn read(dialect: Dialect, bytes: &[u8]) -> Vec<Result<Reply, String>> {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        let mut replies = Replies::new(bytes, dialect);
        let mut read = Vec::new();
        loop {
            let reply = replies.next().await.map_err(|error| error.to_string());
            let ends = reply.is_err();
            read.push(reply);
            if ends {
                return read;
            }
        }
    })
}

const END: &str = "it closed the connection";

#[test]
fn meta_answers_are_read() {
    let cases: [(&str, Vec<Result<Reply, &str>>); 8] = [
        (
            "EN\r\nHD\r\nNF\r\n",
            vec![Ok(Reply::Nothing), Ok(Reply::Done), Ok(Reply::Nothing), Err(END)],
        ),
        (
            "VA 5 f0\r\na\r\nbc\r\nVA 0\r\n\r\n",
            vec![
                Ok(Reply::Value("a\r\nbc".into())),
                Ok(Reply::Value(Bytes::new())),
                Err(END),
            ],
        ),
        ("VA 3\r\nabc", vec![Err(END)]),
        (
            "VA 3\r\nabcde\r\n",
            vec![Err("it answered `de`, which is no answer to what was asked")],
        ),
        (
            "VA 9999999\r\n",
            vec![Err("it announced 9999999 bytes: at most 524344 are stored")],
        ),
        (
            "VA -1\r\n",
            vec![Err("it answered `VA -1`, which is no answer to what was asked")],
        ),
        (
            "SERVER_ERROR out of memory\r\nHD\r\n",
            vec![
                Ok(Reply::Refused("SERVER_ERROR out of memory".into())),
                Ok(Reply::Done),
                Err(END),
            ],
        ),
        (
            "CLIENT_ERROR unauthenticated\r\n",
            vec![Err(
                "it refused the user name and password: CLIENT_ERROR unauthenticated",
            )],
        ),
    ];
    for (bytes, expected) in cases {
        let expected: Vec<_> = expected.into_iter().map(|reply| reply.map_err(str::to_owned)).collect();
        assert_eq!(read(Dialect::Meta, bytes.as_bytes()), expected, "{bytes:?}");
    }
    let endless = read(Dialect::Meta, &[b'x'; 5000]);
    assert!(endless[0].as_ref().unwrap_err().contains("xxx"), "{endless:?}");
}

fn binary_answer(operation: u8, status: u8, extras: &[u8], value: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0x81, operation, 0, 0, extras.len() as u8, 0, 0, status];
    bytes.extend(((extras.len() + value.len()) as u32).to_be_bytes());
    bytes.extend([0; 12]);
    [&bytes, extras, value].concat()
}

#[test]
fn binary_answers_are_read() {
    let answers = [
        binary_answer(0, 0, &[0; 4], b"value"),
        binary_answer(0, 1, b"", b"Not found"),
        binary_answer(1, 0, b"", b""),
        binary_answer(1, 0x82, b"", b"Out of memory"),
        binary_answer(0, 0x20, b"", b"Auth failure."),
    ];
    let expected = [
        Ok(Reply::Value("value".into())),
        Ok(Reply::Nothing),
        Ok(Reply::Done),
        Ok(Reply::Refused("Out of memory".into())),
        Err("it refused the user name and password: Auth failure.".to_owned()),
    ];
    assert_eq!(read(Dialect::Binary, &answers.concat()), expected);
    assert!(read(Dialect::Binary, b"VA 5\r\nabcdefghijklmnopqrstuvwxyz")[0].is_err());
}

#[test]
fn commands_are_written() {
    let stored = Bytes::from_static(b"0123456789");
    let fragment = cut_chunk(ChunkId::of(&stored), &stored, Cut::for_nodes(5)).remove(0);
    let id = fragment.id;
    let header = fragment.header();
    let set = Command::Set { fragment };
    let written = |dialect: Dialect, command: &Command| {
        let mut bytes = dialect.command(command);
        bytes.copy_to_bytes(bytes.remaining())
    };
    let expected = [format!("ms lambent1:{id} 59\r\n").as_bytes(), &header, b"012\r\n"].concat();
    assert_eq!(written(Dialect::Meta, &set), expected);
    let get = Command::Get { id, stored_bytes: 10 };
    assert_eq!(written(Dialect::Meta, &get), format!("mg lambent1:{id} v\r\n"));
    let name = ValueName::from_bytes(*id.as_bytes());
    let keep = Command::Keep {
        name,
        value: Bytes::from_static(b"sealed"),
        life_s: 300,
    };
    assert_eq!(
        written(Dialect::Meta, &keep),
        format!("ms lambent-value1:{id} 6 T300\r\nsealed\r\n")
    );
    let kept = written(Dialect::Binary, &keep);
    assert_eq!(&kept[28..32], 300_u32.to_be_bytes(), "the time to live");
    assert!(kept.ends_with(format!("lambent-value1:{id}sealed").as_bytes()));
    assert_eq!(
        written(Dialect::Meta, &Command::Look { name }),
        format!("mg lambent-value1:{id} v\r\n")
    );
    let key = Key::Fragment(id);
    assert_eq!(
        written(Dialect::Meta, &Command::Delete { key }),
        format!("md lambent1:{id}\r\n")
    );
    let binary = written(Dialect::Binary, &set);
    assert_eq!(&binary[..12], [0x80, 1, 0, 73, 8, 0, 0, 0, 0, 0, 0, 8 + 73 + 59]);
    assert!(binary.ends_with(b"012"));
    assert_eq!(&**Dialect::Meta.login("me", "pass"), b"set login 0 0 7\r\nme pass\r\n");
    assert!(Dialect::Binary.login("me", "pass").ends_with(b"PLAIN\0me\0pass"));
}

proptest! {
    #[test]
    fn any_bytes_end_in_an_error(bytes in proptest::collection::vec(any::<u8>(), 0..300), binary: bool) {
        let dialect = if binary { Dialect::Binary } else { Dialect::Meta };
        prop_assert!(read(dialect, &bytes).last().unwrap().is_err());
    }
}
