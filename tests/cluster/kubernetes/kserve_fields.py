"""Fields that KServe's own Python models lack, of the objects on standard input; one line each.

A program of its own, which loads the classes of these fields alone: the whole of kserve and of the
kubernetes client takes seconds, and registers messages under our names.
"""

import json
import re
import sys
from importlib import import_module
from importlib.util import find_spec
from types import ModuleType


def bare(name):
    """A package without what it does at import, so that its modules can be had one by one."""
    package = ModuleType(name)
    package.__path__ = find_spec(name).submodule_search_locations
    sys.modules[name] = package


for each in ("kserve", "kserve.models", "kubernetes", "kubernetes.client", "kubernetes.client.models"):
    bare(each)


def kind(name):
    """The class, or None for what is no object of theirs."""
    module = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", name).lower()
    for package in ("kserve.models", "kubernetes.client.models"):
        try:
            return getattr(import_module(f"{package}.{module}"), name)
        except ModuleNotFoundError:
            continue
    if name.startswith("V1"):
        raise SystemExit(f"no class {name} in {module}")
    return None


def unknown(value, type_name, path):
    """Walks what the model's class knows; what it does not type is taken as it is."""
    inner = re.fullmatch(r"list\[(\w+)\]", type_name)
    if inner:
        for each in value:
            yield from unknown(each, inner[1], f"{path}[]")
        return
    model = kind(type_name)
    if model is None:
        return
    names = {json_name: attribute for attribute, json_name in model.attribute_map.items()}
    for key, each in value.items():
        if key not in names:
            yield f"{path}.{key} is no field of {type_name}"
        elif isinstance(each, dict | list):
            yield from unknown(each, model.openapi_types[names[key]], f"{path}.{key}")


for manifest in json.load(sys.stdin):
    version = "V1alpha1" if manifest["kind"] == "ServingRuntime" else "V1beta1"
    for line in unknown(manifest, version + manifest["kind"], manifest["kind"]):
        print(line)
