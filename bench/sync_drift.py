"""Measures what TRL's way to give vLLM merged weights does to bfloat16 weights (huggingface/trl#6688).

python -m bench.sync_drift LEARNING_RATE [SYNCS]

Before each sync, every number of the adapters takes a step of the learning rate in a random direction, about as far as
a step of AdamW. Prints one line after 1, 10 and 100 syncs and after the last.
"""

import sys

import torch
from peft import PeftModel
from peft.tuners.lora import LoraLayer

from autodata.serving.embedded import resolve_weights
from autodata.training.weights.adapters import add_adapters
from autodata.training.weights.student import load_model


def main(rate: float, syncs: int) -> None:
    model = add_adapters(
        load_model(resolve_weights("embedded"), {}), {"r": 32, "lora_alpha": 32, "target_modules": "all-linear"}
    )
    parameters = dict(model.named_parameters())
    before = {name: p.detach().clone() for name, p in parameters.items() if name.endswith("base_layer.weight")}
    generator = torch.Generator().manual_seed(1)
    for sync in range(1, syncs + 1):
        with torch.no_grad():
            for parameter in parameters.values():
                if parameter.requires_grad:
                    parameter += rate * torch.randn(parameter.shape, generator=generator)
            model.merge_adapter()  # as TRL 1.16 does in VLLMGeneration._iter_named_params
            model.unmerge_adapter()
        if sync in (1, 10, 100, syncs):
            print(f"{sync} syncs: {describe(model, before)}", flush=True)


def describe(model: PeftModel, before: dict[str, torch.Tensor]) -> str:
    """Say which share of the weights changed, and by how much relative to them and to what the adapters add."""
    parameters = dict(model.named_parameters())
    layers = [module for module in model.modules() if isinstance(module, LoraLayer)]
    pairs = [(parameters[name].detach(), weight) for name, weight in before.items()]
    changed = sum(int((now != weight).sum()) for now, weight in pairs) / sum(weight.numel() for _, weight in pairs)
    moved = sum(float((now.float() - weight.float()).square().sum()) for now, weight in pairs)
    norm = sum(float(weight.float().square().sum()) for _, weight in pairs)
    added = sum(float(layer.get_delta_weight("default").detach().square().sum()) for layer in layers)
    return (
        f"{changed:.2%} of the weights changed; norm of the change {(moved / norm) ** 0.5:.1e} of theirs, "
        f"{(moved / added) ** 0.5:.0%} of the adapters' product"
    )


if __name__ == "__main__":
    main(float(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 100)
