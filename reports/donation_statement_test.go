package reports_test

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"tweetledger/internal/payments"
	"tweetledger/internal/payouts"
	"tweetledger/internal/sqldb"
	"tweetledger/internal/sqldb/sqltest"
	"tweetledger/ledger"
	"tweetledger/ledger/engine"
	"tweetledger/reports"
)

// calendar is a clock that tests turn to a day.
type calendar struct {
	mu  sync.Mutex
	now time.Time
}

func (c *calendar) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

// turnTo makes it noon (UTC) on a day.
func (c *calendar) turnTo(d ledger.Date) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = d.Midnight(time.UTC).Add(12 * time.Hour)
}

// giveParser reads "give 12.50".
type giveParser struct{}

func (giveParser) Parse(m payments.Message) payments.Parsed {
	amount, err := ledger.ParseAmount(strings.TrimPrefix(m.Text, "give "), ledger.EUR)
	if err != nil {
		return payments.Parsed{Ignored: payments.IgnoredNoHashtag}
	}
	return payments.Parsed{Command: &payments.Command{Name: payments.CommandPay, Hashtag: "don", Amount: amount, Currency: ledger.EUR,
		PayeeID: charityUser, PayeeHandle: "croixrouge", Language: "fr"}}
}

const (
	charityUser = "900"
	secretCode  = "135790"
	bankIBAN    = "FR7630006000011234567890189"
)

// service is the whole service on one database: two customers, a charity.
type service struct {
	t        *testing.T
	db       *sqldb.DB
	engine   *engine.Engine
	calendar *calendar
	payments *payments.Service
	payouts  *payouts.Service
	messages int
	bank     ledger.Amount // the safeguarding account as the bank sees it
}

func must[T any](t *testing.T) func(value T, err error) T {
	return func(value T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return value
	}
}

func newService(t *testing.T, db *sqldb.DB) *service {
	t.Helper()
	s := &service{t: t, db: db, calendar: &calendar{}, bank: 1_000_000}
	s.calendar.turnTo(day(2026, 1, 2))
	s.engine = engine.New(db, engine.Options{Clock: s.calendar.Now})
	t.Cleanup(s.engine.Close)
	random := rand.NewChaCha8([32]byte{1}) // the golden files hold ids and pseudonyms
	config := payments.DefaultConfig()
	config.Key, config.PageURL = bytes.Repeat([]byte("k"), payments.MinKey), "https://pay.test/confirm"
	config.Secret = payments.SecretParams{MemoryKiB: 8, Iterations: 1, Parallelism: 1, Workers: 1}
	s.payments = must[*payments.Service](t)(payments.New(s.engine, config, giveParser{}, payments.Options{Random: random}))
	s.payouts = must[*payouts.Service](t)(payouts.New(s.engine, payouts.Config{
		Account: payouts.Party{Name: "S-money cantonnement", IBAN: bankIBAN}, Currency: ledger.EUR}, payouts.Options{Random: random}))
	ctx := t.Context()
	s.check(s.payments.Setup(ctx))
	for i, customer := range []payments.NewCustomer{{Name: "Élodie Née", Phone: "+33612345678", Named: true}, {Name: "Yoann Secret", Phone: "+33712345678"}} {
		made := must[payments.Customer](t)(s.payments.EnrolCustomer(ctx, customer))
		s.check(s.payments.LinkCustomer(ctx, "twitter", fmt.Sprint(i+1), "customer", made.Number))
		s.check(s.payments.SetSecretCode(ctx, made.Number, secretCode, "test"))
		must[ledger.Transaction](t)(s.payments.TopUp(ctx, made.Number, 50000, "top-up-"+made.Number))
	}
	must[payments.Payee](t)(s.payments.EnrolPayee(ctx, payments.NewPayee{Code: "croix-rouge", Kind: payments.Charity, Name: "Croix-Rouge française",
		IBAN: "FR14 2004 1010 0505 0001 3M02 606", CommissionPoints: 200}, "anne", "bruno"))
	s.check(s.payments.LinkPayee(ctx, "twitter", charityUser, "croixrouge", "croix-rouge"))
	return s
}

func (s *service) check(err error) {
	s.t.Helper()
	if err != nil {
		s.t.Fatal(err)
	}
}

