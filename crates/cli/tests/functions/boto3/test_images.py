"""Functions of container images, pushed to the built-in registry by skopeo."""

import configparser
import json
import os
import pathlib
import subprocess
import tempfile
import unittest

import image_layout
import support

CORPUS = pathlib.Path(os.environ["LAMBENT_CORPUS"])


def endpoint():
    """Host and port, and the key as skopeo takes it."""
    config, credentials = configparser.ConfigParser(), configparser.ConfigParser()
    config.read(os.environ["AWS_CONFIG_FILE"])
    credentials.read(os.environ["AWS_SHARED_CREDENTIALS_FILE"])
    key = credentials["lambent"]
    host = config["profile lambent"]["endpoint_url"].removeprefix("http://")
    return host, f"{key['aws_access_key_id']}:{key['aws_secret_access_key']}"


def push(image, name):
    """Copies an image of the corpus into the registry; gives its reference."""
    host, key = endpoint()
    words = ["skopeo", "--insecure-policy", "copy", "--quiet", "--dest-tls-verify=false", "--dest-creds", key]
    subprocess.run([*words, f"oci:{CORPUS / image}:latest", f"docker://{host}/{name}"], check=True, capture_output=True)
    return f"{host}/{name}"


def push_handler(name, config, *how):
    """Pushes a small image of the handler; gives its reference."""
    host, key = endpoint()
    with tempfile.TemporaryDirectory() as folder:
        image_layout.copy(image_layout.write(pathlib.Path(folder) / "image", config, *how), f"{host}/{name}", key)
    return f"{host}/{name}"


class Images(support.FunctionTest):
    def create_image(self, uri, **settings):
        name = f"image-{self.id().rsplit('.', 1)[1][:40]}"
        defaults = {"Role": support.ROLE, "Timeout": 60, "MemorySize": 1769}
        self.aws.create_function(
            FunctionName=name, PackageType="Image", Code={"ImageUri": uri}, **{**defaults, **settings}
        )
        self.addCleanup(support.remove, self.aws, name)
        waiter = self.aws.get_waiter("function_active_v2")
        waiter.wait(FunctionName=name, WaiterConfig={"Delay": 1, "MaxAttempts": 120})
        return name

    def test_a_model_is_scored(self):
        uri = push("sklearn-function", "scorer:v1")
        name = self.create_image(uri)
        sample = json.loads((pathlib.Path(__file__).parents[5] / "xtask/assets/sklearn/app/sample.json").read_text())
        features = list(sample["instances"][0].values())
        answer = self.ask(name, {"body": json.dumps({"features": features})})
        self.assertEqual(answer["statusCode"], 200)
        self.assertEqual(json.loads(answer["body"]), {"score": 0.0, "benign": False})
        found = self.aws.get_function(FunctionName=name)
        self.assertEqual(found["Configuration"]["PackageType"], "Image")
        self.assertEqual(found["Code"]["ImageUri"], uri)
        self.assertRegex(found["Code"]["ResolvedImageUri"], r"@sha256:[0-9a-f]{64}$")
        bad = self.ask(name, {"body": "{}"})
        self.assertEqual(bad["statusCode"], 400)

    def test_the_command_can_be_overridden(self):
        uri = push("sklearn-function", "scorer:v2")
        name = self.create_image(uri, ImageConfig={"Command": ["json.dumps"]})
        response = self.invoke(name, {"a": 1})
        # json.dumps takes one argument: the handler is called with two.
        self.assertEqual(response["FunctionError"], "Unhandled")
        self.assertIn("TypeError", json.loads(response["Payload"])["errorType"])

    def test_an_image_without_a_program_is_refused_by_name(self):
        uri = push("base", "base:v1")
        name = self.create_image(uri, ImageConfig={"EntryPoint": ["/no/such/program"]})
        response = self.invoke(name, {})
        self.assertEqual(response["FunctionError"], "Unhandled")
        self.assertEqual(json.loads(response["Payload"])["errorType"], "Runtime.InvalidEntrypoint")

    def test_each_part_of_the_configuration_is_overridden_alone(self):
        # Unlike `docker run --entrypoint`, which drops CMD: Lambda's parts are values of their own.
        config = {"Entrypoint": ["/bootstrap", "--entry"], "Cmd": ["one", "two"], "WorkingDir": "/tmp"}
        uri = push_handler("handler:v1", config, ("bootstrap", "other"))
        name = self.create_image(uri)
        cases = [
            ({}, ["/bootstrap", "--entry", "one", "two"]),
            ({"Command": ["x"]}, ["/bootstrap", "--entry", "x"]),
            ({"EntryPoint": ["/other"]}, ["/other", "one", "two"]),
            ({"EntryPoint": ["/other", "-e"], "Command": ["x", "y"]}, ["/other", "-e", "x", "y"]),
            ({"EntryPoint": [], "Command": []}, ["/bootstrap", "--entry", "one", "two"]),
        ]
        for override, arguments in cases:
            self.aws.update_function_configuration(FunctionName=name, ImageConfig=override)
            self.active(name)
            self.assertEqual(self.ask(name, {"do": "arguments"}), arguments, override)

    def test_an_image_without_entry_point_runs_its_command(self):
        name = self.create_image(push_handler("handler:v2", {"Cmd": ["/bootstrap", "a"]}))
        self.assertEqual(self.ask(name, {"do": "arguments"}), ["/bootstrap", "a"])

    def test_an_image_without_a_program_fails_and_says_so(self):
        uri = push_handler("handler:v3", {})
        name = self.create(wait=False, PackageType="Image", Code={"ImageUri": uri}, Runtime=None, Handler=None)
        found = support.settled(self.aws, name)
        self.assertEqual((found["State"], found["StateReasonCode"]), ("Failed", "InvalidImage"))
        self.assertIn("neither ENTRYPOINT nor CMD", found["StateReason"])
        # It is mended by what it lacks.
        self.aws.update_function_configuration(FunctionName=name, ImageConfig={"EntryPoint": ["/bootstrap"]})
        self.active(name)
        self.assertEqual(self.ask(name, {"do": "arguments"}), ["/bootstrap"])

    def test_an_image_for_another_processor_is_refused(self):
        other = {"amd64": "arm64", "arm64": "amd64"}[image_layout.PROCESSOR]
        uri = push_handler("handler:v4", {"Entrypoint": ["/bootstrap"]}, ("bootstrap",), other)
        with self.assertRaises(self.aws.exceptions.InvalidParameterValueException) as caught:
            self.create_image(uri)
        self.assertIn(f"the image is for linux/{other}", str(caught.exception))

    def test_an_image_that_is_not_there_is_refused(self):
        host, _ = endpoint()
        call = lambda: self.create_image(f"{host}/nothing:v1")
        with self.assertRaises(self.aws.exceptions.InvalidParameterValueException) as caught:
            call()
        self.assertIn("does not exist", str(caught.exception))


if __name__ == "__main__":
    unittest.main()
