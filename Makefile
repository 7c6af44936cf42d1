# Every target is a line of `tally`; `make help` lists them. Values (PIPELINE, SET, RUN, …) reach it
# through the environment and are never expanded here: `CRON="* * …"` would glob.
.DEFAULT_GOAL := help
.PHONY: help champion rollback compress evaluate quote submit connect token watch resume cancel resize reap runs logs compare bill report compile doctor \
	test test-full test-deps test-slow test-cluster test-cluster-slow test-ruins test-focus lint bench cluster-up cluster-down images \
	export-focus deploy undeploy schedule \
	lock venv venv-dev clean
VALUES := MODEL TO DATA PIPELINE SET RUN ACCURACY AGAIN YES WORKERS MACHINE NAMESPACE STEP ENGINE JSON BY CSV SINCE UNTIL RANGE OUT CRON OVERLAY IMAGES WAIT FORCE STAGES BASE REGISTRY PUSH ACCELERATOR BUILDER ROUNDS SEED PROBE ACCOUNT DURATION_SECONDS METER_URL
$(foreach name,$(VALUES),$(if $(filter undefined,$(origin $(name))),,$(eval override $(name) := $$(value $(name)))))
export $(VALUES)
unexport MAKEFLAGS MFLAGS
TALLY := .venv/bin/tally
PYTHON := .venv/bin/python

help: ## this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

quote: venv ## what a run would cost at every size: PIPELINE=cnn [SET=…]; or how far quotes were off: ACCURACY=1 [JSON=1]
	@$(TALLY) quote
submit: venv ## run a pipeline: PIPELINE=cnn|rnn|path/to/mine.py [SET="epochs=5 seed=1"] [YES=1 JSON=1]
	@$(TALLY) submit
resume: venv ## go on with a run that did not finish: RUN=id
	@$(TALLY) resume
watch: venv ## follow a run that was left running: RUN=id
	@$(TALLY) watch
cancel: venv ## end a running run: RUN=id
	@$(TALLY) cancel
resize: venv ## another number of workers for a run that trains: RUN=id WORKERS=3 [MACHINE=type]
	@$(TALLY) resize
reap: venv ## remove gangs from the cluster whose run has ended [NAMESPACE=name]
	@$(TALLY) reap
runs: venv ## list runs with their cost [JSON=1]
	@$(TALLY) runs
logs: venv ## what a run's steps wrote: RUN=id [STEP=train]; as all that takes a RUN, of NAMESPACE=name where several have it
	@$(TALLY) logs
compare: venv ## runs side by side: RUN=a,b [JSON=1]
	@$(TALLY) compare
bill: venv ## what a run used and cost: RUN=id; or who pays: BY=team,month [SINCE=day UNTIL=day CSV=1 JSON=1]
	@$(TALLY) bill
export-focus: venv ## all charges as FOCUS 1.2 CSV [OUT=focus.csv SINCE=day UNTIL=day]
	@$(TALLY) export focus
report: venv ## one HTML page with plots: RUN=id
	@$(TALLY) report
compress: venv ## smaller models of a run's model, measured: RUN=id [SET="candidates=int8" OUT=folder JSON=1]
	@$(TALLY) compress
evaluate: venv ## how good a model is on a dataset: MODEL=file.tflite|run|name DATA=dataset [JSON=1]
	@$(TALLY) evaluate
champion: venv ## which version of each model is champion [MODEL=name JSON=1]
	@$(TALLY) champion
rollback: venv ## make an earlier champion champion again: MODEL=name [TO=version]
	@$(TALLY) rollback
compile: venv ## Kubeflow IR YAML: PIPELINE=cnn
	@$(TALLY) compile
schedule: venv ## run a pipeline again and again on a cluster: PIPELINE=cnn CRON="0 0 3 * * *" [SET=…]
	@$(TALLY) schedule
connect: venv ## find the kubeconfig's Kubeflow, meter and store, and keep where they are [KFP_HOST=… METER_URL=…]
	@$(TALLY) connect
token: venv ## a token for the meter, into a file [NAMESPACE=… ACCOUNT=… DURATION_SECONDS=86400 OUT=file]
	@$(TALLY) token
doctor: venv ## what is missing on this machine and of its cluster, with the remedy [PROBE=1: a pod lists the store]
	@$(TALLY) doctor

test: venv-dev ## all checks that need no root and no network, in ten minutes [STAGES="lint units timing …"]
	@PYTHONPATH=scripts $(PYTHON) -m gate $${STAGES:-test}
test-full: venv-dev ## everything, however long, FOCUS and a real Kubernetes with it (Debian, root)
	@TALLY_REQUIRE_ALL=1 PYTHONPATH=scripts $(PYTHON) -m gate full
test-focus: venv-dev ## the FOCUS export against the standard's own validator (Python 3.12)
	@sh scripts/test-focus.sh
test-slow: venv-dev ## long fault schedules
	@$(PYTHON) -m pytest -m slow -o faulthandler_timeout=1260 # above the longest time-out of any
test-cluster: venv-dev ## against a real Kubernetes: KUBECONFIG's, else one of its own (Debian, root)
	@tests/cluster/run.sh
test-cluster-slow: venv-dev ## outages of two minutes, on the same
	@WHICH=slow tests/cluster/run.sh
test-ruins: venv-dev ## kill the cluster at any moment and bring it up again [ROUNDS=10 SEED=…] (Debian, root)
	@PYTHONPATH=tests $(PYTHON) tests/cluster/ruins.py
cluster-up: ## a one-node Kubernetes on this machine (Debian, root; built once, 7 to 15 minutes)
	@tests/cluster/up.sh
cluster-down: ## take it down
	@tests/cluster/down.sh
images: ## the images, with buildah, podman or docker [ACCELERATOR=gpu|tpu REGISTRY=… PUSH=1 BASE=image]
	@scripts/images.sh
deploy: ## install into the current context's cluster: OVERLAY=kubeflow|local|gke|… [IMAGES="name=other" WAIT=120]
	@scripts/deploy.sh
undeploy: ## take it out again, but the ledger's volume claim: OVERLAY=… [FORCE=1]
	@scripts/undeploy.sh
test-deps: ## system programs that further tests use (Debian, root)
	@sh scripts/test-deps.sh
lint: venv-dev ## ruff, mypy --strict, import-linter
	@.venv/bin/ruff check --quiet .
	@.venv/bin/ruff format --quiet --check .
	@.venv/bin/mypy
	@.venv/bin/lint-imports --no-cache --verbose >.venv/lint-imports.log || { cat .venv/lint-imports.log; exit 1; }
bench: venv-dev ## side-by-side measurements, each checked against its target
	@for name in train metering ledger overhead submit steptime compress; do $(PYTHON) -m bench.$$name --check || exit 1; done
lock: ## make the .lock files anew (needs uv)
	@sh scripts/lock.sh

venv:
	@sh scripts/venv.sh local
venv-dev:
	@sh scripts/venv.sh dev
clean: ## remove .venv and caches
	@rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis
