package engine

import (
	"cmp"
	"context"
	"fmt"
	"hash/maphash"
	"maps"
	"math/rand/v2"
	"slices"
	"time"

	"tweetledger/internal/sqldb"
	"tweetledger/ledger"
)

// sealedPostings reads what roll-ups and what lists find pages by are made from, page
// by page: CROSS keeps SQLite from reading the postings in the order of an account's
// index, which in a large book is a look at the disk for each.
const sealedPostings = `SELECT p.debit_no, p.credit_no, p.amount, g.id, g.effective_date, g.recorded_at, p.source_channel, p.metadata
	FROM pages AS g CROSS JOIN postings AS p WHERE p.page_id = g.id AND` + sealedPage

// rolledUp is what an account's roll-ups of all days come to, each day weighed by a
// number of its own that nobody knows beforehand, modulo 2^64, less the same of its
// sealed postings. It is zero where each day is right, and where one is wrong it is
// not: the weights are odd. That two wrong ones cancel out has the odds of guessing
// 64 bits.
type rolledUp struct{ debits, credits uint64 }

// rollUpDay is what roll-ups of an account are told apart by.
type rollUpDay struct{ effective, recorded ledger.Date }

// sealedSums are what the tables that the sealer keeps come to, less what they
// should: nothing but zeros in a good book.
type sealedSums struct {
	weights  map[rollUpDay]uint64
	accounts map[int64]*rolledUp
	// lookups holds the same for what lists find pages by, for each day of pages.
	lookups map[int64]uint64
	seed    maphash.Seed
}

func newSealedSums() *sealedSums {
	return &sealedSums{weights: map[rollUpDay]uint64{}, accounts: map[int64]*rolledUp{}, lookups: map[int64]uint64{}, seed: maphash.MakeSeed()}
}

func (s *sealedSums) weight(d rollUpDay) uint64 {
	w, ok := s.weights[d]
	if !ok {
		w = rand.Uint64() | 1
		s.weights[d] = w
	}
	return w
}

func (s *sealedSums) account(no int64) *rolledUp {
	r, ok := s.accounts[no]
	if !ok {
		r = &rolledUp{}
		s.accounts[no] = r
	}
	return r
}

func (s *sealedSums) addAmount(a amountOnPage, count int64) {
	s.lookups[a.page>>slotBits] += uint64(count) * (maphash.Comparable(s.seed, a) | 1)
}

func (s *sealedSums) addTerm(t termOnPage, count int64) {
	s.lookups[t.page>>slotBits] += uint64(count) * (maphash.Comparable(s.seed, t) | 1)
}

// compareSealed compares the daily roll-ups, and what lists find pages by, with the
// postings of what is sealed. It reads all of them once, in any order, and keeps two
// numbers an account and one a day: sorting a whole book by account and date would
// take as much memory as the book.
func (v *verifier) compareSealed(ctx context.Context) error {
	sums := newSealedSums()
	for _, read := range []func(context.Context, *sealedSums) error{v.addStored, v.takePostings} {
		if err := read(ctx, sums); err != nil {
			return err
		}
	}
	maps.DeleteFunc(sums.accounts, func(_ int64, r *rolledUp) bool { return *r == rolledUp{} })
	for i, no := range slices.Sorted(maps.Keys(sums.accounts)) {
		if i == maxDifferences {
			break
		}
		if err := v.nameRollUps(ctx, no); err != nil {
			return err
		}
	}
	maps.DeleteFunc(sums.lookups, func(_ int64, sum uint64) bool { return sum == 0 })
	for i, day := range slices.Sorted(maps.Keys(sums.lookups)) {
		if i == maxDifferences {
			break
		}
		if err := v.nameLookups(ctx, day); err != nil {
			return err
		}
	}
	return nil
}

// addStored adds what the sealer has stored.
func (v *verifier) addStored(ctx context.Context, sums *sealedSums) error {
	err := v.tx.Each(ctx, "SELECT account_no, effective_date, recorded_on, debits, credits FROM account_days", nil, func(rows *sqldb.Rows) error {
		var no int64
		var day rollUpDay
		var debits, credits ledger.Amount
		err := rows.Scan(&no, &day.effective, &day.recorded, &debits, &credits)
		r, w := sums.account(no), sums.weight(day)
		r.debits += uint64(debits) * w
		r.credits += uint64(credits) * w
		return err
	})
	if err != nil {
		return err
	}
	err = v.tx.Each(ctx, "SELECT amount, page_id, postings FROM page_amounts", nil, func(rows *sqldb.Rows) error {
		var a amountOnPage
		var count int64
		err := rows.Scan(&a.amount, &a.page, &count)
		sums.addAmount(a, count)
		return err
	})
	if err != nil {
		return err
	}
	return v.tx.Each(ctx, "SELECT term, page_id, transactions FROM page_terms", nil, func(rows *sqldb.Rows) error {
		var t termOnPage
		var count int64
		err := rows.Scan(&t.term, &t.page, &count)
		sums.addTerm(t, count)
		return err
	})
}

// takePostings takes off what sealed postings come to.
func (v *verifier) takePostings(ctx context.Context, sums *sealedSums) error {
	return v.tx.Each(ctx, sealedPostings, nil, func(rows *sqldb.Rows) error {
		var debit, credit, page int64
		var amount ledger.Amount
		var day rollUpDay
		var recorded time.Time
		var channel, metadata *string
		if err := rows.Scan(&debit, &credit, &amount, &page, &day.effective, &recorded, &channel, &metadata); err != nil {
			return err
		}
		day.recorded = recordedOn(recorded)
		w := uint64(amount) * sums.weight(day)
		sums.account(debit).debits -= w
		sums.account(credit).credits -= w
		sums.addAmount(amountOnPage{amount, page}, -1)
		var t ledger.Transaction
		if channel != nil {
			t.Source.Channel = *channel
		}
		if metadata != nil {
			if err := readMetadata(&t, *metadata); err != nil {
				return err
			}
		}
		eachTerm(t.Source.Channel, t.Metadata, func(term string) { sums.addTerm(termOnPage{term, page}, -1) })
		return nil
	})
}

