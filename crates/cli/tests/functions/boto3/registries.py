"""Images in a registry that wants a login: Debian's docker-registry, and the operator's docker configuration."""

import base64
import json
import os
import pathlib
import tempfile
import unittest

import image_layout
import support

REGISTRY = os.environ["REGISTRY"]
KEY = f"{os.environ['REGISTRY_USER']}:{os.environ['REGISTRY_PASSWORD']}"
URI = f"{REGISTRY}/team/handler:v1"


def log_in(key):
    """As `docker login` does; None logs out."""
    logins = {} if key is None else {REGISTRY: {"auth": base64.b64encode(key.encode()).decode()}}
    (pathlib.Path(os.environ["DOCKER_CONFIG"]) / "config.json").write_text(json.dumps({"auths": logins}))


class Registries(support.FunctionTest):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        with tempfile.TemporaryDirectory() as folder:
            layout = image_layout.write(pathlib.Path(folder) / "image", {"Entrypoint": ["/bootstrap"]})
            image_layout.copy(layout, URI, KEY)

    def create_image(self, uri=URI):
        return self.create(PackageType="Image", Code={"ImageUri": uri}, Runtime=None, Handler=None)

    def denied(self, call, **arguments):
        message = f"Lambda does not have permission to access the image {URI}: "
        return self.refused("InvalidParameterValueException", call, message, 400, **arguments)

    def test_a_login_opens_it(self):
        log_in(KEY)
        name = self.create_image()
        self.assertEqual(self.ask(name, {"do": "arguments"}), ["/bootstrap"])
        self.assertRegex(self.aws.get_function(FunctionName=name)["Code"]["ResolvedImageUri"], "@sha256:[0-9a-f]{64}$")
        # What runs does not need the registry any more; what is asked for does.
        log_in(None)
        self.assertEqual(self.ask(name, {"do": "arguments"}), ["/bootstrap"])
        self.denied(self.aws.update_function_code, FunctionName=name, ImageUri=URI)
        self.assertEqual(self.active(name)["State"], "Active")

    def test_a_wrong_password_and_no_login_are_refused(self):
        for key in [f"{os.environ['REGISTRY_USER']}:battery-staple", None]:
            log_in(key)
            name = support.new_name()
            error = self.denied(
                self.aws.create_function,
                FunctionName=name,
                Role=support.ROLE,
                PackageType="Image",
                Code={"ImageUri": URI},
            )
            self.assertIn("docker login", error["Error"]["Message"])
            self.assertNotIn("staple", error["Error"]["Message"])
            self.missing(self.aws.get_function, FunctionName=name)

    def test_an_image_that_is_not_there_is_refused(self):
        log_in(KEY)
        uri = f"{REGISTRY}/team/nothing:v1"
        message = f"Source image {uri} does not exist. Provide a valid source image."
        with self.assertRaises(self.aws.exceptions.InvalidParameterValueException) as caught:
            self.create_image(uri)
        self.assertIn(message, str(caught.exception))

    def test_a_registry_that_does_not_answer_is_named(self):
        with self.assertRaises(self.aws.exceptions.InvalidParameterValueException) as caught:
            self.create_image("127.0.0.1:1/team/handler:v1")
        self.assertIn("127.0.0.1:1", str(caught.exception))


if __name__ == "__main__":
    unittest.main()
