package engine_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/google/uuid"

	"tweetledger/internal/sqldb"
	"tweetledger/internal/sqldb/sqltest"
	"tweetledger/ledger"
	"tweetledger/ledger/engine"
	"tweetledger/ledger/ledgertest"
)

// book gives the conformance suite the few queries that are package functions.
type book struct{ *engine.Engine }

func (b book) Balance(ctx context.Context, account uuid.UUID) (balance ledger.Balance, err error) {
	err = b.DB().Read(ctx, func(ctx context.Context, tx *sqldb.Tx) error {
		balance, err = engine.FindBalance(ctx, tx, account)
		return err
	})
	return balance, err
}

func (b book) BalanceAsOf(ctx context.Context, account uuid.UUID, date ledger.Date, recorded time.Time) (balance ledger.Balance, err error) {
	err = b.DB().Read(ctx, func(ctx context.Context, tx *sqldb.Tx) error {
		balance, err = engine.BalanceAsOf(ctx, tx, account, engine.AsOf{EffectiveDate: date, RecordedAt: recorded})
		return err
	})
	return balance, err
}

func (b book) HoldByID(ctx context.Context, id uuid.UUID) (hold ledger.Hold, err error) {
	err = b.DB().Read(ctx, func(ctx context.Context, tx *sqldb.Tx) error {
		hold, err = engine.FindHold(ctx, tx, id)
		return err
	})
	return hold, err
}

func (b book) Verify(ctx context.Context) error {
	report, err := b.Engine.Verify(ctx, nil)
	if err != nil {
		return err
	}
	var differences []error
	for _, d := range report.Differences {
		differences = append(differences, errors.New(d.String()))
	}
	return errors.Join(differences...)
}

func TestConformance(t *testing.T) {
	sqltest.Core(t, func(t *testing.T, db *sqldb.DB) {
		sqltest.PartOfChecks(t, db.Engine())
		ledgertest.Run(t, ledgertest.Harness{Open: func(t *testing.T, n int, clock func() time.Time) []ledgertest.Book {
			books := make([]ledgertest.Book, n)
			for i := range books {
				e := engine.New(db, engine.Options{Clock: clock})
				t.Cleanup(e.Close)
				books[i] = book{e}
			}
			return books
		}})
	})
}
