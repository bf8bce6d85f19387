"""A gRPC client, a WebSocket client and curl through load balancers, to servers of their own kind on this machine.

Arguments: the server's endpoint, the file of the authority that signs its certificates.
"""

import json
import ssl
import subprocess
import sys
import threading
import urllib.request
from concurrent.futures import ThreadPoolExecutor

import boto3
import grpc
from websockets.sync.client import connect
from websockets.sync.server import serve

ENDPOINT, AUTHORITY = sys.argv[1:3]
elb = boto3.client("elbv2", endpoint_url=ENDPOINT, region_name="us-east-1")
CERTIFICATE = "arn:aws:acm:us-east-1:123456789012:certificate/11111111-2222-3333-4444-555555555555"
# Nothing here takes longer than a moment; what does is broken.
TIMEOUT_SECONDS = 60


def load_balancer(name):
    made = elb.create_load_balancer(Name=name, Subnets=["subnet-1", "subnet-2"])["LoadBalancers"][0]
    return made["LoadBalancerArn"]


def listener(balancer, group, **more):
    """A listener that forwards to the group; its ARN and its real port."""
    action = {"Type": "forward", "TargetGroupArn": group}
    made = elb.create_listener(LoadBalancerArn=balancer, DefaultActions=[action], **more)["Listeners"][0]["ListenerArn"]
    for _ in range(3000):
        node = json.load(urllib.request.urlopen(f"{ENDPOINT}/_coracle/node", timeout=TIMEOUT_SECONDS))
        for known in node["listeners"]:
            if known["listenerArn"] == made:
                return made, int(known["address"].rsplit(":", 1)[1])
    raise AssertionError("the listener has no port")


def target_group(name, port, **more):
    settings = {"Protocol": "HTTP", "TargetType": "ip", "VpcId": "vpc-1", **more}
    tags = [{"Key": "coracle.health.interval-ms", "Value": "50"}]
    made = elb.create_target_group(Name=name, Port=port, Tags=tags, **settings)["TargetGroups"][0]["TargetGroupArn"]
    elb.register_targets(TargetGroupArn=made, Targets=[{"Id": "127.0.0.1", "Port": port}])
    return made


class Echo(grpc.GenericRpcHandler):
    """Methods of each of gRPC's four kinds, on bytes."""

    def service(self, details):
        kind = details.method.rsplit("/", 1)[1]
        return {
            "One": grpc.unary_unary_rpc_method_handler(self.one),
            "Many": grpc.unary_stream_rpc_method_handler(lambda request, _: iter([request] * 3)),
            "Sum": grpc.stream_unary_rpc_method_handler(lambda requests, _: b"".join(requests)),
            "Both": grpc.stream_stream_rpc_method_handler(lambda requests, _: requests),
            "healthcheck": grpc.unary_unary_rpc_method_handler(self.unknown),
        }.get(kind)

    def one(self, request, context):
        context.set_trailing_metadata((("seen-host", dict(context.invocation_metadata()).get("x-forwarded-for", "")),))
        if request == b"fail":
            context.abort(grpc.StatusCode.FAILED_PRECONDITION, "as asked")
        return request

    def unknown(self, _, context):
        context.abort(grpc.StatusCode.UNIMPLEMENTED, "there is no such method")


