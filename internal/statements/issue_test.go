package statements_test

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"tweetledger/internal/payments"
	"tweetledger/internal/sqldb"
	"tweetledger/internal/sqldb/sqltest"
	"tweetledger/internal/statements"
	"tweetledger/ledger"
	"tweetledger/ledger/engine"
)

var wallet = ledger.SystemAccountID("wallet:test")

// world is a book with a donor's money in a wallet and a charity, acf.
type world struct {
	t       *testing.T
	db      *sqldb.DB
	engine  *engine.Engine
	service *statements.Service
	payee   payments.Payee
	key     ed25519.PrivateKey
	now     time.Time
	posted  int
}

func newWorld(t *testing.T, db *sqldb.DB) *world {
	t.Helper()
	w := &world{t: t, db: db, now: time.Date(2026, 10, 5, 10, 0, 0, 0, time.UTC), key: ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize))}
	w.engine = engine.New(db, engine.Options{Clock: func() time.Time { return w.now }})
	t.Cleanup(w.engine.Close)
	config := payments.DefaultConfig()
	config.Key, config.PageURL = make([]byte, payments.MinKey), "https://pay.example/confirm"
	service, err := payments.New(w.engine, config, nil, payments.Options{})
	w.must(err)
	w.must(service.Setup(t.Context()))
	_, err = w.engine.OpenAccount(t.Context(), ledger.Account{ID: wallet, Code: "wallet:test", Name: "Wallet", Category: ledger.CustomerEMoney,
		Side: ledger.Credit, Currency: ledger.EUR, Shards: 1})
	w.must(err)
	w.payee, err = service.EnrolPayee(t.Context(), payments.NewPayee{Code: "acf", Kind: payments.Charity, Name: "Action contre la Faim",
		IBAN: "FR7630006000011234567890189"}, "anne", "bruno")
	w.must(err)
	w.service, err = statements.New(w.engine, service, "S-money", statements.Options{})
	w.must(err)
	return w
}

func (w *world) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

// give posts a donation on a day; less than nothing takes money back.
func (w *world) give(day ledger.Date, amount ledger.Amount) {
	w.t.Helper()
	w.posted++
	p := ledger.Posting{Debit: wallet, Credit: w.payee.AccountID, Amount: amount, Currency: ledger.EUR}
	if amount < 0 {
		p = ledger.Posting{Debit: w.payee.AccountID, Credit: wallet, Amount: -amount, Currency: ledger.EUR}
	}
	_, err := w.engine.Post(w.t.Context(), ledger.PostRequest{Key: fmt.Sprintf("give:%d", w.posted), Journal: ledger.JournalTransfers, Label: "Given",
		EffectiveDate: day, Postings: []ledger.Posting{p}})
	w.must(err)
}

func (w *world) issue(to ledger.Date) (statements.Issued, error) {
	return w.service.Issue(w.t.Context(), statements.Request{Payee: "acf", To: to, Key: w.key, Actor: "anne"})
}

func (w *world) mustIssue(to ledger.Date) statements.Issued {
	w.t.Helper()
	s, err := w.issue(to)
	w.must(err)
	w.must(s.Verify(w.key.Public().(ed25519.PublicKey)))
	return s
}

func (w *world) refused(what string, err error, code ledger.Code, text string) {
	w.t.Helper()
	if ledger.CodeOf(err) != code || !strings.Contains(err.Error(), text) {
		w.t.Errorf("%s: %v; want %s with %q", what, err, code, text)
	}
}

func (w *world) find(number int64) (s statements.Issued, err error) {
	err = w.db.Read(w.t.Context(), func(ctx context.Context, tx *sqldb.Tx) error {
		s, err = statements.Find(ctx, tx, w.payee.ID, number)
		return err
	})
	return s, err
}

func date(month, day int) ledger.Date {
	return ledger.Date{Year: 2026, Month: time.Month(month), Day: day}
}

