use super::violations::SHOWN_MAX;
use super::*;
use serde_json::json;

fn check_input(shape: &str, input: Value, expected: Result<(), (&str, &str)>) {
    let model = Model::embedded().unwrap();
    let Value::Object(input) = input else {
        panic!("an object")
    };
    let result = check(&model, shape, &input);
    let result = result.as_ref().copied();
    let result = result.map_err(|error| (error.code, error.message.as_str()));
    match (result, expected) {
        (Err((code, message)), Err((expected_code, part))) => {
            assert_eq!(code, expected_code, "{message}");
            assert!(message.contains(part), "{message}\nlacks\n{part}");
        }
        (result, expected) => assert_eq!(result, expected),
    }
}

#[test]
fn texts_are_lambdas() {
    let message = "1 validation error detected: Value 'a b' at 'functionName' failed to satisfy constraint: \
                   Member must satisfy regular expression pattern: (arn:(aws[a-zA-Z-]*)?:lambda:)?";
    check_input(
        "GetFunctionRequest",
        json!({"FunctionName": "a b"}),
        Err(("ValidationException", message)),
    );
    let message = "Value null at 'functionName' failed to satisfy constraint: Member must not be null";
    check_input("GetFunctionRequest", json!({}), Err(("ValidationException", message)));
    let message = "Value '64' at 'memorySize' failed to satisfy constraint: Member must have value greater than \
                   or equal to 128";
    let input = json!({"FunctionName": "f", "MemorySize": 64});
    check_input(
        "UpdateFunctionConfigurationRequest",
        input,
        Err(("ValidationException", message)),
    );
    let message = "Value 'cobol85' at 'runtime' failed to satisfy constraint: Member must satisfy enum value set: [";
    let input = json!({"FunctionName": "f", "Runtime": "cobol85"});
    check_input(
        "UpdateFunctionConfigurationRequest",
        input,
        Err(("ValidationException", message)),
    );
}

#[test]
fn every_violation_is_counted() {
    let input = json!({"FunctionName": "a b", "Timeout": 0});
    check_input(
        "UpdateFunctionConfigurationRequest",
        input,
        Err(("ValidationException", "2 validation errors detected: Value")),
    );
}

#[test]
fn inner_values_are_checked_and_secrets_not_shown() {
    let input = json!({"FunctionName": "f", "Environment": {"Variables": {"1bad": "value"}}});
    let message = "at 'environment.variables' failed to satisfy constraint: Map keys must satisfy constraint: [";
    check_input(
        "UpdateFunctionConfigurationRequest",
        input,
        Err(("ValidationException", message)),
    );
    let model = Model::embedded().unwrap();
    let input = json!({"FunctionName": "f", "Environment": {"Variables": {"1bad": "hunter2"}}});
    let error = check(&model, "UpdateFunctionConfigurationRequest", input.as_object().unwrap()).unwrap_err();
    assert!(!error.message.contains("hunter2"), "{}", error.message);
    let input = json!({"FunctionName": "f", "TracingConfig": {"Mode": "Sometimes"}});
    let message = "Value 'Sometimes' at 'tracingConfig.mode' failed to satisfy constraint: Member must satisfy enum";
    check_input(
        "UpdateFunctionConfigurationRequest",
        input,
        Err(("ValidationException", message)),
    );
}

#[test]
fn kinds_come_first() {
    let input = json!({"FunctionName": "f", "Timeout": "three"});
    let message = "STRING_VALUE can not be converted to an Integer";
    check_input(
        "UpdateFunctionConfigurationRequest",
        input,
        Err(("SerializationException", message)),
    );
    let input = json!({"FunctionName": "f", "Description": {"a": 1}});
    let message = "Start of structure or map found where not expected.";
    check_input(
        "UpdateFunctionConfigurationRequest",
        input,
        Err(("SerializationException", message)),
    );
    let input = json!({"FunctionName": "f", "Timeout": 3.5});
    check_input(
        "UpdateFunctionConfigurationRequest",
        input,
        Err(("SerializationException", "DECIMAL_VALUE")),
    );
    let input = json!({"FunctionName": "f", "Timeout": 5_000_000_000_u64});
    check_input(
        "UpdateFunctionConfigurationRequest",
        input,
        Err(("SerializationException", "NUMBER_VALUE")),
    );
}

#[test]
fn good_input_passes() {
    let input = json!({
        "FunctionName": "hello", "Role": "arn:aws:iam::123456789012:role/x", "PackageType": "Image",
        "Code": {"ImageUri": "localhost/x:latest"}, "Environment": {"Variables": {"NAME": "b"}}, "Timeout": 900,
        "MemorySize": 10_240, "Architectures": ["x86_64"], "Tags": {"a": "b"}, "Description": null,
    });
    check_input("CreateFunctionRequest", input, Ok(()));
}

#[test]
fn a_hostile_text_is_cut() {
    let model = Model::embedded().unwrap();
    let long = "x".repeat(1 << 20);
    let error = check_text(&model, "FunctionName", "functionName", &long).unwrap_err();
    assert!(error.message.len() < 2 * SHOWN_MAX);
}

/// Once each inner value cost as much as the whole: these would take hours.
#[test]
fn many_inner_values_cost_little() {
    let names: Vec<String> = (0..200_000).map(|number| format!("layer-{number}")).collect();
    let layers = json!({"FunctionName": "f", "Layers": names});
    let variables: Map<String, Value> = names.into_iter().map(|name| (name, "".into())).collect();
    let environment = json!({"FunctionName": "f", "Environment": {"Variables": variables}});
    for input in [layers, environment] {
        check_input(
            "UpdateFunctionConfigurationRequest",
            input,
            Err(("ValidationException", "16 validation errors detected")),
        );
    }
}
