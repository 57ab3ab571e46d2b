package engine

import (
	"context"
	"errors"
	"fmt"

	"tweetledger/internal/sqldb"
	"tweetledger/ledger"
)

// ExpireHolds releases what remains of the pending holds whose time has come, at
// most limit of them (1 to MaxPage), and returns how many it ended. Any number of
// nodes may run it at once, beside callers who post or void the same holds: its
// key follows from the hold, and a hold that somebody else has ended is left as it
// is. One that fails does not keep the others; the error joins all failures.
func (e *Engine) ExpireHolds(ctx context.Context, limit int) (int, error) {
	var due []ledger.Hold
	err := e.db.Read(ctx, func(ctx context.Context, tx *sqldb.Tx) error {
		var err error
		due, err = e.DueHolds(ctx, tx, limit)
		return err
	})
	if err != nil || len(due) == 0 {
		return 0, asLedgerError(err)
	}
	requests := make([]ledger.Request, len(due))
	for i, h := range due {
		requests[i] = ledger.VoidHoldRequest{Key: ledger.ExpiryKey(h.ID), HoldID: h.ID, Expired: true}
	}
	outcomes, err := e.Submit(ctx, requests)
	if err != nil {
		return 0, fmt.Errorf("expire %d holds: %w", len(due), err)
	}
	expired := 0
	var failures error
	for i, out := range outcomes {
		switch {
		case ledger.CodeOf(out.Err) == ledger.CodeHoldClosed: // somebody was faster
		case out.Err != nil:
			failures = errors.Join(failures, fmt.Errorf("expire hold %s: %w", due[i].ID, out.Err))
		case !out.Replayed:
			expired++
		}
	}
	return expired, failures
}
