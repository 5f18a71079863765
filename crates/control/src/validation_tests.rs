use super::*;
use crate::ImageConfig;
use crate::configuration::LoggingSettings;
use std::collections::BTreeMap;

fn zip(handler: Option<&str>, runtime: Option<&str>) -> Settings {
    Settings {
        handler: handler.map(Into::into),
        runtime: runtime.map(Into::into),
        ..Settings::default()
    }
}

fn variables(pairs: &[(&str, &str)]) -> Settings {
    let map: BTreeMap<_, _> = pairs
        .iter()
        .map(|(name, value)| ((*name).into(), (*value).into()))
        .collect();
    Settings {
        environment: Some(Variables(map)),
        ..Settings::default()
    }
}

/// All checks of a new function. None: it is allowed; else a part of the message.
fn check(package_type: PackageType, settings: impl std::borrow::Borrow<Settings>, expected: Option<&str>) {
    let settings = settings.borrow();
    let named = format!("{settings:?}");
    let base = Configuration::new("hello", package_type, own_architecture());
    let result = check_settings(package_type, settings).and_then(|()| {
        let configuration = base.with(settings.clone(), None);
        check_log_levels(configuration.logging.format, settings)?;
        check_configuration(&configuration)
    });
    match (result, expected) {
        (Ok(()), None) => {}
        (Err(ControlError::Invalid { message }), Some(part)) => assert!(message.contains(part), "{named}: {message}"),
        (other, _) => panic!("{named}: {other:?}, expected {expected:?}"),
    }
}

#[test]
fn zips_name_runtime_and_handler() {
    let mandatory = "Runtime and Handler are mandatory parameters for functions created with deployment packages.";
    check(PackageType::Zip, zip(Some("a.b"), Some("python3.11")), None);
    check(PackageType::Zip, zip(None, Some("python3.11")), Some(mandatory));
    check(PackageType::Zip, zip(Some("a.b"), None), Some(mandatory));
    check(PackageType::Zip, zip(None, None), Some(mandatory));
}

#[test]
fn images_name_neither() {
    let text = "Please don't provide Handler or Runtime or Layer when the intended function PackageType is Image.";
    check(PackageType::Image, Settings::default(), None);
    check(PackageType::Image, zip(Some("a.b"), None), Some(text));
    check(PackageType::Image, zip(None, Some("python3.11")), Some(text));
    let layers = Settings {
        layers: Some(vec!["arn".into()]),
        ..Settings::default()
    };
    check(PackageType::Image, layers, Some(text));
    let none = Settings {
        layers: Some(vec![]),
        ..Settings::default()
    };
    check(PackageType::Image, none, None);
    let image_config = Settings {
        image_config: Some(ImageConfig::default()),
        ..zip(Some("a.b"), Some("python3.11"))
    };
    let text = "Please don't provide ImageConfig when the intended function PackageType is Zip.";
    check(PackageType::Zip, image_config, Some(text));
}

#[test]
fn runtimes() {
    for runtime in [
        "python3.9",
        "python3.14",
        "nodejs20.x",
        "nodejs24.x",
        "provided.al2",
        "provided.al2023",
    ] {
        check(PackageType::Zip, zip(Some("a.b"), Some(runtime)), None);
    }
    for runtime in [
        "python2.7",
        "python3.",
        "nodejs18.x",
        "nodejs2.x",
        "java21",
        "provided",
        "go1.x",
        "python3.1a",
    ] {
        check(
            PackageType::Zip,
            zip(Some("a.b"), Some(runtime)),
            Some(&format!("{runtime} is not supported")),
        );
    }
}

