PYTHON ?= $(shell command -v python3.11 || echo python3)
VENV   := .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/installed

.PHONY: demo test check-arm check-targets check-swift lint bench bench-arm kills clean

demo: $(STAMP)  ## the whole pipeline on real purchases, ending with recommendations and a report
	$(BIN)/edgerec run models/grocery/recipe.toml
	@echo 'Try it in a browser: $(BIN)/edgerec demo'

test: $(STAMP)  ## all tests, in two processes
	$(BIN)/pytest -n 2 --dist loadfile --no-loadscope-reorder

check-arm: $(STAMP)  ## the wheel on emulated ARM processors; needs Debian packages (see tests/arm/machine.py)
	$(BIN)/pytest -n 2 tests/arm

check-targets: $(STAMP)  ## the exports: Kotlin on the JVM, JavaScript and the page in Chromium; needs npm, Maven, a JDK, Chromium
	EDGEREC_TARGETS=1 $(BIN)/pytest tests/targets

check-swift: $(STAMP)  ## the export to iOS, compiled and run in a Debian 13 root file system: root, mmdebstrap, 3 GB
	EDGEREC_SWIFT=1 $(BIN)/pytest tests/targets/test_swift.py

lint: $(STAMP)  ## style and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: $(STAMP)  ## preparation of 20 M interactions; training throughput; latency, cold start and memory of the grocery bundle
	$(BIN)/python tests/bench_data.py
	$(BIN)/python tests/bench_training.py
	$(BIN)/edgerec-device bench models/grocery/model.tflite --history tests/data/grocery-history.csv

bench-arm: $(STAMP)  ## records the ARM instructions of a recommendation, by processor, runtime, bundle and scheme
	$(BIN)/python tests/arm/costs.py

kills: $(STAMP)  ## SIGKILL at many moments of a run, of writers of a history and of an update of the model: nothing is lost
	$(BIN)/python tests/kill_runs.py
	$(BIN)/python tests/kill_history.py
	$(BIN)/python tests/kill_update.py

clean:
	rm -rf $(VENV) runs build dist *.egg-info

$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[train,data,tflite,sql,spark,sweep,sign,dev]'
	touch $@
