package payments_test

import (
	"strings"
	"testing"

	"tweetledger/internal/payments"
	"tweetledger/ledger"
)

// TestBadText enters names and reasons that nobody has, at every place where a person
// enters one: each is refused in one short line, and nothing changes.
func TestBadText(t *testing.T) {
	w := newWorld(t, sqliteDB(t))
	e, _ := w.startEnrolment("Chloé Bernard", newPhone)
	before := w.counts()
	for name, bad := range map[string]string{
		"10 MB":                    strings.Repeat("é", 5<<20),
		"a control character":      "Marie\x07Test",
		"a new line":               "Marie\nTest",
		"a right-to-left override": "Marie \u202etseT",
		"an invisible character":   "Marie\u200bTest",
		"a byte order mark":        "\ufeffMarie",
		"no UTF-8":                 "Marie \xff",
		"blanks around it":         " Marie ",
		"nothing":                  "",
	} {
		for place, enter := range map[string]func() error{
			"customer add": func() error {
				_, err := w.EnrolCustomer(w.ctx, payments.NewCustomer{Name: bad, Phone: otherPhone})
				return err
			},
			"the page to enrol": func() error {
				stamp, err := w.EnrolStamp()
				must(t, err)
				_, err = w.StartEnrolment(w.ctx, payments.StartEnrolmentRequest{Stamp: stamp, Name: bad, Phone: otherPhone, Actor: payments.ActorPage})
				return err
			},
			"a correction": func() error {
				_, err := w.CorrectCustomer(w.ctx, "c-000001", payments.Correction{Name: bad}, "anne", "asked for")
				return err
			},
			"the reason of a correction": func() error {
				_, err := w.CorrectCustomer(w.ctx, "c-000001", payments.Correction{Name: "Another"}, "anne", bad)
				return err
			},
			"a clerk's name": func() error { return w.SetSecretCode(w.ctx, "c-000001", wrongCode, bad) },
			"a block":        func() error { return w.SetCustomerStatus(w.ctx, "c-000001", payments.Blocked, "anne", bad) },
			"a refusal":      func() error { return w.RefuseEnrolment(w.ctx, e.ID, "anne", bad) },
			"a charity": func() error {
				_, err := w.ProposePayee(w.ctx, payments.NewPayee{Code: "msf", Kind: payments.Charity, Name: bad}, "anne", "contract")
				return err
			},
			"a charity's town": func() error {
				_, err := w.ProposePayee(w.ctx, payments.NewPayee{Code: "msf", Kind: payments.Charity, Name: "MSF", Address: payments.Address{Town: bad, Country: "FR"}}, "anne", "contract")
				return err
			},
			"a top-up": func() error { _, err := w.ProposeTopUp(w.ctx, "c-000001", 1_00, "charge-9", "anne", bad); return err },
		} {
			err := enter()
			if ledger.CodeOf(err) != ledger.CodeInvalid {
				t.Errorf("%s, %s: %v", place, name, err)
				continue
			}
			if len(err.Error()) > 300 || strings.ContainsAny(err.Error(), "\n\x07\u202e\u200b") {
				t.Errorf("%s, %s: the refusal is no short line: %.400q", place, name, err.Error())
			}
		}
	}
	if after := w.counts(); after != before {
		t.Errorf("something changed: %s, then %s", before, after)
	}
}

// TestBadIBANs proposes bank accounts that do not exist, or not within SEPA.
func TestBadIBANs(t *testing.T) {
	w := newWorld(t, sqliteDB(t))
	before := w.counts()
	for iban, word := range map[string]string{
		"FR77 3000 6000 0112 3456 7890 189":       "check digits",
		"FR76 3000 6000 0112 3456 7890 18":        "27 characters",
		"US12 3000 6000 0112 3456":                "SEPA",
		"SA03 8000 0000 6080 1016 7519":           "SEPA",
		"FR76\u202e3000600001123456789018":        "not an IBAN",
		strings.Repeat("FR763000600001", 700_000): "not an IBAN|characters",
	} {
		_, add := w.ProposePayee(w.ctx, payments.NewPayee{Code: "msf", Kind: payments.Charity, Name: "MSF", IBAN: iban}, "anne", "contract")
		_, change := w.ProposePayeeChange(w.ctx, "acf", payments.PayeeChange{IBAN: iban}, "anne", "contract")
		for _, err := range []error{add, change} {
			said := false
			for part := range strings.SplitSeq(word, "|") {
				said = said || (err != nil && strings.Contains(err.Error(), part))
			}
			if ledger.CodeOf(err) != ledger.CodeInvalid || !said || len(err.Error()) > 300 {
				t.Errorf("%.40q: %.400v", iban, err)
			}
		}
	}
	if w.counts() != before || w.one("SELECT COUNT(*) FROM payee_proposals WHERE state = 'proposed'") != 0 {
		t.Error("something was proposed")
	}
}

// TestForgedFormsAreNoted sends forms that were never shown: nothing is confirmed, no
// try is counted, and the payer's history has them, not without end.
func TestForgedFormsAreNoted(t *testing.T) {
	w := newWorld(t, sqliteDB(t))
	o := w.ordered(toYoann)
	token := w.token()
	page, err := w.Confirmation(w.ctx, token)
	must(t, err)
	w.ordered("pay 30.00 " + acf + " ACF_France")
	other, err := w.Confirmation(w.ctx, w.token())
	must(t, err)
	try := func(stamp string) {
		t.Helper()
		_, err := w.Confirm(w.ctx, payments.ConfirmRequest{Token: token, Stamp: stamp, Code: rightCode, Actor: payments.ActorPage})
		w.wantCode(err, ledger.CodeInvalid)
	}
	forged := func() int64 { return w.one("SELECT COUNT(*) FROM party_events WHERE event = 'form_forged'") }
	try("")
	try("AAAA")
	if forged() != 0 {
		t.Error("a form that was cut off smells of an attack")
	}
	try(other.Stamp)          // of another order
	try("B" + page.Stamp[1:]) // of another time
	if n := forged(); n != 2 {
		t.Errorf("%d forged forms were noted, not 2", n)
	}
	for range 100 {
		try(other.Stamp)
	}
	if n := forged(); n != 60 {
		t.Errorf("%d forged forms were noted in a minute, not 60", n)
	}
	c, err := w.Customer(w.ctx, "c-000001")
	must(t, err)
	if c.SecretFailures != 0 {
		t.Errorf("%d tries were counted", c.SecretFailures)
	}
	w.wantState(o.ID, payments.StateAwaitingConfirmation, payments.ReasonHeld)
}
