//! What does a warm invocation cost, without the gateway?
//!
//! `cargo bench -p worker --bench invoke`, as root, runs a trivial handler in the real sandbox and prints, for several
//! linger times (see `FunctionSettings::linger`): half and 99 of 100 of the times of one caller that invokes again at
//! once, of one that pauses 30 ms, so that the environment is frozen and thawed each time (but for the last linger
//! time, which shows what the pause alone costs), and the rate of ten callers at ten environments.

#[path = "../tests/functions/fixture.rs"]
#[expect(dead_code, reason = "the bench needs a part of it")]
mod fixture;
#[path = "../tests/functions/handler.rs"]
#[expect(dead_code, reason = "the bench has no extensions")]
mod handler;

use api::{Lease, Worker};
use fixture::{Fixture, invocation, lease};
use serde_json::json;
use std::process::ExitCode;
use std::sync::Arc;
use std::thread::available_parallelism;
use std::time::{Duration, Instant};
use worker::FunctionSettings;

const ROUNDS: usize = 3000;
const PAUSED_ROUNDS: usize = 200;
const CALLERS: usize = 10;
const RATE_TIME: Duration = Duration::from_secs(5);
const LINGERS_MS: [u64; 5] = [0, 1, 5, 20, 1000];
const PAUSE: Duration = Duration::from_millis(30);

fn main() -> ExitCode {
    match std::env::args().nth(1).unwrap_or_default().as_str() {
        fixture::SPAWNER => sandbox::run_spawner(),
        fixture::RUNTIME => handler::main(),
        _ => {
            let runtime = tokio::runtime::Builder::new_multi_thread()
                .enable_all()
                .build()
                .expect("a runtime");
            runtime.block_on(measure());
            ExitCode::SUCCESS
        }
    }
}

async fn measure() {
    println!("{} processors", available_parallelism().map_or(0, usize::from));
    println!("linger ms | again at once p50 p99 us | after a pause p50 p99 us | {CALLERS} callers per s, environments");
    for linger_ms in LINGERS_MS {
        let linger = Duration::from_millis(linger_ms);
        let settings = FunctionSettings {
            linger,
            ..FunctionSettings::default()
        };
        let fixture = Fixture::new(settings).await;
        let lease = Arc::new(lease("one"));
        let at_once = times(&fixture, &lease, ROUNDS, Duration::ZERO).await;
        let paused = times(&fixture, &lease, PAUSED_ROUNDS, PAUSE).await;
        let (rate, environments) = rate(&fixture, &lease).await;
        println!(
            "{linger_ms:9} | {:18} {:5} | {:19} {:5} | {rate:16.0} {environments:13}",
            part(&at_once, 50),
            part(&at_once, 99),
            part(&paused, 50),
            part(&paused, 99),
        );
        fixture.end().await;
    }
}

/// Sorted.
async fn times(fixture: &Fixture, lease: &Arc<Lease>, rounds: usize, pause: Duration) -> Vec<Duration> {
    let event = json!({"do": "sleep", "ms": 0});
    let mut times = Vec::with_capacity(rounds);
    for _ in 0..rounds {
        tokio::time::sleep(pause).await;
        let begin = Instant::now();
        let reply = fixture.functions.invoke(Arc::clone(lease), invocation(&event)).await;
        times.push(begin.elapsed());
        assert!(reply.is_ok_and(|reply| reply.error.is_none()));
    }
    times.sort_unstable();
    times
}

async fn rate(fixture: &Fixture, lease: &Arc<Lease>) -> (f64, u64) {
    let event = json!({"do": "sleep", "ms": 0});
    // All environments are there before the time begins.
    let slow = json!({"do": "sleep", "ms": 500});
    let warm: Vec<_> = (0..CALLERS)
        .map(|_| spawn(fixture, lease, slow.clone(), None))
        .collect();
    for one in warm {
        one.await.expect("no panic");
    }
    let started = fixture.functions.report().started;
    let begin = Instant::now();
    let callers: Vec<_> = (0..CALLERS)
        .map(|_| spawn(fixture, lease, event.clone(), Some(begin + RATE_TIME)))
        .collect();
    let mut count = 0;
    for caller in callers {
        count += caller.await.expect("no panic");
    }
    let more = fixture.functions.report().started - started;
    (f64::from(count) / begin.elapsed().as_secs_f64(), CALLERS as u64 + more)
}

/// A caller that invokes once, or until a time.
fn spawn(
    fixture: &Fixture,
    lease: &Arc<Lease>,
    event: serde_json::Value,
    until: Option<Instant>,
) -> tokio::task::JoinHandle<u32> {
    let (functions, lease) = (Arc::clone(&fixture.functions), Arc::clone(lease));
    tokio::spawn(async move {
        let mut count = 0;
        loop {
            let reply = functions.invoke(Arc::clone(&lease), invocation(&event)).await;
            assert!(reply.is_ok_and(|reply| reply.error.is_none()));
            count += 1;
            if until.is_none_or(|until| Instant::now() >= until) {
                return count;
            }
        }
    })
}

fn part(sorted: &[Duration], per_cent: usize) -> u128 {
    sorted[(sorted.len() * per_cent / 100).min(sorted.len() - 1)].as_micros()
}
