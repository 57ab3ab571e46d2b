package payouts_test

import (
	"context"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"tweetledger/internal/payouts"
	"tweetledger/internal/sqldb"
	"tweetledger/internal/sqldb/sqltest"
	"tweetledger/ledger"
)

func TestStatementIsImportedOnce(t *testing.T) {
	sqltest.Core(t, func(t *testing.T, db *sqldb.DB) {
		w := newWorld(t, db)
		w.enrol("acf", acfIBAN, 100, 0)
		w.donate("acf", 10_00)
		p := w.sent().Payouts[0]
		s := w.statement(w.paid(p), w.entry(payouts.Detail{Amount: 3_00, Remittance: "who knows"}))

		const callers = 4
		results := make([]payouts.ImportResult, callers)
		errs := make([]error, callers)
		var wg sync.WaitGroup
		for i := range callers {
			wg.Go(func() { results[i], errs[i] = w.service.ImportStatement(t.Context(), s, "carol") })
		}
		wg.Wait()
		fresh := 0
		for i, r := range results {
			w.must(errs[i])
			if !r.Already {
				fresh++
			}
			r.Already, r.Resumed = false, false
			results[0].Already, results[0].Resumed = false, false
			if !reflect.DeepEqual(r, results[0]) {
				t.Errorf("import %d gave %+v, the first %+v", i, r, results[0])
			}
		}
		if fresh != 1 || results[0].Settled != 1 || results[0].Suspense != 1 || len(results[0].Findings) != 1 {
			t.Errorf("%d imports did it, with %+v", fresh, results[0])
		}
		before := w.transactions()
		other := s
		other.Entries = []payouts.Entry{w.paid(p), w.entry(payouts.Detail{Amount: 3_00, Remittance: "somebody"})}
		other.Hash = other.ContentHash()
		_, err := w.service.ImportStatement(t.Context(), other, "carol")
		w.refused(err, ledger.CodeConflict)
		if after := w.transactions(); after != before {
			t.Errorf("a refused statement made %d transactions", after-before)
		}
		w.balances(map[string]ledger.Amount{"payouts-in-transit": 0, "suspense": 3_00, "safeguarding-account": -6_90})
		w.verify()
	})
}

func (w *world) transactions() int64 {
	w.t.Helper()
	return read(w, func(ctx context.Context, tx *sqldb.Tx) (n int64, err error) {
		err = tx.QueryRow(ctx, "SELECT COUNT(*) FROM transactions", nil, &n)
		return n, err
	})
}

func TestStatementIsRefused(t *testing.T) {
	w := newWorld(t, sqltest.SQLite(t))
	entry := w.entry(payouts.Detail{Amount: 3_00})
	tests := map[string]struct {
		change func(*payouts.Statement)
		code   ledger.Code
	}{
		"other account":   {func(s *payouts.Statement) { s.IBAN = acfIBAN }, ledger.CodeInvalid},
		"other currency":  {func(s *payouts.Statement) { s.Currency = "USD" }, ledger.CodeCurrencyMismatch},
		"no id":           {func(s *payouts.Statement) { s.ID = "" }, ledger.CodeInvalid},
		"long id":         {func(s *payouts.Statement) { s.ID = strings.Repeat("x", 36) }, ledger.CodeInvalid},
		"sequence":        {func(s *payouts.Statement) { s.Sequence = -1 }, ledger.CodeInvalid},
		"no closing date": {func(s *payouts.Statement) { s.ClosingDate = ledger.Date{} }, ledger.CodeInvalid},
		"does not add up": {func(s *payouts.Statement) { s.Closing++ }, ledger.CodeInvalid},
		"no details": {func(s *payouts.Statement) {
			s.Entries = []payouts.Entry{{Amount: 3_00, BookingDate: s.ClosingDate, ValueDate: s.ClosingDate}}
		}, ledger.CodeInvalid},
		"details differ":  {func(s *payouts.Statement) { s.Entries[0].Details = []payouts.Detail{{Amount: 2_99}} }, ledger.CodeInvalid},
		"no booking date": {func(s *payouts.Statement) { s.Entries[0].BookingDate = ledger.Date{} }, ledger.CodeInvalid},
		"overflow":        {func(s *payouts.Statement) { s.Opening = 1<<63 - 1 }, ledger.CodeOverflow},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			s := payouts.Statement{ID: "S", Sequence: 1, IBAN: bankIBAN, Currency: ledger.EUR, OpeningDate: w.engine.Today(), ClosingDate: w.engine.Today(),
				Closing: 3_00, Entries: []payouts.Entry{entry}}
			tt.change(&s)
			s.Hash = s.ContentHash()
			if _, err := w.service.ImportStatement(t.Context(), s, "carol"); ledger.CodeOf(err) != tt.code {
				t.Errorf("error is %v, want %s", err, tt.code)
			}
		})
	}
	s := w.statement(entry)
	s.Entries[0].Reference = "changed after it was hashed"
	_, err := w.service.ImportStatement(t.Context(), s, "carol")
	w.refused(err, ledger.CodeInvalid)
	_, err = w.service.ImportStatement(t.Context(), s, "")
	w.refused(err, ledger.CodeInvalid)
	if n := w.transactions(); n != 0 {
		t.Errorf("%d transactions were made", n)
	}
}

