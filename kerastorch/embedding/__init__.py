"""Embeddings of whole folders of pictures: a vector each, in one file.

    from kerastorch.embedding import embed

    model = kerastorch.create_model("xception", pretrained=True)
    done = embed(model, "photographs", "features.parquet")
    print(done.pictures, done.unreadable)

`cutting` makes the model that gives vectors. Its results are kept in `parts`, from which an
interrupted run goes on, and end in a file of `files`. `running` computes them here, `ray_running`
on a cluster.
"""

from .cutting import embedder
from .files import read_embeddings
from .running import Embedded, embed

__all__ = ["Embedded", "embed", "embedder", "read_embeddings"]
