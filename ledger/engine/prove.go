package engine

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"fmt"

	"tweetledger/internal/sqldb"
	"tweetledger/ledger"
)

// chainWalk recomputes one chain of the sealed journal from the transactions that
// its seals name, and names each entry that does not bear the chain out.
type chainWalk struct {
	tx     *sqldb.Tx
	report *Report
	chain  chain
	number int64 // of the last entry that was read
	link   [sha256.Size]byte
	// published are the links that heads published earlier say, by number.
	published map[int64][sha256.Size]byte
	totals    func(ledger.Transaction) error // is told every transaction
}

func (w *chainWalk) subject(n int64) string {
	return fmt.Sprintf("entry %d of journal %s of %d", n, w.chain.journal, w.chain.fiscalYear)
}

// storedRun is a row of seals as it was read.
type storedRun struct {
	first, last, page    int64
	lines, entries, link []byte
}

// sealRows bounds the rows of seals that are read at once, and chunkPostings the
// postings of their pages.
const sealRows = 500

// next reads on after the last entry: a bounded number of seals, with their pages.
// It reports false at the end of the chain.
func (w *chainWalk) next(ctx context.Context, starts fiscalYearOf) (bool, error) {
	runs, err := sqldb.Collect(ctx, w.tx, fmt.Sprintf(`SELECT s.first_number, s.last_number, s.page_id, s.lines, s.entries, s.link FROM seals AS s
		WHERE s.journal = $1 AND s.fiscal_year = $2 AND s.first_number > $3 ORDER BY s.first_number LIMIT %d`, sealRows),
		[]any{w.chain.journal, int64(w.chain.fiscalYear), w.number}, func(rows *sqldb.Rows) (storedRun, error) {
			var r storedRun
			err := rows.Scan(&r.first, &r.last, &r.page, &r.lines, &r.entries, &r.link)
			return r, err
		})
	if err != nil || len(runs) == 0 {
		return false, err
	}
	entries := int64(0)
	for i, r := range runs {
		if entries += r.last - r.first + 1; i > 0 && entries > sealPostings {
			runs = runs[:i]
			break
		}
	}
	pages := make([]int64, len(runs))
	for i, r := range runs {
		pages[i] = r.page
	}
	byPage, err := transactionsOnPages(ctx, w.tx, pages)
	if err != nil {
		return false, err
	}
	for _, r := range runs {
		if err := w.run(r, byPage[r.page], starts); err != nil {
			return false, err
		}
	}
	return true, nil
}

// fiscalYearOf tells the fiscal year of a date.
type fiscalYearOf func(ledger.Date) int

// run recomputes one row of seals.
func (w *chainWalk) run(r storedRun, page []ledger.Transaction, starts fiscalYearOf) error {
	if r.first != w.number+1 {
		w.report.add(w.subject(w.number+1), "seal", "there", fmt.Sprintf("missing; the next one is of entry %d", r.first))
	}
	w.number = r.first - 1
	at := map[int64]ledger.Transaction{}
	unsealed := map[int64]bool{}
	for _, t := range page {
		at[t.Place.Line] = t
		unsealed[t.Place.Line] = t.Journal == w.chain.journal && starts(t.EffectiveDate) == w.chain.fiscalYear
	}
	for i := int64(0); i <= r.last-r.first; i++ {
		line := int64(binary.BigEndian.Uint32(r.lines[4*i:]))
		stored := [sha256.Size]byte(r.entries[sha256.Size*i:])
		w.number++
		t, ok := at[line]
		delete(unsealed, line)
		switch {
		case !ok:
			w.report.add(w.subject(w.number), "transaction", "on page "+fmt.Sprint(r.page)+", line "+fmt.Sprint(line), "missing")
		case ledger.EntryHash(w.chain.journal, w.chain.fiscalYear, w.number, t) != stored:
			w.report.add(w.subject(w.number)+", transaction "+t.ID.String(), "content", "as it was sealed", "changed since")
		}
		if ok && w.totals != nil {
			if err := w.totals(t); err != nil {
				return err
			}
		}
		w.link = ledger.NextLink(w.link, stored)
		if published, ok := w.published[w.number]; ok && published != w.link {
			w.report.add(w.subject(w.number), "link of the chain", fmt.Sprintf("%x, as it was published", published), fmt.Sprintf("%x", w.link))
		}
	}
	for line, is := range unsealed {
		if is {
			w.report.add(fmt.Sprintf("transaction %s on page %d, line %d", at[line].ID, r.page, line), "seal",
				"a number in journal "+w.chain.journal, "inserted after the page was sealed")
		}
	}
	if !bytes.Equal(r.link, w.link[:]) {
		w.report.add(w.subject(r.last), "link of the chain", fmt.Sprintf("%x", w.link), fmt.Sprintf("%x", r.link))
		copy(w.link[:], r.link) // so that each fault is named once
	}
	return nil
}

// end compares the end of the chain with its stored head.
func (w *chainWalk) end(head ledger.Head) {
	if head.Number != w.number || head.Link != w.link {
		w.report.add(fmt.Sprintf("journal %s of %d", w.chain.journal, w.chain.fiscalYear), "head",
			fmt.Sprintf("entry %d, link %x", w.number, w.link), fmt.Sprintf("entry %d, link %x", head.Number, head.Link))
	}
	for n := range w.published {
		if n > w.number {
			w.report.add(w.subject(n), "seal", "there, as it was published", "missing")
		}
	}
}
