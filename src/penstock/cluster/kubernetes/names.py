"""What may be a name, an image or an amount on Kubernetes, and what to write instead."""

import re

from penstock.core.errors import BadSetting

_LABEL = re.compile(r"[a-z]([a-z0-9-]*[a-z0-9])?")
"""RFC 1035, which names of Services follow; other names could begin with a digit, too."""
_DOTTED = re.compile(r"[a-z0-9]([a-z0-9.-]*[a-z0-9])?")
_IMAGE = re.compile(
    r"[A-Za-z0-9][\w.-]*(:\d+)?(/[a-z0-9][\w.-]*)*(:[\w][\w.-]{0,127})?(@sha256:[0-9a-f]{64})?"
)
_QUANTITY = re.compile(r"\d+(\.\d+)?(m|[kMGTPE]|[KMGTPE]i)?")
_LONGEST = 63


def check_name(name: str, option: str, *, room: int = 0, dots: bool = False) -> str:
    """The name of an object; ``room`` is for what is put after it. Raises BadSetting."""
    if dots:
        if not _DOTTED.fullmatch(name) or len(name) > 253:
            raise BadSetting(
                f"{option}: {name!r} is no name for Kubernetes; lower-case letters, digits, '-' and '.'"
            )
        return name
    if not _LABEL.fullmatch(name):
        raise BadSetting(
            f"{option}: {name!r} is no name for Kubernetes; lower-case letters, digits and '-', letter first"
            + _instead(name)
        )
    if len(name) > _LONGEST - room:
        raise BadSetting(f"{option}: {name!r} is too long; {_LONGEST - room} characters at most")
    return name


def _instead(name: str) -> str:
    made = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")
    return f", e.g. {made!r}" if _LABEL.fullmatch(made) else ""


def check_image(image: str, option: str) -> str:
    if not _IMAGE.fullmatch(image):
        raise BadSetting(f"{option}: {image!r} is no image; write e.g. registry.example.com/penstock:1.0")
    return image


def check_quantity(amount: str, option: str) -> str:
    """Cores (``2``, ``500m``) or memory (``4Gi``)."""
    if not _QUANTITY.fullmatch(amount) or not float(re.match(r"[\d.]+", amount)[0]):  # type: ignore[index]
        example = "4Gi, 500Mi" if option == "--memory" else "2, 1.5, 500m"
        raise BadSetting(f"{option}: {amount!r} is no amount for Kubernetes; write e.g. {example}")
    return amount


def check_path(path: str, option: str) -> str:
    if not path.startswith("/") or path == "/":
        raise BadSetting(f"{option}: {path!r} must be a whole path inside the image, e.g. /models")
    return path


def slug(model: str, most: int = 40) -> str:
    """A model's name as part of an object's name."""
    made = re.sub(r"[^a-z0-9]+", "-", model.lower()).strip("-")[:most].strip("-")
    return made or "model"
