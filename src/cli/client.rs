//! A small client of a server's API, for the commands that look into it. Real clients use the AWS SDKs.

use std::process::ExitCode;
use std::time::Duration;

use aws_sigv4::http_request::{SignableBody, SignableRequest, SigningSettings, sign};
use bytes::Bytes;
use clap::Args;
use http::{Method, Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde_json::Value;

use crate::cli::Failure;
use crate::model::Region;

/// How long a connection may take: the server is on this machine or near.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// The largest answer that is read: the API's own pages are far smaller.
const ANSWER_BYTES_MAX: usize = 64 << 20;

/// Which server, and which of its regions.
#[derive(Clone, Debug, Args)]
pub struct ServerArgs {
    /// The server's address.
    #[arg(long, env = "CORACLE_ENDPOINT", default_value = "http://127.0.0.1:4566", value_name = "URL")]
    pub endpoint: String,
    /// The region to look into: each has resources of its own.
    #[arg(long, default_value_t = default_region())]
    pub region: Region,
}

/// The region of the environment, as the AWS clients read it.
pub fn default_region() -> Region {
    let named = |variable: &str| std::env::var(variable).ok()?.parse().ok();
    named("AWS_REGION")
        .or_else(|| named("AWS_DEFAULT_REGION"))
        .unwrap_or_else(|| "us-east-1".parse().expect("us-east-1 is a region's name"))
}

pub struct ServerClient {
    http: Client<HttpConnector, Full<Bytes>>,
    endpoint: String,
    region: Region,
}

/// Runs a client's command on a runtime of its own.
pub fn block_on(command: impl Future<Output = Result<ExitCode, Failure>>) -> Result<ExitCode, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.map_err(|error| Failure::new("cannot start").caused_by(error))?.block_on(command)
}

impl ServerClient {
    pub fn new(arguments: &ServerArgs) -> Result<ServerClient, Failure> {
        let endpoint = arguments.endpoint.trim_end_matches('/').to_owned();
        let is_http =
            endpoint.parse::<http::Uri>().is_ok_and(|uri| uri.scheme_str() == Some("http") && uri.host().is_some());
        if !is_http {
            return Err(Failure::new(format!("'{endpoint}' is not an endpoint"))
                .next("Give --endpoint as http://HOST:PORT, such as http://127.0.0.1:4566."));
        }
        let mut connector = HttpConnector::new();
        connector.set_connect_timeout(Some(CONNECT_TIMEOUT));
        Ok(ServerClient {
            http: Client::builder(TokioExecutor::new()).build(connector),
            endpoint,
            region: arguments.region.clone(),
        })
    }

    /// Calls an operation of ECS.
    pub async fn ecs(&self, operation: &str, input: Value) -> Result<Value, Failure> {
        let body = Bytes::from(input.to_string());
        let request = Request::builder()
            .method(Method::POST)
            .uri(format!("{}/", self.endpoint))
            .header("content-type", "application/x-amz-json-1.1")
            .header("x-amz-target", format!("AmazonEC2ContainerServiceV20141113.{operation}"));
        let response = self.send(request, body).await?;
        let status = response.status();
        let answer = read(response).await?;
        let answer: Value = serde_json::from_slice(&answer).map_err(|error| {
            Failure::new(format!("{} did not answer as ECS does", self.endpoint))
                .next("Another server may be there: name Coracle's with --endpoint or CORACLE_ENDPOINT.")
                .caused_by(error)
        })?;
        if status.is_success() {
            return Ok(answer);
        }
        let kind = answer["__type"].as_str().unwrap_or("error");
        let message = answer["message"].as_str().or(answer["Message"].as_str()).unwrap_or_default();
        Err(Failure::new(format!("{operation}: {kind}: {message}")))
    }

