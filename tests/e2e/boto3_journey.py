"""ECS and ELBv2 as boto3 sees them: paginators, error classes, tags, timestamps, failures of describe calls."""

import datetime
import sys

import boto3
from botocore.config import Config
from raising import raises

ENDPOINT = sys.argv[1]
# An error is an error at once: a retry would hide it.
CONFIG = Config(retries={"total_max_attempts": 1})
ecs = boto3.client("ecs", endpoint_url=ENDPOINT, region_name="us-east-1", config=CONFIG)
elb = boto3.client("elbv2", endpoint_url=ENDPOINT, region_name="us-east-1", config=CONFIG)


def definition(family, **more):
    container = {"name": "main", "image": "nginx", "essential": True}
    sizes = {"requiresCompatibilities": ["FARGATE"], "networkMode": "awsvpc", "cpu": "256", "memory": "512"}
    return {"family": family, "containerDefinitions": [container], **sizes, **more}


def clusters():
    for number in range(5):
        ecs.create_cluster(clusterName=f"cluster-{number}", tags=[{"key": "number", "value": str(number)}])
    # Idempotent by name.
    assert ecs.create_cluster(clusterName="cluster-0")["cluster"]["status"] == "ACTIVE"
    pages = list(ecs.get_paginator("list_clusters").paginate(PaginationConfig={"PageSize": 2}))
    arns = [arn for page in pages for arn in page["clusterArns"]]
    assert len(pages) >= 3 and len([arn for arn in arns if "/cluster-" in arn]) == 5, pages
    described = ecs.describe_clusters(clusters=["cluster-3", "nowhere"], include=["TAGS"])
    assert described["clusters"][0]["tags"] == [{"key": "number", "value": "3"}], described
    assert [failure["reason"] for failure in described["failures"]] == ["MISSING"], described
    raises(ecs.exceptions.ClusterNotFoundException, ecs.list_tasks, cluster="nowhere")
    raises(ecs.exceptions.InvalidParameterException, ecs.create_cluster, clusterName="a name with spaces")
    for number in range(5):
        assert ecs.delete_cluster(cluster=f"cluster-{number}")["cluster"]["status"] == "INACTIVE"


def definitions():
    for family in ("alpha", "beta", "gamma"):
        for _ in range(2):
            answer = ecs.register_task_definition(**definition(family, tags=[{"key": "of", "value": family}]))
    registered = answer["taskDefinition"]
    assert isinstance(registered["registeredAt"], datetime.datetime), registered
    assert registered["compatibilities"] and "FARGATE" in registered["compatibilities"], registered
    assert answer["tags"] == [{"key": "of", "value": "gamma"}], answer
    pages = ecs.get_paginator("list_task_definitions").paginate(PaginationConfig={"PageSize": 4})
    assert [len(page["taskDefinitionArns"]) for page in pages] == [4, 2]
    families = ecs.list_task_definition_families(familyPrefix="be")["families"]
    assert families == ["beta"], families
    described = ecs.describe_task_definition(taskDefinition="gamma", include=["TAGS"])
    assert described["taskDefinition"]["revision"] == 2 and described["tags"], described
    ecs.deregister_task_definition(taskDefinition="gamma:1")
    inactive = ecs.list_task_definitions(familyPrefix="gamma", status="INACTIVE")["taskDefinitionArns"]
    assert len(inactive) == 1 and inactive[0].endswith("gamma:1"), inactive
    error = raises(ecs.exceptions.ClientException, ecs.register_task_definition, **definition("x", cpu="300"))
    assert "No Fargate configuration exists for given values" in str(error), error
    error = raises(ecs.exceptions.ClientException, ecs.register_task_definition, **definition("x", networkMode="bridge"))
    assert "Fargate only supports network mode" in str(error), error
    error = raises(ecs.exceptions.ClientException, ecs.describe_task_definition, taskDefinition="nothing")
    assert "Unable to describe task definition" in str(error), error


def tags():
    arn = ecs.create_cluster(clusterName="tagged")["cluster"]["clusterArn"]
    ecs.tag_resource(resourceArn=arn, tags=[{"key": "a", "value": "1"}, {"key": "b", "value": "2"}])
    ecs.untag_resource(resourceArn=arn, tagKeys=["a"])
    assert ecs.list_tags_for_resource(resourceArn=arn)["tags"] == [{"key": "b", "value": "2"}]
    ecs.delete_cluster(cluster="tagged")


