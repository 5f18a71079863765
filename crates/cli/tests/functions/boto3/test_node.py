"""Zips on a Node.js runtime: Node.js 20 with aws-lambda-ric 3, unmodified, from npm."""

import os
import subprocess
import unittest

import support

COMMON_JS = """
const { appendFileSync } = require('node:fs');
let count = 0;
exports.handler = async (event, context) => {
  count += 1;
  console.log('asked for', event.do);
  if (event.do === 'throw') { const error = new RangeError('too far'); throw error; }
  if (event.do === 'exit') process.exit(event.code);
  if (event.do === 'write') appendFileSync('/tmp/file', 'x');
  return {
    count, name: context.functionName, id: context.awsRequestId, handler: process.env._HANDLER,
    version: process.version.split('.')[0], left: context.getRemainingTimeInMillis() > 0,
  };
};
exports.callback = (event, context, callback) => callback(null, 'called back');
"""

MODULE = """
import { readFile } from 'node:fs/promises';
const greeting = await readFile(new URL('./greeting.txt', import.meta.url), 'utf8');
export const handler = async (event) => `${greeting} ${event.name}`;
export const stream = awslambda.streamifyResponse(async (event, out) => {
  for (const part of ['one ', 'two ', 'three']) out.write(part);
  out.end();
});
"""


class Node(support.FunctionTest):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        image = os.path.join(os.environ["LAMBENT_CORPUS"], "node-runtime")
        words = [os.environ["LAMBENT"], "runtime", "add", "nodejs20.x", f"oci:{image}", "--data", os.environ["LAMBENT_DATA"]]
        subprocess.run(words, check=True, capture_output=True)

    def node(self, files, handler="index.handler", **settings):
        code = {"ZipFile": support.zip_of(files)}
        return self.create(Runtime="nodejs20.x", Handler=handler, Code=code, MemorySize=512, Timeout=20, **settings)

    def test_a_handler_is_served_by_one_process(self):
        name = self.node({"index.js": COMMON_JS})
        for count in [1, 2]:
            response = self.invoke(name, {"do": "count"})
            answer = support.json.loads(response["Payload"])
            self.assertEqual(answer.pop("id"), response["ResponseMetadata"]["RequestId"])
            expected = {"count": count, "name": name, "handler": "index.handler", "version": "v20", "left": True}
            self.assertEqual(answer, expected)
        self.logged(name, "asked for count", 2)

    def test_a_handler_may_call_back(self):
        self.assertEqual(self.ask(self.node({"index.js": COMMON_JS}, "index.callback")), "called back")

    def test_a_module_waits_for_what_it_imports(self):
        name = self.node({"app.mjs": MODULE, "greeting.txt": "hello"}, "app.handler")
        self.assertEqual(self.ask(name, {"name": "you"}), "hello you")

    def test_an_answer_is_streamed(self):
        name = self.node({"app.mjs": MODULE, "greeting.txt": "hello"}, "app.stream")
        answer = self.aws.invoke_with_response_stream(FunctionName=name, Payload=b"{}")
        parts = [event["PayloadChunk"]["Payload"] for event in answer["EventStream"] if "PayloadChunk" in event]
        self.assertEqual(b"".join(parts), b"one two three")

    def test_errors_have_their_type_and_trace(self):
        name = self.node({"index.js": COMMON_JS})
        error = self.failure(name, {"do": "throw"})
        self.assertEqual((error["errorType"], error["errorMessage"]), ("RangeError", "too far"))
        self.assertIn("/var/task/index.js", "".join(error["trace"]))

    def test_a_process_that_ended_is_followed_by_another(self):
        # A function of its own: another environment may serve the next request before the first has settled.
        name = self.node({"index.js": COMMON_JS})
        self.assertEqual(self.failure(name, {"do": "exit", "code": 3})["errorType"], "Runtime.ExitError")
        self.assertEqual(self.ask(name, {"do": "count"})["count"], 1)

    def test_a_handler_that_cannot_be_found_is_named(self):
        missing = self.failure(self.node({"index.js": COMMON_JS}, "index.nothing"))
        self.assertEqual(missing["errorType"], "Runtime.HandlerNotFound")
        module = self.failure(self.node({"index.js": COMMON_JS}, "other.handler"))
        self.assertEqual(module["errorType"], "Runtime.ImportModuleError")
        syntax = self.failure(self.node({"index.js": "exports.handler = async ( => 1"}))
        self.assertEqual(syntax["errorType"], "Runtime.UserCodeSyntaxError")

    def test_packages_of_a_layer_are_found(self):
        package = {"nodejs/node_modules/shout/index.js": "module.exports = (text) => text.toUpperCase();"}
        layer = self.aws.publish_layer_version(LayerName="shout", Content={"ZipFile": support.zip_of(package)})
        code = "exports.handler = async (event) => require('shout')(event.name);"
        name = self.node({"index.js": code}, Layers=[layer["LayerVersionArn"]])
        self.assertEqual(self.ask(name, {"name": "you"}), "YOU")

    def test_a_runtime_without_a_base_says_what_to_do(self):
        name = self.create(wait=False, Runtime="nodejs22.x", Handler="index.handler", Code={"ZipFile": support.zip_of({"index.js": ""})})
        found = support.settled(self.aws, name)
        self.assertEqual((found["State"], found["StateReasonCode"]), ("Failed", "InvalidRuntime"))
        self.assertIn("lambent runtime add nodejs22.x SOURCE", found["StateReason"])


if __name__ == "__main__":
    unittest.main()
