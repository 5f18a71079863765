//! Against a real memcached, which `cargo xtask setup` installs; these tests write into it by themselves, as a server that
//! lies would.

use super::*;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use tempfile::TempDir;

const ARN: &str = "arn:aws:lambda:us-east-1:123456789012:function:f";
const OTHER_ARN: &str = "arn:aws:lambda:us-east-1:111122223333:function:f";
const TTL: Duration = Duration::from_secs(300);
const NOW_MS: u64 = 1_800_000_000_000;
/// Longer than anything here takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// A server of its own, gone with this.
struct Memcached {
    child: Child,
    directory: TempDir,
    port: u16,
}

impl Memcached {
    fn start() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let ports = directory.path().join("ports");
        let child = Command::new("setpriv")
            .args(["--pdeathsig", "KILL", "memcached", "--listen=127.0.0.1", "--user=root"])
            .args(["--udp-port=0", "--threads=1", "--memory-limit=64", "--port=-1"])
            .env("MEMCACHED_PORT_FILENAME", &ports)
            .stderr(Stdio::null())
            .spawn()
            .expect("memcached is installed by `cargo xtask setup`");
        let mut server = Self {
            child,
            directory,
            port: 0,
        };
        let begin = Instant::now();
        while server.port == 0 || TcpStream::connect(("127.0.0.1", server.port)).is_err() {
            assert!(begin.elapsed() < PATIENCE, "memcached does not listen");
            let text = std::fs::read_to_string(&ports).unwrap_or_default();
            let port = text.lines().find_map(|line| line.strip_prefix("TCP INET: "));
            server.port = port.and_then(|port| port.parse().ok()).unwrap_or(0);
            std::thread::sleep(Duration::from_millis(2));
        }
        // Nothing here is about time, but for the test that names another server.
        let text = format!("nodes = [\"127.0.0.1:{}\"]\nanswer_ms = 20000\n", server.port);
        std::fs::write(server.fleet(), text).unwrap();
        server
    }

    fn fleet(&self) -> std::path::PathBuf {
        self.directory.path().join("fleet.toml")
    }

    fn answers(&self, secret: u8) -> SharedAnswers {
        SharedAnswers::new(ValueTier::open(&self.fleet()), DataKey::from_bytes([secret; KEY_BYTES]))
    }

    fn ask(&self, command: &[u8]) -> BufReader<TcpStream> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        stream.write_all(command).unwrap();
        BufReader::new(stream)
    }

    /// What lies under a name.
    fn stored(&self, name: ValueName) -> Option<Vec<u8>> {
        let mut reader = self.ask(format!("mg lambent-value1:{name} v\r\n").as_bytes());
        let mut line = String::new();
        reader.read_line(&mut line).unwrap();
        let bytes = line.strip_prefix("VA ")?.trim().parse().unwrap();
        let mut value = vec![0; bytes];
        reader.read_exact(&mut value).unwrap();
        Some(value)
    }

    fn store(&self, name: ValueName, value: &[u8]) {
        let head = format!("ms lambent-value1:{name} {}\r\n", value.len());
        let mut line = String::new();
        self.ask(&[head.as_bytes(), value, b"\r\n"].concat())
            .read_line(&mut line)
            .unwrap();
        assert_eq!(line, "HD\r\n");
    }
}

impl Drop for Memcached {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn sought(key: &Key) -> Sought<'_> {
    Sought { arn: ARN, key }
}

fn kept(body: &[u8]) -> Kept {
    Kept::copy_of("application/json", body, Instant::now())
}

async fn body(answers: &SharedAnswers, sought: Sought<'_>) -> Option<Vec<u8>> {
    let found = answers.find(sought, TTL, NOW_MS).await?;
    assert_eq!(found.content_type, "application/json");
    Some(found.body.to_vec())
}

