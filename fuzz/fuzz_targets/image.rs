//! An image's bytes: looked at, compiled, mapped and linked, in this process.

#![no_main]

use std::sync::OnceLock;

use bytes::Bytes;
use coracle::runtime::image::inspect::inspect;
use coracle::runtime::image::probe::Probe;
use libfuzzer_sys::fuzz_target;
use tokio::runtime::{Builder, Runtime};

struct Host {
    probe: Probe,
    runtime: Runtime,
    _home: tempfile::TempDir,
}

static HOST: OnceLock<Host> = OnceLock::new();

fuzz_target!(|bytes: &[u8]| {
    // What is refused at a look is not worth a compiler's time.
    if inspect(bytes).is_err() {
        return;
    }
    let host = HOST.get_or_init(|| {
        let home = tempfile::tempdir().expect("a directory");
        let probe = Probe::new(home.path()).expect("an engine");
        let runtime = Builder::new_current_thread().build().expect("a runtime");
        Host { probe, runtime, _home: home }
    });
    let loaded = host.runtime.block_on(host.probe.load(Bytes::copy_from_slice(bytes)));
    if let Err(failure) = loaded {
        assert!(!failure.text().contains("crashes the compiler"), "{failure:?}");
    }
});
