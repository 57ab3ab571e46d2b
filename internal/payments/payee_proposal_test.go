package payments_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"tweetledger/internal/payments"
	"tweetledger/internal/sqldb"
	"tweetledger/ledger"
)

func (w *world) proposals(f payments.ProposalFilter) (list []payments.PayeeProposal) {
	w.t.Helper()
	f.Limit = 100
	w.read(func(ctx context.Context, tx *sqldb.Tx) (err error) {
		list, err = payments.ListProposals(ctx, tx, f)
		return err
	})
	return list
}

var unicef = payments.NewPayee{Code: "unicef", Kind: payments.Charity, Name: "Unicef France", IBAN: "FR14 2004 1010 0505 0001 3M02 606", CommissionPoints: 150,
	Address: payments.Address{Street: "rue Duguay-Trouin", Building: "3", PostCode: "75006", Town: "Paris", Country: "FR"}}

func TestAPayeeTakesTwoPersons(t *testing.T) {
	onCore(t, func(t *testing.T, w *world) {
		var p payments.PayeeProposal
		for range 2 { // the second changes nothing
			var err error
			p, err = w.ProposePayee(w.ctx, unicef, "anne", "contract signed")
			must(t, err)
		}
		if p.Number != 1 || p.State != payments.ProposalProposed || p.New.IBAN != "FR1420041010050500013M02606" || len(w.proposals(payments.ProposalFilter{Code: "unicef", Decided: true})) != 1 {
			t.Fatalf("proposed %+v", p)
		}
		// Until it is approved there is no such payee, and no account.
		_, err := w.Payee(w.ctx, "unicef")
		w.wantCode(err, ledger.CodeNotFound)
		w.wantCode(w.LinkPayee(w.ctx, channel, stranger, "Unicef", "unicef"), ledger.CodeNotFound)
		if n := w.one("SELECT COUNT(*) FROM accounts WHERE code = 'payable:unicef'"); n != 0 {
			t.Fatal("the payee has an account")
		}
		for actor, code := range map[string]ledger.Code{"anne": ledger.CodeForbidden, "ANNE": ledger.CodeForbidden, "": ledger.CodeInvalid} {
			_, err := w.ApprovePayee(w.ctx, "unicef", 1, actor, "checked")
			w.wantCode(err, code)
		}
		_, err = w.ApprovePayee(w.ctx, "unicef", 2, "bruno", "checked")
		w.wantCode(err, ledger.CodeNotFound)
		_, err = w.ProposePayee(w.ctx, payments.NewPayee{Code: "unicef", Kind: payments.Charity, Name: "Another"}, "chloe", "mine")
		w.wantCode(err, ledger.CodeConflict)
		for range 2 {
			payee, err := w.ApprovePayee(w.ctx, "unicef", 1, "bruno", "checked")
			must(t, err)
			if payee.Status != payments.Open || payee.IBAN != p.New.IBAN || payee.Address != unicef.Address || payee.Rhythm != payments.Monthly {
				t.Fatalf("approved %+v", payee)
			}
		}
		_, err = w.ApprovePayee(w.ctx, "unicef", 1, "chloe", "me too")
		w.wantCode(err, ledger.CodeConflict)
		w.wantCode(w.RejectPayee(w.ctx, "unicef", 1, "bruno", "regrets"), ledger.CodeConflict)
		must(t, w.LinkPayee(w.ctx, channel, stranger, "Unicef", "unicef"))
		o := w.ordered("pay 20.00 " + stranger + " Unicef")
		_, err = w.confirm(o.ID, rightCode)
		must(t, err)
		w.wantBalance("payable:unicef", 20_00, 20_00)
		p, err = w.ProposePayee(w.ctx, unicef, "anne", "again")
		if must(t, err); p.State != payments.ProposalApproved {
			t.Errorf("proposed again: %+v", p)
		}
	})
}

