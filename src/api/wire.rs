//! The wire types, generated at build time from `models/` for the operations of `models/operations.txt`.
//!
//! Every member is an `Option`: what the wire requires, the codecs enforce from the [shapes](crate::api::shape), and an
//! absent list and an empty one mean different things to an update.

/// Amazon ECS.
pub mod ecs {
    include!(concat!(env!("OUT_DIR"), "/ecs.rs"));
}

/// Secrets Manager.
pub mod secretsmanager {
    include!(concat!(env!("OUT_DIR"), "/secretsmanager.rs"));
}

/// Systems Manager, of which Parameter Store.
pub mod ssm {
    include!(concat!(env!("OUT_DIR"), "/ssm.rs"));
}

/// Elastic Load Balancing, version 2.
pub mod elbv2 {
    include!(concat!(env!("OUT_DIR"), "/elbv2.rs"));
}
