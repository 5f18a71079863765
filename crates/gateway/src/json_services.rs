//! Services that speak JSON 1.1: CloudWatch Logs, ECR and Application Auto Scaling. The header `X-Amz-Target` names service and operation.

use crate::answer::{self, Response};
use crate::json_error::JsonError;
use crate::server::RequestContext;
use crate::{Gateway, authorization, autoscaling, ecr, logs};
use axum::body::Body;
use axum::http::header::{CONTENT_TYPE, HOST};
use axum::http::request::Parts;
use axum::http::{HeaderValue, StatusCode};
use serde_json::{Value, json};

/// Largest document, bytes: 1 MiB, CloudWatch Logs' own limit for what is written; what is read is asked for in less.
const BODY_MAX: usize = 1024 * 1024;

const CONTENT: HeaderValue = HeaderValue::from_static("application/x-amz-json-1.1");

/// Which service a target names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Service {
    Logs,
    Ecr,
    AutoScaling,
}

impl Service {
    fn find(target: &str) -> Option<(Self, &str)> {
        // What is checked is what runs: an operation's name has no dot.
        let (service, operation) = target
            .split_once('.')
            .filter(|(_, operation)| !operation.contains('.'))?;
        match service {
            "Logs_20140328" => Some((Self::Logs, operation)),
            "AmazonEC2ContainerRegistry_V20150921" => Some((Self::Ecr, operation)),
            "AnyScaleFrontendService" => Some((Self::AutoScaling, operation)),
            _ => None,
        }
    }

    fn signing_name(self) -> &'static str {
        match self {
            Self::Logs => "logs",
            Self::Ecr => "ecr",
            Self::AutoScaling => "application-autoscaling",
        }
    }
}

/// Answers a call; gives the service's name for the metrics as well.
pub(crate) async fn serve(
    gateway: &Gateway,
    _context: &RequestContext,
    parts: &Parts,
    body: Body,
) -> (&'static str, Response) {
    let target = parts
        .headers
        .get("x-amz-target")
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    let Some((service, operation)) = Service::find(target) else {
        let message = "X-Amz-Target names a service that Lambent does not have".to_owned();
        return (
            "unknown",
            refuse("UnknownOperationException", &message, StatusCode::BAD_REQUEST),
        );
    };
    let response = match answer(gateway, service, operation, parts, body).await {
        Ok(output) => with_content_type(answer::json(StatusCode::OK, &output)),
        Err(error) => {
            let status = StatusCode::from_u16(error.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
            refuse(&error.code, &error.message, status)
        }
    };
    (service.signing_name(), response)
}

async fn answer(
    gateway: &Gateway,
    service: Service,
    operation: &str,
    parts: &Parts,
    body: Body,
) -> Result<Value, JsonError> {
    let believe = |failure: crate::sigv4::SignatureFailure| error(failure.code(), failure.to_string());
    let claim = gateway.identify(parts, service.signing_name()).map_err(believe)?;
    let body = gateway.bodies.read(&parts.headers, body, BODY_MAX).await;
    let body = body.map_err(|failure| error("SerializationException", failure.to_string()))?;
    let caller = claim
        .verify(parts, &body.bytes, &gateway.signing_keys)
        .map_err(believe)?;
    authorization::check_json(gateway, &caller, (service.signing_name(), operation), &body.bytes)
        .map_err(|refused| error("AccessDeniedException", refused.to_string()))?;
    let account = caller.account.clone();
    let host = parts
        .headers
        .get(HOST)
        .and_then(|host| host.to_str().ok())
        .unwrap_or_default();
    match service {
        Service::Logs => logs::logs(gateway, &account, operation, &body.bytes).await,
        Service::Ecr => ecr::ecr(gateway, &caller, operation, &body.bytes, host).await,
        Service::AutoScaling => autoscaling::autoscaling(gateway, &account, operation, &body.bytes).await,
    }
}

fn error(code: &str, message: String) -> JsonError {
    JsonError {
        code: code.to_owned(),
        message,
        status: 400,
    }
}

fn refuse(code: &str, message: &str, status: StatusCode) -> Response {
    let mut response = with_content_type(answer::json(status, &json!({ "__type": code, "message": message })));
    if let Ok(code) = HeaderValue::try_from(code) {
        response.headers_mut().insert("x-amzn-errortype", code);
    }
    response
}

fn with_content_type(mut response: Response) -> Response {
    response.headers_mut().insert(CONTENT_TYPE, CONTENT);
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_names_one_service_and_one_operation() {
        assert_eq!(
            Service::find("Logs_20140328.DescribeLogGroups"),
            Some((Service::Logs, "DescribeLogGroups"))
        );
        for other in [
            "Logs_20140328.DescribeLogGroups.GetLogEvents",
            "Logs_20140328..DescribeLogGroups",
            "Logs_20140328",
            "Logs_20150328.DescribeLogGroups",
            ".DescribeLogGroups",
            "",
        ] {
            assert_eq!(Service::find(other), None, "{other}");
        }
    }
}
