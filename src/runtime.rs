//! Runs guests: sandboxed WebAssembly components, each with its share of the processor, its memory, files and network.
//! It reports facts and decides nothing.

pub mod cpu;
