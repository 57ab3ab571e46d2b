package payments_test

import (
	"context"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"tweetledger/internal/payments"
	"tweetledger/internal/sqldb"
	"tweetledger/internal/sqldb/sqltest"
	"tweetledger/ledger"
)

// What is planted of Chloé, to be looked for in every row of the book.
const (
	chloe       = "700000777"
	chloeHandle = "chloe_handle"
	chloeName   = "Chloé Erasmus"
	chloeBefore = "Chloé Miselle" // before she was married
)

var planted = []string{chloe, chloeHandle, chloeName, chloeBefore, "Erasmus", newPhone, strings.TrimPrefix(newPhone, "+33"), otherPhone, "DE89370400440532013000"}

// everything returns every row of every table as text.
func (w *world) everything() map[string][]string {
	w.t.Helper()
	all := map[string][]string{}
	w.read(func(ctx context.Context, tx *sqldb.Tx) error {
		query := "SELECT table_name FROM information_schema.tables WHERE table_schema = 'public' AND table_type = 'BASE TABLE'"
		if tx.Engine() == sqldb.SQLite {
			query = "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%'"
		}
		text := func(rows *sqldb.Rows) (s string, err error) { err = rows.Scan(&s); return s, err }
		tables, err := sqldb.Collect(ctx, tx, query, nil, text)
		if err != nil {
			return err
		}
		for _, table := range tables {
			columns := "SELECT column_name FROM information_schema.columns WHERE table_schema = 'public' AND table_name = $1"
			if tx.Engine() == sqldb.SQLite {
				columns = "SELECT name FROM pragma_table_info($1)"
			}
			names, err := sqldb.Collect(ctx, tx, columns, []any{table}, text)
			if err != nil {
				return err
			}
			parts := make([]string, len(names))
			for i, name := range names {
				parts[i] = `COALESCE(CAST("` + name + `" AS text), '')`
			}
			if all[table], err = sqldb.Collect(ctx, tx, "SELECT "+strings.Join(parts, " || '|' || ")+` FROM "`+table+`"`, nil, text); err != nil {
				return fmt.Errorf("%s: %w", table, err)
			}
		}
		return nil
	})
	return all
}

// holds returns the rows in which one of the words stands.
func holds(all map[string][]string, words ...string) []string {
	var found []string
	for table, rows := range all {
		for _, row := range rows {
			for _, word := range words {
				if strings.Contains(strings.ToLower(row), strings.ToLower(word)) {
					found = append(found, fmt.Sprintf("%s has %q: %s", table, word, row))
				}
			}
		}
	}
	return found
}

