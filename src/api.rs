//! The AWS services: pure operations that record intent, behind codecs directed by the service models.

pub mod context;
pub mod error;
pub mod protocol;
pub mod shape;
pub mod wire;