/// Offers until the server has it: a connection must be opened first, and nobody is told when an answer has been kept.
async fn give(server: &Memcached, answers: &SharedAnswers, key: &Key, at_ms: u64) {
    let begin = Instant::now();
    while server.stored(answers.name(sought(key))).is_none() {
        assert!(begin.elapsed() < PATIENCE, "the answer is not kept");
        answers.offer(sought(key), &kept(b"answer"), (TTL, at_ms));
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Looks again while the node is left alone or late, as on a busy machine.
async fn seen(answers: &SharedAnswers, sought: Sought<'_>) -> Vec<u8> {
    let begin = Instant::now();
    loop {
        if let Some(body) = body(answers, sought).await {
            return body;
        }
        assert!(begin.elapsed() < PATIENCE, "the answer is not found");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn another_gateway_finds_the_answer_and_no_other_one() {
    let server = Memcached::start();
    let (key, other_key) = ([1; 32], [2; 32]);
    give(&server, &server.answers(7), &key, NOW_MS).await;
    let answers = server.answers(7);
    assert_eq!(seen(&answers, sought(&key)).await, b"answer");
    assert_eq!(body(&answers, sought(&other_key)).await, None);
    let of_another = Sought {
        arn: OTHER_ARN,
        key: &key,
    };
    assert_eq!(body(&answers, of_another).await, None);
    assert_eq!(body(&server.answers(8), sought(&key)).await, None, "another secret");
}

#[tokio::test]
async fn an_answer_says_itself_how_old_it_is() {
    let begin = Instant::now();
    let server = Memcached::start();
    let (answers, key) = (server.answers(7), [1; 32]);
    give(&server, &answers, &key, NOW_MS).await;
    assert_eq!(seen(&answers, sought(&key)).await, b"answer");
    let ttl_ms = u64::try_from(TTL.as_millis()).unwrap();
    let find = async |ttl, now_ms| answers.find(sought(&key), ttl, now_ms).await.is_some();
    assert!(!find(TTL, NOW_MS + ttl_ms).await, "a server that keeps it longer");
    assert!(
        !find(Duration::from_secs(5), NOW_MS + 6_000).await,
        "the tag of now decides"
    );
    assert!(!find(TTL, NOW_MS - 120_000).await, "an answer of the future");
    // It was none of the server's fault.
    assert!(answers.tier.report()[0].rejected == 0);
    let found = loop {
        if let Some(found) = answers.find(sought(&key), TTL, NOW_MS + 10_000).await {
            break found;
        }
        assert!(begin.elapsed() < PATIENCE, "the answer is not found");
    };
    assert!(
        !found.is_fresh(Duration::from_secs(10), Instant::now()),
        "its age comes with it"
    );
}

#[tokio::test]
async fn what_a_server_makes_up_is_a_miss() {
    let server = Memcached::start();
    let (answers, key, other_key) = (server.answers(7), [1; 32], [2; 32]);
    give(&server, &answers, &key, NOW_MS).await;
    assert_eq!(seen(&answers, sought(&key)).await, b"answer");
    let name = answers.name(sought(&key));
    let good = server.stored(name).unwrap();
    assert!(!good.windows(6).any(|bytes| bytes == b"answer"), "it is sealed");
    let mut flipped = good.clone();
    flipped[20] ^= 1;
    let cut = &good[..good.len() - 1];
    let made_up: &[u8] = b"\"an answer that the server made up\"";
    for bad in [flipped.as_slice(), cut, b"", made_up] {
        server.store(name, bad);
        let fresh = server.answers(7);
        let begin = Instant::now();
        // Until it has been seen: a connection may be late.
        while fresh.tier.report()[0].rejected == 0 {
            assert_eq!(body(&fresh, sought(&key)).await, None);
            assert!(begin.elapsed() < PATIENCE, "the lie is not found out");
        }
        assert_eq!(fresh.tier.report()[0].state, "left alone");
        while server.stored(name).is_some() {
            assert!(begin.elapsed() < PATIENCE, "the lie is not deleted");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
    // A good one of another request, under this one's name.
    server.store(answers.name(sought(&other_key)), &good);
    assert_eq!(body(&answers, sought(&other_key)).await, None);
}

#[tokio::test]
async fn a_dead_server_costs_a_moment_and_then_nothing() {
    let server = Memcached::start();
    // It takes connections, and says nothing.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = silent.local_addr().unwrap();
    std::fs::write(server.fleet(), format!("nodes = [\"{address}\"]\n")).unwrap();
    let (answers, key) = (server.answers(7), [1; 32]);
    let begin = Instant::now();
    let mut asked = 0;
    while answers.tier.report()[0].state != "left alone" {
        assert_eq!(body(&answers, sought(&key)).await, None);
        asked += 1;
        assert!(begin.elapsed() < PATIENCE, "the server is asked again and again");
    }
    assert!(asked >= 3, "{asked}");
    let skipped = answers.tier.report()[0].skipped;
    // Its half second may be over on a machine that stood still; then it is asked once more, and left alone for longer.
    while answers.tier.report()[0].skipped == skipped {
        assert_eq!(body(&answers, sought(&key)).await, None);
        assert!(begin.elapsed() < PATIENCE, "the server is asked again and again");
    }
}

#[tokio::test]
async fn an_answer_that_is_too_long_stays_here() {
    let server = Memcached::start();
    let (answers, key) = (server.answers(7), [1; 32]);
    give(&server, &answers, &key, NOW_MS).await;
    answers.offer(sought(&[2; 32]), &kept(&vec![0; VALUE_BYTES_MAX]), (TTL, NOW_MS));
    // Another on the same connection: what was offered before it has been written, or never will be.
    give(&server, &answers, &[3; 32], NOW_MS).await;
    assert_eq!(server.stored(answers.name(sought(&[2; 32]))), None);
}

#[test]
fn what_is_no_answer_is_not_read() {
    let good = [
        &[VERSION][..],
        &5_u64.to_le_bytes(),
        &2_u16.to_le_bytes(),
        b"ab",
        b"body",
    ]
    .concat();
    assert_eq!(read(&good), Some((5, "ab", &b"body"[..])));
    for bytes in 0..13 {
        assert_eq!(read(&good[..bytes]), None, "{bytes}");
    }
    let with = |at: usize, byte| {
        let mut changed = good.clone();
        changed[at] = byte;
        changed
    };
    assert_eq!(read(&with(0, 2)), None, "another version");
    assert_eq!(read(&with(9, 200)), None, "a type that is longer than all");
    assert_eq!(read(&with(11, 0xff)), None, "a type that is no text");
}
