package main

import (
	"context"
	"fmt"

	"tweetledger/internal/sqldb"
	"tweetledger/ledger"
	"tweetledger/ledger/engine"
)

// beginWith adds to the refusal to close a period the command that has to be given
// first, where earlier periods keep it open: each of them would refuse in its turn,
// so that it is that of the earliest.
func beginWith(ctx context.Context, book *engine.Engine, refusal error, id string, to ledger.PeriodStatus) error {
	var command string
	err := book.DB().Read(ctx, func(ctx context.Context, tx *sqldb.Tx) error {
		var err error
		command, err = firstClosing(ctx, tx, book, id, to)
		return err
	})
	if err != nil || command == "" {
		return refusal
	}
	return fmt.Errorf("%w; begin with: tweetledger %s", refusal, command)
}

// firstClosing returns the closing that has to come before that of a period, or "".
func firstClosing(ctx context.Context, tx *sqldb.Tx, book *engine.Engine, id string, to ledger.PeriodStatus) (string, error) {
	p, err := book.FindPeriod(ctx, tx, id)
	if err != nil {
		return "", err
	}
	if !p.To.Before(book.Today()) {
		return "", nil // nothing helps but to wait
	}
	posted, err := engine.ListTransactions(ctx, tx, engine.TransactionFilter{To: p.From.AddDays(-1), Limit: 1})
	if err != nil {
		return "", err
	}
	for len(posted) > 0 {
		year := book.FiscalYearOf(posted[0].EffectiveDate)
		periods, err := book.ListPeriods(ctx, tx, year)
		if err != nil {
			return "", err
		}
		earlier, last := periods[0], periods[len(periods)-1]
		for _, one := range periods {
			if one.From.Compare(posted[0].EffectiveDate) <= 0 {
				earlier = one
			}
		}
		if step := closingStep(earlier, to, earlier.ID == last.ID); step != "" {
			return step, nil
		}
		posted, err = engine.ListTransactions(ctx, tx, engine.TransactionFilter{From: earlier.To.AddDays(1), To: p.From.AddDays(-1), Limit: 1})
		if err != nil {
			return "", err
		}
	}
	if endsYear := book.FiscalYearOf(p.To.AddDays(1)).Year != p.FiscalYear; to == ledger.PeriodHardClosed && p.Status == ledger.PeriodOpen && !endsYear {
		return "period close " + p.ID + " --soft", nil // which closing the year does by itself
	}
	return "", nil
}

// closingStep returns the command that brings a period with postings nearer to a
// state, or "" where it has that.
func closingStep(p ledger.Period, to ledger.PeriodStatus, endsYear bool) string {
	switch {
	case p.Status == ledger.PeriodHardClosed || p.Status == to:
		return ""
	case p.Status == ledger.PeriodOpen:
		return "period close " + p.ID + " --soft"
	case endsYear:
		return fmt.Sprintf("year close %d", p.FiscalYear)
	default:
		return "period close " + p.ID + " --hard"
	}
}
