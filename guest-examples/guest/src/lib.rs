//! What the guests share: who they are, JSON, answering over wasi:http 0.2, and leaving with a code.
//!
//! Written by hand and small on purpose: every request may get a fresh instance, so a guest's size is part of its speed.

pub mod answer;
pub mod greeting;
pub mod json;
pub mod process;
pub mod task;
