//! What goes into a handler and comes out of it, for whoever calls it.

use std::error::Error;

use bytes::Bytes;
use http_body_util::combinators::UnsyncBoxBody;
use serde::{Deserialize, Serialize};

use crate::model::exit::Trap;

pub type BoxError = Box<dyn Error + Send + Sync>;
/// A streamed body of a request to a handler.
pub type RequestBody = UnsyncBoxBody<Bytes, BoxError>;
/// A streamed body of a handler's response. It carries what is left of the guest's work: dropping it before its end
/// cancels the guest.
pub type ResponseBody = UnsyncBoxBody<Bytes, BoxError>;

/// Why a handler gave no response. Only this request is affected: the task lives.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum HandlerError {
    #[error("the handler trapped: {}", .0.message)]
    Trapped(Trap),
    #[error("the handler needed more memory than its task or container may use")]
    OutOfMemory,
    #[error("the handler used up its instruction budget")]
    OutOfFuel,
    /// The queue for a free instance is full, or the wait in it was too long.
    #[error("too many requests wait for an instance of the handler")]
    Overloaded,
    /// The container is stopping, or has stopped: no instance saw the request.
    #[error("the container is not running")]
    NotRunning,
    /// The container was stopped while an instance had the request.
    #[error("the container was stopped")]
    Stopped,
    /// The handler returned without a response, or with one that HTTP does not allow.
    #[error("the handler gave no valid response: {0}")]
    InvalidResponse(String),
    /// The handler answered with an error of `wasi:http` instead of a response.
    #[error("the handler answered with an error: {0}")]
    Failed(String),
    /// The request cannot be given to a handler: it names no host.
    #[error("the request is not valid for a handler: {0}")]
    InvalidRequest(String),
}
