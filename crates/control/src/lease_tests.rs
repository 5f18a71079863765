use super::*;
use crate::aliases::AliasRecord;
use crate::configuration::{ImageConfig, PackageType, Settings, Variables};
use crate::index::IndexedVersion;
use crate::{Lifecycle, states::StateEvent};
use api::ImageAddress;
use std::collections::{BTreeMap, HashMap};

fn address(name: &str) -> ImageAddress {
    let manifest = "ab".repeat(32).parse().unwrap();
    ImageAddress {
        name: name.into(),
        account: "123456789012".parse().unwrap(),
        generation: 1,
        manifest,
    }
}

fn texts(items: &[&str]) -> Vec<String> {
    items.iter().map(|item| (*item).to_owned()).collect()
}

fn pairs(items: &[(&str, &str)]) -> Vec<(String, String)> {
    items
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect()
}

fn image(entrypoint: &[&str], command: &[&str]) -> PreparedCode {
    PreparedCode::Image {
        root: address("image"),
        entrypoint: texts(entrypoint),
        command: texts(command),
        working_directory: "/app".into(),
        user: "nobody".into(),
        environment: pairs(&[("PATH", "/bin"), ("A", "image")]),
    }
}

fn configuration(package_type: PackageType, settings: Settings) -> Configuration {
    Configuration::new("hello", package_type, "x86_64").with(settings, None)
}

#[test]
fn images_run_their_program_unless_overridden() {
    let check = |image: &PreparedCode, overrides: ImageConfig, arguments: &[&str], handler: &str| {
        let settings = Settings {
            image_config: Some(overrides),
            ..Settings::default()
        };
        let program = program(&configuration(PackageType::Image, settings), image).unwrap();
        assert_eq!(program.arguments, texts(arguments));
        assert_eq!(program.handler, handler);
    };
    let entrypoint = |items: &[&str]| ImageConfig {
        entrypoint: texts(items),
        ..ImageConfig::default()
    };
    let command = |items: &[&str]| ImageConfig {
        command: texts(items),
        ..ImageConfig::default()
    };
    let both = image(&["/run"], &["app.handler"]);
    check(&both, ImageConfig::default(), &["/run", "app.handler"], "app.handler");
    check(
        &both,
        command(&["other.handler"]),
        &["/run", "other.handler"],
        "other.handler",
    );
    check(
        &both,
        entrypoint(&["/other"]),
        &["/other", "app.handler"],
        "app.handler",
    );
    check(
        &image(&[], &["/bootstrap"]),
        ImageConfig::default(),
        &["/bootstrap"],
        "",
    );
    check(
        &image(&["/bootstrap"], &[]),
        ImageConfig::default(),
        &["/bootstrap"],
        "",
    );
    check(&image(&[], &[]), entrypoint(&["/run"]), &["/run"], "");
}

#[test]
fn an_image_without_a_program_says_so() {
    let refused = program(
        &configuration(PackageType::Image, Settings::default()),
        &image(&[], &[]),
    )
    .unwrap_err();
    assert_eq!(refused.code, "InvalidImage");
    assert!(refused.text.contains("ENTRYPOINT"), "{}", refused.text);
}

#[test]
fn the_functions_variables_win() {
    let variables = Variables(BTreeMap::from([("A".to_owned(), "function".to_owned())]));
    let settings = Settings {
        environment: Some(variables),
        image_config: Some(ImageConfig {
            working_directory: Some("/srv".into()),
            ..ImageConfig::default()
        }),
        ..Settings::default()
    };
    let program = program(&configuration(PackageType::Image, settings), &image(&["/run"], &[])).unwrap();
    assert_eq!(
        program.environment,
        pairs(&[("PATH", "/bin"), ("A", "image"), ("A", "function")])
    );
    assert_eq!(
        (program.working_directory.as_str(), program.user.as_str()),
        ("/srv", "nobody")
    );
    assert_eq!(program.runtime, None);
}

#[test]
fn zips_run_on_their_runtime() {
    let check = |runtime: &str, arguments: &[&str], expected: &[&str]| {
        let prepared = PreparedCode::Zip {
            root: address("runtime"),
            arguments: texts(arguments),
            environment: pairs(&[("PATH", "/usr/bin")]),
            code: address("code"),
        };
        let settings = Settings {
            runtime: Some(runtime.into()),
            handler: Some("app.handler".into()),
            ..Settings::default()
        };
        let program = program(&configuration(PackageType::Zip, settings), &prepared).unwrap();
        assert_eq!(program.arguments, texts(expected));
        assert_eq!(program.handler, "app.handler");
        assert_eq!(program.runtime.as_deref(), Some(runtime));
        assert_eq!(program.working_directory, "/var/task");
        let shown: Vec<_> = overlays(&prepared)
            .into_iter()
            .map(|overlay| (overlay.source, overlay.target))
            .collect();
        assert_eq!(shown, pairs(&[("task", "/var/task"), ("opt", "/opt")]));
    };
    check(
        "python3.11",
        &["/usr/bin/python3", "-m", "awslambdaric"],
        &["/usr/bin/python3", "-m", "awslambdaric", "app.handler"],
    );
    check(
        "nodejs22.x",
        &["/usr/bin/node", "index.mjs"],
        &["/usr/bin/node", "index.mjs", "app.handler"],
    );
    check("provided.al2023", &["/var/task/bootstrap"], &["/var/task/bootstrap"]);
}

#[test]
fn weights_split_lots() {
    let check = |weight: Option<f64>, lot: f64, expected: &str| {
        let other = weight.map(|weight| ("2".to_owned(), weight));
        assert_eq!(by_lot("1", other.as_ref(), lot), expected, "{weight:?} {lot}");
    };
    check(None, 0.0, "1");
    check(Some(0.1), 0.0, "2");
    check(Some(0.1), 0.0999, "2");
    check(Some(0.1), 0.1, "1");
    check(Some(0.1), 0.9999, "1");
    check(Some(0.0), 0.0, "1");
    check(Some(1.0), 0.9999, "2");
}

#[test]
fn states_decide_what_an_invocation_meets() {
    let reason = Reason {
        code: "InvalidImage".into(),
        text: "no such image".into(),
    };
    let failed = Lifecycle::created().apply(StateEvent::PreparationFailed(reason));
    let version = |lifecycle| IndexedVersion { lifecycle, lease: None };
    let alias = AliasRecord {
        arn: String::new(),
        name: "live".into(),
        version: "2".into(),
        description: String::new(),
        routing: None,
        revision_id: String::new(),
    };
    let function = IndexedFunction {
        versions: HashMap::from([
            ("$LATEST".into(), version(Lifecycle::created())),
            ("2".into(), version(failed)),
        ]),
        aliases: HashMap::from([("live".into(), alias)]),
        reserved_concurrency: None,
        wishes: Vec::new(),
        held: HashMap::new(),
        traffic: Arc::default(),
    };
    assert!(matches!(choose(&function, None, 0.5), Choice::Wait));
    assert!(matches!(choose(&function, Some("$LATEST"), 0.5), Choice::Wait));
    assert!(matches!(choose(&function, Some("1"), 0.5), Choice::Missing));
    assert!(matches!(choose(&function, Some("other"), 0.5), Choice::Missing));
    for qualifier in ["2", "live"] {
        let Choice::Refuse(reason) = choose(&function, Some(qualifier), 0.5) else {
            panic!("{qualifier} is Failed")
        };
        assert_eq!(
            refusal(reason).to_string(),
            "The operation cannot be performed at this time. The function is currently in the following state: Failed. \
             no such image"
        );
    }
}
