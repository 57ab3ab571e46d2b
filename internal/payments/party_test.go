package payments_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	"tweetledger/internal/payments"
	"tweetledger/internal/sqldb"
	"tweetledger/ledger"
	"tweetledger/ledger/engine"
)

func TestSetupTwice(t *testing.T) {
	onEach(t, func(t *testing.T, w *world) {
		must(t, w.Engine().SetChart(w.ctx, []ledger.ChartEntry{{Category: ledger.CustomerEMoney, ValidFrom: ledger.Date{Year: 2020, Month: 1, Day: 1},
			Number: "467100", Label: "Own choice"}}))
		must(t, w.Setup(w.ctx))
		w.read(func(ctx context.Context, tx *sqldb.Tx) error {
			chart, err := engine.Chart(ctx, tx, w.Engine().Today())
			must(t, err)
			if chart[ledger.CustomerEMoney].Number != "467100" || chart[ledger.CharityPayable].Number != "4672" || len(chart) != 14 {
				t.Fatalf("chart is %+v", chart)
			}
			for _, code := range []string{"cards-to-settle", "safeguarding-account", "own-account", "unclaimed-payments", "payouts-in-transit",
				"suspense", "commissions", "card-fees", "customer-receivable"} {
				a, err := engine.FindAccountByCode(ctx, tx, code)
				must(t, err)
				if a.ID != ledger.SystemAccountID(code) || string(a.Category) == "" {
					t.Fatalf("account %s is %+v", code, a)
				}
			}
			return nil
		})
	})
}

func TestEnrolment(t *testing.T) {
	onEach(t, func(t *testing.T, w *world) {
		for name, n := range map[string]payments.NewCustomer{
			"name":    {Name: "", Phone: "+33612345678"},
			"name ":   {Name: strings.Repeat("x", 121), Phone: "+33612345678"},
			"name  ":  {Name: "Marie\u202eeiram", Phone: "+33612345678"},
			"phone":   {Name: "Marie", Phone: "0612345678"},
			"phone ":  {Name: "Marie", Phone: "+33112345678"}, // a landline
			"phone  ": {Name: "Marie", Phone: "+336123456789"},
			"number":  {Name: "Marie", Phone: "+33612345678", Number: "17"},
		} {
			_, err := w.EnrolCustomer(w.ctx, n)
			var e *ledger.Error
			if !errors.As(err, &e) || e.Code != ledger.CodeInvalid || e.Field != strings.TrimSpace(name) {
				t.Errorf("%+v: error is %v", n, err)
			}
		}
		n := payments.NewCustomer{Number: "c-000017", Name: "Zoé Test", Phone: "+33612345679"}
		first, err := w.EnrolCustomer(w.ctx, n)
		must(t, err)
		again, err := w.EnrolCustomer(w.ctx, n)
		must(t, err)
		if again.ID != first.ID || again.WalletID != ledger.SystemAccountID("wallet:c-000017") {
			t.Fatalf("enrolled %+v and %+v", first, again)
		}
		n.Name = "Somebody Else"
		_, err = w.EnrolCustomer(w.ctx, n)
		w.wantCode(err, ledger.CodeConflict)
		next, err := w.EnrolCustomer(w.ctx, payments.NewCustomer{Name: "After", Phone: "+33612345670"})
		must(t, err)
		if next.Number != "c-000018" {
			t.Fatalf("the next number is %s", next.Number)
		}
		w.read(func(ctx context.Context, tx *sqldb.Tx) error {
			var numbers []string
			f := payments.CustomerFilter{Limit: 3}
			for {
				page, err := payments.ListCustomers(ctx, tx, f)
				must(t, err)
				if len(page) == 0 {
					break
				}
				for _, c := range page {
					numbers = append(numbers, c.Number)
				}
				f.AfterNumber = numbers[len(numbers)-1]
			}
			if got := strings.Join(numbers, " "); got != "c-000001 c-000002 c-000017 c-000018" {
				t.Fatalf("customers are %s", got)
			}
			return nil
		})
	})
}

func TestParallelEnrolment(t *testing.T) {
	onEach(t, func(t *testing.T, w *world) {
		var group sync.WaitGroup
		for i := range 4 {
			group.Go(func() {
				if _, err := w.EnrolCustomer(w.ctx, payments.NewCustomer{Name: fmt.Sprint("Customer ", i), Phone: fmt.Sprintf("+3361234561%d", i)}); err != nil {
					t.Errorf("enrol: %v", err)
				}
			})
		}
		group.Wait()
		c, err := w.Customer(w.ctx, "c-000006")
		must(t, err)
		if c.Status != payments.Open {
			t.Fatalf("%+v", c)
		}
	})
}

