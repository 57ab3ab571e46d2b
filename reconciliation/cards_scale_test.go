package reconciliation_test

import (
	"fmt"
	"os"
	"strconv"
	"testing"
	"time"

	"tweetledger/internal/payments"
	"tweetledger/internal/payouts"
	"tweetledger/internal/sqldb/sqltest"
	"tweetledger/ledger"
	"tweetledger/reconciliation"
)

// TestCardScale reconciles many charges with as many settlement lines, of which one in
// five hundred has each kind of break: all must be found, and none invented, in memory
// that does not grow with them.
//
// go test has scaleCharges; TWEETLEDGER_RECONCILE_CARDS=100000 as many as it says (give
// -timeout), and with -v seconds and memory are printed.
func TestCardScale(t *testing.T) {
	n := scaleCharges
	if text := os.Getenv("TWEETLEDGER_RECONCILE_CARDS"); text != "" {
		var err error
		if n, err = strconv.Atoi(text); err != nil || n < scaleCharges {
			t.Fatalf("TWEETLEDGER_RECONCILE_CARDS is %q; write a number of charges, %d or more", text, scaleCharges)
		}
	}
	w := newCardWorld(t, sqltest.SQLite(t))
	wanted := w.fillCards(n)
	spill := reconciliation.Spill{Dir: t.TempDir()}
	if n == scaleCharges {
		spill.SortMemory = 16 << 10 // so that these few are sorted on disk, too
	}
	peak, before := uint64(0), resident()
	began, worked := time.Now(), processorTime()
	r, err := reconciliation.Cards(w.ctx, w.engine, w.payouts, reconciliation.CardsParams{From: from, To: to, Spill: spill,
		Progress: func(int, int) { peak = max(peak, resident()) }})
	w.must(err)
	t.Logf("%d charges against as many lines in %s (%s of processor time), %d MB resident at most, %d MB before", n, time.Since(began).Round(time.Millisecond),
		(processorTime() - worked).Round(time.Millisecond), peak>>20, before>>20)
	if peak > before+scaleMemory {
		t.Errorf("the run took %d MB", (peak-before)>>20)
	}
	wantBreaks(t, r, wanted...)
}

const (
	scaleCharges = 1_000
	// cardStep is in how many charges each kind of break is planted once.
	cardStep = 500
	// transferLines is how many charges a transfer has.
	transferLines = 250
)

// fillCards books charges by hand, as staff do, and settles them; it returns the breaks
// that it has planted.
func (w *cardWorld) fillCards(n int) (wanted []want) {
	w.t.Helper()
	var lines []payouts.SettlementLine
	var credits []payouts.Detail
	sum := ledger.Amount(0)
	var requests []ledger.Request
	flush := func() {
		outcomes, err := w.engine.Submit(w.ctx, requests)
		w.must(err)
		for _, o := range outcomes {
			w.must(o.Err)
		}
		requests = nil
	}
	for i := range n {
		reference, amount := fmt.Sprintf("pi_%07d", i), ledger.Amount(100+i%900)
		transfer := fmt.Sprintf("TR-%05d", i/transferLines)
		book, l := true, line(payouts.SettledCharge, transfer, reference, amount, 10)
		list := []payouts.SettlementLine{l}
		switch i % cardStep {
		case 1: // never settled
			list = nil
			wanted = append(wanted, want{reconciliation.MissingOutside, reference, amount})
		case 2: // never booked
			book = false
			wanted = append(wanted, want{reconciliation.UnknownMoney, reference, amount})
		case 3:
			list[0].Gross++
			wanted = append(wanted, want{reconciliation.AmountDiffers, reference, 1})
		case 4:
			list = append(list, l)
			wanted = append(wanted, want{reconciliation.Duplicate, reference, amount})
		case 5:
			list = append(list, line(payouts.SettledChargeback, transfer, reference, -amount, 20_00))
			wanted = append(wanted, want{reconciliation.MissingInLedger, reference, amount})
		}
		if book {
			requests = append(requests, ledger.PostRequest{Key: payments.TopUpKey(reference), Journal: ledger.JournalCards, Label: "Card top-up", Source: ledger.Source{Channel: "card", ID: reference},
				Postings: []ledger.Posting{{Debit: ledger.SystemAccountID(payments.AccountCardsToSettle), Credit: ledger.SystemAccountID(payments.AccountOwn), Amount: amount, Currency: ledger.EUR}}})
		}
		for _, l := range list {
			lines, sum = append(lines, l), sum+l.Gross-l.Fee
		}
		if (i+1)%transferLines == 0 || i == n-1 {
			flush()
			w.settle(lines...)
			if i/transferLines%20 == 7 {
				wanted = append(wanted, want{reconciliation.MissingOutside, "acq/" + transfer, max(sum, -sum)})
			} else {
				credits = append(credits, transferred(transfer, sum))
			}
			lines, sum = nil, 0
		}
	}
	w.pass(27 * day)
	w.bankSays(credits...)
	return wanted
}
