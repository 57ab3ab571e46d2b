package payouts_test

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"

	"tweetledger/internal/payouts"
	"tweetledger/internal/sqldb"
	"tweetledger/internal/sqldb/sqltest"
	"tweetledger/ledger"
)

// importOne imports a file that holds one message.
func (w *world) importOne(file payouts.BankFile) payouts.ImportResult {
	w.t.Helper()
	results, err := w.service.ImportFile(w.t.Context(), file, "carol", nil)
	w.must(err)
	if len(results) != 1 {
		w.t.Fatalf("%d results, want 1", len(results))
	}
	return results[0]
}

func (w *world) rows(table string) int64 {
	w.t.Helper()
	return read(w, func(ctx context.Context, tx *sqldb.Tx) (n int64, err error) {
		err = tx.QueryRow(ctx, "SELECT COUNT(*) FROM "+table, nil, &n)
		return n, err
	})
}

func (w *world) findings() []payouts.StoredFinding {
	w.t.Helper()
	return read(w, func(ctx context.Context, tx *sqldb.Tx) ([]payouts.StoredFinding, error) {
		var list []payouts.StoredFinding
		for f := (payouts.FindingFilter{Limit: 2}); ; {
			page, err := payouts.ListFindings(ctx, tx, f)
			if err != nil || len(page) == 0 {
				return list, err
			}
			list = append(list, page...)
			f.After = payouts.FindingCursorOf(page[len(page)-1])
		}
	})
}

func (w *world) statements() []payouts.StoredStatement {
	w.t.Helper()
	return read(w, func(ctx context.Context, tx *sqldb.Tx) ([]payouts.StoredStatement, error) {
		return payouts.ListStatements(ctx, tx, payouts.StatementFilter{IBAN: bankIBAN, Limit: payouts.MaxPage})
	})
}

// failing is a file that breaks off after so many parts.
func failing(file payouts.BankFile, after int, err error) payouts.BankFile {
	return func(yield func(payouts.Part, error) bool) {
		n := 0
		for part := range file {
			if n++; n > after {
				yield(payouts.Part{}, err)
				return
			}
			if !yield(part, nil) {
				return
			}
		}
	}
}

// TestLongStatement: a statement that takes several transactions is booked whole,
// wherever an import of it broke off before.
func TestLongStatement(t *testing.T) {
	sqltest.Core(t, func(t *testing.T, db *sqldb.DB) {
		w := newWorld(t, db)
		w.enrol("acf", acfIBAN, 0, 0)
		w.donate("acf", 10_00)
		p := w.sent().Payouts[0]
		entries := []payouts.Entry{w.cameBack(p)} // before it is paid: money out is booked first
		details := make([]payouts.Detail, 700)
		for i := range details {
			details[i] = payouts.Detail{Amount: ledger.Amount(i + 1), Remittance: fmt.Sprint("movement ", i)}
		}
		for range 3 {
			entries = append(entries, w.entry(details...))
		}
		entries = append(entries, w.paid(p))
		s := w.statement(entries...)
		sum := ledger.Amount(3 * 700 * 701 / 2)

		broken := errors.New("the line is dead")
		for _, after := range []int{0, 1, 3, 5} {
			if _, err := w.service.ImportFile(t.Context(), failing(s.Parts(), after, broken), "carol", nil); !errors.Is(err, broken) {
				t.Fatalf("reading broke off with %v", err)
			}
		}
		dying, die := context.WithCancel(t.Context())
		first := failing(s.Parts(), 4, nil)
		_, err := w.service.ImportFile(dying, func(yield func(payouts.Part, error) bool) {
			for part := range first {
				if !yield(part, nil) {
					return
				}
			}
			die() // while rows are loaded: nobody clears them away
		}, "carol", nil)
		if err == nil {
			t.Fatal("an import whose process died succeeded")
		}
		before := w.transactions()
		if before != 2 || w.rows("bank_statements") != 0 || w.rows("bank_message_rows") == 0 { // donation and approval
			t.Fatalf("after imports that broke off there are %d transactions, %d statements and %d rows", before, w.rows("bank_statements"), w.rows("bank_message_rows"))
		}

		dying, die = context.WithCancel(t.Context())
		_, err = w.service.ImportFile(dying, s.Parts(), "carol", func(booked int) {
			if booked >= 1000 {
				die()
			}
		})
		if err == nil {
			t.Fatal("a booking whose process died succeeded")
		}
		if booked := w.transactions() - before; booked == 0 || booked >= 2102 {
			t.Fatalf("%d movements were booked", booked)
		}
		if list := w.statements(); len(list) != 0 {
			t.Errorf("a statement that is not booked to its end is listed: %+v", list)
		}
		w.nextDay() // so that what was left behind is cleared away
		var progress []int
		results, err := w.service.ImportFile(t.Context(), s.Parts(), "carol", func(booked int) { progress = append(progress, booked) })
		w.must(err)
		r := results[0]
		if r.Err != nil || !r.Already || !r.Resumed || r.Settled != 1 || r.Returned != 1 || r.Suspense != 2100 || len(r.Findings) != payouts.MaxFindings || r.Entries != 5 {
			t.Errorf("going on gave %+v", r)
		}
		if len(progress) == 0 || !slices.IsSorted(progress) {
			t.Errorf("progress was %v", progress)
		}
		if again := w.importOne(s.Parts()); !again.Already || again.Resumed || again.Suspense != 2100 {
			t.Errorf("the same again gave %+v", again)
		}
		if booked := w.transactions() - before; booked != 2102 || len(w.statements()) != 1 || w.rows("bank_message_rows") != 0 || w.rows("bank_messages") != 0 {
			t.Errorf("%d movements were booked, %d statements are listed, %d rows and %d messages left", booked, len(w.statements()), w.rows("bank_message_rows"), w.rows("bank_messages"))
		}
		if p := w.payout(p.EndToEndID); p.State != payouts.Returned {
			t.Errorf("the payout is %s", p.State)
		}
		w.balances(map[string]ledger.Amount{"payouts-in-transit": 0, "suspense": sum, "safeguarding-account": sum, "payable:acf": 10_00})
		w.verify()
	})
}

