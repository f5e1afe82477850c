"""Generators that a script never puts into evaluation mode."""

from __future__ import annotations

import gc
from typing import Any

import torch
from torch import nn

from ganfix_plugin.generators.replay import Seen, tensors
from ganfix_plugin.hooks.standalone import bare, random_state_kept


def same_in_evaluation(G: nn.Module, seen: Seen) -> bool:
    """Whether a generator that is not being trained makes the same of its call in either mode."""
    changing = (nn.modules.batchnorm._NormBase, nn.modules.dropout._DropoutNd)
    if _trained(G) or "" not in seen.calls:
        return False
    if any(isinstance(module, changing) for module in G.modules()):
        return False
    (args, kwargs), outputs = seen.calls[""], []
    for training in (True, False):
        view = bare(G)
        for module in view.modules():
            module.training = training
        with random_state_kept(G), torch.no_grad():
            outputs.append([x for _, x in tensors(view(*args, **kwargs))])
    return all(map(torch.equal, *outputs))


def _trained(G: nn.Module) -> bool:
    """Whether gradients are followed, and not for an optimizer of something else, as a latent."""
    if not torch.is_grad_enabled():
        return False
    optimizers: Any = [x for x in gc.get_objects() if issubclass(type(x), torch.optim.Optimizer)]
    optimized = {
        id(x) for each in optimizers for group in each.param_groups for x in group["params"]
    }
    return not optimized or any(id(x) in optimized for x in G.parameters())
