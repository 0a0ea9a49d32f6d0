"""`spec.task.data`: a built-in reader and its fields, or custom code."""

from __future__ import annotations

from typing import Annotated, ClassVar, Final, Literal

from pydantic import Field, StringConstraints

from autohas_api.base.expressions import field, literal
from autohas_api.base.model import Model, Rule
from autohas_api.base.rules import exactly_one, only_with, rule
from autohas_api.spec.augmentation import Augmentation
from autohas_api.spec.entrypoint import Arguments, Entrypoint
from autohas_api.templates.template_spec import InputKind

__all__ = ["INPUTS", "TABLES", "TEXTS", "Data"]

INPUTS: Final = {
    "digits": InputKind.IMAGES,
    "idx": InputKind.IMAGES,
    "csv": InputKind.TABLES,
    "parquet": InputKind.TABLES,
    "image-folder": InputKind.IMAGES,
    "image-parquet": InputKind.IMAGES,
    "text": InputKind.TOKENS,
    "tokens": InputKind.TOKENS,
}
"""Name of a built-in reader to what its examples are."""
TABLES: Final = tuple(name for name, kind in INPUTS.items() if kind == InputKind.TABLES)
TEXTS: Final = tuple(name for name, kind in INPUTS.items() if kind == InputKind.TOKENS)
"""Built-in readers whose targets are the next tokens."""
MAX_WORKERS: Final = 64
_NAME = field("name")


class Data(Model):
    """Data set: a built-in reader, or custom code."""

    name: Literal["digits", "idx", "csv", "parquet", "image-folder", "image-parquet", "text", "tokens"] | None = Field(
        default=None,
        description="Built-in reader. digits: the 8x8 handwritten digits of scikit-learn. idx: a folder of IDX files as "
        "of MNIST. csv: a table with a header and a target column, which is a class, or a number with metric "
        "rmse, mae or r2. parquet: the same from Parquet or Arrow files. image-folder: images in train/CLASS/ and "
        "optionally test/CLASS/. image-parquet: a column of encoded images and one of classes from Parquet or Arrow "
        "files. text: a text, of which the next token is learned. tokens: the same from an array of "
        "token numbers.",
    )
    entrypoint: Entrypoint | None = Field(
        default=None,
        description="Custom reader as package.module:object, instead of name. The trainer calls it with path (if set) and"
        " arguments as keywords; the method splits() of the result returns the examples.",
    )
    path: Annotated[str, StringConstraints(min_length=1, max_length=1024)] | None = Field(
        default=None,
        description="Path of the data in the trainer's file system, or an address (s3://, gs://, hf://) that is read through a "
        "cache folder. idx: a folder. csv: a file, plain or gzipped, or a folder with train.csv and optionally "
        "test.csv. parquet, image-parquet, text, tokens: a file, or a folder with train and optionally test. image-folder: the "
        "folder that contains train, or the folders of the classes. `autohas run` expands a leading ~ to the home "
        "folder; a pod does not.",
    )
    arguments: Arguments = Field(
        default_factory=dict,
        description="Arguments of the reader. digits: variant (original, shifted). idx: trainLimit, testLimit (number of "
        "first examples to use). csv: target (column to learn, required), categorical, numeric and ignore "
        "(comma-separated column names), missing (error, impute), delimiter (one character, or tab), header "
        "(true, or false: columns are named 1, 2, ...), group (column: equal cells are never in two splits), order "
        "(column of numbers or dates: the latest rows are the test, then selection, then reward), testFile (next to path) or "
        "testFraction (default "
        "0.2). image-folder: size (pixels, for example 32 or 24x32), grayscale (true, false), background "
        "(white, black or #rrggbb, for transparent pixels), fit (stretch, or crop: keeps the aspect and cuts the "
        "centre), testFolder (default test) or testFraction (if "
        "there are no test images; default 0.2). parquet: as csv, without delimiter "
        "and header. image-parquet: image (column, if there are several of bytes), target, group, order, testFile and "
        "testFraction as csv, size, grayscale, background and fit as image-folder. text: length (tokens of an example, "
        "required), tokenizer (Characters, Bytes or "
        "package.module:object), testFraction (default 0.1). tokens: length, vocabulary (number of different tokens, "
        "required), type (uint8, uint16 or uint32, for files without a header), bytesPerToken, testFraction. "
        "entrypoint: keywords of the custom reader.",
    )

    loading: Literal["Resident", "Files"] | None = Field(
        default=None,
        description="Where the images of image-folder or image-parquet are between steps. Resident: in memory, decoded once. Files: on"
        " disk, decoded for each batch. If not set, Files for more than 8 GiB of float32 pixels and for randomResizedCrop.",
    )
    workers: int | None = Field(
        default=None,
        ge=0,
        le=MAX_WORKERS,
        description="Number of processes that decode and augment images while the model trains, 0 if not set. Results do not depend on it.",
    )
    augmentation: Augmentation | None = Field(
        default=None, description="Random changes of the training images of image-folder, image-parquet or idx."
    )
    train_transform: Entrypoint | None = Field(
        default=None,
        description="Custom change of each training image of image-folder, image-parquet or idx, after augmentation, as "
        "package.module:function. The trainer calls it with example (a Pillow image), rng and values (the custom hyperparameters); it "
        "returns an image.",
    )

    rules: ClassVar[tuple[Rule, ...]] = (
        exactly_one("name", "entrypoint"),
        only_with("loading", "name", "image-folder", "image-parquet", has_default=False),
        only_with("workers", "name", "image-folder", "image-parquet", "idx", has_default=False),
        only_with("augmentation", "name", "image-folder", "image-parquet", "idx", has_default=False),
        only_with("trainTransform", "name", "image-folder", "image-parquet", "idx", has_default=False),
        rule(~_NAME.is_given | _NAME.equals("digits") | field("path").is_given, "path must be given unless name is digits", at=".path"),
        rule(
            ~_NAME.is_given | _NAME.differs("digits") | ~field("path").is_given,
            "path must not be given when name is digits, which is built in",
            at=".path",
        ),
        rule(
            ~_NAME.is_given | ~_NAME.is_in((*TABLES, "image-parquet")) | literal("target").is_in(field("arguments")),
            "arguments.target must name the column to learn when name is csv, parquet or image-parquet",
            at=".arguments",
        ),
        rule(
            ~_NAME.is_given | ~_NAME.is_in(TEXTS) | literal("length").is_in(field("arguments")),
            "arguments.length must be the number of tokens of an example when name is text or tokens",
            at=".arguments",
        ),
        rule(
            ~_NAME.is_given | _NAME.differs("tokens") | literal("vocabulary").is_in(field("arguments")),
            "arguments.vocabulary must be the number of different tokens when name is tokens",
            at=".arguments",
        ),
    )

    @property
    def label(self) -> str:
        """Name in messages: the built-in name, or the entrypoint."""
        return self.name or self.entrypoint or ""
