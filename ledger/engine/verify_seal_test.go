package engine_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/uuid"

	"tweetledger/internal/sqldb"
	"tweetledger/internal/sqldb/sqltest"
	"tweetledger/ledger"
	"tweetledger/ledger/engine"
)

// forgery is what somebody with the database's password does to the second of
// three sealed entries, and the way back.
type forgery struct {
	name     string
	do, undo []string
	named    string // subject and what of a difference
	alone    bool   // all sums were made right, so that nothing else gives it away
	lookups  bool   // what lists find pages by is to be made right too
}

// A changed, missing, inserted or re-dated entry is named, with its number.
func TestVerifyNamesSealedEntries(t *testing.T) {
	sqltest.Each(t, func(t *testing.T, db *sqldb.DB) {
		w := newWorld(t, db)
		w.mustPost(w.transfer(w.cash, w.marie, 1000))
		second := w.mustPost(w.transfer(w.marie, w.yoann, 40))
		third := w.mustPost(w.transfer(w.marie, w.yoann, 60))
		if n := w.sealAll(); n != 3 {
			t.Fatalf("%d transactions were sealed, want 3", n)
		}
		w.verify()
		published := w.heads()
		w.letTamper()
		for _, f := range w.forgeries(second) {
			w.mustExec(f.do...)
			if f.lookups {
				w.mustExec(w.lookupsMadeRight()...)
			}
			got := w.differences(engine.VerifyOptions{})
			if !slices.Contains(got, f.named) || f.alone && len(got) > 1 {
				t.Errorf("%s: found\n  %s\nwant\n  %s", f.name, strings.Join(got, "\n  "), f.named)
			}
			w.mustExec(f.undo...)
			w.mustExec(w.lookupsMadeRight()...)
		}
		w.verify() // all of it was undone

		// Who cuts off the end with all that belongs to it leaves a book that is
		// right in itself. What was published gives him away.
		w.mustExec(w.cutOff(third)...)
		w.verify()
		got := w.differences(engine.VerifyOptions{Published: published})
		if want := []string{"entry 3 of journal VIR of 2014: seal"}; !slices.Equal(got, want) {
			t.Errorf("the end is cut off: found %q, want %q", got, want)
		}
	})
}

func (w *world) heads() (list []ledger.Head) {
	w.t.Helper()
	w.read(func(ctx context.Context, tx *sqldb.Tx) error {
		heads, err := w.Heads(ctx, tx)
		list = heads.List
		return err
	})
	return list
}

// differences returns the subject and what of all that Verify finds.
func (w *world) differences(o engine.VerifyOptions) (found []string) {
	w.t.Helper()
	report, err := w.VerifyBook(w.ctx, o)
	if err != nil {
		w.t.Fatal(err)
	}
	for _, d := range report.Differences {
		found = append(found, d.Subject+": "+d.What)
	}
	return found
}

