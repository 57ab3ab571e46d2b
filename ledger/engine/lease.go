package engine

import (
	"context"
	"fmt"
	"time"

	"tweetledger/internal/sqldb"
	"tweetledger/ledger"
)

// Lease is the right to do a job that only one process may do at a time, until
// ExpiresAt. Its token goes up with each new holder: what a former holder, who
// believes that it still has the lease, writes with an older token is refused.
type Lease struct {
	Name      string // of the job: "sealer"
	Holder    string // of the process: host and process number, say
	Token     int64
	ExpiresAt time.Time // UTC
}

// Bounds of a lease.
const (
	minLease      = time.Second
	maxLease      = time.Hour
	maxLeaseName  = 40
	maxLeaseOwner = 200
)

// AcquireLease takes the lease of a job, or extends it where holder has it
// already. It reports false, with who holds it, while another one's has not
// expired.
func (e *Engine) AcquireLease(ctx context.Context, name, holder string, ttl time.Duration) (Lease, bool, error) {
	if !ledger.Printable(name, maxLeaseName) || !ledger.Printable(holder, maxLeaseOwner) || ttl < minLease || ttl > maxLease {
		return Lease{}, false, ledger.Errorf(ledger.CodeInvalid, "a lease has a name of 1 to %d bytes, a holder of 1 to %d, and lasts %s to %s",
			maxLeaseName, maxLeaseOwner, minLease, maxLease)
	}
	var lease Lease
	var got bool
	err := e.db.WriteIdempotent(ctx, func(ctx context.Context, tx *sqldb.Tx) error {
		now := e.Now()
		wanted := Lease{Name: name, Holder: holder, Token: 1, ExpiresAt: now.Add(ttl)}
		found, err := findLease(ctx, tx, name)
		if sqldb.IsNoRows(err) {
			lease, got = wanted, true
			_, err := tx.Exec(ctx, "INSERT INTO leases (name, holder, token, expires_at) VALUES ($1, $2, $3, $4)",
				wanted.Name, wanted.Holder, wanted.Token, wanted.ExpiresAt)
			return takenSince(err)
		}
		if err != nil {
			return err
		}
		if found.Holder != holder && now.Before(found.ExpiresAt) {
			lease, got = found, false
			return nil
		}
		wanted.Token = found.Token
		if found.Holder != holder || !now.Before(found.ExpiresAt) {
			wanted.Token++
		}
		count, err := tx.Exec(ctx, "UPDATE leases SET holder = $1, token = $2, expires_at = $3 WHERE name = $4 AND token = $5",
			wanted.Holder, wanted.Token, wanted.ExpiresAt, name, found.Token)
		lease, got = wanted, count == 1
		return err
	})
	if err != nil {
		return Lease{}, false, fmt.Errorf("acquire lease %s: %w", name, asLedgerError(err))
	}
	return lease, got, nil
}

// ReleaseLease gives a lease back before it expires. One that was lost is left alone.
func (e *Engine) ReleaseLease(ctx context.Context, lease Lease) error {
	err := e.db.WriteIdempotent(ctx, func(ctx context.Context, tx *sqldb.Tx) error {
		_, err := tx.Exec(ctx, "UPDATE leases SET expires_at = $1 WHERE name = $2 AND token = $3 AND holder = $4",
			e.Now(), lease.Name, lease.Token, lease.Holder)
		return err
	})
	if err != nil {
		return fmt.Errorf("release lease %s: %w", lease.Name, asLedgerError(err))
	}
	return nil
}

func findLease(ctx context.Context, tx *sqldb.Tx, name string) (Lease, error) {
	var l Lease
	err := tx.QueryRow(ctx, "SELECT name, holder, token, expires_at FROM leases WHERE name = $1"+tx.ForUpdate(), []any{name},
		&l.Name, &l.Holder, &l.Token, &l.ExpiresAt)
	return l, err
}

// Check refuses with CodeConflict where another holder has had the lease since.
// It locks the lease, so that what tx writes is written under it.
func (l Lease) Check(ctx context.Context, tx *sqldb.Tx) error {
	found, err := findLease(ctx, tx, l.Name)
	if err != nil && !sqldb.IsNoRows(err) {
		return fmt.Errorf("check lease %s: %w", l.Name, err)
	}
	if found.Token != l.Token || found.Holder != l.Holder {
		return ledger.Errorf(ledger.CodeConflict, "the lease %s has gone to %s (token %d after %d); acquire it again",
			l.Name, found.Holder, found.Token, l.Token)
	}
	return nil
}
