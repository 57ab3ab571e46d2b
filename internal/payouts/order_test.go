package payouts_test

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"tweetledger/internal/payouts"
	"tweetledger/internal/sqldb"
	"tweetledger/internal/sqldb/sqltest"
	"tweetledger/ledger"
)

// TestWhateverTheOrder plays donations, batches and the bank's reports, statements and
// returns in random order, each again at times: what was given is always owed, on its way
// or paid, and the accounts say the same as the payouts.
func TestWhateverTheOrder(t *testing.T) {
	sqltest.Each(t, func(t *testing.T, db *sqldb.DB) {
		(&play{world: newWorld(t, db), random: rand.New(rand.NewPCG(2026, 11)), codes: []string{"acf", "msf"}, seen: map[payouts.State]int{}}).run()
	})
}

// play is one random story.
type play struct {
	*world
	random  *rand.Rand
	codes   []string
	given   ledger.Amount
	sentAll []payouts.PrepareResult
	reports []payouts.StatusReport // for repetition
	banks   []payouts.Statement
	seen    map[payouts.State]int
}

func (p *play) run() {
	p.t.Helper()
	for i, iban := range []string{acfIBAN, msfIBAN} {
		p.enrol(p.codes[i], iban, 100*(i+1), ledger.Amount(i*50))
	}
	const steps = 70
	for n := range steps {
		p.step(n)
		p.adds()
	}
	for _, s := range []payouts.State{payouts.Accepted, payouts.Rejected, payouts.Settled, payouts.Returned} {
		if p.seen[s] == 0 {
			p.t.Errorf("no payout was ever %s", s)
		}
	}
	p.verify()
}

func (p *play) step(n int) {
	p.t.Helper()
	if len(p.sentAll) == 0 || n%7 == 0 {
		p.send()
		return
	}
	r := p.sentAll[p.random.IntN(len(p.sentAll))]
	payout := r.Payouts[p.random.IntN(len(r.Payouts))]
	switch p.random.IntN(8) {
	case 0, 1, 2:
		statuses := []payouts.Status{payouts.StatusPending, payouts.StatusTechnical, payouts.StatusInProcess, payouts.StatusSettled, payouts.StatusRejected, payouts.StatusRejected}
		status := statuses[p.random.IntN(len(statuses))]
		reason := []string{"AC04", "MS03", "XX99"}[p.random.IntN(3)]
		id := fmt.Sprintf("R-%d", n)
		news := report(id, r.Batch, payouts.StatusPartial, says(payout, status, reason))
		if p.random.IntN(4) == 0 {
			news = report(id, r.Batch, status)
		}
		p.reports = append(p.reports, news)
		p.reported(news)
	case 3, 4:
		p.book(p.paid(payout))
	case 5:
		p.book(p.cameBackFor(payout, []string{"AC06", "MS03"}[p.random.IntN(2)]))
	case 6:
		if len(p.reports) > 0 {
			if again := p.reported(p.reports[p.random.IntN(len(p.reports))]); !again.Already {
				p.t.Fatalf("a report counted twice: %+v", again)
			}
		}
	case 7:
		if len(p.banks) > 0 {
			if again := p.imported(p.banks[p.random.IntN(len(p.banks))]); !again.Already {
				p.t.Fatalf("a statement counted twice: %+v", again)
			}
		}
	}
}

func (p *play) book(e payouts.Entry) {
	p.t.Helper()
	st := p.statement(e)
	p.banks = append(p.banks, st)
	p.imported(st)
}

// send pays out what is due, after two persons have said of flagged accounts that they are right.
func (p *play) send() {
	p.t.Helper()
	for _, code := range p.codes {
		amount := ledger.Amount(5_00 + p.random.IntN(50_00))
		p.donate(code, amount)
		p.given += amount
		for _, actor := range []string{"anne", "bruno"} {
			_, err := p.service.ConfirmIBAN(p.t.Context(), code, actor, "asked")
			if err != nil {
				p.refused(err, ledger.CodeNotFound)
			}
		}
	}
	p.sentAll = append(p.sentAll, p.sent())
}

// adds compares the payouts with what was given, and the accounts with the payouts.
func (p *play) adds() {
	p.t.Helper()
	var onItsWay, paid, transit, settled, commission ledger.Amount
	for _, r := range p.sentAll {
		for _, sent := range r.Payouts {
			now := p.payout(sent.EndToEndID)
			p.seen[now.State]++
			switch now.State {
			case payouts.Exported, payouts.Accepted:
				onItsWay += now.Gross
				transit += now.Net
				commission += now.Commission
			case payouts.Settled:
				paid += now.Gross
				settled += now.Net
				commission += now.Commission
			case payouts.Rejected, payouts.Returned:
			default:
				p.t.Fatalf("payout %s is %s", now.EndToEndID, now.State)
			}
		}
	}
	var owed ledger.Amount
	for _, code := range p.codes {
		owed += p.posted("payable:" + code)
	}
	if owed+onItsWay+paid != p.given {
		p.t.Fatalf("%d owed + %d on its way + %d paid is not the %d that was given", owed, onItsWay, paid, p.given)
	}
	p.balances(map[string]ledger.Amount{"payouts-in-transit": transit, "commissions": commission})
	if bank, suspense := p.posted("safeguarding-account"), p.posted("suspense"); bank-suspense != -settled {
		p.t.Fatalf("the bank account has %d, of which %d is unexplained; %d was paid", bank, suspense, settled)
	}
}
