"""Synthesize images with a trained model: `python synthesize.py pggan_footwear32`."""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
from models import MODEL_ZOO, build_generator
from utils.checkpoint import default_device, load_weights
from utils.visualizer import save_image, save_page, to_uint8


def parse_bool(text: str) -> bool:
    """'true', 'yes', '1' … or 'false', 'no', '0' …; argparse's error for anything else."""
    for value, words in ((True, "1 t true y yes"), (False, "0 f false n no")):
        if text.lower() in words.split():
            return value
    raise argparse.ArgumentTypeError(f"{text!r} is neither true nor false")


def parse_args() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    add = parser.add_argument
    add("model_name", choices=MODEL_ZOO, help="trained model")
    add("--save_dir", type=Path, default=Path("work_dirs", "synthesis"), help="output folder")
    add("--num", type=int, default=100, help="number of images")
    add("--batch_size", type=int, default=1, help="images per forward pass")
    add("--generate_html", type=parse_bool, default=True, help="write a page with all images")
    add("--save_raw_synthesis", type=parse_bool, default=False, help="write one PNG per image")
    add("--seed", type=int, default=0, help="seed of the one random stream")
    add("--trunc_psi", type=float, default=0.7, help="truncation (style-based models only)")
    add("--trunc_layers", type=int, default=8, help="truncated layers (style-based models only)")
    add("--randomize_noise", type=parse_bool, default=False, help="style-based models only")
    return parser.parse_args()


def main() -> None:
    """Build, load, then draw latents batch by batch and write what becomes of them."""
    args = parse_args()
    if args.num <= 0 or not (args.generate_html or args.save_raw_synthesis):
        return
    job = f"{args.model_name}_{args.num}"
    raw_dir = args.save_dir / job

    settings = {key: value for key, value in MODEL_ZOO[args.model_name].items() if key != "url"}
    generator = build_generator(**settings)
    load_weights(generator, Path("checkpoints", f"{args.model_name}.safetensors"))
    device = default_device()
    generator = generator.to(device).eval()

    (raw_dir if args.save_raw_synthesis else args.save_dir).mkdir(parents=True, exist_ok=True)
    torch.manual_seed(args.seed)
    options = dict(
        trunc_psi=args.trunc_psi,
        trunc_layers=args.trunc_layers,
        randomize_noise=args.randomize_noise,
    )
    pictures: list[np.ndarray] = []
    for start in range(0, args.num, args.batch_size):
        size = min(args.batch_size, args.num - start)
        code = torch.randn(size, generator.z_space_dim).to(device)
        with torch.no_grad():
            images = to_uint8(generator(code, **options)["image"])
        if args.save_raw_synthesis:
            for index, image in enumerate(images, start):
                save_image(raw_dir / f"{index:06d}.png", image)
        if args.generate_html:
            pictures.extend(images)
    if args.generate_html:
        save_page(args.save_dir / f"{job}.html", pictures, title=job)
    print(f"wrote {args.num} images to {args.save_dir}")


if __name__ == "__main__":
    main()
