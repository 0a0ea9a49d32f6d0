"""One encoded image, a file or its bytes, to 8-bit pixels.

What a conversion would lose is refused with the file; what is converted without loss is counted.

Transparent parts are laid on a background; an image whose shape is in its transparency alone and vanishes on it is refused.
"""

from __future__ import annotations

import errno
import warnings
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError

from autohas_trainer.data.images.stored import EncodedImage
from autohas_trainer.errors import DataError

__all__ = ["SUFFIXES", "UNREAD_SUFFIXES", "Bytes", "ImageOptions", "ImageOrigin", "ImageReader", "fit_image"]

_FORMATS: Final = ("PNG", "JPEG", "WEBP", "BMP", "GIF", "TIFF")
SUFFIXES: Final = (".png", ".jpg", ".jpeg", ".jfif", ".webp", ".bmp", ".gif", ".tif", ".tiff")
UNREAD_SUFFIXES: Final = frozenset(
    {".heic", ".heif", ".avif", ".jp2", ".j2k", ".jxl", ".svg", ".psd", ".ppm", ".pgm", ".pbm", ".pnm", ".tga", ".ico", ".exr", ".hdr"}
    | {".dcm", ".nii", ".npy", ".npz", ".mat", ".raw", ".cr2", ".nef", ".arw", ".dng", ".mp4", ".avi", ".mov", ".zip", ".tar", ".pdf"}
)
"""Kinds that hold examples and are not read: one of them is an error."""
_GREY_MODES: Final = ("1", "L", "LA")
_MODES: Final = (*_GREY_MODES, "P", "PA", "RGB", "RGBA", "CMYK", "YCbCr")
_PNG_DEPTH_BYTE: Final = 24
_MAX_BITS: Final = 8
_BITS_PER_SAMPLE: Final = 258
"""Tag of TIFF."""
_OPAQUE: Final = 255
_PASSING: Final = (errno.EIO, errno.ESTALE)

