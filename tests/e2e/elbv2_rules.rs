//! Rules of a listener with the real `aws` CLI, unchanged: from the first to the last, with every condition.

use serde_json::{Value, json};

use super::command::{aws, aws_error, aws_words};
use super::server::Server;

/// A listener with two target groups, one of which nothing uses yet.
struct Scene {
    server: Server,
    balancer: String,
    listener: String,
    used: String,
    spare: String,
}

impl Scene {
    async fn new() -> Scene {
        let server = Server::start().await;
        let balancer = aws(&server, "elbv2 create-load-balancer --name shop --subnets subnet-1 subnet-2").await;
        let balancer = text(&balancer["LoadBalancers"][0]["LoadBalancerArn"]);
        let used = target_group(&server, "used").await;
        let spare = target_group(&server, "spare").await;
        let listener = aws(
            &server,
            &format!(
                "elbv2 create-listener --load-balancer-arn {balancer} --protocol HTTP --port 80 \
                 --default-actions Type=forward,TargetGroupArn={used}"
            ),
        )
        .await;
        let listener = text(&listener["Listeners"][0]["ListenerArn"]);
        Scene { server, balancer, listener, used, spare }
    }

    /// A new rule as it is answered.
    async fn create(&self, priority: u32, conditions: &Value, actions: &Value, more: &[&str]) -> Value {
        let (priority, conditions, actions) = (priority.to_string(), conditions.to_string(), actions.to_string());
        let mut words = vec!["elbv2", "create-rule", "--listener-arn", &self.listener, "--priority", &priority];
        words.extend(["--conditions", &conditions, "--actions", &actions]);
        words.extend(more);
        aws_words(&self.server, &words).await["Rules"][0].take()
    }

    async fn describe(&self, more: &str) -> Value {
        aws(&self.server, &format!("elbv2 describe-rules --listener-arn {} {more}", self.listener)).await
    }

    async fn priorities(&self) -> Vec<String> {
        let described = self.describe("").await;
        described["Rules"].as_array().unwrap().iter().map(|rule| text(&rule["Priority"])).collect()
    }
}

