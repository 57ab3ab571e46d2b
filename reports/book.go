package reports

import (
	"context"
	"fmt"

	"github.com/google/uuid"

	"tweetledger/internal/sqldb"
	"tweetledger/ledger"
	"tweetledger/ledger/engine"
)

// book answers what reports ask of the accounts again and again within one
// snapshot: what an account is, and which account of the chart it is on a date.
type book struct {
	tx       *sqldb.Tx
	accounts map[uuid.UUID]ledger.Account
	charts   map[ledger.Date]map[ledger.Category]ledger.ChartEntry
}

func newBook(tx *sqldb.Tx) *book {
	return &book{
		tx:       tx,
		accounts: map[uuid.UUID]ledger.Account{},
		charts:   map[ledger.Date]map[ledger.Category]ledger.ChartEntry{},
	}
}

// loadAll reads every account.
func (b *book) loadAll(ctx context.Context) error {
	after := ""
	for {
		page, err := engine.ListAccounts(ctx, b.tx, engine.AccountFilter{AfterCode: after, Limit: engine.MaxPage})
		if err != nil {
			return err
		}
		for _, a := range page {
			b.accounts[a.ID] = a
			after = a.Code
		}
		if len(page) < engine.MaxPage {
			return nil
		}
	}
}

// loadParties reads the accounts that transactions post to, where they are not
// known yet.
func (b *book) loadParties(ctx context.Context, transactions []ledger.Transaction) error {
	missing := map[uuid.UUID]struct{}{}
	for _, t := range transactions {
		for _, p := range t.Postings {
			for _, id := range []uuid.UUID{p.Debit, p.Credit} {
				if _, known := b.accounts[id]; !known {
					missing[id] = struct{}{}
				}
			}
		}
	}
	ids := make([]uuid.UUID, 0, len(missing))
	for id := range missing {
		ids = append(ids, id)
	}
	found, err := engine.FindAccounts(ctx, b.tx, ids)
	if err != nil {
		return err
	}
	for id, a := range found {
		b.accounts[id] = a
	}
	return nil
}

// account returns an account that was loaded.
func (b *book) account(id uuid.UUID) (ledger.Account, error) {
	a, ok := b.accounts[id]
	if !ok {
		return ledger.Account{}, fmt.Errorf("postings name account %s, which the book does not have; run `tweetledger verify`", id)
	}
	return a, nil
}

// entry returns the account of the chart that a category is on a date, and
// whether it has one. The newest chart serves all dates since its entries began.
func (b *book) entry(ctx context.Context, category ledger.Category, on ledger.Date) (ledger.ChartEntry, bool, error) {
	newest, err := b.chart(ctx, lastDate)
	if err != nil {
		return ledger.ChartEntry{}, false, err
	}
	entry, ok := newest[category]
	if !ok || entry.ValidFrom.Compare(on) <= 0 {
		return entry, ok, nil
	}
	then, err := b.chart(ctx, on)
	if err != nil {
		return ledger.ChartEntry{}, false, err
	}
	entry, ok = then[category]
	return entry, ok, nil
}

func (b *book) chart(ctx context.Context, on ledger.Date) (map[ledger.Category]ledger.ChartEntry, error) {
	if chart, ok := b.charts[on]; ok {
		return chart, nil
	}
	chart, err := engine.Chart(ctx, b.tx, on)
	if err != nil {
		return nil, err
	}
	b.charts[on] = chart
	return chart, nil
}

// numberCells returns number and label of an account in the chart as cells. A
// category without an entry shows its own name, so that it is seen.
func numberCells(entry ledger.ChartEntry, ok bool, category ledger.Category) []any {
	if !ok {
		return []any{nil, unmapped(category)}
	}
	return []any{entry.Number, entry.Label}
}

func unmapped(category ledger.Category) string { return "(" + string(category) + ")" }

// EntryNumber names the place of a transaction in the sealed journal by journal,
// fiscal year and number, "OD-2026-17": no other has it. It is "" until sealing.
func EntryNumber(t ledger.Transaction) string {
	if t.Number == 0 {
		return ""
	}
	return fmt.Sprintf("%s-%d-%d", t.Journal, t.FiscalYear, t.Number)
}

// entryText is a transaction's entry number as a cell.
func entryText(t ledger.Transaction) any {
	if number := EntryNumber(t); number != "" {
		return number
	}
	return nil
}

// idText is an id as a cell; Nil is none.
func idText(id uuid.UUID) any {
	if id == uuid.Nil {
		return nil
	}
	return id.String()
}

// sourceText names what gave rise to a transaction: "twitter:1234".
func sourceText(s ledger.Source) any {
	if s.Channel == "" && s.ID == "" {
		return nil
	}
	return s.Channel + ":" + s.ID
}
