package payouts

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/google/uuid"

	"tweetledger/internal/sqldb"
	"tweetledger/ledger"
)

// Acquirer says how the transfers of a card acquirer look on the bank account.
type Acquirer struct {
	Name string // as its settlement files are imported under
	// BankName is a part of the name or text of its transfers, whatever the case;
	// empty: they are known by their payout reference only.
	BankName string
	Days     int // at most so many between the settlement date and the booking date
}

// CardPayout is what the lines of one transfer of an acquirer come to.
type CardPayout struct {
	Acquirer        string
	PayoutReference string
	Currency        ledger.Currency
	FileID          uuid.UUID
	Lines           int
	// Gross is what charges come to, less refunds and chargebacks; Fee all that the
	// acquirer keeps; Net, what it transfers, is Gross less Fee.
	Gross, Fee, Net ledger.Amount
	SettledOn       ledger.Date // of the last line
	// The movement on the bank account that booked it; zero until then.
	StatementID   uuid.UUID
	Entry, Detail int
	TransactionID uuid.UUID
}

const cardPayoutColumns = `acquirer, payout_reference, currency, file_id, lines, gross, fee, net, settled_on, statement_id,
	COALESCE(entry, 0), COALESCE(detail, 0), transaction_id`

func scanCardPayout(rows *sqldb.Rows) (CardPayout, error) {
	var p CardPayout
	err := rows.Scan(&p.Acquirer, &p.PayoutReference, &p.Currency, &p.FileID, &p.Lines, &p.Gross, &p.Fee, &p.Net, &p.SettledOn, &p.StatementID,
		&p.Entry, &p.Detail, &p.TransactionID)
	return p, err
}

// CardPayoutFilter selects a page of acquirers' transfers, in order of acquirer,
// reference and currency.
type CardPayoutFilter struct {
	Acquirer string // empty: all
	Open     bool   // only those that no movement on the bank account has booked
	After    CardPayout
	Limit    int // 1 to MaxPage
}

// ListCardPayouts returns a page of acquirers' transfers.
func ListCardPayouts(ctx context.Context, tx *sqldb.Tx, f CardPayoutFilter) ([]CardPayout, error) {
	if err := sqldb.CheckPage(f.Limit, MaxPage); err != nil {
		return nil, err
	}
	var w sqldb.Where
	if f.Acquirer != "" {
		w.And("acquirer = ?", f.Acquirer)
	}
	if f.Open {
		w.And("transaction_id IS NULL")
	}
	if f.After.Acquirer != "" {
		w.And("(acquirer, payout_reference, currency) > (?, ?, ?)", f.After.Acquirer, f.After.PayoutReference, string(f.After.Currency))
	}
	list, err := sqldb.Collect(ctx, tx, fmt.Sprintf("SELECT %s FROM settlement_payouts%s ORDER BY acquirer, payout_reference, currency LIMIT %d",
		cardPayoutColumns, w.Clause(), f.Limit), w.Args, scanCardPayout)
	if err != nil {
		return nil, fmt.Errorf("list the transfers of acquirers: %w", err)
	}
	return list, nil
}

// cardPayouts are the transfers of acquirers that movements may be.
type cardPayouts struct {
	acquirers []Acquirer
	open      map[ledger.Amount][]CardPayout // by net
	taken     map[int]CardPayout             // by the place of the movement
}

// maxOpenCardPayouts bounds the transfers of one amount that are looked at.
const maxOpenCardPayouts = 1_000

// openCardPayouts returns the transfers that no movement has booked and that have the
// amount of one of the entries.
func (s *Service) openCardPayouts(ctx context.Context, tx *sqldb.Tx, st StoredStatement, entries []StoredEntry) (*cardPayouts, error) {
	c := &cardPayouts{acquirers: s.config.Acquirers, open: map[ledger.Amount][]CardPayout{}, taken: map[int]CardPayout{}}
	amounts := make([]int64, 0, len(entries))
	for _, e := range entries {
		if e.Amount != 0 {
			amounts = append(amounts, int64(e.Amount))
		}
	}
	slices.Sort(amounts)
	list, err := sqldb.Collect(ctx, tx, fmt.Sprintf(`SELECT %s FROM settlement_payouts WHERE transaction_id IS NULL AND currency = $2 AND %s
		ORDER BY settled_on, acquirer, payout_reference LIMIT %d`, cardPayoutColumns, tx.AnyInt8("net", 1), maxOpenCardPayouts),
		[]any{slices.Compact(amounts), string(st.Currency)}, scanCardPayout)
	if err != nil {
		return nil, fmt.Errorf("look for transfers of acquirers: %w", err)
	}
	for _, p := range list {
		c.open[p.Net] = append(c.open[p.Net], p)
	}
	return c, nil
}

