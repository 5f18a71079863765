#!/usr/bin/env python3
"""Writes lambda.json from botocore's model of the Lambda API.

    pip download --no-deps botocore && PYTHONPATH=botocore-VERSION-py3-none-any.whl python3 generate.py [--check]

Facts alone are taken: methods, paths, members, limits. Texts stay where they are. `--check` compares instead of writing.
"""

import gzip
import json
import pathlib
import pkgutil
import sys

import botocore

PLACE = "data/lambda/2015-03-31/service-2.json.gz"
TARGET = pathlib.Path(__file__).with_name("lambda.json")
# Classes that mean other characters in Java, where the model comes from, than in Rust, where it is used.
CLASSES = {"d": "0-9", "w": "a-zA-Z0-9_", "s": r" \t\n\x0B\f\r"}

# Rust's regular expressions have no looking around. What these patterns say with it, as two patterns: all of the text
# must match the first and must not match the second.
LOOKING_AROUND = {
    "Alias": ("([a-zA-Z0-9-_]+)", "[0-9]+"),
    "CollectionName": ("[_a-zA-Z0-9][^$]*", r"system\..*"),
    "FunctionUrlFunctionName": (
        r"(arn:(aws[a-zA-Z-]*)?:lambda:)?((eusc-)?[a-z]{2}((-gov)|(-iso([a-z]?)))?-[a-z]+-[0-9]{1}:)?([0-9]{12}:)?"
        r"(function:)?([a-zA-Z0-9-_]{1,64})(:([0-9a-zA-Z-_]+))?",
        ".*:[0-9]+",
    ),
    "FunctionUrlQualifier": ("[0-9a-zA-Z-_]+", "[0-9]+"),
    "S3Bucket": (r"[0-9A-Za-z\.\-_]*", r".*\."),
}


# Values of tags are checked where they are kept (control, tags.rs): those of Lambent's own tags have commas and semicolons.
CHECKED_ELSEWHERE = {"TagValue"}


def ascii_classes(pattern):
    """The pattern with \\d, \\w and \\s written out, as Java means them."""
    out, inside, at = [], False, 0
    while at < len(pattern):
        pair = pattern[at : at + 2]
        if pair[0] == "\\" and len(pair) == 2:
            chars = CLASSES.get(pair[1])
            out.append(pair if chars is None else chars if inside else f"[{chars}]")
            at += 2
            continue
        # Rust reads `&&`, `--`, `~~` and a nested `[` in a class as operators.
        if pair[0] == "[" and inside:
            out.append("\\[")
        else:
            inside = True if pair[0] == "[" else False if pair[0] == "]" else inside
            out.append(pair[0])
        at += 1
    return "".join(out)


def member(fact):
    out = {"shape": fact["shape"]}
    if "location" in fact:
        out["location"] = fact["location"]
        if "locationName" in fact:
            out["name"] = fact["locationName"]
    return out


def pattern(name, text):
    out = {"pattern": ascii_classes(text)}
    if any(mark in text for mark in ("(?!", "(?=", "(?<")):
        out["pattern"], out["pattern_not"] = LOOKING_AROUND[name]
    if out["pattern"] != text:
        out["pattern_text"] = text
    return out


def shape(name, fact):
    out = {"type": fact["type"]}
    for key in ("required", "min", "max", "enum", "payload", "sensitive"):
        value = fact.get(key)
        # 0 is a limit, and equals False.
        if value is not None and value is not False and value != []:
            out[key] = fact[key]
    if "pattern" in fact and name not in CHECKED_ELSEWHERE:
        out.update(pattern(name, fact["pattern"]))
    if "error" in fact:
        out["error"] = fact["error"]["httpStatusCode"]
    if "members" in fact:
        out["members"] = {name: member(inner) for name, inner in fact["members"].items()}
    for key in ("member", "key", "value"):
        if key in fact:
            out[key] = fact[key]["shape"]
    return out


def operation(fact):
    http = fact["http"]
    out = {"method": http["method"], "uri": http["requestUri"], "status": http.get("responseCode", 200)}
    for key in ("input", "output"):
        if key in fact:
            out[key] = fact[key]["shape"]
    return out


def main():
    model = json.loads(gzip.decompress(pkgutil.get_data("botocore", PLACE)))
    facts = {
        "source": f"botocore {botocore.__version__} {PLACE}",
        "operations": {name: operation(fact) for name, fact in sorted(model["operations"].items())},
        "shapes": {name: shape(name, fact) for name, fact in sorted(model["shapes"].items())},
    }
    lines = ["{", f'"source": {json.dumps(facts["source"])},']
    for part in ("operations", "shapes"):
        rows = [f"{json.dumps(name)}: {json.dumps(fact)}" for name, fact in facts[part].items()]
        lines.append(f'"{part}": {{\n' + ",\n".join(rows) + ("\n}," if part == "operations" else "\n}"))
    text = "\n".join(lines) + "\n}\n"
    if "--check" in sys.argv:
        sys.exit(0 if TARGET.read_text() == text else f"{TARGET} is not what botocore {botocore.__version__} gives")
    TARGET.write_text(text)
    print(f"{len(facts['operations'])} operations, {len(facts['shapes'])} shapes, {len(text)} bytes")


main()