// donate has a customer (by Twitter id) give an amount and confirm it.
func (s *service) donate(on ledger.Date, customer, amount string) payments.Order {
	s.t.Helper()
	s.calendar.turnTo(on)
	s.messages++
	id := fmt.Sprintf("20260101%03d", s.messages)
	ctx := s.t.Context()
	received := must[payments.Received](s.t)(s.payments.Receive(ctx, payments.Message{Channel: "twitter", ID: id, FirstID: id, ConversationID: id,
		AuthorID: customer, AuthorHandle: "customer", Kind: payments.Original, Text: "give " + amount, Language: "fr", CreatedAt: s.calendar.Now(), Via: "stream"}))
	handled := must[payments.Handled](s.t)(s.payments.Handle(ctx, received.ID))
	if handled.Order == nil {
		s.t.Fatalf("give %s became %+v", amount, handled)
	}
	return must[payments.Order](s.t)(s.payments.Confirm(ctx, payments.ConfirmRequest{OrderID: handled.Order.ID, Code: secretCode, Actor: "test"}))
}

// approve prepares a payout batch and approves it.
func (s *service) approve(on ledger.Date) payouts.PrepareResult {
	s.t.Helper()
	s.calendar.turnTo(on)
	prepared := must[payouts.PrepareResult](s.t)(s.payouts.Prepare(s.t.Context(), payouts.PrepareRequest{Actor: "ada"}))
	if len(prepared.Payouts) != 1 {
		s.t.Fatalf("the batch has %d payouts; refused: %v", len(prepared.Payouts), prepared.Refused)
	}
	must[payouts.Batch](s.t)(s.payouts.Approve(s.t.Context(), prepared.Batch.Reference, "bob"))
	return prepared
}

// payOut is approve, and the file goes to the bank.
func (s *service) payOut(on ledger.Date) payouts.Payout {
	s.t.Helper()
	prepared := s.approve(on)
	must[payouts.PaymentFile](s.t)(s.payouts.Export(s.t.Context(), prepared.Batch.Reference, "bob"))
	return prepared.Payouts[0]
}

// book has the bank book a payout, or its return where there is a reason.
func (s *service) book(on ledger.Date, p payouts.Payout, returned string) {
	s.t.Helper()
	s.calendar.turnTo(on)
	amount := -p.Net
	if returned != "" {
		amount = p.Net
	}
	statement := payouts.Statement{ID: "ST-" + on.String(), IBAN: bankIBAN, Currency: ledger.EUR, OpeningDate: on, Opening: s.bank,
		ClosingDate: on, Closing: s.bank + amount,
		Entries: []payouts.Entry{{Reference: "REF-" + on.String(), Amount: amount, BookingDate: on, ValueDate: on, Line: 1,
			Details: []payouts.Detail{{EndToEndID: p.EndToEndID, Amount: amount, ReturnReason: returned}}}}}
	statement.Hash = statement.ContentHash()
	s.bank += amount
	result := must[payouts.ImportResult](s.t)(s.payouts.ImportStatement(s.t.Context(), statement, "ada"))
	if result.Settled+result.Returned != 1 {
		s.t.Fatalf("the statement became %+v", result)
	}
}

// season is a life of donations: named and not, reversed, paid out, returned,
// cancelled, and something posted by hand.
func season(t *testing.T, db *sqldb.DB) *service {
	t.Helper()
	s := newService(t, db)
	s.donate(day(2026, 1, 5), "1", "12.50") // before the period
	s.donate(day(2026, 1, 12), "2", "7.50")
	s.donate(day(2026, 1, 13), "1", "100.00")
	first := s.payOut(day(2026, 1, 14))
	s.book(day(2026, 1, 16), first, "")
	s.book(day(2026, 1, 19), first, "AC04")
	for _, actor := range []string{"ada", "ben"} {
		must[payouts.Confirmation](t)(s.payouts.ConfirmIBAN(t.Context(), "croix-rouge", actor, "the bank erred"))
	}
	second := s.payOut(day(2026, 1, 20))
	s.book(day(2026, 1, 22), second, "")
	mistaken := s.donate(day(2026, 1, 22), "2", "5.00")
	s.calendar.turnTo(day(2026, 1, 23))
	must[ledger.Transaction](t)(s.engine.Reverse(t.Context(), ledger.ReverseRequest{Key: "undo", TransactionID: mistaken.TransactionID, Label: "Donation undone"}))
	s.donate(day(2026, 1, 26), "2", "3.33")
	cancelled := s.approve(day(2026, 1, 27))
	must[payouts.Batch](t)(s.payouts.Cancel(t.Context(), cancelled.Batch.Reference, "ada"))
	s.calendar.turnTo(day(2026, 1, 28))
	must[ledger.Transaction](t)(s.engine.Post(t.Context(), ledger.PostRequest{Key: "goodwill", Journal: "OD", Label: "Goodwill", Postings: []ledger.Posting{
		{Debit: ledger.SystemAccountID("own-account"), Credit: ledger.SystemAccountID("payable:croix-rouge"), Amount: 100, Currency: ledger.EUR}}}))
	s.donate(day(2026, 2, 3), "1", "20.00") // after the period
	return s
}

