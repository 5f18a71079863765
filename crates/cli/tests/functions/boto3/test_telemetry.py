"""Telemetry API and Logs API: an external extension in a layer subscribes, and gets what happens in its environment."""

import io
import json
import uuid
import zipfile

from support import FunctionTest, bootstrap, eventually


def extension_zip(name):
    """A layer whose only file is the handler's program as an extension."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        entry = zipfile.ZipInfo(f"extensions/{name}")
        entry.external_attr = 0o755 << 16
        entry.compress_type = zipfile.ZIP_DEFLATED
        archive.writestr(entry, bootstrap())
    return buffer.getvalue()


class Subscriptions(FunctionTest):
    def watched(self, extension):
        """A function with an extension that watches it; gives its name."""
        layer = f"l-{uuid.uuid4().hex[:12]}"
        published = self.aws.publish_layer_version(LayerName=layer, Content={"ZipFile": extension_zip(extension)})
        self.addCleanup(self.aws.delete_layer_version, LayerName=layer, VersionNumber=published["Version"])
        return self.create(Layers=[published["LayerVersionArn"]])

    def events(self, name, extension, wanted):
        """The events that the extension was sent, once all wanted kinds and a line are among them. Each look invokes twice,
        and what it reads may be another environment's: one is busy until its extension has heard of the invocation."""

        def look():
            self.ask(name, {"do": "log", "of": "interest"})
            text = self.ask(name, {"do": "read", "path": f"/tmp/{extension}"}).get("content", "")
            found = [event for line in text.splitlines() for event in json.loads(line)]
            has_line = any(event["record"] == "line 0 of interest" for event in found)
            return found if has_line and wanted <= {event["type"] for event in found} else None

        return eventually(look, f"{extension} is sent {wanted}")

    def test_telemetry_is_sent(self):
        name = self.watched("telemetry")
        wanted = {"platform.initStart", "platform.telemetrySubscription", "platform.start", "platform.runtimeDone"}
        wanted |= {"platform.report", "function", "extension"}
        events = self.events(name, "telemetry", wanted)
        of = lambda kind: [event["record"] for event in events if event["type"] == kind]
        self.assertIn("line 0 of interest", of("function"))
        self.assertIn("telemetry subscribed: status 200", of("extension"))
        subscribed = {"name": "telemetry", "state": "Subscribed", "types": ["platform", "function", "extension"]}
        self.assertEqual(of("platform.telemetrySubscription"), [subscribed])
        report, start = of("platform.report")[0], of("platform.start")[0]
        self.assertEqual(report["requestId"], start["requestId"])
        self.assertEqual(report["metrics"]["memorySizeMB"], 128)
        for event in events:
            self.assertRegex(event["time"], r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$")

    def test_the_older_interface_works_too(self):
        name = self.watched("logs")
        wanted = {"platform.logsSubscription", "platform.start", "platform.report", "function", "extension"}
        events = self.events(name, "logs", wanted)
        kinds = {event["type"] for event in events if event["record"] == "line 0 of interest"}
        self.assertEqual(kinds, {"function"})

    def test_the_name_of_the_sandbox_is_known(self):
        hosts = self.ask(self.create(), {"do": "read", "path": "/etc/hosts"})["content"]
        self.assertIn("127.0.0.1 sandbox.localdomain", hosts)
