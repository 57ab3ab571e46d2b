package engine_test

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"tweetledger/internal/sqldb"
	"tweetledger/internal/sqldb/sqltest"
)

// fate is what the proxy does with the next COMMIT that it sees.
type fate int32

const (
	pass       fate = iota
	loseAnswer      // the server commits, and the client never learns of it
	loseCommit      // the connection breaks before the server hears of it
)

// proxy stands between an engine and its server and breaks connections at will.
// It speaks just enough of PostgreSQL's protocol, which is CockroachDB's too, to
// find a COMMIT and the end of its answer.
type proxy struct {
	network, address string // of the server
	listener         net.Listener
	next             atomic.Int32 // the fate of the next COMMIT
	cuts             atomic.Int32 // how many had another fate than to pass
	down             atomic.Bool  // refuse and break all connections

	mu   sync.Mutex
	open map[net.Conn]bool
}

// throughProxy opens a new database of engine with a proxy before it.
func throughProxy(t *testing.T, engine sqldb.Engine) (*proxy, *sqldb.DB) {
	t.Helper()
	direct, err := url.Parse(sqltest.URL(t, engine))
	if err != nil {
		t.Fatal(err)
	}
	asPostgres := *direct
	asPostgres.Scheme = "postgres"
	config, err := pgx.ParseConfig(asPostgres.String())
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{open: map[net.Conn]bool{}}
	p.network, p.address = pgconn.NetworkAddress(config.Host, config.Port)
	if p.listener, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
		t.Fatal(err)
	}
	var serving sync.WaitGroup
	serving.Go(func() { p.serve(t, &serving) })
	t.Cleanup(func() {
		_ = p.listener.Close()
		p.breakAll()
		serving.Wait()
	})
	query := direct.Query()
	query.Del("host")
	query.Del("port")
	query.Set("sslmode", "disable") // what is encrypted cannot be cut at the right place
	direct.Host, direct.RawQuery = p.listener.Addr().String(), query.Encode()
	db, err := sqldb.Open(context.Background(), direct.String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	return p, db
}

// arm decides about the next COMMIT.
func (p *proxy) arm(f fate) { p.next.Store(int32(f)) }

// setDown breaks all connections and refuses new ones, or allows them again.
func (p *proxy) setDown(down bool) {
	p.down.Store(down)
	if down {
		p.breakAll()
	}
}

func (p *proxy) breakAll() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for conn := range p.open {
		_ = conn.Close()
	}
}

func (p *proxy) keep(conn net.Conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.open[conn] = true
}

func (p *proxy) drop(conn net.Conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.open, conn)
	_ = conn.Close()
}

func (p *proxy) serve(t *testing.T, serving *sync.WaitGroup) {
	for {
		client, err := p.listener.Accept()
		if err != nil {
			return // closed
		}
		if p.down.Load() {
			_ = client.Close()
			continue
		}
		server, err := net.Dial(p.network, p.address)
		if err != nil {
			t.Errorf("proxy: %v", err)
			_ = client.Close()
			continue
		}
		p.keep(client)
		p.keep(server)
		c := &proxied{proxy: p, client: client, server: server}
		serving.Go(c.fromClient)
		serving.Go(c.fromServer)
	}
}

// proxied is one connection through the proxy.
type proxied struct {
	*proxy
	client, server net.Conn
	swallow        atomic.Bool // the answer that comes next is not for the client
}

func (c *proxied) end() {
	c.drop(c.client)
	c.drop(c.server)
}

func (c *proxied) fromClient() {
	defer c.end()
	startup, err := readBody(c.client, nil)
	if err != nil {
		return
	}
	if _, err := c.server.Write(startup); err != nil {
		return
	}
	for {
		kind, message, err := readMessage(c.client)
		if err != nil {
			return
		}
		if kind == 'Q' && commits(string(message[5:])) {
			switch f := fate(c.next.Swap(int32(pass))); f {
			case loseCommit:
				c.cuts.Add(1)
				return
			case loseAnswer:
				c.cuts.Add(1)
				c.swallow.Store(true)
			}
		}
		if _, err := c.server.Write(message); err != nil {
			return
		}
	}
}

// commits reports whether a statement is the one that commits: on CockroachDB
// that is the release of the outer savepoint.
func commits(statement string) bool {
	statement = strings.ToLower(strings.TrimRight(statement, "\x00; "))
	return statement == "commit" || strings.HasPrefix(statement, "release savepoint")
}

func (c *proxied) fromServer() {
	defer c.end()
	for {
		kind, message, err := readMessage(c.server)
		if err != nil {
			return
		}
		if c.swallow.Load() {
			if kind == 'Z' { // the server is ready for the next query: it is done
				return
			}
			continue
		}
		if _, err := c.client.Write(message); err != nil {
			return
		}
	}
}

// readMessage reads a message: its kind, its length, its body.
func readMessage(conn net.Conn) (kind byte, message []byte, err error) {
	head := make([]byte, 1)
	if _, err := io.ReadFull(conn, head); err != nil {
		return 0, nil, err
	}
	message, err = readBody(conn, head)
	return head[0], message, err
}

// maxMessage bounds a message: a batch of a test is far smaller.
const maxMessage = 64 << 20

func readBody(conn net.Conn, head []byte) ([]byte, error) {
	size := make([]byte, 4)
	if _, err := io.ReadFull(conn, size); err != nil {
		return nil, err
	}
	n := binary.BigEndian.Uint32(size)
	if n < 4 || n > maxMessage {
		return nil, fmt.Errorf("a message of %d bytes", n)
	}
	message := append(append(make([]byte, 0, len(head)+int(n)), head...), size...)
	message = message[:len(head)+int(n)]
	_, err := io.ReadFull(conn, message[len(head)+4:])
	return message, err
}
