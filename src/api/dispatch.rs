//! A request's way through the API, top to bottom: who it is for, who sent it, what it says, run, committed, answered.
//!
//! It knows no sockets: `front` gives it requests that were read, with the time and with randomness, and the command line
//! calls it in process. So the whole API is tested without a server.

use std::sync::Arc;

use bytes::Bytes;
use http::header::HeaderName;
use http::request::Parts;
use http::{HeaderValue, Request, Response};
use serde_json::Value;

use crate::api::context::{Caller, Context, IdSource, WithoutEffect};
use crate::api::error::{ApiError, ErrorKind};
use crate::api::operation::{Answer, Operation};
use crate::api::protocol::tree::{self, Mode};
use crate::api::protocol::{BODY_BYTES_MAX, json, xml};
use crate::api::route::{self, Format, Input, Route};
use crate::api::shape::{OperationShape, Service};
use crate::api::table::{Offer, offers};
use crate::identity::{AccessKeys, CredentialScope, SealingKey, SignatureError, signature};
use crate::model::{NodeConfig, Region, Scope, Timestamp};
use crate::store::{CommitError, Store, TransactError, View};
use crate::telemetry::Logs;

/// How much of what was ignored, or has no effect, fits into the header that reports it; a client's own limit on all headers
/// is often 8 KiB.
const REPORT_HEADER_BYTES_MAX: usize = 1_024;

const REQUEST_ID: HeaderName = HeaderName::from_static("x-amzn-requestid");
const IGNORED_MEMBERS: HeaderName = HeaderName::from_static("x-coracle-ignored-members");
const WITHOUT_EFFECT: HeaderName = HeaderName::from_static("x-coracle-without-effect");

/// All services, over one store.
pub struct Api {
    offers: Vec<Offer>,
    store: Store,
    logs: Logs,
    keys: AccessKeys,
    sealing: Arc<SealingKey>,
    config: Arc<NodeConfig>,
}

impl Api {
    pub fn new(store: Store, logs: Logs, keys: AccessKeys, sealing: Arc<SealingKey>, config: Arc<NodeConfig>) -> Api {
        Api { offers: offers(), store, logs, keys, sealing, config }
    }

    /// Answers a request. Whatever is wrong with it is answered in its protocol's own form.
    pub async fn call(&self, request: Request<Bytes>, now: Timestamp, ids: IdSource) -> Response<Bytes> {
        let (parts, body) = request.into_parts();
        let format = Format::of(&parts);
        let request_id = ids.uuid();
        let mut offer = None;
        let answered = self.answer(format, &parts, &body, &mut offer, (now, ids, &request_id)).await;
        let response = answered.unwrap_or_else(|error| {
            log_failure(&error, &request_id, offer.map(|offer: &Offer| offer.service.name));
            format.failure(offer, &error, &request_id)
        });
        with_request_id(response, &request_id)
    }

    /// Refuses a request that the front could not read whole, in the request's own protocol.
    pub fn refuse(&self, parts: &Parts, error: &ApiError, ids: &IdSource) -> Response<Bytes> {
        let request_id = ids.uuid();
        with_request_id(Format::of(parts).failure(None, error, &request_id), &request_id)
    }

    /// Calls an operation in process, as the command line does.
    pub async fn call_json(
        &self,
        service: &str,
        operation: &str,
        scope: Scope,
        input: Value,
        (now, ids): (Timestamp, IdSource),
    ) -> Result<Value, ApiError> {
        let offer = self.offers.iter().find(|offer| offer.service.name == service);
        let offer = offer.ok_or_else(|| ApiError::unknown_operation(operation))?;
        let (shape, function) = offer.find(operation)?;
        let (cx, tree) = self.prepare(offer.service, shape, input, (scope, now, ids))?;
        let answer = self.commit(function, &cx, &tree).await?;
        answer.tree().map_err(ApiError::server)
    }

