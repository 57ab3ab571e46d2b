package payments

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/google/uuid"
	"github.com/shopspring/decimal"

	"tweetledger/internal/sqldb"
	"tweetledger/ledger"
)

// CommissionTier is a lower rate for the part of a payout above an amount.
type CommissionTier struct {
	Above  ledger.Amount `json:"above"`  // in minor units of a payout's gross
	Points int           `json:"points"` // hundredths of a percent
}

// Terms are what is agreed with a payee on its commission. It is worked out for each
// payout from its gross alone (docs/decisions/0010-commission-by-payout.md).
type Terms struct {
	ValidFrom ledger.Date
	Points    int              // hundredths of a percent of the gross, up to the first tier
	Minimum   ledger.Amount    // of a payout, in minor units
	Tiers     []CommissionTier // rising amounts, falling rates: at most MaxTiers
	VATPoints int              // on the commission, in hundredths of a percent
}

// Bounds of terms.
const (
	// MaxTiers is more than any contract has, and few enough to read.
	MaxTiers = 5
	// maxTerms bounds the history of one payee's terms, which is read as a whole.
	maxTerms = 200
	// maxMinimum is the largest SEPA credit transfer (EPC rulebook AT-04).
	maxMinimum = ledger.Amount(99_999_999_999)
	allOfIt    = 10_000 // hundredths of a percent
)

// validate checks terms. The error is an Error with CodeInvalid.
func (t Terms) validate() error {
	invalid := func(field, format string, args ...any) error {
		return ledger.Errorf(ledger.CodeInvalid, format, args...).InField(field)
	}
	switch {
	case t.Points < 0 || t.Points > allOfIt:
		return invalid("commission_points", "the commission must be 0 to 10000 hundredths of a percent, not %d", t.Points)
	case t.Minimum < 0:
		return invalid("commission_minimum", "the minimum must not be below zero")
	case t.Minimum > maxMinimum:
		return invalid("commission_minimum", "a minimum of %s is more than any payout is; the most is %s", t.Minimum.Format(ledger.EUR), maxMinimum.Format(ledger.EUR))
	case t.VATPoints < 0 || t.VATPoints > allOfIt:
		return invalid("vat", "the VAT on the commission must be 0 to 10000 hundredths of a percent, not %d", t.VATPoints)
	case len(t.Tiers) > MaxTiers:
		return invalid("tier", "there are %d tiers, and at most %d", len(t.Tiers), MaxTiers)
	}
	before := CommissionTier{Points: t.Points}
	for _, tier := range t.Tiers {
		switch {
		case tier.Above <= before.Above:
			return invalid("tier", "tiers go up: one from %s cannot come after one from %s", tier.Above.Format(ledger.EUR), before.Above.Format(ledger.EUR))
		case tier.Points < 0 || tier.Points >= before.Points:
			return invalid("tier", "rates go down with the amount: %d hundredths of a percent above %s is not less than %d", tier.Points, tier.Above.Format(ledger.EUR), before.Points)
		}
		before = tier
	}
	return nil
}

// Commission returns what is kept of a payout of gross minor units, and the VAT on it:
// each part of the gross at the rate of its tier, added up exactly, rounded half up to
// the minor unit once, and at least the minimum. The VAT is rounded once, too.
func (t Terms) Commission(gross ledger.Amount) (commission, vat ledger.Amount) {
	share := decimal.Zero
	from, points := ledger.Amount(0), t.Points
	part := func(upTo ledger.Amount) {
		share = share.Add(decimal.NewFromInt(int64(upTo - from)).Mul(decimal.NewFromInt(int64(points))))
		from = upTo
	}
	for _, tier := range t.Tiers {
		if gross <= tier.Above {
			break
		}
		part(tier.Above)
		points = tier.Points
	}
	part(gross)
	commission = max(roundPoints(share), t.Minimum)
	return commission, roundPoints(decimal.NewFromInt(int64(commission)).Mul(decimal.NewFromInt(int64(t.VATPoints))))
}

// roundPoints divides by the 10⁴ of hundredths of a percent, and rounds half up.
func roundPoints(d decimal.Decimal) ledger.Amount {
	const inOne = 4
	return ledger.Amount(d.Shift(-inOne).Round(0).IntPart())
}

// TermsOn returns the terms of a history, in order of its numbers, that count on a day.
func TermsOn(history []Terms, day ledger.Date) Terms {
	for i := len(history) - 1; i > 0; i-- {
		if !day.Before(history[i].ValidFrom) {
			return history[i]
		}
	}
	return history[0] // from the payee's enrolment on
}

