# make report   set up, run every notebook on the default preset, build PDF and HTML
# make test     set up, run the tests (make test-all: the slow ones too)
# make lab      set up, open JupyterLab with sliders to play with
# make explore  set up, show these sliders as a page without code
# make bench    set up, measure what the project's speed claims rest on
PYTHON ?= python3
PRESET ?= quick
VENV := .venv
BIN := $(VENV)/bin

.PHONY: setup report test test-all lab explore bench
setup: $(VENV)/ready

report: setup
	$(BIN)/hw2 report --preset $(PRESET)

test: setup
	$(BIN)/python -m pytest --numprocesses 2 --dist worksteal -m "not slow"

test-all: setup
	$(BIN)/python -m pytest --numprocesses 2 --dist worksteal

lab: setup
	$(BIN)/jupyter lab notebooks/90_explore.ipynb

# With a token, Voila 0.5 does not end the kernel of a page that is closed; so kernels without a page end after a minute.
explore: setup
	$(BIN)/voila notebooks/90_explore.ipynb --Voila.auto_token=True --progressive_rendering=True \
	    --MappingKernelManager.cull_idle_timeout=60 --MappingKernelManager.cull_interval=20

bench: setup
	$(BIN)/python benchmarks/dann_training.py
	$(BIN)/python benchmarks/gan_training.py
	$(BIN)/python benchmarks/diffusion_training.py
	$(BIN)/python benchmarks/digit_drawing.py
	$(BIN)/python benchmarks/face_drawing.py
	$(BIN)/python benchmarks/two_devices.py

# uv installs in seconds what takes pip minutes; where it cannot be had or fails, pip does the same.
# GOMP_SPINCOUNT: PyTorch's threads sleep soon while they wait for each other. By default they keep a core busy, and beside
# another program that needs it a drawing takes several times as long.
$(VENV)/ready: pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11, 4) and "make setup: Python 3.11.4 or newer is needed")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet -c constraints.txt uv && \
	    $(BIN)/uv pip install --quiet --python $(BIN)/python -c constraints.txt -e '.[dev]' || \
	    $(BIN)/python -m pip install --quiet -c constraints.txt -e '.[dev]'
	$(BIN)/python -m ipykernel install --sys-prefix --name hw2lib --display-name hw2lib --env GOMP_SPINCOUNT 1000
	touch $@
