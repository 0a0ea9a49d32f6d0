"""`spec.task`: data, model, default recipe and splits."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar, Final, Literal

from pydantic import Field, StringConstraints

from autohas_api.base.expressions import field
from autohas_api.base.model import Decimal, Model, Rule
from autohas_api.base.rules import between, exactly_one, in_range, inside, join_names, more_than, not_negative, one_of, rule
from autohas_api.spec.data import INPUTS, Data
from autohas_api.spec.entrypoint import Arguments, Entrypoint, OwnTraining
from autohas_api.spec.hyperparameters import (
    DEFAULT_DECAYS,
    DEFAULT_RATES,
    LARGEST_SHARE,
    MAX_BATCH,
    MAX_MIXUP,
    MAX_WARMUP,
    ScheduleName,
)
from autohas_api.spec.splits import Splits
from autohas_api.templates.table import TEMPLATES
from autohas_api.templates.template_spec import InputKind, OptimizerName

if TYPE_CHECKING:
    TemplateName = str
else:
    TemplateName = Literal[tuple(TEMPLATES)]


class Pretrained(Model):
    """Weights that training starts from."""

    path: Annotated[str, StringConstraints(min_length=1, max_length=1024)] = Field(
        description="Path of a safetensors file or of a torch state dict in the trainer's file system."
    )
    exclude: Annotated[list[Annotated[str, StringConstraints(min_length=1, max_length=253)]], Field(max_length=64)] = Field(
        default_factory=list,
        json_schema_extra={"x-kubernetes-list-type": "atomic"},
        description="Tensors that are not loaded, by name or by the name of their module, for example the head.",
    )


class ModelTemplate(Model):
    """Family of networks: a built-in template, or custom code."""

    template: TemplateName | None = Field(
        default=None,
        description=" ".join(["Built-in template.", *(f"{row.name}: {row.description}" for row in TEMPLATES.values())]),
    )
    entrypoint: Entrypoint | None = Field(
        default=None,
        description="Custom model as package.module:object, instead of template. The trainer calls it with the shape of "
        "one input, the number of outputs and arguments as keywords; it returns a torch.nn.Module, whose decisions are its"
        " autohas.nn wrappers, or an object that cuts shared weights itself.",
    )
    arguments: Arguments | None = Field(default=None, description="Keywords of entrypoint. Templates have none.")
    pretrained: Pretrained | None = Field(
        default=None,
        description="Pretrained weights of the entrypoint's model, by name. The shared weights and every network start from them.",
    )

    rules: ClassVar[tuple[Rule, ...]] = (
        exactly_one("template", "entrypoint"),
        rule(
            ~field("arguments").is_given | field("arguments").size.equals(0) | field("entrypoint").is_given,
            "arguments must not be given without entrypoint: templates take none",
            at=".arguments",
        ),
        rule(
            ~field("pretrained").is_given | field("entrypoint").is_given,
            "pretrained must not be given without entrypoint: templates start from random weights",
            at=".pretrained",
        ),
    )

    @property
    def label(self) -> str:
        """Name in messages: the template, or the entrypoint."""
        return self.template or self.entrypoint or ""


_OTHER_OPTIMIZERS: Final = [(name, row.default_optimizer) for name, row in TEMPLATES.items() if row.default_optimizer != "sgd"]
MAX_DECAY: Final = 0.5
"""Largest share of a training in which WSD falls: with the longest warm-up, the peak is then a moment."""


def _share(name: str, *, is_optional: bool = False) -> Rule:
    """A decimal from 0 to almost 1."""
    fits = in_range(name, 0, LARGEST_SHARE)
    return rule(
        ~field(name).is_given | fits if is_optional else fits,
        f"{name} must be at least 0 and less than 1, at most {LARGEST_SHARE}",
        at=f".{name}",
    )


ClassName = Annotated[str, StringConstraints(min_length=1, max_length=253)]
ClassWeight = Annotated[str, StringConstraints(pattern=r"^([0-9]*[1-9][0-9]*(\.[0-9]*)?|[0-9]*\.[0-9]*[1-9][0-9]*)$", max_length=16)]
"""A decimal greater than 0 without an exponent: a rule about every value of a map would cost too much at the API server."""

PrecisionName = Literal["Float32", "TF32", "BFloat16"]


class Recipe(Model):
    """Default configuration of a training, which every search also evaluates."""

    batch_size: int = Field(default=64, ge=2, le=MAX_BATCH, description="Number of examples per optimizer step.")
    optimizer: OptimizerName | None = Field(
        default=None,
        description="Optimizer. If not set, sgd"
        + "".join(f", for template {name} {optimizer}" for name, optimizer in _OTHER_OPTIMIZERS)
        + ".",
    )
    learning_rate: Decimal | None = Field(
        default=None,
        description="Peak learning rate of the optimizer, a decimal greater than 0. If not set, 0.1 for sgd, 0.001 for the others.",
    )
    schedule: ScheduleName = Field(
        default="Cosine",
        description="Learning rate schedule after the warm-up. Constant: stays at the peak. Cosine, Linear: fall to scheduleFloor. WSD: "
        "stays at the peak, then falls linearly over decayFraction. Step: is multiplied by stepFactor after every stepFraction of "
        "the training. OneCycle: rises from a 25th of the peak and falls to almost 0, both by a cosine.",
    )
    schedule_floor: Decimal | None = Field(
        default=None,
        description="Fraction of the peak at which Cosine, Linear and WSD end, a decimal of at least 0 and less than 1. If not set, 0.",
    )
    decay_fraction: Decimal | None = Field(
        default=None,
        description="Fraction of the steps in which WSD falls, a decimal greater than 0 and at most 0.5. If not set, 0.2, with budget.for "
        "Model 0.5.",
    )
    step_fraction: Decimal | None = Field(
        default=None,
        description="Fraction of the steps between two drops of schedule Step, a decimal between 0 and 1, both excluded. If not set, 0.3.",
    )
    step_factor: Decimal | None = Field(
        default=None, description="Factor of each drop of schedule Step, a decimal between 0 and 1, both excluded. If not set, 0.1."
    )
    warmup_fraction: Decimal = Field(
        default="0.05", description="Fraction of the steps in which the learning rate rises linearly to its peak, a decimal from 0 to 0.5."
    )
    weight_decay: Decimal | None = Field(
        default=None,
        description="L2 penalty of the weights; of adamw, the share that a step of rate 1 takes off them. A decimal of at least 0. If not "
        "set, 0.01 for adamw, 1e-4 for the others.",
    )
    decay_norms: bool | None = Field(
        default=None, description="Whether biases and normalisation layers decay as the other weights do. If not set, they do not."
    )
    momentum: Decimal = Field(
        default="0.9",
        description="Momentum of sgd and beta1 of adam and adamw, a decimal of at least 0 and less than 1. It has no effect on rmsprop.",
    )
    nesterov: bool | None = Field(
        default=None, description="Whether sgd looks ahead along its momentum (Nesterov). If not set, it does not."
    )
    beta2: Decimal | None = Field(
        default=None,
        description="Decay of the average of squared gradients, of adam and adamw, a decimal from 0 to less than 1. If not set, 0.999.",
    )
    epsilon: Decimal | None = Field(
        default=None, description="Summand in the divisor of adam, adamw and rmsprop, a decimal greater than 0. If not set, 1e-8."
    )
    gradient_clip: Decimal | None = Field(
        default=None,
        description="Largest norm of the gradient over all weights in trainings outside the supernet, a decimal greater than 0; a larger "
        "gradient is scaled down to it. If not set, gradients are not clipped.",
    )
    accumulate: Annotated[int, Field(ge=1, le=MAX_BATCH)] | None = Field(
        default=None,
        description="Number of parts of a batch that are computed one after another in trainings outside the supernet, to save memory. "
        "It must divide every batch size. Batch normalisation sees one part at a time. If not set, 1.",
    )
    ema: Decimal | None = Field(
        default=None,
        description="Decay of an average of the weights, which is kept as the trained model, a decimal greater than 0 and less than 1, for "
        "example 0.999. If not set, the last weights are kept.",
    )
    precision: PrecisionName | None = Field(
        default=None,
        description="Precision of training. TF32: a GPU rounds the factors of products and convolutions to 10 bits. BFloat16: forward "
        "passes of training steps outside the supernet under autocast; all else is float32. If not set, PyTorch's default: Float32, "
        "on a GPU with TF32 in convolutions.",
    )
    dropout: Decimal = Field(
        default="0",
        description="Dropout probability in trainings outside the supernet, a decimal of at least 0 and less than 1. It "
        "applies to hidden units of mlp, mlp-small and transformer, and to the inputs of the last layer of the other templates.",
    )
    label_smoothing: Decimal = Field(
        default="0",
        description="Fraction of each label that is spread evenly over all classes, a decimal of at least 0 and less than"
        " 1. Classification only.",
    )
    mixup: Decimal = Field(
        default="0",
        description="Alpha of mixup in trainings outside the supernet, a decimal from 0 to 100: mixing weights are drawn "
        "from Beta(alpha, alpha). 0 disables mixup.",
    )
    class_weights: Literal["Uniform", "Balanced"] = Field(
        default="Uniform",
        description="Weights of the classes in the training loss. Uniform: equal weights. Balanced: inversely "
        "proportional to the number of examples. Metrics are not weighted. Classification only.",
    )
    weight_by_class: Annotated[dict[ClassName, ClassWeight], Field(max_length=1000)] | None = Field(
        default=None,
        description="Weight of each named class in the training loss, instead of classWeights, a decimal greater than 0; a class that is "
        "not named has 1. The loss of a batch is the weighted mean over its examples.",
    )

    rules: ClassVar[tuple[Rule, ...]] = (
        rule(
            ~field("learningRate").is_given | (field("learningRate").number > 0), "learningRate must be greater than 0", at=".learningRate"
        ),
        between("warmupFraction", 0, MAX_WARMUP),
        not_negative("weightDecay", is_optional=True),
        *(_share(name) for name in ("momentum", "dropout", "labelSmoothing")),
        *(_share(name, is_optional=True) for name in ("beta2", "scheduleFloor", "ema")),
        between("mixup", 0, MAX_MIXUP),
        *(more_than(name, 0, is_optional=True) for name in ("epsilon", "gradientClip", "ema", "decayFraction")),
        between("decayFraction", 0, MAX_DECAY, is_optional=True),
        inside("stepFraction", 0, 1, is_optional=True),
        inside("stepFactor", 0, 1, is_optional=True),
        rule(
            ~field("weightByClass").is_given | field("classWeights").equals("Uniform"),
            "weightByClass must not be given with classWeights Balanced: choose one",
            at=".weightByClass",
        ),
    )

    def rate_of(self, optimizer: str) -> str:
        """The peak learning rate where `optimizer` trains and no other rate is searched."""
        return self.learning_rate or DEFAULT_RATES[optimizer]

    def decay_of(self, optimizer: str) -> str:
        """The weight decay where `optimizer` trains and no decay is searched."""
        return self.weight_decay or DEFAULT_DECAYS[optimizer]


def _refusing(kind: InputKind) -> tuple[str, ...]:
    """Return the templates that cannot take a kind of examples."""
    return tuple(name for name, row in TEMPLATES.items() if kind not in row.inputs)


def _refuse_inputs(kind: InputKind) -> Rule:
    """A built-in template takes what a built-in reader gives."""
    readers = tuple(name for name, given in INPUTS.items() if given == kind)
    taking = tuple(name for name in TEMPLATES if name not in _refusing(kind))
    return rule(
        ~field("data.name").is_given
        | ~one_of(field("data.name"), readers)
        | ~field("model").is_given
        | ~field("model.template").is_given
        | one_of(field("model.template"), taking),
        f"{join_names(readers, 'and')} {'gives' if len(readers) == 1 else 'give'} {kind}, which template"
        f" {join_names(_refusing(kind), 'or')} cannot take: use {join_names(taking, 'or')}",
        at=".model.template",
    )


_CUTS_IMAGES: Final = field("data.augmentation").is_given & field("data.augmentation.cutMix").is_given
_INPUT_RULES: Final = tuple(_refuse_inputs(kind) for kind in InputKind if _refusing(kind) and kind in INPUTS.values())


class Task(Model):
    """Data, model, default recipe and data splits."""

    data: Data = Field(description="Data set.")
    network: ModelTemplate | None = Field(default=None, alias="model", description="Family of networks.")
    training: OwnTraining | None = Field(
        default=None,
        description="Training by custom code, instead of model. It has no shared weights, so only hyperparameters are searched.",
    )
    recipe: Recipe = Field(default_factory=Recipe, description="Default configuration of a training, which every search also evaluates.")
    splits: Splits = Field(default_factory=Splits, description="Split of the training data.")

    @property
    def optimizer(self) -> OptimizerName:
        """The recipe's optimizer, or the template's where it names none."""
        row = TEMPLATES.get(self.model.template or "")
        return self.recipe.optimizer or (row.default_optimizer if row is not None else "sgd")

    @property
    def model(self) -> ModelTemplate:
        """The family of networks; without fields where own training builds its modules."""
        return self.network or ModelTemplate()

    rules: ClassVar[tuple[Rule, ...]] = (
        exactly_one("model", "training"),
        rule(
            ~field("training").is_given
            | (
                ~field("recipe.accumulate").is_given
                & field("recipe.classWeights").equals("Uniform")
                & ~field("recipe.weightByClass").is_given
                & ~_CUTS_IMAGES
            ),
            "recipe.accumulate, recipe.classWeights, recipe.weightByClass and data.augmentation.cutMix must not be given with training,"
            " whose code computes the loss of the whole batch",
            at=".training",
        ),
        *_INPUT_RULES,
    )