def tasks():
    network = {"awsvpcConfiguration": {"subnets": ["subnet-1"]}}
    ecs.create_cluster(clusterName="tasks")
    answer = ecs.run_task(
        cluster="tasks", taskDefinition="alpha", count=3, launchType="FARGATE", networkConfiguration=network,
        startedBy="boto3", clientToken="once", tags=[{"key": "k", "value": "v"}])
    again = ecs.run_task(
        cluster="tasks", taskDefinition="alpha", count=3, launchType="FARGATE", networkConfiguration=network,
        startedBy="boto3", clientToken="once", tags=[{"key": "k", "value": "v"}])
    arns = sorted(task["taskArn"] for task in answer["tasks"])
    assert len(arns) == 3 and arns == sorted(task["taskArn"] for task in again["tasks"]), again
    raises(
        ecs.exceptions.ConflictException, ecs.run_task, cluster="tasks", taskDefinition="alpha", count=1,
        launchType="FARGATE", networkConfiguration=network, clientToken="once")
    ecs.get_waiter("tasks_running").wait(cluster="tasks", tasks=arns)
    found = ecs.describe_tasks(cluster="tasks", tasks=arns + ["0" * 32], include=["TAGS"])
    assert len(found["tasks"]) == 3 and found["failures"][0]["reason"] == "MISSING", found
    task = found["tasks"][0]
    assert isinstance(task["startedAt"], datetime.datetime) and task["tags"] == [{"key": "k", "value": "v"}], task
    assert task["launchType"] == "FARGATE" and task["group"] == "family:alpha" and task["startedBy"] == "boto3", task
    details = {detail["name"]: detail["value"] for detail in task["attachments"][0]["details"]}
    assert details["privateIPv4Address"].startswith("127."), details
    addresses = {d["value"] for t in found["tasks"] for d in t["attachments"][0]["details"] if d["name"] == "privateIPv4Address"}
    assert len(addresses) == 3, addresses
    assert sorted(ecs.list_tasks(cluster="tasks", startedBy="boto3")["taskArns"]) == arns
    assert sorted(ecs.list_tasks(cluster="tasks", family="alpha")["taskArns"]) == arns
    raises(ecs.exceptions.ClusterContainsTasksException, ecs.delete_cluster, cluster="tasks")
    for arn in arns:
        ecs.stop_task(cluster="tasks", task=arn)
    ecs.get_waiter("tasks_stopped").wait(cluster="tasks", tasks=arns)
    stopped = ecs.describe_tasks(cluster="tasks", tasks=arns)["tasks"][0]
    assert stopped["stopCode"] == "UserInitiated" and isinstance(stopped["stoppedAt"], datetime.datetime), stopped
    error = raises(ecs.exceptions.InvalidParameterException, ecs.stop_task, cluster="tasks", task="0" * 32)
    assert "referenced task was not found" in str(error), error


def container_instances():
    """This node, for the launch type EC2; and a task that is started on it by name."""
    ecs.create_cluster(clusterName="default")
    instances = ecs.list_container_instances(cluster="default")["containerInstanceArns"]
    assert len(instances) == 1, instances
    described = ecs.describe_container_instances(cluster="default", containerInstances=instances)
    instance = described["containerInstances"][0]
    assert instance["status"] == "ACTIVE" and instance["agentConnected"] is True, instance
    resources = {resource["name"] for resource in instance["registeredResources"]}
    assert {"CPU", "MEMORY", "PORTS"} <= resources, resources
    ecs.register_task_definition(
        family="placed", containerDefinitions=[{"name": "main", "image": "nginx", "memory": 64, "essential": True}])
    started = ecs.start_task(cluster="default", taskDefinition="placed", containerInstances=instances)
    task = started["tasks"][0]
    assert task["containerInstanceArn"] == instances[0], started
    ecs.get_waiter("tasks_running").wait(cluster="default", tasks=[task["taskArn"]])
    ecs.stop_task(cluster="default", task=task["taskArn"])


def services():
    raises(
        ecs.exceptions.ClientException, ecs.create_service, serviceName="s", taskDefinition="missing", desiredCount=1)
    ecs.create_service(
        serviceName="s", taskDefinition="alpha", desiredCount=1, launchType="FARGATE",
        networkConfiguration={"awsvpcConfiguration": {"subnets": ["subnet-1"]}})
    ecs.get_waiter("services_stable").wait(services=["s"])
    service = ecs.describe_services(services=["s", "none"])
    assert service["failures"][0]["reason"] == "MISSING", service
    deployment = service["services"][0]["deployments"][0]
    assert isinstance(deployment["createdAt"], datetime.datetime), deployment
    assert deployment["rolloutState"] == "COMPLETED" and deployment["runningCount"] == 1, deployment
    assert [arn.rsplit("/", 1)[1] for arn in ecs.list_services()["serviceArns"]] == ["s"]
    raises(ecs.exceptions.InvalidParameterException, ecs.delete_service, service="s")
    ecs.update_service(service="s", desiredCount=0)
    ecs.get_waiter("services_stable").wait(services=["s"])
    ecs.delete_service(service="s")
    ecs.get_waiter("services_inactive").wait(services=["s"])
    raises(ecs.exceptions.ServiceNotFoundException, ecs.update_service, service="none", desiredCount=1)
    raises(ecs.exceptions.ServiceNotActiveException, ecs.update_service, service="s", desiredCount=1)