    async fn answer<'a>(
        &'a self,
        format: Format,
        parts: &Parts,
        body: &[u8],
        found: &mut Option<&'a Offer>,
        (now, ids, request_id): (Timestamp, IdSource, &str),
    ) -> Result<Response<Bytes>, ApiError> {
        if body.len() > BODY_BYTES_MAX {
            return Err(ApiError::too_large());
        }
        let claimed = signature::claimed_scope(parts);
        let Route { offer, operation, input } = route::find(format, &self.offers, parts, body, claimed.as_ref())?;
        *found = Some(offer);
        let service = offer.service;
        let signer = self.authenticate(parts, body, service, claimed, now)?;
        let (shape, function) = offer.find(&operation)?;
        let scope = self.scope(signer.as_ref())?;

        let (input, unknown) = untyped(input, service, shape)?;
        let (mut cx, tree) = self.prepare(service, shape, input, (scope, now, ids))?;
        cx.ignored_members.extend(unknown);
        cx.caller = Caller { access_key_id: signer.map(|scope| scope.access_key_id) };

        let answer = self.commit(function, &cx, &tree).await?;
        let mut response = match format {
            Format::Json(version) => json::answer(version, answer.json().map_err(ApiError::server)?),
            Format::Query => {
                let tree = answer.tree().map_err(ApiError::server)?;
                xml::answer(service, shape, &tree, request_id)
            }
        };
        if !cx.ignored_members.is_empty() {
            let members = cx.ignored_members.join(", ");
            tracing::warn!(request_id, operation = shape.name, members, "ignored members that the API does not have");
            response.headers_mut().insert(IGNORED_MEMBERS, header_text(&members));
        }
        let without_effect = cx.without_effect.noted();
        if !without_effect.is_empty() {
            let settings = without_effect.join(", ");
            tracing::warn!(request_id, operation = shape.name, settings, "kept settings that have no effect here");
            response.headers_mut().insert(WITHOUT_EFFECT, header_text(&settings));
        }
        Ok(response)
    }

    /// Who signed the request. Without configured keys whoever claims to, unverified.
    fn authenticate(
        &self,
        parts: &Parts,
        body: &[u8],
        service: &Service,
        claimed: Option<CredentialScope>,
        now: Timestamp,
    ) -> Result<Option<CredentialScope>, ApiError> {
        if !self.keys.are_configured() {
            return Ok(claimed);
        }
        let verified = signature::verify(parts, body, &self.keys, service.signing_name, now);
        verified.map(Some).map_err(refused)
    }

    fn scope(&self, signer: Option<&CredentialScope>) -> Result<Scope, ApiError> {
        let region = match signer {
            Some(signer) => signer.region.parse::<Region>().map_err(|error| {
                ApiError::new(ErrorKind::InvalidSignature, format_args!("Credential scope: {error}"))
            })?,
            None => self.config.default_region.clone(),
        };
        Ok(Scope { account: self.config.account.clone(), region })
    }

    fn prepare(
        &self,
        service: &Service,
        shape: &OperationShape,
        input: Value,
        (scope, now, ids): (Scope, Timestamp, IdSource),
    ) -> Result<(Context, Value), ApiError> {
        let decoded = tree::decode(shape.input, input, Mode::Strict);
        let decoded = decoded.map_err(|error| error.answer(service, shape.name))?;
        let cx = Context {
            scope,
            now,
            ids,
            config: Arc::clone(&self.config),
            caller: Caller::default(),
            sealing: Arc::clone(&self.sealing),
            ignored_members: decoded.ignored,
            without_effect: WithoutEffect::default(),
        };
        Ok((cx, decoded.tree))
    }

    /// Runs the operation on what is there now, again as often as another writer was first, and makes it durable.
    async fn commit(&self, function: &Operation, cx: &Context, tree: &Value) -> Result<Box<dyn Answer>, ApiError> {
        let run = |view: &mut View| {
            cx.without_effect.clear();
            function.run(cx, view, &self.logs, tree)
        };
        let committed = self.store.transact(run).await;
        committed.map_err(|error| match error {
            TransactError::Operation(error) => error,
            TransactError::Commit(error) => uncommitted(error),
        })
    }
}

/// The parameters as a tree, and the names that no member has.
fn untyped(input: Input<'_>, service: &Service, shape: &OperationShape) -> Result<(Value, Vec<String>), ApiError> {
    let read = match input {
        Input::Json(body) => json::parse(body).map(|tree| (tree, Vec::new())),
        Input::Form(form) => form.typed(shape.input).map(|typed| (typed.tree, typed.ignored)),
    };
    read.map_err(|error| error.answer(service, shape.name))
}

/// What the caller is told of a change that the store did not take.
fn uncommitted(error: CommitError) -> ApiError {
    let kind = match &error {
        CommitError::Conflict(_) => ErrorKind::Throttling,
        CommitError::TooLarge(_) => ErrorKind::LimitExceeded,
        // Whether it is durable is unknown, and nobody may be told that it is.
        CommitError::Backend(_) => ErrorKind::Server,
        CommitError::ReadOnly(_) | CommitError::Closed => ErrorKind::Unavailable,
    };
    let message = match kind {
        ErrorKind::Throttling => "Rate exceeded: too many requests change the same resource.",
        ErrorKind::LimitExceeded => "The request changes more than one transaction can hold: ask for less at once.",
        ErrorKind::Unavailable => "The server takes no more changes. Its log says why.",
        _ => "The server could not complete the request.",
    };
    ApiError::new(kind, message).caused_by(error)
}

fn refused(error: SignatureError) -> ApiError {
    let kind = match &error {
        SignatureError::Missing => ErrorKind::MissingAuthenticationToken,
        SignatureError::Incomplete(_) => ErrorKind::IncompleteSignature,
        SignatureError::UnknownKey => ErrorKind::UnrecognizedClient,
        SignatureError::ExpiredToken => ErrorKind::ExpiredToken,
        SignatureError::Expired(_) | SignatureError::OtherService(_) | SignatureError::Mismatch => {
            ErrorKind::InvalidSignature
        }
    };
    ApiError::new(kind, error)
}

/// Failures of ours are logged with their chain, once, here; the callers' own are theirs.
fn log_failure(error: &ApiError, request_id: &str, service: Option<&str>) {
    if error.kind.is_senders() {
        tracing::debug!(request_id, service, exception = error.kind.exception(), message = %error, "refused");
        return;
    }
    let mut chain = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(inner) = cause {
        chain = format!("{chain}: {inner}");
        cause = inner.source();
    }
    tracing::error!(request_id, service, error = chain, "a request failed");
}

fn with_request_id(mut response: Response<Bytes>, request_id: &str) -> Response<Bytes> {
    let value = HeaderValue::from_str(request_id).expect("a UUID is hexadecimal digits and hyphens");
    response.headers_mut().insert(REQUEST_ID, value);
    response
}

/// As much of a text as a header may carry: names of members may hold anything.
fn header_text(text: &str) -> HeaderValue {
    let visible = text.chars().take(REPORT_HEADER_BYTES_MAX);
    let visible: String =
        visible.map(|character| if matches!(character, ' '..='~') { character } else { '?' }).collect();
    HeaderValue::from_str(&visible).expect("only visible ASCII and spaces are left")
}

#[cfg(test)]
mod tests;
