"""Before the endpoint is killed: answers that lie in memcached, too."""

import json
import os
import socket
import urllib.parse

import support

NAME = "shares-answers"
# The number of answers. Some may not come to the server, or not from it, when the machine is busy.
ANSWERS = 60


def memcached(command):
    """What the server says, as far as a line or a value goes."""
    host, port = os.environ["MEMCACHED"].split(":")
    with socket.create_connection((host, int(port)), timeout=30) as connection, connection.makefile("rwb") as file:
        file.write(command)
        file.flush()
        line = file.readline()
        if line.startswith(b"VA "):
            return file.read(int(line.split()[1]))
        return line


def keys():
    """The names of all that lies in the server."""
    host, port = os.environ["MEMCACHED"].split(":")
    with socket.create_connection((host, int(port)), timeout=30) as connection, connection.makefile("rwb") as file:
        file.write(b"lru_crawler metadump all\r\n")
        file.flush()
        found = []
        while (line := file.readline()) and not line.startswith((b"END", b"ERROR", b"BUSY")):
            found.append(urllib.parse.unquote(line.split()[0].removeprefix(b"key=").decode()))
        return found


def ask(aws, number, **options):
    """What the cache had for a request, and the answer."""
    response = aws.invoke(FunctionName=NAME, Payload=json.dumps({"do": "count", "number": number}), **options)
    return response["ResponseMetadata"]["HTTPHeaders"].get("x-lambent-cache"), json.loads(response["Payload"].read())


class BeforeSharedAnswers(support.FunctionTest):
    def test_answers_are_given_to_the_server(self):
        keep = lambda *_: None  # Not removed afterwards: all is left as it is.
        support.make(self.aws, keep, {"FunctionName": NAME, "Tags": {"lambent:response-cache": "ttl:3600"}})
        self.active(NAME)
        self.assertEqual([ask(self.aws, number)[0] for number in range(ANSWERS)], ["miss"] * ANSWERS)
        self.assertEqual([ask(self.aws, number)[0] for number in range(ANSWERS)], ["hit"] * ANSWERS)
        support.eventually(lambda: len(keys()) >= ANSWERS // 2, "the server has the answers")
        for key in keys():
            self.assertRegex(key, "^lambent-value1:[0-9a-f]{64}$")
            self.assertNotIn(b"invocations", memcached(f"mg {key} v\r\n".encode()), "what lies there is sealed")


if __name__ == "__main__":
    import unittest

    unittest.main()