func (s *service) statement(p reports.DonationStatementParams) (reports.Table, error) {
	s.t.Helper()
	p.GeneratedAt = generated
	return read(s.t, s.db, func(ctx context.Context, tx *sqldb.Tx) (reports.Table, error) {
		return reports.DonationStatement(ctx, tx, s.payments, p)
	})
}

func ofJanuary() reports.DonationStatementParams {
	return reports.DonationStatementParams{Payee: "croix-rouge", From: day(2026, 1, 10), To: day(2026, 1, 31)}
}

func TestDonationStatementGolden(t *testing.T) {
	sqltest.Each(t, func(t *testing.T, db *sqldb.DB) {
		s := season(t, db)
		for name, p := range map[string]reports.DonationStatementParams{
			"donation_statement":       ofJanuary(),
			"donation_statement_empty": {Payee: "croix-rouge", From: day(2025, 1, 1), To: day(2025, 12, 31)},
		} {
			table, err := s.statement(p)
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			golden(t, name, table)
		}
	})
}

func TestDonationStatementKeepsDonorsSecret(t *testing.T) {
	s := season(t, sqltest.SQLite(t))
	table := must[reports.Table](t)(s.statement(ofJanuary()))
	text := fmt.Sprint(table)
	if strings.Contains(text, "Yoann") || strings.Contains(text, "+337") {
		t.Error("a donor is named who did not consent")
	}
	if !strings.Contains(text, "Élodie Née") {
		t.Error("a donor is not named who did consent")
	}
}

func TestDonationStatementsFollowOnEachOther(t *testing.T) {
	s := season(t, sqltest.SQLite(t))
	owed := any(eur(0))
	for from := day(2026, 1, 1); from.Before(day(2026, 2, 10)); from = from.AddDays(3) {
		table := must[reports.Table](t)(s.statement(reports.DonationStatementParams{Payee: "croix-rouge", From: from, To: from.AddDays(2)}))
		if got := fact(t, table, "opening_payable"); got != owed {
			t.Errorf("the statement from %s begins with %v, the one before ended with %v", from, got, owed)
		}
		var sum ledger.Amount
		for _, name := range []string{"opening_payable", "donations", "reversals", "commissions", "payouts", "returns", "others"} {
			sum += fact(t, table, name).(reports.Cash).Amount
		}
		owed = fact(t, table, "closing_payable")
		if owed != eur(sum) {
			t.Errorf("the statement from %s ends with %v, its facts add up to %d", from, owed, sum)
		}
	}
	if owed != eur(333+100+2000) {
		t.Errorf("%v is owed at last", owed)
	}
}

func TestDonationStatementRefusesWhatDoesNotTie(t *testing.T) {
	for name, tc := range map[string]struct{ tamper, want string }{
		"donation's amount": {"UPDATE orders SET amount = amount + 1 WHERE amount = 750", "donation twitter:20260101002 is 7.51 EUR on 2026-01-12, but the ledger has 7.50 EUR"},
		"donation's date":   {"UPDATE orders SET effective_date = '2026-01-11' WHERE amount = 750", "on 2026-01-11, but the ledger has"},
		"donation without posting": {"UPDATE orders SET transaction_id = (SELECT id FROM transactions WHERE journal = 'CB' LIMIT 1) WHERE amount = 750",
			"no posting of donation twitter:20260101002 of 7.50 EUR"},
		"payout's commission": {"UPDATE payouts SET net = net - 1, commission = commission + 1 WHERE return_reason = 'AC04'", "117.60 EUR"},
		"posting's date": {`UPDATE postings SET page_id = (SELECT page_id FROM transactions WHERE effective_date > '2026-02-01' LIMIT 1), line = line + 100
			WHERE amount = 240 AND page_id = (SELECT page_id FROM transactions WHERE effective_date = '2026-01-19')`, "has no posting 1; run verify"},
		"posting beyond its header's": {`INSERT INTO postings (page_id, line, transaction_id, ordinal, debit_no, credit_no, amount, currency)
			SELECT page_id, line + 1, transaction_id, ordinal + 1, debit_no, credit_no, amount, currency FROM postings
			WHERE amount = 240 AND page_id = (SELECT page_id FROM transactions WHERE effective_date = '2026-01-19')`,
			"does not tie: the lines lead from 12.50 EUR to 4.33 EUR, but the ledger's balance is 6.73 EUR"},
		"return is the approval": {"UPDATE payouts SET return_transaction_id = transaction_id WHERE return_reason = 'AC04'", "payout PO-20260114-0001-"},
		"payout without posting": {"UPDATE payouts SET transaction_id = (SELECT id FROM transactions WHERE journal = 'CB' LIMIT 1) WHERE return_reason = 'AC04'",
			"the ledger has no posting of payout PO-20260114-0001-"},
	} {
		t.Run(name, func(t *testing.T) {
			s := season(t, sqltest.SQLite(t))
			s.check(s.db.Write(t.Context(), func(ctx context.Context, tx *sqldb.Tx) error {
				if _, err := tx.Exec(ctx, "DROP TRIGGER postings_no_update"); err != nil {
					return err
				}
				n, err := tx.Exec(ctx, tc.tamper)
				if err == nil && n != 1 {
					err = fmt.Errorf("%d rows were changed", n)
				}
				return err
			}))
			_, err := s.statement(ofJanuary())
			if err == nil || !strings.Contains(err.Error(), tc.want) ||
				!strings.Contains(err.Error(), "does not tie") && !strings.Contains(err.Error(), "run verify") {
				t.Errorf("got %v", err)
			}
		})
	}
}

