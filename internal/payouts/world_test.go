package payouts_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"tweetledger/internal/payments"
	"tweetledger/internal/payouts"
	"tweetledger/internal/sqldb"
	"tweetledger/ledger"
	"tweetledger/ledger/engine"
)

const (
	bankIBAN = "FR1420041010050500013M02606"
	acfIBAN  = "FR7630006000011234567890189"
	msfIBAN  = "DE89370400440532013000"
)

var wallet = ledger.SystemAccountID("wallet:test")

// world is a book with donors' money in a wallet, and the services on it.
type world struct {
	t        testing.TB
	db       *sqldb.DB
	engine   *engine.Engine
	payments *payments.Service
	service  *payouts.Service
	seq      int64 // of the bank's statements
	closing  ledger.Amount
	donated  int

	mu  sync.Mutex
	now time.Time
}

func newWorld(t testing.TB, db *sqldb.DB) *world {
	t.Helper()
	w := &world{t: t, db: db, now: time.Date(2026, 11, 22, 10, 0, 0, 0, time.UTC)}
	w.engine = engine.New(db, engine.Options{Clock: w.clock})
	t.Cleanup(w.engine.Close)
	config := payments.DefaultConfig()
	config.Key, config.PageURL = make([]byte, payments.MinKey), "https://pay.example/confirm"
	var err error
	w.payments, err = payments.New(w.engine, config, nil, payments.Options{})
	w.must(err)
	w.must(w.payments.Setup(t.Context()))
	w.service, err = payouts.New(w.engine, payouts.Config{Account: payouts.Party{Name: "S-money", IBAN: bankIBAN}, Currency: ledger.EUR}, payouts.Options{})
	w.must(err)
	_, err = w.engine.OpenAccount(t.Context(), ledger.Account{ID: wallet, Code: "wallet:test", Name: "Wallet", Category: ledger.CustomerEMoney,
		Side: ledger.Credit, Currency: ledger.EUR, Shards: 1, OpenedAt: w.now})
	w.must(err)
	return w
}

func (w *world) clock() time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.now
}

func (w *world) nextDay() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.now = w.now.AddDate(0, 0, 1)
}

func (w *world) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

// refused checks that err is a refusal with the given code.
func (w *world) refused(err error, code ledger.Code) {
	w.t.Helper()
	if ledger.CodeOf(err) != code {
		w.t.Fatalf("error is %v, want %s", err, code)
	}
}

// enrol makes a charity; points is its commission in hundredths of a percent.
func (w *world) enrol(code, iban string, points int, minimum ledger.Amount) payments.Payee {
	w.t.Helper()
	p, err := w.payments.EnrolPayee(w.t.Context(), payments.NewPayee{Code: code, Kind: payments.Charity, Name: "Charity " + code, IBAN: iban,
		CommissionPoints: points, CommissionMinimum: minimum}, "anne", "bruno")
	w.must(err)
	return p
}

// changeAccount gives a charity another bank account, by the word of two persons.
func (w *world) changeAccount(code, iban, bic, reason string) {
	w.t.Helper()
	_, err := w.payments.ChangePayee(w.t.Context(), code, payments.PayeeChange{IBAN: iban, BIC: bic}, "anne", "bruno", reason)
	w.must(err)
}

// confirmed is the word of two persons that a charity's flagged account is right.
func (w *world) confirmed(code string) {
	w.t.Helper()
	for _, actor := range []string{"anne", "bruno"} {
		_, err := w.service.ConfirmIBAN(w.t.Context(), code, actor, "the bank erred")
		w.must(err)
	}
}

func payable(code string) uuid.UUID { return ledger.SystemAccountID(payments.PayableCode(code)) }

// donate posts one donation.
func (w *world) donate(code string, amount ledger.Amount) ledger.Transaction {
	w.t.Helper()
	w.donated++
	posted, err := w.engine.Post(w.t.Context(), ledger.PostRequest{Key: fmt.Sprintf("donation:%d", w.donated), Journal: ledger.JournalTransfers, Label: "Donation",
		Postings: []ledger.Posting{{Debit: wallet, Credit: payable(code), Amount: amount, Currency: ledger.EUR}}})
	w.must(err)
	return posted
}

func (w *world) reverse(t ledger.Transaction) {
	w.t.Helper()
	_, err := w.engine.Reverse(w.t.Context(), ledger.ReverseRequest{Key: "reverse:" + t.Key, TransactionID: t.ID, Label: "Donation undone"})
	w.must(err)
}