// take finds the transfer that a movement is: one whose reference the movement
// names, else the only one of its amount within the days of an acquirer whose name
// the movement bears. It takes it, so that no other movement can be the same.
func (c *cardPayouts) take(i int, e StoredEntry) bool {
	list := c.open[e.Amount]
	at := slices.IndexFunc(list, func(p CardPayout) bool { return names(e, p.PayoutReference) })
	if at < 0 {
		fits := func(p CardPayout) bool { return c.bears(e, p) }
		at = slices.IndexFunc(list, fits)
		if at >= 0 && slices.ContainsFunc(list[at+1:], fits) {
			return false // two are possible: a person decides
		}
	}
	if at < 0 {
		return false
	}
	c.taken[i] = list[at]
	c.open[e.Amount] = slices.Delete(list, at, at+1)
	return true
}

// names reports whether a movement has a reference among its own, or as a word of its text.
func names(e StoredEntry, reference string) bool {
	return slices.Contains(wordsOf(e), reference)
}

// wordsOf returns all that may be a reference in a movement: its own ones, and the
// words of its text.
func wordsOf(e StoredEntry) []string {
	words := strings.FieldsFunc(e.Remittance, func(r rune) bool {
		return !unicode.IsLetter(r) && !unicode.IsDigit(r) && r != '_' && r != '-'
	})
	for _, own := range []string{e.Reference, e.EndToEndID, e.MessageID} {
		if own != "" {
			words = append(words, own)
		}
	}
	return words
}

// namedBy reports whether a movement bears the acquirer's name.
func (a Acquirer) namedBy(e StoredEntry) bool {
	name := strings.ToLower(a.BankName)
	return name != "" && (strings.Contains(strings.ToLower(e.Counterparty.Name), name) || strings.Contains(strings.ToLower(e.Remittance), name))
}

// bears reports whether a movement bears the name of a transfer's acquirer and is
// booked within its days.
func (c *cardPayouts) bears(e StoredEntry, p CardPayout) bool {
	at := slices.IndexFunc(c.acquirers, func(a Acquirer) bool { return a.Name == p.Acquirer })
	if at < 0 || !c.acquirers[at].namedBy(e) {
		return false
	}
	a := c.acquirers[at]
	apart := e.BookingDate.Midnight(time.UTC).Sub(p.SettledOn.Midnight(time.UTC)).Abs()
	return apart <= time.Duration(a.Days)*24*time.Hour
}

// store keeps which movements booked the transfers that were taken.
func (c *cardPayouts) store(ctx context.Context, tx *sqldb.Tx, entries []StoredEntry) error {
	places := make([]int, 0, len(c.taken))
	for i := range c.taken {
		places = append(places, i)
	}
	slices.Sort(places)
	n, err := tx.ExecRows(ctx, `UPDATE settlement_payouts SET statement_id = d.st, entry = d.e, detail = d.d, transaction_id = d.posted
		FROM ROWS AS d WHERE settlement_payouts.acquirer = d.a AND settlement_payouts.payout_reference = d.p AND settlement_payouts.currency = d.c
			AND settlement_payouts.transaction_id IS NULL`, []sqldb.Column{
		{Name: "a", Type: "text"}, {Name: "p", Type: "text"}, {Name: "c", Type: "text"}, {Name: "st", Type: "uuid"}, {Name: "e", Type: "int8"},
		{Name: "d", Type: "int8"}, {Name: "posted", Type: "uuid"}}, len(places), func(i int) []any {
		p, e := c.taken[places[i]], entries[places[i]]
		return []any{p.Acquirer, p.PayoutReference, string(p.Currency), e.StatementID, int64(e.Entry), int64(e.Detail), e.TransactionID}
	})
	if err != nil {
		return fmt.Errorf("keep the transfers of acquirers that were booked: %w", err)
	}
	if n != int64(len(places)) {
		return fmt.Errorf("keep the transfers of acquirers that were booked: %d rows were changed, not %d", n, len(places))
	}
	return nil
}
