//! The real `aws` CLI, unchanged, from create-cluster to delete-cluster, with its waiters.

use serde_json::{Value, json};

use super::command::{aws, aws_error, aws_words};
use super::definitions::{guest, single};
use super::http::{get, once};
use super::server::Server;

const NETWORK: &str = "--network-configuration awsvpcConfiguration={subnets=[subnet-1],assignPublicIp=ENABLED}";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clusters_definitions_and_tasks() {
    let server = Server::start().await;
    let aws = async |arguments: &str| aws(&server, arguments).await;

    let created = aws("ecs create-cluster --cluster-name jobs --tags key=team,value=blue").await;
    assert_eq!(created["cluster"]["clusterArn"], "arn:aws:ecs:us-east-1:123456789012:cluster/jobs");
    assert_eq!(created["cluster"]["status"], "ACTIVE");
    let listed = aws("ecs list-clusters").await;
    assert!(listed["clusterArns"].as_array().unwrap().contains(&created["cluster"]["clusterArn"]), "{listed}");

    let first = register(&server, "batch", &["print", "hello", "exit", "3"]).await;
    assert_eq!((&first["family"], &first["revision"], &first["status"]), (&json!("job"), &json!(1), &json!("ACTIVE")));
    let second = register(&server, "batch", &["sleep", "600000"]).await;
    assert_eq!(second["revision"], 2);
    assert_eq!(aws("ecs list-task-definition-families").await["families"], json!(["job"]));
    let arns = aws("ecs list-task-definitions --family-prefix job --sort DESC").await;
    assert_eq!(arns["taskDefinitionArns"], json!([second["taskDefinitionArn"], first["taskDefinitionArn"]]));
    let described = aws("ecs describe-task-definition --task-definition job:1").await;
    assert_eq!(
        described["taskDefinition"]["containerDefinitions"][0]["command"],
        json!(["print", "hello", "exit", "3"])
    );

    // A task that ends by itself.
    let ran =
        aws(&format!("ecs run-task --cluster jobs --launch-type FARGATE --task-definition job:1 {NETWORK}")).await;
    assert_eq!(ran["failures"], json!([]));
    let task = ran["tasks"][0]["taskArn"].as_str().unwrap();
    assert!(task.starts_with("arn:aws:ecs:us-east-1:123456789012:task/jobs/"), "{task}");
    aws(&format!("ecs wait tasks-stopped --cluster jobs --tasks {task}")).await;
    let stopped = aws(&format!("ecs describe-tasks --cluster jobs --tasks {task}")).await["tasks"][0].take();
    assert_eq!((&stopped["lastStatus"], &stopped["desiredStatus"]), (&json!("STOPPED"), &json!("STOPPED")));
    assert_eq!(stopped["containers"][0]["exitCode"], 3);
    assert_eq!(stopped["stopCode"], "EssentialContainerExited");
    assert_eq!(stopped["stoppedReason"], "Essential container in task exited");
    for moment in ["createdAt", "startedAt", "stoppingAt", "stoppedAt", "pullStartedAt", "pullStoppedAt"] {
        assert!(!stopped[moment].is_null(), "{moment} in {stopped}");
    }

    // One that is stopped.
    let ran = aws(&format!("ecs run-task --cluster jobs --launch-type FARGATE --task-definition job {NETWORK}")).await;
    let task = ran["tasks"][0]["taskArn"].as_str().unwrap();
    aws(&format!("ecs wait tasks-running --cluster jobs --tasks {task}")).await;
    assert_eq!(aws("ecs list-tasks --cluster jobs").await["taskArns"], json!([task]));
    aws_words(&server, &["ecs", "stop-task", "--cluster", "jobs", "--task", task, "--reason", "it took too long"])
        .await;
    aws(&format!("ecs wait tasks-stopped --cluster jobs --tasks {task}")).await;
    let stopped = aws(&format!("ecs describe-tasks --cluster jobs --tasks {task}")).await["tasks"][0].take();
    assert_eq!(
        (&stopped["stopCode"], &stopped["stoppedReason"]),
        (&json!("UserInitiated"), &json!("it took too long"))
    );
    assert_eq!(
        aws("ecs list-tasks --cluster jobs --desired-status STOPPED").await["taskArns"].as_array().unwrap().len(),
        2
    );

    aws("ecs deregister-task-definition --task-definition job:2").await;
    assert_eq!(
        aws("ecs list-task-definitions --family-prefix job").await["taskDefinitionArns"].as_array().unwrap().len(),
        1
    );
    let refused = aws_error(&server, &format!("ecs run-task --cluster jobs --task-definition job:2 {NETWORK}")).await;
    assert!(refused.contains("TaskDefinition is inactive"), "{refused}");

    assert_eq!(aws("ecs delete-cluster --cluster jobs").await["cluster"]["status"], "INACTIVE");
    let gone = aws_error(&server, &format!("ecs run-task --cluster jobs --task-definition job:1 {NETWORK}")).await;
    assert!(gone.contains("ClusterNotFoundException"), "{gone}");
    // What is not there yet says so, in the protocol's own form.
    let missing = aws_error(&server, "ecs list-account-settings").await;
    assert!(missing.contains("ListAccountSettings"), "{missing}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_behind_a_load_balancer() {
    let server = Server::start().await;
    let aws = async |arguments: &str| aws(&server, arguments).await;
    aws("ecs create-cluster --cluster-name web").await;
    let created = aws("elbv2 create-load-balancer --name site --subnets subnet-1 subnet-2").await;
    let balancer = created["LoadBalancers"][0]["LoadBalancerArn"].as_str().unwrap().to_owned();
    let host = created["LoadBalancers"][0]["DNSName"].as_str().unwrap().to_owned();
    assert_eq!(host, "site.us-east-1.elb.localhost");
    aws(&format!("elbv2 wait load-balancer-available --load-balancer-arns {balancer}")).await;
    let group =
        aws("elbv2 create-target-group --name site --protocol HTTP --port 80 --target-type ip --vpc-id vpc-1").await;
    let group = group["TargetGroups"][0]["TargetGroupArn"].as_str().unwrap().to_owned();
    aws(&format!(
        "elbv2 modify-target-group-attributes --target-group-arn {group} --attributes Key=deregistration_delay.timeout_seconds,Value=5"
    ))
    .await;
    let listener = aws(&format!(
        "elbv2 create-listener --load-balancer-arn {balancer} --protocol HTTP --port 80 \
         --default-actions Type=forward,TargetGroupArn={group}"
    ))
    .await;
    let listener = listener["Listeners"][0]["ListenerArn"].as_str().unwrap().to_owned();

    let mut definition = single("web", "nginx", &[]);
    definition["containerDefinitions"][0]["portMappings"] = json!([{"containerPort": 80}]);
    aws_words(&server, &["ecs", "register-task-definition", "--cli-input-json", &definition.to_string()]).await;
    let service = aws(&format!(
        "ecs create-service --cluster web --service-name web --task-definition web --desired-count 2 --launch-type FARGATE \
         --load-balancers targetGroupArn={group},containerName=web,containerPort=80 {NETWORK}"
    ))
    .await;
    assert_eq!(service["service"]["status"], "ACTIVE");
    aws("ecs wait services-stable --cluster web --services web").await;
    let described = aws("ecs describe-services --cluster web --services web").await["services"][0].take();
    assert_eq!((&described["runningCount"], &described["pendingCount"]), (&json!(2), &json!(0)));
    assert_eq!(described["deployments"].as_array().unwrap().len(), 1);
    assert_eq!(described["deployments"][0]["status"], "PRIMARY");
    let events: Vec<&str> =
        described["events"].as_array().unwrap().iter().filter_map(|e| e["message"].as_str()).collect();
    assert!(events.iter().any(|message| message.contains("has started 2 tasks")), "{events:?}");
    assert!(events.iter().any(|message| message.contains("has reached a steady state")), "{events:?}");
    aws(&format!("elbv2 wait target-in-service --target-group-arn {group}")).await;
    let health = aws(&format!("elbv2 describe-target-health --target-group-arn {group}")).await;
    assert_eq!(states(&health), ["healthy", "healthy"]);
    let page = once(server.address, get(&host, "/")).await;
    assert!(page.status.is_success() && page.text().contains("<td>web:1"), "{}", page.text());

    assert_eq!(aws("ecs list-services --cluster web").await["serviceArns"].as_array().unwrap().len(), 1);
    aws("ecs update-service --cluster web --service web --desired-count 1").await;
    aws("ecs wait services-stable --cluster web --services web").await;
    let held = aws_error(&server, "ecs delete-cluster --cluster web").await;
    assert!(held.contains("ClusterContainsServicesException"), "{held}");
    aws("ecs delete-service --cluster web --service web --force").await;
    aws("ecs wait services-inactive --cluster web --services web").await;
    assert_eq!(aws("ecs describe-services --cluster web --services web").await["services"][0]["status"], "INACTIVE");

    aws(&format!("elbv2 delete-listener --listener-arn {listener}")).await;
    aws(&format!("elbv2 delete-load-balancer --load-balancer-arn {balancer}")).await;
    aws(&format!("elbv2 wait load-balancers-deleted --load-balancer-arns {balancer}")).await;
    aws(&format!("elbv2 delete-target-group --target-group-arn {group}")).await;
    let gone = aws_error(&server, &format!("elbv2 describe-target-groups --target-group-arns {group}")).await;
    assert!(gone.contains("TargetGroupNotFound"), "{gone}");
    assert_eq!(aws("ecs delete-cluster --cluster web").await["cluster"]["status"], "INACTIVE");
}

async fn register(server: &Server, image: &str, command: &[&str]) -> Value {
    let definition = single("job", &guest(image), command).to_string();
    let words = ["ecs", "register-task-definition", "--cli-input-json", &definition];
    aws_words(server, &words).await["taskDefinition"].take()
}

fn states(health: &Value) -> Vec<&str> {
    let descriptions = health["TargetHealthDescriptions"].as_array().unwrap();
    descriptions.iter().map(|target| target["TargetHealth"]["State"].as_str().unwrap()).collect()
}
