package engine_test

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"tweetledger/internal/sqldb"
	"tweetledger/internal/sqldb/sqltest"
	"tweetledger/ledger"
	"tweetledger/ledger/engine"
	"tweetledger/ledger/ledgertest"
)

// sealedBook is a book with five sealed entries in one journal, of which Marie's
// first four payments lie on a page each.
func sealedBook(t *testing.T, db *sqldb.DB) (*world, []ledger.Transaction, ledger.Heads) {
	t.Helper()
	w := newWorld(t, db)
	w.mustPost(w.transfer(w.cash, w.marie, 1000))
	var made []ledger.Transaction
	for i := range 4 {
		r := w.transfer(w.marie, w.payee, ledger.Amount(10+i))
		r.Metadata = map[string]string{"place": fmt.Sprint(i)}
		made = append(made, w.mustPost(r))
		w.clock.Advance(time.Second)
	}
	w.sealAll()
	w.verify()
	return w, made, w.sealedHeads()
}

func (w *world) sealedHeads() (heads ledger.Heads) {
	w.t.Helper()
	w.read(func(ctx context.Context, tx *sqldb.Tx) error {
		var err error
		heads, err = w.Heads(ctx, tx)
		return err
	})
	return heads
}

// letTamperWithSeals takes away what keeps SQLite from it.
func (w *world) letTamperWithSeals() {
	w.t.Helper()
	w.letTamper()
	if w.db.Engine() == sqldb.SQLite {
		w.mustExec("DROP TRIGGER IF EXISTS seals_no_update", "DROP TRIGGER IF EXISTS seals_no_delete")
	}
}

// disproved proves the book against heads and returns what does not agree.
func (w *world) disproved(heads ledger.Heads) []string {
	w.t.Helper()
	report, err := w.VerifyBook(w.ctx, engine.VerifyOptions{Published: heads.List})
	if err != nil {
		w.t.Fatal(err)
	}
	var list []string
	for _, d := range report.Differences {
		list = append(list, d.String())
	}
	return list
}

func (w *world) wantDifference(list []string, parts ...string) {
	w.t.Helper()
	for _, d := range list {
		found := true
		for _, part := range parts {
			found = found && strings.Contains(d, part)
		}
		if found {
			return
		}
	}
	w.t.Errorf("nothing names %q; differences:\n%s", parts, strings.Join(list, "\n"))
}

const proofPage = "UPDATE pages SET "

