"""Test a model: `torchrun --nproc_per_node=N test.py CONFIG --work_dir DIR --checkpoint FILE`."""

from __future__ import annotations

import argparse
import os
import runpy
from types import SimpleNamespace

import runners
import torch
import torch.distributed as dist


def parse_args() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    backend = "nccl" if torch.cuda.is_available() else "gloo"
    add = parser.add_argument
    add("config", help="configuration: a Python file of assignments")
    add("--work_dir", required=True, help="output folder")
    add("--checkpoint", required=True, help="weights of the generator")
    add("--synthesis_num", type=int, default=1000, help="number of images; 0 writes none")
    add("--backend", default=backend, help="backend of torch.distributed")
    return parser.parse_args()


def read_config(path: str) -> SimpleNamespace:
    """The public names that the Python file `path` defines."""
    names = runpy.run_path(path)
    return SimpleNamespace(**{key: names[key] for key in names if not key.startswith("_")})


def main() -> None:
    """Join the process group, build the runner, load the weights, synthesize."""
    args = parse_args()
    if "RANK" not in os.environ:
        raise SystemExit("test.py: RANK is not set; start it with torchrun")
    config = read_config(args.config)
    config.work_dir = args.work_dir
    if torch.cuda.is_available():
        torch.cuda.set_device(int(os.environ["RANK"]) % torch.cuda.device_count())
    dist.init_process_group(args.backend)
    try:
        runner = getattr(runners, config.runner_type)(config)
        runner.load(args.checkpoint)
        if args.synthesis_num > 0:
            name = f"synthesis_{args.synthesis_num}.html"
            runner.synthesize(args.synthesis_num, html_name=name)
    finally:
        dist.destroy_process_group()


if __name__ == "__main__":
    main()
