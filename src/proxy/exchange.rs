//! What is known of one request while it lives, and what is counted of it when it ends.
//!
//! It rides in the response's body, and so ends when the last byte was taken, or when the client went away.

use std::sync::Arc;
use std::time::Instant;

use http::StatusCode;

use crate::proxy::answer::ForwardError;
use crate::proxy::routes::Route;
use crate::proxy::rules::RuleRoute;
use crate::proxy::target::Target;

pub struct Exchange {
    route: Arc<Route>,
    since: Instant,
    status: Option<StatusCode>,
}

impl Exchange {
    pub fn begin(route: &Arc<Route>) -> Exchange {
        Exchange { route: Arc::clone(route), since: Instant::now(), status: None }
    }

    /// The rule that decides what is done.
    pub fn matched(&mut self, _rule: &RuleRoute) {}

    /// The request is on its way to a target; an earlier one could not take it.
    pub fn sent(&mut self, _target: &Target) {}

    /// The head of a target's response is there.
    pub fn answered(&mut self, _status: StatusCode) {}

    /// Answered in a target's stead.
    pub fn failed(&mut self, _error: &ForwardError) {}

    /// What the client is answered.
    pub fn responds(&mut self, status: StatusCode) {
        self.status = Some(status);
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        let counts = &self.route.balancer.counts;
        counts.ended(self.status, self.since.elapsed());
    }
}
