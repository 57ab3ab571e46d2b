package sqltest

import (
	"context"
	"io"
	"net"
	"net/url"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"tweetledger/internal/sqldb"
)

// Fault is what a Proxy does to a connection when its client has a statement
// carried out.
type Fault int

// The faults. Where the server acts on the statement, the Proxy waits until it
// has, so that a test knows what became of it; after CutSent nobody knows.
const (
	Pass            Fault = iota
	CutBefore             // the connection breaks before the server hears of the statement
	CutDuring             // it breaks when half of the statement has been said; the server may answer that
	CutSent               // it breaks as soon as the statement is on its way
	CutAfter              // it breaks when the server has acted, before the client learns of it
	HalfCloseServer       // instead of the statement the server hears that the client says no more
	HalfCloseClient       // the server acts; the client hears the end of the stream, and may still write
	Silence               // the server acts; the client hears nothing more until it gives up
	Doubt                 // the server acts; the client is told 40003, the result is ambiguous
	Delay                 // the statement reaches the server after ProxyDelay
)

// ProxyDelay is how long Delay holds a statement back: longer than any commit
// of a test takes, so that others overtake.
const ProxyDelay = 30 * time.Millisecond

// String returns the fault's name.
func (f Fault) String() string {
	return [...]string{"pass", "cut before", "cut during", "cut sent", "cut after", "half-close server", "half-close client",
		"silence", "doubt", "delay"}[f]
}

// acts reports whether the server gets all of the statement.
func (f Fault) acts() bool {
	switch f {
	case CutSent, CutAfter, HalfCloseClient, Silence, Doubt:
		return true
	}
	return false
}

// Proxy stands on the loopback address between a program and its PostgreSQL or
// CockroachDB, and breaks connections where a test asks for it. It speaks just
// enough of the protocol that both share to see which statement is carried out,
// and where its answer ends.
type Proxy struct {
	rawURL           string
	network, address string // of the server
	listener         net.Listener
	closed           chan struct{}
	down             atomic.Bool

	mu     sync.Mutex
	open   map[net.Conn]bool
	decide func(statement string) Fault
	struck func(f Fault)
	counts map[Fault]int
}

// NewProxy starts a proxy before the server of the database at rawURL. It ends
// with the test.
func NewProxy(t testing.TB, rawURL string) *Proxy {
	t.Helper()
	u, err := url.Parse(rawURL)
	if err != nil {
		t.Fatal(err)
	}
	direct := *u
	direct.Scheme = "postgres" // the one that pgx knows
	config, err := pgx.ParseConfig(direct.String())
	if err != nil {
		t.Fatal(err)
	}
	p := &Proxy{closed: make(chan struct{}), open: map[net.Conn]bool{}, counts: map[Fault]int{}}
	p.network, p.address = pgconn.NetworkAddress(config.Host, config.Port)
	if p.listener, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
		t.Fatal(err)
	}
	query := u.Query()
	query.Del("host")
	query.Del("port")
	query.Set("sslmode", "disable") // what is encrypted cannot be cut at the right place
	u.Host, u.RawQuery = p.listener.Addr().String(), query.Encode()
	p.rawURL = u.String()
	var serving sync.WaitGroup
	serving.Go(func() { p.serve(t, &serving) })
	t.Cleanup(func() {
		close(p.closed)
		_ = p.listener.Close()
		p.breakAll()
		serving.Wait()
	})
	return p
}

// ThroughProxy opens the database at rawURL through a proxy of its own.
func ThroughProxy(t testing.TB, rawURL string) (*Proxy, *sqldb.DB) {
	t.Helper()
	p := NewProxy(t, rawURL)
	ctx, cancel := context.WithTimeout(context.Background(), statementTimeout)
	defer cancel()
	db, err := sqldb.Open(ctx, p.URL())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	return p, db
}

// URL returns the database's URL by way of the proxy.
func (p *Proxy) URL() string { return p.rawURL }

// Decide lets fn decide about every statement, one at a time. It is asked when
// the statement is carried out, not when it is prepared.
func (p *Proxy) Decide(fn func(statement string) Fault) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.decide = fn
}

// Once strikes the next statement that match picks, and lets all others pass.
func (p *Proxy) Once(f Fault, match func(statement string) bool) {
	done := false
	p.Decide(func(statement string) Fault {
		if done || !match(statement) {
			return Pass
		}
		done = true
		return f
	})
}

// OnStrike has fn called each time the proxy strikes: for faults after which the
// server acts once it has, before the client is told.
func (p *Proxy) OnStrike(fn func(f Fault)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.struck = fn
}

// Strikes returns how often a fault has struck, and Count how often that one has.
func (p *Proxy) Strikes() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	total := 0
	for _, n := range p.counts {
		total += n
	}
	return total
}

