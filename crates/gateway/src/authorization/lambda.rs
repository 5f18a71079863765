//! Actions and resources of the Lambda API, and who may invoke a function of another account.
//!
//! Source: "Actions, resources, and condition keys for AWS Lambda" of the service authorization reference. A function that
//! is named with a qualifier is the resource `…:function:NAME:QUALIFIER` in every operation that acts on one version or
//! alias, which are those whose input has a `Qualifier`. All others act on the function whatever its name says beside it,
//! so they are checked as that: a qualifier must neither escape from what denies nor bring what allows.

use super::{Caller, NotAuthorized};
use crate::lambda::ApiError;
use crate::lambda::function_name::NameParts;
use crate::lambda::model::{Model, Operation};
use crate::{Gateway, query};
use chunk::Account;
use serde_json::{Map, Value};

/// Operations whose action has no resource, though their input names something.
const WITHOUT_RESOURCE: &[&str] = &[
    "CreateEventSourceMapping",
    "ListEventSourceMappings",
    "ListLayerVersions",
];

const INVOKE: &str = "lambda:InvokeFunction";

/// Whether the key's policy allows an operation of the Lambda API with this input.
pub(crate) fn check(
    gateway: &Gateway,
    caller: &Caller,
    operation: &Operation,
    input: &Map<String, Value>,
) -> Result<(), NotAuthorized> {
    if !caller.is_limited() {
        return Ok(());
    }
    let (region, account) = (&gateway.region, &caller.account);
    let resource = resource(&gateway.model, (region, account), operation, input);
    let operation = operation.name;
    caller.check(&action(operation), &resource)?;
    // A mapping may not be given to a function that its changer may not give a mapping to.
    if let ("UpdateEventSourceMapping", Some(name)) = (operation, input.get("FunctionName").and_then(Value::as_str)) {
        caller.check(&action(operation), &named_arn(region, account, name, None))?;
    }
    // A function may not bring in a layer that its maker may not read.
    let layers = input.get("Layers").and_then(Value::as_array).into_iter().flatten();
    let mut arns = layers.filter_map(Value::as_str);
    arns.try_for_each(|arn| caller.check("lambda:GetLayerVersion", &plain_layer_arn(arn)))
}

/// Whether a caller may invoke the function that a path names; gives the function's owner.
///
/// A function of another account needs both: the key's policy, and a statement of the function's own. Whether such a
/// function exists is told to nobody who may not invoke it. Reads the record where the function is another account's.
pub(crate) async fn admit_invocation(
    gateway: &Gateway,
    caller: &Caller,
    name: &str,
    query: Option<&str>,
) -> Result<Account, ApiError> {
    let named = NameParts::read(name);
    let other = named.account.and_then(|account| account.parse::<Account>().ok());
    let other = other.filter(|account| *account != caller.account);
    if other.is_none() && !caller.is_limited() {
        return Ok(caller.account.clone());
    }
    let mut pairs = query::pairs(query.unwrap_or_default());
    let asked = pairs.find(|(name, value)| name == "Qualifier" && !value.is_empty());
    let asked = asked.map(|(_, value)| value);
    let qualifier = named.qualifier.or(asked.as_deref());
    let owner = other.as_ref().unwrap_or(&caller.account);
    let arn = function_arn(named.region.unwrap_or(&gateway.region), owner, named.name, qualifier);
    caller.check(INVOKE, &arn)?;
    if let Some(owner) = &other {
        let control = &gateway.control;
        let may = named.region.is_none_or(|region| region == gateway.region)
            && control
                .may_invoke(owner, named.name, qualifier, &caller.account)
                .await?;
        if !may {
            return Err(caller.not_let_in(INVOKE, &arn).into());
        }
    }
    Ok(owner.clone())
}

/// Most actions are called as their operations are.
fn action(operation: &str) -> String {
    let name = match operation {
        "GetLayerVersionByArn" => "GetLayerVersion",
        name => name,
    };
    format!("lambda:{name}")
}

