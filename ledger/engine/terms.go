package engine

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/google/uuid"

	"tweetledger/internal/sqldb"
	"tweetledger/ledger"
)

// maxTerm bounds a term, in characters: what is longer shares its pages with
// whatever begins alike.
const maxTerm = 100

// channelTerm is what the pages with transactions of a source's channel are found by.
func channelTerm(channel string) string { return clipTerm("channel:" + channel) }

// keyTerm is what those with a key of metadata are found by.
func keyTerm(key string) string { return clipTerm("key:" + key) }

// valueTerm is what those with a value under a key of metadata are found by.
func valueTerm(key, value string) string { return clipTerm("key:" + key + "=" + value) }

func clipTerm(s string) string {
	n := 0
	for i := range s {
		if n++; n > maxTerm {
			return s[:i]
		}
	}
	return s
}

// lookups is what sealed pages are found by, and how often each has it.
type lookups struct {
	amounts map[amountOnPage]int64
	terms   map[termOnPage]int64
}

type amountOnPage struct {
	amount ledger.Amount
	page   int64
}

type termOnPage struct {
	term string
	page int64
}

func newLookups() lookups {
	return lookups{amounts: map[amountOnPage]int64{}, terms: map[termOnPage]int64{}}
}

// add counts what a transaction is found by.
func (l lookups) add(t ledger.Transaction) {
	for _, p := range t.Postings {
		l.amounts[amountOnPage{p.Amount, t.Place.PageID}]++
	}
	eachTerm(t.Source.Channel, t.Metadata, func(term string) { l.terms[termOnPage{term, t.Place.PageID}]++ })
}

// sortedAmounts are in the order of their table, which is kinder to a B-tree.
func (l lookups) sortedAmounts() []amountOnPage {
	return slices.SortedFunc(maps.Keys(l.amounts), func(a, b amountOnPage) int {
		return cmp.Or(cmp.Compare(a.amount, b.amount), cmp.Compare(a.page, b.page))
	})
}

func (l lookups) sortedTerms() []termOnPage {
	return slices.SortedFunc(maps.Keys(l.terms), func(a, b termOnPage) int { return cmp.Or(cmp.Compare(a.term, b.term), cmp.Compare(a.page, b.page)) })
}

// eachTerm calls fn for what a transaction with this source and metadata is found by.
func eachTerm(channel string, metadata map[string]string, fn func(term string)) {
	if channel != "" {
		fn(channelTerm(channel))
	}
	for key, value := range metadata {
		fn(keyTerm(key))
		fn(valueTerm(key, value))
	}
}

var (
	amountTable = []sqldb.Column{{Name: "amount", Type: "int8"}, {Name: "page_id", Type: "int8"}, {Name: "postings", Type: "int8"}}
	termTable   = []sqldb.Column{{Name: "term", Type: "text"}, {Name: "page_id", Type: "int8"}, {Name: "transactions", Type: "int8"}}
)

// storeLookups writes what the pages of the round are found by.
func (s *sealer) storeLookups(ctx context.Context) error {
	amounts := s.lookups.sortedAmounts()
	err := s.tx.Insert(ctx, "page_amounts", amountTable, len(amounts), func(i int) []any {
		return []any{int64(amounts[i].amount), amounts[i].page, s.lookups.amounts[amounts[i]]}
	})
	if err != nil {
		return fmt.Errorf("store the amounts of sealed pages: %w", err)
	}
	terms := s.lookups.sortedTerms()
	err = s.tx.Insert(ctx, "page_terms", termTable, len(terms), func(i int) []any {
		return []any{terms[i].term, terms[i].page, s.lookups.terms[terms[i]]}
	})
	if err != nil {
		return fmt.Errorf("store the terms of sealed pages: %w", err)
	}
	return nil
}

// Bounds of the search for pages.
const (
	maxWaiting    = 10_000 // pages in the sealer's queue, which are looked at one by one
	maxInRange    = 10_000 // pages with an amount from one to another, which come in no order
	candidateRead = 1_000  // pages that are found at once in order
	candidateStep = 100    // pages that are looked at at once
)

// candidates are the sealed pages that may have what a filter selects, in order,
// and all that wait for the sealer.
type candidates struct {
	sealed  []int64
	waiting []int64
	last    int64 // of the sealed pages that were taken
	// more finds the sealed pages after one; nil where there are no more.
	more func(ctx context.Context, tx *sqldb.Tx, after int64) ([]int64, error)
}

// candidates finds the condition that fewest pages meet. It reports false where
// reading on in the journal, or in the account's part of it, is no worse.
func (f TransactionFilter) candidates(ctx context.Context, tx *sqldb.Tx) (candidates, bool, error) {
	if f.Source.ID != "" {
		return candidates{}, false, nil // an index leads to the few postings themselves
	}
	var best candidates
	found := false
	consider := func(c candidates, err error) error {
		if err == nil && (!found || best.more != nil && c.more == nil || (best.more == nil) == (c.more == nil) && len(c.sealed) < len(best.sealed)) {
			best, found = c, true
		}
		return err
	}
	if f.MinAmount != 0 && f.MinAmount == f.MaxAmount {
		if err := consider(f.inOrder(ctx, tx, "page_amounts", "amount", int64(f.MinAmount))); err != nil {
			return candidates{}, false, err
		}
	} else if f.MinAmount != 0 || f.MaxAmount != 0 {
		pages, ok, err := f.pagesInRange(ctx, tx)
		if err != nil {
			return candidates{}, false, err
		}
		if ok {
			best, found = candidates{sealed: pages}, true
		}
	}
	for _, term := range f.terms() {
		if err := consider(f.inOrder(ctx, tx, "page_terms", "term", term)); err != nil {
			return candidates{}, false, err
		}
	}
	if !found || best.more != nil && f.AccountID != uuid.Nil {
		return candidates{}, false, nil
	}
	var q sqldb.Where
	f.overPages(&q, "page_id")
	var err error
	best.waiting, err = readPages(ctx, tx, fmt.Sprintf("SELECT page_id FROM unsealed_pages%s LIMIT %d", q.Clause(), maxWaiting+1), q.Args)
	slices.Sort(best.waiting)
	return best, len(best.waiting) <= maxWaiting, err
}