def grpc_through_https():
    server = grpc.server(ThreadPoolExecutor(max_workers=8))
    server.add_generic_rpc_handlers((Echo(),))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    balancer = load_balancer("speaks-grpc")
    group = target_group("speaks-grpc", port, ProtocolVersion="GRPC", Matcher={"GrpcCode": "12"})
    _, own = listener(balancer, group, Protocol="HTTPS", Port=443, Certificates=[{"CertificateArn": CERTIFICATE}])
    elb.get_waiter("target_in_service").wait(TargetGroupArn=group)
    with open(AUTHORITY, "rb") as file:
        credentials = grpc.ssl_channel_credentials(file.read())
    with grpc.secure_channel(f"localhost:{own}", credentials) as channel:
        one = channel.unary_unary("/test.Echo/One")
        answer, call = one.with_call(b"hello", timeout=TIMEOUT_SECONDS)
        assert answer == b"hello", answer
        assert ("seen-host", "127.0.0.1") in [tuple(pair) for pair in call.trailing_metadata()], call.trailing_metadata()
        large = b"x" * 1_000_000
        assert one(large, timeout=TIMEOUT_SECONDS) == large
        assert list(channel.unary_stream("/test.Echo/Many")(b"a", timeout=TIMEOUT_SECONDS)) == [b"a"] * 3
        assert channel.stream_unary("/test.Echo/Sum")(iter([b"a", b"b"]), timeout=TIMEOUT_SECONDS) == b"ab"
        # Both directions at once: each answer comes before the next question is asked.
        questions, answers = threading.Semaphore(1), []

        def ask():
            for number in range(5):
                questions.acquire(timeout=TIMEOUT_SECONDS)
                yield str(number).encode()

        for answer in channel.stream_stream("/test.Echo/Both")(ask(), timeout=TIMEOUT_SECONDS):
            answers.append(answer)
            questions.release()
        assert answers == [b"0", b"1", b"2", b"3", b"4"], answers
        try:
            one(b"fail", timeout=TIMEOUT_SECONDS)
            raise AssertionError("it succeeded")
        except grpc.RpcError as error:
            assert (error.code(), error.details()) == (grpc.StatusCode.FAILED_PRECONDITION, "as asked"), error
    server.stop(None)


def websockets_through_http():
    def answer(socket):
        for message in socket:
            socket.send(message)

    with serve(answer, "127.0.0.1", 0, max_size=None) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        port = server.socket.getsockname()[1]
        balancer = load_balancer("speaks-websocket")
        # A WebSocket server answers a plain GET with 426.
        group = target_group("speaks-websocket", port, Matcher={"HttpCode": "200-499"})
        _, own = listener(balancer, group, Protocol="HTTP", Port=80)
        _, tls = listener(balancer, group, Protocol="HTTPS", Port=443, Certificates=[{"CertificateArn": CERTIFICATE}])
        elb.get_waiter("target_in_service").wait(TargetGroupArn=group)
        trusting = ssl.create_default_context(cafile=AUTHORITY)
        for address, more in [(f"ws://localhost:{own}/a", {}), (f"wss://localhost:{tls}/b", {"ssl": trusting})]:
            with connect(address, max_size=None, open_timeout=TIMEOUT_SECONDS, **more) as socket:
                for message in ["hello", "x" * 200_000, b"\x00\xff"]:
                    socket.send(message)
                    assert socket.recv(timeout=TIMEOUT_SECONDS) == message
        server.shutdown()


def curl_over_every_protocol():
    balancer = load_balancer("speaks-http")
    action = {"Type": "fixed-response", "FixedResponseConfig": {"StatusCode": "200", "MessageBody": "found", "ContentType": "text/plain"}}
    ports = {}
    for scheme, more in [("http", {"Protocol": "HTTP", "Port": 80}), ("https", {"Protocol": "HTTPS", "Port": 443, "Certificates": [{"CertificateArn": CERTIFICATE}]})]:
        made = elb.create_listener(LoadBalancerArn=balancer, DefaultActions=[action], **more)["Listeners"][0]["ListenerArn"]
        while scheme not in ports:
            node = json.load(urllib.request.urlopen(f"{ENDPOINT}/_coracle/node", timeout=TIMEOUT_SECONDS))
            for known in node["listeners"]:
                if known["listenerArn"] == made:
                    ports[scheme] = int(known["address"].rsplit(":", 1)[1])
    for scheme, version, expected in [
        ("http", "--http1.1", "1.1"),
        ("http", "--http2-prior-knowledge", "2"),
        ("https", "--http1.1", "1.1"),
        ("https", "--http2", "2"),
    ]:
        address = f"{scheme}://localhost:{ports[scheme]}/"
        command = ["curl", "-sS", "--max-time", str(TIMEOUT_SECONDS), version, "--cacert", AUTHORITY, "-w", " %{http_version}", address]
        done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_SECONDS)
        assert done.stdout == f"found {expected}", (command, done)


for journey in (curl_over_every_protocol, websockets_through_http, grpc_through_https):
    journey()
    print(journey.__name__, "ok")
