"""What must hold of models and of the cache, whatever happened before."""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

import kerastorch
from kerastorch.convert.atomic import is_draft
from kerastorch.convert.safetensors_files import checked_source, is_payload_whole
from kerastorch.engine import Model
from tests import builders


@dataclass(frozen=True)
class Subject:
    """A published file and the model that it is for.

    Attributes:
        name: the application, by the name of its constructor.
        arguments: of the constructor, beside `weights`.
        path: of the file on the server.
        original: the file.
        state: the model's state when the file itself is loaded.
    """

    name: str
    arguments: dict[str, Any]
    path: str
    original: Path
    state: dict[str, torch.Tensor]

    @classmethod
    def of(cls, folder: Path, path: str, name: str, **arguments) -> "Subject":
        model = builders.application(kerastorch, name, **arguments)
        model.load_weights(folder / path)
        return cls(name, arguments, path, folder / path, model.state_dict())

    @property
    def converted_file(self) -> str:
        return Path(self.path).with_suffix(".safetensors").name

    def start(self) -> Model:
        """What users write."""
        return builders.application(kerastorch, self.name, "imagenet", **self.arguments)

    def assert_is_right(self, model: Model) -> None:
        """The model has just the weights of the original, bit for bit."""
        state = model.state_dict()
        assert list(state) == list(self.state)
        for key, tensor in state.items():
            assert tensor.equal(self.state[key]), key

    def assert_cache_is_good(self, home: Path, *endings: str) -> None:
        """The cache has files of these endings, each of them right and whole, and nothing else.

        Locks do not count; drafts do.
        """
        folder = home / "models"
        stem = Path(self.path).stem
        found = {path.name: path for path in folder.glob("*") if not path.name.endswith(".lock")}
        assert sorted(found) == sorted(f"{stem}{ending}" for ending in endings)
        for path in found.values():
            assert_is_good(path, self)


def hash_of_state(state: dict[str, torch.Tensor]) -> str:
    """What two states have in common only if all their keys and tensors are the same."""
    digest = hashlib.sha256()
    for key, tensor in state.items():
        digest.update(f"{key} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.numpy().tobytes())
    return digest.hexdigest()


def assert_is_good(path: Path, subject: Subject) -> None:
    """A file of a subject in the cache is right and whole."""
    assert not is_draft(path)
    original = subject.original.read_bytes()
    sha256 = hashlib.sha256(original).hexdigest()
    if path.suffix == ".h5":
        assert path.read_bytes() == original
    elif path.suffix == ".sha256":
        assert path.read_text() == f"{sha256}  {subject.original.name}\n"
    else:
        assert path.suffix == ".safetensors"
        assert checked_source(path)["sha256"] == sha256
        assert is_payload_whole(path)