// chloeLives is all that a customer can leave behind: enrolment, codes, corrections,
// links, orders paid and received, messages, answers, notices and words of staff.
func (w *world) chloeLives() string {
	w.t.Helper()
	_, token := w.startEnrolment(chloeBefore, otherPhone)
	_, err := w.VerifyEnrolment(w.ctx, w.step(token, w.codeTo(otherPhone)))
	must(w.t, err)
	c, err := w.FinishEnrolment(w.ctx, w.step(token, rightCode))
	must(w.t, err)
	must(w.t, w.LinkCustomer(w.ctx, channel, chloe, chloeHandle, c.Number))
	_, err = w.CorrectCustomer(w.ctx, c.Number, payments.Correction{Name: chloeName, Phone: newPhone}, "anne", "Chloé Erasmus has married, "+newPhone)
	must(w.t, err)
	must(w.t, w.SendVerification(w.ctx, c.Number, "anne"))
	must(w.t, w.VerifyPhone(w.ctx, c.Number, w.codeTo(newPhone), "anne"))
	proposed, err := w.ProposeTopUp(w.ctx, c.Number, 60_00, "charge-chloe", "anne", "Mme Erasmus has paid")
	must(w.t, err)
	_, err = w.Approve(w.ctx, proposed.Number, "bruno", "seen")
	must(w.t, err)
	bank, err := w.ProposeOwnBank(w.ctx, c.Number, "DE89370400440532013000", "", "anne", "account of Mme Erasmus")
	must(w.t, err)
	_, err = w.ApprovePayee(w.ctx, bank.Code, bank.Number, "bruno", "Mme Erasmus, DE89370400440532013000")
	must(w.t, err)
	paid := func(author, text string, mentions ...payments.Mention) payments.Order {
		m := w.message(author, text)
		m.Mentions, m.AuthorHandle = mentions, map[string]string{chloe: chloeHandle, marie: "marie_test"}[author]
		h := w.take(m)
		if h.Order == nil || h.Order.State != payments.StateAwaitingConfirmation {
			w.t.Fatalf("%q became %+v", text, h)
		}
		return *h.Order
	}
	own, other := payments.Mention{UserID: chloe, Handle: chloeHandle}, payments.Mention{UserID: yoann, Handle: "yoann_test"}
	for _, o := range []payments.Order{paid(chloe, "pay 10.00 "+acf+" ACF_France"), paid(chloe, "pay 20.00 "+yoann+" yoann_test", other),
		paid(marie, "pay 5.00 "+chloe+" "+chloeHandle, own), paid(chloe, "pay 1.00 "+stranger+" stranger")} {
		_, err := w.confirm(o.ID, rightCode)
		must(w.t, err)
	}
	cancelled := paid(chloe, "pay 2.00 "+acf+" ACF_France")
	_, err = w.Cancel(w.ctx, cancelled.ID, "anne", "Chloé Erasmus has called from "+newPhone)
	must(w.t, err)
	for _, text := range []string{"balance", "secret", "refuse two_amounts"} {
		m := w.message(chloe, text)
		m.AuthorHandle = chloeHandle
		w.take(m)
	}
	private := w.message(chloe, "balance")
	private.Channel, private.Kind, private.AuthorHandle = payments.DirectChannel(channel), payments.Direct, chloeHandle
	w.take(private)
	w.deliver()
	must(w.t, w.SetCustomerStatus(w.ctx, c.Number, payments.Blocked, "anne", "Mme Erasmus asks for it"))
	must(w.t, w.SetCustomerStatus(w.ctx, c.Number, payments.Open, "anne", "again"))
	return c.Number
}

// leaves empties the wallet and closes the account.
func (w *world) leaves(number string) {
	w.t.Helper()
	w.clock.Add(6 * 24 * time.Hour)
	_, err := w.SweepUnclaimed(w.ctx, 100)
	must(w.t, err)
	_, available := w.balance("wallet:" + number)
	h := w.say(chloe, "pay "+available.Format(ledger.EUR)+" "+acf+" ACF_France")
	_, err = w.confirm(h.Order.ID, rightCode)
	must(w.t, err)
	w.deliver()
	must(w.t, w.SetCustomerStatus(w.ctx, number, payments.Closed, "anne", "Chloé Erasmus leaves us"))
}

