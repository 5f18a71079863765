//! Which handler answers which operation.

use super::{ApiError, Call, event_source_mappings, versions};
use super::{aliases, concurrency, event_invoke, function_settings, function_urls, functions, layers, policies, tags};
use crate::Gateway;
use serde_json::Value;

/// Answers an operation: the output by the model's member names.
///
/// An operation of the model that is not in this list is one that Lambent does not have; the error says so.
pub(super) async fn answer(gateway: &Gateway, operation: &str, call: Call) -> Result<Value, ApiError> {
    match operation {
        "CreateFunction" => functions::create_function(gateway, call).await,
        "GetFunction" => functions::get_function(gateway, call).await,
        "GetFunctionConfiguration" => functions::get_function_configuration(gateway, call).await,
        "ListFunctions" => functions::list_functions(gateway, call).await,
        "UpdateFunctionCode" => functions::update_function_code(gateway, call).await,
        "UpdateFunctionConfiguration" => functions::update_function_configuration(gateway, call).await,
        "DeleteFunction" => functions::delete_function(gateway, call).await,

        "PublishVersion" => versions::publish_version(gateway, call).await,
        "ListVersionsByFunction" => versions::list_versions_by_function(gateway, call).await,

        "CreateAlias" => aliases::create_alias(gateway, call).await,
        "GetAlias" => aliases::get_alias(gateway, call).await,
        "UpdateAlias" => aliases::update_alias(gateway, call).await,
        "DeleteAlias" => aliases::delete_alias(gateway, call).await,
        "ListAliases" => aliases::list_aliases(gateway, call).await,

        "PutFunctionConcurrency" => concurrency::put_function_concurrency(gateway, call).await,
        "GetFunctionConcurrency" => concurrency::get_function_concurrency(gateway, call).await,
        "DeleteFunctionConcurrency" => concurrency::delete_function_concurrency(gateway, call).await,
        "PutProvisionedConcurrencyConfig" => concurrency::put_provisioned_concurrency_config(gateway, call).await,
        "GetProvisionedConcurrencyConfig" => concurrency::get_provisioned_concurrency_config(gateway, call).await,
        "DeleteProvisionedConcurrencyConfig" => concurrency::delete_provisioned_concurrency_config(gateway, call).await,
        "ListProvisionedConcurrencyConfigs" => concurrency::list_provisioned_concurrency_configs(gateway, call).await,

        "PutFunctionEventInvokeConfig" => event_invoke::put_function_event_invoke_config(gateway, call).await,
        "UpdateFunctionEventInvokeConfig" => event_invoke::update_function_event_invoke_config(gateway, call).await,
        "GetFunctionEventInvokeConfig" => event_invoke::get_function_event_invoke_config(gateway, call).await,
        "DeleteFunctionEventInvokeConfig" => event_invoke::delete_function_event_invoke_config(gateway, call).await,
        "ListFunctionEventInvokeConfigs" => event_invoke::list_function_event_invoke_configs(gateway, call).await,

        "CreateEventSourceMapping" => event_source_mappings::create_event_source_mapping(gateway, call).await,
        "GetEventSourceMapping" => event_source_mappings::get_event_source_mapping(gateway, call).await,
        "ListEventSourceMappings" => event_source_mappings::list_event_source_mappings(gateway, call).await,
        "UpdateEventSourceMapping" => event_source_mappings::update_event_source_mapping(gateway, call).await,
        "DeleteEventSourceMapping" => event_source_mappings::delete_event_source_mapping(gateway, call).await,

        "CreateFunctionUrlConfig" => function_urls::create_function_url_config(gateway, call).await,
        "GetFunctionUrlConfig" => function_urls::get_function_url_config(gateway, call).await,
        "UpdateFunctionUrlConfig" => function_urls::update_function_url_config(gateway, call).await,
        "DeleteFunctionUrlConfig" => function_urls::delete_function_url_config(gateway, call).await,
        "ListFunctionUrlConfigs" => function_urls::list_function_url_configs(gateway, call).await,

        "PublishLayerVersion" => layers::publish_layer_version(gateway, call).await,
        "GetLayerVersion" => layers::get_layer_version(gateway, call).await,
        "GetLayerVersionByArn" => layers::get_layer_version_by_arn(gateway, call).await,
        "ListLayerVersions" => layers::list_layer_versions(gateway, call).await,
        "ListLayers" => layers::list_layers(gateway, call).await,
        "DeleteLayerVersion" => layers::delete_layer_version(gateway, call).await,
        "AddLayerVersionPermission" => layers::add_layer_version_permission(gateway, call).await,
        "RemoveLayerVersionPermission" => layers::remove_layer_version_permission(gateway, call).await,
        "GetLayerVersionPolicy" => layers::get_layer_version_policy(gateway, call).await,

        "AddPermission" => policies::add_permission(gateway, call).await,
        "GetPolicy" => policies::get_policy(gateway, call).await,
        "RemovePermission" => policies::remove_permission(gateway, call).await,

        "ListTags" => tags::list_tags(gateway, call).await,
        "TagResource" => tags::tag_resource(gateway, call).await,
        "UntagResource" => tags::untag_resource(gateway, call).await,

        "GetAccountSettings" => function_settings::get_account_settings(gateway, call).await,
        "GetRuntimeManagementConfig" => function_settings::get_runtime_management_config(gateway, call).await,
        "PutRuntimeManagementConfig" => function_settings::put_runtime_management_config(gateway, call).await,
        "GetFunctionRecursionConfig" => function_settings::get_function_recursion_config(gateway, call).await,
        "PutFunctionRecursionConfig" => function_settings::put_function_recursion_config(gateway, call).await,
        "GetFunctionCodeSigningConfig" => function_settings::get_function_code_signing_config(gateway, call).await,
        "PutFunctionCodeSigningConfig" => function_settings::put_function_code_signing_config(gateway, call).await,
        "DeleteFunctionCodeSigningConfig" => {
            function_settings::delete_function_code_signing_config(gateway, call).await
        }

        _ => Err(not_implemented(operation)),
    }
}

/// What an operation that Lambent does not have answers: a code of the model that no client retries.
fn not_implemented(operation: &str) -> ApiError {
    ApiError::new(
        "InvalidParameterValueException",
        format!("Lambent does not implement {operation}."),
    )
}