def load_balancers():
    balancer = elb.create_load_balancer(Name="lb", Subnets=["subnet-1", "subnet-2"], Tags=[{"Key": "a", "Value": "1"}])
    balancer = balancer["LoadBalancers"][0]
    arn = balancer["LoadBalancerArn"]
    assert isinstance(balancer["CreatedTime"], datetime.datetime) and balancer["Type"] == "application", balancer
    assert elb.describe_load_balancers(Names=["lb"])["LoadBalancers"][0]["LoadBalancerArn"] == arn
    raises(elb.exceptions.LoadBalancerNotFoundException, elb.describe_load_balancers, Names=["none"])
    elb.add_tags(ResourceArns=[arn], Tags=[{"Key": "b", "Value": "2"}])
    elb.remove_tags(ResourceArns=[arn], TagKeys=["a"])
    tagged = elb.describe_tags(ResourceArns=[arn])["TagDescriptions"][0]
    assert tagged["Tags"] == [{"Key": "b", "Value": "2"}], tagged
    elb.modify_load_balancer_attributes(
        LoadBalancerArn=arn, Attributes=[{"Key": "idle_timeout.timeout_seconds", "Value": "30"}])
    attributes = elb.describe_load_balancer_attributes(LoadBalancerArn=arn)["Attributes"]
    assert {"Key": "idle_timeout.timeout_seconds", "Value": "30"} in attributes, attributes

    group = elb.create_target_group(Name="tg", Protocol="HTTP", Port=80, VpcId="vpc-1", TargetType="ip")
    group = group["TargetGroups"][0]["TargetGroupArn"]
    elb.modify_target_group(TargetGroupArn=group, HealthCheckPath="/health", Matcher={"HttpCode": "200-299"})
    described = elb.describe_target_groups(TargetGroupArns=[group])["TargetGroups"][0]
    assert described["HealthCheckPath"] == "/health" and described["Matcher"]["HttpCode"] == "200-299", described
    elb.modify_target_group_attributes(
        TargetGroupArn=group, Attributes=[{"Key": "deregistration_delay.timeout_seconds", "Value": "10"}])
    attributes = elb.describe_target_group_attributes(TargetGroupArn=group)["Attributes"]
    assert {"Key": "deregistration_delay.timeout_seconds", "Value": "10"} in attributes, attributes
    elb.register_targets(TargetGroupArn=group, Targets=[{"Id": "127.0.0.1", "Port": 9}])
    health = elb.describe_target_health(TargetGroupArn=group)["TargetHealthDescriptions"]
    assert (health[0]["Target"]["Id"], health[0]["Target"]["Port"]) == ("127.0.0.1", 9), health
    # Nothing forwards to the group yet.
    assert health[0]["TargetHealth"]["State"] == "unused", health
    elb.deregister_targets(TargetGroupArn=group, Targets=[{"Id": "127.0.0.1", "Port": 9}])

    action = {"Type": "forward", "TargetGroupArn": group}
    listener = elb.create_listener(LoadBalancerArn=arn, Protocol="HTTP", Port=80, DefaultActions=[action])
    listener = listener["Listeners"][0]["ListenerArn"]
    raises(
        elb.exceptions.DuplicateListenerException, elb.create_listener, LoadBalancerArn=arn, Protocol="HTTP", Port=80,
        DefaultActions=[{"Type": "fixed-response", "FixedResponseConfig": {"StatusCode": "404"}}])
    elb.modify_listener(ListenerArn=listener, Port=81)
    assert elb.describe_listeners(LoadBalancerArn=arn)["Listeners"][0]["Port"] == 81
    elb.describe_listener_attributes(ListenerArn=listener)
    rules = elb.describe_rules(ListenerArn=listener)["Rules"]
    assert rules[0]["IsDefault"] is True and rules[0]["Actions"][0]["TargetGroupArn"] == group, rules
    raises(elb.exceptions.ResourceInUseException, elb.delete_target_group, TargetGroupArn=group)
    elb.delete_listener(ListenerArn=listener)
    elb.delete_load_balancer(LoadBalancerArn=arn)
    elb.get_waiter("load_balancers_deleted").wait(LoadBalancerArns=[arn])
    elb.delete_target_group(TargetGroupArn=group)


for journey in (clusters, definitions, tags, tasks, container_instances, services, load_balancers):
    print(journey.__name__, flush=True)
    journey()
