//! Random numbers of clones: what the memory of a snapshot knows, all its clones know.
//!
//! The kernel's numbers (`/dev/urandom`, `getrandom`, and what asks it each time, such as Python's `secrets`, `uuid` and
//! `os.urandom`) differ in each clone. Generators in a process's own memory repeat. Where this program chooses how a
//! runtime is started, and the runtime has hooks, it puts a hook before the function's own: Python's.

/// Starts Python's runtime client as `-m awslambdaric` does, with a hook that seeds again what the process shares: the
/// module `random`, numpy's global generator, and OpenSSL, whose children take new state from the primary one when it has
/// been seeded. Generators that the function made for itself are its own affair.
const PYTHON: &str = r#"
def _seed_again():
    import os, sys
    for name in ("random", "numpy.random"):
        if name in sys.modules:
            sys.modules[name].seed()
    if "_ssl" in sys.modules:
        sys.modules["_ssl"].RAND_add(os.urandom(32), 32.0)
try:
    import snapshot_restore_py
    snapshot_restore_py.register_after_restore(_seed_again)
except ImportError:
    pass
import runpy
runpy.run_module("awslambdaric", run_name="__main__", alter_sys=True)
"#;

/// The arguments of a managed runtime, with the hook where there is one for it.
pub(in super::super) fn seeding(runtime: Option<&str>, arguments: &[String]) -> Vec<String> {
    let is_python = runtime.is_some_and(|runtime| runtime.starts_with("python"));
    match arguments {
        [python, option, module, rest @ ..] if is_python && option == "-m" && module == "awslambdaric" => {
            let start = [python.clone(), "-c".to_owned(), PYTHON.to_owned()];
            start.into_iter().chain(rest.iter().cloned()).collect()
        }
        _ => arguments.to_vec(),
    }
}

#[cfg(test)]
mod tests {
    use super::seeding;

    fn check(runtime: Option<&str>, arguments: &[&str], is_changed: bool) {
        let arguments: Vec<String> = arguments.iter().map(|argument| (*argument).to_owned()).collect();
        let started = seeding(runtime, &arguments);
        assert_eq!(started != arguments, is_changed, "{started:?}");
        assert_eq!((started.first(), started.last()), (arguments.first(), arguments.last()));
        assert_eq!(started.len(), arguments.len());
    }

    #[test]
    fn only_what_we_start_ourselves_is_changed() {
        let client = ["/usr/bin/python3", "-m", "awslambdaric", "app.handler"];
        check(Some("python3.11"), &client, true);
        check(None, &client, false);
        check(Some("nodejs20.x"), &client, false);
        check(Some("python3.11"), &["/var/runtime/bootstrap"], false);
    }
}
