# Everything that the project does, on a machine that has Go.

GOLANGCI = go run github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.12.2
GOVULN   = go run golang.org/x/vuln/cmd/govulncheck@v1.9.0

# The server that the tests start; another Redis or Valkey may be named.
HOLDFAST_TEST_SERVER ?= redis-server
export HOLDFAST_TEST_SERVER

.PHONY: help
help: ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/' | expand -t 12

.PHONY: test
test: redis ## every test with -race; installs redis-server if it is missing
	go test -race -shuffle=on -timeout 15m ./...
	cd bench && go test -race ./...
	cd guard/sqltest && go test -race ./...
	cd otel && go test -race ./...
	cd internal/torture && go test -race ./...

.PHONY: long
long: redis ## the tests at their full length, and every fuzz target for a minute
	HOLDFAST_LONG=1 go test -race -timeout 60m ./...
	@for p in lua internal/keys; do \
	  for f in $$(grep -ho 'func Fuzz[A-Za-z]*' $$p/*_test.go | sed 's/func //'); do \
	    go test ./$$p -run '^$$' -fuzz "^$$f\$$" -fuzztime 60s || exit 1; \
	  done; \
	done

TIME ?= 10m
SEED ?= 0
FAULTS ?=

.PHONY: torture
torture: redis ## processes that lock while all fails that can; TIME=10m, SEED=n repeats a run, FAULTS=kill,restart
	cd internal/torture && go test -race -count=1 -timeout 0 -v -run '^TestTorture$$' . \
	  -time $(TIME) -seed $(SEED) -faults '$(FAULTS)'

.PHONY: model
model: ## the protocol, explored wholly, and each rule taken out: five minutes of CPU, 2 GB
	go run ./internal/model

.PHONY: mutants
mutants: redis ## each rule broken on purpose, and its test must fail: some minutes
	go run ./internal/mutants

.PHONY: redis
redis: # what the tests need, from the system's package manager
	@command -v $(HOLDFAST_TEST_SERVER) >/dev/null || sh internal/testredis/install.sh

.PHONY: lint
lint: ## formatting, vet, golangci-lint, tidiness
	$(GOLANGCI) run ./...
	$(GOLANGCI) fmt --diff ./...
	go vet ./...
	go mod tidy -diff
	cd otel && $(GOLANGCI) run ./... && $(GOLANGCI) fmt --diff ./... && go vet ./... && go mod tidy -diff
	cd bench && $(GOLANGCI) run ./... && $(GOLANGCI) fmt --diff ./... && go vet ./... && go mod tidy -diff
	cd internal/torture && $(GOLANGCI) run ./... && $(GOLANGCI) fmt --diff ./... && go vet ./... && go mod tidy -diff

.PHONY: bench
bench: redis ## this project and others side by side, some twenty minutes: bench/RESULTS.md
	cd bench && go run .

.PHONY: vuln
vuln: ## known vulnerabilities; needs the network
	$(GOVULN) ./...

.PHONY: quickstart
quickstart: ## the main job on an embedded Redis
	go run ./examples/quickstart
