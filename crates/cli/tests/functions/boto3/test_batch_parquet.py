"""`lambent batch run` with Parquet as pyarrow writes and reads it: values, kills, damaged and hostile files."""

import datetime
import json
import os
import pathlib
import subprocess
import tempfile
import unittest
from decimal import Decimal

import numpy
import pyarrow
import pyarrow.parquet
import support

ROWS = 3000
UTC = datetime.timezone.utc
# What `lambent batch rows` may end with where a file is damaged: an error, a panic, refused memory or stack.
ENDS = {0, 1, 101, -6, -11}


class BatchOfParquet(support.FunctionTest):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.name = cls.create_shared(Environment={"Variables": {"QUIET": "1"}}, MemorySize=256)

    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)
        self.input, self.output = self.folder / "in.parquet", self.folder / "out.parquet"
        self.journal = self.folder / "out.parquet.journal"

    def write(self, columns, **options):
        pyarrow.parquet.write_table(pyarrow.table(columns), self.input, **options)

    def words(self, input=None, output=None):
        return [
            os.environ["LAMBENT"], "batch", "run", self.name, "--data", os.environ["LAMBENT_DATA"], "--json",
            "--concurrency", "8", "--input", str(input or self.input), "--output", str(output or self.output),
        ]  # fmt: skip

    def run_batch(self, code=0, **places):
        done = subprocess.run(self.words(**places), capture_output=True, text=True, timeout=300)
        self.assertEqual(done.returncode, code, done.stderr)
        return done

    def results(self):
        """Of each row of the output: its line, its response or none, and its error's kind, type and message."""
        rows = pyarrow.parquet.read_table(self.output).to_pylist()
        response = lambda text: None if text is None else json.loads(text)
        return [(row["line"], response(row["response"]), *list(row.values())[2:]) for row in rows]

    def responses(self):
        results = self.results()
        self.assertEqual([line for line, *_ in results], list(range(1, len(results) + 1)))
        self.assertEqual([error for _, _, *error in results if error != [None, None, None]], [])
        return [response for _, response, *_ in results]

    def rows(self, content):
        """How the process that reads a file ends, and what it prints."""
        words = [os.environ["LAMBENT"], "batch", "rows"]
        with tempfile.TemporaryFile() as file:
            file.write(content)
            file.seek(0)
            return subprocess.run(words, stdin=file, capture_output=True, timeout=300)

    def test_rows_are_events_and_results_are_rows(self):
        moment = datetime.datetime(2026, 11, 22, 18, 10, 0, 500_000)
        columns = {
            "whole": pyarrow.array([1, None, -(2**53)]),
            "small": pyarrow.array([255, 0, None], pyarrow.uint8()),
            "part": pyarrow.array([0.1, float("nan"), None], pyarrow.float32()),
            "half": pyarrow.array(numpy.array([1.5, 2, 3], numpy.float16)),
            "yes": [True, False, None],
            "text": ["a\"b\n\u00e9", "", None],
            "kind": pyarrow.array(["x", "y", "x"]).dictionary_encode(),
            "bytes": pyarrow.array([b"\0\xff", b"", None]),
            "price": pyarrow.array([Decimal("1.25"), Decimal("-0.50"), None], pyarrow.decimal128(20, 2)),
            "count": pyarrow.array([Decimal("7"), Decimal("-10"), None], pyarrow.decimal128(5, 0)),
            "day": pyarrow.array([moment.date(), None, None]),
            "hour": pyarrow.array([moment.time(), None, None], pyarrow.time64("ns")),
            "clock": pyarrow.array([moment, None, None], pyarrow.timestamp("ns")),
            "at": pyarrow.array([moment.replace(tzinfo=UTC), None, None], pyarrow.timestamp("us", "UTC")),
            "vector": pyarrow.array([[1.5, 2.5], [], None], pyarrow.list_(pyarrow.float64())),
            "nested": pyarrow.array([{"a": 1, "b": [{"c": "d"}]}, {"a": None, "b": []}, None]),
            "map": pyarrow.array([[("k", 1), ("l", None)], [], None], pyarrow.map_(pyarrow.string(), pyarrow.int64())),
        }
        expected = [
            {
                "whole": 1, "small": 255, "part": 0.1, "half": 1.5, "yes": True, "text": "a\"b\n\u00e9", "kind": "x",
                "bytes": "AP8=", "price": 1.25, "count": 7, "day": "2026-11-22", "hour": "18:10:00.5",
                "clock": "2026-11-22T18:10:00.5", "at": "2026-11-22T18:10:00.5Z", "vector": [1.5, 2.5],
                "nested": {"a": 1, "b": [{"c": "d"}]}, "map": {"k": 1, "l": None},
            },
            {
                "whole": None, "small": 0, "part": None, "half": 2, "yes": False, "text": "", "kind": "y", "bytes": "",
                "price": -0.5, "count": -10, "day": None, "hour": None, "clock": None, "at": None, "vector": [],
                "nested": {"a": None, "b": []}, "map": {},
            },
            {
                "whole": -(2**53), "small": None, "part": None, "half": 3, "yes": None, "text": None, "kind": "x",
                "bytes": None, "price": None, "count": None, "day": None, "hour": None, "clock": None, "at": None,
                "vector": None, "nested": None, "map": None,
            },
        ]  # fmt: skip
        for compression in ["none", "snappy", "gzip", "lz4", "zstd"]:
            for version in ["1.0", "2.0"]:
                options = {"compression": compression, "data_page_version": version, "row_group_size": 2}
                with self.subTest(**options):
                    self.write(columns, **options)
                    summary = json.loads(self.run_batch().stdout)
                    self.assertEqual((summary["records"], summary["errors"]), (3, 0))
                    self.assertEqual(self.responses(), expected)
                    self.output.unlink()

    def test_results_say_what_failed_also_of_lines(self):
        lines = self.folder / "in.jsonl"
        lines.write_text('{"n": 1}\n{"do": "fail"}\n\n{"n": 2}\n')
        self.run_batch(code=1, input=lines)
        failed = (2, None, "function", "Asked", "as you wish")
        self.assertEqual(self.results(), [(1, {"n": 1}, *3 * [None]), failed, (4, {"n": 2}, *3 * [None])])
        self.write({"n": [1, 2]})
        output = self.folder / "out.jsonl"
        self.run_batch(output=output)
        results = [json.loads(line) for line in output.read_text().splitlines()]
        self.assertEqual(results, [{"line": n, "response": {"n": n}} for n in (1, 2)])

    def test_a_file_without_rows_has_no_results(self):
        self.write({"n": pyarrow.array([], pyarrow.int64())})
        self.assertEqual(json.loads(self.run_batch().stdout)["records"], 0)
        self.assertEqual(self.responses(), [])

    def test_a_batch_that_is_killed_goes_on_and_loses_and_doubles_nothing(self):
        self.write({"n": list(range(ROWS))}, row_group_size=1000)
        batch = subprocess.Popen(self.words(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        lines = lambda: self.journal.read_bytes().count(b"\n") - 1 if self.journal.exists() else 0
        try:
            support.eventually(lambda: lines() > ROWS // 3, "a batch is through a third", 120)
        finally:
            batch.kill()
            batch.wait()
        finished = lines()
        self.assertFalse(self.output.exists())
        summary = json.loads(self.run_batch().stdout)
        self.assertEqual((summary["records"], summary["errors"], summary["records_earlier"]), (ROWS, 0, finished))
        self.assertEqual(self.responses(), [{"n": n} for n in range(ROWS)])
        self.assertEqual(sorted(path.name for path in self.folder.iterdir()), ["in.parquet", "out.parquet"])

    def test_a_file_that_is_no_parquet_is_refused_by_name(self):
        self.write({"text": [f"row {n}" for n in range(1000)]})
        whole = self.input.read_bytes()
        for content in [b"", b"PAR1PAR1", b'{"n": 1}\n', whole[:-1], whole[: len(whole) // 2]]:
            self.input.write_bytes(content)
            self.journal.unlink(missing_ok=True)
            self.assertIn("in.parquet: it is damaged, or not Parquet", self.run_batch(code=1).stderr)
            self.assertFalse(self.output.exists())
        self.input.unlink()
        self.assertIn("cannot read", self.run_batch(code=1).stderr)

    def test_a_damaged_file_ends_its_reader_alone(self):
        self.write({"text": [f"row {n % 7}" for n in range(300)], "list": [[n, n] for n in range(300)]})
        whole = self.input.read_bytes()
        for at in range(4, len(whole), max(1, len(whole) // 60)):
            damaged = bytearray(whole)
            damaged[at] ^= 0xFF
            self.assertIn(self.rows(bytes(damaged)).returncode, ENDS, at)

    def test_a_small_file_of_much_memory_is_refused(self):
        # One row that is a list of twenty million zeros: some kilobytes in the file.
        zeros = pyarrow.array(numpy.zeros(20_000_000, numpy.int8))
        self.write({"list": pyarrow.ListArray.from_arrays(pyarrow.array([0, len(zeros)], pyarrow.int32()), zeros)})
        self.assertLess(self.input.stat().st_size, 100_000)
        self.assertIn("more memory than 1 GiB", self.run_batch(code=1).stderr)
        self.assertFalse(self.output.exists())


if __name__ == "__main__":
    unittest.main()
