"""The aws command line, version 2, as Debian packages it: a function's life in the commands of the README."""

import json
import os
import pathlib
import re
import subprocess
import tempfile
import unittest

import support


class CommandLine(support.FunctionTest):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)
        self.name = support.new_name()
        (self.folder / "code.zip").write_bytes(support.plain_handler_zip())

    def words(self, *words, output="json"):
        # Versions before 2.13 do not read the endpoint from the profile.
        return ["/usr/bin/aws", "--endpoint-url", self.endpoint, "--output", output, *words]

    def run_aws(self, *words, output="json"):
        """What a command prints."""
        environment = {**os.environ, "AWS_PAGER": "", "COLUMNS": "120"}
        done = subprocess.run(
            self.words(*words, output=output), capture_output=True, text=True, env=environment, cwd=self.folder, timeout=120
        )
        self.assertEqual(done.returncode, 0, f"{words}: {done.stderr}")
        return done.stdout

    def say(self, *words):
        """What a command prints, read."""
        return json.loads(self.run_aws(*words) or "null")

    def function(self, *words):
        return self.say("lambda", *words[:1], "--function-name", self.name, *words[1:])

    def make(self):
        created = self.function(
            "create-function", "--runtime", "provided.al2023", "--handler", "bootstrap", "--role", support.ROLE,
            "--zip-file", "fileb://code.zip", "--timeout", "10", "--environment", "Variables={GREETING=one}",
        )  # fmt: skip
        self.addCleanup(support.remove, self.aws, self.name)
        self.assertEqual((created["State"], created["PackageType"]), ("Pending", "Zip"))
        self.wait("function-active-v2")

    def wait(self, what, *words):
        self.run_aws("lambda", "wait", what, "--function-name", self.name, *words)

    def invoke(self, event, *words):
        said = self.function(
            "invoke", "--cli-binary-format", "raw-in-base64-out", "--payload", json.dumps(event), *words, "answer.json"
        )
        return said, json.loads((self.folder / "answer.json").read_text())

    def test_it_is_version_2(self):
        said = subprocess.run(["/usr/bin/aws", "--version"], capture_output=True, text=True, check=True).stdout
        self.assertRegex(said, r"^aws-cli/2\.")

    def test_a_function_from_its_creation_to_its_end(self):
        self.assertEqual(self.say("sts", "get-caller-identity")["Account"], support.ACCOUNT)
        self.make()
        said, answer = self.invoke({"do": "version"}, "--log-type", "Tail")
        self.assertEqual((said["StatusCode"], said["ExecutedVersion"], answer), (200, "$LATEST", "one"))
        self.assertIn("LogResult", said)

        self.assertEqual(self.function("publish-version")["Version"], "1")
        self.function("update-function-configuration", "--environment", "Variables={GREETING=two}")
        self.wait("function-updated-v2")
        self.assertEqual(self.function("publish-version", "--description", "second")["Version"], "2")
        self.wait("published-version-active", "--qualifier", "2")
        self.function("create-alias", "--name", "live", "--function-version", "1")
        moved = self.function("update-alias", "--name", "live", "--routing-config", "AdditionalVersionWeights={2=0.1}")
        self.assertEqual(moved["RoutingConfig"], {"AdditionalVersionWeights": {"2": 0.1}})
        said, answer = self.invoke({"do": "version"}, "--qualifier", "live")
        self.assertEqual(answer, {"1": "one", "2": "two"}[said["ExecutedVersion"]])
        # The weights are taken back.
        self.function("update-alias", "--name", "live", "--function-version", "2", "--routing-config", "AdditionalVersionWeights={}")
        said, answer = self.invoke({"do": "version"}, "--qualifier", "live")
        self.assertEqual((said["ExecutedVersion"], answer), ("2", "two"))

        self.function("update-function-code", "--zip-file", "fileb://code.zip", "--publish")
        self.wait("function-updated-v2")
        url = self.function("create-function-url-config", "--auth-type", "NONE")["FunctionUrl"]
        self.assertRegex(url, "^http://")
        self.assertIn(self.name, [found["FunctionName"] for found in self.say("lambda", "list-functions")["Functions"]])
        self.say("lambda", "delete-function", "--function-name", self.name)
        missing = subprocess.run(
            self.words("lambda", "get-function", "--function-name", self.name), capture_output=True, text=True
        )
        self.assertEqual(missing.returncode, 254)
        self.assertIn("An error occurred (ResourceNotFoundException) when calling the GetFunction operation: Function not found", missing.stderr)

    def test_functions_are_listed_in_a_table(self):
        self.make()
        table = self.run_aws("lambda", "list-functions", output="table")
        self.assertIn("ListFunctions", table)
        self.assertRegex(table, rf"\|\s+FunctionName\s*\|\s+{self.name}\s+\|")
        names = self.run_aws("lambda", "list-functions", "--query", "Functions[].FunctionName", output="text")
        self.assertIn(self.name, names.split())

    def test_a_log_is_tailed(self):
        self.make()
        group = f"/aws/lambda/{self.name}"
        self.invoke({"do": "log", "lines": 2, "of": "yesterday"})
        self.logged(self.name, "REPORT")
        tail = self.run_aws("logs", "tail", group, "--since", "10m", output="text")
        for line in [" START RequestId: ", "line 0 of yesterday", "line 1 of yesterday", " END RequestId: ", " REPORT RequestId: "]:
            self.assertEqual(tail.count(line), 1, tail)
        self.assertRegex(tail.splitlines()[0], r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+\+00:00 \d{4}/\d\d/\d\d/\[\$LATEST\][0-9a-f]{32} ")
        short = self.run_aws("logs", "tail", group, "--format", "short", "--filter-pattern", '"of yesterday"', output="text")
        self.assertTrue(re.fullmatch(r"(\S+ line \d of yesterday\n+){2}", short), short)

    def test_a_log_is_followed(self):
        self.make()
        self.invoke({"do": "log", "of": "before"})
        self.logged(self.name, "REPORT")
        environment = {**os.environ, "AWS_PAGER": "", "PYTHONUNBUFFERED": "1"}
        words = self.words("logs", "tail", f"/aws/lambda/{self.name}", "--follow", "--format", "short", output="text")
        with open(self.folder / "tail", "w+") as said:
            tail = subprocess.Popen(words, stdout=said, env=environment)
            try:
                seen = lambda line: lambda: line in (self.folder / "tail").read_text()
                support.eventually(seen("line 0 of before"), "what was there is printed", 30)
                self.invoke({"do": "log", "of": "after"})
                support.eventually(seen("line 0 of after"), "what comes is printed", 30)
            finally:
                tail.terminate()
                tail.wait()
        text = (self.folder / "tail").read_text()
        self.assertEqual((text.count("line 0 of before"), text.count("line 0 of after")), (1, 1), text)


if __name__ == "__main__":
    unittest.main()
