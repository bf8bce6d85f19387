//! The certificates of HTTPS and TLS listeners: references by ARN.
//!
//! Which files an ARN stands for is the operator's configuration, and one that is not configured gets a certificate made
//! on the spot: so every ARN of the right form is as good as an existing one.

use std::sync::Arc;

use crate::api::context::Context;
use crate::api::elbv2::{page, reference};
use crate::api::error::{ApiError, ErrorKind};
use crate::api::wire::elbv2 as wire;
use crate::model::Listener;
use crate::model::arn::ArnParts;
use crate::store::View;

/// Certificates of a listener beside its default one: ELB's own quota.
pub const CERTIFICATES_MAX: usize = 25;

/// Adds to the certificates from which one is chosen by the server's name. What is there already is not added again.
pub fn add(
    cx: &Context,
    view: &mut View,
    input: wire::AddListenerCertificatesInput,
) -> Result<wire::AddListenerCertificatesOutput, ApiError> {
    let mut listener = secure(cx, view, input.listener_arn.as_deref())?;
    let arns = given(input.certificates)?;
    // The first is the default, which may be among the others as well.
    for arn in &arns {
        if !others(&listener).contains(arn) {
            listener.certificates.push(arn.clone());
        }
    }
    if others(&listener).len() > CERTIFICATES_MAX {
        return Err(ApiError::new(
            ErrorKind::TooManyCertificates,
            format_args!("A listener can have at most {CERTIFICATES_MAX} certificates beside its default certificate"),
        ));
    }
    view.put(listener);
    Ok(wire::AddListenerCertificatesOutput {
        certificates: Some(arns.iter().map(|arn| shown(arn, Some(false))).collect()),
    })
}

/// Takes certificates away, but never the default one. What is not there is taken away already.
pub fn remove(
    cx: &Context,
    view: &mut View,
    input: wire::RemoveListenerCertificatesInput,
) -> Result<wire::RemoveListenerCertificatesOutput, ApiError> {
    let mut listener = secure(cx, view, input.listener_arn.as_deref())?;
    for arn in given(input.certificates)? {
        let is_other = others(&listener).contains(&arn);
        if !is_other && listener.certificates.first() == Some(&arn) {
            return Err(ApiError::new(
                ErrorKind::OperationNotPermitted,
                "The default certificate of a listener cannot be removed; ModifyListener replaces it",
            ));
        }
        let mut place = 0;
        listener.certificates.retain(|there| {
            place += 1;
            place == 1 || *there != arn
        });
    }
    view.put(listener);
    Ok(wire::RemoveListenerCertificatesOutput::default())
}

/// The default certificate first, then the others. One that is both is listed twice, as at AWS.
pub fn describe(
    cx: &Context,
    view: &mut View,
    input: wire::DescribeListenerCertificatesInput,
) -> Result<wire::DescribeListenerCertificatesOutput, ApiError> {
    let listener = secure(cx, view, input.listener_arn.as_deref())?;
    let listed: Vec<(usize, &String)> = listener.certificates.iter().enumerate().collect();
    let place = |(place, _): &(usize, &String)| format!("{place:03}");
    let (page, next_marker) = page::page(listed, place, input.marker.as_deref(), input.page_size)?;
    Ok(wire::DescribeListenerCertificatesOutput {
        certificates: Some(page.into_iter().map(|(place, arn)| shown(arn, Some(place == 0))).collect()),
        next_marker,
    })
}

/// A listener that has certificates.
fn secure(cx: &Context, view: &View, arn: Option<&str>) -> Result<Listener, ApiError> {
    let listener = reference::listener(cx, view, arn)?;
    if !matches!(listener.protocol.as_str(), "HTTPS" | "TLS") {
        return Err(ApiError::validation(format_args!(
            "Certificates can only be used with HTTPS and TLS listeners, and '{}' is a listener with the protocol '{}'",
            listener.arn(),
            listener.protocol
        )));
    }
    Ok(Arc::unwrap_or_clone(listener))
}

fn others(listener: &Listener) -> &[String] {
    listener.certificates.get(1..).unwrap_or_default()
}

fn given(certificates: Option<Vec<wire::Certificate>>) -> Result<Vec<String>, ApiError> {
    let certificates = certificates.unwrap_or_default();
    if certificates.is_empty() {
        return Err(ApiError::validation("At least one certificate must be specified"));
    }
    if certificates.len() > CERTIFICATES_MAX {
        return Err(ApiError::new(
            ErrorKind::TooManyCertificates,
            format_args!("At most {CERTIFICATES_MAX} certificates can be specified in one call"),
        ));
    }
    certificates.into_iter().map(checked).collect()
}

/// The ARN of a certificate that a request names.
pub fn checked(certificate: wire::Certificate) -> Result<String, ApiError> {
    if certificate.is_default.is_some() {
        return Err(ApiError::validation("IsDefault cannot be specified for a certificate in a request"));
    }
    let arn = certificate.certificate_arn.unwrap_or_default();
    match is_certificate(&arn) {
        true => Ok(arn),
        false if ArnParts::parse(&arn).is_none() => {
            Err(ApiError::validation(format_args!("Certificate ARN '{arn}' is not valid")))
        }
        false => Err(ApiError::new(ErrorKind::CertificateNotFound, format_args!("Certificate '{arn}' not found"))),
    }
}

/// Whether it is the ARN of a certificate of ACM, or of a server certificate of IAM, which is of no region.
fn is_certificate(arn: &str) -> bool {
    let Some(parts) = ArnParts::parse(arn) else { return false };
    let is_account = parts.account.len() == 12 && parts.account.bytes().all(|byte| byte.is_ascii_digit());
    let has_name = |kind: &str| {
        let name = parts.resource.strip_prefix(kind).unwrap_or_default();
        !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+=,.@_/-".contains(&byte))
    };
    is_account
        && match parts.service {
            "acm" => !parts.region.is_empty() && has_name("certificate/"),
            "iam" => parts.region.is_empty() && has_name("server-certificate/"),
            _ => false,
        }
}

pub fn shown(arn: &str, is_default: Option<bool>) -> wire::Certificate {
    wire::Certificate { certificate_arn: Some(arn.to_owned()), is_default }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn certificates_are_told_by_their_form() {
        for right in [
            "arn:aws:acm:us-east-1:123456789012:certificate/5cc54884-f4a3-4072-80be-05b9ba72f705",
            "arn:aws:iam::123456789012:server-certificate/path/of/my-cert",
            "arn:aws-cn:acm:cn-north-1:123456789012:certificate/example.com",
        ] {
            assert!(is_certificate(right), "{right}");
        }
        for wrong in [
            "arn:aws:acm:us-east-1:123456789012:certificate/",
            "arn:aws:acm:us-east-1:12345:certificate/a",
            "arn:aws:acm::123456789012:certificate/a",
            "arn:aws:s3:us-east-1:123456789012:certificate/a",
            "arn:aws:iam::123456789012:role/a",
            "certificate/a",
        ] {
            assert!(!is_certificate(wrong), "{wrong}");
        }
        let refused = |arn: &str| checked(shown(arn, None)).unwrap_err().kind;
        assert_eq!(refused("arn:aws:iam::123456789012:role/a"), ErrorKind::CertificateNotFound);
        assert_eq!(refused("a"), ErrorKind::Validation);
    }
}
