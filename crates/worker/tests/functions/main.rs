//! Environments in real sandboxes, from the first event to the last process. Runs as root.
//!
//! Without the usual harness, since this program is also started as spawner, runtime and extension: its arguments say
//! what it is. `cargo test -p worker --test functions -- PART_OF_A_NAME` runs some of the tests.
#![expect(clippy::unwrap_used, reason = "all of this is a test")]

mod faults;
mod fixture;
mod handler;
mod life;
mod logs;
mod snapshots;
#[path = "../../src/runtime_api/tests/clients/tools.rs"]
#[expect(dead_code, reason = "the unit tests use more of it")]
mod tools;

use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::process::ExitCode;

/// A test with its name.
type Test = (&'static str, fn() -> Pin<Box<dyn Future<Output = ()>>>);

macro_rules! tests {
    ($($module:ident::$name:ident),* $(,)?) => {
        &[$((concat!(stringify!($module), "::", stringify!($name)), || Box::pin($module::$name()))),*]
    };
}

const TESTS: &[Test] = tests![
    life::an_event_is_answered_and_the_environment_used_again,
    life::five_at_once_get_five_environments,
    life::the_one_used_last_serves_next,
    life::frozen_between_invocations,
    life::idle_ones_end,
    life::retired_ones_end_and_an_old_lease_still_works,
    life::no_room_is_said,
    life::idle_ones_make_room,
    life::a_caller_that_goes_does_not_stop_the_invocation,
    life::responses_are_streamed,
    life::extensions_hear_of_everything,
    life::shutting_down_kills_what_does_not_end,
    life::a_killed_worker_leaves_nothing,
    faults::a_timeout_is_lambdas,
    faults::exits_are_lambdas,
    faults::a_last_answer_counts,
    faults::out_of_memory_is_said,
    faults::forking_without_end_harms_nobody_else,
    faults::a_full_tmp_is_the_functions_own_affair,
    faults::errors_and_large_answers_are_lambdas,
    faults::a_failed_initialisation_is_tried_twice_and_said,
    faults::a_slow_initialisation_goes_on_within_the_invocation,
    faults::a_missing_program_is_named,
    logs::lines_of_an_invocation,
    logs::json_records,
    logs::variables_of_a_function,
    snapshots::clones_go_on_where_the_snapshot_was_taken,
    snapshots::a_runtime_without_hooks_is_written_in_its_first_poll,
    snapshots::awslambdaric_runs_its_hooks_in_each_clone,
    snapshots::aws_lambda_ric_is_restored,
    snapshots::a_rust_function_is_restored,
    snapshots::what_cannot_be_restored_initialises_and_says_why,
    snapshots::failed_hooks_are_lambdas,
    snapshots::failures_say_whose_they_are,
    snapshots::a_full_disk_is_named,
    snapshots::a_snapshot_that_nobody_waits_for_is_not_kept,
    snapshots::a_worker_killed_while_it_takes_and_restores_leaves_nothing,
];

fn main() -> ExitCode {
    let mut arguments = std::env::args();
    let program = arguments.next().unwrap_or_default();
    let first = arguments.next().unwrap_or_default();
    if program.starts_with("/opt/extensions/") {
        return handler::extension();
    }
    match first.as_str() {
        fixture::SPAWNER => sandbox::run_spawner(),
        fixture::RUNTIME => handler::main(),
        life::VICTIM => life::victim(),
        snapshots::VICTIM => snapshots::victim(),
        wanted => run(wanted),
    }
}

fn run(wanted: &str) -> ExitCode {
    let chosen = TESTS
        .iter()
        .filter(|(name, _)| wanted.starts_with('-') || name.contains(wanted));
    let mut failed = Vec::new();
    for (name, test) in chosen {
        eprintln!("test {name}");
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .enable_all()
            .build()
            .unwrap();
        let outcome = std::panic::catch_unwind(AssertUnwindSafe(|| {
            runtime.block_on(async { tokio::time::timeout(fixture::WAIT * 4, test()).await.expect("it ends") });
        }));
        // What a failed test leaves running ends here.
        drop(runtime);
        if outcome.is_err() {
            failed.push(name);
        }
    }
    if failed.is_empty() {
        return ExitCode::SUCCESS;
    }
    eprintln!("failed: {failed:?}");
    ExitCode::FAILURE
}
