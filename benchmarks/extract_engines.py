"""The same encoder in other engines on a CPU: OpenVINO, ONNX Runtime and CTranslate2, where they are installed.

All but torch and transformers is optional, and belongs into an environment of its own, beside jdq's packages:

    pip install onnx onnxscript onnxruntime openvino nncf ctranslate2
"""

import json
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

Run = Callable[[dict[str, Tensor]], npt.NDArray[np.float32]]
# With padding: transformers leaves a mask without any out of the graph.
EXAMPLE = {"input_ids": torch.ones((2, 8), dtype=torch.int64), "attention_mask": torch.ones(2, 8).tril().long()}
INPUTS = tuple(EXAMPLE)


class First(nn.Module):
    """The encoder's state at position 0 as the only output."""

    def __init__(self, encoder: nn.Module) -> None:
        super().__init__()
        self.encoder = encoder

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        first: Tensor = self.encoder(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state[:, 0]
        return first


def engines(encoder: Any, threads: int) -> dict[str, Run]:
    """Every engine and precision that can be imported here, by name; a name ends in the precision."""
    runs: dict[str, Run] = {}
    for make in (open_vino, onnx_runtime, c_translate):
        try:
            runs |= make(encoder, threads)
        except ImportError as error:
            print(f"  not measured: {make.__name__} ({error})")  # noqa: T201
    return runs


def open_vino(encoder: Any, threads: int) -> dict[str, Run]:
    """In float32, in bfloat16, and with int8 weights and activations that are quantized as they come."""
    import nncf  # type: ignore[import-not-found, unused-ignore]
    import openvino  # type: ignore[import-not-found, unused-ignore]

    shapes = [(name, openvino.PartialShape([-1, -1]), openvino.Type.i64) for name in INPUTS]
    model = openvino.convert_model(First(encoder), example_input=EXAMPLE, input=shapes)
    core = openvino.Core()

    def compiled(network: Any, hint: str, **options: str) -> Run:
        settings = {"INFERENCE_PRECISION_HINT": hint, "INFERENCE_NUM_THREADS": threads, **options}
        call = core.compile_model(network, "CPU", settings)
        return lambda batch: call([batch[name].numpy() for name in INPUTS])[0]

    quantized = nncf.compress_weights(model.clone(), mode=nncf.CompressWeightsMode.INT8_SYM)
    per_row = str(2**31)  # one group, so one scale, per row of activations
    return {
        "OpenVINO, float32": compiled(model, "f32"),
        "OpenVINO, bfloat16": compiled(model, "bf16"),
        "OpenVINO, int8": compiled(quantized, "f32", DYNAMIC_QUANTIZATION_GROUP_SIZE=per_row),
    }


def onnx_runtime(encoder: Any, threads: int) -> dict[str, Run]:
    """In float32, and with dynamic quantization: a scale per output of the weights, one per batch of activations."""
    import onnxruntime  # type: ignore[import-not-found, unused-ignore]
    from onnxruntime.quantization import (  # type: ignore[import-not-found, unused-ignore]
        QuantType,
        quantize_dynamic,
    )

    folder = Path(tempfile.mkdtemp())
    free = {0: torch.export.Dim.DYNAMIC, 1: torch.export.Dim.DYNAMIC}
    torch.onnx.export(
        First(encoder).eval(),
        tuple(EXAMPLE.values()),
        str(folder / "float32.onnx"),
        input_names=INPUTS,
        dynamic_shapes=dict.fromkeys(INPUTS, free),
        dynamo=True,
        verbose=False,
    )
    quantize_dynamic(
        str(folder / "float32.onnx"), str(folder / "int8.onnx"), weight_type=QuantType.QInt8, per_channel=True
    )

    def opened(precision: str) -> Run:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        session = onnxruntime.InferenceSession(str(folder / f"{precision}.onnx"), options)
        return lambda batch: session.run(None, {name: batch[name].numpy() for name in INPUTS})[0]

    return {f"ONNX Runtime, {precision}": opened(precision) for precision in ("float32", "int8")}


def c_translate(encoder: Any, threads: int) -> dict[str, Run]:
    """In float32 and int8. It takes no BART's encoder by itself, so the same weights as a BERT, which is equal."""
    import ctranslate2  # type: ignore[import-not-found, unused-ignore]

    folder = Path(tempfile.mkdtemp())
    save_as_bert(encoder, folder / "bert")
    ctranslate2.converters.TransformersConverter(str(folder / "bert")).convert(str(folder / "converted"))

    def opened(precision: str) -> Run:
        network = ctranslate2.Encoder(str(folder / "converted"), compute_type=precision, intra_threads=threads)

        def run(batch: dict[str, Tensor]) -> npt.NDArray[np.float32]:
            lengths = batch["attention_mask"].sum(1).tolist()
            texts = [ids[:length] for ids, length in zip(batch["input_ids"].tolist(), lengths, strict=True)]
            return np.array(network.forward_batch(texts).last_hidden_state)[:, 0]

        return run

    return {f"CTranslate2, {precision}": opened(precision) for precision in ("float32", "int8")}


def save_as_bert(encoder: Any, folder: Path) -> None:
    """A BART's encoder as a BertModel of the same numbers, with a tokenizer of numbers for those who want one."""
    from tokenizers import Tokenizer, models
    from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

    bart, state = encoder.config, encoder.state_dict()
    config = BertConfig(
        vocab_size=bart.vocab_size,
        hidden_size=bart.d_model,
        num_hidden_layers=bart.encoder_layers,
        num_attention_heads=bart.encoder_attention_heads,
        intermediate_size=bart.encoder_ffn_dim,
        max_position_embeddings=bart.max_position_embeddings,
        layer_norm_eps=1e-5,
        pad_token_id=1,
        position_embedding_type="absolute",  # which CTranslate2 looks for
    )
    tensors = {
        "embeddings.word_embeddings.weight": state["embed_tokens.weight"],
        "embeddings.position_embeddings.weight": state["embed_positions.weight"][2:],
        "embeddings.token_type_embeddings.weight": torch.zeros(2, bart.d_model),
    }
    for theirs, ours in _names(bart.encoder_layers):
        tensors |= {f"{theirs}.{part}": state[f"{ours}.{part}"] for part in ("weight", "bias")}
    network = BertModel(config, add_pooling_layer=False)
    network.load_state_dict(tensors)
    network.save_pretrained(folder)
    words = {"<s>": 0, "<pad>": 1, "</s>": 2, "<unk>": 3} | {str(i): i for i in range(4, bart.vocab_size)}
    tokenizer = Tokenizer(models.WordLevel(words, unk_token="<unk>"))
    marks = {"bos_token": "<s>", "pad_token": "<pad>", "eos_token": "</s>", "unk_token": "<unk>"}
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, **marks).save_pretrained(folder)
    file = folder / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"position_embedding_type": "absolute"}))


def _names(layers: int) -> Iterator[tuple[str, str]]:
    """BERT's and BART's names of the same linear layers and norms."""
    yield "embeddings.LayerNorm", "layernorm_embedding"
    for i in range(layers):
        for theirs, ours in (
            *((f"attention.self.{name}", f"self_attn.{name[0]}_proj") for name in ("query", "key", "value")),
            ("attention.output.dense", "self_attn.out_proj"),
            ("attention.output.LayerNorm", "self_attn_layer_norm"),
            ("intermediate.dense", "fc1"),
            ("output.dense", "fc2"),
            ("output.LayerNorm", "final_layer_norm"),
        ):
            yield f"encoder.layer.{i}.{theirs}", f"layers.{i}.{ours}"