func TestSealedEntryThatWasTamperedWithIsNamedByItsNumber(t *testing.T) {
	type target struct {
		w    *world
		made []ledger.Transaction
	}
	on := func(t ledger.Transaction) string { return fmt.Sprintf("page_id = %d", t.Place.PageID) }
	// insertPosting puts a copy of t on a page and line, under another id and key.
	insertPosting := func(w *world, t ledger.Transaction, page, line int64) string {
		return fmt.Sprintf(`INSERT INTO postings (page_id, line, transaction_id, ordinal, debit_no, credit_no, amount, currency, postings, idempotency_key, journal, label)
			SELECT %d, %d, %s, 0, debit_no, credit_no, amount, currency, 1, 'forged', journal, label FROM postings WHERE %s`,
			page, line, w.lit(ledger.IDOfKey("forged")), on(t))
	}
	for _, c := range []struct {
		name string
		do   func(x target) []string
		want [][]string
	}{
		{"label", func(x target) []string { return []string{"UPDATE postings SET label = 'Other' WHERE " + on(x.made[1])} },
			[][]string{{"entry 3 of journal VIR of 2014", "content is changed since"}}},
		{"amount", func(x target) []string {
			return []string{"UPDATE postings SET amount = amount + 1 WHERE " + on(x.made[1])}
		}, [][]string{{"entry 3 of journal VIR of 2014", "content is changed since"}}},
		{"metadata", func(x target) []string {
			return []string{`UPDATE postings SET metadata = '{"place":"9"}' WHERE ` + on(x.made[2])}
		}, [][]string{{"entry 4 of journal VIR of 2014", "content is changed since"}}},
		{"recording time", func(x target) []string {
			return []string{proofPage + "recorded_at = '2014-10-14T07:00:00.000000Z' WHERE id = " + fmt.Sprint(x.made[1].Place.PageID)}
		}, [][]string{{"entry 3 of journal VIR of 2014", "content is changed since"}}},
		{"entry taken out", func(x target) []string {
			return []string{"DELETE FROM postings WHERE " + on(x.made[1])}
		}, [][]string{{"entry 3 of journal VIR of 2014", "transaction is missing"}}},
		{"entry put into a sealed page", func(x target) []string {
			return []string{insertPosting(x.w, x.made[0], x.made[1].Place.PageID, 1)}
		}, [][]string{{"transaction " + ledger.IDOfKey("forged").String(), "it was inserted after the page was sealed"}}},
		{"entry put in on a page of its own", func(x target) []string {
			id := x.made[3].Place.PageID + 1_000_000
			return []string{fmt.Sprintf(`INSERT INTO pages (id, effective_date, adjustment, recorded_at, transactions, postings)
				SELECT %d, effective_date, 0, recorded_at, 1, 1 FROM pages WHERE id = %d`, id, x.made[3].Place.PageID),
				insertPosting(x.w, x.made[0], id, 0)}
		}, [][]string{{"page ", "it was inserted past the ledger"}}},
		{"page re-dated with its postings", func(x target) []string {
			from, to := x.made[1].Place.PageID, x.made[1].Place.PageID-(1<<engine.SlotBits)
			return []string{fmt.Sprintf(`INSERT INTO pages (id, effective_date, adjustment, recorded_at, transactions, postings)
				SELECT %d, '%s', adjustment, recorded_at, transactions, postings FROM pages WHERE id = %d`, to, x.made[1].EffectiveDate.AddDays(-1), from),
				fmt.Sprintf("UPDATE postings SET page_id = %d WHERE page_id = %d", to, from),
				fmt.Sprintf("UPDATE requests SET page_id = %d WHERE page_id = %d", to, from),
				fmt.Sprintf("UPDATE seals SET page_id = %d WHERE page_id = %d", to, from),
				fmt.Sprintf("DELETE FROM pages WHERE id = %d", from)}
		}, [][]string{{"entry 3 of journal VIR of 2014", "content is changed since"}}},
		{"entry renumbered", func(x target) []string {
			return []string{"UPDATE seals SET first_number = 9, last_number = 9 WHERE first_number = 5"}
		}, [][]string{{"entry 5 of journal VIR of 2014", "missing; the next one is that of entry 9"}}},
		{"two entries swapped", func(x target) []string {
			a, b := x.made[1].Place.PageID, x.made[2].Place.PageID
			// UNIQUE (page_id, journal) takes a third place.
			spare := x.made[3].Place.PageID + 1_000_000
			return []string{fmt.Sprintf(`INSERT INTO pages (id, effective_date, adjustment, recorded_at, transactions, postings)
				SELECT %d, effective_date, 0, recorded_at, 1, 1 FROM pages WHERE id = %d`, spare, a),
				fmt.Sprintf("UPDATE seals SET page_id = %d WHERE page_id = %d", spare, a),
				fmt.Sprintf("UPDATE seals SET page_id = %d WHERE page_id = %d", a, b),
				fmt.Sprintf("UPDATE seals SET page_id = %d WHERE page_id = %d", b, spare),
				fmt.Sprintf("DELETE FROM pages WHERE id = %d", spare)}
		}, [][]string{{"entry 3 of journal VIR of 2014", "content is changed since"}, {"entry 4 of journal VIR of 2014", "content is changed since"}}},
		{"seal taken out of the middle", func(x target) []string {
			return []string{"DELETE FROM seals WHERE first_number = 3"}
		}, [][]string{{"entry 3 of journal VIR of 2014", "missing; the next one is that of entry 4"}}},
		{"tail of the chain cut off, heads rewritten", func(x target) []string { return x.w.cutTail(4) },
			[][]string{{"entry 5 of journal VIR of 2014", "missing", "as it was published"}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			sqltest.Each(t, func(t *testing.T, db *sqldb.DB) {
				if db.Engine() == sqldb.CockroachDB {
					t.Skip("a book a case takes CockroachDB too long; TestVerifyNamesSealedEntries forges one book there")
				}
				w, made, published := sealedBook(t, db)
				w.letTamperWithSeals()
				w.mustExec(c.do(target{w, made})...)
				list := w.disproved(published)
				for _, parts := range c.want {
					w.wantDifference(list, parts...)
				}
			})
		})
	}
}

