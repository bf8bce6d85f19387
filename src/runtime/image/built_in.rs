//! The images that are part of the binary: the guests of `guest-examples/`, prebuilt.

/// A component under the names that definitions use for it.
#[derive(Debug)]
pub struct BuiltIn {
    /// The first is its own; the others are images that people's definitions name and that it stands in for.
    pub names: &'static [&'static str],
    pub bytes: &'static [u8],
}

/// In the order of `coracle images`.
pub static BUILT_IN: [BuiltIn; 6] = [
    BuiltIn {
        names: &["coracle/web", "nginx", "amazon/amazon-ecs-sample"],
        bytes: include_bytes!("../../../guest-examples/prebuilt/web.wasm"),
    },
    BuiltIn { names: &["coracle/hello"], bytes: include_bytes!("../../../guest-examples/prebuilt/hello.wasm") },
    BuiltIn { names: &["coracle/hello-p3"], bytes: include_bytes!("../../../guest-examples/prebuilt/hello-p3.wasm") },
    BuiltIn { names: &["coracle/echo"], bytes: include_bytes!("../../../guest-examples/prebuilt/echo.wasm") },
    BuiltIn { names: &["coracle/batch"], bytes: include_bytes!("../../../guest-examples/prebuilt/batch.wasm") },
    BuiltIn { names: &["coracle/hog"], bytes: include_bytes!("../../../guest-examples/prebuilt/hog.wasm") },
];

/// The built-in image of this name (without registry and tag).
pub fn find(name: &str) -> Option<&'static BuiltIn> {
    BUILT_IN.iter().find(|image| image.names.contains(&name))
}
