package engine

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/google/uuid"

	"tweetledger/internal/sqldb"
	"tweetledger/ledger"
)

// maxDifferences bounds the differences that one report names; the rest are
// counted. A book with more is not mended line by line.
const maxDifferences = 1000

// Difference is one thing that the book says and that its postings do not bear out.
type Difference struct {
	Subject string // what it is about: "account wallet:c-000017", "transaction <id>"
	What    string // which value: "debits posted"
	Want    string // as computed from postings and holds
	Got     string // as stored
}

// String returns the difference as one sentence.
func (d Difference) String() string {
	return fmt.Sprintf("%s: %s is %s, but must be %s", d.Subject, d.What, d.Got, d.Want)
}

// Report is the result of Verify.
type Report struct {
	Transactions int64
	Postings     int64
	Holds        int64
	Accounts     int64
	Differences  []Difference // at most maxDifferences
	More         int64        // differences that are counted only
}

// OK reports whether the book bears out everything that it says.
func (r Report) OK() bool { return len(r.Differences) == 0 }

func (r *Report) add(subject, what string, want, got any) {
	if len(r.Differences) >= maxDifferences {
		r.More++
		return
	}
	r.Differences = append(r.Differences, Difference{
		Subject: subject, What: what, Want: fmt.Sprint(want), Got: fmt.Sprint(got),
	})
}

