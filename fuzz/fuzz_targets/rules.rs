//! Rules of a listener and a request, both made of the bytes: what the compiled rules find is what plain ones find.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| coracle::proxy::rules::reference::agree(data));
