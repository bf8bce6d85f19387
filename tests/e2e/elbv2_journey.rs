//! The `aws elbv2` CLI from nothing to a weighted, sticky, host-routed set-up that carries traffic, and back, with its
//! waiters.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use bytes::Bytes;
use http::Request;
use serde_json::{Value, json};

use super::command::{aws, aws_error, aws_words};
use super::definitions::handler;
use super::http::{Answer, get, once};
use super::server::Server;

const NETWORK: &str = "awsvpcConfiguration={subnets=[subnet-1],assignPublicIp=ENABLED}";
const HOST: &str = "api.shop.example";

/// A load balancer `shop` whose rule for one host splits its requests between two services.
struct Shop {
    server: Server,
    balancer: String,
    listener: String,
    rule: String,
    blue: String,
    green: String,
    address: SocketAddr,
}

fn string(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("{value} is no text")).to_owned()
}

/// Weights of blue and green, as `--actions` takes them.
fn split(shop: (&str, &str), weights: (u32, u32), sticky_seconds: Option<u32>) -> String {
    let groups = [(shop.0, weights.0), (shop.1, weights.1)]
        .map(|(arn, weight)| json!({"TargetGroupArn": arn, "Weight": weight}));
    let stickiness = match sticky_seconds {
        Some(seconds) => json!({"Enabled": true, "DurationSeconds": seconds}),
        None => json!({"Enabled": false}),
    };
    let forward = json!({"TargetGroups": groups, "TargetGroupStickinessConfig": stickiness});
    json!([{"Type": "forward", "ForwardConfig": forward}]).to_string()
}

async fn service(server: &Server, name: &str) -> String {
    let group = format!(
        "elbv2 create-target-group --name {name} --protocol HTTP --port 80 --target-type ip --vpc-id vpc-1 \
         --health-check-path /plain --tags Key=coracle.health.interval-ms,Value=100"
    );
    string(&aws(server, &group).await["TargetGroups"][0]["TargetGroupArn"])
}

async fn run(server: &Server, name: &str, group: &str) {
    let mut definition = handler(name, "hello");
    definition["containerDefinitions"][0]["environment"] = json!([{"name": "VERSION", "value": name}]);
    server.register(definition).await;
    let balancers = format!("targetGroupArn={group},containerName={name},containerPort=80");
    aws_words(
        server,
        &[
            "ecs",
            "create-service",
            "--service-name",
            name,
            "--task-definition",
            name,
            "--desired-count",
            "2",
            "--launch-type",
            "FARGATE",
            "--load-balancers",
            &balancers,
            "--network-configuration",
            NETWORK,
        ],
    )
    .await;
}

async fn open() -> Shop {
    let server = Server::start().await;
    let made = aws(&server, "elbv2 create-load-balancer --name shop --subnets subnet-1 subnet-2").await;
    let balancer = string(&made["LoadBalancers"][0]["LoadBalancerArn"]);
    aws(&server, &format!("elbv2 wait load-balancer-available --load-balancer-arns {balancer}")).await;
    let (blue, green) = (service(&server, "blue").await, service(&server, "green").await);
    let nothing = r#"[{"Type":"fixed-response","FixedResponseConfig":{"StatusCode":"404","MessageBody":"no such shop","ContentType":"text/plain"}}]"#;
    let made = aws_words(
        &server,
        &[
            "elbv2",
            "create-listener",
            "--load-balancer-arn",
            &balancer,
            "--protocol",
            "HTTP",
            "--port",
            "80",
            "--default-actions",
            nothing,
        ],
    )
    .await;
    let listener = string(&made["Listeners"][0]["ListenerArn"]);
    let conditions = json!([{"Field": "host-header", "HostHeaderConfig": {"Values": ["*.shop.example"]}}]).to_string();
    let actions = split((&blue, &green), (1, 3), Some(60));
    let made = aws_words(
        &server,
        &[
            "elbv2",
            "create-rule",
            "--listener-arn",
            &listener,
            "--priority",
            "10",
            "--conditions",
            &conditions,
            "--actions",
            &actions,
        ],
    )
    .await;
    let rule = string(&made["Rules"][0]["RuleArn"]);
    for (name, group) in [("blue", &blue), ("green", &green)] {
        run(&server, name, group).await;
    }
    for group in [&blue, &green] {
        server.steady(if *group == blue { "blue" } else { "green" }).await;
        aws(&server, &format!("elbv2 wait target-in-service --target-group-arn {group}")).await;
    }
    let address = server.bound(&listener).await;
    Shop { server, balancer, listener, rule, blue, green, address }
}

impl Shop {
    async fn ask(&self, cookies: &str) -> Answer {
        let request = Request::get("/environment").header("host", HOST);
        let request = if cookies.is_empty() { request } else { request.header("cookie", cookies) };
        let answer = once(self.address, request.body(Bytes::new()).unwrap()).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        answer
    }