func TestWhatNobodyExplainsGoesToSuspense(t *testing.T) {
	sqltest.Each(t, func(t *testing.T, db *sqldb.DB) {
		w := newWorld(t, db)
		for _, code := range []string{"differs", "twice", "back", "unsettled"} {
			w.enrol(code, acfIBAN, 0, 0)
			w.donate(code, 10_00)
		}
		r := w.sent()
		back, differs, twice, unsettled := r.Payouts[0], r.Payouts[1], r.Payouts[2], r.Payouts[3]
		w.enrol("prepared", acfIBAN, 0, 0)
		w.donate("prepared", 10_00)
		prepared := w.prepare("prepared").Payouts[0]

		wrong := w.paid(differs)
		wrong.Amount--
		wrong.Details[0].Amount--
		lessBack := w.cameBack(back)
		lessBack.Amount--
		lessBack.Details[0].Amount--
		silent := w.cameBack(twice) // money in with a payout's id, but no return
		silent.Details[0].ReturnReason = ""
		res := w.imported(w.statement(
			w.entry(payouts.Detail{EndToEndID: "NOTPROVIDED", Amount: 70_00}), // 1
			w.entry(payouts.Detail{Amount: -2_00}, payouts.Detail{Amount: 0}), // 2
			wrong,                                      // 3
			w.paid(twice), w.paid(twice), w.paid(back), // 4 5 6
			lessBack, silent, // 7 8
			w.paid(prepared),      // 9
			w.cameBack(unsettled), // 10
		))
		type found struct {
			kind   payouts.FindingKind
			entry  int
			amount ledger.Amount
		}
		var got []found
		for _, f := range res.Findings {
			got = append(got, found{f.Kind, f.Entry, f.Amount})
			if f.Message == "" || f.Statement != "ST-1" {
				t.Errorf("finding %+v does not say what and where", f)
			}
		}
		want := []found{
			{payouts.UnknownIn, 1, 70_00}, {payouts.UnknownOut, 2, -2_00}, {payouts.AmountDiffers, 3, -10_01}, {payouts.Duplicate, 5, -10_00},
			{payouts.AmountDiffers, 7, 9_99}, {payouts.UnknownIn, 8, 10_00}, {payouts.NotExported, 9, -10_00}, {payouts.ReturnUnsettled, 10, 10_00},
		}
		if !reflect.DeepEqual(got, want) || res.Settled != 2 || res.Returned != 0 || res.Suspense != len(want) {
			t.Errorf("findings are %+v\nwant %+v\n(%d settled, %d returned)", got, want, res.Settled, res.Returned)
		}
		states := map[string]payouts.State{differs.EndToEndID: payouts.Exported, twice.EndToEndID: payouts.Settled, back.EndToEndID: payouts.Settled,
			unsettled.EndToEndID: payouts.Exported, prepared.EndToEndID: payouts.Prepared}
		for id, state := range states {
			if p := w.payout(id); p.State != state {
				t.Errorf("payout of %s is %s, want %s", p.PayeeCode, p.State, state)
			}
		}
		w.balances(map[string]ledger.Amount{"payouts-in-transit": 20_00, "suspense": 67_98, "safeguarding-account": 47_98})
		w.unmatched(want[0].amount, len(want))
		w.verify()
	})
}

