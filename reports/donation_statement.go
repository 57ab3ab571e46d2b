package reports

import (
	"context"
	"fmt"
	"time"

	"github.com/google/uuid"

	"tweetledger/internal/payments"
	"tweetledger/internal/payouts"
	"tweetledger/internal/sqldb"
	"tweetledger/ledger"
	"tweetledger/ledger/engine"
)

// DonationStatementParams select the statement of a charity or business.
type DonationStatementParams struct {
	Payee       string      // code
	From, To    ledger.Date // effective dates, both inclusive and both needed
	GeneratedAt time.Time
}

// MaxDonationLines bounds a donation statement, which is held in memory and must
// be whole to tie: a longer one is asked for by shorter periods.
const MaxDonationLines = 200_000

// DonationSource lists what a payee was given, with the name under which the
// payee may know each donor. It is payments.Service.
type DonationSource interface {
	ListDonations(ctx context.Context, tx *sqldb.Tx, f payments.DonationFilter) ([]payments.Donation, error)
}

// DonationStatement shows a charity what it was owed at first, each donation,
// commission, payout and return of the period, and what it is owed at the end.
//
// The lines are what the ledger has on the payee's account. Each is explained by
// a payment or a payout, and each payment and payout of the period must have its
// line with the same amount; where anything does not tie to the cent, the
// statement is refused with an error that names the difference. Donors and states
// of payouts are shown as they are now.
func DonationStatement(ctx context.Context, tx *sqldb.Tx, donations DonationSource, p DonationStatementParams) (Table, error) {
	s, err := readDonations(ctx, tx, donations, p)
	if err != nil {
		return Table{}, err
	}
	table, err := s.table()
	if err != nil {
		return Table{}, fmt.Errorf("donation statement of %s: %w", s.payee.Code, err)
	}
	return table, nil
}

// DonationAccount is what a donation statement says, as values.
type DonationAccount struct {
	Payee            payments.Payee
	Currency         ledger.Currency
	Opening, Closing ledger.Amount // owed before and at the end, minor units
	Lines            []DonationLine
}

// Donations returns what DonationStatement shows, under the same conditions.
func Donations(ctx context.Context, tx *sqldb.Tx, donations DonationSource, p DonationStatementParams) (DonationAccount, error) {
	s, err := readDonations(ctx, tx, donations, p)
	if err != nil {
		return DonationAccount{}, err
	}
	return DonationAccount{Payee: s.payee, Currency: s.account.Currency, Opening: s.opening, Closing: s.closing, Lines: s.lines}, nil
}

func readDonations(ctx context.Context, tx *sqldb.Tx, donations DonationSource, p DonationStatementParams) (*donationStatement, error) {
	period := Period{From: p.From, To: p.To, GeneratedAt: p.GeneratedAt}
	if p.From.IsZero() || p.To.IsZero() {
		return nil, ledger.Errorf(ledger.CodeInvalid, "a donation statement needs the first and the last date of its period").InField("from")
	}
	if err := period.check(); err != nil {
		return nil, err
	}
	payee, err := payments.FindPayee(ctx, tx, p.Payee)
	if err != nil {
		return nil, err
	}
	account, err := engine.FindAccount(ctx, tx, payee.AccountID)
	if err != nil {
		return nil, fmt.Errorf("donation statement of %s: %w", payee.Code, err)
	}
	s := &donationStatement{tx: tx, source: donations, period: period, payee: payee, account: account,
		sums: map[entryKind]*sum{}, unpaid: map[uuid.UUID]*sum{}, reversed: map[uuid.UUID]bool{}}
	if err := s.read(ctx); err != nil {
		return nil, fmt.Errorf("donation statement of %s: %w", payee.Code, err)
	}
	return s, nil
}

// entryKind says what a line of a donation statement is.
type entryKind string

// The kinds of line.
const (
	entryDonation           entryKind = "donation"
	entryReversal           entryKind = "reversal" // of a donation, or of what was posted by hand
	entryCommission         entryKind = "commission"
	entryPayout             entryKind = "payout"
	entryPayoutReturned     entryKind = "payout returned"
	entryPayoutCancelled    entryKind = "payout cancelled"
	entryPayoutRejected     entryKind = "payout rejected"
	entryCommissionReversed entryKind = "commission reversed"
	entryVAT                entryKind = "VAT on commission"
	entryVATReversed        entryKind = "VAT on commission reversed"
	entryOther              entryKind = "other" // posted by hand; the reference has its label
)

