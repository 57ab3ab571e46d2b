package engine

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"maps"
	"slices"

	"tweetledger/internal/sqldb"
	"tweetledger/ledger"
)

// storedRun is a row of seals as it was read.
type storedRun struct {
	first, last, page    int64
	lines, entries, link []byte
}

// chainWalk follows one chain of the sealed journal through the hashes of its
// entries, which were compared with the transactions page by page.
type chainWalk struct {
	*verifier
	chain  chain
	number int64 // of the last entry that was read
	link   [sha256.Size]byte
	// published are the links that heads published earlier say, by number: all of
	// them, as files of heads may contradict each other.
	published map[int64][][sha256.Size]byte
}

// sealRows bounds the rows of seals that are read at once.
const sealRows = 500

// readChains checks that numbers have no gap, that each link follows from the one
// before, and that the chains lead through the published heads to the stored ones;
// and that each page is either sealed or waits to be.
func (v *verifier) readChains(ctx context.Context) error {
	heads, err := v.engine.Heads(ctx, v.tx)
	if err != nil {
		return err
	}
	stored := map[chain]ledger.Head{}
	for _, h := range heads.List {
		stored[chain{h.Journal, h.FiscalYear}] = h
	}
	published := map[chain]map[int64][][sha256.Size]byte{}
	for _, h := range v.options.Published {
		c := chain{h.Journal, h.FiscalYear}
		if published[c] == nil {
			published[c] = map[int64][][sha256.Size]byte{}
		}
		if !slices.Contains(published[c][h.Number], h.Link) {
			published[c][h.Number] = append(published[c][h.Number], h.Link)
		}
		if _, ok := stored[c]; !ok {
			stored[c] = ledger.Head{Journal: c.journal, FiscalYear: c.fiscalYear, Link: ledger.ChainStart(c.journal, c.fiscalYear)}
		}
	}
	err = v.tx.Each(ctx, "SELECT DISTINCT journal, fiscal_year FROM seals", nil, func(rows *sqldb.Rows) error {
		var c chain
		err := rows.Scan(&c.journal, &c.fiscalYear)
		if _, ok := stored[c]; !ok {
			stored[c] = ledger.Head{Journal: c.journal, FiscalYear: c.fiscalYear}
		}
		return err
	})
	if err != nil {
		return err
	}
	for _, c := range sortedChains(stored) {
		w := chainWalk{verifier: v, chain: c, link: ledger.ChainStart(c.journal, c.fiscalYear), published: published[c]}
		for more := true; more; {
			if more, err = w.next(ctx); err != nil {
				return err
			}
		}
		w.end(stored[c])
	}
	if err := v.eachSealHasItsPage(ctx); err != nil {
		return err
	}
	return v.eachPageIsSealedOrWaits(ctx)
}

// eachSealHasItsPage names the entries whose page is gone from the book with all
// that lay on it: pages are verified one by one, and none is left to look at.
func (v *verifier) eachSealHasItsPage(ctx context.Context) error {
	return v.tx.Each(ctx, fmt.Sprintf(`SELECT s.journal, s.fiscal_year, s.first_number, s.last_number, s.page_id FROM seals AS s
		WHERE NOT EXISTS (SELECT 1 FROM pages AS g WHERE g.id = s.page_id) ORDER BY s.journal, s.fiscal_year, s.first_number LIMIT %d`, maxDifferences), nil,
		func(rows *sqldb.Rows) error {
			var c chain
			var first, last, page int64
			err := rows.Scan(&c.journal, &c.fiscalYear, &first, &last, &page)
			for n := first; n <= min(last, first+maxTogether); n++ { // more lie on no page
				v.report.add(c.entry(n), "transaction", fmt.Sprintf("on page %d", page), "missing, with its page")
			}
			return err
		})
}

// next reads on after the last entry. It reports false at the end of the chain.
func (w *chainWalk) next(ctx context.Context) (bool, error) {
	runs, err := sqldb.Collect(ctx, w.tx, fmt.Sprintf(`SELECT first_number, last_number, page_id, entries, link FROM seals
		WHERE journal = $1 AND fiscal_year = $2 AND first_number > $3 ORDER BY first_number LIMIT %d`, sealRows),
		[]any{w.chain.journal, int64(w.chain.fiscalYear), w.number}, func(rows *sqldb.Rows) (storedRun, error) {
			var r storedRun
			err := rows.Scan(&r.first, &r.last, &r.page, &r.entries, &r.link)
			return r, err
		})
	for _, r := range runs {
		w.run(r)
	}
	return len(runs) > 0, err
}