// unmatched pages through the entries that wait in suspense.
func (w *world) unmatched(first ledger.Amount, want int) {
	w.t.Helper()
	var list []payouts.StoredEntry
	for after := (payouts.EntryCursor{}); ; {
		page := read(w, func(ctx context.Context, tx *sqldb.Tx) ([]payouts.StoredEntry, error) {
			return payouts.ListEntries(ctx, tx, payouts.EntryFilter{Outcome: payouts.OutcomeSuspense, After: after, Limit: 3})
		})
		list = append(list, page...)
		if len(page) < 3 {
			break
		}
		after = payouts.EntryCursorOf(page[2])
	}
	if len(list) != want || list[0].Amount != first || list[0].Counterparty != (payouts.Party{}) {
		w.t.Errorf("unmatched are %+v, want %d", list, want)
	}
	for _, e := range list {
		if e.Finding == "" || e.TransactionID == [16]byte{} {
			w.t.Errorf("unmatched entry %+v has no finding or posting", e)
		}
	}
}

func TestGapsBetweenStatements(t *testing.T) {
	sqltest.Each(t, func(t *testing.T, db *sqldb.DB) {
		w := newWorld(t, db)
		kinds := func(s payouts.Statement) []payouts.FindingKind {
			t.Helper()
			s.Hash = s.ContentHash()
			var list []payouts.FindingKind
			for _, f := range w.imported(s).Findings {
				list = append(list, f.Kind)
			}
			return list
		}
		w.seq, w.closing = 300, 50_00
		if got := kinds(w.statement()); got != nil {
			t.Errorf("the first statement has %v", got)
		}
		w.nextDay()
		if got := kinds(w.statement()); got != nil {
			t.Errorf("the next statement has %v", got)
		}
		w.nextDay()
		missing := w.statement(w.entry(payouts.Detail{Amount: 1_00}))
		w.nextDay()
		if got := kinds(w.statement()); !reflect.DeepEqual(got, []payouts.FindingKind{payouts.SequenceGap, payouts.BalanceGap}) {
			t.Errorf("after a missing statement: %v", got)
		}
		if got := kinds(missing); !reflect.DeepEqual(got, []payouts.FindingKind{payouts.UnknownIn}) {
			t.Errorf("the missing statement, late, has %v", got)
		}
		list := read(w, func(ctx context.Context, tx *sqldb.Tx) ([]payouts.StoredStatement, error) {
			return payouts.ListStatements(ctx, tx, payouts.StatementFilter{IBAN: bankIBAN, Limit: payouts.MaxPage})
		})
		for i := 1; i < len(list); i++ {
			if gaps := payouts.Gaps(list[i-1], list[i]); gaps != nil {
				t.Errorf("in the end there are gaps: %+v", gaps)
			}
		}
		page := read(w, func(ctx context.Context, tx *sqldb.Tx) ([]payouts.StoredStatement, error) {
			return payouts.ListStatements(ctx, tx, payouts.StatementFilter{IBAN: bankIBAN, From: list[1].ClosingDate, After: payouts.CursorOf(list[1]), Limit: 1})
		})
		if len(list) != 4 || len(page) != 1 || !reflect.DeepEqual(page[0], list[2]) {
			t.Errorf("statements are %+v, the page %+v", list, page)
		}
	})
}

func TestGaps(t *testing.T) {
	day := func(y int, m time.Month, d int) ledger.Date { return ledger.Date{Year: y, Month: m, Day: d} }
	st := func(sequence int64, on ledger.Date) payouts.StoredStatement {
		return payouts.StoredStatement{Sequence: sequence, ClosingDate: on, Currency: ledger.EUR}
	}
	tests := []struct {
		name      string
		before, s payouts.StoredStatement
		want      payouts.FindingKind
	}{
		{"follows", st(7, day(2026, 11, 22)), st(8, day(2026, 11, 23)), ""},
		{"new year", st(251, day(2026, 12, 31)), st(1, day(2027, 1, 2)), ""},
		{"anew in the year", st(251, day(2026, 11, 22)), st(1, day(2026, 11, 23)), payouts.SequenceGap},
		{"goes on in the new year", st(251, day(2026, 12, 31)), st(252, day(2027, 1, 2)), ""},
		{"missing", st(7, day(2026, 11, 22)), st(9, day(2026, 11, 23)), payouts.SequenceGap},
		{"repeated", st(7, day(2026, 11, 22)), st(7, day(2026, 11, 23)), payouts.SequenceRepeated},
		{"not numbered", st(0, day(2026, 11, 22)), st(0, day(2026, 11, 23)), ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			gaps := payouts.Gaps(tt.before, tt.s)
			if (tt.want == "") != (len(gaps) == 0) || (len(gaps) > 0 && gaps[0].Kind != tt.want) {
				t.Errorf("gaps are %+v, want %q", gaps, tt.want)
			}
		})
	}
}