func (w *world) forgeries(second ledger.Transaction) []forgery {
	entry := "entry 2 of journal VIR of 2014"
	changed := fmt.Sprintf("%s, transaction %s: content", entry, second.ID)
	ofSecond := fmt.Sprintf("page_id = %d AND line = 0", second.Place.PageID)
	set := func(table, where, do, undo string) forgery {
		update := "UPDATE " + table + " SET %s WHERE " + where
		return forgery{do: []string{fmt.Sprintf(update, do)}, undo: []string{fmt.Sprintf(update, undo)}}
	}
	lookup := fmt.Sprintf("page %d: what lists find it by: ", second.Place.PageID)
	of := func(name, named string, alone bool, f ...forgery) forgery {
		whole := forgery{name: name, named: named, alone: alone, lookups: alone && !strings.HasPrefix(named, lookup)}
		for _, part := range f {
			whole.do, whole.undo = append(whole.do, part.do...), append(part.undo, whole.undo...)
		}
		return whole
	}
	paid := func(amount int) forgery { return forgery{do: w.moreToYoann(amount), undo: w.moreToYoann(-amount)} }

	relabelled := second
	relabelled.Label = "Forged"
	sealed := `UPDATE seals SET entries = %s WHERE first_number = 2`
	forged := forgery{do: []string{fmt.Sprintf(sealed, w.hashLit(ledger.EntryHash("VIR", 2014, 2, relabelled)))},
		undo: []string{fmt.Sprintf(sealed, w.hashLit(ledger.EntryHash("VIR", 2014, 2, second)))}}
	relabel := set("postings", ofSecond, "label = 'Forged'", "label = '"+second.Label+"'")

	stray := ledger.IDOfKey("inserted")
	inserted := forgery{do: []string{w.insertPosting(second, 1, stray, "inserted"),
		fmt.Sprintf("INSERT INTO requests (id, request_hash, page_id, line) SELECT %s, request_hash, page_id, 1 FROM requests WHERE id = %s", w.lit(stray), w.lit(second.ID)),
		fmt.Sprintf("UPDATE pages SET transactions = 2, postings = 2 WHERE id = %d", second.Place.PageID)},
		undo: []string{"DELETE FROM postings WHERE transaction_id = " + w.lit(stray), "DELETE FROM requests WHERE id = " + w.lit(stray),
			fmt.Sprintf("UPDATE pages SET transactions = 1, postings = 1 WHERE id = %d", second.Place.PageID)}}

	return []forgery{
		of("another label", changed, true, relabel),
		of("another journal", changed, false, set("postings", ofSecond, "journal = 'OD'", "journal = 'VIR'")),
		of("another amount, with all sums", changed, true, set("postings", ofSecond, "amount = 41", "amount = 40"), paid(1)),
		of("another source", changed, true, set("postings", ofSecond, "source_channel = 'x', source_id = '1'", "source_channel = NULL, source_id = NULL")),
		of("metadata", changed, true, set("postings", ofSecond, `metadata = '{"k": "v"}'`, "metadata = NULL")),
		of("missing, with all sums", entry+": transaction", false, paid(-40), forgery{
			do:   []string{"DELETE FROM postings WHERE " + ofSecond},
			undo: []string{w.insertPosting(second, 0, second.ID, second.Key)}}),
		of("inserted on its page, with all sums", fmt.Sprintf("transaction %s on page %d, line 1: number", stray, second.Place.PageID), true, inserted, paid(40)),
		of("dated a day earlier, with all that refers to it", changed, true, w.redating(second)),
		of("sealed anew", entry+": link of the chain", true, relabel, forged),
		of("seal moved to another year", entry+": seal", false, set("seals", "journal = 'VIR' AND first_number = 2", "fiscal_year = 2013", "fiscal_year = 2014")),
		of("amount not to be found", lookup+"postings of 40 minor units", true, forgery{
			do:   []string{fmt.Sprintf("DELETE FROM page_amounts WHERE page_id = %d", second.Place.PageID)},
			undo: []string{fmt.Sprintf("INSERT INTO page_amounts (amount, page_id, postings) VALUES (40, %d, 1)", second.Place.PageID)}}),
		of("amount found twice", lookup+"postings of 40 minor units", true, set("page_amounts", fmt.Sprintf("page_id = %d", second.Place.PageID), "postings = 2", "postings = 1")),
		of("channel that nothing came by", lookup+"transactions with channel:x", true, forgery{
			do:   []string{fmt.Sprintf("INSERT INTO page_terms (term, page_id, transactions) VALUES ('channel:x', %d, 1)", second.Place.PageID)},
			undo: []string{"DELETE FROM page_terms"}}),
		of("head set back", "journal VIR of 2014: head", true, set("seal_heads", "journal = 'VIR'", "number = 2", "number = 3")),
	}
}

// moreToYoann are the changes of all sums that go with a payment from marie to yoann.
func (w *world) moreToYoann(amount int) []string {
	w.t.Helper()
	return []string{
		fmt.Sprintf("UPDATE balances SET debits_posted = debits_posted + %d WHERE %s", amount, w.ofAccount(w.marie)),
		fmt.Sprintf("UPDATE balances SET credits_posted = credits_posted + %d WHERE %s", amount, w.ofAccount(w.yoann)),
		fmt.Sprintf("UPDATE account_days SET debits = debits + %d WHERE %s", amount, w.ofAccount(w.marie)),
		fmt.Sprintf("UPDATE account_days SET credits = credits + %d WHERE %s", amount, w.ofAccount(w.yoann)),
	}
}

// insertPosting writes the one posting of t, or one like it under another key.
func (w *world) insertPosting(t ledger.Transaction, line int, id uuid.UUID, key string) string {
	w.t.Helper()
	return fmt.Sprintf(`INSERT INTO postings (page_id, line, transaction_id, ordinal, debit_no, credit_no, amount, currency, postings,
		idempotency_key, journal, label) VALUES (%d, %d, %s, 0, %d, %d, %d, 'EUR', 1, '%s', '%s', '%s')`,
		t.Place.PageID, line, w.lit(id), w.no(w.marie), w.no(w.yoann), t.Postings[0].Amount, key, t.Journal, t.Label)
}

