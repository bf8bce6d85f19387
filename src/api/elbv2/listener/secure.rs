//! What only listeners that speak TLS have: a default certificate, a security policy, an ALPN policy.

use crate::api::elbv2::{certificate, never, ssl_policy};
use crate::api::error::{ApiError, ErrorKind};
use crate::api::wire::elbv2 as wire;
use crate::model::Listener;
use crate::model::ssl_policy::DEFAULT;

const ALPN_POLICIES: [&str; 5] = ["HTTP1Only", "HTTP2Only", "HTTP2Optional", "HTTP2Preferred", "None"];

/// What `CreateListener` and `ModifyListener` say of TLS.
#[derive(Debug, Default)]
pub struct Settings {
    pub ssl_policy: Option<String>,
    pub certificates: Option<Vec<wire::Certificate>>,
    pub alpn_policy: Option<Vec<String>>,
    pub mutual_authentication: Option<wire::MutualAuthenticationAttributes>,
}

impl Settings {
    /// Changes a listener to what was said, by the protocol that it has now. Other certificates than the default one stay.
    pub fn apply(self, listener: &mut Listener) -> Result<(), ApiError> {
        check_mutual_authentication(&listener.protocol, self.mutual_authentication)?;
        let certificates = self.certificates.unwrap_or_default();
        let alpn_policy = alpn_policy(&listener.protocol, self.alpn_policy)?;
        if !matches!(listener.protocol.as_str(), "HTTPS" | "TLS") {
            refuse(&listener.protocol, self.ssl_policy.is_some(), "An SSL policy")?;
            refuse(&listener.protocol, !certificates.is_empty(), "A certificate")?;
            listener.certificates.clear();
            (listener.ssl_policy, listener.alpn_policy) = (None, None);
            return Ok(());
        }
        let count = certificates.len();
        match (certificates.into_iter().next(), count) {
            (Some(certificate), 1) => {
                let default = certificate::checked(certificate)?;
                match listener.certificates.first_mut() {
                    Some(before) => *before = default,
                    None => listener.certificates.push(default),
                }
            }
            (None, _) if listener.certificates.is_empty() => {
                return Err(ApiError::validation(format_args!(
                    "A certificate must be specified for {} listeners",
                    listener.protocol
                )));
            }
            (None, _) => {}
            _ => {
                return Err(ApiError::validation(
                    "You must specify exactly one certificate, which is the default; AddListenerCertificates adds others",
                ));
            }
        }
        let policy = self.ssl_policy.or_else(|| listener.ssl_policy.take()).unwrap_or_else(|| DEFAULT.to_owned());
        listener.ssl_policy = Some(ssl_policy::checked(&policy)?.name.to_owned());
        if listener.protocol != "TLS" {
            listener.alpn_policy = None;
        } else if alpn_policy.is_some() {
            listener.alpn_policy = alpn_policy;
        }
        Ok(())
    }
}

fn refuse(protocol: &str, is_given: bool, what: &str) -> Result<(), ApiError> {
    match is_given {
        true => Err(ApiError::validation(format_args!("{what} cannot be specified for {protocol} listeners"))),
        false => Ok(()),
    }
}

/// The one policy that was named. `None` of another protocol than TLS says what holds anyway.
fn alpn_policy(protocol: &str, given: Option<Vec<String>>) -> Result<Option<String>, ApiError> {
    let given = given.unwrap_or_default();
    let policy = match given.as_slice() {
        [] => return Ok(None),
        [policy] => policy,
        _ => return Err(ApiError::validation("Only one ALPN policy can be specified")),
    };
    if !ALPN_POLICIES.contains(&policy.as_str()) {
        return Err(ApiError::new(
            ErrorKind::AlpnPolicyNotSupported,
            format_args!("ALPN policy '{policy}' is not one of {}", ALPN_POLICIES.join(", ")),
        ));
    }
    refuse(protocol, protocol != "TLS" && policy != "None", "An ALPN policy")?;
    Ok(Some(policy.clone()))
}

fn check_mutual_authentication(
    protocol: &str,
    given: Option<wire::MutualAuthenticationAttributes>,
) -> Result<(), ApiError> {
    let Some(given) = given else { return Ok(()) };
    match given.mode.as_deref() {
        None | Some("off") => {}
        Some(mode @ ("passthrough" | "verify")) => {
            refuse(protocol, protocol != "HTTPS", "Mutual authentication")?;
            return Err(never(
                format_args!("Mutual authentication in the mode '{mode}'"),
                "listeners do not ask for clients' certificates; a TCP listener lets the target do it",
            ));
        }
        Some(other) => {
            return Err(ApiError::validation(format_args!(
                "Mutual authentication mode '{other}' must be one of off, passthrough, verify"
            )));
        }
    }
    let is_more = given.trust_store_arn.is_some()
        || given.ignore_client_certificate_expiry == Some(true)
        || given.advertise_trust_store_ca_names.as_deref() == Some("on");
    match is_more {
        true => Err(ApiError::validation(
            "A trust store can only be specified for mutual authentication in the mode 'verify'",
        )),
        false => Ok(()),
    }
}

/// What a listener shows of it.
pub fn shown(listener: &Listener) -> wire::Listener {
    let default = listener.certificates.first();
    let off = || wire::MutualAuthenticationAttributes { mode: Some(String::from("off")), ..Default::default() };
    wire::Listener {
        certificates: default.map(|arn| vec![certificate::shown(arn, None)]),
        ssl_policy: listener.ssl_policy.clone(),
        alpn_policy: listener.alpn_policy.clone().map(|policy| vec![policy]),
        mutual_authentication: (listener.protocol == "HTTPS").then(off),
        ..wire::Listener::default()
    }
}
