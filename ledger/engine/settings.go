package engine

import (
	"context"
	"fmt"
	"strings"
	"time"

	"tweetledger/internal/sqldb"
	"tweetledger/ledger"
)

// Open is New for a book as it was made: fiscal years begin in the month that the
// book keeps. Where opts names another one, the error has CodeConflict: entries
// would be numbered in chains of other years, for ever.
func Open(ctx context.Context, db *sqldb.DB, opts Options) (*Engine, error) {
	err := db.Read(ctx, func(ctx context.Context, tx *sqldb.Tx) error {
		kept, err := keptStart(ctx, tx)
		if err != nil || kept == 0 {
			return err
		}
		if opts.FiscalYearStarts == 0 {
			opts.FiscalYearStarts = kept
		}
		return agree(kept, opts.FiscalYearStarts)
	})
	if err != nil {
		return nil, asLedgerError(err)
	}
	return New(db, opts), nil
}

// KeepSettings makes the book keep the month in which its fiscal years begin, the
// engine's, unless it keeps one already; another one is CodeConflict. Sealing and
// closing do this first. A book that was sealed or closed before it kept the month
// must bear the engine's out.
func (e *Engine) KeepSettings(ctx context.Context) error {
	if e.kept.Load() {
		return nil
	}
	err := e.db.WriteIdempotent(ctx, func(ctx context.Context, tx *sqldb.Tx) error {
		kept, err := keptStart(ctx, tx)
		if err != nil {
			return err
		}
		if kept != 0 {
			return agree(kept, e.starts)
		}
		if err := e.bornOut(ctx, tx); err != nil {
			return err
		}
		_, err = tx.Exec(ctx, "INSERT INTO book_settings (id, fiscal_year_starts) VALUES (1, $1)", int64(e.starts))
		if err != nil {
			return fmt.Errorf("keep the settings of the book: %w", takenSince(err))
		}
		return nil
	})
	if err != nil {
		return asLedgerError(err)
	}
	e.kept.Store(true) // it never changes
	return nil
}

// keptStart returns the month in which fiscal years of the book begin, or zero
// where it keeps none.
func keptStart(ctx context.Context, tx *sqldb.Tx) (time.Month, error) {
	var month int64
	err := tx.QueryRow(ctx, "SELECT fiscal_year_starts FROM book_settings WHERE id = 1", nil, &month)
	if err != nil && !sqldb.IsNoRows(err) {
		return 0, fmt.Errorf("read the settings of the book: %w", err)
	}
	return time.Month(month), nil
}

func agree(kept, configured time.Month) error {
	if kept == configured {
		return nil
	}
	return ledger.Errorf(ledger.CodeConflict, "the fiscal years of this book begin in %s, and the configuration says %s; set it to %d there, or leave it out: the book keeps it",
		kept, configured, kept).InField("book.fiscal_year_starts")
}

// bornOut refuses the engine's month where what was sealed and closed is of fiscal
// years that begin in another one. Where it fits none at all, it was sealed with
// several: Verify names what does not fit, and the engine's is as good as any.
func (e *Engine) bornOut(ctx context.Context, tx *sqldb.Tx) error {
	type span struct {
		year        int
		first, last ledger.Date
	}
	var spans []span
	err := tx.Each(ctx, "SELECT fiscal_year, MIN(page_id), MAX(page_id) FROM seals GROUP BY fiscal_year", nil, func(rows *sqldb.Rows) error {
		var s span
		var first, last int64
		err := rows.Scan(&s.year, &first, &last)
		s.first, s.last = firstDay.AddDays(int(first>>slotBits)), firstDay.AddDays(int(last>>slotBits))
		spans = append(spans, s)
		return err
	})
	if err != nil {
		return fmt.Errorf("read the fiscal years of what is sealed: %w", err)
	}
	err = tx.Each(ctx, "SELECT fiscal_year, MIN(starts_on), MAX(ends_on) FROM periods GROUP BY fiscal_year", nil, func(rows *sqldb.Rows) error {
		var s span
		err := rows.Scan(&s.year, &s.first, &s.last)
		spans = append(spans, s)
		return err
	})
	if err != nil {
		return fmt.Errorf("read the fiscal years of what is closed: %w", err)
	}
	var fit []string
	for month := time.January; month <= time.December; month++ {
		fits := true
		for _, s := range spans {
			fits = fits && ledger.FiscalYearOf(s.first, month).Year == s.year && ledger.FiscalYearOf(s.last, month).Year == s.year
		}
		switch {
		case fits && month == e.starts:
			return nil
		case fits:
			fit = append(fit, month.String())
		}
	}
	if len(fit) == 0 {
		return nil
	}
	return ledger.Errorf(ledger.CodeConflict, "this book was sealed and closed with fiscal years that begin in %s, and the configuration says %s; set that month there",
		strings.Join(fit, " or "), e.starts).InField("book.fiscal_year_starts")
}