// TestFileIsReadWhole: what follows a bad statement is imported, and nothing of a file
// that cannot be read to its end.
func TestFileIsReadWhole(t *testing.T) {
	w := newWorld(t, sqltest.SQLite(t))
	good := w.statement(w.entry(payouts.Detail{Amount: 3_00}))
	foreign := w.statement()
	foreign.IBAN = acfIBAN
	wrong := w.statement(w.entry(payouts.Detail{Amount: 1_00}))
	wrong.Closing++
	w.closing -= 1_00
	last := w.statement(w.entry(payouts.Detail{Amount: 4_00}))
	file := func(yield func(payouts.Part, error) bool) {
		for _, s := range []payouts.Statement{good, foreign, wrong, last} {
			for part := range s.Parts() {
				if !yield(part, nil) {
					return
				}
			}
		}
	}
	broken := errors.New("cut off")
	if _, err := w.service.ImportFile(t.Context(), failing(file, 10, broken), "carol", nil); !errors.Is(err, broken) {
		t.Fatalf("reading broke off with %v", err)
	}
	if n := w.transactions() + w.rows("bank_messages") + w.rows("bank_message_rows") + w.rows("bank_statements"); n != 0 {
		t.Errorf("%d rows are left of a file that was not read to its end", n)
	}
	results, err := w.service.ImportFile(t.Context(), file, "carol", nil)
	w.must(err)
	var got []string
	for _, r := range results {
		got = append(got, fmt.Sprint(r.MessageID, " ", ledger.CodeOf(r.Err), " ", r.Suspense))
	}
	if want := []string{"ST-1  1", "ST-2 invalid 0", "ST-3 invalid 0", "ST-4  1"}; !reflect.DeepEqual(got, want) {
		t.Errorf("results are %q, want %q", got, want)
	}
	if n := w.rows("bank_messages") + w.rows("bank_message_rows"); n != 0 {
		t.Errorf("%d rows are left of what was refused", n)
	}
	w.balances(map[string]ledger.Amount{"suspense": 7_00})
	if _, err := w.service.ImportFile(t.Context(), file, "", nil); ledger.CodeOf(err) != ledger.CodeInvalid {
		t.Errorf("nobody imports with %v", err)
	}
	noHead := func(yield func(payouts.Part, error) bool) { yield(payouts.Part{End: &payouts.End{}}, nil) }
	if _, err := w.service.ImportFile(t.Context(), noHead, "carol", nil); ledger.CodeOf(err) != ledger.CodeInvalid {
		t.Errorf("an end without a statement: %v", err)
	}
}

