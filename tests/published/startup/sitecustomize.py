"""Puts the tests' server in the place of the published address, in any Python process.

Python runs this file when it starts, where its folder is in `PYTHONPATH`: before the program, which
so is as its users write it. `tests.published.injection` says how.
"""

import importlib.util
import json
import os
import sys
from dataclasses import replace

KERAS_ADDRESSES = (
    "https://storage.googleapis.com/tensorflow/keras-applications/",
    "https://storage.googleapis.com/keras-applications/",
)


def record_with(record, hashes, also_unhashed=False):
    """A model's record whose published files all lie under one address and have other hashes.

    By default only those have others that have any.
    """
    weights = (
        replace(
            file,
            hash=hashes.get(file.path, file.hash) if file.hash or also_unhashed else None,
            address=None,
        )
        for file in record.weights
    )
    return replace(record, weights=tuple(weights))


def _inject_into_kerastorch(catalogue, address, hashes):
    from kerastorch.applications import registry

    catalogue.ADDRESS = address
    for name, record in registry._RECORDS.items():
        registry._RECORDS[name] = record_with(record, hashes)


def _inject_into_keras(file_utils, address, hashes):
    get_file = file_utils.get_file

    def get_ours(fname, origin, file_hash=None, **options):
        keras_address = next(filter(origin.startswith, KERAS_ADDRESSES), None)
        if keras_address is None:  # the class index, which lies in the cache
            return get_file(fname, origin, file_hash=file_hash, **options)
        path = origin.removeprefix(keras_address)
        if file_hash:
            file_hash = hashes[path].partition(":")[2]
        return get_file(fname, f"{address}/{path}", file_hash=file_hash, **options)

    file_utils.get_file = get_ours


_INJECTIONS = {
    "kerastorch.hub.catalogue": _inject_into_kerastorch,
    "keras.src.utils.file_utils": _inject_into_keras,
}


class _Finder:
    """Finds the modules of `_INJECTIONS` as usual, and changes each once it has run."""

    def __init__(self, published):
        self._published = published
        self._pending = dict(_INJECTIONS)

    def find_spec(self, name, path=None, target=None):
        inject = self._pending.pop(name, None)
        if inject is None:
            return None
        spec = importlib.util.find_spec(name)
        run = spec.loader.exec_module

        def run_and_inject(module):
            run(module)
            inject(module, **self._published)

        spec.loader.exec_module = run_and_inject
        return spec


if "TESTS_PUBLISHED" in os.environ:
    sys.meta_path.insert(0, _Finder(json.loads(os.environ["TESTS_PUBLISHED"])))