func TestErasure(t *testing.T) {
	sqltest.Each(t, func(t *testing.T, db *sqldb.DB) {
		config := testConfig()
		config.IdentityYears = 5
		w := newWorldWith(t, db, config)
		number := w.chloeLives()
		_, err := w.ProposeErasure(w.ctx, number, "anne", "letter of today")
		w.wantCode(err, ledger.CodeConflict) // not closed
		w.leaves(number)
		for _, word := range planted {
			if len(holds(w.everything(), word)) == 0 {
				t.Errorf("%q is nowhere in the book, so nothing proves that it was erased", word)
			}
		}

		// The law keeps it for five years, to the day in Paris.
		_, err = w.ProposeErasure(w.ctx, number, "anne", "letter of today")
		w.wantCode(err, ledger.CodeForbidden)
		if !strings.Contains(err.Error(), "2031-11-28") {
			t.Errorf("the refusal does not say from when it can be done: %v", err)
		}
		w.clock.now = time.Date(2031, time.November, 27, 22, 59, 0, 0, time.UTC)
		_, err = w.ProposeErasure(w.ctx, number, "anne", "letter of today")
		w.wantCode(err, ledger.CodeForbidden)
		w.clock.Add(time.Minute)
		_, err = w.ProposeErasure(w.ctx, number, "anne", "letter of Mme Erasmus")
		w.wantCode(err, ledger.CodeInvalid) // the reason stays

		// Two persons.
		a, err := w.ProposeErasure(w.ctx, number, "anne", "letter of today")
		must(t, err)
		again, err := w.ProposeErasure(w.ctx, number, "anne", "letter of today")
		must(t, err)
		if again.Number != a.Number {
			t.Errorf("the same was proposed twice: %d and %d", a.Number, again.Number)
		}
		_, err = w.Approve(w.ctx, a.Number, "Anne", "seen")
		w.wantCode(err, ledger.CodeForbidden)
		before := w.books()
		_, err = w.Approve(w.ctx, a.Number, "bruno", "seen")
		must(t, err)
		_, err = w.Approve(w.ctx, a.Number, "bruno", "seen")
		must(t, err)

		for _, row := range holds(w.everything(), planted...) {
			t.Error(row)
		}
		if after := w.books(); after != before {
			t.Errorf("the books have changed:\n%s\n%s", before, after)
		}
		var export strings.Builder
		must(t, w.ExportCustomer(w.ctx, &export, number))
		for _, word := range planted {
			if strings.Contains(export.String(), word) {
				t.Errorf("the export has %q", word)
			}
		}
		_, err = w.ProposeErasure(w.ctx, number, "anne", "letter of today")
		w.wantCode(err, ledger.CodeConflict)
		// Others have kept what is theirs.
		if len(holds(w.everything(), "Marie Test")) == 0 || len(holds(w.everything(), yoann)) == 0 {
			t.Error("others were erased, too")
		}
		// The person may come back, as anybody may.
		_, err = w.EnrolCustomer(w.ctx, payments.NewCustomer{Name: chloeName, Phone: newPhone})
		must(t, err)
		w.verify()
	})
}

// books is all that the ledger says.
func (w *world) books() string {
	all := w.everything()
	var out []string
	for _, table := range []string{"accounts", "balances", "requests", "pages", "postings", "holds"} {
		out = append(out, fmt.Sprint(table, len(all[table]), strings.Join(all[table], "\n")))
	}
	return strings.Join(out, "\n")
}

// mortal is a context that ends when it has been asked so often whether it has.
type mortal struct {
	context.Context
	asked atomic.Int64 // also by goroutines of database/sql that wait for the end of rows
	most  int64
	die   context.CancelFunc
}

// Err implements context.Context.
func (m *mortal) Err() error {
	if m.asked.Add(1) == m.most {
		m.die()
	}
	return m.Context.Err()
}

// TestErasureGoesOn ends an erasure in the midst: approved again, it is whole.
func TestErasureGoesOn(t *testing.T) {
	config := testConfig()
	config.IdentityYears = 0
	for most, ended := int64(1), 0; ; most += 16 {
		w := newWorldWith(t, sqliteDB(t), config)
		number := w.chloeLives()
		w.leaves(number)
		a, err := w.ProposeErasure(w.ctx, number, "anne", "letter of today")
		must(t, err)
		inner, die := context.WithCancel(w.ctx)
		_, err = w.Approve(&mortal{Context: inner, most: most, die: die}, a.Number, "bruno", "seen")
		die()
		if err == nil {
			if ended < 5 {
				t.Fatalf("the erasure was ended %d times only", ended)
			}
			return
		}
		ended++
		_, err = w.Approve(w.ctx, a.Number, "bruno", "seen")
		must(t, err)
		for _, row := range holds(w.everything(), planted...) {
			t.Errorf("ended after %d questions: %s", most, row)
		}
		w.verify()
	}
}