// terms are what the filter's pages are found by, beside amounts.
func (f TransactionFilter) terms() []string {
	var terms []string
	switch {
	case f.MetadataKey != "" && f.MetadataValue != "":
		terms = append(terms, valueTerm(f.MetadataKey, f.MetadataValue))
	case f.MetadataKey != "":
		terms = append(terms, keyTerm(f.MetadataKey))
	}
	if f.Source.Channel != "" {
		terms = append(terms, channelTerm(f.Source.Channel))
	}
	return terms
}

// inOrder finds the pages with one value in a table of them.
func (f TransactionFilter) inOrder(ctx context.Context, tx *sqldb.Tx, table, column string, value any) (candidates, error) {
	var q sqldb.Where
	q.And(column+" = ?", value)
	f.overPages(&q, "page_id")
	read := func(ctx context.Context, tx *sqldb.Tx, q sqldb.Where) ([]int64, error) {
		return readPages(ctx, tx, fmt.Sprintf("SELECT page_id FROM %s%s ORDER BY page_id LIMIT %d", table, q.Clause(), candidateRead), q.Args)
	}
	c := candidates{}
	var err error
	c.sealed, err = read(ctx, tx, q)
	if len(c.sealed) == candidateRead {
		c.more = func(ctx context.Context, tx *sqldb.Tx, after int64) ([]int64, error) {
			rest := q
			rest.And("page_id > ?", after)
			return read(ctx, tx, rest)
		}
	}
	return c, err
}

// pagesInRange finds the pages with an amount from one to another, and reports
// false where they are too many to be put in order.
func (f TransactionFilter) pagesInRange(ctx context.Context, tx *sqldb.Tx) ([]int64, bool, error) {
	var q sqldb.Where
	q.And("amount >= ?", f.MinAmount)
	if f.MaxAmount != 0 {
		q.And("amount <= ?", f.MaxAmount)
	}
	f.overPages(&q, "page_id")
	pages, err := readPages(ctx, tx, fmt.Sprintf("SELECT page_id FROM page_amounts%s LIMIT %d", q.Clause(), maxInRange+1), q.Args)
	if err != nil || len(pages) > maxInRange {
		return nil, false, err
	}
	slices.Sort(pages)
	return slices.Compact(pages), true, nil
}

func readPages(ctx context.Context, tx *sqldb.Tx, query string, args []any) ([]int64, error) {
	return sqldb.Collect(ctx, tx, query, args, func(rows *sqldb.Rows) (id int64, err error) {
		err = rows.Scan(&id)
		return id, err
	})
}

// next takes the next pages of both kinds, in order; none are left where it
// returns none.
func (c *candidates) next(ctx context.Context, tx *sqldb.Tx) ([]int64, error) {
	var pages []int64
	for len(pages) < candidateStep {
		if len(c.sealed) == 0 && c.more != nil {
			var err error
			if c.sealed, err = c.more(ctx, tx, c.last); err != nil {
				return nil, err
			}
			if len(c.sealed) < candidateRead {
				c.more = nil
			}
		}
		switch {
		case len(c.sealed) > 0 && (len(c.waiting) == 0 || c.sealed[0] < c.waiting[0]):
			c.last = c.sealed[0]
			pages, c.sealed = append(pages, c.last), c.sealed[1:]
		case len(c.waiting) > 0:
			pages, c.waiting = append(pages, c.waiting[0]), c.waiting[1:]
		default:
			return pages, nil
		}
	}
	return pages, nil
}

// placesOnPages finds a page of the list on the candidates.
func (f TransactionFilter) placesOnPages(ctx context.Context, tx *sqldb.Tx, account int64, c candidates) ([]place, error) {
	var found []place
	for len(found) < f.Limit {
		pages, err := c.next(ctx, tx)
		if err != nil || len(pages) == 0 {
			return found, err
		}
		var q sqldb.Where
		q.And(tx.AnyInt8("p.page_id", 1), pages)
		if f.AccountID != uuid.Nil {
			q.And("(p.debit_no = ? OR p.credit_no = ?)", account, account)
		}
		source := f.conditions(&q)
		rest := f
		rest.Limit -= len(found)
		on, err := rest.firstPlaces(ctx, tx, q, func(q sqldb.Where, limit int) (string, []any) {
			return postingsInOrder("postings AS p"+source, q, limit), q.Args
		})
		if err != nil {
			return nil, err
		}
		found = append(found, on...)
	}
	return found, nil
}
