package payments

import (
	"context"
	"encoding/base32"
	"fmt"
	"strings"
	"time"

	"github.com/google/uuid"

	"tweetledger/internal/sqldb"
	"tweetledger/ledger"
)

// Donation is a posted payment to a charity or business, as its statement shows it.
type Donation struct {
	OrderID       uuid.UUID
	TransactionID uuid.UUID
	Key           string // of the order and the transaction
	PayeeID       uuid.UUID
	PayerID       uuid.UUID
	// Donor is the payer's name where the payer consents to be named (Named), and
	// a pseudonym otherwise, always the same one for the same charity.
	Donor         string
	Named         bool
	Amount        ledger.Amount // gross
	Currency      ledger.Currency
	EffectiveDate ledger.Date
	PostedAt      time.Time // UTC
	Channel       string
	FirstID       string // of the message that asked for it
}

// Reference is the one that the donor reads in replies (Order.Reference).
func (d Donation) Reference() string { return Order{ID: d.OrderID}.Reference() }

// DonationFilter selects a page of a payee's donations, by effective date and id.
type DonationFilter struct {
	PayeeID   uuid.UUID
	From, To  ledger.Date // inclusive; zero: no bound
	AfterDate ledger.Date // with AfterID: the last one seen; zero: from the first
	AfterID   uuid.UUID
	Limit     int // 1 to MaxPage
}

// Pseudonym returns the name under which a charity knows a customer who does not
// want to be named: always the same for the same charity, and another for each.
func (s *Service) Pseudonym(c Customer, payeeID uuid.UUID) string {
	return s.pseudonym(c.pseudonymSalt, c.ID, payeeID)
}

// pseudonymBytes are enough that two donors of one charity never share a name: 50
// bits, 10 letters and digits.
const pseudonymBytes = 10

func (s *Service) pseudonym(salt []byte, customer, payee uuid.UUID) string {
	sum := mac(s.keys.pseudonym, salt, customer[:], payee[:])
	name := strings.ToLower(base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString(sum))[:pseudonymBytes]
	return "donor-" + name
}

// ListDonations returns a page of what a payee was given.
func (s *Service) ListDonations(ctx context.Context, tx *sqldb.Tx, f DonationFilter) ([]Donation, error) {
	if err := sqldb.CheckPage(f.Limit, MaxPage); err != nil {
		return nil, err
	}
	var c sqldb.Where
	c.And("o.payee_payee_id = ?", f.PayeeID)
	c.And("o.state = ?", string(StatePosted))
	if !f.From.IsZero() {
		c.And("o.effective_date >= ?", f.From)
	}
	if !f.To.IsZero() {
		c.And("o.effective_date <= ?", f.To)
	}
	if !f.AfterDate.IsZero() {
		c.And("o.effective_date >= ? AND (o.effective_date, o.id) > (?, ?)", f.AfterDate, f.AfterDate, f.AfterID)
	}
	var list []Donation
	err := tx.Each(ctx, fmt.Sprintf(`SELECT o.id, o.transaction_id, o.order_key, o.payee_payee_id, o.payer_id, o.amount, o.currency,
			o.effective_date, o.closed_at, o.channel, o.first_id, c.named, c.name, c.pseudonym_salt
		FROM orders AS o JOIN customers AS c ON c.id = o.payer_id
		WHERE %s ORDER BY o.effective_date, o.id LIMIT %d`, c.Condition(), f.Limit), c.Args, func(rows *sqldb.Rows) error {
		var d Donation
		var named int64
		var name string
		var salt []byte
		err := rows.Scan(&d.OrderID, &d.TransactionID, &d.Key, &d.PayeeID, &d.PayerID, &d.Amount, &d.Currency,
			&d.EffectiveDate, &d.PostedAt, &d.Channel, &d.FirstID, &named, &name, &salt)
		d.Named, d.Donor = named != 0, name
		if !d.Named {
			d.Donor = s.pseudonym(salt, d.PayerID, d.PayeeID)
		}
		list = append(list, d)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("list donations: %w", err)
	}
	return list, nil
}