func TestChangesOfAPayeeTakeTwoPersons(t *testing.T) {
	onEach(t, func(t *testing.T, w *world) {
		const account = "DE89370400440532013000"
		points, minimum := 200, ledger.Amount(50)
		change := payments.PayeeChange{IBAN: account, BIC: "cobadeff", CommissionPoints: &points, CommissionMinimum: &minimum, Rhythm: payments.Daily}
		p, err := w.ProposePayeeChange(w.ctx, "acf", change, "anne", "new contract")
		must(t, err)
		before, err := w.Payee(w.ctx, "acf")
		must(t, err)
		if before.IBAN == account || p.Number != 2 || p.Old.IBAN != before.IBAN || p.New.IBAN != account || p.New.BIC != "COBADEFF" {
			t.Fatalf("proposed %+v of %+v", p, before)
		}
		_, err = w.ApprovePayee(w.ctx, "acf", 2, "anne", "mine")
		w.wantCode(err, ledger.CodeForbidden)
		must(t, w.RejectPayee(w.ctx, "acf", 2, "anne", "withdrawn"))
		must(t, w.RejectPayee(w.ctx, "acf", 2, "anne", "withdrawn"))
		if after, err := w.Payee(w.ctx, "acf"); err != nil || after != before {
			t.Fatalf("a rejected change made %+v, %v", after, err)
		}
		after, err := w.ChangePayee(w.ctx, "acf", change, "anne", "bruno", "new contract")
		must(t, err)
		if after.IBAN != account || after.BIC != "COBADEFF" || after.Rhythm != payments.Daily || after.Name != before.Name {
			t.Fatalf("changed to %+v", after)
		}
		if terms := w.terms("acf"); len(terms) != 2 || terms[1].Points != 200 || terms[1].Minimum != 50 {
			t.Fatalf("changed the terms to %+v", terms)
		}
		p, err = w.ProposePayeeChange(w.ctx, "acf", change, "anne", "once more")
		if must(t, err); p.State != payments.ProposalApproved {
			t.Errorf("nothing to change is %+v", p)
		}
		// The history has old and new values, who, why and when.
		list := w.proposals(payments.ProposalFilter{Code: "acf", Decided: true})
		if len(list) != 3 || list[1].State != payments.ProposalRejected || list[1].Decision != "withdrawn" || list[2].Old.IBAN != before.IBAN ||
			list[2].New.IBAN != account || list[2].ProposedBy != "anne" || list[2].DecidedBy != "bruno" || list[2].DecidedAt.IsZero() {
			t.Errorf("the history is %+v", list)
		}
		if waiting := w.proposals(payments.ProposalFilter{}); len(waiting) != 0 {
			t.Errorf("%+v wait", waiting)
		}
		page := w.proposals(payments.ProposalFilter{Decided: true, AfterCode: "acf", AfterNumber: 2})
		if len(page) != 2 || page[0].Number != 3 || page[1].Code != "bakery" {
			t.Errorf("the second page is %+v", page)
		}
		// What was changed meanwhile cannot be approved over.
		_, err = w.ProposePayeeChange(w.ctx, "acf", payments.PayeeChange{Name: "ACF"}, "anne", "short")
		must(t, err)
		w.exec("UPDATE payees SET rhythm = 'weekly' WHERE code = 'acf'")
		_, err = w.ApprovePayee(w.ctx, "acf", 4, "bruno", "checked")
		w.wantCode(err, ledger.CodeConflict)
	})
}

// TestApprovalsAtOnce: of approvals and rejections at once, on two nodes, one counts.
func TestApprovalsAtOnce(t *testing.T) {
	onEach(t, func(t *testing.T, w *world) {
		nodes := []*payments.Service{w.Service, w.node(testConfig())}
		const people = 8
		results := make(chan error, people)
		for i := range people {
			go func() {
				n := unicef
				n.Name = fmt.Sprint("Unicef ", i)
				_, err := nodes[i%2].ProposePayee(w.ctx, n, fmt.Sprint("person-", i), "mine")
				results <- err
			}()
		}
		w.wantOne(results, people)
		for i := range people {
			go func() {
				if i%2 == 0 {
					_, err := nodes[i%2].ApprovePayee(w.ctx, "unicef", 1, fmt.Sprint("judge-", i), "checked")
					results <- err
				} else {
					results <- nodes[i%2].RejectPayee(w.ctx, "unicef", 1, fmt.Sprint("judge-", i), "no")
				}
			}()
		}
		w.wantOne(results, people)
		p := w.proposals(payments.ProposalFilter{Code: "unicef", Decided: true})
		_, err := w.Payee(w.ctx, "unicef")
		if len(p) != 1 || (err == nil) != (p[0].State == payments.ProposalApproved) {
			t.Errorf("%+v, and the payee: %v", p, err)
		}
	})
}

