//! The variables of an environment's processes.

use api::{Initialization, Lease, LogFormat};

/// Where the Runtime API listens, inside the environment's own network.
pub(crate) const RUNTIME_API_ADDRESS: &str = "127.0.0.1:9001";

/// The variables of the runtime's process, in no order, each name once.
///
/// Three ranks: what Lambda sets where nobody else does, then image, runtime and function (`Program::environment`),
/// then what Lambda reserves. No access keys are among them: there is no role to assume yet.
pub(crate) fn runtime_variables(lease: &Lease, log_stream: &str) -> Vec<(String, String)> {
    let mut variables = defaults(lease);
    for (name, value) in lease
        .program
        .environment
        .iter()
        .cloned()
        .chain(reserved(lease, log_stream))
    {
        set(&mut variables, name, value);
    }
    variables
}

/// The variables of an external extension: the runtime's, without what names the handler.
pub(crate) fn extension_variables(runtime: &[(String, String)]) -> Vec<(String, String)> {
    let hidden = ["_HANDLER", "AWS_EXECUTION_ENV"];
    let kept = runtime.iter().filter(|(name, _)| !hidden.contains(&name.as_str()));
    kept.cloned().collect()
}

fn set(variables: &mut Vec<(String, String)>, name: String, value: String) {
    match variables.iter_mut().find(|(there, _)| *there == name) {
        Some((_, there)) => *there = value,
        None => variables.push((name, value)),
    }
}

