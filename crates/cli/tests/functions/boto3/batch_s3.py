"""`lambent batch run` from bucket to bucket: moto's, which checks signatures."""

import io
import json
import os
import subprocess
import unittest

import boto3
import pyarrow
import pyarrow.parquet
import support


class BatchInS3(support.FunctionTest):
    def setUp(self):
        self.name = self.create(Environment={"Variables": {"QUIET": "1"}})
        self.s3 = boto3.client(
            "s3",
            endpoint_url=os.environ["S3_URL"],
            aws_access_key_id=os.environ["S3_KEY"],
            aws_secret_access_key=os.environ["S3_SECRET"],
            config=support.NO_RETRIES.merge(support.botocore.config.Config(s3={"addressing_style": "path"})),
        )
        # Again for each test: in us-east-1 that is no error.
        self.s3.create_bucket(Bucket="rows")

    def run_batch(self, source, target, code=0):
        place = lambda key: f"s3://rows/{key}?endpoint={os.environ['S3_URL']}&region=us-east-1&allow_http=true"
        words = [
            os.environ["LAMBENT"], "batch", "run", self.name, "--data", os.environ["LAMBENT_DATA"], "--json",
            "--input", place(source), "--output", place(target),
        ]  # fmt: skip
        key = {"AWS_ACCESS_KEY_ID": os.environ["S3_KEY"], "AWS_SECRET_ACCESS_KEY": os.environ["S3_SECRET"]}
        done = subprocess.run(words, capture_output=True, text=True, env={**os.environ, **key}, timeout=300)
        self.assertEqual(done.returncode, code, done.stderr)
        return done

    def test_a_batch_goes_from_object_to_object(self):
        # Longer than one piece of 8 MiB, in and out.
        filler = "x" * 100_000
        lines = [json.dumps({"n": n, "filler": filler}) for n in range(120)]
        self.s3.put_object(Bucket="rows", Key="in/rows.jsonl", Body="\n".join(lines))
        summary = json.loads(self.run_batch("in/rows.jsonl", "out/scores.jsonl").stdout)
        self.assertEqual((summary["records"], summary["errors"]), (120, 0))
        body = self.s3.get_object(Bucket="rows", Key="out/scores.jsonl")["Body"].read().decode()
        results = [json.loads(line) for line in body.splitlines()]
        self.assertEqual([(result["line"], result["response"]["n"]) for result in results], [(n + 1, n) for n in range(120)])
        self.assertIn("is there already", self.run_batch("in/rows.jsonl", "out/scores.jsonl", code=1).stderr)
        missing = self.run_batch("in/none.jsonl", "out/none.jsonl", code=1).stderr
        self.assertIn("cannot read s3://rows/in/none.jsonl", missing)

    def test_parquet_goes_from_object_to_object(self):
        # More than one piece of 8 MiB, in and out, of what does not compress.
        table = pyarrow.table({"n": list(range(120)), "filler": [os.urandom(100_000).hex() for _ in range(120)]})
        rows = io.BytesIO()
        pyarrow.parquet.write_table(table, rows)
        self.s3.put_object(Bucket="rows", Key="in/rows.parquet", Body=rows.getvalue())
        summary = json.loads(self.run_batch("in/rows.parquet", "out/scores.parquet").stdout)
        self.assertEqual((summary["records"], summary["errors"]), (120, 0))
        body = self.s3.get_object(Bucket="rows", Key="out/scores.parquet")["Body"].read()
        results = pyarrow.parquet.read_table(io.BytesIO(body)).to_pylist()
        self.assertEqual([json.loads(result["response"]) for result in results], table.to_pylist())


if __name__ == "__main__":
    unittest.main()
