package sqldb_test

import (
	"bytes"
	"context"
	"io"
	"net"
	"net/url"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/jackc/pgx/v5"

	"tweetledger/internal/sqldb"
)

// cutter stands between a DB and its server and breaks a connection where a test
// asks for it.
type cutter struct {
	network, address string // of the server
	mu               sync.Mutex
	at               []byte // what the client says when its connection is to be cut; nil: never
	delivered        bool   // whether the server still hears it, and acts on it
	then             func() // called just before a cut
	cuts             atomic.Int32
}

// throughCutter opens the database at rawURL with a cutter in between.
func throughCutter(t *testing.T, rawURL string) (*sqldb.DB, *cutter) {
	t.Helper()
	u, err := url.Parse(rawURL)
	if err != nil {
		t.Fatal(err)
	}
	engine := u.Scheme
	u.Scheme = "postgres"
	config, err := pgx.ParseConfig(u.String())
	if err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	port := strconv.Itoa(int(config.Port))
	c := &cutter{network: "tcp", address: net.JoinHostPort(config.Host, port)}
	if config.Host[0] == '/' {
		c.network, c.address = "unix", config.Host+"/.s.PGSQL."+port
	}
	go c.serve(listener)
	direct := url.URL{Scheme: engine, User: u.User, Host: listener.Addr().String(), Path: u.Path, RawQuery: "sslmode=disable"}
	return openURL(t, direct.String()), c
}

// cutAt breaks the next connection whose client says text.
func (c *cutter) cutAt(text string, delivered bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.at, c.delivered = []byte(text), delivered
}

// onCut calls fn instead of cutting: the connection falls silent.
func (c *cutter) onCut(fn func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.then = fn
}

func (c *cutter) serve(listener net.Listener) {
	for {
		client, err := listener.Accept()
		if err != nil {
			return
		}
		go c.relay(client)
	}
}

func (c *cutter) relay(client net.Conn) {
	defer client.Close()
	server, err := net.Dial(c.network, c.address)
	if err != nil {
		return
	}
	defer server.Close()
	var silenced atomic.Bool // the client hears no more of the server
	answered := make(chan struct{}, 1)
	go func() {
		buffer := make([]byte, 64<<10)
		for {
			n, err := server.Read(buffer)
			if n > 0 && !silenced.Load() {
				_, _ = client.Write(buffer[:n])
			}
			if n > 0 && silenced.Load() || err != nil {
				select {
				case answered <- struct{}{}:
				default:
				}
			}
			if err != nil {
				_ = client.Close()
				return
			}
		}
	}()
	buffer := make([]byte, 64<<10)
	for {
		n, err := client.Read(buffer)
		if err != nil {
			return
		}
		if cut, delivered := c.decide(buffer[:n]); cut {
			if delivered {
				silenced.Store(true)
				if _, err := server.Write(buffer[:n]); err == nil {
					<-answered // so the server has done it
				}
			}
			c.cuts.Add(1)
			c.mu.Lock()
			then := c.then
			c.mu.Unlock()
			if then != nil {
				then()
				_, _ = io.Copy(io.Discard, client) // until the client itself gives up
			}
			return
		}
		if _, err := io.Copy(server, bytes.NewReader(buffer[:n])); err != nil {
			return
		}
	}
}

// decide reports whether to cut here; it does so once for each cutAt.
func (c *cutter) decide(message []byte) (cut, delivered bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.at == nil || !bytes.Contains(message, c.at) {
		return false, false
	}
	c.at = nil
	return true, c.delivered
}

// noPause makes db try again at once.
func noPause(db *sqldb.DB) {
	db.SetPause(func(ctx context.Context, _ int) error { return ctx.Err() })
}