/// An image brings its own search paths; a runtime's base gets those of Lambda's managed runtimes.
fn defaults(lease: &Lease) -> Vec<(String, String)> {
    let mut variables = pairs([("LANG", "en_US.UTF-8"), ("TZ", ":UTC")]);
    let Some(runtime) = &lease.program.runtime else {
        // As container engines do for images that name none.
        variables.extend(pairs([(
            "PATH",
            "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        )]));
        return variables;
    };
    variables.extend(pairs([
        ("PATH", "/var/lang/bin:/usr/local/bin:/usr/bin/:/bin:/opt/bin"),
        (
            "LD_LIBRARY_PATH",
            "/var/lang/lib:/lib64:/usr/lib64:/var/runtime:/var/runtime/lib:/var/task:/var/task/lib:/opt/lib",
        ),
    ]));
    if let Some(version) = runtime.strip_prefix("python") {
        let path = format!("/var/runtime:/opt/python/lib/python{version}/site-packages:/opt/python");
        variables.extend(pairs([("LC_CTYPE", "C.UTF-8"), ("PYTHONPATH", &path)]));
    } else if let Some(version) = runtime.strip_prefix("nodejs") {
        let major = version.split('.').next().unwrap_or_default();
        let path = format!(
            "/opt/nodejs/node{major}/node_modules:/opt/nodejs/node_modules:/var/runtime/node_modules:/var/runtime:/var/task"
        );
        variables.extend(pairs([("NODE_PATH", path.as_str())]));
    }
    variables
}

fn reserved(lease: &Lease, log_stream: &str) -> Vec<(String, String)> {
    let function = &lease.function;
    let mut variables = pairs([
        ("_HANDLER", lease.program.handler.as_str()),
        ("AWS_DEFAULT_REGION", &function.region),
        ("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", &lease.memory_mb.to_string()),
        ("AWS_LAMBDA_FUNCTION_NAME", &function.name),
        ("AWS_LAMBDA_FUNCTION_VERSION", &function.version),
        (
            "AWS_LAMBDA_INITIALIZATION_TYPE",
            initialization_type(lease.initialization),
        ),
        ("AWS_LAMBDA_RUNTIME_API", RUNTIME_API_ADDRESS),
        ("AWS_REGION", &function.region),
        ("LAMBDA_RUNTIME_DIR", "/var/runtime"),
        ("LAMBDA_TASK_ROOT", "/var/task"),
    ]);
    // Clones of a snapshot share their variables and no log stream; Lambda leaves both out, too.
    if lease.initialization != Initialization::SnapStart {
        variables.extend(pairs([
            ("AWS_LAMBDA_LOG_GROUP_NAME", lease.logging.group.as_str()),
            ("AWS_LAMBDA_LOG_STREAM_NAME", log_stream),
        ]));
    }
    if let Some(runtime) = &lease.program.runtime {
        variables.extend(pairs([("AWS_EXECUTION_ENV", format!("AWS_Lambda_{runtime}").as_str())]));
    }
    if lease.invocations_max > 1 {
        variables.extend(pairs([(
            "AWS_LAMBDA_MAX_CONCURRENCY",
            lease.invocations_max.to_string().as_str(),
        )]));
    }
    if lease.logging.format == LogFormat::Json {
        let level = lease.logging.application_level.as_deref().unwrap_or("INFO");
        variables.extend(pairs([
            ("AWS_LAMBDA_LOG_FORMAT", "JSON"),
            ("AWS_LAMBDA_LOG_LEVEL", level),
        ]));
    }
    variables
}

/// Lambda's name for why an environment is started.
pub(crate) const fn initialization_type(initialization: Initialization) -> &'static str {
    match initialization {
        Initialization::OnDemand => "on-demand",
        Initialization::Provisioned => "provisioned-concurrency",
        Initialization::SnapStart => "snap-start",
    }
}

fn pairs<const COUNT: usize>(pairs: [(&str, &str); COUNT]) -> Vec<(String, String)> {
    pairs
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::{extension_variables, runtime_variables};
    use crate::functions::test_lease;
    use api::{Initialization, LogFormat};

    fn check(runtime: Option<&str>, own: &[(&str, &str)], name: &str, expected: Option<&str>) {
        let mut lease = test_lease::lease("one");
        lease.program.runtime = runtime.map(str::to_owned);
        lease.program.environment = own.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
        let variables = runtime_variables(&lease, "2024/01/01/[1]aa");
        let values: Vec<&str> = variables
            .iter()
            .filter(|(n, _)| n == name)
            .map(|(_, v)| v.as_str())
            .collect();
        assert_eq!(values, expected.into_iter().collect::<Vec<_>>(), "{name}");
    }

    #[test]
    fn what_lambda_reserves_wins_and_the_rest_is_the_functions() {
        check(None, &[], "AWS_LAMBDA_RUNTIME_API", Some("127.0.0.1:9001"));
        check(
            None,
            &[("AWS_LAMBDA_RUNTIME_API", "evil")],
            "AWS_LAMBDA_RUNTIME_API",
            Some("127.0.0.1:9001"),
        );
        check(None, &[("_HANDLER", "evil")], "_HANDLER", Some("app.handler"));
        check(None, &[("TZ", "Europe/Berlin")], "TZ", Some("Europe/Berlin"));
        check(None, &[("A", "1"), ("A", "2")], "A", Some("2"));
        check(None, &[("PATH", "/mine")], "PATH", Some("/mine"));
        check(None, &[], "LD_LIBRARY_PATH", None);
        check(None, &[], "AWS_EXECUTION_ENV", None);
        check(
            Some("python3.11"),
            &[],
            "AWS_EXECUTION_ENV",
            Some("AWS_Lambda_python3.11"),
        );
        check(
            Some("python3.11"),
            &[],
            "PYTHONPATH",
            Some("/var/runtime:/opt/python/lib/python3.11/site-packages:/opt/python"),
        );
        check(None, &[], "AWS_LAMBDA_LOG_STREAM_NAME", Some("2024/01/01/[1]aa"));
        check(None, &[], "AWS_LAMBDA_LOG_FORMAT", None);
        check(None, &[], "AWS_ACCESS_KEY_ID", None);
    }

    #[test]
    fn what_clones_do_not_share_is_no_variable() {
        let mut lease = test_lease::lease("one");
        lease.initialization = Initialization::SnapStart;
        let variables = runtime_variables(&lease, "stream");
        let value = |wanted: &str| variables.iter().find(|(name, _)| name == wanted);
        assert_eq!(value("AWS_LAMBDA_INITIALIZATION_TYPE").unwrap().1, "snap-start");
        assert_eq!(value("AWS_LAMBDA_LOG_STREAM_NAME"), None);
        assert_eq!(value("AWS_LAMBDA_LOG_GROUP_NAME"), None);
    }

    #[test]
    fn json_logs_say_so() {
        let mut lease = test_lease::lease("one");
        lease.logging.format = LogFormat::Json;
        let variables = runtime_variables(&lease, "stream");
        assert!(variables.contains(&("AWS_LAMBDA_LOG_FORMAT".to_owned(), "JSON".to_owned())));
        assert!(variables.contains(&("AWS_LAMBDA_LOG_LEVEL".to_owned(), "INFO".to_owned())));
    }

    #[test]
    fn extensions_are_not_told_the_handler() {
        let variables = runtime_variables(&test_lease::lease("one"), "stream");
        let kept = extension_variables(&variables);
        assert!(kept.iter().all(|(name, _)| name != "_HANDLER"));
        assert_eq!(kept.len(), variables.len() - 1);
    }
}
