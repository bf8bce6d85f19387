"""Secrets Manager and Parameter Store as boto3 sees them: types, error classes, paginators, bytes."""

import datetime
import sys

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError
from raising import raises

ENDPOINT = sys.argv[1]
CONFIG = Config(retries={"total_max_attempts": 1})
secrets = boto3.client("secretsmanager", endpoint_url=ENDPOINT, region_name="us-east-1", config=CONFIG)
ssm = boto3.client("ssm", endpoint_url=ENDPOINT, region_name="us-east-1", config=CONFIG)


def values():
    created = secrets.create_secret(Name="bytes", SecretBinary=b"\x00\xff")
    read = secrets.get_secret_value(SecretId=created["ARN"])
    assert read["SecretBinary"] == b"\x00\xff" and "SecretString" not in read, read
    assert isinstance(read["CreatedDate"], datetime.datetime), read
    error = raises(secrets.exceptions.ResourceNotFoundException, secrets.get_secret_value, SecretId="none")
    assert error.response["Error"]["Message"] == "Secrets Manager can't find the specified secret.", error
    raises(secrets.exceptions.ResourceExistsException, secrets.create_secret, Name="bytes", SecretString="x")
    error = raises(ClientError, secrets.create_secret, Name="a b", SecretString="x")
    assert error.response["Error"]["Code"] == "ValidationException", error
    # What is too long is not quoted.
    error = raises(ClientError, secrets.create_secret, Name="long", SecretString="s3cr3t" * 20000)
    assert "s3cr3t" not in str(error) and "at 'secretString' failed to satisfy constraint" in str(error), str(error)[:300]


def policies():
    secrets.create_secret(Name="policy", SecretString="x")
    assert "ResourcePolicy" not in secrets.get_resource_policy(SecretId="policy")
    policy = '{"Version": "2012-10-17", "Statement": []}'
    secrets.put_resource_policy(SecretId="policy", ResourcePolicy=policy)
    assert secrets.get_resource_policy(SecretId="policy")["ResourcePolicy"] == policy
    secrets.delete_resource_policy(SecretId="policy")
    secrets.delete_secret(SecretId="policy", ForceDeleteWithoutRecovery=True)


def lists():
    for number in range(5):
        secrets.create_secret(Name=f"list/{number}", SecretString="x", Tags=[{"Key": "n", "Value": str(number)}])
    pages = list(secrets.get_paginator("list_secrets").paginate(PaginationConfig={"PageSize": 2}))
    names = [secret["Name"] for page in pages for secret in page["SecretList"]]
    assert names == ["bytes"] + [f"list/{number}" for number in range(5)], names
    found = secrets.list_secrets(Filters=[{"Key": "name", "Values": ["list/"]}, {"Key": "tag-value", "Values": ["3"]}])
    assert [secret["Name"] for secret in found["SecretList"]] == ["list/3"], found
    raises(secrets.exceptions.InvalidNextTokenException, secrets.list_secrets, NextToken="nonsense")


def parameters():
    for number in range(25):
        ssm.put_parameter(Name=f"/page/{number:02}", Value=str(number), Type="String")
    pages = ssm.get_paginator("get_parameters_by_path").paginate(Path="/page")
    assert [len(page["Parameters"]) for page in pages] == [10, 10, 5]
    found = ssm.get_paginator("describe_parameters").paginate(
        ParameterFilters=[{"Key": "Path", "Option": "Recursive", "Values": ["/page"]}]
    )
    assert sum(len(page["Parameters"]) for page in found) == 25
    parameter = ssm.get_parameter(Name="/page/03")["Parameter"]
    assert isinstance(parameter["LastModifiedDate"], datetime.datetime) and parameter["Version"] == 1, parameter
    raises(ssm.exceptions.ParameterNotFound, ssm.get_parameter, Name="/none")
    raises(ssm.exceptions.ParameterVersionNotFound, ssm.get_parameter, Name="/page/03:7")
    raises(ssm.exceptions.ParameterAlreadyExists, ssm.put_parameter, Name="/page/03", Value="x", Type="String")
    raises(
        ssm.exceptions.ParameterPatternMismatchException,
        ssm.put_parameter,
        Name="/pattern",
        Value="x",
        Type="String",
        AllowedPattern="^[0-9]+$",
    )


values()
policies()
lists()
parameters()