// cutTail takes the seals behind entry n away, puts their pages back into the
// queue, and rewrites the head, the roll-ups and what lists find pages by, so that
// the book agrees with itself.
func (w *world) cutTail(n int64) []string {
	return append([]string{
		fmt.Sprintf("INSERT INTO unsealed_pages (recorded_at, page_id) SELECT g.recorded_at, g.id FROM pages AS g JOIN seals AS s ON s.page_id = g.id WHERE s.first_number > %d", n),
		fmt.Sprintf(`UPDATE account_days SET debits = debits - (SELECT COALESCE(SUM(p.amount), 0) FROM postings AS p JOIN seals AS s ON s.page_id = p.page_id
			WHERE s.first_number > %[1]d AND p.debit_no = account_days.account_no), credits = credits - (SELECT COALESCE(SUM(p.amount), 0)
			FROM postings AS p JOIN seals AS s ON s.page_id = p.page_id WHERE s.first_number > %[1]d AND p.credit_no = account_days.account_no)`, n),
		fmt.Sprintf("DELETE FROM seals WHERE first_number > %d", n),
		fmt.Sprintf("UPDATE seal_heads SET number = %d, link = (SELECT link FROM seals WHERE last_number = %d)", n, n),
	}, w.lookupsMadeRight()...)
}

// A book that was rewritten in whole agrees with itself; only heads that somebody
// else has kept tell.
func TestOnlyPublishedHeadsTellOfARewrittenBook(t *testing.T) {
	sqltest.Each(t, func(t *testing.T, db *sqldb.DB) {
		w, made, published := sealedBook(t, db)
		w.letTamperWithSeals()
		w.mustExec("UPDATE postings SET label = 'Rewritten' WHERE transaction_id = " + w.lit(made[1].ID))
		link := ledger.ChainStart(ledger.JournalTransfers, 2014)
		var list []ledger.Transaction
		w.read(func(ctx context.Context, tx *sqldb.Tx) error {
			var err error
			list, err = engine.ListTransactions(ctx, tx, engine.TransactionFilter{Limit: 10})
			return err
		})
		slices.SortFunc(list, func(a, b ledger.Transaction) int { return int(a.Number - b.Number) })
		for _, made := range list {
			entry := ledger.EntryHash(made.Journal, made.FiscalYear, made.Number, made)
			link = ledger.NextLink(link, entry)
			w.mustExec(fmt.Sprintf("UPDATE seals SET entries = %s, link = %s WHERE first_number = %d", w.hashLit(entry), w.hashLit(link), made.Number))
		}
		w.mustExec("UPDATE seal_heads SET link = " + w.hashLit(link))
		w.verify() // it bears out all that it says itself
		list2 := w.disproved(published)
		w.wantDifference(list2, "entry 5 of journal VIR of 2014", "link of the chain", "as it was published")
		if len(list2) != 1 {
			t.Errorf("%d differences, want one: %v", len(list2), list2)
		}
	})
}

func TestTailCutOffAgreesWithItself(t *testing.T) {
	sqltest.Each(t, func(t *testing.T, db *sqldb.DB) {
		w, _, published := sealedBook(t, db)
		w.letTamperWithSeals()
		w.mustExec(w.cutTail(4)...)
		w.verify()
		w.wantDifference(w.disproved(published), "entry 5 of journal VIR of 2014", "missing")
	})
}

