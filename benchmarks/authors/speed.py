"""Time per latent of profiling and detection.

In the first row of a kind both sides do the same work in the same batches: profiling covers their
four layers, detection their three, and the images of their top and bottom samples are not
rendered. The second row shows ganfix as it runs by itself, with its own choice of batch and layers,
and the third what cannot be undercut: passes through these layers, with nothing counted.
"""

from __future__ import annotations

from core import Results, Setup, Work, faster, side_by_side

from authors.code import Authors, measured_by_them, quiet
from authors.ours import Ours
from ganfix_plugin.generators.latents import measuring_batch

FLOORS = {  # how many times faster than the authors' code: at the same work, and by itself
    ("profiling", "stylegan2", 256): (14, 25),
    ("profiling", "stylegan2", 1024): (45, 80),
    ("detection", "stylegan2", 256): (None, 25),
    ("detection", "stylegan2", 1024): (None, 100),
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
    layers = ours.layers(three)
    many = measuring_batch(ours.generator, layers)
    of_one_batch = z.repeat(-(-many // len(z)), 1)[:many]

    def alone() -> None:
        """Passes through the layers that are needed, which nothing looks at."""
        ours.generator.observe(layers, of_one_batch, None, lambda layer, x: None)

    kinds: dict[str, dict[str, Work]] = {
        "profiling": {
            "theirs": theirs.neurons_statistic,
            "ours": lambda: ours.count(z, four),
            "by itself": lambda: ours.count(of_one_batch, three, many),
        },
        "detection": {
            "theirs": lambda: theirs.arti_detection(three, samples, batch),
            "ours": lambda: ours.detect(z, low_rate),
            "by itself": lambda: ours.detect(of_one_batch, low_rate, many),
        },
    }
    for kind, works in kinds.items():
        with quiet():
            turns = side_by_side({**works, "alone": alone}, repeats, warm=0)
        same, by_itself = FLOORS.get((kind, model, resolution), (None, None))
        title = f"{kind} of {model} {resolution}, a latent"
        peer = f", authors, batch {batch}"
        yield faster(title, turns, "ours", "theirs", same, samples, (f", batch {batch}", peer))
        notes = (f", batch {many}", peer)
        for name, what, floor in (
            ("by itself", "… as ganfix runs by itself", by_itself),
            ("alone", "… the limit: those layers alone", None),
        ):
            yield faster(what, turns, name, "theirs", floor, many, notes, samples)