// TestClosedMonth: nothing is booked of a statement with movements in a month that takes none.
func TestClosedMonth(t *testing.T) {
	w := newWorld(t, sqltest.SQLite(t))
	october := w.entry(payouts.Detail{Amount: 1_00})
	october.BookingDate = ledger.Date{Year: 2026, Month: 10, Day: 31}
	s := w.statement(w.entry(payouts.Detail{Amount: 2_00}), october)
	_, err := w.engine.ChangePeriod(t.Context(), ledger.PeriodChange{Period: "2026-10", To: ledger.PeriodSoftClosed, By: "anne"})
	w.must(err)
	r := w.importOne(s.Parts())
	if ledger.CodeOf(r.Err) != ledger.CodePeriodClosed || !strings.Contains(r.Err.Error(), "2026-10") || w.transactions() != 0 || w.rows("bank_messages") != 0 {
		t.Errorf("refused with %v; %d transactions", r.Err, w.transactions())
	}
}

// TestFindingsAreKept: gaps close when the missing statement comes, and other content
// of a statement stays.
func TestFindingsAreKept(t *testing.T) {
	sqltest.Each(t, func(t *testing.T, db *sqldb.DB) {
		w := newWorld(t, db)
		w.closing = 50_00
		w.imported(w.statement())
		w.nextDay()
		missing := w.statement(w.entry(payouts.Detail{Amount: 1_00}))
		w.nextDay()
		third := w.statement()
		w.imported(third)
		w.nextDay()
		for range 2 { // once is enough
			other := third
			other.Sequence = 9
			if r := w.importOne(other.Parts()); ledger.CodeOf(r.Err) != ledger.CodeConflict {
				t.Errorf("other content is refused with %v", r.Err)
			}
			w.nextDay()
		}
		kinds := func(open bool) (list []string) {
			for _, f := range w.findings() {
				if f.ClosedAt.IsZero() == open {
					list = append(list, fmt.Sprintf("%s %s %s %d %s", f.Source, f.Statement, f.Kind, f.Amount, f.ClosedBy))
				}
				if f.Account != bankIBAN || f.FoundBy != "carol" || f.Message == "" || f.FoundAt.IsZero() || (f.Kind == payouts.OtherContent) != (f.ContentHash != [32]byte{}) {
					t.Errorf("finding %+v does not say what, who and when", f)
				}
			}
			return list
		}
		other := "statement ST-3 other_content 0 "
		if got, want := kinds(true), []string{"statement ST-3 balance_gap 100 ", "statement ST-3 sequence_gap 0 ", other}; !reflect.DeepEqual(got, want) {
			t.Errorf("open are %q, want %q", got, want)
		}
		w.imported(missing)
		if got, want := kinds(true), []string{other}; !reflect.DeepEqual(got, want) {
			t.Errorf("open are %q, want %q", got, want)
		}
		if got, want := kinds(false), []string{"statement ST-3 balance_gap 100 ST-2", "statement ST-3 sequence_gap 0 ST-2"}; !reflect.DeepEqual(got, want) {
			t.Errorf("closed are %q, want %q", got, want)
		}
	})
}

// TestHashOfEarlierVersions: a statement whose hash was made otherwise is known again
// by its entries.
func TestHashOfEarlierVersions(t *testing.T) {
	w := newWorld(t, sqltest.SQLite(t))
	s := w.statement(w.entry(payouts.Detail{Amount: 3_00, Counterparty: payouts.Party{Name: "Marie"}}, payouts.Detail{Amount: -1_00, ReturnReason: "AC01"}), w.entry(payouts.Detail{Amount: 5}))
	w.imported(s)
	w.must(w.db.Write(t.Context(), func(ctx context.Context, tx *sqldb.Tx) error {
		_, err := tx.Exec(ctx, "UPDATE bank_statements SET content_hash = $1", [32]byte{1})
		return err
	}))
	if r := w.importOne(s.Parts()); r.Err != nil || !r.Already {
		t.Errorf("the same statement again: %+v", r)
	}
	s.Entries[0].Details[0].Counterparty.Name = "Yoann"
	if r := w.importOne(s.Parts()); ledger.CodeOf(r.Err) != ledger.CodeConflict {
		t.Errorf("another one: %+v", r)
	}
}