func TestInterruptedVerifyReportsAsInOneGo(t *testing.T) {
	sqltest.Each(t, func(t *testing.T, db *sqldb.DB) {
		w := newWorld(t, db)
		w.mustPost(w.transfer(w.cash, w.marie, 100_000))
		for range 4 { // pages of more postings together than are read at once
			var requests []ledger.Request
			for range 4000 {
				requests = append(requests, w.transfer(w.marie, w.payee, 1))
			}
			if _, err := w.Submit(w.ctx, requests); err != nil {
				t.Fatal(err)
			}
		}
		w.sealAll()
		w.mustExec("UPDATE balances SET version = version + 1, credits_posted = credits_posted + 1 WHERE " + w.ofAccount(w.bank))
		whole, err := w.Verify(w.ctx, nil)
		if err != nil || whole.OK() {
			t.Fatalf("whole run: %+v, %v", whole, err)
		}
		ctx, cancel := context.WithCancel(w.ctx)
		var kept []byte
		_, err = w.VerifyBook(ctx, engine.VerifyOptions{Save: func(c engine.Checkpoint) error {
			kept, err = c.Encode()
			cancel()
			return err
		}})
		if !errors.Is(err, context.Canceled) || kept == nil {
			t.Fatalf("run that was interrupted: %v", err)
		}
		// What cannot be saved is not the database's doing.
		full := errors.New("disk full")
		_, err = w.VerifyBook(w.ctx, engine.VerifyOptions{Save: func(engine.Checkpoint) error { return full }})
		if !errors.Is(err, full) || err.Error() != "verify the book: save the checkpoint: disk full" {
			t.Errorf("checkpoint that cannot be saved: %v", err)
		}
		resume, err := engine.ParseCheckpoint(kept)
		if err != nil || resume.Postings == 0 || resume.Postings >= whole.Postings {
			t.Fatalf("checkpoint after %d of %d postings, %v", resume.Postings, whole.Postings, err)
		}
		begin := int64(-1)
		rest, err := w.VerifyBook(w.ctx, engine.VerifyOptions{Resume: &resume, Progress: func(done, _ int64) {
			if begin < 0 {
				begin = done
			}
		}})
		if err != nil || fmt.Sprint(rest) != fmt.Sprint(whole) {
			t.Errorf("resumed: %+v, %v\nin one go: %+v", rest, err, whole)
		}
		if begin != resume.Postings {
			t.Errorf("it went on from %d postings, not %d", begin, resume.Postings)
		}
		for name, spoil := range map[string]func(){
			"cut off": func() { kept = kept[:len(kept)-9] },
			"edited":  func() { kept = []byte(strings.Replace(string(kept), `last_page`, `lost_page`, 1)) },
		} {
			before := slices.Clone(kept)
			spoil()
			if _, err := engine.ParseCheckpoint(kept); ledger.CodeOf(err) != ledger.CodeInvalid {
				t.Errorf("checkpoint that was %s: %v, want invalid", name, err)
			}
			kept = before
		}
		resume.Began[0].Link = sha256.Sum256([]byte("another book"))
		if _, err := w.VerifyBook(w.ctx, engine.VerifyOptions{Resume: &resume}); ledger.CodeOf(err) != ledger.CodeInvalid {
			t.Errorf("checkpoint of another book: %v, want invalid", err)
		}
	})
}

// sealLikeAProcess takes the lease and seals, until nothing waits.
func sealLikeAProcess(ctx context.Context, e *engine.Engine, holder string, done <-chan struct{}) error {
	for {
		finished := false
		select {
		case <-done:
			finished = true
		default:
		}
		lease, got, err := e.AcquireLease(ctx, engine.SealerLease, holder, time.Second)
		if err != nil {
			return err
		}
		if got {
			_, err := e.Seal(ctx, lease)
			if err != nil && ledger.CodeOf(err) != ledger.CodeConflict {
				return err
			}
			// Giving it up lets the other one in, as an end of the process between two rounds does.
			if err := e.ReleaseLease(ctx, lease); err != nil {
				return err
			}
		}
		if finished && got {
			return nil
		}
		if err := ctx.Err(); err != nil {
			return err
		}
	}
}

