package sqldb

import (
	"context"
	"database/sql"
	"fmt"
	"sync"
	"sync/atomic"
)

// What SQLite commits goes to a log beside the book (-wal) and is carried over
// into the book later. By itself it does that at the end of some commit, which
// then takes as long as a hundred others. So another connection carries over
// while the writer goes on, and the writer only what was added in the meantime;
// then the log begins anew.

// walPages is how many pages of 4 KiB wait in the log before they are carried
// over: 128 MiB. Pages written many times in between are carried over once: of all
// bytes written to a book of half a million postings, 4000 pages cost a third
// more, and four times as many would save a fifth.
const walPages = 32 << 10

// walLimit is where the writer stops to carry over what nothing else has: 256 MiB.
// The log grows beyond only while a reader holds an old state of the book.
const walLimit = 2 * walPages

// carrier carries the log over beside the writer. What it fails to do, for want
// of disk say, is left to the writer, whose caller is told.
type carrier struct {
	conn      *sql.DB       // one connection, its own
	pages     int64         // that wait before they are carried over
	committed chan struct{} // room for one: something was committed since
	rest      atomic.Bool   // most is carried over, and the writer is to do the rest
	stop      chan struct{}
	stopOnce  sync.Once
	running   sync.WaitGroup
}

func newCarrier(conn *sql.DB) *carrier {
	c := &carrier{conn: conn, pages: walPages, committed: make(chan struct{}, 1), stop: make(chan struct{})}
	c.running.Go(c.run)
	return c
}

func (c *carrier) run() {
	for {
		select {
		case <-c.stop:
			return
		case <-c.committed:
			c.carry(context.Background())
		}
	}
}

// carry carries the log over where enough waits in it.
func (c *carrier) carry(ctx context.Context) {
	if waiting, err := carryOver(ctx, c.conn, "NOOP"); err != nil || waiting < c.pages {
		return
	}
	if _, err := carryOver(ctx, c.conn, "PASSIVE"); err == nil {
		c.rest.Store(true)
	}
}

// afterCommit is called after each commit, while nothing else writes.
func (c *carrier) afterCommit(ctx context.Context, writer *sql.DB) {
	if c.rest.CompareAndSwap(true, false) {
		_, _ = carryOver(ctx, writer, "PASSIVE") // where it fails, carry will find it waiting
		return
	}
	select {
	case c.committed <- struct{}{}:
	default:
	}
}

func (c *carrier) close() error {
	c.halt()
	return c.conn.Close()
}

// halt ends run; it may be called more than once.
func (c *carrier) halt() {
	c.stopOnce.Do(func() { close(c.stop) })
	c.running.Wait()
}

// carryOver runs a checkpoint in one of SQLite's modes (NOOP only looks) and
// returns how many pages wait in the log afterwards.
func carryOver(ctx context.Context, conn *sql.DB, mode string) (int64, error) {
	var busy, pages, carried int64
	if err := conn.QueryRowContext(ctx, "PRAGMA wal_checkpoint("+mode+")").Scan(&busy, &pages, &carried); err != nil {
		return 0, fmt.Errorf("carry SQLite's log over: %w", err)
	}
	return pages - carried, nil
}
