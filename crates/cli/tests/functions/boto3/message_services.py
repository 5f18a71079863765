"""moto's SQS and SNS, an HTTP endpoint, and functions that work through a queue."""

import http.server
import json
import os
import socketserver
import threading
import uuid

import boto3
import support

# moto's own account.
MESSAGES_ACCOUNT = "123456789012"


def client(service):
    """A client of moto's."""
    return boto3.client(
        service,
        region_name=support.REGION,
        endpoint_url=os.environ["MESSAGES_URL"],
        aws_access_key_id="test",
        aws_secret_access_key="test",
        config=support.NO_RETRIES,
    )


def hook_arn(name):
    """An HTTP destination of the operator's."""
    return f"arn:aws:events:{support.REGION}:{support.ACCOUNT}:api-destination/{name}"


class Queue:
    """A queue of its own."""

    def __init__(self, **attributes):
        self.sqs = client("sqs")
        self.name = f"q-{uuid.uuid4().hex[:12]}"
        attributes = {name: str(value) for name, value in attributes.items()}
        self.url = self.sqs.create_queue(QueueName=self.name, Attributes=attributes)["QueueUrl"]
        self.arn = f"arn:aws:sqs:{support.REGION}:{MESSAGES_ACCOUNT}:{self.name}"

    def send(self, body, **options):
        """Puts a message in; gives its id."""
        body = body if isinstance(body, str) else json.dumps(body)
        return self.sqs.send_message(QueueUrl=self.url, MessageBody=body, **options)["MessageId"]

    def take(self):
        """A message, removed from the queue; waits for it."""

        def look():
            found = self.sqs.receive_message(
                QueueUrl=self.url, WaitTimeSeconds=1, AttributeNames=["All"], MessageAttributeNames=["All"]
            ).get("Messages")
            return found[0] if found else None

        message = support.eventually(look, f"a message in {self.name}", 60)
        self.sqs.delete_message(QueueUrl=self.url, ReceiptHandle=message["ReceiptHandle"])
        return message

    def counts(self):
        """How many messages can be seen, and how many are out of sight."""
        names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
        found = self.sqs.get_queue_attributes(QueueUrl=self.url, AttributeNames=names)["Attributes"]
        return tuple(int(found[name]) for name in names)


class Hung:
    """An HTTP endpoint where `lambent up` looks for its destination `hung`: it takes requests and never answers."""

    def __init__(self):
        hung = self
        hung.lock, hung.open, hung.open_most = threading.Lock(), 0, 0

        class Handler(socketserver.BaseRequestHandler):
            def handle(self):
                with hung.lock:
                    hung.open += 1
                    hung.open_most = max(hung.open_most, hung.open)
                try:
                    while self.request.recv(65536):
                        pass
                except OSError:
                    pass
                with hung.lock:
                    hung.open -= 1

        class Server(socketserver.ThreadingTCPServer):
            allow_reuse_address = True
            daemon_threads = True
            block_on_close = False
            request_queue_size = 128

        self.server = Server(("127.0.0.1", int(os.environ["HUNG_PORT"])), Handler)
        self.thread = threading.Thread(target=self.server.serve_forever)
        self.thread.start()

    def close(self):
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()


class Hook:
    """An HTTP endpoint where `lambent up` looks for its destination `hook`."""

    def __init__(self, status=200):
        hook = self
        hook.requests, hook.status = [], status

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                hook.requests.append((self.path, dict(self.headers), json.loads(body)))
                self.send_response(hook.status)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", int(os.environ["HOOK_PORT"])), Handler)
        self.thread = threading.Thread(target=self.server.serve_forever)
        self.thread.start()

    def close(self):
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()