func TestStatementsFollowOnEachOther(t *testing.T) {
	sqltest.Core(t, func(t *testing.T, db *sqldb.DB) {
		w := newWorld(t, db)
		_, err := w.issue(ledger.Date{})
		w.refused("nothing was given", err, ledger.CodeNotFound, "no entry")
		w.give(date(10, 3), 2000)
		_, err = w.issue(ledger.Date{})
		w.refused("the month is not over", err, ledger.CodeInvalid, "2026-10-31, which is not over")
		_, err = w.issue(date(10, 5))
		w.refused("today is not over", err, ledger.CodeInvalid, "not over")
		first := w.mustIssue(date(10, 4))
		if first.Number != 1 || first.From != date(10, 1) || first.Opening != 0 || first.Closing != 2000 || len(first.Lines) != 1 {
			t.Errorf("the first statement is %+v", first)
		}
		_, err = w.issue(date(10, 4))
		w.refused("the same day again", err, ledger.CodeInvalid, "stated until 2026-10-04")

		// What comes late is on the next one, with its own date, and no day is lost.
		w.now = time.Date(2026, 12, 1, 9, 0, 0, 0, time.UTC)
		w.give(date(10, 2), 300)
		w.give(date(10, 3), -500)
		w.give(date(10, 20), 40)
		w.give(date(11, 30), 7)
		second := w.mustIssue(ledger.Date{})
		if second.Number != 2 || second.From != date(10, 5) || second.To != date(10, 31) || second.Opening != 2000 || second.Closing != 1840 ||
			len(second.Lines) != 3 || second.Lines[0].Date != date(10, 2) || second.Before != first.Digest() {
			t.Errorf("the second statement is %+v", second)
		}
		third := w.mustIssue(ledger.Date{})
		if third.Number != 3 || third.From != date(11, 1) || third.To != date(11, 30) || len(third.Lines) != 1 || third.Closing != 1847 {
			t.Errorf("the third statement is %+v", third)
		}
		_, err = w.issue(ledger.Date{})
		w.refused("December has begun", err, ledger.CodeInvalid, "not over")
		w.now = time.Date(2027, 1, 2, 9, 0, 0, 0, time.UTC)
		if fourth := w.mustIssue(ledger.Date{}); len(fourth.Lines) != 0 || fourth.Opening != 1847 || fourth.Closing != 1847 || fourth.To != date(12, 31) {
			t.Errorf("a month without entries is %+v", fourth)
		}
		_, err = w.find(5)
		w.refused("a statement that was not issued", err, ledger.CodeNotFound, "5")
		_, err = w.service.Issue(t.Context(), statements.Request{Payee: "nobody", Key: w.key, Actor: "anne"})
		w.refused("nobody's statement", err, ledger.CodeNotFound, "nobody")
		_, err = w.service.Issue(t.Context(), statements.Request{Payee: "acf", Key: w.key})
		w.refused("a statement by nobody", err, ledger.CodeInvalid, "who")

		// Each is handed out as it was issued, the same bytes each time.
		kept, err := w.find(2)
		w.must(err)
		text, err := second.Encode()
		w.must(err)
		again, err := kept.Encode()
		w.must(err)
		if !bytes.Equal(text, again) {
			t.Errorf("the statement was issued as\n%s\nand is kept as\n%s", text, again)
		}
	})
}