// newTermsFrom returns the day from which new terms count: the one asked for, today
// where none is, and never before those that are agreed already.
func newTermsFrom(asked, agreed, today ledger.Date) (ledger.Date, error) {
	switch {
	case asked.IsZero() && today.Before(agreed):
		return agreed, nil
	case asked.IsZero():
		return today, nil
	case asked.Before(today):
		return ledger.Date{}, ledger.Errorf(ledger.CodeInvalid, "%s has passed; terms count from today or later", asked).InField("from")
	case asked.Before(agreed):
		return ledger.Date{}, ledger.Errorf(ledger.CodeInvalid, "terms from %s are agreed already; new ones count from then or later", agreed).InField("from")
	}
	return asked, nil
}

func (n NewPayee) terms() Terms {
	return Terms{Points: n.CommissionPoints, Minimum: n.CommissionMinimum, Tiers: n.Tiers, VATPoints: n.VATPoints}
}

// agreeOnTerms adds the terms of an approved proposal to a payee's history, and makes
// sure that there is an account for the VAT where some is to be charged.
func (s *Service) agreeOnTerms(ctx context.Context, tx *sqldb.Tx, payeeID uuid.UUID, t Terms, p PayeeProposal) error {
	today := ledger.DateIn(p.DecidedAt, s.engine.Location())
	if t.ValidFrom = p.New.TermsFrom; t.ValidFrom.Before(today) {
		t.ValidFrom = today
	}
	var number int64
	if err := tx.QueryRow(ctx, "SELECT COALESCE(MAX(number), 0) + 1 FROM payee_terms WHERE payee_id = $1", []any{payeeID}, &number); err != nil {
		return fmt.Errorf("number the terms: %w", err)
	}
	if number > maxTerms {
		return ledger.Errorf(ledger.CodeLimitExceeded, "%s has had %d terms, which is the most there can be; enrol it anew", p.Code, maxTerms).InField("code")
	}
	if t.VATPoints > 0 {
		if _, err := s.engine.OpenAccountTx(ctx, tx, systemAccount(AccountVAT, "VAT collected", ledger.VATCollected, ledger.Credit, s.config.Currency)); err != nil {
			return fmt.Errorf("open the account of the VAT: %w", err)
		}
	}
	if t.Tiers == nil {
		t.Tiers = []CommissionTier{}
	}
	tiers, err := json.Marshal(t.Tiers)
	if err != nil {
		return fmt.Errorf("write the tiers: %w", err)
	}
	_, err = tx.Exec(ctx, "INSERT INTO payee_terms (payee_id, number, valid_from, points, minimum, tiers, vat_points) VALUES ($1, $2, $3, $4, $5, $6, $7)",
		payeeID, number, t.ValidFrom, int64(t.Points), int64(t.Minimum), string(tiers), int64(t.VATPoints))
	if err != nil {
		return fmt.Errorf("store the terms: %w", err)
	}
	return nil
}

// termsOf returns a payee's terms, in the order in which they were agreed and count.
func termsOf(ctx context.Context, tx *sqldb.Tx, payeeID uuid.UUID) ([]Terms, error) {
	all, err := TermsOf(ctx, tx, []uuid.UUID{payeeID})
	if err != nil {
		return []Terms{{}}, err
	}
	return all[payeeID], nil
}

// TermsOf returns the histories of the terms of at most MaxPage payees, each in the
// order in which they were agreed and count. A payee has one at least.
func TermsOf(ctx context.Context, tx *sqldb.Tx, payeeIDs []uuid.UUID) (map[uuid.UUID][]Terms, error) {
	if len(payeeIDs) > MaxPage {
		return nil, ledger.Errorf(ledger.CodeInvalid, "ask for the terms of at most %d payees at once, not %d", MaxPage, len(payeeIDs))
	}
	all := make(map[uuid.UUID][]Terms, len(payeeIDs))
	if len(payeeIDs) == 0 {
		return all, nil
	}
	query := "SELECT payee_id, valid_from, points, minimum, tiers, vat_points FROM payee_terms WHERE " + tx.AnyUUID("payee_id", 1) + " ORDER BY payee_id, number"
	err := tx.Each(ctx, query, []any{payeeIDs}, func(rows *sqldb.Rows) error {
		var id uuid.UUID
		var t Terms
		var tiers string
		if err := rows.Scan(&id, &t.ValidFrom, &t.Points, &t.Minimum, &tiers, &t.VATPoints); err != nil {
			return err
		}
		if err := json.Unmarshal([]byte(tiers), &t.Tiers); err != nil {
			return fmt.Errorf("tiers of payee %s: %w", id, err)
		}
		if len(t.Tiers) == 0 {
			t.Tiers = nil
		}
		all[id] = append(all[id], t)
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read the terms of payees: %w", err)
	}
	for _, id := range payeeIDs {
		if len(all[id]) == 0 {
			return nil, fmt.Errorf("payee %s has no terms; ask who changed the tables", id)
		}
	}
	return all, nil
}
