package sqltest

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// findCockroach returns the path of the cockroach binary, or "".
func findCockroach() (string, error) {
	if named := os.Getenv("COCKROACH_BINARY"); named != "" {
		path, err := exec.LookPath(named)
		if err != nil {
			return "", fmt.Errorf("COCKROACH_BINARY: %w", err)
		}
		return filepath.Abs(path)
	}
	path, err := exec.LookPath("cockroach")
	if err != nil {
		return "", nil
	}
	return filepath.Abs(path)
}

// startCockroach starts a server with one node, in memory, on the loopback
// address, or returns nil where the machine has none.
//
// cockroach-go's testserver does not do: it leaves the server running when the
// test process is killed, and adds a driver and a flag to every test binary.
func startCockroach() (*url.URL, error) {
	binary, err := findCockroach()
	if binary == "" || err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), startTimeout)
	defer cancel()
	dir, err := serverDir("cockroach", nil)
	if err != nil {
		return nil, err
	}
	urlFile := filepath.Join(dir, "url")
	p, err := supervise(dir, "KILL", nil, binary, "start-single-node", "--insecure",
		"--listen-addr=127.0.0.1:0", "--http-addr=127.0.0.1:0", "--listening-url-file="+urlFile,
		"--temp-dir="+dir, "--store=type=mem,size=1GiB", "--cache=64MiB", "--max-sql-memory=256MiB",
		"--log={file-defaults: {dir: "+dir+"/logs}, sinks: {stderr: {filter: ERROR}}}")
	if err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	address, err := p.waitReady(ctx, func() (*url.URL, error) { return listeningURL(urlFile) })
	if err != nil {
		return nil, err
	}
	return address, (&server{url: address}).exec(cockroachSettings[:]...)
}

// listeningURL reads the file that cockroach writes once it listens.
func listeningURL(file string) (*url.URL, error) {
	content, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	return url.Parse(strings.TrimSpace(string(content)))
}

// cockroachSettings make a node quick that nobody needs to survive a crash.
var cockroachSettings = [...]string{
	"SET CLUSTER SETTING kv.raft_log.disable_synchronization_unsafe = true",
	"SET CLUSTER SETTING sql.stats.automatic_collection.enabled = false",
	"SET CLUSTER SETTING kv.range_merge.queue_enabled = false",
	"SET CLUSTER SETTING jobs.registry.interval.adopt = '50ms'",
	"SET CLUSTER SETTING jobs.registry.interval.cancel = '1h'",
	"SET CLUSTER SETTING diagnostics.reporting.enabled = false",
	"SET CLUSTER SETTING server.eventlog.enabled = false",
}
