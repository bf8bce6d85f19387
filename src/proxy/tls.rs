//! TLS: what listeners end, and what targets are spoken to with.

pub mod client;