type donationStatement struct {
	tx      *sqldb.Tx
	source  DonationSource
	period  Period
	payee   payments.Payee
	account ledger.Account

	donations map[uuid.UUID]payments.Donation // of the period, by transaction, until the ledger's line is found
	payouts   map[uuid.UUID]payouts.Payout    // by id
	steps     map[uuid.UUID]payoutStep        // by transaction, until the ledger's line is found, where of the period

	opening, balance, closing ledger.Amount
	sums                      map[entryKind]*sum
	unpaid                    map[uuid.UUID]*sum // donations of the period that no payout has, by transaction
	reversed                  map[uuid.UUID]bool // transactions that one of the period reverses
	lines                     []DonationLine
}

// payoutStep is a transaction of a payout's life on the payee's account.
type payoutStep struct {
	payout payouts.Payout
	on     ledger.Date
	// net, commission and vat are what these lines are, and sign whether they add to
	// what is owed or take from it.
	net, commission, vat entryKind
	sign                 ledger.Amount
}

func (s *donationStatement) read(ctx context.Context) error {
	before, err := engine.BalanceAsOf(ctx, s.tx, s.account.ID, engine.AsOf{EffectiveDate: s.period.From.AddDays(-1)})
	if err != nil {
		return err
	}
	at, err := engine.BalanceAsOf(ctx, s.tx, s.account.ID, engine.AsOf{EffectiveDate: s.period.To})
	if err != nil {
		return err
	}
	s.opening, s.balance, s.closing = before.Posted(), before.Posted(), at.Posted()
	if err := s.readDonations(ctx); err != nil {
		return err
	}
	if err := s.readPayouts(ctx); err != nil {
		return err
	}
	filter := engine.TransactionFilter{AccountID: s.account.ID, From: s.period.From, To: s.period.To, Limit: transactionPage}
	for more := true; more; {
		transactions, err := engine.ListTransactions(ctx, s.tx, filter)
		if err != nil {
			return err
		}
		if err := s.addPage(ctx, transactions); err != nil {
			return err
		}
		if more = len(transactions) == transactionPage; more {
			filter.After = transactions[len(transactions)-1].Place
		}
	}
	return s.tie()
}

func (s *donationStatement) readDonations(ctx context.Context) error {
	s.donations = map[uuid.UUID]payments.Donation{}
	filter := payments.DonationFilter{PayeeID: s.payee.ID, From: s.period.From, To: s.period.To, Limit: payments.MaxPage}
	for {
		page, err := s.source.ListDonations(ctx, s.tx, filter)
		if err != nil {
			return err
		}
		for _, d := range page {
			s.donations[d.TransactionID] = d
			filter.AfterDate, filter.AfterID = d.EffectiveDate, d.OrderID
		}
		if len(s.donations) > MaxDonationLines {
			return tooManyLines()
		}
		if len(page) < filter.Limit {
			return nil
		}
	}
}

func tooManyLines() error {
	return ledger.Errorf(ledger.CodeInvalid, "the statement has more than %d lines; ask for a shorter period", MaxDonationLines).InField("from")
}

// readPayouts reads all payouts of the payee, one a business day at most: a
// donation of the period may have been paid out long after it.
func (s *donationStatement) readPayouts(ctx context.Context) error {
	s.payouts, s.steps = map[uuid.UUID]payouts.Payout{}, map[uuid.UUID]payoutStep{}
	filter := payouts.PayoutFilter{PayeeID: s.payee.ID, Limit: payouts.MaxPage}
	for {
		page, err := payouts.ListPayouts(ctx, s.tx, filter)
		if err != nil {
			return err
		}
		for _, p := range page {
			s.payouts[p.ID] = p
			s.addSteps(p)
			filter.After = p.EndToEndID
		}
		if len(page) < filter.Limit {
			return nil
		}
	}
}

func (s *donationStatement) addSteps(p payouts.Payout) {
	step := func(id uuid.UUID, on ledger.Date, net, commission, vat entryKind, sign ledger.Amount) {
		if id != uuid.Nil && !on.Before(s.period.From) && !s.period.To.Before(on) {
			s.steps[id] = payoutStep{payout: p, on: on, net: net, commission: commission, vat: vat, sign: sign}
		}
	}
	step(p.TransactionID, p.ApprovedOn, entryPayout, entryCommission, entryVAT, -1)
	step(p.CancelTransactionID, p.CancelledOn, entryPayoutCancelled, entryCommissionReversed, entryVATReversed, 1)
	step(p.RejectTransactionID, p.RejectedOn, entryPayoutRejected, entryCommissionReversed, entryVATReversed, 1)
	step(p.ReturnTransactionID, p.ReturnedOn, entryPayoutReturned, entryCommissionReversed, entryVATReversed, 1)
}

