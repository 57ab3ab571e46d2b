package engine_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"tweetledger/internal/sqldb"
	"tweetledger/internal/sqldb/sqltest"
	"tweetledger/ledger"
	"tweetledger/ledger/engine"
)

// closeTraced writes a month that is closed, with its trace, past the engine.
func (w *world) closeTraced(id string, status ledger.PeriodStatus) ledger.Period {
	w.t.Helper()
	p := w.closePeriod(id, status)
	before := ledger.PeriodOpen
	for i, to := range []ledger.PeriodStatus{ledger.PeriodSoftClosed, ledger.PeriodHardClosed} {
		if before == status {
			break
		}
		if err := w.insert("period_changes", row{"period_id": id, "ordinal": int64(i + 1), "from_status": string(before), "to_status": string(to),
			"changed_by": "anne", "changed_at": w.Now()}, nil); err != nil {
			w.t.Fatal(err)
		}
		before = to
	}
	return p
}

// tampers carries out changes past the engine, one after the other, and checks
// that Verify names each.
func (w *world) tampers(cases []tampering) {
	w.t.Helper()
	for _, c := range cases {
		w.mustExec(c.do...)
		if got := w.differences(engine.VerifyOptions{}); !slices.Equal(got, c.want) {
			w.t.Errorf("%s: found\n  %s\nwant\n  %s", c.name, strings.Join(got, "\n  "), strings.Join(c.want, "\n  "))
		}
		w.mustExec(c.undo...)
	}
	w.verify() // all of it was undone
}

// Who opens a period or an account without a trace, or touches what a closed year
// left to the next, is told by Verify.
func TestVerifyNamesChangesWithoutATrace(t *testing.T) {
	sqltest.Each(t, func(t *testing.T, db *sqldb.DB) {
		l := newLedgers(t, db)
		l.closeMonths("2013-03")
		if _, err := l.CloseFiscalYear(l.ctx, engine.YearClosing{Year: 2013, By: "anne", Seal: l.seal}); err != nil {
			t.Fatal(err)
		}
		shut := l.open(ledger.Account{Code: "shut", Category: ledger.Suspense, Side: ledger.Credit})
		if _, err := l.CloseAccount(l.ctx, shut.ID, "anne", "Not needed"); err != nil {
			t.Fatal(err)
		}
		l.verify()
		if db.Engine() == sqldb.SQLite {
			l.letTamper()
			l.mustExec("DROP TRIGGER period_changes_no_update")
		}
		set := func(name, table, where, do, undo string, want ...string) tampering {
			return tampering{name: name, want: want, do: []string{"UPDATE " + table + " SET " + do + " WHERE " + where},
				undo: []string{"UPDATE " + table + " SET " + undo + " WHERE " + where}}
		}
		cash, bank := l.no(l.cash), l.no(l.bank)
		l.tampers([]tampering{
			set("period opened", "periods", "id = '2013-03'", "status = 'open'", "status = 'hard_closed'", "period 2013-03: state"),
			set("period moved", "periods", "id = '2013-03'", "starts_on = '2013-03-02'", "starts_on = '2013-03-01'", "period 2013-03: first and last day"),
			set("period in another year", "periods", "id = '2013-03'", "fiscal_year = 2012", "fiscal_year = 2013", "period 2013-03: fiscal year",
				"account cash: opening balance of 2013 (debits less credits)", "account marie: opening balance of 2013 (debits less credits)",
				"account income: opening balance of 2013 (debits less credits)"),
			set("trace changed", "period_changes", "period_id = '2013-03' AND ordinal = 2", "from_status = 'open'", "from_status = 'soft_closed'", "period 2013-03: trace"),
			set("opening balances", "opening_balances", fmt.Sprintf("account_no IN (%d, %d)", cash, bank), "amount = amount + 5", "amount = amount - 5",
				"account cash: opening balance of 2014 (debits less credits)", "account bank: opening balance of 2014 (debits less credits)"),
			{name: "opening balance taken out", do: []string{fmt.Sprintf("DELETE FROM opening_balances WHERE account_no = %d", bank)},
				undo: []string{fmt.Sprintf("INSERT INTO opening_balances (fiscal_year, account_no, currency, amount) VALUES (2014, %d, 'EUR', -4000)", bank)},
				want: []string{"account bank: opening balance of 2014 (debits less credits)"}},
			{name: "opening balance of a year that is open", do: []string{fmt.Sprintf("INSERT INTO opening_balances (fiscal_year, account_no, currency, amount) VALUES (2015, %d, 'EUR', 5)", bank)},
				undo: []string{"DELETE FROM opening_balances WHERE fiscal_year = 2015"}, want: []string{"fiscal year 2015: number of opening balances"}},
			{name: "account opened", do: []string{"UPDATE balances SET closed_debits = NULL, closed_credits = NULL WHERE " + l.ofAccount(shut),
				"UPDATE accounts SET status = 'open' WHERE id = " + l.lit(shut.ID)},
				undo: []string{"UPDATE balances SET closed_debits = 0, closed_credits = 0 WHERE " + l.ofAccount(shut),
					"UPDATE accounts SET status = 'closed' WHERE id = " + l.lit(shut.ID)},
				want: []string{"account shut: state"}},
			set("balance row that nobody would find", "balances", l.ofAccount(l.cash), "shard = 1", "shard = 0", "account cash: shard of a balance row"),
		})
		// Who takes the constraints away can do more.
		waits := l.mustPost(l.on(date(2014, 10, 14)))
		if db.Engine() == sqldb.SQLite {
			for _, pragma := range []string{"foreign_keys = OFF", "ignore_check_constraints = ON"} {
				if _, err := db.Pool().ExecContext(l.ctx, "PRAGMA "+pragma); err != nil {
					t.Fatal(err)
				}
			}
			l.mustExec("DROP TRIGGER pages_in_open_periods")
		} else {
			l.mustExec("ALTER TABLE period_changes DROP CONSTRAINT period_changes_period_id_fkey", "ALTER TABLE pages DROP CONSTRAINT page_of_date")
		}
		l.tampers([]tampering{
			{name: "period taken out", do: []string{"DELETE FROM periods WHERE id = '2013-03'"},
				undo: []string{"INSERT INTO periods (id, fiscal_year, starts_on, ends_on, status) VALUES ('2013-03', 2013, '2013-03-01', '2013-03-31', 'hard_closed')"},
				want: []string{"period 2013-03: state"}},
			set("page of another date", "pages", fmt.Sprintf("id = %d", waits.Place.PageID), "effective_date = '2014-10-13'", "effective_date = '2014-10-14'",
				fmt.Sprintf("page %d: effective date", waits.Place.PageID)),
		})
	})
}

