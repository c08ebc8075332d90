"""Fields that KServe's own Python models lack, of the objects on standard input; one line each.

A program of its own: importing kserve takes seconds, and registers messages under our names.
"""

import json
import re
import sys

import kserve
from kubernetes import client


def kind(name):
    return getattr(kserve, name, None) or getattr(client, name, None)


def unknown(value, type_name, path):
    """Walks what the model's class knows; what it does not type is taken as it is."""
    inner = re.fullmatch(r"list\[(\w+)\]", type_name)
    if inner:
        for each in value:
            yield from unknown(each, inner[1], f"{path}[]")
        return
    model = kind(type_name)
    if model is None or not hasattr(model, "attribute_map"):
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
