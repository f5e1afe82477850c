"""Time per latent of profiling and detection.

In the first row of a kind both sides do the same work in the same batches: profiling covers their
four layers, detection their three, and the images of their top and bottom samples are not
rendered. The other row shows ganfix as it runs by itself, with its own choice of batch and layers.
"""

from __future__ import annotations

from core import Results, Setup, Work, faster, side_by_side

from authors.code import Authors, measured_by_them, quiet
from authors.ours import Ours
from ganfix_plugin.generators.latents import measuring_batch

FLOORS = {  # how many times faster than the authors' code
    ("profiling", "stylegan2", 256): 8,
    ("profiling", "stylegan2", 1024): 40,
    ("detection", "stylegan2", 256): 12,
    ("detection", "stylegan2", 1024): 50,
}


def measure(setup: Setup) -> Results:
    """A generator after the other: a batch of 4 latents, or of 2 from 512 pixels on."""
    assert setup.authors
    authors = Authors(setup.authors, setup.genforce)
    for resolution in setup.resolutions:
        small = resolution < 512
        batch, repeats = setup.size(4 if small else 2, 2), setup.repeats if small else 2
        for model in setup.models:
            yield from _compared(authors, model, resolution, batch, repeats)


def _compared(authors: Authors, model: str, resolution: int, batch: int, repeats: int) -> Results:
    G, samples = authors.generator(model, resolution), batch
    four = measured_by_them(model)
    three = four[:3]
    ours, theirs = Ours(G, batch), authors.run(G, model, samples, batch)
    z = theirs.latents
    low_rate = ours.low_rate(ours.profile(z, four))
    fitting = measuring_batch(ours.generator, ours.layers(four))
    kinds: dict[str, dict[str, Work]] = {
        "profiling": {
            "theirs": theirs.neurons_statistic,
            "ours": lambda: ours.count(z, four),
            "by itself": lambda: ours.count(z, three, fitting),
        },
        "detection": {
            "theirs": lambda: theirs.arti_detection(three, samples, batch),
            "ours": lambda: ours.detect(z, low_rate),
            "by itself": lambda: ours.detect(z, low_rate, fitting),
        },
    }
    for kind, works in kinds.items():
        with quiet():
            turns = side_by_side(works, repeats, warm=0)
        floor = FLOORS.get((kind, model, resolution))
        title = f"{kind} of {model} {resolution}, a latent"
        peer = f", authors, batch {batch}"
        notes = (f", batch {batch}", peer)
        yield faster(title, turns, "ours", "theirs", floor, samples, notes)
        notes = (f", batch {fitting}", peer)
        yield faster(
            "… as ganfix runs by itself", turns, "by itself", "theirs", None, samples, notes
        )