// nameLookups reports by what pages of one day, counted as page ids count them, would
// not be found, or would be looked at for nothing.
func (v *verifier) nameLookups(ctx context.Context, day int64) error {
	want := newLookups()
	from, until := day<<slotBits, (day+1)<<slotBits
	err := v.tx.Each(ctx, `SELECT p.amount, p.page_id, p.source_channel, p.metadata FROM pages AS g CROSS JOIN postings AS p
		WHERE p.page_id = g.id AND g.id >= $1 AND g.id < $2 AND`+sealedPage, []any{from, until}, func(rows *sqldb.Rows) error {
		var t ledger.Transaction
		p := ledger.Posting{}
		var channel, metadata *string
		if err := rows.Scan(&p.Amount, &t.Place.PageID, &channel, &metadata); err != nil {
			return err
		}
		if channel != nil {
			t.Source.Channel = *channel
		}
		if metadata != nil {
			if err := readMetadata(&t, *metadata); err != nil {
				return err
			}
		}
		t.Postings = []ledger.Posting{p}
		want.add(t)
		return nil
	})
	if err != nil {
		return err
	}
	named := 0
	name := func(page int64, what string, want, got int64) {
		if want != got && named < maxDifferences {
			v.report.add(fmt.Sprintf("page %d", page), "what lists find it by: "+what, want, got)
			named++
		}
	}
	err = v.tx.Each(ctx, "SELECT amount, page_id, postings FROM page_amounts WHERE page_id >= $1 AND page_id < $2 ORDER BY page_id, amount", []any{from, until},
		func(rows *sqldb.Rows) error {
			var a amountOnPage
			var got int64
			err := rows.Scan(&a.amount, &a.page, &got)
			name(a.page, fmt.Sprintf("postings of %d minor units", a.amount), want.amounts[a], got)
			delete(want.amounts, a)
			return err
		})
	if err != nil {
		return err
	}
	err = v.tx.Each(ctx, "SELECT term, page_id, transactions FROM page_terms WHERE page_id >= $1 AND page_id < $2 ORDER BY page_id, term", []any{from, until},
		func(rows *sqldb.Rows) error {
			var t termOnPage
			var got int64
			err := rows.Scan(&t.term, &t.page, &got)
			name(t.page, "transactions with "+t.term, want.terms[t], got)
			delete(want.terms, t)
			return err
		})
	if err != nil {
		return err
	}
	for _, a := range want.sortedAmounts() {
		name(a.page, fmt.Sprintf("postings of %d minor units", a.amount), want.amounts[a], 0)
	}
	for _, t := range want.sortedTerms() {
		name(t.page, "transactions with "+t.term, want.terms[t], 0)
	}
	return nil
}

// nameRollUps reports which roll-ups of an account are wrong.
func (v *verifier) nameRollUps(ctx context.Context, no int64) error {
	subject, currency := v.named(no)
	off := map[rollUpDay]delta{}
	add := func(day rollUpDay, debits, credits ledger.Amount) error {
		d := off[day]
		err := d.add(delta{debitsPosted: debits, creditsPosted: credits})
		off[day] = d
		return err
	}
	err := v.tx.Each(ctx, "SELECT effective_date, recorded_on, debits, credits FROM account_days WHERE account_no = $1", []any{no}, func(rows *sqldb.Rows) error {
		var day rollUpDay
		var debits, credits ledger.Amount
		if err := rows.Scan(&day.effective, &day.recorded, &debits, &credits); err != nil {
			return err
		}
		return add(day, debits, credits)
	})
	if err != nil {
		return err
	}
	for _, side := range []string{"debit_no", "credit_no"} {
		query := "SELECT p.amount, g.effective_date, g.recorded_at FROM postings AS p JOIN pages AS g ON g.id = p.page_id WHERE p." + side + " = $1 AND" + sealedPage
		err := v.tx.Each(ctx, query, []any{no}, func(rows *sqldb.Rows) error {
			var amount ledger.Amount
			var date ledger.Date
			var recorded time.Time
			if err := rows.Scan(&amount, &date, &recorded); err != nil {
				return err
			}
			if side == "debit_no" {
				return add(rollUpDay{date, recordedOn(recorded)}, -amount, 0)
			}
			return add(rollUpDay{date, recordedOn(recorded)}, 0, -amount)
		})
		if err != nil {
			return err
		}
	}
	maps.DeleteFunc(off, func(_ rollUpDay, d delta) bool { return d == delta{} })
	days := slices.SortedFunc(maps.Keys(off), func(a, b rollUpDay) int {
		return cmp.Or(a.effective.Compare(b.effective), a.recorded.Compare(b.recorded))
	})
	for _, day := range days[:min(len(days), maxDifferences)] {
		v.report.add(subject, fmt.Sprintf("roll-up of %s, recorded on %s", day.effective, day.recorded), "what its sealed postings come to",
			fmt.Sprintf("off by %s debit and %s credit", off[day].debitsPosted.Format(currency), off[day].creditsPosted.Format(currency)))
	}
	return nil
}
