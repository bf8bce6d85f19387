//! Resources are per region, which is the one that a request was signed for.

use super::command::aws;
use super::server::Server;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_region_has_its_own() {
    let server = Server::start().await;
    let created = aws(&server, "--region eu-central-1 ecs create-cluster --cluster-name here").await;
    assert_eq!(created["cluster"]["clusterArn"], "arn:aws:ecs:eu-central-1:123456789012:cluster/here");
    let there = aws(&server, "--region eu-west-1 ecs list-clusters").await.to_string();
    assert!(!there.contains("cluster/here"), "{there}");
    let here = aws(&server, "--region eu-central-1 ecs list-clusters").await.to_string();
    assert!(here.contains("cluster/here"), "{here}");

    // A load balancer's short name is ambiguous as soon as two regions have it; the whole name never is.
    for region in ["eu-central-1", "eu-west-1"] {
        let made = aws(
            &server,
            &format!("--region {region} elbv2 create-load-balancer --name twin --subnets subnet-a subnet-b"),
        )
        .await;
        assert_eq!(made["LoadBalancers"][0]["DNSName"], format!("twin.{region}.elb.localhost"));
    }
}