fn resource(
    model: &Model,
    (region, account): (&str, &Account),
    operation: &Operation,
    input: &Map<String, Value>,
) -> String {
    let text = |name: &str| input.get(name).and_then(Value::as_str);
    if WITHOUT_RESOURCE.contains(&operation.name) {
        return "*".to_owned();
    }
    if operation.name == "GetLayerVersionByArn" {
        return text("Arn").map_or_else(|| "*".to_owned(), plain_layer_arn);
    }
    // First: a mapping's update names its new function, too.
    if let Some(id) = text("UUID") {
        return mapping_arn(region, account, id);
    }
    if let Some(name) = text("FunctionName") {
        return if takes_qualifier(model, operation) {
            named_arn(region, account, name, text("Qualifier"))
        } else {
            bare_arn(region, account, name)
        };
    }
    if let Some(name) = text("LayerName") {
        return layer_arn(region, account, name, input.get("VersionNumber"));
    }
    // Tags, and code signing.
    match text("Resource") {
        Some(arn) => tagged_arn(region, account, arn),
        None => text("CodeSigningConfigArn").unwrap_or("*").to_owned(),
    }
}

/// Whether an operation acts on what a qualifier names, rather than on the function.
fn takes_qualifier(model: &Model, operation: &Operation) -> bool {
    let shape = operation.input.and_then(|input| model.shape(input));
    shape.is_some_and(|shape| shape.members.contains_key("Qualifier"))
}

/// What is tagged, as policies name it, whatever of the ARN its handler does not look at.
fn tagged_arn(region: &str, account: &Account, arn: &str) -> String {
    match arn.split(':').collect::<Vec<_>>()[..] {
        [_, _, _, _, _, "function", ..] => named_arn(region, account, arn, None),
        [_, _, _, _, _, "event-source-mapping", id] => mapping_arn(region, account, id),
        _ => arn.to_owned(),
    }
}

fn mapping_arn(region: &str, account: &Account, id: &str) -> String {
    format!("arn:aws:lambda:{region}:{account}:event-source-mapping:{id}")
}

fn named_arn(region: &str, account: &Account, name: &str, qualifier: Option<&str>) -> String {
    let named = NameParts::read(name);
    parts_arn(region, account, &named, named.qualifier.or(qualifier))
}

/// The function's own, whatever qualifier its name has.
fn bare_arn(region: &str, account: &Account, name: &str) -> String {
    parts_arn(region, account, &NameParts::read(name), None)
}

fn parts_arn(region: &str, account: &Account, named: &NameParts<'_>, qualifier: Option<&str>) -> String {
    let owner = named.account.and_then(|account| account.parse().ok());
    function_arn(
        named.region.unwrap_or(region),
        owner.as_ref().unwrap_or(account),
        named.name,
        qualifier,
    )
}

/// Of a function, as policies name it.
pub(crate) fn function_arn(region: &str, account: &Account, name: &str, qualifier: Option<&str>) -> String {
    let qualifier = qualifier.map_or_else(String::new, |qualifier| format!(":{qualifier}"));
    format!("arn:aws:lambda:{region}:{account}:function:{name}{qualifier}")
}

fn layer_arn(region: &str, account: &Account, name: &str, version: Option<&Value>) -> String {
    let version = version
        .filter(|version| version.is_u64())
        .map_or_else(String::new, |version| format!(":{version}"));
    if name.starts_with("arn:") {
        return plain_layer_arn(&format!("{name}{version}"));
    }
    format!("arn:aws:lambda:{region}:{account}:layer:{name}{version}")
}