func (w *world) prepare(codes ...string) payouts.PrepareResult {
	w.t.Helper()
	r, err := w.service.Prepare(w.t.Context(), payouts.PrepareRequest{Payees: codes, Actor: "alice"})
	w.must(err)
	return r
}

// sent prepares, approves and exports a batch, and returns its payouts.
func (w *world) sent(codes ...string) payouts.PrepareResult {
	w.t.Helper()
	r := w.prepare(codes...)
	_, err := w.service.Approve(w.t.Context(), r.Batch.Reference, "bob")
	w.must(err)
	_, err = w.service.Export(w.t.Context(), r.Batch.Reference, "bob")
	w.must(err)
	return r
}

// paid and cameBack are entries of the bank for a payout.
func (w *world) paid(p payouts.Payout) payouts.Entry {
	return w.entry(payouts.Detail{EndToEndID: p.EndToEndID, Amount: -p.Net, Counterparty: p.Creditor})
}

func (w *world) cameBack(p payouts.Payout) payouts.Entry {
	return w.cameBackFor(p, "AC04")
}

func (w *world) cameBackFor(p payouts.Payout, reason string) payouts.Entry {
	return w.entry(payouts.Detail{EndToEndID: p.EndToEndID, Amount: p.Net, Counterparty: p.Creditor, ReturnReason: reason})
}

func (w *world) entry(details ...payouts.Detail) payouts.Entry {
	e := payouts.Entry{Reference: "REF", BookingDate: w.engine.Today(), ValueDate: w.engine.Today(), Details: details}
	for _, d := range details {
		e.Amount += d.Amount
	}
	return e
}

// statement is the bank's next one.
func (w *world) statement(entries ...payouts.Entry) payouts.Statement {
	w.seq++
	s := payouts.Statement{ID: fmt.Sprintf("ST-%d", w.seq), Sequence: w.seq, IBAN: bankIBAN, Currency: ledger.EUR,
		OpeningDate: w.engine.Today(), Opening: w.closing, ClosingDate: w.engine.Today(), Entries: entries}
	for _, e := range entries {
		w.closing += e.Amount
	}
	s.Closing = w.closing
	s.Hash = s.ContentHash()
	return s
}

func (w *world) imported(s payouts.Statement) payouts.ImportResult {
	w.t.Helper()
	r, err := w.service.ImportStatement(w.t.Context(), s, "carol")
	w.must(err)
	return r
}

// read runs a query on one snapshot.
func read[T any](w *world, query func(ctx context.Context, tx *sqldb.Tx) (T, error)) T {
	w.t.Helper()
	var result T
	w.must(w.db.Read(w.t.Context(), func(ctx context.Context, tx *sqldb.Tx) error {
		var err error
		result, err = query(ctx, tx)
		return err
	}))
	return result
}

func (w *world) payout(endToEndID string) payouts.Payout {
	w.t.Helper()
	return read(w, func(ctx context.Context, tx *sqldb.Tx) (payouts.Payout, error) {
		return payouts.FindPayout(ctx, tx, endToEndID)
	})
}

func (w *world) batch(reference string) payouts.Batch {
	w.t.Helper()
	return read(w, func(ctx context.Context, tx *sqldb.Tx) (payouts.Batch, error) {
		return payouts.FindBatch(ctx, tx, reference)
	})
}

func (w *world) items(p payouts.Payout) []payouts.Item {
	w.t.Helper()
	return read(w, func(ctx context.Context, tx *sqldb.Tx) ([]payouts.Item, error) {
		return payouts.ListItems(ctx, tx, payouts.ItemFilter{PayoutID: p.ID, Limit: payouts.MaxPage})
	})
}

// balances checks posted balances by account code, each on its normal side.
func (w *world) balances(want map[string]ledger.Amount) {
	w.t.Helper()
	for code, amount := range want {
		if posted := w.posted(code); posted != amount {
			w.t.Errorf("balance of %s is %d, want %d", code, posted, amount)
		}
	}
}

// posted is the balance of an account on its normal side.
func (w *world) posted(code string) ledger.Amount {
	w.t.Helper()
	return read(w, func(ctx context.Context, tx *sqldb.Tx) (ledger.Balance, error) {
		return engine.FindBalance(ctx, tx, ledger.SystemAccountID(code))
	}).Posted()
}

func (w *world) verify() {
	w.t.Helper()
	report, err := w.engine.Verify(context.WithoutCancel(w.t.Context()), nil)
	w.must(err)
	if !report.OK() {
		w.t.Errorf("the book does not verify: %+v", report.Differences)
	}
}
