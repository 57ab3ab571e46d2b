package engine

import (
	"context"
	"sort"

	"tweetledger/internal/sqldb"
)

// What the tests in package engine_test need of the inside.

const (
	MaxBatchPostings = maxBatchPostings
	MaxBulkPostings  = maxBulkPostings
	MaxQueue         = maxQueue
	MaxDifferences   = maxDifferences
	SlotBits         = slotBits
	CautiousBatches  = cautiousBatches
)

// Queued returns how many requests wait for the next batch.
func (e *Engine) Queued() int { return len(e.queue) }

// Closing is closed once Close was called.
func (e *Engine) Closing() <-chan struct{} { return e.closing }

// AsLedgerError exposes how failures of the database are told to callers.
func AsLedgerError(err error) error { return asLedgerError(err) }

// Shard returns the shard of hot accounts that e writes.
func (e *Engine) Shard(shards int) int { return e.shard % shards }

// Hope lets the next batch write before it looks.
func (e *Engine) Hope() { e.caution.Store(0) }

// BeCautious lets all batches look before they write.
func (e *Engine) BeCautious() { e.caution.Store(1 << 32) }

// SealedPostings is the query that reads all sealed postings.
const SealedPostings = sealedPostings

// ProvedHolds is the query that reads all holds with what was posted of them.
func ProvedHolds(tx *sqldb.Tx) string { return provedHolds(tx) }

// MergeCandidates returns the pages that a list looks at, of those sealed, which are
// found some at a time, and those that wait.
func MergeCandidates(ctx context.Context, sealed, waiting []int64) ([]int64, error) {
	c := candidates{waiting: waiting, more: func(_ context.Context, _ *sqldb.Tx, after int64) ([]int64, error) {
		rest := sealed[sort.Search(len(sealed), func(i int) bool { return sealed[i] > after }):]
		return rest[:min(len(rest), candidateRead)], nil
	}}
	var all []int64
	for {
		pages, err := c.next(ctx, nil)
		if err != nil || len(pages) == 0 {
			return all, err
		}
		all = append(all, pages...)
	}
}
