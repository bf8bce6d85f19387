//! Which service and which operation a request is for, and in which protocol it wants its answer.

use std::borrow::Cow;

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::request::Parts;
use http::{Method, Response};

use crate::api::error::{ApiError, ErrorKind};
use crate::api::protocol::{json, query, xml};
use crate::api::table::Offer;
use crate::identity::CredentialScope;

/// The namespace of errors that belong to no service that we know.
const NO_SERVICE_NAMESPACE: &str = "http://webservices.amazon.com/AWSFault/2005-15-09";

/// The protocol of a request, and so of its answer, whatever becomes of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    Json(json::Version),
    Query,
}

/// What a request asks for.
#[derive(Debug)]
pub struct Route<'o, 'a> {
    pub offer: &'o Offer,
    pub operation: Cow<'a, str>,
    pub input: Input<'a>,
}

/// The parameters, not yet held against a shape.
#[derive(Debug)]
pub enum Input<'a> {
    Json(&'a [u8]),
    Form(query::Form<'a>),
}

impl Format {
    pub fn of(parts: &Parts) -> Format {
        let is_form = parts.headers.get(CONTENT_TYPE).is_some_and(|value| value.as_bytes().starts_with(FORM));
        let has_action = || parts.uri.query().unwrap_or_default().split('&').any(|pair| pair.starts_with("Action="));
        match parts.headers.contains_key("x-amz-target") {
            false if is_form || has_action() => Format::Query,
            _ => Format::Json(json::Version::of(&parts.headers)),
        }
    }

    /// The answer to what failed. `offer` is absent where no service was found.
    pub fn failure(self, offer: Option<&Offer>, error: &ApiError, request_id: &str) -> Response<Bytes> {
        match self {
            Format::Json(version) => {
                let member = offer.map_or("message", |offer| offer.service.message_member);
                json::failure(version, member, error)
            }
            Format::Query => {
                let namespace = offer.map_or(NO_SERVICE_NAMESPACE, |offer| offer.service.xml_namespace);
                xml::failure(namespace, error, request_id)
            }
        }
    }
}

const FORM: &[u8] = b"application/x-www-form-urlencoded";

/// Finds the service and the operation of a request.
pub fn find<'o, 'a>(
    format: Format,
    offers: &'o [Offer],
    parts: &'a Parts,
    body: &'a [u8],
    scope: Option<&CredentialScope>,
) -> Result<Route<'o, 'a>, ApiError> {
    match format {
        Format::Json(_) => by_target(offers, parts, body),
        Format::Query => by_action(offers, parts, body, scope),
    }
}

fn by_target<'o, 'a>(offers: &'o [Offer], parts: &'a Parts, body: &'a [u8]) -> Result<Route<'o, 'a>, ApiError> {
    let unknown = |message: String| ApiError::new(ErrorKind::UnknownOperation, message);
    let target = parts.headers.get("x-amz-target").and_then(|target| target.to_str().ok());
    let Some(target) = target else {
        return Err(unknown(String::from(
            "The request names no operation: it has neither the header X-Amz-Target nor the parameter Action.",
        )));
    };
    if parts.method != Method::POST {
        return Err(unknown(format!("The method of an operation is POST, not {}.", parts.method)));
    }
    let (prefix, operation) = target.split_once('.').unwrap_or((target, ""));
    let offer = offers.iter().find(|offer| !offer.service.is_query() && offer.service.target_prefix == prefix);
    let offer = offer.ok_or_else(|| unknown(format!("No service here has the target {target}.")))?;
    Ok(Route { offer, operation: Cow::Borrowed(operation), input: Input::Json(body) })
}

fn by_action<'o, 'a>(
    offers: &'o [Offer],
    parts: &'a Parts,
    body: &'a [u8],
    scope: Option<&CredentialScope>,
) -> Result<Route<'o, 'a>, ApiError> {
    let unknown = |message: String| ApiError::new(ErrorKind::UnknownOperation, message);
    let query = parts.uri.query().unwrap_or_default().as_bytes();
    let mut form = query::parse([query, body]).map_err(|error| ApiError::new(ErrorKind::Serialization, error))?;
    let operation = form.action.take().filter(|action| !action.is_empty());
    let operation = operation.ok_or_else(|| unknown(String::from("The request must contain the parameter Action.")))?;
    let mut services = offers.iter().filter(|offer| offer.service.is_query());
    // Versions tell services apart that sign alike (the classic load balancers and these).
    let offer = match (&form.version, scope) {
        (Some(version), _) => services.find(|offer| offer.service.api_version == version.as_ref()),
        (None, Some(scope)) => services.find(|offer| offer.service.signing_name == scope.service),
        (None, None) => return Err(unknown(String::from("The request must contain the parameter Version."))),
    };
    let version = form.version.as_deref().unwrap_or("(none)");
    let offer = offer.ok_or_else(|| ApiError::unknown_action(&operation, version))?;
    Ok(Route { offer, operation, input: Input::Form(form) })
}