func TestTwoSealersGiveEachNumberOnce(t *testing.T) {
	sqltest.Core(t, func(t *testing.T, db *sqldb.DB) {
		w := newWorld(t, db)
		other := w.another()
		w.mustPost(w.transfer(w.cash, w.marie, 10_000))
		done := make(chan struct{})
		errs := make(chan error, 2)
		go func() { errs <- sealLikeAProcess(w.ctx, w.Engine, "first", done) }()
		go func() { errs <- sealLikeAProcess(w.ctx, other, "second", done) }()
		var posting sync.WaitGroup
		for i, e := range []*engine.Engine{w.Engine, other} {
			posting.Go(func() {
				for range 30 {
					r := w.transfer(w.marie, w.payee, ledger.Amount(i+1))
					if _, err := e.Post(w.ctx, r); err != nil {
						t.Error(err)
					}
				}
			})
		}
		posting.Wait()
		close(done)
		for range 2 {
			if err := <-errs; err != nil {
				t.Error(err)
			}
		}
		w.wantNumbers(61)
		w.verify()
	})
}

// wantNumbers checks that the journal has the numbers from 1 to n, each once.
func (w *world) wantNumbers(n int64) {
	w.t.Helper()
	seen := map[int64]int{}
	w.read(func(ctx context.Context, tx *sqldb.Tx) error {
		list, err := engine.ListTransactions(ctx, tx, engine.TransactionFilter{Limit: 1000})
		for _, made := range list {
			seen[made.Number]++
		}
		return err
	})
	for i := int64(1); i <= n; i++ {
		if seen[i] != 1 {
			w.t.Errorf("number %d is there %d times", i, seen[i])
		}
	}
	if int64(len(seen)) != n {
		w.t.Errorf("%d numbers, want %d", len(seen), n)
	}
}

// A page that commits late is sealed behind those that committed before it, though
// it was recorded first. On the others nothing overtakes it: SQLite has one writer,
// and on CockroachDB the sealer waits for what is being written to its queue.
func TestPageThatCommitsLateIsSealedLater(t *testing.T) {
	sqltest.Each(t, func(t *testing.T, db *sqldb.DB) {
		if db.Engine() != sqldb.PostgreSQL {
			t.Skip("nothing is sealed while another transaction writes to the queue")
		}
		w := newWorld(t, db)
		other := w.another()
		written, release, ended := make(chan struct{}), make(chan struct{}), make(chan error, 1)
		late := w.transfer(w.bank, w.payee, 5)
		var once sync.Once
		go func() {
			ended <- db.Write(w.ctx, func(ctx context.Context, tx *sqldb.Tx) error {
				_, err := w.PostTx(ctx, tx, late)
				once.Do(func() { close(written) })
				<-release
				return err
			})
		}()
		<-written
		w.clock.Advance(time.Second)
		early, err := other.Post(w.ctx, w.transfer(w.cash, w.marie, 7))
		if err != nil {
			t.Fatal(err)
		}
		if n := w.sealAll(); n != 1 {
			t.Errorf("%d transactions were sealed before the late one, want 1", n)
		}
		close(release)
		if err := <-ended; err != nil {
			t.Fatal(err)
		}
		if n := w.sealAll(); n != 1 {
			t.Errorf("%d transactions were sealed after it, want 1", n)
		}
		w.read(func(ctx context.Context, tx *sqldb.Tx) error {
			first, err := engine.FindByNumber(ctx, tx, ledger.JournalTransfers, 2014, 1)
			if err == nil && first.ID != early.ID {
				t.Errorf("entry 1 is %s, want %s", first.Key, early.Key)
			}
			second, err2 := engine.FindByNumber(ctx, tx, ledger.JournalTransfers, 2014, 2)
			if err2 == nil && second.ID != ledger.IDOfKey(late.Key) {
				t.Errorf("entry 2 is %s, want the late one", second.Key)
			}
			return errors.Join(err, err2)
		})
		w.verify()
	})
}

