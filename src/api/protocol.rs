//! The wire's formats: bytes to a tree that is directed by the shape, to the generated struct, and back.

pub mod error;
pub mod json;
pub mod query;
pub mod tree;
pub mod violation;
pub mod xml;

/// The longest body of a request. ECS takes task definitions of 64 KiB; form encoding may triple a text, and JSON may
/// escape it to six times its size, so 1 MiB takes all that ECS takes with room to spare, and what it becomes still fits
/// one transaction of the store (1.5 MiB).
pub const BODY_BYTES_MAX: usize = 1 << 20;

/// The longest list in a request. The smallest element of a list in a task definition is `{"name":"a"}` with its
/// comma, 13 bytes, of which 64 KiB hold 5,042; nothing else in either API takes more than 1,000.
pub const LIST_ITEMS_MAX: usize = 8_192;

/// The deepest nesting of a request. The models go 9 levels deep (`UpdateService`); JSON that
/// no model describes (documents, unknown members) is bounded by `serde_json`, which refuses 128.
pub const DEPTH_MAX: usize = 32;
