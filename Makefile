# Two commands for whoever comes new:
#   make run                         try it without any key
#   make run CONFIG=gptproxy.toml    the daemon with your configuration (PORT=ssl:443 by default)
#   make test                        everything that must be green
# Each makes what it needs below .venv/; all that has to be there is Python 3.11 or newer, with its venv module.
#
# The package for Debian 13; as root, with mmdebstrap and systemd-nspawn:
#   make deb                         builds it, into dist/
#   make deb-test                    installs, restarts, upgrades and purges it on a machine with systemd
#
# Figures, never tests:
#   make bench                       the grammar beside its oracles, the relay beside nginx (nginx-light and wrk)
#   make bench-knowledge             how fast and how well passages are found (9 GB in $TMPDIR, python3-doc)
#
# Minutes of bad weather, after which nothing may be lost or left behind:
#   make soak                        100,000 calls and what has grown of them, idle connections, strangers, killed workers,
#                                    callers who leave, killed feedings, SIGTERM and SIGHUP under load (nginx-light)
#   make fuzz                        new inputs for the parsers, for a minute (FUZZ_SECONDS=600 for ten)
#
#   make lint, types, imports, test-newest, test-floor, test-wheel    the parts of make test
#   make clean                       removes the environments and caches

PYTHON ?= python3
PORT ?= ssl:443
# The oldest dependencies have wheels for Python 3.11 to 3.13 only.
FLOOR_PYTHON ?= $(shell for python in $(PYTHON) python3.13 python3.12 python3.11; do \
	$$python -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' 2>/dev/null && echo $$python && break; done)

PIP = -m pip install --quiet --disable-pip-version-check
NEWEST = .venv/newest/bin/python
FLOOR = .venv/floor/bin/python
FUZZ = .venv/fuzz/bin/python
FUZZ_SECONDS ?= 60
SOURCES = $(shell find gptproxy twisted setup.py pyproject.toml README.md -name '__pycache__' -prune -o -type f ! -name 'dropin.cache' -print)
CHECKOUT = PYTHONPATH="$(CURDIR)" PYTHONDONTWRITEBYTECODE=1

# Feedings that `make soak` kills.
GPTPROXY_KILLS ?= 50

.PHONY: help run test deb deb-test bench bench-knowledge soak fuzz lint types imports test-newest test-floor test-wheel clean
.DELETE_ON_ERROR:

help:
	@sed -n '/^#/!q; s/^# \{0,1\}//p' "$(firstword $(MAKEFILE_LIST))"

run: .venv/run.installed
ifdef CONFIG
	@.venv/run/bin/twistd -n --pidfile= gptproxy --config "$(CONFIG)" --port "$(PORT)"
else
	@.venv/run/bin/gptproxy try
endif

test: lint types imports test-newest test-floor test-wheel
	@echo "make test: all green"

bench: .venv/newest.installed
	$(CHECKOUT) $(NEWEST) -m benchmarks.grammar
	$(CHECKOUT) $(NEWEST) -m benchmarks.relay

# A million passages, and some ten minutes.
bench-knowledge: .venv/newest.installed
	$(CHECKOUT) $(NEWEST) -m benchmarks.knowledge
	$(CHECKOUT) $(NEWEST) -m benchmarks.retrieval

# Each ends with 1 where something was lost, or is left. Timed, and so no tests.
soak: .venv/newest.installed
	$(CHECKOUT) $(NEWEST) -m benchmarks.soak
	$(CHECKOUT) $(NEWEST) -m benchmarks.idle_tls
	$(CHECKOUT) $(NEWEST) -m benchmarks.strangers
	$(CHECKOUT) $(NEWEST) -m benchmarks.workers --rounds 0
	$(CHECKOUT) $(NEWEST) -m benchmarks.leavings
	$(CHECKOUT) $(NEWEST) -m benchmarks.kill_feeding --kills "$(GPTPROXY_KILLS)"
	$(CHECKOUT) $(NEWEST) -m benchmarks.drain
	$(CHECKOUT) $(NEWEST) -m benchmarks.reload

# Bounded, and no test: it is timed, and its inputs are new each time.
fuzz: .venv/fuzz.installed
	$(CHECKOUT) $(FUZZ) -m fuzz --seconds "$(FUZZ_SECONDS)"

lint: .venv/newest.installed
	$(NEWEST) -m ruff check .
	$(NEWEST) -m ruff format --check .

types: .venv/newest.installed
	$(NEWEST) -m mypy

imports: .venv/newest.installed
	$(CHECKOUT) .venv/newest/bin/lint-imports --no-cache

test-newest: .venv/newest.installed
	rm -f .coverage .coverage.*
	$(CHECKOUT) $(NEWEST) -m coverage run -m pytest
	$(NEWEST) -m coverage combine --quiet
	$(NEWEST) -m coverage report --fail-under=95

ifeq ($(FLOOR_PYTHON),)
test-floor:
	@echo "test-floor: not run: it needs one of Python 3.11, 3.12, 3.13, and none is on PATH" >&2; exit 1
else
test-floor: .venv/floor.installed
	$(CHECKOUT) $(FLOOR) -m pytest
endif

# The main job once more, from the wheel that is built from the source distribution, with nothing of the checkout in reach.
test-wheel: .venv/newest.installed
	rm -rf .venv/dist .venv/wheel .venv/elsewhere
	$(NEWEST) -m build --outdir .venv/dist . >.venv/build.log 2>&1 || { cat .venv/build.log; exit 1; }
	$(PYTHON) -m venv .venv/wheel
	.venv/wheel/bin/python $(PIP) .venv/dist/*.whl pytest openai
	mkdir .venv/elsewhere && cp -R tests/main_job .venv/elsewhere/
	cd .venv/elsewhere && ../wheel/bin/twistd --help | grep gptproxy > /dev/null  # not -q, which ends before twistd does
	cd .venv/elsewhere && ../wheel/bin/python -m pytest -q -p no:cacheprovider -c /dev/null --rootdir . main_job

# The scripts end with status 77 where it cannot be done; make says "Error 77".
deb:
	packaging/build-deb.sh dist

deb-test:
	packaging/test-deb.sh

clean:
	rm -rf .venv .coverage .coverage.* .hypothesis .mypy_cache .ruff_cache build *.egg-info

.venv/run.installed: $(SOURCES)
	$(call make-venv,run,$(PYTHON))
	@echo "installing gptproxy and what it needs into .venv/run; that takes a minute, and once"
	@rm -rf build  # or modules that are gone would be installed once more
	@.venv/run/bin/python $(PIP) --force-reinstall --no-deps .
	@.venv/run/bin/python $(PIP) '.[try]'
	@touch $@

# What gptproxy needs, but not gptproxy itself: the tests run the checkout.
.venv/newest.installed: setup.py constraints/test.txt constraints/check.txt
	$(call make-venv,newest,$(PYTHON))
	@echo "installing the newest dependencies and the tools of the tests into .venv/newest; that takes minutes, and once"
	$(NEWEST) $(PIP) --upgrade --upgrade-strategy eager . -r constraints/test.txt -r constraints/check.txt
	$(NEWEST) -m pip uninstall --quiet --yes gptproxy
	@touch $@

.venv/floor.installed: setup.py constraints/floor.txt constraints/test.txt
	$(call make-venv,floor,$(FLOOR_PYTHON))
	@echo "installing the oldest dependencies into .venv/floor; that takes a minute, and once"
	$(FLOOR) $(PIP) -r constraints/floor.txt -r constraints/test.txt
	@touch $@

# Where atheris has no wheel, the runner says so and does without it.
.venv/fuzz.installed: setup.py constraints/fuzz.txt constraints/test.txt
	$(call make-venv,fuzz,$(PYTHON))
	$(FUZZ) $(PIP) --upgrade --upgrade-strategy eager . -r constraints/test.txt
	$(FUZZ) $(PIP) --upgrade --only-binary atheris -r constraints/fuzz.txt || echo "no atheris for $(PYTHON)" >&2
	$(FUZZ) -m pip uninstall --quiet --yes gptproxy
	@touch $@

# $(call make-venv,NAME,PYTHON): says what is missing instead of a traceback.
define make-venv
@$(2) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || \
	{ echo "gptproxy needs Python 3.11 or newer as $(2); another one: make PYTHON=/path/to/python3" >&2; exit 1; }
@$(2) -c 'import ensurepip, venv' 2>/dev/null || \
	{ echo "$(2) has no venv module; on Debian and Ubuntu: apt install python3-venv" >&2; exit 1; }
@mkdir -p .venv
@test -x .venv/$(1)/bin/python || $(2) -m venv .venv/$(1)
endef