async fn target_group(server: &Server, name: &str) -> String {
    let settings = "--protocol HTTP --port 80 --target-type ip --vpc-id vpc-1";
    let created = aws(server, &format!("elbv2 create-target-group --name {name} {settings}")).await;
    text(&created["TargetGroups"][0]["TargetGroupArn"])
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("{value} is no text")).to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_condition_transform_and_action() {
    let scene = Scene::new().await;
    let conditions = json!([
        { "Field": "host-header", "HostHeaderConfig": { "Values": ["*.example.com"] } },
        { "Field": "path-pattern", "PathPatternConfig": { "Values": ["/img/*"] } },
        { "Field": "http-header", "HttpHeaderConfig": { "HttpHeaderName": "X-Stage", "RegexValues": ["^(blue|green)$"] } },
        { "Field": "query-string", "QueryStringConfig": { "Values": [{ "Key": "v", "Value": "1?" }] } },
        { "Field": "source-ip", "SourceIpConfig": { "Values": ["10.0.0.0/8"] } },
    ]);
    let split = json!([{
        "Type": "forward",
        "ForwardConfig": {
            "TargetGroups": [
                { "TargetGroupArn": scene.used, "Weight": 3 }, { "TargetGroupArn": scene.spare, "Weight": 1 },
            ],
            "TargetGroupStickinessConfig": { "Enabled": true, "DurationSeconds": 60 },
        },
    }]);
    let transforms = json!([
        { "Type": "host-header-rewrite", "HostHeaderRewriteConfig": { "Rewrites": [{ "Regex": "^(.*)\\.example\\.com$", "Replace": "$1.internal" }] } },
        { "Type": "url-rewrite", "UrlRewriteConfig": { "Rewrites": [{ "Regex": "^/img/", "Replace": "/" }] } },
    ]);
    let transforms_text = transforms.to_string();
    let rule = scene.create(10, &conditions, &split, &["--transforms", &transforms_text]).await;
    // Hosts and paths are shown in the old form too.
    let mut shown = conditions.clone();
    shown[0]["Values"] = json!(["*.example.com"]);
    shown[1]["Values"] = json!(["/img/*"]);
    assert_eq!((&rule["Conditions"], &rule["Actions"], &rule["Transforms"]), (&shown, &split, &transforms));
    assert_eq!((&rule["Priority"], &rule["IsDefault"]), (&json!("10"), &json!(false)));
    let arn = text(&rule["RuleArn"]);
    assert_eq!(aws(&scene.server, &format!("elbv2 describe-rules --rule-arns {arn}")).await["Rules"], json!([rule]));

    let method = json!([{ "Field": "http-request-method", "HttpRequestMethodConfig": { "Values": ["PUT", "PATCH"] } }]);
    let redirect = json!([{ "Type": "redirect", "Order": 1, "RedirectConfig": { "Protocol": "HTTPS", "Port": "443", "StatusCode": "HTTP_301" } }]);
    let redirected = scene.create(20, &method, &redirect, &[]).await;
    assert_eq!((&redirected["Conditions"], &redirected["Actions"][0]["Order"]), (&method, &json!(1)));
    assert_eq!(redirected["Actions"][0]["RedirectConfig"]["Path"], "/#{path}");

    // The shorthand of the CLI, as its own examples have it.
    let modified = aws(
        &scene.server,
        &format!(
            "elbv2 modify-rule --rule-arn {arn} --conditions Field=path-pattern,Values=/css/* \
             --actions Type=fixed-response,FixedResponseConfig={{StatusCode=410,ContentType=text/plain}} --reset-transforms"
        ),
    )
    .await;
    let rule = &modified["Rules"][0];
    assert_eq!(rule["Conditions"][0]["PathPatternConfig"]["Values"], json!(["/css/*"]));
    assert_eq!(rule["Actions"][0]["FixedResponseConfig"]["StatusCode"], "410");
    assert_eq!((&rule["Transforms"], &rule["Priority"]), (&json!([]), &json!("10")));

    for (conditions, actions, refused) in [
        ("Field=source-ip,SourceIpConfig={Values=10.0.0.1}", "", "(ValidationError)"),
        ("Field=http-header,HttpHeaderConfig={HttpHeaderName=Host,Values=a}", "", "(ValidationError)"),
        ("Field=path-pattern,RegexValues=(", "", "(ValidationError)"),
        ("Field=path-pattern,Values=/1,/2,/3,/4,/5,/6", "", "A rule can only have '5' condition values"),
        (
            "Field=path-pattern,Values=/1",
            "Type=authenticate-cognito,AuthenticateCognitoConfig={UserPoolArn=a,UserPoolClientId=b,UserPoolDomain=c},Order=1",
            "(UnsupportedOperation)",
        ),
    ] {
        let command = format!(
            "elbv2 create-rule --listener-arn {} --priority 30 --conditions {conditions} \
             --actions {actions} Type=forward,TargetGroupArn={},Order=2",
            scene.listener, scene.used
        );
        let error = aws_error(&scene.server, &command).await;
        assert!(error.contains(refused), "{command}: {error}");
    }
    assert_eq!(scene.priorities().await, ["10", "20", "default"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn priorities_tags_pages_and_deletion() {
    let scene = Scene::new().await;
    let aws = async |arguments: &str| aws(&scene.server, arguments).await;
    let host = |name: &str| json!([{ "Field": "host-header", "Values": [format!("{name}.example.com")] }]);
    let to = |group: &str| json!([{ "Type": "forward", "TargetGroupArn": group }]);
    let tags = ["--tags", "Key=Name,Value=first"];
    let first = text(&scene.create(1, &host("a"), &to(&scene.spare), &tags).await["RuleArn"]);
    let second = text(&scene.create(2, &host("b"), &to(&scene.used), &[]).await["RuleArn"]);
    let third = text(&scene.create(3, &host("c"), &to(&scene.used), &[]).await["RuleArn"]);

    let taken = format!("elbv2 set-rule-priorities --rule-priorities RuleArn={first},Priority=3");
    let taken = aws_error(&scene.server, &taken).await;
    assert!(taken.contains("(PriorityInUse)") && taken.contains("Priority '3' is currently in use"), "{taken}");
    let swapped = aws(&format!(
        "elbv2 set-rule-priorities --rule-priorities RuleArn={first},Priority=2 RuleArn={second},Priority=1"
    ))
    .await;
    assert_eq!(swapped["Rules"].as_array().unwrap().len(), 2);
    let described = scene.describe("").await;
    let arns: Vec<String> = described["Rules"].as_array().unwrap().iter().map(|rule| text(&rule["RuleArn"])).collect();
    assert_eq!(arns[..3], [second.clone(), first.clone(), third.clone()]);
    assert_eq!(described["Rules"][3]["IsDefault"], true);
    let page = scene.describe("--page-size 3").await;
    let marker = text(&page["NextMarker"]);
    assert_eq!(page["Rules"].as_array().unwrap()[..], described["Rules"].as_array().unwrap()[..3]);
    let page = scene.describe(&format!("--page-size 3 --marker {marker}")).await;
    assert_eq!((&page["Rules"], &page["NextMarker"]), (&json!([described["Rules"][3]]), &Value::Null));

    aws(&format!("elbv2 add-tags --resource-arns {first} {second} --tags Key=team,Value=blue")).await;
    aws(&format!("elbv2 remove-tags --resource-arns {first} --tag-keys Name")).await;
    let described = aws(&format!("elbv2 describe-tags --resource-arns {first} {second}")).await;
    for description in described["TagDescriptions"].as_array().unwrap() {
        assert_eq!(description["Tags"], json!([{ "Key": "team", "Value": "blue" }]));
    }

    // A group that only a rule forwards to is in use.
    let groups = aws(&format!("elbv2 describe-target-groups --target-group-arns {}", scene.spare)).await;
    assert_eq!(groups["TargetGroups"][0]["LoadBalancerArns"], json!([scene.balancer]));
    let in_use =
        aws_error(&scene.server, &format!("elbv2 delete-target-group --target-group-arn {}", scene.spare)).await;
    assert!(in_use.contains("(ResourceInUse)"), "{in_use}");
    let held = aws_error(&scene.server, &format!("elbv2 delete-rule --rule-arn {}", arns[3])).await;
    assert!(held.contains("(OperationNotPermitted)"), "{held}");
    aws(&format!("elbv2 delete-rule --rule-arn {first}")).await;
    aws(&format!("elbv2 delete-target-group --target-group-arn {}", scene.spare)).await;
    assert_eq!(scene.priorities().await, ["1", "3", "default"]);

    aws(&format!("elbv2 delete-listener --listener-arn {}", scene.listener)).await;
    let gone = aws_error(&scene.server, &format!("elbv2 describe-rules --rule-arns {third}")).await;
    assert!(gone.contains("(RuleNotFound)"), "{gone}");
    aws(&format!("elbv2 delete-target-group --target-group-arn {}", scene.used)).await;
    aws(&format!("elbv2 delete-load-balancer --load-balancer-arn {}", scene.balancer)).await;
}