// The heads that the book has signed are proved with it, though only those that are
// kept outside cannot be taken away.
func TestVerifyProvesSignedHeads(t *testing.T) {
	sqltest.Each(t, func(t *testing.T, db *sqldb.DB) {
		w := newWorld(t, db)
		key, err := ledger.NewSigningKey(bytes.NewReader(make([]byte, 32)))
		if err != nil {
			t.Fatal(err)
		}
		sign := func() (signed ledger.SignedHeads) {
			w.sealAll()
			err := db.Write(w.ctx, func(ctx context.Context, tx *sqldb.Tx) (err error) {
				signed, err = w.SignHeads(ctx, tx, "test", key)
				return err
			})
			if err != nil {
				t.Fatal(err)
			}
			w.clock.Advance(time.Hour)
			return signed
		}
		w.mustPost(w.transfer(w.cash, w.marie, 1000))
		sign()
		w.mustPost(w.transfer(w.marie, w.yoann, 40))
		last := w.mustPost(w.transfer(w.marie, w.yoann, 60))
		signed := sign()
		w.verify()
		w.letTamper()
		if db.Engine() == sqldb.SQLite {
			w.mustExec("DROP TRIGGER signed_heads_no_update")
		}
		digest := signed.Digest()
		of, document := " WHERE digest = "+w.hashLit(digest), fmt.Sprintf("signed heads %x: document", digest)
		w.tampers([]tampering{
			{name: "document", do: []string{`UPDATE signed_heads SET document = replace(document, '"book": "test"', '"book": "best"')` + of},
				undo: []string{`UPDATE signed_heads SET document = replace(document, '"book": "best"', '"book": "test"')` + of}, want: []string{document}},
			{name: "no document", do: []string{"UPDATE signed_heads SET digest = " + w.hashLit(sha256.Sum256(nil)) + of},
				undo: []string{"UPDATE signed_heads SET digest = " + w.hashLit(digest) + " WHERE digest = " + w.hashLit(sha256.Sum256(nil))},
				want: []string{fmt.Sprintf("signed heads %x: document", sha256.Sum256(nil))}},
			{name: "instant", do: []string{"UPDATE signed_heads SET signed_at = '2014-01-01T00:00:00.000000Z'" + of},
				undo: []string{"UPDATE signed_heads SET signed_at = '" + signed.At.Format("2006-01-02T15:04:05.000000Z") + "'" + of}, want: []string{document}},
		})
		// The end is cut off so that the book is right in itself.
		w.mustExec(w.cutOff(last)...)
		if got, want := w.differences(engine.VerifyOptions{}), []string{"entry 3 of journal VIR of 2014: seal"}; !slices.Equal(got, want) {
			t.Errorf("the end is cut off: found %q, want %q", got, want)
		}
	})
}
