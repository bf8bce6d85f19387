//! An operation in the table: a typed, pure function, wrapped so that all of them are called alike.
//!
//! The wrapper stands between the wire's tree and the function's own types, so that operations never see bytes. It may be
//! run again on a newer state after a conflict, so it takes its input by reference and reads it anew each time.
//!
//! A *pure* operation is a function of the view; a *reading* one may also look at what was logged.

use std::fmt;

use serde::Serialize;
use serde_json::Value;

use crate::api::context::Context;
use crate::api::error::ApiError;
use crate::api::shape::{Shape, Wire};
use crate::store::View;
use crate::telemetry::Logs;

/// What an operation is written as: the request and a view of the state in, the answer out, its writes in the view.
pub type Function<I, O> = fn(&Context, &mut View, I) -> Result<O, ApiError>;

/// What a reading operation is written as.
pub type ReadingFunction<I, O> = fn(&Context, &mut View, &Logs, I) -> Result<O, ApiError>;

type Erased = Box<dyn Fn(&Context, &mut View, &Logs, &Value) -> Result<Box<dyn Answer>, ApiError> + Send + Sync>;

/// An operation whose types are erased.
pub struct Operation {
    pub input: &'static Shape,
    pub output: &'static Shape,
    run: Erased,
}

/// The answer of an operation, in the forms that the protocols make of it.
pub trait Answer: Send {
    /// JSON as it is sent, its members in the model's order.
    fn json(&self) -> Result<Vec<u8>, serde_json::Error>;
    fn tree(&self) -> Result<Value, serde_json::Error>;
}

impl<O: Serialize + Send> Answer for O {
    fn json(&self) -> Result<Vec<u8>, serde_json::Error> {
        serde_json::to_vec(self)
    }

    fn tree(&self) -> Result<Value, serde_json::Error> {
        serde_json::to_value(self)
    }
}

/// Wraps a pure operation for the table.
pub fn operation<I: Wire + 'static, O: Wire + Send + 'static>(function: Function<I, O>) -> Operation {
    erase(move |cx, view, _, input| function(cx, view, input))
}

/// Wraps a reading operation for the table.
pub fn reading<I: Wire + 'static, O: Wire + Send + 'static>(function: ReadingFunction<I, O>) -> Operation {
    erase(function)
}

fn erase<I: Wire, O: Wire + Send + 'static>(
    function: impl Fn(&Context, &mut View, &Logs, I) -> Result<O, ApiError> + Send + Sync + 'static,
) -> Operation {
    let run = move |cx: &Context, view: &mut View, logs: &Logs, tree: &Value| {
        // The tree was held against the same shape as the struct was generated from.
        let input = I::deserialize(tree).map_err(ApiError::server)?;
        let output = function(cx, view, logs, input)?;
        Ok(Box::new(output) as Box<dyn Answer>)
    };
    Operation { input: I::SHAPE, output: O::SHAPE, run: Box::new(run) }
}

impl Operation {
    /// Runs on `view`, which collects what it writes. `tree` must have been decoded by the operation's input shape.
    pub fn run(&self, cx: &Context, view: &mut View, logs: &Logs, tree: &Value) -> Result<Box<dyn Answer>, ApiError> {
        (self.run)(cx, view, logs, tree)
    }
}

impl fmt::Debug for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Operation").finish_non_exhaustive()
    }
}
