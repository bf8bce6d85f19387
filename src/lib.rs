//! Coracle runs Amazon ECS task definitions as sandboxed WebAssembly components.
//!
//! **The API writes what is wanted; a pure function compares it with what is; a loop does the difference; the data
//! path reads snapshots.**
//!
//! # Bird's-eye view
//!
//! ```text
//!  aws cli, boto3, terraform                    curl NAME.elb.localhost
//!            \                                       /
//!             front  ── one port; by Host and protocol
//!            /                                       \
//!          api ── view ──> store <── watch ── control ── routes ──> proxy
//!   (pure operations)    (durable,              (loops)                \
//!                         snapshots)          plan │ (pure)             \ in process
//!                                                  └──> runtime ── guests (wasmtime)
//! ```
//!
//! A request of a client becomes a transaction that records intent. The loops of [`control`](crate::control) see that
//! something changed, ask [`plan`] what to do, and do it: they start and stop tasks through the runtime, whose reports
//! become facts in the store, and they publish routes, of which the proxy reads a snapshot per request.
//!
//! # Vocabulary of our own (all else are the words of the ECS API)
//!
//! - *guest*: a running component (or module) of a container; *pass*: one turn of a loop; *snapshot*: an immutable state
//!   of the store, or of the routes; *view*: a snapshot that records what was read of it; *standing*: the one bucket into
//!   which a planner sorts a task; *held*: what a plan would like to do and why it does not; *boot*: one run of the server.
//!
//! # Invariants
//!
//! - `api` never starts or stops anything; it records intent. `runtime` decides nothing; it reports facts.
//! - `plan` has no clock, randomness or I/O: the same input gives the same plan.
//! - Nothing that a client was told can be taken back by a crash: durable, then visible, then answered.
//! - A task starts at most once: its placement, with the boot's id, is durable before the runtime hears of it.
//! - The data path takes no lock of, and never waits for, the control plane.
//! - A task inherits nothing of the host.
//!
//! The modules follow in reading order; `tests/architecture.rs` enforces who may import whom.

pub mod model;
pub mod plan;
pub mod store;
pub mod identity;
pub mod telemetry;
pub mod network;
pub mod api;
#[cfg(feature = "host")]
pub mod runtime;
#[cfg(feature = "host")]
pub mod proxy;
#[cfg(feature = "host")]
pub mod control;
#[cfg(feature = "host")]
pub mod front;
#[cfg(feature = "host")]
pub mod cli;
