package engine_test

import (
	"context"
	"testing"
	"time"

	"tweetledger/internal/sqldb"
	"tweetledger/internal/sqldb/sqltest"
	"tweetledger/ledger"
	"tweetledger/ledger/engine"
)

// A commit whose fate is unknown is found out by its keys: nothing is done
// twice, nothing is lost, and the caller does not notice.
func TestCommitsOfUnknownFate(t *testing.T) {
	eachServer(t, func(t *testing.T, p *sqltest.Proxy, db *sqldb.DB) {
		w := newWorld(t, db)
		w.mustPost(w.transfer(w.cash, w.marie, 100_000))
		for name, lost := range map[string]sqltest.Fault{"answer lost": sqltest.CutAfter, "commit lost": sqltest.CutBefore} {
			t.Run(name, func(t *testing.T) { unknownFates(t, w.in(t), p, lost) })
		}
		w.verify()
	})
}

func eachServer(t *testing.T, fn func(t *testing.T, p *sqltest.Proxy, db *sqldb.DB)) {
	for _, engine := range []sqldb.Engine{sqldb.PostgreSQL, sqldb.CockroachDB} {
		t.Run(string(engine), func(t *testing.T) {
			p, db := sqltest.ThroughProxy(t, sqltest.URL(t, engine))
			fn(t, p, db)
		})
	}
}

func unknownFates(t *testing.T, w *world, p *sqltest.Proxy, lost sqltest.Fault) {
	before := w.balance(w.marie)
	held := w.mustHold(w.holdOf(w.marie, w.yoann, 700))
	released := w.mustHold(w.holdOf(w.marie, w.yoann, 50))
	spent := w.mustPost(w.transfer(w.marie, w.payee, 30))
	post, hold := w.transfer(w.marie, w.payee, 100), w.holdOf(w.marie, w.yoann, 5)
	var bulk []ledger.Request
	for range 3 {
		bulk = append(bulk, w.transfer(w.marie, w.payee, 1))
	}
	bulk = append(bulk, w.transfer(w.marie, w.payee, 240_000))
	wallet := ledger.Account{ID: ledger.SystemAccountID(w.key()), Code: "late-" + w.key(), Name: "Late", Category: ledger.Suspense,
		Side: ledger.Credit, Currency: ledger.EUR, Shards: 2}
	var made ledger.Transaction
	for _, step := range []struct {
		name string
		do   func() error
	}{
		{"Post", func() (err error) { made, err = w.Post(w.ctx, post); return err }},
		{"Hold", func() error { _, err := w.Hold(w.ctx, hold); return err }},
		{"PostHold", func() error { _, err := w.PostHold(w.ctx, w.postOf(held, 0)); return err }},
		{"VoidHold", func() error {
			h, err := w.VoidHold(w.ctx, ledger.VoidHoldRequest{Key: w.key(), HoldID: released.ID})
			if err == nil && h.Status != ledger.HoldVoided {
				t.Errorf("VoidHold answers %+v", h)
			}
			return err
		}},
		{"Reverse", func() error {
			_, err := w.Reverse(w.ctx, ledger.ReverseRequest{Key: w.key(), TransactionID: spent.ID, Label: "Back"})
			return err
		}},
		{"Submit", func() error {
			outcomes, err := w.Submit(w.ctx, bulk)
			for i, out := range outcomes {
				if want := map[bool]ledger.Code{true: ledger.CodeInsufficientFunds}[i == 3]; ledger.CodeOf(out.Err) != want {
					t.Errorf("Submit: request %d: %v, want %q", i, out.Err, want)
				}
			}
			return err
		}},
		{"OpenAccount", func() error { _, err := w.OpenAccount(w.ctx, wallet); return err }},
		{"SetChart", func() error {
			return w.SetChart(w.ctx, []ledger.ChartEntry{{Category: ledger.Suspense, ValidFrom: date(2014, 1, 1), Number: "471", Label: "Attente"}})
		}},
	} {
		cuts := p.Strikes()
		p.Once(lost, sqltest.IsCommit)
		if err := step.do(); err != nil {
			t.Errorf("%s: %v", step.name, err)
		}
		if got := p.Strikes() - cuts; got != 1 {
			t.Errorf("%s: the connection was cut %d times, want once", step.name, got)
		}
	}
	spentNow := ledger.Amount(100 + 700 + 3)
	w.wantBalance(w.marie, before.Posted()-spentNow, before.Available()-spentNow-5)
	w.read(func(ctx context.Context, tx *sqldb.Tx) error {
		stored, err := engine.FindTransaction(ctx, tx, ledger.IDOfKey(post.Key))
		if err == nil && !sameTransaction(stored, made) {
			t.Errorf("the caller was told %+v, the book says %+v", made, stored)
		}
		return err
	})
}

// In a transaction of his own the caller learns that the fate is unknown; the
// same request with the same key then finds out.
func TestCallersOwnCommitOfUnknownFate(t *testing.T) {
	eachServer(t, func(t *testing.T, p *sqltest.Proxy, db *sqldb.DB) {
		w := newWorld(t, db)
		for _, lost := range []sqltest.Fault{sqltest.CutAfter, sqltest.CutBefore} {
			r := w.transfer(w.cash, w.marie, 100)
			runs := 0
			write := func() error {
				return db.Write(w.ctx, func(ctx context.Context, tx *sqldb.Tx) error {
					runs++
					_, err := w.PostTx(ctx, tx, r)
					return err
				})
			}
			before := w.balance(w.marie).Posted()
			p.Once(lost, sqltest.IsCommit)
			if err := write(); !sqldb.IsAmbiguous(err) || runs != 1 {
				t.Fatalf("got %v after %d runs", err, runs)
			}
			if err := write(); err != nil {
				t.Fatal(err)
			}
			w.wantBalance(w.marie, before+100, before+100)
		}
		w.verify()
	})
}

// While the database is away, callers are asked to come back; nothing that they
// were told is forgotten.
func TestDatabaseAway(t *testing.T) {
	eachServer(t, func(t *testing.T, p *sqltest.Proxy, db *sqldb.DB) {
		w := newWorld(t, db)
		before := w.mustPost(w.transfer(w.cash, w.marie, 100))
		r := w.transfer(w.cash, w.marie, 11)
		p.SetDown(true)
		if _, err := w.Post(w.ctx, r); ledger.CodeOf(err) != ledger.CodeUnavailable {
			t.Errorf("got %v", err)
		}
		ctx, cancel := context.WithTimeout(w.ctx, 50*time.Millisecond)
		defer cancel()
		if _, err := w.Post(ctx, w.transfer(w.cash, w.marie, 1000)); ledger.CodeOf(err) != ledger.CodeUnavailable {
			t.Errorf("with little time: %v", err)
		}
		if _, err := w.Verify(w.ctx, nil); ledger.CodeOf(err) != ledger.CodeUnavailable {
			t.Errorf("Verify: %v", err)
		}
		p.SetDown(false)
		w.mustPost(r)
		w.read(func(ctx context.Context, tx *sqldb.Tx) error {
			stored, err := engine.FindTransaction(ctx, tx, before.ID)
			if err == nil && !sameTransaction(stored, before) {
				t.Errorf("the book says %+v", stored)
			}
			return err
		})
		w.verify()
	})
}
