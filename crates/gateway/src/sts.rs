//! STS: GetCallerIdentity, in the query protocol with answers in XML.

use crate::answer::{self, Response};
use crate::authorization::Caller;
use crate::query;
use crate::sigv4::SignatureFailure;
use axum::http::StatusCode;

const NAMESPACE: &str = "https://sts.amazonaws.com/doc/2011-06-15/";

/// Answers a form, from a caller that has been authenticated.
pub(crate) fn answer(caller: &Caller, form: &[u8], request_id: &str) -> Response {
    let form = String::from_utf8_lossy(form);
    match query::pairs(&form)
        .find(|(name, _)| name == "Action")
        .map(|(_, action)| action)
    {
        Some(action) if action == "GetCallerIdentity" => identity(caller, request_id),
        action => {
            let action = action.unwrap_or_default();
            let message = format!("Could not find operation {} for version 2011-06-15", escape(&action));
            error(StatusCode::BAD_REQUEST, "InvalidAction", &message, request_id)
        }
    }
}

/// Anybody may ask who it is, whatever its policy says, as in AWS.
fn identity(caller: &Caller, request_id: &str) -> Response {
    let (account, arn, user_id) = (&caller.account, caller.arn(), caller.user_id());
    let body = format!(
        "<GetCallerIdentityResponse xmlns=\"{NAMESPACE}\"><GetCallerIdentityResult><Arn>{arn}</Arn>\
         <UserId>{user_id}</UserId><Account>{account}</Account></GetCallerIdentityResult>\
         <ResponseMetadata><RequestId>{request_id}</RequestId></ResponseMetadata></GetCallerIdentityResponse>"
    );
    answer::text(StatusCode::OK, "text/xml", body)
}

/// The answer to a caller who is not believed; STS has names of its own for two cases.
pub(crate) fn refusal(failure: &SignatureFailure, request_id: &str) -> Response {
    let code = match failure {
        SignatureFailure::UnknownKey => "InvalidClientTokenId",
        SignatureFailure::Missing => "MissingAuthenticationToken",
        SignatureFailure::Incomplete(_) => "IncompleteSignature",
        _ => "SignatureDoesNotMatch",
    };
    error(StatusCode::FORBIDDEN, code, &escape(&failure.to_string()), request_id)
}

/// An error document; `message` is escaped already.
pub(crate) fn error(status: StatusCode, code: &str, message: &str, request_id: &str) -> Response {
    let body = format!(
        "<ErrorResponse xmlns=\"{NAMESPACE}\"><Error><Type>Sender</Type><Code>{code}</Code>\
         <Message>{message}</Message></Error><RequestId>{request_id}</RequestId></ErrorResponse>"
    );
    answer::text(status, "text/xml", body)
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}