func (w *chainWalk) run(r storedRun) {
	if r.first != w.number+1 {
		w.report.add(w.chain.entry(w.number+1), "seal", "there", fmt.Sprintf("missing; the next one is that of entry %d", r.first))
	}
	w.number = r.first - 1
	for hashes := r.entries; len(hashes) >= sha256.Size; hashes = hashes[sha256.Size:] {
		w.number++
		w.link = ledger.NextLink(w.link, [sha256.Size]byte(hashes))
		for _, want := range w.published[w.number] {
			if want != w.link {
				w.report.add(w.chain.entry(w.number), "link of the chain", fmt.Sprintf("%x, as it was published", want), fmt.Sprintf("%x", w.link))
			}
		}
	}
	if !bytes.Equal(r.link, w.link[:]) {
		w.report.add(w.chain.entry(r.last), "link of the chain", fmt.Sprintf("%x", w.link), fmt.Sprintf("%x", r.link))
		copy(w.link[:], r.link) // so that each fault is named once
	}
}

// end compares the end of the chain with its stored head, and names published
// entries that it does not reach.
func (w *chainWalk) end(head ledger.Head) {
	if head.Number != w.number || head.Link != w.link {
		w.report.add(fmt.Sprintf("journal %s of %d", w.chain.journal, w.chain.fiscalYear), "head",
			fmt.Sprintf("entry %d, link %x", w.number, w.link), fmt.Sprintf("entry %d, link %x", head.Number, head.Link))
	}
	for _, n := range slices.Sorted(maps.Keys(w.published)) {
		if n > w.number {
			w.report.add(w.chain.entry(n), "seal", "there, as it was published", "missing")
		}
	}
}

// inClosedPeriod is what must not be of a page g that waits for the sealer: a
// period is closed when all of it is sealed, and after that takes nothing, or only
// adjustments. SQLite and PostgreSQL refuse such pages by trigger; CockroachDB, which
// has none, takes what goes past the engine, and the sealer leaves it for Verify to name.
const inClosedPeriod = `EXISTS (SELECT 1 FROM periods AS c WHERE c.status <> 'open' AND g.effective_date <= c.ends_on
	AND (c.status = 'hard_closed' OR g.adjustment = 0))`

func (v *verifier) eachPageIsSealedOrWaits(ctx context.Context) error {
	for _, check := range []struct{ condition, got string }{
		{"NOT EXISTS (SELECT 1 FROM seals AS s WHERE s.page_id = g.id) AND NOT EXISTS (SELECT 1 FROM unsealed_pages AS u WHERE u.page_id = g.id AND u.recorded_at = g.recorded_at)",
			"neither: it was inserted past the ledger, or taken off the queue"},
		{inClosedPeriod + " AND EXISTS (SELECT 1 FROM unsealed_pages AS u WHERE u.page_id = g.id AND u.recorded_at = g.recorded_at)",
			"neither: it was inserted past the ledger, after its period had been sealed and closed"},
		{"EXISTS (SELECT 1 FROM seals AS s WHERE s.page_id = g.id) AND EXISTS (SELECT 1 FROM unsealed_pages AS u WHERE u.page_id = g.id AND u.recorded_at = g.recorded_at)", "both"},
	} {
		err := v.tx.Each(ctx, fmt.Sprintf("SELECT g.id FROM pages AS g WHERE %s ORDER BY g.id LIMIT %d", check.condition, maxDifferences), nil,
			func(rows *sqldb.Rows) error {
				var id int64
				err := rows.Scan(&id)
				v.report.add(fmt.Sprintf("page %d", id), "seal", "a number in the journal, or a place in the sealer's queue", check.got)
				return err
			})
		if err != nil {
			return err
		}
	}
	return nil
}

// sealedPage is the condition that the page g has its seals.
const sealedPage = " NOT EXISTS (SELECT 1 FROM unsealed_pages AS u WHERE u.page_id = g.id AND u.recorded_at = g.recorded_at)"
