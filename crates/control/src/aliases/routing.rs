//! The rules of an alias that sends invocations to two versions.

use crate::ControlError;
use crate::function_record::LATEST;
use std::collections::BTreeMap;

/// At most one version, a number, with a weight of 0 to 1.
pub(super) fn check_weights(weights: &BTreeMap<String, f64>) -> Result<Option<(String, f64)>, ControlError> {
    if weights.len() > 1 {
        let message = "Number of items in AdditionalVersionWeights cannot be greater than 1";
        return Err(ControlError::invalid(message));
    }
    let Some((version, weight)) = weights.first_key_value() else {
        return Ok(None);
    };
    if !(0.0..=1.0).contains(weight) {
        return Err(ControlError::out_of_model(format!(
            "1 validation error detected: Value '{{{version}={weight}}}' at 'routingConfig.additionalVersionWeights' \
             failed to satisfy constraint: Map value must satisfy constraint: [Member must have value less than or \
             equal to 1.0, Member must have value greater than or equal to 0.0, Member must not be null]"
        )));
    }
    if version == LATEST {
        return Err(latest_has_no_weights());
    }
    if version.is_empty() || !version.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(ControlError::out_of_model(format!(
            "1 validation error detected: Value '{{{version}={weight}}}' at 'routingConfig.additionalVersionWeights' \
             failed to satisfy constraint: Map keys must satisfy constraint: [Member must have length less than or \
             equal to 1024, Member must have length greater than or equal to 1, Member must satisfy regular expression \
             pattern: [0-9]+]"
        )));
    }
    Ok(Some((version.clone(), *weight)))
}

/// The two versions differ, and both are numbers.
pub(super) fn check_routing(version: &str, other: &str) -> Result<(), ControlError> {
    if version == other {
        return Err(ControlError::invalid(format!(
            "Invalid function version {version}. Function version {version} is already included in routing \
             configuration."
        )));
    }
    if version == LATEST {
        return Err(latest_has_no_weights());
    }
    Ok(())
}

fn latest_has_no_weights() -> ControlError {
    ControlError::invalid("$LATEST is not supported for an alias pointing to more than 1 version")
}
