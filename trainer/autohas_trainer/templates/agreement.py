"""Does a custom model keep the contract, and does the spec say the same about its decisions? Each answer is one sentence.

Called when a search starts (the default path) and by the conformance test (many paths).
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from autohas_api.spec.search import Spec
from autohas_api.spec.search_space import ArchitectureDecision
from autohas_api.templates.template_spec import TemplateDecision
from autohas_trainer.entrypoints import attribute_errors_to
from autohas_trainer.errors import ConfigurationError
from autohas_trainer.nn.searchable import Searchable
from autohas_trainer.nn.sizes import check_sizes
from autohas_trainer.seeding import seed_globals
from autohas_trainer.templates._base import Path, Template, default_path, tied_names, trained_parameters

Shape = tuple[int, ...]

__all__ = ["build_problem", "check_agreement", "check_first_step", "forward_problem", "initial_leaves_of"]

_LISTED = "spec.searchSpace.architecture.decisions"


def check_agreement(spec: Spec, template: Template) -> None:
    """Compare the spec's decisions with the model's: the same names, choices among the model's, and its conditions.

    A decision may be left out where what it depends on never has the choice that it needs, and a condition where one choice is left.

    Raises:
        ConfigurationError: They differ; says where and how.
    """
    architecture = spec.search_space.architecture
    if architecture is None or not architecture.decisions:  # the model stands at its default
        return
    have = {decision.name: decision for decision in template.decisions}
    listed = {decision.name: decision for decision in architecture.decisions}
    for name, decision in have.items():
        parent = listed.get(decision.when.decision) if decision.when is not None else None
        is_idle = parent is not None and decision.when is not None and not set(parent.choices or ()) & set(decision.when.values)
        if name not in listed and not is_idle:
            message = f"{_LISTED} lacks {name}, a decision of the model; add {_format_decision(decision)}"
            raise ConfigurationError(message)
    for index, (name, spec_decision) in enumerate(listed.items()):
        if name not in have:
            message = f"{_LISTED}[{index}].name {name!r} is no decision of the model, which has {', '.join(have) or 'none'}; remove it"
            raise ConfigurationError(message)
        if difference := _difference(spec_decision, have[name]):
            message = f"{_LISTED}[{index}].{difference}"
            raise ConfigurationError(message)


def _difference(listed: ArchitectureDecision, decision: TemplateDecision) -> str | None:
    foreign = [choice for choice in listed.choices or () if choice not in decision.choices]
    if foreign:
        return f"choices has {foreign[0]!r}, which the model's {decision.name} does not know; it knows {', '.join(decision.choices)}"
    when = decision.when
    if len(listed.choices or ()) == 1 and listed.when is None:
        return None
    if when is not None and (listed.when is None or (listed.when.decision, tuple(listed.when.values)) != (when.decision, when.values)):
        return f"when must be {{decision: {when.decision}, values: [{', '.join(when.values)}]}}, as the model's {decision.name} has it"
    return None


def _format_decision(decision: TemplateDecision) -> str:
    """Return a decision as the spec would list it."""
    when = decision.when
    condition = "" if when is None else f", when: {{decision: {when.decision}, values: [{', '.join(when.values)}]}}"
    return f"{{name: {decision.name}, choices: [{', '.join(decision.choices)}], default: {decision.default}{condition}}}"


def check_first_step(template: Template, who: str, inputs: Tensor, output_shape: Shape) -> None:
    """Try the default path on the device of `inputs` before anything is trained; `who` speaks in errors.

    `output_shape` is the shape of the outputs of one example: (K,), or (T, K) where each position has a target.

    Forward and gradient of both forms run where the search will run and, with deterministic algorithms chosen before, under its rules:
    a constant that is no buffer or an operation without a deterministic gradient shows here. What is not run: other paths, the optimizer.

    Raises:
        ConfigurationError: The model raises, gives outputs of another shape, or its two forms differ.
    """
    if isinstance(template, Searchable):
        check_sizes(template, who, inputs)
    path = default_path(template.decisions)
    leaves = {name: leaf.to(inputs.device) for name, leaf in initial_leaves_of(template, path).items()}
    with attribute_errors_to(who, f"forward() of the default path on inputs {tuple(inputs.shape)}{_place(inputs)}"):
        problem = forward_problem(template, path, leaves, inputs, output_shape)
    if problem is None:
        with attribute_errors_to(who, f"build() of the default path{_place(inputs)}"):
            problem = build_problem(template, path, leaves, inputs, output_shape)
    if problem is not None:
        message = f"{who}: {problem}; try autohas conformance"
        raise ConfigurationError(message)


def _place(inputs: Tensor) -> str:
    """Return the device for an error, where it is no matter of course."""
    return "" if inputs.device.type == "cpu" else f" on {inputs.device}"


def initial_leaves_of(template: Template, path: Path) -> dict[str, Tensor]:
    """Return freshly initialised leaves of a path."""
    shared = template.shared(("agreement",))
    return {name: shared[name][index] for name, index in template.slices(path).items()}


def forward_problem(template: Template, path: Path, leaves: Mapping[str, Tensor], inputs: Tensor, output_shape: Shape) -> str | None:
    """Say what is wrong with the supernet's forward and its gradient, if anything."""
    seed_globals("agreement", "forward")
    traced_leaves = {name: leaf.detach().requires_grad_() for name, leaf in leaves.items()}
    outputs_BK: object = template.forward(inputs, path, traced_leaves)  # custom code may give anything
    if not isinstance(outputs_BK, Tensor) or outputs_BK.shape != (len(inputs), *output_shape):
        shape = tuple(outputs_BK.shape) if isinstance(outputs_BK, Tensor) else type(outputs_BK).__name__
        return f"forward(inputs, path, leaves) gave {shape}, it must give {(len(inputs), *output_shape)}"
    if not outputs_BK.isfinite().all():
        return "forward(inputs, path, leaves) gave outputs that are not finite with freshly initialised leaves"
    if not outputs_BK.requires_grad:
        return "forward(inputs, path, leaves) does not depend on its leaves; it must compute with them, not with weights of its own"
    gradients: tuple[Tensor | None, ...] = torch.autograd.grad(outputs_BK.sum(), list(traced_leaves.values()), allow_unused=True)
    unused = [name for name, gradient in zip(traced_leaves, gradients, strict=True) if gradient is None]
    return f"slices(path) gives leaf {unused[0]}, which forward does not use; give only the leaves of the path" if unused else None


