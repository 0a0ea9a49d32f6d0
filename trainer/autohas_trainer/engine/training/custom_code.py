"""What custom code adds to a training apart from its network: a loss, an augmentation and custom hyperparameters.

Values of custom hyperparameters are strings, as arguments are. They reach, under their names,

- `transform(example, rng, values)` of task.data.trainTransform, on every example that makes gradients (see `data.images.own_transform`);
- the data's `augment(inputs, rng, hyperparameters)`, on every batch that makes gradients; `rng` is keyed by the step;
- the model's `loss(outputs, targets, hyperparameters)`, the training loss of each example (B,);
- `build(configuration)` of a model with decisions, and the keywords of a plain module's factory.

The supernet's steps use their defaults. Rungs and metrics use the task's own loss, so that candidates stay comparable.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from autohas_api.space.decisions import Configuration, Role, Space
from autohas_api.spec.hyperparameters import KNOWN
from autohas_api.spec.search import Spec
from autohas_trainer.data import Splits, TrainBatch
from autohas_trainer.entrypoints import attribute_errors_to, require_names
from autohas_trainer.errors import ConfigurationError
from autohas_trainer.seeding import seed_globals, stream
from autohas_trainer.space.recipe import own_values, recipe_of
from autohas_trainer.tasks import CustomLoss, Task
from autohas_trainer.templates import CustomModel, CustomModule, Dropout, OwnNetworks, Template, default_path

__all__ = ["CustomCode"]

Values = Mapping[str, str]


class CustomCode:
    """The hooks of a search's own code; without an entrypoint it changes nothing."""

    def __init__(self, spec: Spec, space: Space, template: Template, splits: Splits, task: Task) -> None:
        """Find the hooks.

        Raises:
            ConfigurationError: A hook raises or gives something of another shape, or nothing takes a hyperparameter.
        """
        self._seed = spec.algorithm.seed
        self._space = space
        self._hyperparameters = [d.name for d in space.decisions if d.role is not Role.ARCHITECTURE]
        self._task = task
        self._augment = splits.augment
        self._template = template if isinstance(template, CustomModel | CustomModule) else None
        self._loss = self._template.custom_loss if self._template is not None else None
        self._own = template if isinstance(template, OwnNetworks) else None
        self._spec = spec
        self._transforms = spec.task.data.train_transform is not None
        has_hooks = self._template is not None or self._own is not None or self._transforms or spec.task.data.entrypoint is not None
        self._is_custom = has_hooks or spec.objective.custom_metric is not None
        if has_hooks:
            self._check_taken(spec)
            self._check_built_in(spec, splits)
            self._check_hooks(splits)

    @property
    def is_custom(self) -> bool:
        """Whether model, data or metric are custom code."""
        return self._is_custom

    @property
    def has_model(self) -> bool:
        """Whether the model is custom code."""
        return self._template is not None

    def values(self, configuration: Configuration) -> dict[str, str]:
        """The custom hyperparameters of a configuration; for own training every hyperparameter, and the number of steps."""
        searched = self._space.as_mapping(configuration)
        if self._own is not None:
            return own_values(self._spec, self._space, configuration)
        return {name: searched[name] for name in self._hyperparameters if name not in KNOWN}

    def transform_values(self, configuration: Configuration) -> tuple[tuple[str, str], ...] | None:
        """What the data's own transform of examples gets; None: there is none."""
        return tuple(self.values(configuration).items()) if self._transforms else None

    def task(self, configuration: Configuration) -> Task:
        """The task with the model's own training loss, where it has one."""
        return self._task if self._loss is None else CustomLoss(self._task, self._loss, self.values(configuration))

    def augment(self, batch: TrainBatch, configuration: Configuration, *key: int | str) -> TrainBatch:
        """The batch as the data's augmentation leaves it; the draw depends on seed and `key` alone."""
        if self._augment is None:
            return batch
        rng = stream(self._seed, "augment", *key)
        inputs = self._augment(inputs=batch.inputs, rng=rng, hyperparameters=self.values(configuration))
        return TrainBatch(inputs=inputs, targets_B=batch.targets_B)

    def seed(self, *key: int | str) -> None:
        """Key what custom code draws from global generators, as our draws are. Built-in networks draw nothing, nor do custom data alone."""
        if self._template is not None or self._own is not None or self._augment is not None:
            seed_globals(self._seed, *key)

    def _check_taken(self, spec: Spec) -> None:
        """Refuse a hyperparameter that no part of the custom code reads."""
        if self._own is not None and "steps" in self._hyperparameters:
            raise ConfigurationError(
                "spec.searchSpace.hyperparameters: own training gets the length of a training as steps: choose another name"
            )
        takes_any = self._transforms or self._augment is not None or self._loss is not None
        if takes_any or self._own is not None or isinstance(self._template, CustomModel):
            return
        for index, declared in enumerate(spec.search_space.hyperparameters):
            takes = isinstance(self._template, CustomModule) and self._template.takes(declared.name)
            if declared.name not in KNOWN and not takes:
                message = (
                    f"spec.searchSpace.hyperparameters[{index}].name: nothing takes {declared.name}: the data has no augment, the model"
                    f" no loss and no parameter {declared.name}; add one of them, or remove it"
                )
                raise ConfigurationError(message)

    def _check_built_in(self, spec: Spec, splits: Splits) -> None:
        """Refuse built-in regularisers that custom code would not feel."""
        recipe, names = recipe_of(spec, self._space, self._space.default), self._hyperparameters
        if self._template is not None and (recipe.dropout > 0 or "dropout" in names):
            network = self._template.build(default_path(self._template.decisions), ("dropout",))
            if not any(isinstance(layer, Dropout) for layer in network.modules()):
                message = (
                    "dropout is set or searched, but the custom model has no autohas_trainer.templates.Dropout layer that would obey it;"
                    " place one, or remove dropout"
                )
                raise ConfigurationError(message)
        if self._loss is not None and (recipe.label_smoothing > 0 or "label_smoothing" in names):
            raise ConfigurationError(
                "label smoothing is set or searched, but the custom model's loss would not obey it; remove one of them"
            )
        if self._own is None and not splits.has_real_inputs and (recipe.mixup > 0 or "mixup" in names):
            raise ConfigurationError(
                "mixup is set or searched, but the custom data's inputs are integers, which cannot be mixed; remove it"
            )

    def _check_hooks(self, splits: Splits) -> None:
        """Call each hook once on two examples, the loss with its gradient; they lie where the search will run."""
        if self._augment is not None:
            _require(self._augment, "task.data.entrypoint: augment", "augment", ("inputs", "rng", "hyperparameters"))
        if self._loss is not None:
            _require(self._loss, "task.model.entrypoint: loss", "loss", ("outputs", "targets", "hyperparameters"))
        batch = splits.train_batch(0, 2, 0, values=self.transform_values(self._space.default))
        self.seed("hooks")
        with attribute_errors_to("task.data.entrypoint", "augment(inputs, rng, hyperparameters)"):
            inputs: object = self.augment(batch, self._space.default, "hooks").inputs
        if not isinstance(inputs, Tensor) or (inputs.shape, inputs.dtype) != (batch.inputs.shape, batch.inputs.dtype):
            message = f"task.data.entrypoint: augment gave {_describe(inputs)}, it must give {_describe(batch.inputs)} as it got"
            raise ConfigurationError(message)
        if inputs.device != batch.inputs.device:
            message = (
                f"task.data.entrypoint: augment gave inputs on {inputs.device}, it got them on {batch.inputs.device};"
                " make tensors with device=inputs.device"
            )
            raise ConfigurationError(message)
        if self._loss is None:
            return
        outputs_BK = torch.zeros(2, *self._task.output_shape, device=batch.inputs.device, requires_grad=True)
        with attribute_errors_to("task.model.entrypoint", "loss(outputs, targets, hyperparameters)"):
            values = self.values(self._space.default)
            losses_B: object = self._loss(outputs=outputs_BK, targets=batch.targets_B, hyperparameters=values)
        if not isinstance(losses_B, Tensor) or losses_B.shape != (2,) or not losses_B.requires_grad:
            message = (
                f"task.model.entrypoint: loss gave {_describe(losses_B)}, it must give one differentiable number per example, here (2,)"
            )
            raise ConfigurationError(message)
        with attribute_errors_to("task.model.entrypoint", "the gradient of loss(outputs, targets, hyperparameters)"):
            torch.autograd.grad(losses_B.sum(), outputs_BK)


def _require(hook: Callable[..., Tensor], who: str, name: str, names: tuple[str, ...]) -> None:
    wrapper = f"def {name}(self, {', '.join(names)}):\n    return ...  # hand them on as the other function wants them"
    require_names(hook, names, who, wrapper, explicit=False)


def _describe(value: object) -> str:
    return f"{tuple(value.shape)} of {value.dtype}" if isinstance(value, Tensor) else f"a {type(value).__name__}"