func TestDonationStatementRefuses(t *testing.T) {
	s := newService(t, sqltest.SQLite(t))
	for name, tc := range map[string]struct {
		params reports.DonationStatementParams
		want   ledger.Code
	}{
		"unknown payee":   {reports.DonationStatementParams{Payee: "nobody", From: day(2026, 1, 1), To: day(2026, 1, 2)}, ledger.CodeNotFound},
		"no period":       {reports.DonationStatementParams{Payee: "croix-rouge", To: day(2026, 1, 2)}, ledger.CodeInvalid},
		"period upturned": {reports.DonationStatementParams{Payee: "croix-rouge", From: day(2026, 1, 3), To: day(2026, 1, 2)}, ledger.CodeInvalid},
	} {
		if _, err := s.statement(tc.params); ledger.CodeOf(err) != tc.want {
			t.Errorf("%s: got %v, want %s", name, err, tc.want)
		}
	}
}

// brokenSource fails, or names a donation twice.
type brokenSource struct{ err error }

func (b brokenSource) ListDonations(context.Context, *sqldb.Tx, payments.DonationFilter) ([]payments.Donation, error) {
	return []payments.Donation{{TransactionID: uuid.New(), Key: "twitter:1", Amount: 1, Currency: ledger.EUR}}, b.err
}

func TestDonationStatementChecksItsSource(t *testing.T) {
	s := newService(t, sqltest.SQLite(t))
	for _, source := range []brokenSource{{}, {fmt.Errorf("connection lost")}} {
		_, err := read(t, s.db, func(ctx context.Context, tx *sqldb.Tx) (reports.Table, error) {
			return reports.DonationStatement(ctx, tx, source, ofJanuary())
		})
		if err == nil {
			t.Errorf("a statement was made from %+v", source)
		}
	}
}

// TestDonationStatementShowsRejection: what the bank rejected is owed again.
func TestDonationStatementShowsRejection(t *testing.T) {
	s := newService(t, sqltest.SQLite(t))
	s.donate(day(2026, 1, 12), "1", "100.00")
	p := s.payOut(day(2026, 1, 14))
	must[payouts.ReportResult](t)(s.payouts.ImportReport(t.Context(), func(yield func(payouts.ReportPart, error) bool) {
		_ = yield(payouts.ReportPart{Group: &payouts.ReportGroup{MessageID: "RPT", OriginalMessage: strings.TrimSuffix(p.EndToEndID, "-00001"), Status: payouts.StatusPartial}}, nil) &&
			yield(payouts.ReportPart{Transaction: &payouts.ReportTransaction{EndToEndID: p.EndToEndID, Status: payouts.StatusRejected,
				Reasons: []payouts.StatusReason{{Code: "MS03"}}}}, nil)
	}, "ada"))
	table := must[reports.Table](t)(s.statement(ofJanuary()))
	if fact(t, table, "closing_payable") != any(eur(100_00)) || fact(t, table, "payouts") != any(eur(0)) || fact(t, table, "commissions") != any(eur(0)) {
		t.Errorf("facts are %+v", table.Facts)
	}
	text := fmt.Sprint(table.Rows)
	for _, want := range []string{"payout rejected", "commission reversed", "rejected", "MS03"} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in %s", want, text)
		}
	}
}