def build_problem(template: Template, path: Path, leaves: Mapping[str, Tensor], inputs: Tensor, output_shape: Shape) -> str | None:
    """Say what is wrong with the stand-alone network and its gradient, if anything."""
    network = template.build(path, ("agreement",)).train()
    parameters = {name: tuple(parameter.shape) for name, parameter in trained_parameters(network).items()}
    leaf_shapes = {name: tuple(leaf.shape) for name, leaf in leaves.items()}
    if parameters != leaf_shapes:
        name = next(n for n in sorted(parameters.keys() | leaf_shapes.keys()) if parameters.get(n) != leaf_shapes.get(n))
        return (
            f"build() has parameter {name} of shape {parameters.get(name)}, slices(path) a leaf of shape {leaf_shapes.get(name)};"
            " they must be equal"
        )
    if shared := _find_shared_memory(network):
        return (
            f"build() has {shared[0]} and {shared[1]} in one memory, which cannot be saved; use one parameter for both (tied weights),"
            " or give each its own"
        )
    seed_globals("agreement", "forward")
    network.to(inputs.device)
    outputs_BK = network(inputs)
    outputs_BK.sum().backward()
    shape = tuple(outputs_BK.shape)
    expected = (len(inputs), *output_shape)
    return None if shape == expected else f"build() gives outputs {shape}, they must be {expected}"


def _find_shared_memory(network: nn.Module) -> tuple[str, str] | None:
    """Return two tensors that lie in one memory, if there are; two names of one parameter are tied weights, which are no harm."""
    owners: dict[int, str] = {}
    tied = tied_names(network)
    for name, tensor in network.state_dict().items():
        if name not in tied and tensor.numel() and (owner := owners.setdefault(tensor.data_ptr(), name)) != name:
            return owner, name
    return None
