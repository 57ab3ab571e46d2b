# What CI does, in full, is .ci/run.
GO ?= go

.PHONY: build test race lint bench demo

build: ## bin/tweetledger
	$(GO) build -o bin/ ./cmd/tweetledger

test: ## on every database engine that this machine has
	$(GO) test ./...

race: ## the same with the race detector; C compiler needed
	$(GO) test -race ./...

lint: ## golangci-lint, built from tools/go.mod
	$(GO) tool -modfile=tools/go.mod golangci-lint run ./...

bench: ## every benchmark, no tests
	$(GO) test -run '^$$' -bench . -benchmem ./...

demo: ## the whole story, in a new folder
	$(GO) run ./cmd/tweetledger demo
