"""Calculate metrics of a network pickle, in one process or in several ranks."""

from __future__ import annotations

import json
import os
import tempfile
from typing import Any

import click
import dnnlib
import legacy
import torch
from metrics import metric_main, metric_utils
from torch_utils import misc


class Names(click.ParamType):
    name = "names"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> list[str]:
        return [] if value in ("", "none") else value.split(",")


def run_rank(rank: int, args: dnnlib.EasyDict, temp_dir: str) -> None:
    """What each rank does; rank 0 speaks and records."""
    device = misc.pick_device(rank)
    loud = args.verbose and rank == 0
    if args.num_gpus > 1:
        rendezvous = os.path.abspath(os.path.join(temp_dir, "rendezvous"))
        torch.distributed.init_process_group(
            backend="nccl" if device.type == "cuda" else "gloo",
            init_method=f"file://{rendezvous}",
            rank=rank,
            world_size=args.num_gpus,
        )
        if device.type == "cpu":  # ranks share the cores
            torch.set_num_threads(max(1, (os.cpu_count() or 1) // args.num_gpus))
    G = misc.frozen_copy(args.G, device)
    if loud:
        latents = [torch.empty(1, size, device=device) for size in (G.z_dim, G.c_dim)]
        misc.print_module_summary(G, latents)
    for name in args.metrics:
        if loud:
            print(f"Calculating {name} ...")
        result = metric_main.calc_metric(
            name,
            G=G,
            dataset_kwargs=args.dataset_kwargs,
            num_gpus=args.num_gpus,
            rank=rank,
            device=device,
            progress=metric_utils.ProgressMonitor(verbose=args.verbose),
            detector=args.detector,
        )
        if rank == 0:
            metric_main.report_metric(result, run_dir=args.run_dir, snapshot_pkl=args.network_pkl)
    if args.num_gpus > 1:
        torch.distributed.destroy_process_group()


@click.command()
@click.pass_context
@click.option("--network", "network_pkl", help="Network pickle", required=True, metavar="FILE")
@click.option(
    "--metrics",
    type=Names(),
    default="fid1k",
    show_default=True,
    help="Metrics, comma-separated, or none",
)
@click.option(
    "--data", metavar="PATH", help="Folder or zip of real images  [default: the training set]"
)
@click.option("--mirror", type=bool, help="Add mirror images of the data  [default: as trained]")
@click.option("--gpus", type=click.IntRange(min=1), default=1, show_default=True, help="Ranks")
@click.option("--verbose", type=bool, default=True, show_default=True, help="Say more")
def calc_metrics(
    ctx: click.Context,
    network_pkl: str,
    metrics: list[str],
    data: str | None,
    mirror: bool | None,
    gpus: int,
    verbose: bool,
) -> None:
    """Print one line of JSON per metric; append it to metric-NAME.jsonl beside the pickle, if that
    is a run folder (with a training_options.json).

    \b
    python calc_metrics.py --network=footwear32.pkl --data=data/footwear32_test.zip
    """
    if unknown := [name for name in metrics if not metric_main.is_valid_metric(name)]:
        known = ", ".join(metric_main.list_valid_metrics())
        ctx.fail(f"--metrics {unknown[0]}: unknown metric; available: {known}")
    if torch.cuda.is_available() and gpus > torch.cuda.device_count():
        ctx.fail(f"--gpus {gpus}: this machine has {torch.cuda.device_count()}")
    with dnnlib.util.open_url(network_pkl, verbose=verbose) as f:
        networks = legacy.load_network_pkl(f)
        folder = os.path.dirname(os.path.abspath(f.name))
    G = networks["G_ema"]
    if data is not None:
        dataset_kwargs = dnnlib.EasyDict(
            class_name="training.dataset.ImageFolderDataset", path=data
        )
    elif networks["training_set_kwargs"] is not None:
        dataset_kwargs = dnnlib.EasyDict(networks["training_set_kwargs"])
    else:
        ctx.fail("the pickle names no training set: give --data")
    dataset_kwargs.update(resolution=G.img_resolution, use_labels=G.c_dim > 0)
    if mirror is not None:
        dataset_kwargs.xflip = mirror
    detector = os.path.join(folder, "detector.pt")
    dnnlib.util.construct_class_by_name(**dataset_kwargs)  # errors belong here, not in the ranks
    if verbose:
        print(json.dumps(dataset_kwargs, indent=2))

    is_run = os.path.isfile(os.path.join(folder, "training_options.json"))
    args = dnnlib.EasyDict(
        G=G,
        metrics=metrics,
        dataset_kwargs=dataset_kwargs,
        num_gpus=gpus,
        detector=detector,
        verbose=verbose,
        network_pkl=network_pkl,
        run_dir=folder if is_run else None,
    )
    with tempfile.TemporaryDirectory(prefix="ranks-") as temp_dir:
        if gpus == 1:
            run_rank(0, args, temp_dir)
        else:
            torch.multiprocessing.spawn(run_rank, args=(args, temp_dir), nprocs=gpus)


if __name__ == "__main__":
    calc_metrics()
