//! Serves function URLs: an HTTP request becomes an event of version 2.0, the answer becomes an HTTP response.
//!
//! A URL is reached by its host, `ID.lambda-url.REGION.…`, or on any host under `/_url/ID/`, which needs no DNS.
//! Source for the shapes: AWS Lambda Developer Guide, "Invoking Lambda function URLs".

mod address;
mod cors;
mod event;
mod prelude;
mod refusal;
mod reply;

pub(crate) use address::{Address, find};

use crate::answer::Response;
use crate::body::{BodyError, Received};
use crate::invocation::{self, Ask};
use crate::server::RequestContext;
use crate::{Gateway, authorization};
use api::ResponseMode;
use axum::body::Body;
use axum::http::Method;
use axum::http::request::Parts;
use chunk::Account;
use control::FunctionUrl;
use refusal::Refusal;

/// Largest request, bytes: 6 MiB, as for every invocation.
const BODY_MAX: usize = 6_291_456;

/// Answers a request to a function URL.
pub(crate) async fn serve(
    gateway: &Gateway,
    context: &RequestContext,
    address: &Address,
    parts: &Parts,
    body: Body,
) -> Response {
    match answer(gateway, context, address, parts, body).await {
        Ok(response) => response,
        Err(refusal) => refusal.response(),
    }
}

async fn answer(
    gateway: &Gateway,
    context: &RequestContext,
    address: &Address,
    parts: &Parts,
    body: Body,
) -> Result<Response, Refusal> {
    let url = gateway
        .control
        .function_url_by_id(&address.id)
        .await
        .map_err(Refusal::Record)?
        .ok_or(Refusal::NoUrl)?;
    if let Some(cors) = &url.cors
        && let Some(response) = cors::preflight(cors, parts)
    {
        return Ok(response);
    }
    let (caller, body) = admit(gateway, &url, parts, body).await?;
    let mode = if url.invoke_mode == "RESPONSE_STREAM" {
        ResponseMode::Streaming
    } else {
        ResponseMode::Buffered
    };
    let asked = event::Asked {
        context,
        address,
        url: &url,
        caller: caller.as_ref(),
        parts,
        now_ms: gateway.now_ms(),
    };
    let ask = Ask {
        account: &url.account,
        name: &url.name,
        qualifier: url.qualifier.as_deref(),
        request_id: &context.request_id,
        payload: event::event(&asked, &body.bytes),
        client_context: None,
        trace_id: invocation::trace_id(&context.request_id, gateway.now_ms()),
        mode,
        tail: false,
    };
    let started = match mode {
        ResponseMode::Buffered => invocation::answer(gateway, ask).await,
        ResponseMode::Streaming => invocation::run(gateway, ask).await,
    };
    let mut started = started.map_err(Refusal::Invoke)?;
    let further = std::mem::take(&mut started.headers);
    let mut response = match mode {
        ResponseMode::Buffered => reply::buffered(started).await?,
        ResponseMode::Streaming => reply::streamed(started).await?,
    };
    response.headers_mut().extend(further);
    if let Some(cors) = &url.cors {
        cors::decorate(cors, parts, &mut response);
    }
    if parts.method == Method::HEAD {
        *response.body_mut() = Body::empty();
    }
    Ok(response)
}

/// Lets a caller in, or not: by signature if the URL asks for one, then by the function's policy.
async fn admit(
    gateway: &Gateway,
    url: &FunctionUrl,
    parts: &Parts,
    body: Body,
) -> Result<(Option<Account>, Received), Refusal> {
    // Who cannot be let in has no body read.
    let claim = match url.auth_type.as_str() {
        "AWS_IAM" => Some(gateway.identify(parts, "lambda").map_err(Refusal::Signature)?),
        _ => {
            permit(gateway, url, None).await?;
            None
        }
    };
    let body = gateway
        .bodies
        .read(&parts.headers, body, BODY_MAX)
        .await
        .map_err(refuse_body)?;
    let Some(claim) = claim else { return Ok((None, body)) };
    let caller = claim
        .verify(parts, &body.bytes, &gateway.signing_keys)
        .map_err(Refusal::Signature)?;
    let arn = authorization::function_arn(&gateway.region, &url.account, &url.name, url.qualifier.as_deref());
    caller
        .check("lambda:InvokeFunctionUrl", &arn)
        .map_err(|_| Refusal::Forbidden)?;
    permit(gateway, url, Some(&caller.account)).await?;
    Ok((Some(caller.account), body))
}

async fn permit(gateway: &Gateway, url: &FunctionUrl, caller: Option<&Account>) -> Result<(), Refusal> {
    let may = gateway
        .control
        .may_invoke_url(url, caller)
        .await
        .map_err(Refusal::Record)?;
    if may { Ok(()) } else { Err(Refusal::Forbidden) }
}

fn refuse_body(error: BodyError) -> Refusal {
    match error {
        BodyError::TooLarge { .. } => Refusal::TooLarge,
        BodyError::Slow | BodyError::Broken => Refusal::BadBody,
    }
}
