package engine

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/maphash"
	"maps"
	"slices"

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

// VerifyOptions say how to verify. The zero value verifies all in one go.
type VerifyOptions struct {
	// Progress is called with the postings read so far and in all.
	Progress func(done, total int64)
	// Published are heads that were published earlier: the chains must still lead
	// through each of them.
	Published []ledger.Head
	// Resume goes on where an earlier run was when it saved this checkpoint.
	Resume *Checkpoint
	// Save, where it is set, is called now and then with a checkpoint. Its error
	// ends the run.
	Save func(Checkpoint) error
}

// Verify recomputes the book from its postings and holds and names every
// difference: pages against their postings, the sealed journal against its chains,
// keys and reversals, holds against what was posted of them, roll-ups, all balances
// and bounds, signed heads, and periods and accounts against their traces. progress, which may be nil, is called with the postings
// read so far and in all. Memory grows with the number of accounts only.
func (e *Engine) Verify(ctx context.Context, progress func(done, total int64)) (Report, error) {
	return e.VerifyBook(ctx, VerifyOptions{Progress: progress})
}

// VerifyBook is Verify with options. What is sealed does not change any more, so
// it is read in many short transactions, from which a run can be resumed; the rest
// and the sums are read in one consistent state of the book.
func (e *Engine) VerifyBook(ctx context.Context, o VerifyOptions) (Report, error) {
	if o.Progress == nil {
		o.Progress = func(done, total int64) {}
	}
	v, err := e.newVerifier(ctx, o)
	if err == nil {
		err = v.sealedPages(ctx)
	}
	if failed, ok := errors.AsType[*unsaved](err); ok {
		return Report{}, fmt.Errorf("verify the book: %w", failed)
	}
	if err != nil {
		return Report{}, fmt.Errorf("verify the book: %w", asLedgerError(err))
	}
	before := v.state()
	err = e.db.Read(ctx, func(ctx context.Context, tx *sqldb.Tx) error {
		v.restore(before) // where the database asks to begin again
		v.tx = tx
		for _, step := range []func(context.Context) error{v.readAccounts, v.otherPages, v.readChains, v.readSignedHeads, v.readRequests,
			v.readReversals, v.readHolds, v.readReleases, v.compareSealed, v.compareBalances, v.readAccountTraces, v.readPeriods} {
			if err := step(ctx); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return Report{}, fmt.Errorf("verify the book: %w", asLedgerError(err))
	}
	return *v.report, nil
}

type verifier struct {
	engine   *Engine
	options  VerifyOptions
	tx       *sqldb.Tx
	report   *Report
	total    int64 // postings in all, for the progress
	began    []ledger.Head
	lastPage int64               // of the sealed pages that are done
	accounts map[int64]*verified // by number
	numbers  map[uuid.UUID]int64
	seeds    [2]maphash.Seed // of places
}

// verified is an account with its balance as computed.
type verified struct {
	account ledger.Account
	total   delta
}

func (v *verifier) readAccounts(ctx context.Context) error {
	v.report.Accounts = 0
	return v.tx.Each(ctx, "SELECT no, "+accountColumns+" FROM accounts", nil, func(rows *sqldb.Rows) error {
		a, err := scanNumbered(rows)
		if v.accounts[a.no] == nil {
			v.accounts[a.no] = &verified{}
		}
		v.accounts[a.no].account = a.Account
		v.numbers[a.ID] = a.no
		v.report.Accounts++
		return err
	})
}

// places is what a set of transactions and their places comes to: for each a number
// that depends on all of it and on a seed that nobody knows beforehand, summed modulo
// 2^64, twice. That two sets differ and come to the same has the odds of guessing
// 128 bits.
type places struct{ count, one, other uint64 }

// readPlaces returns what a query's rows of id, page and line come to. It reads them
// in the order in which they lie.
func (v *verifier) readPlaces(ctx context.Context, query string) (places, error) {
	var sum places
	var row [uuidSize + 8 + 8]byte
	err := v.tx.Each(ctx, query, nil, func(rows *sqldb.Rows) error {
		var id uuid.UUID
		var page, line int64
		err := rows.Scan(&id, &page, &line)
		copy(row[:], id[:])
		binary.BigEndian.PutUint64(row[uuidSize:], uint64(page))
		binary.BigEndian.PutUint64(row[uuidSize+8:], uint64(line))
		sum.count++
		sum.one += maphash.Bytes(v.seeds[0], row[:])
		sum.other += maphash.Bytes(v.seeds[1], row[:])
		return err
	})
	return sum, err
}

// uuidSize is that of a UUID in bytes.
const uuidSize = 16

// readRequests checks that every transaction has its request, and that every
// request points to a transaction, a hold or a release. Looking up each in the other
// table would read a large book in random order, twice: that is left to books in
// which the two differ.
func (v *verifier) readRequests(ctx context.Context) error {
	made, err := v.readPlaces(ctx, "SELECT transaction_id, page_id, line FROM postings WHERE ordinal = 0")
	if err != nil {
		return err
	}
	asked, err := v.readPlaces(ctx, "SELECT id, page_id, COALESCE(line, -1) FROM requests WHERE page_id IS NOT NULL")
	if err != nil {
		return err
	}
	if made != asked {
		if err := v.namePlaces(ctx); err != nil {
			return err
		}
	}
	return v.reportIDs(ctx, []idCheck{
		{"request", "a hold, or the release of one", `SELECT r.id FROM requests AS r LEFT JOIN holds AS h ON h.id = r.id
			LEFT JOIN hold_releases AS l ON l.id = r.id WHERE r.page_id IS NULL AND h.id IS NULL AND l.id IS NULL`},
		{"hold", "its request", `SELECT h.id FROM holds AS h LEFT JOIN requests AS r ON r.id = h.id
			WHERE r.id IS NULL OR r.page_id IS NOT NULL OR r.request_hash <> h.request_hash`},
		{"release", "its request", `SELECT l.id FROM hold_releases AS l LEFT JOIN requests AS r ON r.id = l.id
			WHERE r.id IS NULL OR r.page_id IS NOT NULL OR r.request_hash <> l.request_hash`},
	})
}

// namePlaces reports which transactions and requests do not fit together.
func (v *verifier) namePlaces(ctx context.Context) error {
	return v.reportIDs(ctx, []idCheck{
		{"transaction", "the place that its request names", `SELECT p.transaction_id FROM postings AS p
			LEFT JOIN requests AS r ON r.id = p.transaction_id WHERE p.ordinal = 0 AND (r.id IS NULL OR r.page_id IS NULL OR r.page_id <> p.page_id OR r.line <> p.line)`},
		{"request", "a transaction where it says", `SELECT r.id FROM requests AS r LEFT JOIN postings AS p ON p.page_id = r.page_id AND p.line = r.line
			WHERE r.page_id IS NOT NULL AND (p.transaction_id IS NULL OR p.transaction_id <> r.id)`},
	})
}

// idCheck is a query for the ids of what is not as wanted.
type idCheck struct{ what, want, query string }

func (v *verifier) reportIDs(ctx context.Context, checks []idCheck) error {
	for _, check := range checks {
		err := v.tx.Each(ctx, fmt.Sprintf("%s ORDER BY 1 LIMIT %d", check.query, maxDifferences), nil, func(rows *sqldb.Rows) error {
			var id uuid.UUID
			err := rows.Scan(&id)
			v.report.add(check.what+" "+id.String(), "what it has", check.want, "nothing of the kind")
			return err
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// count adds a posting or a pending amount to both of its accounts.
func (v *verifier) count(debitNo, creditNo int64, p ledger.Posting, subject func() string, debit, credit delta) error {
	if p.Amount <= 0 {
		v.report.add(subject(), "amount", "above zero", p.Amount)
	}
	for _, side := range [...]struct {
		no    int64
		delta delta
	}{{debitNo, debit}, {creditNo, credit}} {
		a, ok := v.accounts[side.no]
		if !ok {
			v.report.add(subject(), "account", "in the book", fmt.Sprintf("number %d", side.no))
			continue
		}
		if a.account.Currency != p.Currency {
			v.report.add(subject(), "currency", a.account.Currency, p.Currency)
		}
		if err := a.total.add(side.delta); err != nil {
			v.report.add(subject(), "sum of account "+a.account.Code, "within 64 bits", err)
		}
	}
	return nil
}

// readReversals checks that each posting of a reversal is the mirror of the one
// that it undoes, which belongs to the transaction that is reversed.
func (v *verifier) readReversals(ctx context.Context) error {
	return v.tx.Each(ctx, `SELECT m.transaction_id, m.ordinal FROM postings AS m
		JOIN postings AS h ON h.page_id = m.page_id AND h.line = m.line - m.ordinal
		LEFT JOIN postings AS o ON o.page_id = m.reverses_page_id AND o.line = m.reverses_line
		WHERE (m.reverses_page_id IS NOT NULL OR h.reverses IS NOT NULL) AND (o.amount IS NULL OR h.reverses IS NULL
			OR o.transaction_id <> h.reverses OR o.debit_no <> m.credit_no OR o.credit_no <> m.debit_no
			OR o.amount <> m.amount OR o.currency <> m.currency) ORDER BY m.page_id, m.line`, nil, func(rows *sqldb.Rows) error {
		var id uuid.UUID
		var ordinal int64
		err := rows.Scan(&id, &ordinal)
		v.report.add(fmt.Sprintf("posting %d of transaction %s", ordinal, id), "posting that it undoes", "its mirror, of the transaction that is reversed", "another")
		return err
	})
}

// provedHolds reads each hold with what was posted and released of it. The postings
// are found by their hold: by account, an account with many would be read for each hold.
func provedHolds(tx *sqldb.Tx) string {
	return `SELECT ` + holdColumns + `,
			CAST(COALESCE((SELECT SUM(p.amount) FROM postings AS p` + tx.IndexedBy("postings_of_hold") + `
				JOIN accounts AS d ON d.no = p.debit_no JOIN accounts AS c ON c.no = p.credit_no
				WHERE p.hold_id = holds.id AND d.id = holds.debit_account_id AND c.id = holds.credit_account_id), 0) AS ` + tx.Int8() + `),
			COALESCE((SELECT r.amount FROM hold_releases r WHERE r.hold_id = holds.id), 0)
		FROM holds ORDER BY id`
}

// readHolds checks holds against the transactions that posted them and the
// requests that released them, and adds what is still pending to the accounts.
func (v *verifier) readHolds(ctx context.Context) error {
	return v.tx.Each(ctx, provedHolds(v.tx), nil, func(rows *sqldb.Rows) error {
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
		return v.count(v.numbers[h.Debit], v.numbers[h.Credit], p, subject, delta{debitsPending: p.Amount}, delta{creditsPending: p.Amount})
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
	return v.tx.Each(ctx, `SELECT p.transaction_id, p.hold_id FROM postings AS p
		WHERE p.hold_id IS NOT NULL AND NOT EXISTS (SELECT 1 FROM holds AS h WHERE h.id = p.hold_id) ORDER BY p.transaction_id`,
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
	stored := map[int64]*delta{}
	rowsOf := map[int64]int{}
	err := v.tx.Each(ctx, `SELECT account_no, shard, side, currency, min_balance, max_balance, debits_posted, credits_posted,
			debits_pending, credits_pending, closed_debits IS NOT NULL AND closed_credits IS NOT NULL
		FROM balances ORDER BY account_no, shard`, nil, func(rows *sqldb.Rows) error {
		var no, shard int64
		var side ledger.Side
		var currency ledger.Currency
		var minimum, maximum *ledger.Amount
		var d delta
		var closed bool
		if err := rows.Scan(&no, &shard, &side, &currency, &minimum, &maximum, &d.debitsPosted, &d.creditsPosted,
			&d.debitsPending, &d.creditsPending, &closed); err != nil {
			return err
		}
		a, ok := v.accounts[no]
		if !ok {
			v.report.add(fmt.Sprintf("balance of account number %d", no), "account", "in the book", "missing")
			return nil
		}
		subject := "account " + a.account.Code
		if side != a.account.Side || currency != a.account.Currency {
			v.report.add(subject, "side and currency of its balance", fmt.Sprint(a.account.Side, " ", a.account.Currency), fmt.Sprint(side, " ", currency))
		}
		if !sameAmount(minimum, a.account.Min) || !sameAmount(maximum, a.account.Max) {
			v.report.add(subject, "bounds of its balance", bounds(a.account.Min, a.account.Max), bounds(minimum, maximum))
		}
		if want := a.account.Status == ledger.AccountClosed; closed != want {
			v.report.add(subject, "balance that is fixed, as of a closed account", want, closed)
		}
		if shard >= int64(a.account.Shards) { // no engine would find it to write to
			v.report.add(subject, "shard of a balance row", fmt.Sprintf("below %d", a.account.Shards), shard)
		}
		if stored[no] == nil {
			stored[no] = &delta{}
		}
		rowsOf[no]++
		if err := stored[no].add(d); err != nil {
			v.report.add(subject, "sum of its balance rows", "within 64 bits", err)
		}
		return nil
	})
	if err != nil {
		return err
	}
	for _, no := range slices.Sorted(maps.Keys(v.accounts)) {
		v.compareBalance(v.accounts[no], stored[no], rowsOf[no])
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
