"""ELBv2 beside rules as boto3 sees it: error classes, types and enums of answers, paginators, waiters, idempotency."""

import sys

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError
from raising import raises

ENDPOINT = sys.argv[1]
# An error is an error at once: a retry would hide it.
CONFIG = Config(retries={"total_max_attempts": 1})
elb = boto3.client("elbv2", endpoint_url=ENDPOINT, region_name="us-east-1", config=CONFIG)
errors = elb.exceptions
CERTIFICATE = "arn:aws:acm:us-east-1:123456789012:certificate/{}"


def group(name, protocol, **more):
    answer = elb.create_target_group(Name=name, Protocol=protocol, Port=80, TargetType="ip", **more)
    return answer["TargetGroups"][0]["TargetGroupArn"]


def forward(arn):
    return [{"Type": "forward", "TargetGroupArn": arn}]


def load_balancers():
    first = elb.create_load_balancer(Name="net", Type="network", Scheme="internal", Subnets=["subnet-1"])
    assert elb.create_load_balancer(Name="net", Type="network", Scheme="internal", Subnets=["subnet-1"])["LoadBalancers"] == first["LoadBalancers"]
    raises(errors.DuplicateLoadBalancerNameException, elb.create_load_balancer, Name="net", Subnets=["subnet-1"])
    net = first["LoadBalancers"][0]
    assert net["Type"] == "network" and net["Scheme"] == "internal" and "SecurityGroups" not in net, net
    arn = net["LoadBalancerArn"]
    raises(errors.InvalidConfigurationRequestException, elb.set_security_groups, LoadBalancerArn=arn, SecurityGroups=["sg-1"])
    error = raises(ClientError, elb.create_load_balancer, Name="gateway", Type="gateway", Subnets=["subnet-1"])
    assert "gateway" in str(error) and "yet" not in str(error), error
    app = elb.create_load_balancer(Name="app", Subnets=["subnet-1", "subnet-2"])["LoadBalancers"][0]
    elb.set_security_groups(LoadBalancerArn=app["LoadBalancerArn"], SecurityGroups=["sg-7"])
    elb.set_subnets(LoadBalancerArn=app["LoadBalancerArn"], Subnets=["subnet-3"])
    answer = elb.set_ip_address_type(LoadBalancerArn=app["LoadBalancerArn"], IpAddressType="dualstack")
    assert answer["IpAddressType"] == "dualstack", answer
    shown = elb.describe_load_balancers(Names=["app"])["LoadBalancers"][0]
    assert shown["SecurityGroups"] == ["sg-7"] and shown["AvailabilityZones"][0]["SubnetId"] == "subnet-3", shown
    return arn, app["LoadBalancerArn"]


def listeners(net, app):
    http, tcp, udp, both = group("http", "HTTP"), group("tcp", "TCP"), group("udp", "UDP"), group("both", "TCP_UDP")
    create = elb.create_listener
    raises(errors.IncompatibleProtocolsException, create, LoadBalancerArn=net, Protocol="TCP", Port=80, DefaultActions=forward(http))
    raises(errors.IncompatibleProtocolsException, create, LoadBalancerArn=app, Protocol="HTTP", Port=80, DefaultActions=forward(tcp))
    secure = dict(LoadBalancerArn=app, Protocol="HTTPS", Port=443, DefaultActions=forward(http))
    error = raises(ClientError, create, **secure)
    assert "A certificate must be specified for HTTPS listeners" in str(error), error
    certificates = [{"CertificateArn": CERTIFICATE.format("default")}]
    raises(errors.SSLPolicyNotFoundException, create, **secure, Certificates=certificates, SslPolicy="mine")
    raises(errors.CertificateNotFoundException, create, **secure, Certificates=[{"CertificateArn": "arn:aws:s3:::b"}])
    listener = create(**secure, Certificates=certificates)["Listeners"][0]
    assert listener["SslPolicy"] == "ELBSecurityPolicy-2016-08" and listener["Certificates"] == certificates, listener
    assert listener["MutualAuthentication"]["Mode"] == "off", listener
    assert create(**secure, Certificates=certificates)["Listeners"][0] == listener
    arn = listener["ListenerArn"]
    many = [{"CertificateArn": CERTIFICATE.format(number)} for number in range(25)]
    elb.add_listener_certificates(ListenerArn=arn, Certificates=many)
    raises(errors.TooManyCertificatesException, elb.add_listener_certificates, ListenerArn=arn, Certificates=[{"CertificateArn": CERTIFICATE.format("x")}])
    pages = list(elb.get_paginator("describe_listener_certificates").paginate(ListenerArn=arn, PaginationConfig={"PageSize": 10}))
    found = [certificate for page in pages for certificate in page["Certificates"]]
    assert len(pages) == 3 and len(found) == 26 and [c["IsDefault"] for c in found].count(True) == 1, found
    raises(errors.OperationNotPermittedException, elb.remove_listener_certificates, ListenerArn=arn, Certificates=certificates)
    elb.remove_listener_certificates(ListenerArn=arn, Certificates=many[:5])
    elb.modify_listener_attributes(
        ListenerArn=arn, Attributes=[{"Key": "routing.http.response.server.enabled", "Value": "false"}])
    attributes = {a["Key"]: a["Value"] for a in elb.describe_listener_attributes(ListenerArn=arn)["Attributes"]}
    assert attributes["routing.http.response.server.enabled"] == "false", attributes
    plain = elb.modify_listener(ListenerArn=arn, Protocol="HTTP", Port=80)["Listeners"][0]
    assert "Certificates" not in plain and "SslPolicy" not in plain, plain

    raises(errors.ALPNPolicyNotSupportedException, create, LoadBalancerArn=net, Protocol="TLS", Port=1443,
           DefaultActions=forward(tcp), Certificates=certificates, AlpnPolicy=["HTTP3"])
    tls = create(LoadBalancerArn=net, Protocol="TLS", Port=1443, DefaultActions=forward(tcp), Certificates=certificates,
                 AlpnPolicy=["HTTP2Only"])["Listeners"][0]
    assert tls["AlpnPolicy"] == ["HTTP2Only"] and "/net/" in tls["ListenerArn"], tls
    create(LoadBalancerArn=net, Protocol="UDP", Port=1053, DefaultActions=forward(udp))
    create(LoadBalancerArn=net, Protocol="TCP_UDP", Port=1054, DefaultActions=forward(both))
    raises(errors.DuplicateListenerException, create, LoadBalancerArn=net, Protocol="TCP", Port=1054, DefaultActions=forward(both))
    assert len(elb.describe_listeners(LoadBalancerArn=net)["Listeners"]) == 3