// What two processes post to wallets with limits is carried out again by the model
// in the order of the seals: it never passes a limit.
func TestSealedOrderNeverPassesALimit(t *testing.T) {
	sqltest.Core(t, func(t *testing.T, db *sqldb.DB) {
		w := newWorld(t, db)
		other := w.another()
		w.mustPost(w.transfer(w.cash, w.marie, 40))
		var posting sync.WaitGroup
		for i, e := range []*engine.Engine{w.Engine, other, w.Engine, other} {
			posting.Go(func() {
				for n := range 25 {
					from, to := w.marie, w.yoann
					if (i+n)%2 == 1 {
						from, to = to, from
					}
					_, err := e.Post(w.ctx, w.transfer(from, to, ledger.Amount(7+n%9)))
					if err != nil && ledger.CodeOf(err) != ledger.CodeInsufficientFunds {
						t.Error(err)
					}
				}
			})
		}
		done := make(chan struct{})
		sealing := make(chan error, 1)
		go func() { sealing <- sealLikeAProcess(w.ctx, other, "second", done) }()
		posting.Wait()
		close(done)
		if err := <-sealing; err != nil {
			t.Error(err)
		}
		w.sealAll()
		model := ledgertest.NewModel()
		for _, a := range []ledger.Account{w.cash, w.bank, w.marie, w.yoann, w.payee} {
			model.Open(a)
		}
		w.read(func(ctx context.Context, tx *sqldb.Tx) error {
			heads, err := w.Heads(ctx, tx)
			if err != nil {
				return err
			}
			for n := int64(1); n <= heads.List[0].Number; n++ {
				made, err := engine.FindByNumber(ctx, tx, ledger.JournalTransfers, 2014, n)
				if err != nil {
					return err
				}
				r := ledger.PostRequest{Key: made.Key, Journal: made.Journal, Label: made.Label, EffectiveDate: made.EffectiveDate, Postings: made.Postings}
				if _, code := model.Apply(r, made.RecordedAt); code != "" {
					t.Errorf("entry %d is refused in sealed order: %s", n, code)
				}
			}
			return nil
		})
		w.verify()
	})
}

func TestHoldsExpireOnceWhicheverNodeDoesIt(t *testing.T) {
	sqltest.Core(t, func(t *testing.T, db *sqldb.DB) {
		w := newWorld(t, db)
		w.mustPost(w.transfer(w.cash, w.marie, 1000))
		var due []ledger.Hold
		for range 10 {
			r := w.holdOf(w.marie, w.yoann, 10)
			r.ExpiresAt = w.Now().Add(time.Hour)
			due = append(due, w.mustHold(r))
		}
		if n, err := w.ExpireHolds(w.ctx, 100); n != 0 || err != nil {
			t.Errorf("%d holds expired before their time, %v", n, err)
		}
		w.clock.Advance(2 * time.Hour)
		voided, err := w.VoidHold(w.ctx, ledger.VoidHoldRequest{Key: w.key(), HoldID: due[0].ID, Expired: true})
		if err != nil || voided.Status != ledger.HoldExpired {
			t.Fatalf("hold that its owner ends: %+v, %v", voided, err)
		}
		total := make(chan int, 2)
		for _, e := range []*engine.Engine{w.Engine, w.another()} {
			go func() {
				n, err := e.ExpireHolds(w.ctx, 100)
				if err != nil {
					t.Error(err)
				}
				total <- n
			}()
		}
		if n := <-total + <-total; n != 9 {
			t.Errorf("%d holds expired, want 9", n)
		}
		if n, err := w.ExpireHolds(w.ctx, 100); n != 0 || err != nil {
			t.Errorf("%d holds expired again, %v", n, err)
		}
		w.wantBalance(w.marie, 1000, 1000)
		w.verify()
	})
}
