package reconciliation

import (
	"context"
	"fmt"
	"strings"

	"github.com/google/uuid"

	"tweetledger/internal/payments"
	"tweetledger/internal/payouts"
	"tweetledger/ledger"
	"tweetledger/ledger/engine"
)

// suspense makes breaks of the period's movements that the book could not explain.
func (j *payoutsJob) suspense(ctx context.Context) error {
	f := payouts.EntryFilter{Outcome: payouts.OutcomeSuspense, From: j.params.From, To: j.params.To, Limit: payoutsPage}
	for {
		page, err := payouts.ListEntries(ctx, j.tx, f)
		if err != nil {
			return err
		}
		var ids []uuid.UUID
		for _, e := range page {
			if e.PayoutID != uuid.Nil {
				ids = append(ids, e.PayoutID)
			}
		}
		known, err := payouts.FindPayouts(ctx, j.tx, ids)
		if err != nil {
			return err
		}
		cards, err := payouts.CardMovements(ctx, j.tx, j.config.Acquirers, page)
		if err != nil {
			return err
		}
		for i, e := range page {
			p := known[e.PayoutID]
			if j.params.Payee != "" && p.PayeeCode != j.params.Payee {
				continue
			}
			if _, ok := cards[i]; ok {
				continue // an acquirer's: the job of cards has it
			}
			if err := j.judgeSuspense(e, p); err != nil {
				return err
			}
		}
		if len(page) < payoutsPage {
			return nil
		}
		f.After = payouts.EntryCursorOf(page[len(page)-1])
	}
}

// movementKey begins the keys of breaks that are about a movement on the account, and
// not about the payout that it names.
const movementKey = string(JobPayouts) + "/statement/"

// judgeSuspense says what is wrong with a movement; p is the payout that it
// names, or empty.
func (j *payoutsJob) judgeSuspense(e payouts.StoredEntry, p payouts.Payout) error {
	// The entry's row id is random; what it says is not.
	j.inputs.on(e.BookingDate)
	j.inputs.text("suspense", e.Statement, string(e.Finding), e.EndToEndID)
	j.inputs.number(int64(e.Entry), int64(e.Detail), int64(e.Amount))
	b := Break{Reference: e.EndToEndID, Subject: p.PayeeCode, Amount: abs(e.Amount), Currency: j.config.Currency, Date: e.BookingDate,
		Key: fmt.Sprintf("%s%s/%d/%d", movementKey, e.Statement, e.Entry, e.Detail)}
	j.watch.judged(b.Key)
	if b.Reference == "" || p.ID == uuid.Nil {
		b.Reference = place(e)
	}
	direction := "in"
	if e.Amount < 0 {
		direction = "out"
	}
	what := fmt.Sprintf("statement %s of %s: %s %s", place(e), e.BookingDate, j.money(abs(e.Amount)), direction)
	switch e.Finding {
	case payouts.AmountDiffers:
		b.Class, b.Amount = AmountDiffers, abs(abs(e.Amount)-p.Net)
		b.Message = fmt.Sprintf("%s, but payout %s to %s is %s; ask the bank, then correct from suspense", what, p.EndToEndID, p.PayeeCode, j.money(p.Net))
	case payouts.Duplicate:
		b.Class = Duplicate
		b.Message = fmt.Sprintf("%s for payout %s to %s, which was %s already; ask the bank, or the payee, to give it back", what, p.EndToEndID, p.PayeeCode, p.State)
	case payouts.NotExported:
		b.Class = UnknownMoney
		b.Message = fmt.Sprintf("%s for payout %s to %s, which was never sent to the bank; find out who sent it", what, p.EndToEndID, p.PayeeCode)
	case payouts.PaidRejected:
		b.Class = UnknownMoney
		b.Message = fmt.Sprintf("%s for payout %s to %s, which the bank had rejected; ask the bank, before its donations are paid out again", what, p.EndToEndID, p.PayeeCode)
	case payouts.ReturnUnsettled:
		b.Class = MissingOutside
		b.Message = fmt.Sprintf("%s: payout %s to %s came back, but no statement shows that it was paid; import the missing statement, then correct from suspense", what, p.EndToEndID, p.PayeeCode)
	default:
		j.unknown(e, b.Key)
		b.Class = UnknownMoney
		b.Message = fmt.Sprintf("%s%s, which no payout explains; it is in suspense until somebody explains it", what, describe(e))
	}
	return j.addBreak(b)
}

func abs(a ledger.Amount) ledger.Amount {
	if a < 0 {
		return -a
	}
	return a
}

