# Two commands: `make demo` and `make test`; `make gpu` where there is a GPU. Each makes .venv first.

PYTHON ?= $(firstword $(foreach p,python3 python3.13 python3.12 python3.11,\
	$(shell $(p) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $(p))))
BIN := .venv/bin
DEMO := demo
# The newest run, looked up when a recipe runs.
RUN = $$(ls -d $(DEMO)/runs/*-digits16-* | tail -n 1)
# Another release of torch than the pinned one: make test TORCH=2.11.0, in a fresh checkout.
TORCH ?= $(shell sed -n 's/^torch==//p' requirements.txt)

.PHONY: demo test gpu coverage pages lint types imports pytest clean

demo: .venv/installed
	@echo "== 1 of 5: the embedded digits, 16x16"
	@test -f $(DEMO)/digits16.zip || $(BIN)/python dataset_tool.py --source builtin:mnist5k \
		--dest $(DEMO)/digits16.zip --resolution 16
	@echo "== 2 of 5: training, a few minutes on two CPU cores"
	@$(BIN)/python train.py --outdir $(DEMO)/runs --data $(DEMO)/digits16.zip --cfg tiny
	@echo "== 3 of 5: a grid with a row for each class"
	@$(BIN)/python generate.py --network $(RUN) --outdir $(DEMO)/images --class all --seeds 0-9 --grid
	@echo "== 4 of 5: a video from one class to another"
	@$(BIN)/python interpolation.py --network $(RUN) --outdir $(DEMO)/video
	@echo "== 5 of 5: FID, KID, precision and recall"
	@$(BIN)/python calc_metrics.py --network $(RUN) --metrics fid2k,kid2k,pr2k3
	@$(BIN)/python -m training.report $(RUN) >/dev/null
	@echo "== Done"
	@echo "Run      $(RUN)"
	@echo "Report   $(RUN)/report.html"
	@echo "Images   $(DEMO)/images"
	@echo "Video    $(DEMO)/video"
	@echo "Scores   $(RUN)/metric-*.jsonl"

test: lint types imports pytest

# On a machine with a CUDA device: parity tests, benchmarks, docs/performance.md; ARGS="--minutes 60".
gpu: .venv/installed-dev
	$(BIN)/python -m benchmarks.gpu $(ARGS)

# Lines that the tests run, those in processes of their own too.
coverage: .venv/installed-dev
	$(BIN)/coverage erase
	$(BIN)/coverage run -m pytest
	$(BIN)/coverage combine -q
	$(BIN)/coverage report

# Pages that are drawn from the code.
pages: .venv/installed-dev
	$(BIN)/python -m benchmarks.code_pages

lint: .venv/installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: .venv/installed-dev
	$(BIN)/mypy

imports: .venv/installed-dev
	$(BIN)/lint-imports

pytest: .venv/installed-dev
	$(BIN)/python -m pytest

.venv/python:
	@test -n "$(PYTHON)" || { echo "Error: no Python 3.11 or newer on the PATH; install one or say\
	 make PYTHON=/path/to/python3"; exit 2; }
	$(PYTHON) -m venv .venv
	@touch $@

.venv/requirements.txt: requirements.txt .venv/python
	@sed 's/^torch==.*/torch==$(TORCH)/' requirements.txt >$@

# Without an NVIDIA driver the CPU build of torch is enough, where pip finds one.
.venv/installed: .venv/requirements.txt
	@command -v nvidia-smi >/dev/null || $(BIN)/python -m pip install --progress-bar on \
		"torch==$(TORCH)+cpu" || echo "No CPU build of torch here; taking the ordinary one"
	$(BIN)/python -m pip install --progress-bar on -r .venv/requirements.txt
	@touch $@

.venv/installed-dev: requirements-dev.txt .venv/installed
	@cp requirements-dev.txt .venv
	$(BIN)/python -m pip install --progress-bar on -r .venv/requirements-dev.txt
	@touch $@

clean:
	rm -rf .venv $(DEMO) build