// tie makes sure that nothing is left unexplained on either side.
func (s *donationStatement) tie() error {
	if s.balance != s.closing {
		return s.mismatch("the lines lead from %s to %s, but the ledger's balance is %s", s.money(s.opening), s.money(s.balance), s.money(s.closing))
	}
	for _, d := range s.donations {
		return s.mismatch("the ledger has no posting of donation %s of %s on %s", d.Key, s.money(d.Amount), d.EffectiveDate)
	}
	for _, step := range s.steps {
		return s.mismatch("the ledger has no posting of payout %s on %s", step.payout.EndToEndID, step.on)
	}
	return nil
}

func (s *donationStatement) mismatch(format string, args ...any) error {
	return fmt.Errorf("it does not tie: "+format+"; run `tweetledger verify`", args...)
}

func (s *donationStatement) money(a ledger.Amount) string {
	return a.Format(s.account.Currency) + " " + string(s.account.Currency)
}

func (s *donationStatement) cash(a ledger.Amount) Cash {
	return Cash{Amount: a, Currency: s.account.Currency}
}

func (s *donationStatement) table() (Table, error) {
	table := Table{
		Name:        "donation_statement",
		Title:       "Donation statement for " + s.payee.Name,
		Description: "Donations, commissions and payouts " + s.period.describe() + "; amounts that are paid out or kept are negative",
		GeneratedAt: s.period.GeneratedAt,
		Facts: append(s.period.facts(),
			Fact{Name: "payee", Title: "Payee", Value: s.payee.Code},
			Fact{Name: "opening_payable", Title: "Owed before", Value: s.cash(s.opening)}),
		Columns: []Column{
			{"effective_date", "Date", Day}, {"entry", "Entry", Text}, {"reference", "Reference", Text}, {"donor", "Donor", Text},
			{"end_to_end_id", "Payout", Text}, {"payout_state", "State", Text}, {"settled_on", "Paid on", Day},
			{"bank_reference", "Bank reference", Text}, {"return_reason", "Returned for", Text}, {"amount", "Amount", Money}, {"balance", "Owed", Money},
		},
	}
	for _, total := range []struct {
		name, title string
		kinds       []entryKind
	}{
		{"donations", "Donations", []entryKind{entryDonation}},
		{"reversals", "Reversals", []entryKind{entryReversal}},
		{"commissions", "Commissions", []entryKind{entryCommission, entryCommissionReversed}},
		{"vat", "VAT on commissions", []entryKind{entryVAT, entryVATReversed}},
		{"payouts", "Payouts", []entryKind{entryPayout, entryPayoutCancelled, entryPayoutRejected}},
		{"returns", "Payouts returned", []entryKind{entryPayoutReturned}},
		{"others", "Other entries", []entryKind{entryOther}},
	} {
		var amount sum
		for _, kind := range total.kinds {
			if s.sums[kind] != nil {
				amount = amount.plus(*s.sums[kind])
			}
		}
		cash, err := amount.cash(s.account.Currency)
		if err != nil {
			return Table{}, err
		}
		if total.name == "vat" && s.sums[entryVAT] == nil && s.sums[entryVATReversed] == nil {
			continue // payment services are exempt, but where the bank has opted for it
		}
		table.Facts = append(table.Facts, Fact{Name: total.name, Title: total.title, Value: cash})
	}
	var left sum
	for id, amount := range s.unpaid {
		if !s.reversed[id] {
			left = left.plus(*amount)
		}
	}
	unpaid, err := left.cash(s.account.Currency)
	if err != nil {
		return Table{}, err
	}
	table.Facts = append(table.Facts, Fact{Name: "closing_payable", Title: "Owed at the end", Value: s.cash(s.closing)})
	table.Rows = append(table.Rows, s.totalRow("owed before", s.opening))
	for _, line := range s.lines {
		table.Rows = append(table.Rows, Row{Cells: line.cells(s.account.Currency)})
	}
	table.Rows = append(table.Rows, s.totalRow("owed at the end", s.closing))
	table.Notes = append(table.Notes, "Every line ties to the ledger, and every donation and payout of the period is on it.",
		"Donors who did not consent to be named are shown by a pseudonym that is always the same for this payee.")
	if unpaid.Amount != 0 {
		table.Notes = append(table.Notes, fmt.Sprintf("Donations of %s in this period are in no payout yet.", s.money(unpaid.Amount)))
	}
	return table, nil
}

func (s *donationStatement) totalRow(entry string, balance ledger.Amount) Row {
	return Row{Cells: []any{nil, entry, nil, nil, nil, nil, nil, nil, nil, nil, s.cash(balance)}, Total: true}
}