// Count returns how often f has struck.
func (p *Proxy) Count(f Fault) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.counts[f]
}

// SetDown breaks all connections and refuses new ones, or allows them again.
func (p *Proxy) SetDown(down bool) {
	p.down.Store(down)
	if down {
		p.breakAll()
	}
}

func (p *Proxy) breakAll() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for conn := range p.open {
		_ = conn.Close()
	}
}

// keep notes an open connection; one that comes while all are being broken is
// broken too.
func (p *Proxy) keep(conn net.Conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.open[conn] = true
	select {
	case <-p.closed:
		_ = conn.Close()
	default:
		if p.down.Load() {
			_ = conn.Close()
		}
	}
}

func (p *Proxy) drop(conn net.Conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.open, conn)
	_ = conn.Close()
}

func (p *Proxy) serve(t testing.TB, serving *sync.WaitGroup) {
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
		c := &proxied{Proxy: p, client: client, server: server, answered: make(chan struct{}, 1), serverGone: make(chan struct{})}
		c.expected.Store(1) // the server is ready once the client is let in
		serving.Go(c.fromClient)
		serving.Go(c.fromServer)
	}
}

// judge decides about a statement.
func (p *Proxy) judge(statement string) Fault {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.decide == nil {
		return Pass
	}
	return p.decide(statement)
}

func (p *Proxy) strike(f Fault) {
	p.mu.Lock()
	p.counts[f]++
	struck := p.struck
	p.mu.Unlock()
	if struck != nil {
		struck(f)
	}
}

// proxied is one connection through the proxy.
type proxied struct {
	*Proxy
	client, server net.Conn
	expected       atomic.Int64  // how often the server has yet to say that it is ready
	mute           atomic.Bool   // what the server says is not for the client
	answered       chan struct{} // the server is ready, and the client was not told
	serverGone     chan struct{} // closed when the server says no more
	said           statements
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
	fault := Pass // that strikes once the server has all of the statement
	for {
		kind, message, err := readMessage(c.client)
		if err != nil {
			return
		}
		if statement, ok := c.said.carriedOut(kind, message[5:]); ok && fault == Pass {
			fault = c.judge(statement)
			if !c.before(fault, message) {
				return
			}
			if !fault.acts() {
				fault = Pass
			}
		}
		whole := kind == 'Q' || kind == 'S' // the server answers up to here
		if whole {
			c.expected.Add(1)
			if fault.acts() {
				c.mute.Store(true)
			}
		}
		if _, err := c.server.Write(message); err != nil {
			return
		}
		if whole && fault.acts() {
			if !c.after(fault) {
				return
			}
			fault = Pass
		}
	}
}

// before strikes with what comes before the server has the message, and reports
// whether the message is to be sent to it.
func (c *proxied) before(f Fault, message []byte) bool {
	switch f {
	case CutBefore:
		c.strike(f)
		return false
	case CutDuring:
		c.strike(f)
		_, _ = c.server.Write(message[:len(message)/2])
		c.sayNoMore()
		return false
	case HalfCloseServer:
		c.strike(f)
		c.sayNoMore()
		return false
	case Delay:
		c.strike(f)
		timer := time.NewTimer(ProxyDelay)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-c.closed:
		}
	}
	return true
}

// sayNoMore ends what the client says, and lets the server have the last word.
func (c *proxied) sayNoMore() {
	_ = halfClose(c.server)
	_, _ = io.Copy(io.Discard, c.client) // until the server has closed its side
}

// after strikes when the server has the statement, and reports whether the
// connection lives on.
func (c *proxied) after(f Fault) bool {
	if f != CutSent {
		select {
		case <-c.answered:
		case <-c.serverGone:
		}
	}
	c.strike(f)
	switch f {
	case HalfCloseClient:
		_ = halfClose(c.client)
		_, _ = io.Copy(io.Discard, c.client)
	case Silence:
		_, _ = io.Copy(io.Discard, c.client)
	case Doubt:
		c.mute.Store(false)
		_, err := c.client.Write(ambiguousResult())
		return err == nil
	}
	return false
}

func (c *proxied) fromServer() {
	defer close(c.serverGone)
	// A client that is to hear nothing does not hear of the end either.
	defer func() {
		if !c.mute.Load() {
			c.end()
		}
	}()
	for {
		kind, message, err := readMessage(c.server)
		if err != nil {
			return
		}
		ready := kind == 'Z' && c.expected.Add(-1) == 0
		if c.mute.Load() {
			if ready {
				c.answered <- struct{}{}
			}
			continue
		}
		if _, err := c.client.Write(message); err != nil {
			return
		}
	}
}

func halfClose(conn net.Conn) error {
	return conn.(interface{ CloseWrite() error }).CloseWrite() // TCP and Unix sockets have it
}