// Whatever is given on whatever days, and whenever statements are issued, each
// posting is on one of them, and each ties to the ledger.
func TestEachPostingIsStatedOnce(t *testing.T) {
	sqltest.Each(t, func(t *testing.T, db *sqldb.DB) {
		w := newWorld(t, db)
		random := rand.New(rand.NewPCG(11, 23))
		seen := map[uuid.UUID]bool{}
		var closing ledger.Amount
		stated := date(9, 30)
		for range 25 {
			w.now = w.now.AddDate(0, 0, 1+random.IntN(5))
			today := ledger.DateIn(w.now, time.UTC)
			for range random.IntN(4) {
				amount := ledger.Amount(random.IntN(5000) - 1000)
				if amount == 0 {
					amount = 1
				}
				w.give(today.AddDays(-random.IntN(20)), amount)
			}
			to := today.AddDays(-1 - random.IntN(3))
			if w.posted == 0 || random.IntN(2) == 0 || !stated.Before(to) {
				continue
			}
			s, err := w.issue(to)
			if ledger.CodeOf(err) == ledger.CodeNotFound && len(seen) == 0 {
				continue // nothing until that day
			}
			if err != nil && strings.Contains(err.Error(), "has been stated") {
				continue // the first one began later
			}
			w.must(err)
			if s.Opening != closing {
				t.Fatalf("statement %d begins with %d, and the one before ended with %d", s.Number, s.Opening, closing)
			}
			closing, stated = s.Closing, s.To
			for _, l := range s.Lines {
				if seen[l.TransactionID] {
					t.Fatalf("transaction %s is on two statements", l.TransactionID)
				}
				seen[l.TransactionID] = true
			}
		}
		w.now = w.now.AddDate(0, 0, 1)
		last := w.mustIssue(ledger.DateIn(w.now, time.UTC).AddDays(-1))
		for _, l := range last.Lines {
			seen[l.TransactionID] = true
		}
		if len(seen) != w.posted || last.Number < 5 {
			t.Errorf("%d of %d postings are on %d statements", len(seen), w.posted, last.Number)
		}
	})
}

// Several clerks at once issue one statement for each period.
func TestStatementIsIssuedOnce(t *testing.T) {
	sqltest.Each(t, func(t *testing.T, db *sqldb.DB) {
		w := newWorld(t, db)
		w.give(date(10, 3), 2000)
		w.now = w.now.AddDate(0, 1, 0)
		const clerks = 8
		errs := make(chan error, clerks)
		for range clerks {
			go func() {
				_, err := w.issue(date(10, 31))
				errs <- err
			}()
		}
		issued := 0
		for range clerks {
			switch err := <-errs; ledger.CodeOf(err) {
			case ledger.CodeConflict, ledger.CodeInvalid:
			default:
				w.must(err)
				issued++
			}
		}
		if issued != 1 {
			t.Errorf("%d of %d clerks issued the statement", issued, clerks)
		}
		if s, err := w.find(1); err != nil || len(s.Lines) != 1 {
			t.Errorf("the statement is %+v, %v", s, err)
		}
	})
}

// The database refuses to change a statement, or Find tells that somebody did.
func TestStatementIsFrozen(t *testing.T) {
	sqltest.Each(t, func(t *testing.T, db *sqldb.DB) {
		w := newWorld(t, db)
		w.give(date(10, 3), 2000)
		w.give(date(10, 4), 1000)
		w.mustIssue(date(10, 4))
		for _, change := range []string{
			"UPDATE donation_statement_lines SET donor = 'Somebody' WHERE ordinal = 1", "UPDATE donation_statements SET payee_name = 'Somebody'",
			"DELETE FROM donation_statement_lines WHERE ordinal = 2", "UPDATE donation_statement_lines SET amount = 1999 WHERE ordinal = 1",
		} {
			err := db.Write(t.Context(), func(ctx context.Context, tx *sqldb.Tx) error {
				if _, err := tx.Exec(ctx, change); err != nil {
					return err
				}
				_, err := statements.Find(ctx, tx, w.payee.ID, 1)
				if err == nil || !strings.Contains(err.Error(), "somebody has changed it") {
					t.Errorf("%s: %v", change, err)
				}
				return fmt.Errorf("undo it")
			})
			if err == nil {
				t.Errorf("%s was not undone", change)
			}
			if _, err := w.find(1); err != nil {
				t.Errorf("after %s: %v", change, err)
			}
		}
	})
}
