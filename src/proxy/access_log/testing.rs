//! An entry for tests: the example of ELB's own documentation, nearly.

use std::time::{Duration, UNIX_EPOCH};

use http::{HeaderValue, Method, Uri, Version};

use crate::proxy::client::ConnectionId;
use crate::proxy::exchange::{Entry, MatchedRule, Times, Transformed};
use crate::proxy::testing::group_arn;

pub fn entry() -> Entry {
    Entry {
        place: None,
        load_balancer: "app/web/0000000000000002".into(),
        client: "192.168.131.39:2817".parse().unwrap(),
        connection: ConnectionId(0x3180_a730_13c8_ca4b_ac2f_7311_59d4_b0fe),
        tls: None,
        created_at: UNIX_EPOCH + Duration::from_millis(1_530_570_168_364),
        ended_at: UNIX_EPOCH + Duration::from_micros(1_530_570_180_186_641),
        method: Method::GET,
        uri: Uri::from_static("/a?b=c"),
        version: Version::HTTP_11,
        host: "www.example.com".into(),
        port: 80,
        is_grpc: false,
        is_websocket: false,
        user_agent: Some(HeaderValue::from_static("curl/7.46.0")),
        trace_id: Some(HeaderValue::from_static("Root=1-58337262-36d228ad5d99923122bbe354")),
        received_bytes: 34,
        sent_bytes: 366,
        rule: MatchedRule::Default,
        actions: "forward",
        target_group: Some(group_arn()),
        target: Some("10.0.0.1:80".parse().unwrap()),
        times: Some(Times { request: Duration::ZERO, target: Duration::from_millis(1), response: Duration::ZERO }),
        target_status: Some(200),
        status: 200,
        redirect_url: None,
        error_reason: None,
        failure: None,
        classification: None,
        transformed: Transformed::default(),
    }
}