    /// How often each version answers so many new clients.
    async fn shares(&self, count: usize) -> BTreeMap<String, usize> {
        let mut shares = BTreeMap::new();
        for _ in 0..count {
            *shares.entry(version(&self.ask("").await)).or_insert(0) += 1;
        }
        shares
    }
}

fn version(answer: &Answer) -> String {
    string(&answer.json()["VERSION"])
}

/// What a browser would send back.
fn cookies(answer: &Answer) -> String {
    let set = answer.headers.get_all("set-cookie").iter();
    let pairs: Vec<&str> = set.map(|cookie| cookie.to_str().unwrap().split(';').next().unwrap()).collect();
    pairs.join("; ")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn from_nothing_to_a_weighted_sticky_host_routed_set_up_and_back() {
    let shop = open().await;
    // By host, by weight, and a client that comes back stays with its group.
    let elsewhere = once(shop.address, get("other.example", "/")).await;
    assert_eq!((elsewhere.status.as_u16(), elsewhere.text().as_str()), (404, "no such shop"));
    let shares = shop.shares(40).await;
    assert!((7..=13).contains(&shares["blue"]), "{shares:?}");
    let first = shop.ask("").await;
    let kept = cookies(&first);
    assert!(kept.contains("AWSALBTG="), "{:?}", first.headers);
    for _ in 0..8 {
        assert_eq!(version(&shop.ask(&kept).await), version(&first));
    }

    // Stickiness to one target of a group.
    let groups = (shop.blue.as_str(), shop.green.as_str());
    aws_words(
        &shop.server,
        &["elbv2", "modify-rule", "--rule-arn", &shop.rule, "--actions", &split(groups, (0, 1), None)],
    )
    .await;
    aws(
        &shop.server,
        &format!(
            "elbv2 modify-target-group-attributes --target-group-arn {} --attributes Key=stickiness.enabled,Value=true \
             Key=stickiness.type,Value=lb_cookie Key=stickiness.lb_cookie.duration_seconds,Value=60",
            shop.green
        ),
    )
    .await;
    let green = "green".to_owned();
    assert_eq!(shop.shares(10).await, BTreeMap::from([(green.clone(), 10)]));
    let plain = async |cookies: &str| {
        let request = Request::get("/plain").header("host", HOST).header("cookie", cookies);
        once(shop.address, request.body(Bytes::new()).unwrap()).await
    };
    let first = plain("").await;
    let kept = cookies(&first);
    assert!(kept.contains("AWSALB="), "{:?}", first.headers);
    for _ in 0..6 {
        assert_eq!(plain(&kept).await.text(), first.text());
    }
    assert!({
        let mut seen = std::collections::BTreeSet::new();
        for _ in 0..4 {
            seen.insert(plain("").await.text());
        }
        seen.len() == 2
    });
    close(shop).await;
}

async fn close(shop: Shop) {
    let Shop { server, balancer, listener, rule, blue, green, .. } = &shop;
    let described = aws(server, &format!("elbv2 describe-rules --listener-arn {listener}")).await;
    let priorities: Vec<&Value> = described["Rules"].as_array().unwrap().iter().map(|rule| &rule["Priority"]).collect();
    assert_eq!(priorities, ["10", "default"]);
    aws(server, &format!("elbv2 set-rule-priorities --rule-priorities RuleArn={rule},Priority=20")).await;
    let used = aws_error(server, &format!("elbv2 delete-target-group --target-group-arn {green}")).await;
    assert!(used.contains("ResourceInUse"), "{used}");
    let mut targets = Vec::new();
    for group in [blue, green] {
        let health = aws(server, &format!("elbv2 describe-target-health --target-group-arn {group}")).await;
        targets.push(string(&health["TargetHealthDescriptions"][0]["Target"]["Id"]));
    }
    for name in ["blue", "green"] {
        aws(server, &format!("ecs update-service --service {name} --desired-count 0")).await;
        aws(server, &format!("ecs delete-service --service {name}")).await;
        aws(server, &format!("ecs wait services-inactive --services {name}")).await;
    }
    for (group, id) in [blue, green].into_iter().zip(&targets) {
        // Without naming a target the waiter waits for ever, at AWS too: of none it cannot say that all are unused.
        let target = format!("--targets Id={id},Port=80");
        aws(server, &format!("elbv2 wait target-deregistered --target-group-arn {group} {target}")).await;
    }
    aws(server, &format!("elbv2 delete-rule --rule-arn {rule}")).await;
    aws(server, &format!("elbv2 delete-listener --listener-arn {listener}")).await;
    aws(server, &format!("elbv2 delete-load-balancer --load-balancer-arn {balancer}")).await;
    aws(server, &format!("elbv2 wait load-balancers-deleted --load-balancer-arns {balancer}")).await;
    for group in [blue, green] {
        aws(server, &format!("elbv2 delete-target-group --target-group-arn {group}")).await;
    }
    assert_eq!(aws(server, "elbv2 describe-target-groups").await["TargetGroups"], json!([]));
    assert_eq!(aws(server, "elbv2 describe-load-balancers").await["LoadBalancers"], json!([]));
}
