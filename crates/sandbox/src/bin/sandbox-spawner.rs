//! The spawner of this crate's tests and bench; `lambent sandboxes` for everybody else.

fn main() -> std::process::ExitCode {
    sandbox::run_spawner()
}
