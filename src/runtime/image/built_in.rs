//! The images that are part of the binary: the guests of `guest-examples/`, prebuilt.

use std::sync::OnceLock;

use crate::runtime::image::digest_of;

/// A component under the names that definitions use for it.
#[derive(Debug)]
pub struct BuiltIn {
    /// The first is its own; the others are images that people's definitions name and that it stands in for.
    pub names: &'static [&'static str],
    pub bytes: &'static [u8],
    digest: OnceLock<String>,
}

impl BuiltIn {
    const fn new(names: &'static [&'static str], bytes: &'static [u8]) -> BuiltIn {
        BuiltIn { names, bytes, digest: OnceLock::new() }
    }

    /// In hexadecimal; computed when it is first asked for.
    pub fn digest(&self) -> &str {
        self.digest.get_or_init(|| digest_of(self.bytes))
    }
}

/// In the order of `coracle images`.
pub static BUILT_IN: [BuiltIn; 7] = [
    BuiltIn::new(
        &["coracle/web", "nginx", "amazon/amazon-ecs-sample"],
        include_bytes!("../../../guest-examples/prebuilt/web.wasm"),
    ),
    BuiltIn::new(&["coracle/hello", "hello"], include_bytes!("../../../guest-examples/prebuilt/hello.wasm")),
    BuiltIn::new(&["coracle/hello-p3", "hello-p3"], include_bytes!("../../../guest-examples/prebuilt/hello-p3.wasm")),
    BuiltIn::new(&["coracle/echo", "echo"], include_bytes!("../../../guest-examples/prebuilt/echo.wasm")),
    BuiltIn::new(&["coracle/batch", "batch"], include_bytes!("../../../guest-examples/prebuilt/batch.wasm")),
    BuiltIn::new(&["coracle/hog", "hog"], include_bytes!("../../../guest-examples/prebuilt/hog.wasm")),
    BuiltIn::new(&["coracle/c-hello", "c-hello"], include_bytes!("../../../guest-examples/prebuilt/c-hello.wasm")),
];

/// The built-in image of this name (without registry and tag).
pub fn find(name: &str) -> Option<&'static BuiltIn> {
    BUILT_IN.iter().find(|image| image.names.contains(&name))
}
