"""The credentials that a task was given, used from outside by boto3 against a server that checks signatures."""

import json
import sys
import time

import boto3
from botocore.exceptions import ClientError

endpoint, arn = sys.argv[1], sys.argv[2]
REGION = "us-east-1"
PATIENCE_SECONDS = 120


def client(**credentials):
    return boto3.client("ecs", endpoint_url=endpoint, region_name=REGION, **credentials)


def refusal(call):
    try:
        call()
    except ClientError as error:
        return error.response["Error"]["Code"]
    raise AssertionError("it was accepted")


def printed():
    """What the task fetched, from its log: the command line's own endpoint, signed like everything else."""
    from botocore.auth import SigV4Auth
    from botocore.awsrequest import AWSRequest
    from botocore.httpsession import URLLib3Session

    request = AWSRequest("GET", f"{endpoint}/_coracle/logs/{arn.rsplit('/', 1)[1]}")
    SigV4Auth(boto3.Session().get_credentials(), "ecs", REGION).add_auth(request)
    return URLLib3Session().send(request.prepare()).text


operator = client()
deadline = time.monotonic() + PATIENCE_SECONDS
line = ""
while "SecretAccessKey" not in line:
    assert time.monotonic() < deadline, f"the task fetched no credentials: {line}"
    task = operator.describe_tasks(tasks=[arn])["tasks"][0]
    assert task["lastStatus"] != "STOPPED", task["stoppedReason"]
    if task["lastStatus"] == "RUNNING":
        line = printed()
    time.sleep(0.1)
message = json.loads(line.splitlines()[0])["message"]
given = json.loads(message[message.index("{") :])
assert given["RoleArn"].endswith(":role/app"), given["RoleArn"]

own = dict(
    aws_access_key_id=given["AccessKeyId"],
    aws_secret_access_key=given["SecretAccessKey"],
    aws_session_token=given["Token"],
)
assert client(**own).describe_tasks(tasks=[arn])["tasks"][0]["taskArn"] == arn
# Every part counts.
for part in own:
    changed = dict(own, **{part: own[part][:-4] + "AAAA"})
    code = refusal(client(**changed).list_clusters)
    assert code in ("UnrecognizedClientException", "InvalidSignatureException"), (part, code)
without = {name: value for name, value in own.items() if name != "aws_session_token"}
assert refusal(client(**without).list_clusters) == "UnrecognizedClientException"

# They end with the task.
operator.stop_task(task=arn)
operator.get_waiter("tasks_stopped").wait(tasks=[arn], WaiterConfig={"Delay": 1, "MaxAttempts": 60})
assert refusal(client(**own).list_clusters) == "UnrecognizedClientException"