// describe says what the bank tells of a movement, for who must explain it.
func describe(e payouts.StoredEntry) string {
	var parts []string
	for _, part := range [][2]string{{"end-to-end id ", e.EndToEndID}, {"counterparty ", e.Counterparty.Name}, {"", e.Counterparty.IBAN}, {"reference ", e.Reference}} {
		if part[1] != "" {
			parts = append(parts, part[0]+part[1])
		}
	}
	if len(parts) == 0 {
		return ""
	}
	return " (" + strings.Join(parts, ", ") + ")"
}

// inTransit compares what the ledger has on its way with the payouts that are.
func (j *payoutsJob) inTransit(ctx context.Context) error {
	expected, err := payouts.InTransit(ctx, j.tx, j.params.To)
	if err != nil {
		return err
	}
	balance, err := engine.BalanceAsOf(ctx, j.tx, ledger.SystemAccountID(payments.AccountPayoutsInTransit), engine.AsOf{EffectiveDate: j.params.To})
	if err != nil {
		return err
	}
	j.watch.judged(payments.AccountPayoutsInTransit)
	j.inputs.on(j.asOf)
	j.inputs.text("in transit")
	j.inputs.number(int64(expected), int64(balance.Posted()))
	difference, err := balance.Posted().Sub(expected)
	if err != nil {
		return err
	}
	if difference == j.transit {
		return nil
	}
	return j.say(AmountDiffers, payments.AccountPayoutsInTransit, abs(difference-j.transit), j.asOf,
		"account %s: the ledger has %s on %s, the payouts on their way come to %s, and other breaks explain %s; look for postings to the account that no payout made",
		payments.AccountPayoutsInTransit, j.money(balance.Posted()), j.params.To, j.money(expected), j.money(j.transit))
}

// statements makes sure that the statements follow each other, and that the
// newest one ends with what the ledger says is on the account. It starts at the
// very first: what is missing between two of them is missing from the ledger ever
// after.
func (j *payoutsJob) statements(ctx context.Context) error {
	f := payouts.StatementFilter{IBAN: j.config.Account.IBAN, To: j.params.To, Limit: payoutsPage}
	var last payouts.StoredStatement
	var missing ledger.Amount // that statements which we do not have have moved
	for {
		page, err := payouts.ListStatements(ctx, j.tx, f)
		if err != nil {
			return err
		}
		for _, st := range page {
			j.hashStatement(st)
			if last.ID != uuid.Nil {
				if missing, err = missing.Add(st.Opening - last.Closing); err != nil {
					return err
				}
				if err := j.judgeGap(last, st); err != nil {
					return err
				}
			}
			last = st
		}
		if len(page) < payoutsPage {
			break
		}
		f.After = payouts.CursorOf(last)
	}
	if last.ID == uuid.Nil {
		return nil
	}
	return j.safeguarding(ctx, last, missing)
}

func (j *payoutsJob) hashStatement(st payouts.StoredStatement) {
	j.watch.judged(st.StatementID)
	j.inputs.on(st.ClosingDate)
	j.inputs.text("statement", st.StatementID, st.ClosingDate.String(), string(st.ContentHash[:]))
	j.inputs.number(st.Sequence, int64(st.Opening), int64(st.Closing))
}

// judgeGap reports what is wrong between two statements in the period, as one break.
func (j *payoutsJob) judgeGap(before, st payouts.StoredStatement) error {
	gaps := payouts.Gaps(before, st)
	if len(gaps) == 0 || st.ClosingDate.Before(j.params.From) {
		return nil
	}
	messages := make([]string, len(gaps))
	for i, gap := range gaps {
		messages[i] = gap.Message
	}
	return j.say(SequenceGap, st.StatementID, abs(st.Opening-before.Closing), st.ClosingDate, "%s; get the statements between them from the bank and import them",
		strings.Join(messages, "; "))
}

// safeguarding compares the newest statement with the ledger, but for what
// missing statements explain.
func (j *payoutsJob) safeguarding(ctx context.Context, st payouts.StoredStatement, missing ledger.Amount) error {
	balance, err := engine.BalanceAsOf(ctx, j.tx, ledger.SystemAccountID(payments.AccountSafeguarding), engine.AsOf{EffectiveDate: st.ClosingDate})
	if err != nil {
		return err
	}
	j.watch.judged(payments.AccountSafeguarding)
	j.inputs.on(st.ClosingDate)
	j.inputs.text("safeguarding")
	j.inputs.number(int64(balance.Posted()))
	expected, err := st.Closing.Sub(missing)
	if err != nil {
		return err
	}
	if balance.Posted() == expected {
		j.matched("statement_balance")
		return nil
	}
	return j.say(AmountDiffers, payments.AccountSafeguarding, abs(balance.Posted()-expected), st.ClosingDate,
		"account %s: the ledger has %s on %s, statement %s closes at %s, and missing statements explain %s; look for postings to the account that no statement shows",
		payments.AccountSafeguarding, j.money(balance.Posted()), st.ClosingDate, st.StatementID, j.money(st.Closing), j.money(missing))
}
