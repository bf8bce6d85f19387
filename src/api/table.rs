//! The services and their operations, found by what requests say.

use std::collections::BTreeMap;

use crate::api::error::ApiError;
use crate::api::operation::Operation;
use crate::api::shape::{OperationShape, Service};
use crate::api::{ecs, elbv2, secretsmanager, ssm, wire};

/// A service with the operations that its table holds.
#[derive(Debug)]
pub struct Offer {
    pub service: &'static Service,
    pub operations: BTreeMap<&'static str, Operation>,
}

/// Everything that is offered.
pub fn offers() -> Vec<Offer> {
    vec![
        Offer { service: &wire::ecs::SERVICE, operations: ecs::operations() },
        Offer { service: &wire::elbv2::SERVICE, operations: elbv2::operations() },
        Offer { service: &wire::secretsmanager::SERVICE, operations: secretsmanager::operations() },
        Offer { service: &wire::ssm::SERVICE, operations: ssm::operations() },
    ]
}

impl Offer {
    /// The operation of that name. What AWS has and we do not is told apart from what nobody knows.
    pub fn find(&self, name: &str) -> Result<(&'static OperationShape, &Operation), ApiError> {
        match (self.service.operation(name), self.operations.get(name)) {
            (Some(shape), Some(operation)) => Ok((shape, operation)),
            _ if self.service.known.contains(&name) => Err(self.refusal(name)),
            _ if self.service.is_query() => Err(ApiError::unknown_action(name, self.service.api_version)),
            _ => Err(ApiError::unknown_operation(name)),
        }
    }

    /// Of an operation that AWS has and we do not.
    fn refusal(&self, name: &str) -> ApiError {
        let never = Some(name).filter(|_| self.service.is_query()).and_then(elbv2::refusal);
        never.unwrap_or_else(|| ApiError::not_offered(name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::error::ErrorKind;

    #[test]
    fn the_tables_hold_what_the_list_offers() {
        for offer in offers() {
            for (name, operation) in &offer.operations {
                let shape = offer.service.operation(name);
                let shape = shape.unwrap_or_else(|| panic!("{name} is in the table, not in models/operations.txt"));
                assert!(std::ptr::eq(shape.input, operation.input), "{name} takes another operation's input");
                assert!(std::ptr::eq(shape.output, operation.output), "{name} gives another operation's output");
            }
        }
    }

    #[test]
    fn what_is_not_here_yet_is_told_apart_from_what_nobody_knows() {
        let offers = offers();
        let missing = offers[0].find("CreateCapacityProvider").unwrap_err();
        assert_eq!(missing.kind, ErrorKind::UnsupportedFeature);
        assert_eq!(missing.message, "CreateCapacityProvider is not available in Coracle yet.");
        assert_eq!(offers[0].find("MakeCoffee").unwrap_err().kind, ErrorKind::UnknownOperation);
        let unknown = offers[1].find("MakeCoffee").unwrap_err();
        assert_eq!(unknown.message, "Could not find operation MakeCoffee for version 2015-12-01");
        let never = offers[1].find("CreateTrustStore").unwrap_err();
        assert_eq!(never.kind, ErrorKind::UnsupportedFeature);
        assert!(never.message.starts_with("CreateTrustStore is not available in Coracle: "), "{never}");
    }
}
