"""Other accounts, and keys with policies: made beside the running endpoint, by its command."""

import json
import os
import subprocess

import support


def lambent(*words):
    """What a command of lambent answers."""
    words = [os.environ["LAMBENT"], *words, "--data", os.environ["LAMBENT_DATA"], "--json"]
    done = subprocess.run(words, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def key(account=support.ACCOUNT, *statements):
    """A new key: with a policy of these statements, if there are any."""
    lambent("account", "create", "--account", account)
    policy = ["--policy", json.dumps({"Version": "2012-10-17", "Statement": list(statements)})] if statements else []
    return lambent("keys", "create", "--account", account, *policy)


def client(service, made):
    """A client with a key, once the endpoint knows it."""
    options = {"aws_access_key_id": made["access_key_id"], "aws_secret_access_key": made["secret_access_key"]}
    sts = support.client("sts", **options)

    def known():
        try:
            return sts.get_caller_identity()
        except sts.exceptions.ClientError:
            return None

    support.eventually(known, "a new key is known", 10)
    return support.client(service, **options)


def allow(action, resource="*", effect="Allow"):
    """A statement."""
    return {"Effect": effect, "Action": action, "Resource": resource}


def deny(action, resource="*"):
    """A statement that denies."""
    return allow(action, resource, "Deny")