// Verify recomputes the book from its postings and holds, in one consistent
// state of it, and names every difference: transactions against their postings,
// keys and reversals, holds against what was posted of them, and all balances
// and bounds. progress, which may be nil, is called with the postings read so
// far and in all. Memory grows with the number of accounts only.
func (e *Engine) Verify(ctx context.Context, progress func(done, total int64)) (Report, error) {
	if progress == nil {
		progress = func(done, total int64) {}
	}
	var report Report
	err := e.db.Read(ctx, func(ctx context.Context, tx *sqldb.Tx) error {
		report = Report{}
		v := &verifier{tx: tx, report: &report, progress: progress,
			accounts: map[uuid.UUID]*verified{}}
		for _, step := range []func(context.Context) error{v.readAccounts, v.readTransactions, v.readReversals,
			v.readHolds, v.readReleases, v.compareBalances} {
			if err := step(ctx); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return Report{}, fmt.Errorf("verify the book: %w", asLedgerError(err))
	}
	return report, nil
}

type verifier struct {
	tx       *sqldb.Tx
	report   *Report
	progress func(done, total int64)
	accounts map[uuid.UUID]*verified
}

// verified is an account with its balance as computed.
type verified struct {
	account ledger.Account
	total   delta
}

func (v *verifier) readAccounts(ctx context.Context) error {
	return v.tx.Each(ctx, "SELECT "+accountColumns+" FROM accounts", nil, func(rows *sqldb.Rows) error {
		a, err := scanAccount(rows)
		v.accounts[a.ID] = &verified{account: a}
		v.report.Accounts++
		return err
	})
}

// progressEvery is how many postings are read between two calls of progress.
const progressEvery = 10_000

// readTransactions reads transactions and postings side by side, in the order of
// their primary keys.
func (v *verifier) readTransactions(ctx context.Context) error {
	var total int64
	if err := v.tx.QueryRow(ctx, "SELECT COUNT(*) FROM postings", nil, &total); err != nil {
		return err
	}
	v.progress(0, total)
	var t struct {
		id             uuid.UUID
		postings, seen int64
		effective      ledger.Date
		recorded       time.Time
		key            string
	}
	finish := func() {
		if t.id != uuid.Nil && t.postings != t.seen {
			v.report.add("transaction "+t.id.String(), "number of postings", t.seen, t.postings)
		}
	}
	err := v.tx.Each(ctx, `SELECT t.id, t.idempotency_key, t.postings, t.effective_date, t.recorded_at,
			p.ordinal, p.debit_account_id, p.credit_account_id, COALESCE(p.amount, 0), COALESCE(p.currency, ''), p.effective_date, p.recorded_at
		FROM transactions t LEFT JOIN postings p ON p.transaction_id = t.id ORDER BY t.id, p.ordinal`, nil,
		func(rows *sqldb.Rows) error {
			var id uuid.UUID
			var key string
			var postings int64
			var ordinal *int64
			var effective, postingEffective ledger.Date
			var recorded, postingRecorded time.Time
			var p ledger.Posting
			if err := rows.Scan(&id, &key, &postings, &effective, &recorded, &ordinal, &p.Debit, &p.Credit, &p.Amount,
				&p.Currency, &postingEffective, &postingRecorded); err != nil {
				return err
			}
			if id != t.id {
				finish()
				t.id, t.key, t.postings, t.seen, t.effective, t.recorded = id, key, postings, 0, effective, recorded
				v.report.Transactions++
				if want := ledger.IDOfKey(key); want != id {
					v.report.add("transaction "+id.String(), "id for key "+key, want, id)
				}
			}
			if ordinal == nil {
				return nil
			}
			subject := func() string { return fmt.Sprintf("posting %d of transaction %s", *ordinal, id) }
			if *ordinal != t.seen {
				v.report.add(subject(), "ordinal", t.seen, *ordinal)
			}
			if postingEffective != effective {
				v.report.add(subject(), "effective date", effective, postingEffective)
			}
			if !postingRecorded.Equal(recorded) {
				v.report.add(subject(), "recorded time", recorded, postingRecorded)
			}
			t.seen++
			v.report.Postings++
			if v.report.Postings%progressEvery == 0 {
				v.progress(v.report.Postings, total)
			}
			return v.count(p, subject, func(d, c *delta, amount ledger.Amount) { d.debitsPosted, c.creditsPosted = amount, amount })
		})
	if err != nil {
		return err
	}
	finish()
	if v.report.Postings != total {
		v.report.add("the book", "number of postings that belong to a transaction", v.report.Postings, total)
	}
	v.progress(v.report.Postings, total)
	return nil
}

// count adds a posting or a pending amount to both of its accounts.
func (v *verifier) count(p ledger.Posting, subject func() string, set func(debit, credit *delta, amount ledger.Amount)) error {
	if p.Amount <= 0 {
		v.report.add(subject(), "amount", "above zero", p.Amount)
	}
	changes := map[uuid.UUID]delta{}
	if err := change(changes, p, set); err != nil {
		return err
	}
	for id, d := range changes {
		a, ok := v.accounts[id]
		if !ok {
			v.report.add(subject(), "account", "in the book", id)
			continue
		}
		if a.account.Currency != p.Currency {
			v.report.add(subject(), "currency", a.account.Currency, p.Currency)
		}
		if err := a.total.add(d); err != nil {
			return fmt.Errorf("account %s: %w", a.account.Code, err)
		}
	}
	return nil
}

// readReversals checks that each reversal is the mirror of what it reverses.
func (v *verifier) readReversals(ctx context.Context) error {
	return v.tx.Each(ctx, `SELECT r.id, r.reverses,
			(SELECT COUNT(*) FROM postings o JOIN postings m ON m.transaction_id = r.id AND m.ordinal = o.ordinal
				AND m.debit_account_id = o.credit_account_id AND m.credit_account_id = o.debit_account_id
				AND m.amount = o.amount AND m.currency = o.currency WHERE o.transaction_id = r.reverses),
			(SELECT COUNT(*) FROM postings o WHERE o.transaction_id = r.reverses),
			(SELECT COUNT(*) FROM postings m WHERE m.transaction_id = r.id)
		FROM transactions r WHERE r.reverses IS NOT NULL`, nil, func(rows *sqldb.Rows) error {
		var id, original uuid.UUID
		var mirrored, originals, mirrors int64
		if err := rows.Scan(&id, &original, &mirrored, &originals, &mirrors); err != nil {
			return err
		}
		if mirrored != originals || mirrored != mirrors {
			v.report.add("transaction "+id.String(), "mirrored postings of reversed transaction "+original.String(), originals, mirrored)
		}
		return nil
	})
}

// readHolds checks holds against the transactions that posted them and the
// requests that released them, and adds what is still pending to the accounts.
func (v *verifier) readHolds(ctx context.Context) error {
	return v.tx.Each(ctx, `SELECT `+holdColumns+`,
			CAST(COALESCE((SELECT SUM(p.amount) FROM transactions t JOIN postings p ON p.transaction_id = t.id
				WHERE t.hold_id = holds.id AND p.debit_account_id = holds.debit_account_id
				AND p.credit_account_id = holds.credit_account_id), 0) AS `+v.tx.Int8()+`),
			COALESCE((SELECT r.amount FROM hold_releases r WHERE r.hold_id = holds.id), 0)
		FROM holds ORDER BY id`, nil, func(rows *sqldb.Rows) error {
		var h ledger.Hold
		var posted, released ledger.Amount
		if err := rows.Scan(&h.ID, &h.Key, &h.Debit, &h.Credit, &h.Amount, &h.Posted, &h.Currency, &h.Status, &h.ExpiresAt,
			&h.RecordedAt, &h.ClosedAt, &h.Source.Channel, &h.Source.ID, &h.Source.Date, &posted, &released); err != nil {
			return err
		}
		v.report.Holds++
		subject := func() string { return "hold " + h.ID.String() }
		if want := ledger.IDOfKey(h.Key); want != h.ID {
			v.report.add(subject(), "id for key "+h.Key, want, h.ID)
		}
		if posted != h.Posted {
			v.report.add(subject(), "posted amount", posted, h.Posted)
		}
		v.checkStatus(h, subject(), posted, released)
		if h.Status != ledger.HoldPending {
			return nil
		}
		p := ledger.Posting{Debit: h.Debit, Credit: h.Credit, Amount: h.Remaining(), Currency: h.Currency}
		return v.count(p, subject, func(d, c *delta, amount ledger.Amount) { d.debitsPending, c.creditsPending = amount, amount })
	})
}

// checkStatus checks that a hold is in a state that its postings and its release
// can have led to.
func (v *verifier) checkStatus(h ledger.Hold, subject string, posted, released ledger.Amount) {
	ended := h.Status == ledger.HoldVoided || h.Status == ledger.HoldExpired
	switch {
	case ended && released == 0:
		v.report.add(subject, "status", "pending or posted, as nothing released it", h.Status)
	case !ended && released != 0:
		v.report.add(subject, "status", "voided or expired, as it was released", h.Status)
	case h.Status == ledger.HoldPosted && posted == 0:
		v.report.add(subject, "status", "other than that, as nothing of it was posted", h.Status)
	}
	if released != 0 && released != h.Amount-posted {
		v.report.add(subject, "released amount", h.Amount-posted, released)
	}
}

// readReleases checks the keys of the requests that released holds, and that
// what posts a hold has one.
func (v *verifier) readReleases(ctx context.Context) error {
	err := v.tx.Each(ctx, "SELECT id, idempotency_key FROM hold_releases ORDER BY id", nil, func(rows *sqldb.Rows) error {
		var id uuid.UUID
		var key string
		if err := rows.Scan(&id, &key); err != nil {
			return err
		}
		if want := ledger.IDOfKey(key); want != id {
			v.report.add("release "+id.String(), "id for key "+key, want, id)
		}
		return nil
	})
	if err != nil {
		return err
	}
	return v.tx.Each(ctx, `SELECT id, hold_id FROM transactions
		WHERE hold_id IS NOT NULL AND NOT EXISTS (SELECT 1 FROM holds h WHERE h.id = transactions.hold_id) ORDER BY id`,
		nil, func(rows *sqldb.Rows) error {
			var id, hold uuid.UUID
			if err := rows.Scan(&id, &hold); err != nil {
				return err
			}
			v.report.add("transaction "+id.String(), "hold that it posts", "in the book", hold)
			return nil
		})
}

// compareBalances compares the stored balances with those computed.
func (v *verifier) compareBalances(ctx context.Context) error {
	stored := map[uuid.UUID]*delta{}
	rowsOf := map[uuid.UUID]int{}
	err := v.tx.Each(ctx, `SELECT account_id, side, currency, min_balance, max_balance, debits_posted, credits_posted,
			debits_pending, credits_pending FROM balances ORDER BY account_id, shard`, nil, func(rows *sqldb.Rows) error {
		var id uuid.UUID
		var side ledger.Side
		var currency ledger.Currency
		var minimum, maximum *ledger.Amount
		var d delta
		if err := rows.Scan(&id, &side, &currency, &minimum, &maximum, &d.debitsPosted, &d.creditsPosted,
			&d.debitsPending, &d.creditsPending); err != nil {
			return err
		}
		a, ok := v.accounts[id]
		if !ok {
			v.report.add("balance of "+id.String(), "account", "in the book", "missing")
			return nil
		}
		subject := "account " + a.account.Code
		if side != a.account.Side || currency != a.account.Currency {
			v.report.add(subject, "side and currency of its balance", fmt.Sprint(a.account.Side, " ", a.account.Currency), fmt.Sprint(side, " ", currency))
		}
		if !sameAmount(minimum, a.account.Min) || !sameAmount(maximum, a.account.Max) {
			v.report.add(subject, "bounds of its balance", bounds(a.account.Min, a.account.Max), bounds(minimum, maximum))
		}
		if stored[id] == nil {
			stored[id] = &delta{}
		}
		rowsOf[id]++
		return stored[id].add(d)
	})
	if err != nil {
		return err
	}
	ids := make([]uuid.UUID, 0, len(v.accounts))
	for id := range v.accounts {
		ids = append(ids, id)
	}
	slices.SortFunc(ids, compareIDs)
	for _, id := range ids {
		v.compareBalance(v.accounts[id], stored[id], rowsOf[id])
	}
	return nil
}

func (v *verifier) compareBalance(a *verified, stored *delta, shards int) {
	subject := "account " + a.account.Code
	if shards != a.account.Shards {
		v.report.add(subject, "number of balance rows", a.account.Shards, shards)
	}
	if stored == nil {
		stored = &delta{}
	}
	for _, part := range []struct {
		what      string
		want, got ledger.Amount
	}{
		{"debits posted", a.total.debitsPosted, stored.debitsPosted},
		{"credits posted", a.total.creditsPosted, stored.creditsPosted},
		{"debits pending", a.total.debitsPending, stored.debitsPending},
		{"credits pending", a.total.creditsPending, stored.creditsPending},
	} {
		if part.want != part.got {
			v.report.add(subject, part.what, part.want.Format(a.account.Currency), part.got.Format(a.account.Currency))
		}
	}
	balance := ledger.Balance{Side: a.account.Side, DebitsPosted: a.total.debitsPosted, CreditsPosted: a.total.creditsPosted,
		DebitsPending: a.total.debitsPending, CreditsPending: a.total.creditsPending}
	if a.account.Min != nil && balance.Available() < *a.account.Min {
		v.report.add(subject, "available balance", "at least "+a.account.Min.Format(a.account.Currency), balance.Available().Format(a.account.Currency))
	}
	if a.account.Max != nil && balance.Expected() > *a.account.Max {
		v.report.add(subject, "expected balance", "at most "+a.account.Max.Format(a.account.Currency), balance.Expected().Format(a.account.Currency))
	}
}

func bounds(minimum, maximum *ledger.Amount) string {
	text := func(a *ledger.Amount) string {
		if a == nil {
			return "none"
		}
		return fmt.Sprint(int64(*a))
	}
	return text(minimum) + " to " + text(maximum)
}
