//! Operations in tests: pure functions of a view, called one after the other, with no server, clock or store behind them.

use serde::Serialize;
use serde_json::Value;

use crate::api::context::Context;
use crate::api::error::{ApiError, ErrorKind};
use crate::api::shape::Wire;
use crate::model::Timestamp;
use crate::store::{Store, View};

pub type Function<I, O> = fn(&Context, &mut View, I) -> Result<O, ApiError>;

/// A view that operations write to one after the other. What one service's tests ask again and again, they add to it.
pub struct Api {
    pub cx: Context,
    pub view: View,
}

impl Api {
    pub fn new() -> Api {
        Api::at(Timestamp(1_000))
    }

    pub fn at(now: Timestamp) -> Api {
        Api { cx: Context::scripted(now), view: Store::in_memory().view() }
    }

    pub fn call<I: Wire, O: Serialize>(&mut self, function: Function<I, O>, input: Value) -> Result<Value, ApiError> {
        let input = serde_json::from_value(input).expect("the test writes what the model knows");
        function(&self.cx, &mut self.view, input).map(|output| serde_json::to_value(output).unwrap())
    }

    pub fn ok<I: Wire, O: Serialize>(&mut self, function: Function<I, O>, input: Value) -> Value {
        self.call(function, input).unwrap_or_else(|error| panic!("{:?}: {error}", error.kind))
    }

    pub fn refused<I: Wire, O: Serialize>(&mut self, function: Function<I, O>, input: Value) -> (ErrorKind, String) {
        let error = self.call(function, input).map(|answer| panic!("{answer}")).unwrap_err();
        (error.kind, error.message)
    }
}