#[test]
fn limits() {
    let image = |settings: Settings, expected: Option<&str>| check(PackageType::Image, settings, expected);
    let timeout = |value| Settings {
        timeout_s: Some(value),
        ..Settings::default()
    };
    let memory = |value| Settings {
        memory_mb: Some(value),
        ..Settings::default()
    };
    let tmp = |value| Settings {
        tmp_mb: Some(value),
        ..Settings::default()
    };
    for good in [
        timeout(1),
        timeout(900),
        memory(128),
        memory(10_240),
        tmp(512),
        tmp(10_240),
    ] {
        image(good, None);
    }
    image(
        timeout(0),
        Some("Value '0' at 'timeout' failed to satisfy constraint: Member must have value greater than or equal to 1"),
    );
    image(
        timeout(901),
        Some("Value '901' at 'timeout' failed to satisfy constraint: Member must have value less than or equal to 900"),
    );
    image(
        memory(127),
        Some("at 'memorySize' failed to satisfy constraint: Member must have value greater than or equal to 128"),
    );
    image(memory(10_241), Some("less than or equal to 10240"));
    image(tmp(511), Some("at 'ephemeralStorage.size'"));
    image(tmp(10_241), Some("less than or equal to 10240"));
}

#[test]
fn environments() {
    let image = |settings: Settings, expected: Option<&str>| check(PackageType::Image, settings, expected);
    image(variables(&[("A", "b"), ("AWS_PROFILE", "x"), ("_HANDLERS", "y")]), None);
    image(
        variables(&[("AWS_REGION", "x"), ("A", "b"), ("_HANDLER", "y")]),
        Some(
            "contains reserved keys that are currently not supported for modification. Reserved keys used in this request: AWS_REGION, _HANDLER",
        ),
    );
    // Compact JSON: {"A":"..."} is eight bytes and the value.
    image(variables(&[("A", &"x".repeat(4088))]), None);
    image(
        variables(&[("A", &"x".repeat(4089))]),
        Some("exceeded the 4KB limit. String measured: {\"A\":\"xxx"),
    );
    image(variables(&[("A", "b\0c")]), Some("NUL"));
    image(variables(&[("A=B", "c")]), Some("NUL"));
}

#[test]
fn log_levels_need_json() {
    let logging = |format, level: Option<&str>| Settings {
        logging: Some(LoggingSettings {
            format,
            application_level: level.map(Into::into),
            ..LoggingSettings::default()
        }),
        ..Settings::default()
    };
    check(PackageType::Image, logging(Some(LogFormat::Json), Some("DEBUG")), None);
    check(PackageType::Image, logging(Some(LogFormat::Text), None), None);
    let text = "LogLevel is not supported when LogFormat is set to \"Text\"";
    check(
        PackageType::Image,
        logging(Some(LogFormat::Text), Some("DEBUG")),
        Some(text),
    );
    check(PackageType::Image, logging(None, Some("DEBUG")), Some(text));
}

#[test]
fn json_has_default_levels() {
    let settings = Settings {
        logging: Some(LoggingSettings {
            format: Some(LogFormat::Json),
            system_level: Some("WARN".into()),
            ..LoggingSettings::default()
        }),
        ..Settings::default()
    };
    let json = Configuration::new("hello", PackageType::Image, "x86_64").with(settings, None);
    assert_eq!(json.logging.application_level.as_deref(), Some("INFO"));
    assert_eq!(json.logging.system_level.as_deref(), Some("WARN"));
    assert_eq!(json.logging.group, "/aws/lambda/hello");
    let text = LoggingSettings {
        format: Some(LogFormat::Text),
        ..LoggingSettings::default()
    };
    let text = json.with(
        Settings {
            logging: Some(text),
            ..Settings::default()
        },
        None,
    );
    assert_eq!(
        (text.logging.application_level, text.logging.system_level),
        (None, None)
    );
}

#[test]
fn variables_do_not_show_their_values() {
    let shown = format!("{:?}", variables(&[("TOKEN", "s3cret")]));
    assert!(shown.contains("TOKEN") && !shown.contains("s3cret"), "{shown}");
}

#[test]
fn names_and_architectures() {
    assert!(check_name(&"n".repeat(64)).is_ok());
    assert!(check_name(&"n".repeat(65)).is_err());
    assert!(check_architecture(own_architecture()).is_ok());
    let other = if own_architecture() == "arm64" {
        "x86_64"
    } else {
        "arm64"
    };
    assert!(check_architecture(other).is_err());
}
