//! Signed requests to the endpoint of `lambent up`, for the commands of people who do not want the `aws` tool.

use crate::client_files::{self, ClientFiles};
use crate::environment::Places;
use anyhow::{Context, Result, bail};
use aws_credential_types::Credentials;
use aws_sigv4::http_request::{SignableBody, SignableRequest, SigningSettings, sign};
use aws_sigv4::sign::v4::SigningParams;
use aws_smithy_runtime_api::client::identity::Identity;
use bytes::Bytes;
use serde_json::Value;
use std::time::{Duration, SystemTime};

/// Longer than the longest function runs, 15 min.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(16 * 60);

/// An answer longer than this is not the API's: payloads are 6 MiB.
const ANSWER_BYTES_MAX: usize = 64 * 1024 * 1024;

/// Asks one endpoint with one key.
pub(crate) struct LambdaClient {
    http: reqwest::Client,
    files: ClientFiles,
}

/// A request to be signed.
pub(crate) struct Call<'a> {
    pub(crate) method: &'a str,
    /// With its query; already escaped.
    pub(crate) path: String,
    pub(crate) headers: Vec<(&'a str, &'a str)>,
    pub(crate) body: Bytes,
    /// `lambda` or `logs`.
    pub(crate) service: &'static str,
}

/// What came back, whatever its status.
pub(crate) struct Response {
    pub(crate) status: u16,
    headers: reqwest::header::HeaderMap,
    pub(crate) body: Bytes,
}

impl Response {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// The error's code and message, as the API says them.
    pub(crate) fn error(&self) -> String {
        let (message, code) = (self.message(), self.code());
        format!(
            "{} ({}, status {})",
            message.as_deref().unwrap_or("no message"),
            code.as_deref().unwrap_or("no code"),
            self.status
        )
    }

    /// The error's message.
    pub(crate) fn message(&self) -> Option<String> {
        let body: Value = serde_json::from_slice(&self.body).unwrap_or_default();
        let message = ["message", "Message"].iter().find_map(|key| body[key].as_str());
        message.map(ToOwned::to_owned)
    }

    /// The error's code.
    pub(crate) fn code(&self) -> Option<String> {
        let body: Value = serde_json::from_slice(&self.body).unwrap_or_default();
        let code = self.header("x-amzn-errortype").or_else(|| body["__type"].as_str());
        // What follows a colon is the address of a description.
        code.map(|code| code.split(':').next().unwrap_or_default().to_owned())
    }

    #[cfg(test)]
    pub(crate) fn of(status: u16, headers: &[(&str, &str)], body: &str) -> Self {
        let pair = |(name, value): &(&str, &str)| {
            let name: reqwest::header::HeaderName = name.parse().expect("a test's header has a name");
            (name, value.parse().expect("a test's header has a value"))
        };
        Self {
            status,
            headers: headers.iter().map(pair).collect(),
            body: Bytes::copy_from_slice(body.as_bytes()),
        }
    }
}

impl LambdaClient {
    /// Reads where the endpoint is; asks nothing yet.
    pub(crate) fn open(places: &Places) -> Result<Self> {
        let files = client_files::read(&places.data)?;
        // The endpoint is on this machine or near: no proxy stands between.
        let http = reqwest::Client::builder().no_proxy().timeout(ANSWER_TIMEOUT).build();
        Ok(Self {
            http: http.context("cannot prepare an HTTP client")?,
            files,
        })
    }

    /// A Lambda operation that answers JSON; errors of the API are errors here.
    pub(crate) async fn lambda(&self, method: &str, path: String, body: Option<&Value>) -> Result<Value> {
        let response = self
            .send(Call {
                method,
                path,
                headers: vec![("content-type", "application/json")],
                body: body.map_or_else(Bytes::new, |body| body.to_string().into()),
                service: "lambda",
            })
            .await?;
        answer(&response)
    }