// wantOne waits for results of which one is a success and the others are conflicts.
func (w *world) wantOne(results <-chan error, n int) {
	w.t.Helper()
	done := 0
	for range n {
		err := <-results
		if err == nil {
			done++
			continue
		}
		w.wantCode(err, ledger.CodeConflict)
	}
	if done != 1 {
		w.t.Fatalf("%d succeeded", done)
	}
}

func TestBadPayees(t *testing.T) {
	w := newWorld(t, sqliteDB(t))
	before := w.counts()
	paris := payments.Address{Town: "Paris", Country: "FR"}
	for what, spoil := range map[string]func(n *payments.NewPayee){
		"name: 10 MB":          func(n *payments.NewPayee) { n.Name = strings.Repeat("x", 10<<20) },
		"name: right to left":  func(n *payments.NewPayee) { n.Name = "Unicef\u202efecinU" },
		"name: control":        func(n *payments.NewPayee) { n.Name = "Unicef\r\nBcc: x" },
		"iban: check digits":   func(n *payments.NewPayee) { n.IBAN = "FR1420041010050500013M02607" },
		"iban: outside SEPA":   func(n *payments.NewPayee) { n.IBAN = "TR330006100519786457841326" },
		"iban: too long":       func(n *payments.NewPayee) { n.IBAN = "FR1420041010050500013M026060" },
		"iban: 10 MB":          func(n *payments.NewPayee) { n.IBAN = "FR14" + strings.Repeat("2", 10<<20) },
		"bic: not one":         func(n *payments.NewPayee) { n.BIC = "BANK" },
		"town: none":           func(n *payments.NewPayee) { n.Address = payments.Address{Street: "rue", Country: "FR"} },
		"town: too long":       func(n *payments.NewPayee) { n.Address = paris; n.Address.Town = strings.Repeat("x", 36) },
		"street: control":      func(n *payments.NewPayee) { n.Address = paris; n.Address.Street = "rue\tX" },
		"country: none":        func(n *payments.NewPayee) { n.Address = payments.Address{Town: "Paris"} },
		"country: small":       func(n *payments.NewPayee) { n.Address = payments.Address{Town: "Paris", Country: "fr"} },
		"post_code: not one":   func(n *payments.NewPayee) { n.Address = paris; n.Address.PostCode = "7500" },
		"building: too long":   func(n *payments.NewPayee) { n.Address = paris; n.Address.Building = strings.Repeat("1", 17) },
		"commission_points: -": func(n *payments.NewPayee) { n.CommissionPoints = -1 },
	} {
		n := unicef
		spoil(&n)
		_, err := w.ProposePayee(w.ctx, n, "anne", "new")
		field, _, _ := strings.Cut(what, ":")
		var e *ledger.Error
		if !errors.As(err, &e) || e.Code != ledger.CodeInvalid || e.Field != field || len(err.Error()) > 300 {
			t.Errorf("%s: error is %.400v", what, err)
		}
	}
	_, err := w.ProposePayee(w.ctx, unicef, "anne", "")
	w.wantCode(err, ledger.CodeInvalid)
	_, err = w.ProposePayeeChange(w.ctx, "nobody", payments.PayeeChange{Name: "x"}, "anne", "why")
	w.wantCode(err, ledger.CodeNotFound)
	_, err = w.ProposePayeeChange(w.ctx, "acf", payments.PayeeChange{IBAN: "FR00"}, "anne", "why")
	w.wantCode(err, ledger.CodeInvalid)
	if after := w.counts(); after != before || len(w.proposals(payments.ProposalFilter{})) != 0 {
		t.Errorf("bad payees changed %s to %s", before, after)
	}
	must(t, w.SetPayeeStatus(w.ctx, "bakery", payments.Closed, "anne", "bankrupt"))
	_, err = w.ProposePayeeChange(w.ctx, "bakery", payments.PayeeChange{Name: "x"}, "anne", "why")
	w.wantCode(err, ledger.CodeConflict)
}
