//! The real binary, as its users drive it: the aws CLI, boto3, plain HTTP, signals, `kill -9`.
//!
//! One binary, because each one links all of wasmtime; a module for each journey. Every test starts a server of its own
//! on port 0 with a data directory of its own, so they run side by side. `tests/run` sets up what they need.

#![allow(clippy::unwrap_used, reason = "all of it is tests, also what is not marked as one")]

/// In a module of its own name, so that its files lie in `tests/e2e/`.
mod e2e {
    // What the journeys are written with.
    mod api;
    mod command;
    mod definitions;
    mod http;
    mod load;
    mod server;
    mod wait;

    // The journeys.
    mod agent;
    mod aws_cli;
    mod balancer;
    mod balancer_clients;
    mod budgets;
    mod boto3;
    mod command_line;
    mod corpus;
    mod elbv2_api;
    mod elbv2_journey;
    mod elbv2_rules;
    mod exits;
    mod files;
    mod guests;
    mod hostile;
    mod images;
    mod isolation;
    mod keys;
    mod life;
    mod limits;
    mod network;
    mod observe;
    mod protocol;
    mod recovery;
    mod regions;
    mod rolling;
    mod safety;
    mod scale_from_zero;
    mod secrets;
    mod sharing;
    mod startup;
    mod tls;
    mod up;
}
