//! Guests that attack, beside a neighbour that behaves.
//!
//! After each attack, and during it: the server is up, the neighbour and the API answer, the attacker's end names the
//! limit that stopped it, and what it held is given back. Every attack is a row of a table, which each test prints as it
//! ends: `cargo test --test e2e hostile:: -- --nocapture | grep '^| '`.

mod bombs;
mod files;
mod ground;
mod handlers;
mod isolated;
mod logs;
mod network;
mod programs;
mod reading;
mod rebinding;
mod tenants;
mod witness;
