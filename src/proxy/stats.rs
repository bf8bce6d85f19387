//! What was counted on the data path, read without stopping it: the metrics of load balancers, under CloudWatch's names.

mod budget;
mod codes;
mod latency;

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::model::load_balancer::{Action, LoadBalancerKind};
use crate::model::{Arn, TargetState};
use crate::proxy::Shared;
use crate::proxy::balancer::Balancer;
use crate::proxy::group::Group;
use crate::proxy::spec::LoadBalancerSpec;
use crate::proxy::target::{Target, TargetKey, WEIGHT_FULL};

pub use budget::LogBudget;
pub use codes::{CodeStats, Codes, OwnCodeStats, OwnCodes};
pub use latency::{Latency, LatencyStats};

/// A load balancer since the server began.
#[derive(Clone, Debug, PartialEq)]
pub struct BalancerStats {
    pub load_balancer: Arn,
    pub name: String,
    pub kind: LoadBalancerKind,
    /// All that came, also what was answered without a target.
    pub requests: u64,
    pub in_flight: u64,
    /// `RequestCount`: those for which a target was chosen.
    pub request_count: u64,
    /// `HTTPCode_Target_2XX_Count` and its like.
    pub target_codes: CodeStats,
    /// `HTTPCode_ELB_3XX_Count` and its like.
    pub elb_codes: OwnCodeStats,
    /// `TargetResponseTime`.
    pub response_time: LatencyStats,
    pub processed_bytes: u64,
    pub rule_evaluations: u64,
    /// `HTTP_Redirect_Count`.
    pub redirects: u64,
    /// `HTTP_Fixed_Response_Count`.
    pub fixed_responses: u64,
    /// `GrpcRequestCount`.
    pub grpc_requests: u64,
    /// `DesyncMitigationMode_NonCompliant_Request_Count`.
    pub non_compliant: u64,
    pub target_connection_errors: u64,
    pub target_tls_errors: u64,
    pub client_tls_errors: u64,
    /// `NewConnectionCount`; of network load balancers `NewFlowCount`.
    pub connections: u64,
    /// `ActiveConnectionCount`, `ActiveFlowCount`.
    pub connections_active: u64,
    pub connections_rejected: u64,
    /// `TCP_Client_Reset_Count` and its like.
    pub client_resets: u64,
    pub target_resets: u64,
    pub elb_resets: u64,
    /// ARNs of those that its listeners and rules forward to.
    pub groups: BTreeSet<String>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct GroupStats {
    pub group: Arn,
    /// `RequestCount`: those for which a target was chosen.
    pub requests: u64,
    /// `HTTPCode_ELB_5XX_Count`, of this group.
    pub errors: u64,
    /// `HTTPCode_Target_2XX_Count` and its like.
    pub codes: CodeStats,
    /// `TargetResponseTime`.
    pub response_time: LatencyStats,
    pub connection_errors: u64,
    pub tls_errors: u64,
    pub targets: Vec<TargetStats>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct TargetStats {
    pub target: TargetKey,
    pub health: TargetState,
    /// It fails much more than the others, and gets fewer requests where the group mitigates that.
    pub is_anomalous: bool,
    pub is_mitigated: bool,
    pub in_flight: usize,
    pub requests: u64,
    /// `HTTPCode_Target_5XX_Count`.
    pub errors: u64,
    /// Its responses by class.
    pub codes: CodeStats,
    /// `TargetConnectionErrorCount`.
    pub connection_errors: u64,
    /// Whatever kept it from answering.
    pub failures: u64,
    /// The sum of what `TargetResponseTime` averages.
    pub latency: Duration,
}

impl Shared {
    pub(super) fn group_stats(&self) -> Vec<GroupStats> {
        let groups: Vec<_> = self.registry.lock().groups.values().cloned().collect();
        groups.iter().map(|group| GroupStats::of(group)).collect()
    }

    pub(super) fn balancer_stats(&self) -> Vec<BalancerStats> {
        let specs = self.registry.lock().load_balancers.clone();
        let routes = self.routes.load();
        let found = specs.iter().filter_map(|spec| {
            let arn = spec.record.arn();
            let balancer = routes.balancers().get(&arn)?;
            Some(BalancerStats::of(arn, balancer, groups_of(spec)))
        });
        found.collect()
    }
}

/// The groups that anything of a load balancer leads to.
fn groups_of(spec: &LoadBalancerSpec) -> BTreeSet<String> {
    let actions = spec.listeners.iter().flat_map(|listener| {
        listener.record.default_actions.iter().chain(listener.rules.iter().flat_map(|rule| &rule.actions))
    });
    actions.flat_map(Action::groups).map(|(group, _)| group.clone()).collect()
}

fn read(counter: &AtomicU64) -> u64 {
    counter.load(Ordering::Relaxed)
}

impl BalancerStats {
    fn of(load_balancer: Arn, balancer: &Balancer, groups: BTreeSet<String>) -> BalancerStats {
        let counts = &balancer.counts;
        // What ended was read first, so that the difference is not below what there is.
        let (ended, connections_ended) = (read(&counts.ended), read(&counts.connections_ended));
        let (begun, connections) = (read(&counts.begun), read(&counts.connections));
        BalancerStats {
            load_balancer,
            name: balancer.record.name.clone(),
            kind: balancer.record.kind,
            requests: begun,
            in_flight: begun.saturating_sub(ended),
            request_count: read(&counts.chosen),
            target_codes: counts.target_codes.read(),
            elb_codes: counts.elb_codes.read(),
            response_time: counts.response_time.read(),
            processed_bytes: read(&counts.processed_bytes),
            rule_evaluations: read(&counts.rule_evaluations),
            redirects: read(&counts.redirects),
            fixed_responses: read(&counts.fixed_responses),
            grpc_requests: read(&counts.grpc),
            non_compliant: read(&counts.non_compliant),
            target_connection_errors: read(&counts.target_connection_errors),
            target_tls_errors: read(&counts.target_tls_errors),
            client_tls_errors: read(&counts.client_tls_errors),
            connections,
            connections_active: connections.saturating_sub(connections_ended),
            connections_rejected: read(&counts.connections_rejected),
            client_resets: read(&counts.client_resets),
            target_resets: read(&counts.target_resets),
            elb_resets: read(&counts.elb_resets),
            groups,
        }
    }
}

impl GroupStats {
    fn of(group: &Group) -> GroupStats {
        let counts = &group.counts;
        GroupStats {
            group: group.arn.clone(),
            requests: read(&counts.requests),
            errors: read(&counts.errors),
            codes: counts.codes.read(),
            response_time: counts.response_time.read(),
            connection_errors: read(&counts.connection_errors),
            tls_errors: read(&counts.tls_errors),
            targets: group.members.load().all.iter().map(|target| TargetStats::of(target)).collect(),
        }
    }

    /// `HealthyHostCount`.
    pub fn healthy(&self) -> usize {
        self.targets.iter().filter(|target| target.health == TargetState::Healthy).count()
    }

    /// `AnomalousHostCount`.
    pub fn anomalous(&self) -> usize {
        self.targets.iter().filter(|target| target.is_anomalous).count()
    }

    /// `MitigatedHostCount`.
    pub fn mitigated(&self) -> usize {
        self.targets.iter().filter(|target| target.is_mitigated).count()
    }

    /// `UnHealthyHostCount`.
    pub fn unhealthy(&self) -> usize {
        self.targets.iter().filter(|target| target.health == TargetState::Unhealthy).count()
    }
}

impl TargetStats {
    fn of(target: &Target) -> TargetStats {
        let state = &target.state;
        TargetStats {
            target: state.key.clone(),
            health: if state.is_draining() { TargetState::Draining } else { state.health() },
            is_anomalous: state.is_anomalous(),
            is_mitigated: state.weight() < WEIGHT_FULL,
            in_flight: state.in_flight(),
            requests: read(&state.counts.requests),
            errors: read(&state.counts.errors),
            codes: state.counts.codes.read(),
            connection_errors: read(&state.counts.connection_errors),
            failures: read(&state.counts.failures),
            latency: Duration::from_nanos(read(&state.counts.latency_ns)),
        }
    }
}