def target_groups():
    tcp = elb.describe_target_groups(Names=["tcp"])["TargetGroups"][0]
    assert tcp["HealthCheckProtocol"] == "TCP" and tcp["HealthCheckTimeoutSeconds"] == 10, tcp
    assert "HealthCheckPath" not in tcp and "Matcher" not in tcp and "ProtocolVersion" not in tcp, tcp
    raises(errors.InvalidConfigurationRequestException, elb.modify_target_group, TargetGroupArn=tcp["TargetGroupArn"], HealthCheckPath="/")
    raises(errors.InvalidConfigurationRequestException, elb.modify_target_group_attributes, TargetGroupArn=tcp["TargetGroupArn"],
           Attributes=[{"Key": "stickiness.type", "Value": "lb_cookie"}])
    grpc = elb.create_target_group(Name="grpc", Protocol="HTTP", ProtocolVersion="GRPC", Port=1, TargetType="ip", VpcId="vpc-1")
    assert grpc["TargetGroups"][0]["Matcher"] == {"GrpcCode": "12"}, grpc
    error = raises(ClientError, elb.create_target_group, Name="function", TargetType="lambda")
    assert "lambda" in str(error) and "'ip'" in str(error), error
    tag = [{"Key": "coracle.health.interval-ms", "Value": "soon"}]
    raises(ClientError, elb.add_tags, ResourceArns=[tcp["TargetGroupArn"]], Tags=tag)
    elb.register_targets(TargetGroupArn=tcp["TargetGroupArn"], Targets=[{"Id": "10.0.0.9", "Port": 1, "AvailabilityZone": "all"}])
    raises(errors.InvalidTargetException, elb.register_targets, TargetGroupArn=tcp["TargetGroupArn"], Targets=[{"Id": "8.8.8.8"}])
    health = elb.describe_target_health(TargetGroupArn=tcp["TargetGroupArn"], Targets=[{"Id": "10.0.0.7"}])
    assert health["TargetHealthDescriptions"][0]["TargetHealth"]["Reason"] == "Target.NotRegistered", health
    missing = [{"Id": "10.0.0.7"}]
    elb.get_waiter("target_deregistered").wait(TargetGroupArn=tcp["TargetGroupArn"], Targets=missing)


def what_is_listed():
    policies = elb.describe_ssl_policies(LoadBalancerType="application")["SslPolicies"]
    ciphers = {policy["Name"]: [cipher["Name"] for cipher in policy["Ciphers"]] for policy in policies}
    assert len(ciphers["ELBSecurityPolicy-2016-08"]) == 18 and len(policies) > 30, ciphers
    raises(errors.SSLPolicyNotFoundException, elb.describe_ssl_policies, Names=["mine"])
    limits = {limit["Name"]: limit["Max"] for limit in elb.describe_account_limits()["Limits"]}
    assert limits["target-groups"] == "3000", limits
    error = raises(ClientError, elb.modify_ip_pools, LoadBalancerArn="x")
    assert "ModifyIpPools" in str(error), error


def the_end(net, app):
    elb.modify_load_balancer_attributes(LoadBalancerArn=net, Attributes=[{"Key": "deletion_protection.enabled", "Value": "true"}])
    raises(errors.OperationNotPermittedException, elb.delete_load_balancer, LoadBalancerArn=net)
    elb.modify_load_balancer_attributes(LoadBalancerArn=net, Attributes=[{"Key": "deletion_protection.enabled", "Value": "false"}])
    for arn in (net, app, net):
        elb.delete_load_balancer(LoadBalancerArn=arn)
    elb.get_waiter("load_balancers_deleted").wait(LoadBalancerArns=[net, app])
    for found in elb.describe_target_groups()["TargetGroups"]:
        elb.delete_target_group(TargetGroupArn=found["TargetGroupArn"])


net, app = load_balancers()
assert elb.describe_capacity_reservation(LoadBalancerArn=net)["CapacityReservationState"] == []
listeners(net, app)
target_groups()
what_is_listed()
the_end(net, app)
