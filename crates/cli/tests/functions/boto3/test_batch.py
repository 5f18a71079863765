"""`lambent batch run`: order, errors by record, a kill half-way, throttles, other inputs."""

import json
import os
import pathlib
import subprocess
import tempfile
import unittest

import support

LINES = 4000


class Batch(support.FunctionTest):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.name = cls.create_shared(Environment={"Variables": {"QUIET": "1"}}, MemorySize=256)

    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)
        self.input, self.output = self.folder / "in.jsonl", self.folder / "out.jsonl"
        self.journal = self.folder / "out.jsonl.journal"

    def words(self, *more, name=None, input=None, output=None):
        return [
            os.environ["LAMBENT"], "batch", "run", name or self.name, "--data", os.environ["LAMBENT_DATA"], "--json",
            "--input", str(input or self.input), "--output", str(output or self.output), *more,
        ]  # fmt: skip

    def run_batch(self, *more, code=0, stdin="", **places):
        done = subprocess.run(self.words(*more, **places), capture_output=True, text=True, input=stdin, timeout=300)
        self.assertEqual(done.returncode, code, done.stderr)
        return done

    def write(self, events):
        self.input.write_text("".join(json.dumps(event) + "\n" for event in events))

    def results(self):
        return [json.loads(line) for line in self.output.read_text().splitlines()]

    def left(self):
        return sorted(path.name for path in self.folder.iterdir())

    def test_answers_come_in_the_order_of_the_records(self):
        # The first are the slowest.
        events = [{"do": "sleep", "ms": 300}, {"do": "sleep", "ms": 100}] + [{"n": n} for n in range(200)]
        self.write(events)
        summary = json.loads(self.run_batch("--concurrency", "8").stdout)
        answers = ["slept", "slept"] + events[2:]
        self.assertEqual(self.results(), [{"line": i + 1, "response": answer} for i, answer in enumerate(answers)])
        self.assertEqual((summary["records"], summary["errors"], summary["records_earlier"]), (202, 0, 0))
        self.assertGreaterEqual(summary["billed_ms"], 400)
        self.assertAlmostEqual(summary["gb_seconds"], summary["billed_ms"] / 1000 * 256 / 1024, 6)
        self.assertEqual(self.left(), ["in.jsonl", "out.jsonl"])

    def test_a_record_that_fails_hides_no_other(self):
        self.input.write_text('{"n": 1}\n{"do": "fail"}\nno json\n\n{"do": "exit", "code": 3}\n{"n": 2}\n')
        summary = json.loads(self.run_batch(code=1).stdout)
        self.assertEqual((summary["records"], summary["errors"]), (5, 3))
        first, failed, broken, ended, last = self.results()
        self.assertEqual((first, last), ({"line": 1, "response": {"n": 1}}, {"line": 6, "response": {"n": 2}}))
        self.assertEqual(failed, {"line": 2, "error": {"kind": "function", "type": "Asked", "message": "as you wish"}})
        self.assertEqual((broken["line"], broken["error"]["kind"]), (3, "service"))
        self.assertEqual(broken["error"]["type"], "InvalidRequestContentException")
        self.assertEqual((ended["line"], ended["error"]["type"]), (5, "Runtime.ExitError"))

    def test_a_batch_that_is_killed_goes_on_and_loses_and_doubles_nothing(self):
        self.write([{"do": "fail", "n": n} if n % 100 == 7 else {"n": n} for n in range(LINES)])
        finished, stands = [0], {}
        for part in (3, 2):
            batch = subprocess.Popen(self.words("--concurrency", "8"), stdout=subprocess.PIPE, stderr=subprocess.PIPE)
            try:
                lines = lambda: self.journal.read_bytes().count(b"\n") - 1 if self.journal.exists() else 0
                support.eventually(lambda: lines() > LINES // part, f"a batch is through 1/{part}", 120)
            finally:
                batch.kill()
                batch.communicate()
            self.assertFalse(self.output.exists())
            finished.append(lines())
            for line in self.journal.read_text().splitlines()[1:]:
                number, *_, result = line.split(" ", 7)
                self.assertEqual(stands.setdefault(number, result), result)
        self.assertLess(finished[1], finished[2])
        summary = json.loads(self.run_batch("--concurrency", "8", code=1).stdout)
        self.assertEqual(summary["records_earlier"], finished[2])
        self.assertEqual((summary["records"], summary["errors"]), (LINES, LINES // 100))
        lines = self.output.read_text().splitlines()
        self.assertEqual(len(lines), LINES)
        for n, line in enumerate(lines):
            result = json.loads(line)
            self.assertEqual(result["line"], n + 1)
            if n % 100 == 7:
                self.assertEqual(result["error"]["type"], "Asked")
            else:
                self.assertEqual(result["response"], {"n": n})
            self.assertEqual(stands.get(str(n), line), line)
        self.assertEqual(self.left(), ["in.jsonl", "out.jsonl"])

    def test_another_input_or_function_does_not_go_on(self):
        self.write([{"n": n} for n in range(2000)])
        batch = subprocess.Popen(self.words("--concurrency", "2"), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            looks = lambda: self.journal.exists() and self.journal.read_bytes().count(b"\n") > 50
            support.eventually(looks, "a batch is under way", 60)
            second = self.run_batch(code=1)
            self.assertIn("another batch writes to", second.stderr)
        finally:
            batch.kill()
            batch.wait()
        kept = self.journal.read_bytes()
        text = self.input.read_text()
        self.input.write_text("{}\n" + text)
        self.assertIn("line 1 of the input is not the one", self.run_batch(code=1).stderr)
        self.input.write_text("")
        self.assertIn("the input ends after 0 records", self.run_batch(code=1).stderr)
        other = self.create()
        self.input.write_text(text)
        self.assertIn(f"begun with {self.name}, and not with {other}", self.run_batch(code=1, name=other).stderr)
        self.assertEqual(self.journal.read_bytes(), kept)
        self.assertFalse(self.output.exists())

    def test_throttles_are_tried_again(self):
        name = self.create(Environment={"Variables": {"QUIET": "1"}})
        self.aws.put_function_concurrency(FunctionName=name, ReservedConcurrentExecutions=1)
        self.write([{"do": "sleep", "ms": 20}] * 30)
        summary = json.loads(self.run_batch("--concurrency", "6", name=name).stdout)
        self.assertEqual((summary["records"], summary["errors"]), (30, 0))
        self.assertGreater(summary["retries"], 0)
        self.aws.put_function_concurrency(FunctionName=name, ReservedConcurrentExecutions=0)
        self.output.unlink()
        self.write([{}])
        summary = json.loads(self.run_batch("--retries", "1", name=name, code=1).stdout)
        self.assertEqual((summary["errors"], summary["retries"]), (1, 1))
        self.assertEqual(self.results()[0]["error"]["type"], "TooManyRequestsException")

    def test_lines_come_from_standard_input_and_go_to_standard_output(self):
        done = self.run_batch(input="-", output="-", stdin="".join(f'{{"n": {n}}}\n' for n in range(100)))
        results = [json.loads(line) for line in done.stdout.splitlines()]
        self.assertEqual(results, [{"line": n + 1, "response": {"n": n}} for n in range(100)])
        self.assertEqual(json.loads(done.stderr)["records"], 100)
        self.assertEqual(self.left(), [])
        self.assertEqual(self.run_batch(input="-", output="-").stdout, "")

    def test_what_cannot_work_is_said_before_anything_is_made(self):
        self.write([{}])
        for part, arguments in [
            ("ResourceNotFoundException", {"name": "no-such-function"}),
            ("cannot read", {"input": self.folder / "no.jsonl"}),
            ("is no directory", {"output": self.folder / "no/out.jsonl"}),
        ]:
            self.assertIn(part, self.run_batch(**{"code": 1, **arguments}).stderr)
        self.assertEqual(self.left(), ["in.jsonl"])
        self.output.write_text("mine\n")
        self.assertIn("is there already", self.run_batch(code=1).stderr)
        self.assertEqual(self.output.read_text(), "mine\n")


if __name__ == "__main__":
    unittest.main()
