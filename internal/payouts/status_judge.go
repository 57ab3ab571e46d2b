package payouts

import (
	"fmt"

	"tweetledger/ledger"
)

// news is what a report says of one payout.
type news struct {
	status  Status
	reasons []StatusReason
	own     bool // said of this payout, and not of the file
}

// judge decides what the report does to each payout of its batch.
func (r *reportImport) judge(b Batch, list []Payout) error {
	whole, err := r.whole()
	if err != nil {
		return err
	}
	byID := make(map[string]*Payout, len(list))
	for i := range list {
		byID[list[i].EndToEndID] = &list[i]
	}
	said := make(map[string]news, len(r.transactions))
	for _, t := range r.transactions {
		if t.Status == "" {
			t.Status = whole.status
		}
		if whole.status.rejects() && !t.Status.rejects() && t.Status.known() {
			return invalidAt(t.Place, "the report rejects the file as a whole (%s), but says %s of payout %s; ask the bank which one holds", whole.status, t.Status, ledger.Clip(t.EndToEndID))
		}
		if refusal := refuseStatus(b, byID[t.EndToEndID], t); refusal != nil {
			r.result.Refused = append(r.result.Refused, refusal)
			continue
		}
		if _, twice := said[t.EndToEndID]; twice {
			return invalidAt(t.Place, "the report names payout %s twice; ask the bank for a new one", t.EndToEndID)
		}
		said[t.EndToEndID] = news{t.Status, t.Reasons, len(t.Reasons) > 0 || !whole.status.rejects()}
	}
	refused := map[string]bool{}
	for _, t := range r.transactions {
		refused[t.EndToEndID] = true
	}
	for i := range list {
		p := &list[i]
		n, ok := said[p.EndToEndID]
		switch {
		case ok && n.own:
		case ok: // named under a rejected file, without a reason of its own
			n = whole
		case refused[p.EndToEndID] || !(whole.status.accepts() || whole.status.rejects()):
			continue
		default:
			n = whole
		}
		r.take(p, n)
	}
	return nil
}

// whole is what the report says of the file: its payment information has the last word.
func (r *reportImport) whole() (news, error) {
	g := r.group
	if g.Status != "" && !g.Status.known() {
		return news{}, unknownStatus(g.Status, g.Place)
	}
	n := news{status: g.Status, reasons: g.Reasons}
	for _, p := range r.payments {
		switch {
		case p.Status == "":
		case !p.Status.known():
			return news{}, unknownStatus(p.Status, p.Place)
		case g.Status.rejects() && !p.Status.rejects():
			return news{}, invalidAt(p.Place, "the report rejects the file as a whole (%s), but says %s of its payment information; ask the bank which one holds", g.Status, p.Status)
		default:
			if len(p.Reasons) == 0 {
				p.Reasons = g.Reasons
			}
			n = news{status: p.Status, reasons: p.Reasons}
		}
	}
	return n, nil
}

func unknownStatus(s Status, place string) *ledger.Error {
	return invalidAt(place, "%q is no status that is known here; ask the bank what it means", ledger.Clip(string(s)))
}

// refuseStatus says why what a report says of a transfer cannot be about the payout, or nil.
func refuseStatus(b Batch, p *Payout, t ReportTransaction) *ledger.Error {
	switch {
	case p == nil && t.EndToEndID == "":
		return invalidAt(t.Place, "a transfer of batch %s is not named: there is no original end-to-end id; ask the bank which one it is", b.Reference)
	case p == nil:
		return invalidAt(t.Place, "there is no payout %s in batch %s; ask the bank", ledger.Clip(t.EndToEndID), b.Reference)
	case t.Status == "" || t.Status == StatusPartial || !t.Status.known():
		return invalidAt(t.Place, "payout %s has the status %q, which is none of a transfer that is known here; ask the bank what it means", p.EndToEndID, ledger.Clip(string(t.Status)))
	case t.Currency != "" && t.Currency != p.Currency:
		return invalidAt(t.Place, "the report has payout %s in %s, and it is in %s; ask the bank", p.EndToEndID, ledger.Clip(string(t.Currency)), p.Currency)
	case t.Currency != "" && t.Amount != p.Net:
		return invalidAt(t.Place, "the report has payout %s with %s %s, and it is of %s; ask the bank", p.EndToEndID, t.Amount.Format(p.Currency), p.Currency, p.Net.Format(p.Currency))
	}
	return nil
}

// take decides what news does to a payout.
func (r *reportImport) take(p *Payout, n news) {
	change := func(to State, counted *int) {
		*counted++
		r.changes = append(r.changes, statusChange{payout: p, to: to, status: n.status, reasons: n.reasons, own: n.own})
	}
	contradiction := func(format string, args ...any) {
		amount := p.Net.Format(p.Currency) + " " + string(p.Currency)
		r.result.Findings = append(r.result.Findings, Finding{Kind: Contradiction, Statement: r.group.MessageID, Amount: p.Net,
			Message: fmt.Sprintf("report %s: payout %s of %s to %s %s; ask the bank", r.group.MessageID, p.EndToEndID, amount, p.PayeeCode, fmt.Sprintf(format, args...))})
	}
	switch {
	case n.status.accepts() && p.State == Exported:
		change(Accepted, &r.result.Accepted)
	case n.status.accepts() && p.State == Accepted && n.status.after(p.BankStatus):
		change(Accepted, &r.result.Accepted)
	case n.status.accepts() && p.State == Rejected:
		contradiction("is accepted (%s), and was rejected (%s) on %s", n.status, ReasonText(p.RejectReason), p.RejectedOn)
	case n.status.rejects() && p.State == Accepted && p.BankStatus == StatusSettled:
		contradiction("is rejected (%s), and was debited to our account (%s) by an earlier report", n.status, StatusSettled)
	case n.status.rejects() && (p.State == Exported || p.State == Accepted):
		change(Rejected, &r.result.Rejected)
	case n.status.rejects() && (p.State == Settled || p.State == Returned):
		contradiction("is rejected (%s), and statement %s shows that it was paid on %s", n.status, p.BankStatement, p.SettledOn)
	default:
		r.result.Unchanged++
	}
}
