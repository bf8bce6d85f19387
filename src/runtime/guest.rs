//! What runs in a container: programs and handlers.

pub mod handler;
pub mod http;
