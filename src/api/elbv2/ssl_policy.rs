//! The security policies that HTTPS and TLS listeners may name.

use crate::api::context::Context;
use crate::api::elbv2::{load_balancer, page};
use crate::api::error::{ApiError, ErrorKind};
use crate::api::wire::elbv2 as wire;
use crate::model::ssl_policy::{self, POLICIES, SslPolicy};
use crate::store::View;

pub fn describe(
    _: &Context,
    _: &mut View,
    input: wire::DescribeSSLPoliciesInput,
) -> Result<wire::DescribeSSLPoliciesOutput, ApiError> {
    let names = input.names.unwrap_or_default();
    load_balancer::limit_references(&names)?;
    let is_asked = |policy: &SslPolicy| names.is_empty() || names.iter().any(|name| name == policy.name);
    names.iter().try_for_each(|name| checked(name).map(drop))?;
    // Gateway load balancers have none.
    let has_any = input.load_balancer_type.as_deref() != Some("gateway");
    let found = POLICIES.iter().enumerate().filter(|(_, policy)| has_any && is_asked(policy)).collect();
    let place = |(place, _): &(usize, &SslPolicy)| format!("{place:03}");
    let (page, next_marker) = page::page(found, place, input.marker.as_deref(), input.page_size)?;
    Ok(wire::DescribeSSLPoliciesOutput {
        ssl_policies: Some(page.into_iter().map(|(_, policy)| shown(policy)).collect()),
        next_marker,
    })
}

/// The policy of that name.
pub fn checked(name: &str) -> Result<&'static SslPolicy, ApiError> {
    ssl_policy::find(name)
        .ok_or_else(|| ApiError::new(ErrorKind::SslPolicyNotFound, format_args!("SSL policy '{name}' not found")))
}

fn shown(policy: &SslPolicy) -> wire::SslPolicy {
    let cipher = |(name, priority): (&str, i32)| wire::Cipher { name: Some(name.to_owned()), priority: Some(priority) };
    let strings = |texts: &[&str]| Some(texts.iter().map(|text| String::from(*text)).collect());
    wire::SslPolicy {
        name: Some(policy.name.to_owned()),
        ssl_protocols: strings(policy.protocols),
        ciphers: Some(policy.ciphers().zip(1..).map(cipher).collect()),
        supported_load_balancer_types: strings(&["application", "network"]),
    }
}
