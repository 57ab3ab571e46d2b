package engine_test

import (
	"errors"
	"slices"
	"testing"

	"tweetledger/internal/sqldb"
	"tweetledger/internal/sqldb/sqltest"
	"tweetledger/ledger"
	"tweetledger/ledger/engine"
)

// Requests that are carried out together are all there or none is; the answer says
// which one is to blame.
func TestAllTogetherOrNone(t *testing.T) {
	sqltest.Each(t, func(t *testing.T, db *sqldb.DB) {
		w := newWorld(t, db)
		fund := w.transfer(w.cash, w.marie, 1000)
		hold := w.holdOf(w.marie, w.yoann, 300)
		good := []ledger.Request{fund, hold,
			ledger.PostHoldRequest{Key: w.key(), HoldID: ledger.IDOfKey(hold.Key), Journal: "VIR", Label: "Whole"}, w.transfer(w.marie, w.payee, 700)}
		tooMuch := w.transfer(w.marie, w.payee, 1)
		invalid := w.transfer(w.cash, w.marie, 1)
		invalid.Label = ""
		for name, bad := range map[string]struct {
			request ledger.Request
			code    ledger.Code
		}{"refused": {tooMuch, ledger.CodeInsufficientFunds}, "invalid": {invalid, ledger.CodeInvalid}, "none": {nil, ledger.CodeInvalid}} {
			outcomes, err := w.SubmitTogether(w.ctx, append(slices.Clone(good), bad.request))
			if err != nil || len(outcomes) != len(good)+1 {
				t.Fatalf("%s: %d outcomes, %v", name, len(outcomes), err)
			}
			for i, out := range outcomes {
				want := ledger.CodeAborted
				if i == len(good) {
					want = bad.code
				}
				if ledger.CodeOf(out.Err) != want {
					t.Errorf("%s: request %d: got %v, want %s", name, i, out.Err, want)
				}
			}
			w.wantBalance(w.marie, 0, 0)
			w.wantBalance(w.payee, 0, 0)
		}
		for round := range 2 { // the second time they are replayed
			outcomes, err := w.SubmitTogether(w.ctx, good)
			if err != nil {
				t.Fatal(err)
			}
			for i, out := range outcomes {
				if out.Err != nil || out.Replayed != (round == 1) {
					t.Errorf("round %d: request %d: %+v", round, i, out)
				}
			}
			w.wantBalance(w.marie, 0, 0)
			w.wantBalance(w.yoann, 300, 300)
			w.wantBalance(w.payee, 700, 700)
		}
		if _, err := w.SubmitTogether(w.ctx, make([]ledger.Request, engine.MaxSubmit+1)); ledger.CodeOf(err) != ledger.CodeInvalid {
			t.Errorf("too many requests: %v", err)
		}
		w.verify()
	})
}

// A run of verify goes on from its checkpoint in a book that has gone on too, and
// finds what changed behind its back in the part that it had not reached.
func TestVerifyGoesOnFromACheckpoint(t *testing.T) {
	sqltest.Core(t, func(t *testing.T, db *sqldb.DB) {
		w := newWorld(t, db)
		w.mustPost(w.transfer(w.cash, w.marie, 1000))
		w.mustPost(w.transfer(w.marie, w.payee, 10))
		w.sealAll()
		interrupted := errors.New("interrupted")
		var file []byte
		_, err := w.VerifyBook(w.ctx, engine.VerifyOptions{Save: func(c engine.Checkpoint) (err error) {
			if file, err = c.Encode(); err != nil {
				return err
			}
			return interrupted
		}})
		if !errors.Is(err, interrupted) {
			t.Fatalf("verify was interrupted and says %v", err)
		}
		checkpoint, err := engine.ParseCheckpoint(file)
		if err != nil {
			t.Fatal(err)
		}
		if checkpoint.Postings != 2 {
			t.Errorf("the checkpoint has %d postings behind it, not 2", checkpoint.Postings)
		}
		w.mustPost(w.transfer(w.marie, w.yoann, 20)) // and sealed, so that the chains have gone on
		w.sealAll()
		w.mustPost(w.transfer(w.marie, w.yoann, 30))

		began := int64(-1)
		report, err := w.VerifyBook(w.ctx, engine.VerifyOptions{Resume: &checkpoint, Progress: func(done, _ int64) {
			if began < 0 {
				began = done
			}
		}})
		if err != nil || !report.OK() {
			t.Fatalf("resumed: %v, %v", report.Differences, err)
		}
		if began != 2 {
			t.Errorf("it began anew: after %d postings, not 2", began)
		}
		if whole, err := w.Verify(w.ctx, nil); err != nil || whole.Postings != report.Postings || whole.Transactions != report.Transactions {
			t.Errorf("resumed: %+v; in one go: %+v, %v", report, whole, err)
		}
		w.mustExec("UPDATE balances SET debits_posted = debits_posted + 1 WHERE " + w.ofAccount(w.cash))
		if report, err := w.VerifyBook(w.ctx, engine.VerifyOptions{Resume: &checkpoint}); err != nil || report.OK() {
			t.Errorf("a changed balance is not found: %v", err)
		}
	})
}