    /// The same, `None` where the API says that the thing is not there.
    pub(crate) async fn find(&self, path: String) -> Result<Option<Value>> {
        let response = self
            .send(Call {
                method: "GET",
                path,
                headers: Vec::new(),
                body: Bytes::new(),
                service: "lambda",
            })
            .await?;
        if response.status == 404 {
            return Ok(None);
        }
        answer(&response).map(Some)
    }

    /// An operation of CloudWatch Logs.
    pub(crate) async fn logs(&self, operation: &str, input: &Value) -> Result<Value> {
        let target = format!("Logs_20140328.{operation}");
        let response = self
            .send(Call {
                method: "POST",
                path: "/".to_owned(),
                headers: vec![
                    ("content-type", "application/x-amz-json-1.1"),
                    ("x-amz-target", &target),
                ],
                body: input.to_string().into(),
                service: "logs",
            })
            .await?;
        answer(&response)
    }

    /// Signs and sends.
    pub(crate) async fn send(&self, call: Call<'_>) -> Result<Response> {
        let url = format!("{}{}", self.files.endpoint, call.path);
        let signed = self.sign(&url, &call)?;
        let method = call.method.parse().expect("methods are ours");
        let mut request = self.http.request(method, &url).body(call.body);
        for (name, value) in call.headers {
            request = request.header(name, value);
        }
        for (name, value) in signed {
            request = request.header(name, value);
        }
        let asked = || format!("cannot reach {}: is `lambent up` running?", self.files.endpoint);
        let mut response = request.send().await.with_context(asked)?;
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let mut body = Vec::new();
        while let Some(part) = response.chunk().await.with_context(asked)? {
            body.extend_from_slice(&part);
            if body.len() > ANSWER_BYTES_MAX {
                bail!("{url} answers more than {ANSWER_BYTES_MAX} bytes: it is not a Lambda endpoint");
            }
        }
        Ok(Response {
            status,
            headers,
            body: body.into(),
        })
    }

    fn sign(&self, url: &str, call: &Call<'_>) -> Result<Vec<(String, String)>> {
        let files = &self.files;
        let credentials = Credentials::new(&files.access_key_id, &files.secret_access_key, None, None, "lambent");
        let identity: Identity = credentials.into();
        let parameters = SigningParams::builder()
            .identity(&identity)
            .region(&files.region)
            .name(call.service)
            .time(SystemTime::now())
            .settings(SigningSettings::default())
            .build()
            .context("cannot sign")?
            .into();
        let body = SignableBody::Bytes(&call.body);
        let request = SignableRequest::new(call.method, url, call.headers.iter().copied(), body)
            .with_context(|| format!("cannot sign a request to {url}"))?;
        let (instructions, _) = sign(request, &parameters)
            .with_context(|| format!("cannot sign a request to {url}"))?
            .into_parts();
        let headers = instructions.headers();
        Ok(headers
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect())
    }
}

fn answer(response: &Response) -> Result<Value> {
    if response.status >= 300 {
        bail!("{}", response.error());
    }
    if response.body.is_empty() {
        return Ok(Value::Null);
    }
    serde_json::from_slice(&response.body).context("the endpoint's answer is not JSON")
}

/// Path of a function, with what follows its name, such as `/invocations`.
pub(crate) fn function_path(name: &str, rest: &str) -> String {
    format!("/2015-03-31/functions/{}{rest}", escape(name))
}

/// A path segment or a query's value: all but the unreserved characters of RFC 3986 as bytes in hexadecimal.
pub(crate) fn escape(text: &str) -> String {
    let escaped = text.bytes().map(|byte| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => char::from(byte).to_string(),
        _ => format!("%{byte:02X}"),
    });
    escaped.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_stays_one_segment() {
        assert_eq!(
            function_path("arn:aws:lambda/x ?", "/invocations"),
            "/2015-03-31/functions/arn%3Aaws%3Alambda%2Fx%20%3F/invocations"
        );
    }
}
