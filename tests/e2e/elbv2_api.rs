//! The ELBv2 API beside rules, as the aws CLI and boto3 see it: from nothing to a network load balancer with TLS, and back.

use serde_json::json;

use super::command::{aws, aws_error, python};
use super::server::Server;

const CERTIFICATE: &str = "arn:aws:acm:us-east-1:123456789012:certificate/5cc54884-f4a3-4072-80be-05b9ba72f705";
const OTHER: &str = "arn:aws:iam::123456789012:server-certificate/other";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_network_load_balancer_with_tls_from_nothing_and_back() {
    let server = Server::start().await;
    let aws = async |arguments: &str| aws(&server, arguments).await;
    let created =
        aws("elbv2 create-load-balancer --name edge --type network --scheme internet-facing --security-groups sg-1 \
         --subnet-mappings SubnetId=subnet-1,AllocationId=eipalloc-1")
        .await;
    let balancer = created["LoadBalancers"][0]["LoadBalancerArn"].as_str().unwrap().to_owned();
    assert!(balancer.contains(":loadbalancer/net/edge/"), "{balancer}");
    for waiter in ["load-balancer-exists", "load-balancer-available"] {
        aws(&format!("elbv2 wait {waiter} --load-balancer-arns {balancer}")).await;
    }
    let set = format!("elbv2 set-security-groups --load-balancer-arn {balancer} --security-groups sg-2 sg-3");
    assert_eq!(aws(&set).await["SecurityGroupIds"], json!(["sg-2", "sg-3"]));
    let zones = aws(&format!("elbv2 set-subnets --load-balancer-arn {balancer} --subnets subnet-1 subnet-2")).await;
    assert_eq!(zones["AvailabilityZones"].as_array().unwrap().len(), 2);
    let kind = format!("elbv2 set-ip-address-type --load-balancer-arn {balancer} --ip-address-type ipv4");
    assert_eq!(aws(&kind).await["IpAddressType"], "ipv4");
    aws(&format!("elbv2 describe-capacity-reservation --load-balancer-arn {balancer}")).await;
    aws(&format!(
        "elbv2 modify-load-balancer-attributes --load-balancer-arn {balancer} \
         --attributes Key=load_balancing.cross_zone.enabled,Value=true"
    ))
    .await;

    let group = aws("elbv2 create-target-group --name edge --protocol TCP --port 9 --target-type ip \
         --tags Key=coracle.health.interval-ms,Value=50")
    .await;
    let group = group["TargetGroups"][0]["TargetGroupArn"].as_str().unwrap().to_owned();
    aws(&format!(
        "elbv2 modify-target-group-attributes --target-group-arn {group} \
         --attributes Key=proxy_protocol_v2.enabled,Value=true Key=deregistration_delay.timeout_seconds,Value=1"
    ))
    .await;
    let policies = aws("elbv2 describe-ssl-policies --load-balancer-type network").await;
    let policies = policies["SslPolicies"].as_array().unwrap();
    let policy = policies.iter().find(|policy| policy["Name"] == "ELBSecurityPolicy-TLS13-1-2-Res-2021-06").unwrap();
    assert_eq!(policy["SslProtocols"], json!(["TLSv1.2", "TLSv1.3"]));
    let listener = aws(&format!(
        "elbv2 create-listener --load-balancer-arn {balancer} --protocol TLS --port 8443 --alpn-policy HTTP2Preferred \
         --ssl-policy ELBSecurityPolicy-TLS13-1-2-Res-2021-06 --certificates CertificateArn={CERTIFICATE} \
         --default-actions Type=forward,TargetGroupArn={group}"
    ))
    .await["Listeners"][0]
        .take();
    assert_eq!(listener["Certificates"], json!([{ "CertificateArn": CERTIFICATE }]));
    let listener = listener["ListenerArn"].as_str().unwrap().to_owned();
    let other = format!("--listener-arn {listener} --certificates CertificateArn={OTHER}");
    aws(&format!("elbv2 add-listener-certificates {other}")).await;
    let certificates = aws(&format!("elbv2 describe-listener-certificates --listener-arn {listener}")).await;
    let expected = json!([
        { "CertificateArn": CERTIFICATE, "IsDefault": true },
        { "CertificateArn": OTHER, "IsDefault": false },
    ]);
    assert_eq!(certificates["Certificates"], expected);
    aws(&format!("elbv2 remove-listener-certificates {other}")).await;
    let refused = aws_error(&server, &format!("elbv2 modify-listener --listener-arn {listener} --protocol UDP")).await;
    assert!(refused.contains("IncompatibleProtocols"), "{refused}");
    aws(&format!("elbv2 modify-listener --listener-arn {listener} --protocol TCP --port 8444")).await;
    let attribute = "Key=tcp.idle_timeout.seconds,Value=60";
    let set = format!("elbv2 modify-listener-attributes --listener-arn {listener} --attributes {attribute}");
    assert_eq!(aws(&set).await["Attributes"][0]["Value"], "60");

    // Whoever answers on this server's own port is a healthy target of TCP.
    let target = format!("--target-group-arn {group} --targets Id=127.0.0.1,Port={}", server.address.port());
    aws(&format!("elbv2 register-targets {target}")).await;
    aws(&format!("elbv2 wait target-in-service {target}")).await;
    aws(&format!("elbv2 deregister-targets {target}")).await;
    aws(&format!("elbv2 delete-listener --listener-arn {listener}")).await;
    aws(&format!("elbv2 wait target-deregistered {target}")).await;

    let limits = aws("elbv2 describe-account-limits").await;
    let limits = limits["Limits"].as_array().unwrap();
    assert!(limits.iter().any(|limit| limit["Name"] == "network-load-balancers" && limit["Max"] == "50"));
    let refused = aws_error(&server, "elbv2 describe-trust-stores").await;
    assert!(refused.contains("DescribeTrustStores is not available in Coracle: "), "{refused}");
    aws(&format!("elbv2 delete-load-balancer --load-balancer-arn {balancer}")).await;
    aws(&format!("elbv2 wait load-balancers-deleted --load-balancer-arns {balancer}")).await;
    aws(&format!("elbv2 delete-target-group --target-group-arn {group}")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn elbv2_as_boto3_sees_it() {
    let server = Server::start().await;
    python(&server, "elbv2_api.py").await;
}
