//! From the record's errors to the API's.

use super::ApiError;
use control::{ControlError, PackageError};

/// `StateReasonCode` of a machine's own failure; every other code says what is wrong with the package.
const INTERNAL: &str = "InternalError";

impl From<ControlError> for ApiError {
    fn from(error: ControlError) -> Self {
        match error {
            ControlError::NotFound { what } => Self::new("ResourceNotFoundException", what),
            ControlError::Conflict { message } => Self::new("ResourceConflictException", message),
            ControlError::InUse { message } => Self::new("ResourceInUseException", message),
            ControlError::Invalid { message } => Self::new("InvalidParameterValueException", message),
            ControlError::OutOfModel { message } => Self::new("ValidationException", message),
            ControlError::PreconditionFailed { message } => Self::new("PreconditionFailedException", message),
            ControlError::PolicyLengthExceeded { message } => Self::new("PolicyLengthExceededException", message),
            ControlError::LimitExceeded { message } => Self::new("ServiceQuotaExceededException", message),
            ControlError::ProvisionedConcurrencyConfigNotFound { what } => {
                Self::new("ProvisionedConcurrencyConfigNotFoundException", what)
            }
            ControlError::Package(error) => of_package(error),
            ControlError::Database(_)
            | ControlError::EventNotWritten
            | ControlError::Record { .. }
            | ControlError::Account { .. }
            | ControlError::SchemaNewer { .. }
            | ControlError::File { .. } => internal(&error),
        }
    }
}

fn of_package(error: PackageError) -> ApiError {
    if error.reason_code == INTERNAL {
        return internal(&ControlError::Package(error));
    }
    ApiError::new("InvalidParameterValueException", error.message)
}

/// What the caller cannot change; the log says it, the answer does not: it may name files and hosts.
fn internal(error: &ControlError) -> ApiError {
    tracing::error!(%error, "an operation of the Lambda API failed");
    ApiError::new(
        "ServiceException",
        "An internal error occurred; the server's log says which. Please try again.",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packages_that_are_wrong_are_the_callers_errors() {
        let check = |reason_code: &'static str, expected: &str| {
            let error = PackageError {
                reason_code,
                message: "why".into(),
            };
            assert_eq!(
                ApiError::from(ControlError::Package(error)).code,
                expected,
                "{reason_code}"
            );
        };
        check("InvalidImage", "InvalidParameterValueException");
        check("ImageAccessDenied", "InvalidParameterValueException");
        check("InvalidParameterValueException", "InvalidParameterValueException");
        check("InternalError", "ServiceException");
    }

    #[test]
    fn inner_failures_stay_inside() {
        let path = "/var/lib/lambent/secret".into();
        let error = ControlError::File {
            path,
            source: std::io::ErrorKind::NotFound.into(),
        };
        let answer = ApiError::from(error);
        assert_eq!(answer.code, "ServiceException");
        assert!(!answer.message.contains("secret"));
    }
}