// redating moves a page with one payment of 40 from marie to yoann to the day
// before, and everything that refers to it.
func (w *world) redating(t ledger.Transaction) forgery {
	w.t.Helper()
	const today, yesterday = "2014-10-14", "2014-10-13"
	move := func(from, to int64, date string) []string {
		statements := []string{fmt.Sprintf(`INSERT INTO pages (id, effective_date, adjustment, recorded_at, transactions, postings)
			SELECT %d, '%s', adjustment, recorded_at, transactions, postings FROM pages WHERE id = %d`, to, date, from)}
		for _, table := range []string{"postings", "requests", "seals"} {
			statements = append(statements, fmt.Sprintf("UPDATE %s SET page_id = %d WHERE page_id = %d", table, to, from))
		}
		return append(statements, fmt.Sprintf("DELETE FROM pages WHERE id = %d", from))
	}
	day := func(a ledger.Account, date string, debits, credits int) string {
		return fmt.Sprintf("INSERT INTO account_days (account_no, effective_date, recorded_on, currency, debits, credits) VALUES (%d, '%s', '%s', 'EUR', %d, %d)",
			w.no(a), date, today, debits, credits)
	}
	less := func(amount int) []string {
		return []string{
			fmt.Sprintf("UPDATE account_days SET debits = debits - %d WHERE effective_date = '%s' AND %s", amount, today, w.ofAccount(w.marie)),
			fmt.Sprintf("UPDATE account_days SET credits = credits - %d WHERE effective_date = '%s' AND %s", amount, today, w.ofAccount(w.yoann))}
	}
	there := t.Place.PageID - 1<<engine.SlotBits
	return forgery{
		do:   slices.Concat(move(t.Place.PageID, there, yesterday), less(40), []string{day(w.marie, yesterday, 40, 0), day(w.yoann, yesterday, 0, 40)}),
		undo: slices.Concat(move(there, t.Place.PageID, today), less(-40), []string{"DELETE FROM account_days WHERE effective_date = '" + yesterday + "'"}),
	}
}

// cutOff takes the last entry, a payment of 60, out of the book and out of its chain.
func (w *world) cutOff(last ledger.Transaction) []string {
	w.t.Helper()
	return slices.Concat(w.moreToYoann(-60), []string{
		fmt.Sprintf("DELETE FROM postings WHERE page_id = %d", last.Place.PageID),
		"DELETE FROM requests WHERE id = " + w.lit(last.ID),
		fmt.Sprintf("DELETE FROM seals WHERE page_id = %d", last.Place.PageID),
		fmt.Sprintf("DELETE FROM pages WHERE id = %d", last.Place.PageID),
		"UPDATE seal_heads SET number = 2, link = (SELECT link FROM seals WHERE first_number = 2) WHERE journal = 'VIR'"}, w.lookupsMadeRight())
}

// lookupsMadeRight makes what lists find pages by anew from what is sealed.
func (w *world) lookupsMadeRight() []string {
	const sealed = `p.page_id IN (SELECT g.id FROM pages AS g WHERE NOT EXISTS (SELECT 1 FROM unsealed_pages AS u WHERE u.page_id = g.id))`
	each := "jsonb_each_text(p.metadata) AS m"
	if w.db.Engine() == sqldb.SQLite {
		each = "json_each(p.metadata) AS m"
	}
	return []string{
		"DELETE FROM page_amounts", "DELETE FROM page_terms",
		"INSERT INTO page_amounts (amount, page_id, postings) SELECT p.amount, p.page_id, COUNT(*) FROM postings AS p WHERE " + sealed + " GROUP BY p.amount, p.page_id",
		`INSERT INTO page_terms (term, page_id, transactions) SELECT term, page_id, COUNT(*) FROM (
			SELECT 'channel:' || p.source_channel AS term, p.page_id FROM postings AS p WHERE p.source_channel IS NOT NULL AND ` + sealed + `
			UNION ALL SELECT 'key:' || m.key, p.page_id FROM postings AS p, ` + each + " WHERE p.metadata IS NOT NULL AND " + sealed + `
			UNION ALL SELECT 'key:' || m.key || '=' || m.value, p.page_id FROM postings AS p, ` + each + " WHERE p.metadata IS NOT NULL AND " + sealed + `
		) AS found GROUP BY term, page_id`,
	}
}