func TestLists(t *testing.T) {
	w := newWorld(t, sqltest.SQLite(t))
	acf := w.enrol("acf", acfIBAN, 0, 0)
	w.enrol("msf", msfIBAN, 0, 0)
	today := w.engine.Today()
	for range 3 {
		w.donate("acf", 1_00)
		w.donate("msf", 1_00)
		w.imported(w.statement(w.paid(w.sent("acf").Payouts[0])))
		w.nextDay()
	}
	w.prepare("msf")
	payoutsBy := func(f payouts.PayoutFilter) (codes []string) {
		t.Helper()
		for _, p := range read(w, func(ctx context.Context, tx *sqldb.Tx) ([]payouts.Payout, error) {
			return payouts.ListPayouts(ctx, tx, f)
		}) {
			codes = append(codes, p.PayeeCode+" "+p.Batch)
		}
		return codes
	}
	batches := func(f payouts.BatchFilter) (references []string) {
		t.Helper()
		for _, b := range read(w, func(ctx context.Context, tx *sqldb.Tx) ([]payouts.Batch, error) {
			return payouts.ListBatches(ctx, tx, f)
		}) {
			references = append(references, b.Reference)
		}
		return references
	}
	check := func(got, want []string) {
		t.Helper()
		if !reflect.DeepEqual(got, want) {
			t.Errorf("got %v, want %v", got, want)
		}
	}
	b := []string{"PO-20261122-0001", "PO-20261123-0001", "PO-20261124-0001", "PO-20261125-0001"}
	check(batches(payouts.BatchFilter{Limit: 2}), []string{b[3], b[2]})
	check(batches(payouts.BatchFilter{Before: b[2], Limit: 2}), []string{b[1], b[0]})
	check(batches(payouts.BatchFilter{State: payouts.BatchPrepared, Limit: 9}), []string{b[3]})
	check(payoutsBy(payouts.PayoutFilter{PayeeID: acf.ID, From: today.AddDays(1), To: today.AddDays(2), Limit: 9}), []string{"acf " + b[1], "acf " + b[2]})
	check(payoutsBy(payouts.PayoutFilter{State: payouts.Prepared, Limit: 9}), []string{"msf " + b[3]})
	check(payoutsBy(payouts.PayoutFilter{BatchID: w.batch(b[0]).ID, State: payouts.Settled, Limit: 9}), []string{"acf " + b[0]})
	first := read(w, func(ctx context.Context, tx *sqldb.Tx) ([]payouts.Payout, error) {
		return payouts.ListPayouts(ctx, tx, payouts.PayoutFilter{Limit: 1})
	})[0]
	check(payoutsBy(payouts.PayoutFilter{After: first.EndToEndID, Limit: 1}), []string{"acf " + b[1]})
	entries := read(w, func(ctx context.Context, tx *sqldb.Tx) ([]payouts.StoredEntry, error) {
		return payouts.ListEntries(ctx, tx, payouts.EntryFilter{PayoutID: first.ID, From: today, To: today, Limit: 9})
	})
	if len(entries) != 1 || entries[0].Statement != "ST-1" || entries[0].Outcome != payouts.OutcomeSettled {
		t.Errorf("entries of the first payout are %+v", entries)
	}
	w.must(w.db.Read(t.Context(), func(ctx context.Context, tx *sqldb.Tx) error {
		for _, err := range []error{
			second(payouts.ListBatches(ctx, tx, payouts.BatchFilter{})),
			second(payouts.ListPayouts(ctx, tx, payouts.PayoutFilter{Limit: payouts.MaxPage + 1})),
			second(payouts.ListPayouts(ctx, tx, payouts.PayoutFilter{From: today, Limit: 1})),
			second(payouts.ListItems(ctx, tx, payouts.ItemFilter{})),
			second(payouts.ListStatements(ctx, tx, payouts.StatementFilter{})),
			second(payouts.ListEntries(ctx, tx, payouts.EntryFilter{})),
			second(payouts.FindBatch(ctx, tx, "a\nb")),
		} {
			w.refused(err, ledger.CodeInvalid)
		}
		w.refused(second(payouts.FindPayout(ctx, tx, "none")), ledger.CodeNotFound)
		return nil
	}))
}

func second[T any](_ T, err error) error { return err }
