"""What a correction keeps of images, and whether it changes what they show.

A distance can fall because artifacts were repaired, or because other images stand in their place.
So each distance is shown with these: are clean images untouched, is a corrected image still the one
that it was, and is it still of its kind.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import cosine_similarity

from ganfix_plugin.features.kinds import Kinds, kept

_ROWS = 1024  # that are compared at a time
TITLES = {
    "untouched": "untouched, bit for bit",
    "change": "pixels change by, of 255",
    "identity": "identity of the others, cosine",
    "kind_kept": "the others keep their kind",
    "shift": "kinds shift by",
}


@dataclass(frozen=True)
class Measures:
    """Of images before and after a correction.

    Attributes:
        untouched: the share of images that are bit for bit as they were.
        change: mean absolute change of the pixels of all of them, of 255.
        identity: mean cosine of the changed images' features before and after, less the mean
            feature of all: 1 is as before, 0 as unlike as two images of the generator.
        kind_kept: the share of changed images that are still of their kind of content.
        shift: the share of all images by which the kinds' shares differ, before and after; a
            correction that moves as many either way changes `kind_kept` only.
    """

    untouched: float
    change: float
    identity: float
    kind_kept: float
    shift: float

    @classmethod
    def of(
        cls,
        before: Tensor,
        after: Tensor,
        changes: Tensor,
        kinds: Kinds,
        centre: Tensor,
    ) -> Measures:
        """Measure features [n, D] of images before and after.

        Args:
            changes: mean absolute change of each image's pixels [n], of 255; 0 only where not one
                bit differs. Images whose features were not kept may follow.
            kinds: of content, by such features.
            centre: the mean feature [D] of what the generator makes, uncorrected.
        """
        changed = changes[: len(before)] > 0
        kind, kind_after = kinds.of(before), kinds.of(after)
        rows = zip(before.split(_ROWS), after.split(_ROWS))
        cosines = torch.cat([cosine_similarity(a - centre, b - centre) for a, b in rows])[changed]
        return cls(
            float((changes == 0).float().mean()),
            float(changes.mean()),
            float(cosines.mean()) if changed.any() else 1.0,
            kept(kind[changed], kind_after[changed]) if changed.any() else 1.0,
            apart(kind, kind_after),
        )

    def cells(self) -> tuple[str, ...]:
        """As they stand in tables, in the order of `TITLES`."""
        shares = (self.untouched, self.kind_kept, self.shift)
        untouched, kind_kept, shift = (f"{share:.0%}" for share in shares)
        return untouched, f"{self.change:.1f}", f"{self.identity:.2f}", kind_kept, shift


def apart(first: Tensor, second: Tensor) -> float:
    """By how much the shares of kinds differ between two groups, numbers [n] and [m]: from 0, the
    same shares, to 1, no kind in common (total variation)."""
    kinds = int(torch.cat([first, second]).max()) + 1
    shares = [group.bincount(minlength=kinds) / len(group) for group in (first, second)]
    return float((shares[0] - shares[1]).abs().sum() / 2)
