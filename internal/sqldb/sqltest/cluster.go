package sqltest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"tweetledger/internal/sqldb"
)

// clusterVariable asks for the tests that need a whole cluster of CockroachDB.
const clusterVariable = "TWEETLEDGER_TEST_CLUSTER"

// clusterNodes is how many nodes a cluster has: the fewest of which one can be lost.
const clusterNodes = 3

// clusterTimeout bounds how long a cluster may take until every range of it lies
// on all of its nodes.
const clusterTimeout = 90 * time.Second

// clusterEnv makes nodes quick to copy ranges to each other, and to miss one of
// them: by default a node looks at a range a second, and misses another after 9 s
// (fifteen ticks three times; a heartbeat takes five).
var clusterEnv = [...]string{"COCKROACH_SCAN_MAX_IDLE_TIME=20ms", "COCKROACH_RAFT_ELECTION_TIMEOUT_TICKS=8"}

// Cluster is a CockroachDB cluster of three nodes on the loopback address, in
// memory.
type Cluster struct {
	url   string
	nodes []*process
}

// NewCluster starts a cluster, which ends with the test, and makes an empty
// database with the newest schema on it, all of it on every node. It skips the
// test unless TWEETLEDGER_TEST_CLUSTER=1 asks for it and CockroachDB is found.
func NewCluster(t testing.TB) *Cluster {
	t.Helper()
	if !slices.Contains(Engines(t), sqldb.CockroachDB) {
		t.Skipf("%s is not in %s", sqldb.CockroachDB, limitVariable)
	}
	if os.Getenv(clusterVariable) != "1" {
		why := "sqltest: no cluster of CockroachDB is started: set " + clusterVariable + "=1 to have a node of one lost"
		say(why)
		t.Skip(why)
	}
	binary, err := findCockroach()
	if err != nil {
		t.Fatalf("sqltest: %v", err)
	}
	if binary == "" {
		notFound(t, sqldb.CockroachDB)
	}
	ctx, cancel := context.WithTimeout(context.Background(), clusterTimeout)
	defer cancel()
	c, err := startCluster(ctx, binary)
	if c != nil {
		t.Cleanup(func() {
			for i := range c.nodes {
				c.Kill(i)
			}
		})
	}
	if err != nil {
		t.Fatalf("sqltest: start a cluster of CockroachDB: %v", err)
	}
	db := open(t, c.url)
	_ = db.Close()
	if err := c.waitReplicated(ctx); err != nil {
		t.Fatalf("sqltest: start a cluster of CockroachDB: %v", err)
	}
	return c
}

// URL returns the URL of the cluster's database, which names all nodes: a client
// goes to the first that answers.
func (c *Cluster) URL() string { return c.url }

// Kill ends a node at once, as a power cut does, and waits until it has ended.
func (c *Cluster) Kill(node int) {
	_ = c.nodes[node].lifeline.Close() // its supervisor hears of it; it may have before
	<-c.nodes[node].exited
}

func startCluster(ctx context.Context, binary string) (*Cluster, error) {
	addresses, err := freeAddresses(clusterNodes)
	if err != nil {
		return nil, err
	}
	c := &Cluster{}
	for _, address := range addresses {
		dir, err := serverDir("cockroach", nil)
		if err != nil {
			return c, err
		}
		p, err := supervise(dir, "KILL", nil, append(append([]string{"env"}, clusterEnv[:]...), binary, "start", "--insecure", "--listen-addr="+address, "--http-addr=127.0.0.1:0",
			"--join="+strings.Join(addresses, ","), "--temp-dir="+dir, "--store=type=mem,size=640MiB", "--cache=64MiB", "--max-sql-memory=128MiB",
			"--log={file-defaults: {dir: "+dir+"/logs}, sinks: {stderr: {filter: ERROR}}}")...)
		if err != nil {
			return c, errors.Join(err, os.RemoveAll(dir))
		}
		c.nodes = append(c.nodes, p)
	}
	first := &url.URL{Scheme: "postgres", User: url.User("root"), Host: addresses[0], Path: "/defaultdb", RawQuery: "sslmode=disable"}
	if err := c.nodes[0].initCluster(ctx, binary, addresses[0], first); err != nil {
		return c, err
	}
	// A client needs no other node before this.
	settings := append([]string{"CREATE DATABASE book"}, cockroachSettings[:]...)
	if err := (&server{url: first}).exec(settings...); err != nil {
		return c, err
	}
	c.url = fmt.Sprintf("%s://root@%s/book?sslmode=disable", sqldb.CockroachDB, strings.Join(addresses, ","))
	return c, nil
}

// freeAddresses returns loopback addresses that nobody listens on: nodes must know
// each other's before the first one runs.
func freeAddresses(n int) ([]string, error) {
	var addresses []string
	for range n {
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, err
		}
		defer func() { _ = listener.Close() }() // all at the end, so that no address comes twice
		addresses = append(addresses, listener.Addr().String())
	}
	return addresses, nil
}

// waitReplicated waits until the loss of any node leaves a majority of every range.
func (c *Cluster) waitReplicated(ctx context.Context) error {
	conn, err := connectTo(ctx, c.url)
	if err != nil {
		return err
	}
	defer conn.Close(ctx)
	ticker := time.NewTicker(10 * pollInterval)
	defer ticker.Stop()
	for {
		var missing int
		err := conn.QueryRow(ctx, fmt.Sprintf("SELECT count(*) FROM crdb_internal.ranges_no_leases WHERE array_length(voting_replicas, 1) < %d",
			clusterNodes)).Scan(&missing)
		if err != nil {
			return err
		}
		if missing == 0 {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%d ranges are not on all nodes after %v: %w", missing, clusterTimeout, ctx.Err())
		case <-ticker.C:
		}
	}
}

// initCluster makes the nodes that have found each other one cluster, and waits
// until it answers at the address.
func (p *process) initCluster(ctx context.Context, binary, node string, address *url.URL) error {
	ticker := time.NewTicker(pollInterval)
	defer ticker.Stop()
	for {
		said, err := exec.CommandContext(ctx, binary, "init", "--insecure", "--host="+node).CombinedOutput()
		if err == nil || bytes.Contains(said, []byte("already been initialized")) {
			break
		}
		select {
		case <-p.exited:
			return errors.New("the node ended by itself; its log ends with:\n" + p.log)
		case <-ctx.Done():
			return fmt.Errorf("cockroach init: %w: %s", err, said)
		case <-ticker.C:
		}
	}
	_, err := p.waitReady(ctx, func() (*url.URL, error) { return address, nil })
	return err
}