func TestPayees(t *testing.T) {
	onEach(t, func(t *testing.T, w *world) {
		p, err := w.Payee(w.ctx, "acf")
		must(t, err)
		if p.IBAN != "FR7630006000011234567890189" || p.AccountID != ledger.SystemAccountID("payable:acf") || p.Rhythm != payments.Weekly {
			t.Fatalf("payee is %+v", p)
		}
		again, err := w.EnrolPayee(w.ctx, payments.NewPayee{Code: "acf", Kind: payments.Charity, Name: p.Name}, "anne", "bruno")
		must(t, err)
		if again.ID != p.ID || again.IBAN != p.IBAN {
			t.Fatalf("enrolled again: %+v", again)
		}
		_, err = w.EnrolPayee(w.ctx, payments.NewPayee{Code: "acf", Kind: payments.Business, Name: p.Name}, "anne", "bruno")
		w.wantCode(err, ledger.CodeConflict)
		for field, n := range map[string]payments.NewPayee{
			"code":               {Code: "A C F", Kind: payments.Charity, Name: "x"},
			"kind":               {Code: "x", Kind: payments.Person, Name: "x"},
			"name":               {Code: "x", Kind: payments.Charity},
			"iban":               {Code: "x", Kind: payments.Charity, Name: "x", IBAN: "FR7630006000011234567890188"},
			"bic":                {Code: "x", Kind: payments.Charity, Name: "x", BIC: "AGRIFRPP"},
			"rhythm":             {Code: "x", Kind: payments.Charity, Name: "x", Rhythm: "hourly"},
			"commission_points":  {Code: "x", Kind: payments.Charity, Name: "x", CommissionPoints: 10_001},
			"commission_minimum": {Code: "x", Kind: payments.Charity, Name: "x", CommissionMinimum: -1},
		} {
			_, err := w.EnrolPayee(w.ctx, n, "anne", "bruno")
			var e *ledger.Error
			if !errors.As(err, &e) || e.Code != ledger.CodeInvalid || e.Field != field {
				t.Errorf("%s: error is %v", field, err)
			}
		}
		b, err := w.ChangePayee(w.ctx, "bakery", payments.PayeeChange{IBAN: "de89 3704 0044 0532 0130 00", BIC: "cobadeff"}, "staff:anne", "staff:bruno", "letter of today")
		must(t, err)
		if b.IBAN != "DE89370400440532013000" || b.BIC != "COBADEFF" {
			t.Fatalf("payee is %+v", b)
		}
	})
}

func TestStatusAndClosing(t *testing.T) {
	onEach(t, func(t *testing.T, w *world) {
		w.wantCode(w.SetCustomerStatus(w.ctx, "c-000001", payments.Closed, "staff:anne", "asked to"), ledger.CodeConflict) // has money
		must(t, w.SetCustomerStatus(w.ctx, "c-000002", payments.Closed, "staff:anne", "asked to"))
		w.wantCode(w.SetCustomerStatus(w.ctx, "c-000002", payments.Open, "staff:anne", "regrets"), ledger.CodeConflict)
		_, err := w.TopUp(w.ctx, "c-000002", 1_00, "charge-9")
		w.wantCode(err, ledger.CodeAccountClosed)
		w.wantCode(w.SetCustomerStatus(w.ctx, "c-000001", payments.Blocked, "staff:anne", ""), ledger.CodeInvalid)
		w.wantCode(w.SetCustomerStatus(w.ctx, "c-000001", "asleep", "staff:anne", "x"), ledger.CodeInvalid)
		w.wantCode(w.SetCustomerStatus(w.ctx, "c-000099", payments.Blocked, "staff:anne", "x"), ledger.CodeNotFound)
	})
}

func TestLinks(t *testing.T) {
	onEach(t, func(t *testing.T, w *world) {
		must(t, w.LinkCustomer(w.ctx, channel, marie, "marie_renamed", "c-000001"))
		w.wantCode(w.LinkCustomer(w.ctx, channel, marie, "marie_test", "c-000002"), ledger.CodeConflict)
		w.wantCode(w.LinkPayee(w.ctx, channel, marie, "marie_test", "acf"), ledger.CodeConflict)
		w.wantCode(w.LinkCustomer(w.ctx, channel, "@marie", "marie_test", "c-000001"), ledger.CodeInvalid)
		w.wantCode(w.LinkCustomer(w.ctx, channel, "700000777", "marie test", "c-000001"), ledger.CodeInvalid)
		w.wantCode(w.LinkCustomer(w.ctx, channel, "700000777", "x", "c-000404"), ledger.CodeNotFound)
		c, err := w.Customer(w.ctx, "c-000001")
		must(t, err)
		w.read(func(ctx context.Context, tx *sqldb.Tx) error {
			links, err := payments.ListLinks(ctx, tx, c.ID)
			must(t, err)
			if len(links) != 1 || links[0].UserID != marie || links[0].Handle != "marie_renamed" {
				t.Fatalf("links are %+v", links)
			}
			return nil
		})
		w.ordered(toYoann) // a renamed handle changes nothing
	})
}