/// A layer's ARN in the one form that policies are written in: any partition is `aws`, `01` is `1`.
fn plain_layer_arn(arn: &str) -> String {
    match arn.split(':').collect::<Vec<_>>()[..] {
        ["arn", _, "lambda", region, account, "layer", name] => {
            format!("arn:aws:lambda:{region}:{account}:layer:{name}")
        }
        ["arn", _, "lambda", region, account, "layer", name, version] => match version.parse::<u64>() {
            Ok(version) => format!("arn:aws:lambda:{region}:{account}:layer:{name}:{version}"),
            Err(_) => arn.to_owned(),
        },
        _ => arn.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn every_operation_has_its_action_and_its_resource() {
        let account: Account = "123456789012".parse().unwrap();
        let own = "arn:aws:lambda:us-east-1:123456789012";
        let cases = [
            ("GetFunction", json!({"FunctionName": "f"}), format!("{own}:function:f")),
            (
                "GetFunction",
                json!({"FunctionName": "f", "Qualifier": "1"}),
                format!("{own}:function:f:1"),
            ),
            (
                "GetFunction",
                json!({"FunctionName": "f:live"}),
                format!("{own}:function:f:live"),
            ),
            (
                "GetFunction",
                json!({"FunctionName": format!("{own}:function:f")}),
                format!("{own}:function:f"),
            ),
            (
                "DeleteFunction",
                json!({"FunctionName": "999999999999:function:f"}),
                "arn:aws:lambda:us-east-1:999999999999:function:f".to_owned(),
            ),
            // What does not act on a qualifier is checked as what it acts on.
            (
                "UpdateFunctionCode",
                json!({"FunctionName": "prod:$LATEST"}),
                format!("{own}:function:prod"),
            ),
            (
                "UpdateAlias",
                json!({"FunctionName": format!("{own}:function:prod:dev"), "Name": "live"}),
                format!("{own}:function:prod"),
            ),
            (
                "PublishVersion",
                json!({"FunctionName": "prod:dev"}),
                format!("{own}:function:prod"),
            ),
            (
                "CreateFunction",
                json!({"FunctionName": "prod:dev"}),
                format!("{own}:function:prod"),
            ),
            (
                "ListFunctionUrlConfigs",
                json!({"FunctionName": "prod:dev", "Qualifier": "dev"}),
                format!("{own}:function:prod"),
            ),
            (
                "DeleteFunction",
                json!({"FunctionName": "f:1"}),
                format!("{own}:function:f:1"),
            ),
            ("ListFunctions", json!({"MaxItems": 1}), "*".to_owned()),
            ("GetAccountSettings", json!({}), "*".to_owned()),
            (
                "PublishLayerVersion",
                json!({"LayerName": "l"}),
                format!("{own}:layer:l"),
            ),
            (
                "GetLayerVersion",
                json!({"LayerName": "l", "VersionNumber": 2}),
                format!("{own}:layer:l:2"),
            ),
            (
                "DeleteLayerVersion",
                json!({"LayerName": format!("{own}:layer:l"), "VersionNumber": 2}),
                format!("{own}:layer:l:2"),
            ),
            (
                "GetLayerVersionByArn",
                json!({"Arn": format!("{own}:layer:l:2")}),
                format!("{own}:layer:l:2"),
            ),
            ("ListLayerVersions", json!({"LayerName": "l"}), "*".to_owned()),
            (
                "ListTags",
                json!({"Resource": format!("{own}:function:f")}),
                format!("{own}:function:f"),
            ),
            (
                "GetEventSourceMapping",
                json!({"UUID": "u"}),
                format!("{own}:event-source-mapping:u"),
            ),
            ("ListEventSourceMappings", json!({"FunctionName": "f"}), "*".to_owned()),
            (
                "UpdateEventSourceMapping",
                json!({"UUID": "u", "FunctionName": "f"}),
                format!("{own}:event-source-mapping:u"),
            ),
            (
                "TagResource",
                json!({"Resource": "arn:aws-x:lambda:us-east-1:123456789012:function:f"}),
                format!("{own}:function:f"),
            ),
            (
                "TagResource",
                json!({"Resource": "arn:aws:lambda:xx-y-1:999999999999:event-source-mapping:u"}),
                format!("{own}:event-source-mapping:u"),
            ),
            (
                "GetLayerVersionByArn",
                json!({"Arn": "arn:aws-x:lambda:us-east-1:123456789012:layer:l:02"}),
                format!("{own}:layer:l:2"),
            ),
        ];
        let model = Model::embedded().unwrap();
        for (name, input, expected) in cases {
            let mut operations = model.router().operations();
            let operation = operations.find(|operation| operation.name == name).unwrap();
            let found = resource(&model, ("us-east-1", &account), operation, input.as_object().unwrap());
            assert_eq!(found, expected, "{name} {input}");
        }
        assert_eq!(action("GetLayerVersionByArn"), "lambda:GetLayerVersion");
        assert_eq!(action("PublishVersion"), "lambda:PublishVersion");
    }
}