Bytes = npt.NDArray[np.uint8]
ImageOrigin = Path | EncodedImage
"""Where an image is decoded from; its text names it in errors."""
Colour = tuple[int, int, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageOptions:
    """How images are brought to one form: (height, width) px or None for as they are, grey (L) or colour (RGB), and the background.

    `fit` says what becomes of another aspect: `stretch`, or `crop`, which keeps it and cuts the centre.
    """

    size: tuple[int, int] | None
    mode: str
    background: str
    fit: str = "stretch"

    @property
    def channels(self) -> int:
        """One for grey, three for colour."""
        return len(self.mode)

    @property
    def colour(self) -> Colour:
        """The background as red, green, blue."""
        digits = {"white": "ffffff", "black": "000000"}.get(self.background, self.background.removeprefix("#"))
        return int(digits[:2], 16), int(digits[2:4], 16), int(digits[4:], 16)


@dataclass(slots=True, kw_only=True)
class ImageReader:
    """Reads images in one form and counts what it converts."""

    options: ImageOptions
    counts: Counter[str] = field(default_factory=Counter)

    def size_of(self, file: ImageOrigin) -> tuple[int, int]:
        """Return (height, width) of an image as it stands upright.

        Raises:
            DataError: As `read`.
        """
        image, _ = _open(file)
        return image.height, image.width

    def read(self, file: ImageOrigin, size: tuple[int, int]) -> Bytes:
        """Return one image (H, W) or (H, W, 3).

        Raises:
            DataError: As `decode`, or it has another size and none is set.
        """
        return np.asarray(self.fit(self.decode(file), file, size), dtype=np.uint8)

    def decode(self, file: ImageOrigin) -> Image.Image:
        """Return one image in its own size, grey or in colour as the options say.

        Raises:
            DataError: The file cannot be read or decoded, has more than 8 bits, several frames, or no shape but its transparency.
        """
        opened, facts = _open(file)
        self.counts.update(facts)
        return self._form(opened, file)

    def convert(self, opened: Image.Image, file: ImageOrigin | str, size: tuple[int, int]) -> Bytes:
        """Return an opened image as `read` does; `file` is its name in errors.

        Raises:
            DataError: As `read`.
        """
        return np.asarray(self.fit(self._form(opened, file), file, size), dtype=np.uint8)

    def _form(self, opened: Image.Image, file: ImageOrigin | str) -> Image.Image:
        """Return an opened image in its own size, grey or in colour."""
        self.counts["images"] += 1
        _refuse_mode(opened, file)
        return self._flat(opened, file).convert(self.options.mode)

    def fit(self, image: Image.Image, file: ImageOrigin | str, size: tuple[int, int]) -> Image.Image:
        """Return an image of `size`, (height, width) px.

        Raises:
            DataError: It has another size, and the search sets none.
        """
        if (image.height, image.width) == size:
            return image
        if self.options.size is None:
            message = (
                f"{file} is {image.height}x{image.width} px, the first image {size[0]}x{size[1]} px;"
                ' set task.data.arguments.size, for example "32", to bring all to one size'
            )
            raise DataError(message)
        is_other_aspect = image.height * size[1] != image.width * size[0]
        self.counts["stretched" if self.options.fit == "stretch" else "cut"] += is_other_aspect
        self.counts["small"] += image.height < size[0] or image.width < size[1]
        return fit_image(image, size, self.options.fit)

    def notes(self, what: str = "images") -> list[str]:
        """Return a sentence for each kind of conversion, with the number of images; `what` they are called."""
        number, counts = self.counts["images"], self.counts
        form = "" if self.options.size is None else "{}x{} px".format(*self.options.size)
        sentences = {
            "transparent": f"have transparent parts: laid on {self.options.background} (task.data.arguments.background)",
            "turned": "were turned as their camera says (EXIF orientation)",
            "CMYK": "are CMYK: converted to RGB without their colour profile",
            "several": "hold further pictures (MPO): the first is read",
            "stretched": f"have another aspect than {form}: stretched to it",
            "cut": f"have another aspect than {form}: cut to it around their centre",
            "small": f"are smaller than {form}: enlarged",
        }
        notes = [f"{counts[kind]:,} of {number:,} {what} {words}" for kind, words in sentences.items() if counts[kind]]
        if number and self.options.mode == "RGB" and counts["grey"] == number:
            notes.append(f'all {number:,} {what} are grey: grayscale "true" makes the inputs a third as large')
        elif self.options.mode == "RGB" and counts["grey"]:
            notes.append(f"{counts['grey']:,} of {number:,} {what} are grey: their three channels are equal")
        return notes

    def _flat(self, image: Image.Image, file: ImageOrigin | str) -> Image.Image:
        """Return the image without transparency."""
        self.counts["CMYK"] += image.mode == "CMYK"
        self.counts["grey"] += image.mode in _GREY_MODES
        if not image.has_transparency_data:
            return image
        pixels = image.convert("RGBA")
        alpha = pixels.getchannel("A")
        least, most = (int(value) for value in np.percentile(np.asarray(alpha), (0, 100)))
        if least == _OPAQUE:
            return pixels.convert("RGB")
        self.counts["transparent"] += 1
        flat = Image.new("RGB", image.size, self.options.colour)
        flat.paste(pixels, mask=alpha)
        if least < most and len(np.unique(np.asarray(flat).reshape(-1, 3), axis=0)) == 1:
            other = "black" if self.options.background == "white" else "white"
            message = (
                f"{file}: its shape is in its transparency alone and vanishes on {self.options.background}; set"
                f" task.data.arguments.background to {other}, or lay it on a background yourself"
            )
            raise DataError(message)
        return flat


def fit_image(image: Image.Image, size: tuple[int, int], fit: str) -> Image.Image:
    """Return an image of `size`, (height, width) px: stretched, or resized to cover it and cut around the centre."""
    if fit == "stretch":
        return image.resize((size[1], size[0]), Image.Resampling.BILINEAR)
    return ImageOps.fit(image, (size[1], size[0]), Image.Resampling.BILINEAR)


def _open(file: ImageOrigin) -> tuple[Image.Image, list[str]]:
    """Return the image, decoded and turned as its camera says, and what there is to count."""
    try:
        with warnings.catch_warnings(), Image.open(file.open() if isinstance(file, EncodedImage) else file, formats=_FORMATS) as image:
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            _refuse_lossy(image, file)
            is_turned = image.getexif().get(ExifTags.Base.Orientation, 1) not in (0, 1)
            facts = [fact for fact, holds in (("several", image.format == "MPO"), ("turned", is_turned)) if holds]
            upright = ImageOps.exif_transpose(image)
            upright.load()
    except FileNotFoundError as error:
        message = f"{file} has vanished since the folder was listed; put it back, or start a new search without it"
        raise DataError(message) from error
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        if isinstance(error, OSError) and error.errno in _PASSING:
            raise  # a fault of the file system: the next start may find the file sound
        message = f"{file} is no sound image ({_describe_defect(error, file)}); replace or remove it"
        raise DataError(message) from error
    return upright, facts


def _describe_defect(error: Exception, file: ImageOrigin) -> str:
    if isinstance(error, UnidentifiedImageError) and isinstance(file, EncodedImage):
        return f"its bytes are none of {', '.join(_FORMATS)}"  # Pillow names an object in memory
    return error.strerror if isinstance(error, OSError) and error.strerror else str(error).replace(str(file), "the file")


def _refuse_lossy(image: Image.Image, file: ImageOrigin) -> None:
    """Refuse what 8-bit pixels of one frame cannot hold.

    Raises:
        DataError: Names what it is and what to do.
    """
    frames = getattr(image, "n_frames", 1)
    if frames > 1 and image.format != "MPO":
        message = f"{file} has {frames} frames; only still images are read: keep one frame, or remove it"
        raise DataError(message)
    bits = _bits(image, file)
    if bits > _MAX_BITS:
        message = f"{file} has {bits} bits per channel, which would be cut; convert it to 8 bits"
        raise DataError(message)
    _refuse_mode(image, file)


def _refuse_mode(image: Image.Image, file: ImageOrigin | str) -> None:
    """Refuse a colour mode that 8-bit grey or colour cannot hold.

    Raises:
        DataError: Names the mode.
    """
    if image.mode.startswith(("I", "F")):
        message = f"{file} has more than 8 bits per channel (mode {image.mode}), which would be cut; convert it to 8 bits"
        raise DataError(message)
    if image.mode not in _MODES:
        message = f"{file} has the colour mode {image.mode}, which is not converted; save it as RGB or grey"
        raise DataError(message)


def _bits(image: Image.Image, file: ImageOrigin) -> int:
    """Return the bits per channel as the file states them: Pillow opens 16-bit colour as 8 bits, without a word."""
    if image.format == "PNG":
        with file.open() if isinstance(file, EncodedImage) else file.open("rb") as raw:
            return raw.read(_PNG_DEPTH_BYTE + 1)[_PNG_DEPTH_BYTE]
    if image.format == "TIFF":
        tags: dict[int, object] = getattr(image, "tag_v2", {})
        bits = tags.get(_BITS_PER_SAMPLE, 1)
        return max(int(value) for value in (bits if isinstance(bits, tuple) else (bits,)))
    return _MAX_BITS