func TestTopUp(t *testing.T) {
	onEach(t, func(t *testing.T, w *world) {
		before := w.counts()
		again, err := w.TopUp(w.ctx, "c-000001", 1000_00, "charge-1")
		must(t, err)
		if after := w.counts(); after != before || again.Journal != ledger.JournalCards || again.Source.ID != "charge-1" {
			t.Fatalf("the same charge again: %+v, %s", again, after)
		}
		_, err = w.TopUp(w.ctx, "c-000001", 999_00, "charge-1")
		w.wantCode(err, ledger.CodeConflict)
		_, err = w.TopUp(w.ctx, "c-000001", 1500_01, "charge-2") // the ceiling is 2,500 EUR
		w.wantCode(err, ledger.CodeLimitExceeded)
		_, err = w.TopUp(w.ctx, "c-000001", 1500_00, "charge-2")
		must(t, err)
		_, err = w.TopUp(w.ctx, "c-000001", 0, "charge-3")
		w.wantCode(err, ledger.CodeInvalid)
		_, err = w.TopUp(w.ctx, "c-000001", 1_00, "")
		w.wantCode(err, ledger.CodeInvalid)
		w.wantBalance("cards-to-settle", 2500_00, 2500_00)
	})
}

func TestIBAN(t *testing.T) {
	for in, want := range map[string]string{
		"FR76 3000 6000 0112 3456 7890 189": "FR7630006000011234567890189",
		"gb29nwbk60161331926819":            "GB29NWBK60161331926819",
		"NO93 8601 1117 947":                "NO9386011117947",
		"MT84MALT011000012345MTLCAST001S":   "MT84MALT011000012345MTLCAST001S",
	} {
		if got, err := payments.ParseIBAN(in); err != nil || got != want {
			t.Errorf("%s: %s, %v", in, got, err)
		}
	}
	for in, why := range map[string]string{
		"":                                 "not an IBAN",
		"FR76":                             "not an IBAN",
		"FR7630006000011234567890188":      "check digits",
		"FR763000600001123456789018":       "27 characters",
		"SA0380000000608010167519":         "SEPA",
		"FR76-3000-6000-0112-3456-7890189": "not an IBAN",
		strings.Repeat("FR76", 10_000):     "27 characters",
	} {
		_, err := payments.ParseIBAN(in)
		if ledger.CodeOf(err) != ledger.CodeInvalid || !strings.Contains(err.Error(), why) || len(err.Error()) > 200 {
			t.Errorf("%.40s: %v", in, err)
		}
	}
}

func TestConfig(t *testing.T) {
	if err := testConfig().Validate(); err != nil {
		t.Fatal(err)
	}
	for field, spoil := range map[string]func(c *payments.Config){
		"key":               func(c *payments.Config) { c.Key = c.Key[1:] },
		"page_url":          func(c *payments.Config) { c.PageURL = "pay.test/confirm/" },
		"currency":          func(c *payments.Config) { c.Currency = "EURO" },
		"bank_name":         func(c *payments.Config) { c.BankName = "" },
		"bank_handle":       func(c *payments.Config) { c.BankHandle = "@SmoneyFR" },
		"person_cap":        func(c *payments.Config) { c.PersonCap = 0 },
		"confirmation_term": func(c *payments.Config) { c.ConfirmationTerm = 0 },
		"secret_tries":      func(c *payments.Config) { c.SecretTries = 0 },
		"secret":            func(c *payments.Config) { c.Secret.Workers = 0 },
		"outbox.tries":      func(c *payments.Config) { c.Outbox.Tries = 0 },
		"outbox.lease":      func(c *payments.Config) { c.Outbox.Lease = c.Outbox.SendTimeout },
	} {
		config := testConfig()
		config.Key = append([]byte(nil), config.Key...)
		spoil(&config)
		var e *ledger.Error
		if err := config.Validate(); !errors.As(err, &e) || e.Field != field {
			t.Errorf("%s: %v", field, err)
		}
	}
}