    /// Collects all pages of a list operation.
    pub async fn ecs_list(&self, operation: &str, mut input: Value, member: &str) -> Result<Vec<String>, Failure> {
        let mut items = Vec::new();
        loop {
            let mut page = self.ecs(operation, input.clone()).await?;
            let found = page[member].as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned);
            items.extend(found);
            match page["nextToken"].take() {
                Value::String(token) => input["nextToken"] = Value::String(token),
                _ => return Ok(items),
            }
        }
    }

    /// Gets one of our own documents, as a stream.
    pub async fn get(&self, path: &str) -> Result<Response<Incoming>, Failure> {
        let request = Request::builder().method(Method::GET).uri(format!("{}{path}", self.endpoint));
        let response = self.send(request, Bytes::new()).await?;
        if response.status().is_success() {
            return Ok(response);
        }
        let status = response.status();
        let text = read(response).await?;
        Err(Failure::new(format!("{}{path}: {status}: {}", self.endpoint, String::from_utf8_lossy(&text).trim())))
    }

    pub async fn get_json(&self, path: &str) -> Result<Value, Failure> {
        let answer = read(self.get(path).await?).await?;
        serde_json::from_slice(&answer)
            .map_err(|error| Failure::new(format!("{}{path} did not answer JSON", self.endpoint)).caused_by(error))
    }

    async fn send(&self, request: http::request::Builder, body: Bytes) -> Result<Response<Incoming>, Failure> {
        let mut request =
            request.body(Full::new(body.clone())).map_err(|error| Failure::new("bad request").caused_by(error))?;
        self.sign(&mut request, &body)?;
        self.http.request(request).await.map_err(|error| {
            Failure::new(format!("no server answers at {}", self.endpoint))
                .next("Start one with `coracle serve`, or name another with --endpoint or CORACLE_ENDPOINT.")
                .caused_by(error)
        })
    }

    /// Signs with the keys of the environment. Without them the region alone is named: a server without access keys
    /// asks for no more.
    fn sign(&self, request: &mut Request<Full<Bytes>>, body: &Bytes) -> Result<(), Failure> {
        let cannot =
            |error: Box<dyn std::error::Error + Send + Sync>| Failure::new("cannot sign the request").caused_by(error);
        let (Ok(id), Ok(secret)) = (std::env::var("AWS_ACCESS_KEY_ID"), std::env::var("AWS_SECRET_ACCESS_KEY")) else {
            let scope = format!(
                "AWS4-HMAC-SHA256 Credential=coracle/20000101/{}/ecs/aws4_request, SignedHeaders=host, Signature=0",
                self.region
            );
            let value = http::HeaderValue::from_str(&scope).map_err(|error| cannot(error.into()))?;
            request.headers_mut().insert(http::header::AUTHORIZATION, value);
            return Ok(());
        };
        let identity = aws_sigv4::sign::v4::SigningParams::builder();
        let credentials = aws_credential_types::Credentials::new(
            id,
            secret,
            std::env::var("AWS_SESSION_TOKEN").ok(),
            None,
            "environment",
        );
        let identity_of = credentials.into();
        let parameters = identity
            .identity(&identity_of)
            .region(self.region.as_str())
            .name("ecs")
            .time(std::time::SystemTime::now())
            .settings(SigningSettings::default())
            .build()
            .map_err(|error| cannot(error.into()))?
            .into();
        let authority = request.uri().authority().map(ToString::to_string).unwrap_or_default();
        request
            .headers_mut()
            .insert(http::header::HOST, http::HeaderValue::from_str(&authority).map_err(|error| cannot(error.into()))?);
        let headers: Vec<(&str, &str)> =
            request.headers().iter().filter_map(|(name, value)| Some((name.as_str(), value.to_str().ok()?))).collect();
        let uri = request.uri().to_string();
        let signable =
            SignableRequest::new(request.method().as_str(), &uri, headers.into_iter(), SignableBody::Bytes(body))
                .map_err(|error| cannot(error.into()))?;
        let (instructions, _) = sign(signable, &parameters).map_err(|error| cannot(error.into()))?.into_parts();
        instructions.apply_to_request_http1x(request);
        Ok(())
    }
}

/// Reads an answer whole.
async fn read(response: Response<Incoming>) -> Result<Bytes, Failure> {
    let body = http_body_util::Limited::new(response.into_body(), ANSWER_BYTES_MAX);
    let collected = body.collect().await.map_err(|error| Failure::new("the answer broke off").caused_by(error))?;
    Ok(collected.to_bytes())
}
